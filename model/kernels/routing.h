/*
 * routing.h - rows of KERNEL_LANES values, and what routing does with them the
 * same way in training, where a lane is an image, and in inference, where it is a
 * capsule.  For the sources of this folder.
 */
#ifndef CAPSNET_ROUTING_H
#define CAPSNET_ROUTING_H

#include "model/kernels/vector.h"

enum { MAX_CLASSES = 256, MAX_DIMS = 64 };

enum { PER_LANE = KERNEL_LANES / VEC }; /* vectors per row of lanes */

/* One row of lanes. */
struct row {
    vec v[PER_LANE];
};

ALWAYS_INLINE struct row row_load(const float *p)
{
    struct row r;
    for (int q = 0; q < PER_LANE; q++)
        r.v[q] = vec_load(p + q * VEC);
    return r;
}

ALWAYS_INLINE void row_store(float *p, struct row r)
{
    for (int q = 0; q < PER_LANE; q++)
        vec_store(p + q * VEC, r.v[q]);
}

ALWAYS_INLINE void load_capsule(struct row *u, const float *src, size_t dims)
{
    for (size_t d = 0; d < dims; d++)
        u[d] = row_load(src + d * KERNEL_LANES);
}

/* In place; the largest logit is subtracted first, so that nothing overflows. */
ALWAYS_INLINE void softmax(struct row *c, size_t classes)
{
    for (int q = 0; q < PER_LANE; q++) {
        vec top = c[0].v[q], sum = vec_set(0);
        for (size_t j = 1; j < classes; j++)
            top = vec_max(top, c[j].v[q]);
        for (size_t j = 0; j < classes; j++) {
            c[j].v[q] = vec_exp(c[j].v[q] - top);
            sum += c[j].v[q];
        }
        vec inverse = 1.0f / sum;
        for (size_t j = 0; j < classes; j++)
            c[j].v[q] *= inverse;
    }
}

/* out[i] = the sum of row i of rows [KERNEL_LANES][lanes], for the first count
 * rows: transposed, so that all add at once.  Halves are folded onto halves, a
 * fixed order of additions. */
ALWAYS_INLINE void sum_lanes(float *out, const struct row rows[KERNEL_LANES], size_t count)
{
    struct row t[KERNEL_LANES];
    KERNEL(transpose)((float *)t, KERNEL_LANES, (const float *)rows, KERNEL_LANES, KERNEL_LANES,
                      KERNEL_LANES);
    for (int half = KERNEL_LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            for (int q = 0; q < PER_LANE; q++)
                t[i].v[q] += t[i + half].v[q];
    memcpy(out, t, count * sizeof *out);
}

#endif
