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

/* Lane i of [a folded | b folded] is lane FROM(i, half, 0) of [a | b] and lane
 * FROM(i, half, half). */
#define FROM(i, half, at) (((i) / (half) * 2 * (half) + (i) % (half) + (at)) % (2 * VEC))
#define FROM4(i, half, at) \
    FROM(i, half, at), FROM(i + 1, half, at), FROM(i + 2, half, at), FROM(i + 3, half, at)
#if defined(__AVX512F__)
#define FROM_ALL(half, at) \
    FROM4(0, half, at), FROM4(4, half, at), FROM4(8, half, at), FROM4(12, half, at)
#elif defined(__AVX2__)
#define FROM_ALL(half, at) FROM4(0, half, at), FROM4(4, half, at)
#else
#define FROM_ALL(half, at) FROM4(0, half, at)
#endif
#define FOLD(a, b, half)                                \
    (__builtin_shufflevector(a, b, FROM_ALL(half, 0)) + \
     __builtin_shufflevector(a, b, FROM_ALL(half, half)))

/* Each run of 2 * half lanes becomes one of half lanes, its second half added onto
 * its first.  half is a constant. */
ALWAYS_INLINE vec fold(vec a, vec b, int half)
{
    return half == 8   ? FOLD(a, b, 8)
           : half == 4 ? FOLD(a, b, 4)
           : half == 2 ? FOLD(a, b, 2)
                       : FOLD(a, b, 1);
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

/* ---- Training ------------------------------------------------------------
 *
 * Where W has words of bf16, each multiplication is of two pairs of them: of two
 * dimensions for u_hat, of two outputs for du, of an image of each of two groups for dW.
 * Sums and all else are the same.
 */

/* Capsules, groups or outputs that share a reading of the other operand: as many as
 * the level has registers for. */
enum { AT_ONCE = VEC == 16 ? 2 : 1 };

/* What is a constant to the compiler: dims, and whether products are of bf16. */
struct form {
    size_t dims;
    int is_bf16;
};

#if defined(__AVX512BF16__)

enum { HAS_BF16 = 1 };

/* sum + w's two values times those of each of x's words. */
ALWAYS_INLINE vec add_products(vec sum, uint32_t w, vec x)
{
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)x, (__m512bh)_mm512_set1_epi32((int)w));
}

#else

enum { HAS_BF16 = 0 };

#endif

/* Calls a function of training for the shape's form. */
#define WITH_FORM(call, r, ...)                                  \
    do {                                                         \
        if (HAS_BF16 && (r)->dim_words && (r)->dims == 8)        \
            call(r, ((struct form){8, 1}), __VA_ARGS__);         \
        else if (HAS_BF16 && (r)->dim_words)                     \
            call(r, ((struct form){(r)->dims, 1}), __VA_ARGS__); \
        else if ((r)->dims == 8)                                 \
            call(r, ((struct form){8, 0}), __VA_ARGS__);         \
        else                                                     \
            call(r, ((struct form){(r)->dims, 0}), __VA_ARGS__); \
    } while (0)

#endif
