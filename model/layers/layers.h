/*
 * layers.h - the network's layers, forward and backward side by side.  In: a
 * workspace whose earlier activations are filled in, and the model's weights
 * through it.  Out: the next activations in the workspace, or gradients.
 *
 * conv1 and PrimaryCaps are fused on purpose: conv1's output of one image (410 kB)
 * goes into PrimaryCaps' transform, and its gradient comes out of it, while it is
 * in the cache.  So primary_*.c call conv1_rows(), and conv1.c calls
 * primary_input_gradient().
 */
#ifndef CAPSNET_LAYERS_H
#define CAPSNET_LAYERS_H

#include <string.h>

#include "model/network/workspace.h"

static inline size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* n images at images [n][height][width][channels].  Gradients go to grad, a
 * flat array in the model's layout, overwritten. */

/* Brings the primary weights into the transform domain, in what the model multiplies
 * there (primary_weights.c). */
void primary_prepare(struct capsnet_model *model, struct pool *pool);

/* conv1.c: rows y0 .. y1 - 1 of conv1's output for one image, to their places in the whole
 * output [conv1_h][conv1_w][conv1_row] at out or, rounded to bf16 where the model is of that,
 * at out16. */
void conv1_rows(const struct capsnet_workspace *ws, const float *image, size_t y0, size_t y1,
                size_t thread, float *out, uint16_t *out16);
void conv1_backward(struct capsnet_workspace *ws, size_t n, const float *images, float *grad);

/* Pixels to ws->primary, through conv1: primary_direct.c and primary_spectral.c. */
void primary_direct(struct capsnet_workspace *ws, size_t n, const float *images);
void primary_spectral(struct capsnet_workspace *ws, size_t n, const float *images);
/* From ws->primary (holding its gradient) to grad and ws->dx_planes (holding
 * the spectrum of conv1's gradient). */
void primary_backward(struct capsnet_workspace *ws, size_t n, float *grad);
/* The gradient of conv1's output, one image, from ws->dx_planes. */
void primary_input_gradient(const struct capsnet_workspace *ws, size_t n, size_t image,
                            float *dconv1);

/* digit_capsules.c: ws->primary to ws->v.  routing: [n] as of capsnet_forward_routing(),
 * or NULL, as it must be in training. */
void digit_forward(struct capsnet_workspace *ws, size_t n,
                   const struct capsnet_routing *const *routing);
/* From dposes [n][outputs] to grad and ws->primary. */
void digit_backward(struct capsnet_workspace *ws, size_t n, const float *dposes, float *grad);
/* The last v and its lengths, image by image; either may be NULL. */
void digit_read(const struct capsnet_workspace *ws, size_t n, float *lengths, float *poses);

/* An image's u_hat, a capsule a lane, as the kernels have left it: one of the two. */
struct predictions {
    const float *f32;
    const uint32_t *bf16;
};

/* routing_rounds.c: u_hat_ij's value e. */
float prediction(const struct capsnet_shape *shape, struct predictions u_hat, size_t i, size_t j,
                 size_t e);
/* Coupling, votes and couplings of round r of one image, whose s has
 * been worked out with vsum, the sum of the v before.  s, vsum [outputs]. */
void routing_round(const struct capsnet_model *model, size_t r, struct predictions u_hat,
                   const float *vsum, const float *s, const struct capsnet_routing *to);

/* decoder.c: ws->decoder[0] to ws->decoder[3]; and from ws->ddecoder[3], the
 * gradient before the sigmoid, to grad and ws->ddecoder[0]. */
void decoder_forward(struct capsnet_workspace *ws, size_t n);
void decoder_backward(struct capsnet_workspace *ws, size_t n, float *grad);
/* Puts one class's pose of image i into ws->decoder[0], all others zero. */
void decoder_input(struct capsnet_workspace *ws, size_t i, size_t class_index, const float *pose);

#endif
