/*
 * routing.h - rows of KERNEL_LANES values, and what routing does with them the
 * same way in training, where a lane is an image, and in inference, where it is a
 * capsule.  For the sources of this folder.
 */
#ifndef CAPSNET_ROUTING_H
#define CAPSNET_ROUTING_H

#include "model/kernels/vector.h"

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

/* Lane i of [a folded | b folded] takes lane FROM(i, half) of [a | b]. */
#define FROM(i, half) ((i) / (half) * 2 * (half) + (i) % (half))
#define FROM4(i, half) FROM(i, half), FROM(i + 1, half), FROM(i + 2, half), FROM(i + 3, half)
#if defined(__AVX512F__)
#define FROM_ALL(half) {FROM4(0, half), FROM4(4, half), FROM4(8, half), FROM4(12, half)}
#elif defined(__AVX2__)
#define FROM_ALL(half) {FROM4(0, half), FROM4(4, half)}
#else
#define FROM_ALL(half) {FROM4(0, half)}
#endif

/* Each run of 2 * half lanes becomes one of half lanes, its second half added onto
 * its first.  half is a constant. */
ALWAYS_INLINE vec fold(vec a, vec b, int half)
{
    const ivec low = half == 8   ? (ivec)FROM_ALL(8)
                     : half == 4 ? (ivec)FROM_ALL(4)
                     : half == 2 ? (ivec)FROM_ALL(2)
                                 : (ivec)FROM_ALL(1);
    return __builtin_shuffle(a, b, low) + __builtin_shuffle(a, b, low + half);
}

/* out[i] = the sum of row i of rows [KERNEL_LANES][lanes], for the first count
 * rows.  Halves are folded onto halves, a fixed order of additions, of two
 * vectors at a time, so that no lane adds in vain. */
ALWAYS_INLINE void sum_lanes(float *out, const struct row rows[KERNEL_LANES], size_t count)
{
    vec t[KERNEL_LANES];
    for (size_t i = 0; i < KERNEL_LANES; i++) {
        struct row x = rows[i];
        for (int half = PER_LANE / 2; half > 0; half /= 2)
            for (int q = 0; q < half; q++)
                x.v[q] += x.v[q + half];
        t[i] = x.v[0];
    }
    size_t n = KERNEL_LANES;
#pragma GCC unroll 4
    for (int half = VEC / 2; half > 0; half /= 2) {
        n /= 2;
#pragma GCC unroll 8
        for (size_t i = 0; i < n; i++)
            t[i] = fold(t[2 * i], t[2 * i + 1], half);
    }
    memcpy(out, t, count * sizeof *out);
}

#endif
