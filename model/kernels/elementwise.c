/*
 * elementwise.c - Adam, ReLU back, sigmoid: one value at a time, in order.
 */
#include "model/kernels/vector.h"

void KERNEL(adam)(size_t n, float *w, const float *g, float *m, float *v, float *ema, float rate,
                  float beta1, float beta2, float epsilon, float ema_decay)
{
    for (size_t i = 0; i < n; i += VEC) {
        vec gv = vec_load(g + i), mv = vec_load(m + i), vv = vec_load(v + i);
        mv += (1.0f - beta1) * (gv - mv);
        vv += (1.0f - beta2) * (gv * gv - vv);
        vec wv = vec_load(w + i) - rate * mv / (vec_sqrt(vv) + epsilon);
        vec_store(m + i, mv);
        vec_store(v + i, vv);
        vec_store(w + i, wv);
        if (ema) {
            vec ev = vec_load(ema + i);
            vec_store(ema + i, ev + (1.0f - ema_decay) * (wv - ev));
        }
    }
}

void KERNEL(relu_backward)(float *dx, const float *x, float *db, size_t rows, size_t n)
{
    for (size_t i = 0; i < rows; i++, dx += n, x += n)
        for (size_t j = 0; j < n; j += VEC) {
            vec d = vec_select(vec_load(x + j) > 0, vec_load(dx + j), vec_set(0));
            vec_store(dx + j, d);
            vec_store(db + j, vec_load(db + j) + d);
        }
}

void KERNEL(sigmoid)(float *y, size_t n)
{
    for (size_t i = 0; i < n; i += VEC) {
        /* exp of a value <= 0 only: no overflow, and 1 - p by symmetry. */
        vec x = vec_load(y + i);
        vec e = vec_exp(-vec_max(x, -x));
        vec p = 1.0f / (1.0f + e);
        vec_store(y + i, vec_select(x < 0, e * p, p));
    }
}
