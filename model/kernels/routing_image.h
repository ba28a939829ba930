/*
 * routing_image.h - what routing of one image, capsules side by side, has in common in fp32 and
 * in bf16.  For the sources of this folder.
 */
#ifndef CAPSNET_ROUTING_IMAGE_H
#define CAPSNET_ROUTING_IMAGE_H

#include "model/kernels/routing.h"

ALWAYS_INLINE size_t round_lanes(size_t n)
{
    return (n + KERNEL_LANES - 1) / KERNEL_LANES * KERNEL_LANES;
}

/* s[je] = scale * the sum of row je of sums [outputs rounded up][lanes]; as many of s. */
ALWAYS_INLINE void sum_groups(float *s, const float *sums, size_t outputs, float scale)
{
    for (size_t je = 0; je < round_lanes(outputs); je += KERNEL_LANES) {
        struct row rows[KERNEL_LANES];
        for (size_t i = 0; i < KERNEL_LANES; i++)
            rows[i] = row_load(sums + (je + i) * KERNEL_LANES);
        sum_lanes(s + je, rows, KERNEL_LANES);
        for (size_t q = 0; q < PER_LANE; q++)
            vec_store(s + je + q * VEC, scale * vec_load(s + je + q * VEC));
    }
}

/* Where image b of a call has its part of the operands. */
struct image_at {
    const float *u;
    float *s, *sums;
};

ALWAYS_INLINE struct image_at image_at(const struct image_routing *r, size_t b, const float *u,
                                       float *s, float *sums)
{
    const size_t row = round_lanes(r->classes * r->pose);
    return (struct image_at){u + b * r->groups * r->dims * KERNEL_LANES, s + b * row,
                             sums + b * row * KERNEL_LANES};
}

/* f(r, images, dims, ...) with one or two images, and the default network's
 * dims, as constants. */
#define WITH_SHAPES(f, r, images, ...)                                                       \
    do {                                                                                     \
        if ((images) == 2 && (r)->dims == 8)                                                 \
            f(r, 2, 8, __VA_ARGS__);                                                         \
        else if ((images) == 2)                                                              \
            f(r, 2, (r)->dims, __VA_ARGS__);                                                 \
        else if ((r)->dims == 8)                                                             \
            f(r, 1, 8, __VA_ARGS__);                                                         \
        else                                                                                 \
            f(r, 1, (r)->dims, __VA_ARGS__);                                                 \
    } while (0)

#endif
