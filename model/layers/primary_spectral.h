/*
 * primary_spectral.h - what the spectral PrimaryCaps and its gradient share: the
 * parts of images and kernels that transforms read, and the rows of planes.
 */
#ifndef CAPSNET_PRIMARY_SPECTRAL_H
#define CAPSNET_PRIMARY_SPECTRAL_H

#include "model/layers/layers.h"

/* Images of a batch, and their parts of the workspace's buffers. */
struct pass {
    struct capsnet_workspace *ws;
    size_t n;
    const float *images;
    float *x_planes, *x_scales, *y_planes, *primary;
    size_t *used_of; /* [n] */
    size_t threads; /* that take its products in turn */
    size_t used; /* channels of each phase as far as the last that is not zero in all images */
    struct planes x[KERNEL_PHASES]; /* where a^ of each phase lies in x_planes, or, for int8,
                                     * in a scratch's operands */
    struct planes y;                   /* where z^ lies in y_planes */
};

/* Of n images from `first` on. */
void spectral_pass(struct pass *pass, struct capsnet_workspace *ws, size_t first, size_t n);

/* Row strides of the planes.  The extra 16 floats keep rows 4096 bytes apart
 * from falling into one set of the first-level cache. */
static inline size_t x_row(const struct layout *at)
{
    return at->spectral_k + KERNEL_PAD;
}
static inline size_t y_row(const struct layout *at)
{
    return at->primary_row + KERNEL_PAD;
}

/* The taps of one phase of a kernel: rows 2i + p and columns 2j + q of it. */
struct patch kernel_patch(const struct capsnet_model *model, size_t phase);
/* Where that phase starts in an array shaped like primary_weight. */
size_t kernel_offset(const struct capsnet_model *model, size_t panel, size_t phase);
/* The part of conv1's output that a phase of a tile reads, and where it starts. */
struct patch input_patch(const struct layout *at, size_t tile, size_t phase);
size_t input_offset(const struct layout *at, size_t tile, size_t phase);

/* The part of z that a tile writes, and where it starts. */
struct patch output_patch(const struct layout *at, size_t tile);
size_t output_offset(const struct layout *at, size_t image, size_t tile);

#endif
