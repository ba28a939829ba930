/*
 * elementwise.c - Adam, ReLU back, sigmoid: each value for itself.
 */
#include "model/kernels/vector.h"

/* One pass over five arrays, 36 bytes a value of reading and writing and 20
 * operations: 8.2 million parameters come from memory, and go at its pace (64 GB/s
 * on a Zen 5 core, which has them from its cache at 150). */
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

/* Bit i: lane i is set, all ones. */
ALWAYS_INLINE unsigned lane_bits(ivec set)
{
#if defined(__AVX512F__)
    return _mm512_movepi32_mask((__m512i)set);
#elif defined(__AVX2__)
    return (unsigned)_mm256_movemask_ps((__m256)set);
#else
    unsigned bits = 0;
    for (unsigned i = 0; i < VEC; i++)
        bits |= (unsigned)(set[i] & 1) << i;
    return bits;
#endif
}

enum { PER_WORD = 16 / VEC }; /* vectors that a word of bits tells of */

void KERNEL(positive)(uint16_t *bits, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += 16) {
        unsigned word = 0;
        for (unsigned q = 0; q < PER_WORD; q++)
            word |= lane_bits(vec_load(x + i + q * VEC) > 0) << q * VEC;
        bits[i / 16] = (uint16_t)word;
    }
}

/* Columns j .. j + 16 words - 1 of all rows, their sums in registers; words is a
 * constant. */
ALWAYS_INLINE void relu_columns(float *dx, const uint16_t *bits, float *db, size_t rows, size_t n,
                                size_t words)
{
    ivec lane;
    vec sum[4 * PER_WORD];
    for (int i = 0; i < VEC; i++)
        lane[i] = 1 << i;
    for (size_t v = 0; v < words * PER_WORD; v++)
        sum[v] = vec_load(db + v * VEC);
    for (size_t i = 0; i < rows; i++, dx += n, bits += n / 16)
        for (size_t v = 0; v < words * PER_WORD; v++) {
            const int word = bits[v / PER_WORD] >> v % PER_WORD * VEC;
            const vec d = vec_select(((lane & word) != 0), vec_load(dx + v * VEC), vec_set(0));
            vec_store(dx + v * VEC, d);
            sum[v] += d;
        }
    for (size_t v = 0; v < words * PER_WORD; v++)
        vec_store(db + v * VEC, sum[v]);
}

void KERNEL(relu_backward)(float *dx, const uint16_t *bits, float *db, size_t rows, size_t n)
{
    enum { WORDS = VEC == 4 ? 2 : 4 };
    size_t j = 0;
    for (; j + WORDS * 16 <= n; j += WORDS * 16)
        relu_columns(dx + j, bits + j / 16, db + j, rows, n, WORDS);
    for (; j < n; j += 16)
        relu_columns(dx + j, bits + j / 16, db + j, rows, n, 1);
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
