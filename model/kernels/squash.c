/*
 * squash.c - squash and its gradient (model/README.md), of vectors that lie in
 * KERNEL_LANES lanes side by side.
 */
#include "model/kernels/routing.h"

/* Beyond this a component counts as this: |s|^2 of 256 of them is still
 * finite, and |v| stays below 1 whatever s is.  NaN stays NaN. */
#define SQUASH_LIMIT 1e18f

ALWAYS_INLINE vec squash_load(const float *p)
{
    vec low = vec_max(vec_set(-SQUASH_LIMIT), vec_load(p));
    return vec_min(vec_set(SQUASH_LIMIT), low);
}

void KERNEL(squash)(float *v, const float *s, size_t count, size_t dims)
{
    for (size_t i = 0; i < count; i++, v += dims * KERNEL_LANES, s += dims * KERNEL_LANES)
        for (int q = 0; q < PER_LANE; q++) {
            vec sum = vec_set(0);
            for (size_t d = 0; d < dims; d++) {
                vec x = squash_load(s + d * KERNEL_LANES + q * VEC);
                sum += x * x;
            }
            vec h = vec_sqrt(sum) / (1.0f + sum);
            for (size_t d = 0; d < dims; d++)
                vec_store(v + d * KERNEL_LANES + q * VEC,
                          h * squash_load(s + d * KERNEL_LANES + q * VEC));
        }
}

/* v = h(q) s with q = |s|^2, h = sqrt q / (1 + q), so
 *   ds = h dv + h (1 - q) / (1 + q) (n . dv) n,  n = s / |s|,
 * whose second term goes to 0 with s.  In this form nothing overflows where
 * |s|^2 does not. */
void KERNEL(squash_backward)(float *ds, const float *s, const float *dv, size_t count,
                             size_t dims)
{
    const size_t step = dims * KERNEL_LANES;
    for (size_t i = 0; i < count; i++, ds += step, s += step, dv += step)
        for (int lane = 0; lane < PER_LANE; lane++) {
            vec q = vec_set(0), dot = vec_set(0);
            for (size_t d = 0; d < dims; d++) {
                vec x = vec_load(s + d * KERNEL_LANES + lane * VEC);
                q += x * x;
                dot += x * vec_load(dv + d * KERNEL_LANES + lane * VEC);
            }
            vec root = vec_sqrt(q), one_q = 1.0f + q;
            vec h = root / one_q, inverse = 1.0f / vec_max(root, vec_set(1e-18f));
            vec k = h * ((1.0f - q) / one_q) * (dot * inverse);
            for (size_t d = 0; d < dims; d++) {
                size_t at = d * KERNEL_LANES + (size_t)lane * VEC;
                vec_store(ds + at, h * vec_load(dv + at) + k * (inverse * vec_load(s + at)));
            }
        }
}
