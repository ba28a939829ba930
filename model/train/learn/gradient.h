/*
 * gradient.h - the loss of a batch and its gradient for every parameter.
 */
#ifndef CAPSNET_GRADIENT_H
#define CAPSNET_GRADIENT_H

#include <stdint.h>

#include "model/network/network.h"

/* What one batch gave; the losses are means over its images. */
struct batch_result {
    double loss;           /* margin + alpha * reconstruction */
    double margin;         /* sum over classes, equation 4 */
    double reconstruction; /* sum of squared pixel errors, section 4.1 */
    size_t correct;        /* longest capsule is the label, or the other */
};

/* Forward and backward over n images (1 .. max_batch of a training workspace).
 *
 * images  [n][height][width][channels], 0 to 1
 * targets the pictures that the decoder should draw; images itself as a rule
 * labels  [n]
 * others  [n], a second class that is in the picture too, or the label again;
 *         NULL: one class each
 * alpha   weight of the reconstruction loss: the paper's 0.0005
 * grad    [layout.total], overwritten with the gradient of result.loss
 * lengths [n][classes] and poses [n][classes*pose]: room for the outputs
 *
 * The model's spectrum must belong to its parameters (primary_prepare()). */
void batch_gradient(struct capsnet_workspace *ws, size_t n, const float *images,
                    const float *targets, const uint8_t *labels, const uint8_t *others,
                    float alpha, float *grad, float *lengths, float *poses,
                    struct batch_result *result);

#endif
