/*
 * gradient.h - the loss of a batch and its gradient for every parameter.
 */
#ifndef CAPSNET_GRADIENT_H
#define CAPSNET_GRADIENT_H

#include <stdint.h>

#include "model/network/workspace.h"

/* n images (1 .. max_batch of a training workspace), and what is asked of them. */
struct batch {
    size_t n;
    const float *images;   /* [n][height][width][channels], 0 to 1 */
    const float *targets;  /* the pictures that the decoder should draw of the labels' capsules;
                            * images as a rule */
    const uint8_t *labels; /* [n] */
    const uint8_t *others; /* [n], a second class that is in the picture too, or the label
                            * again; NULL: one class each */
    const float *other_targets; /* likewise of the others' capsules, unread where that is the
                                 * label; with others */
    float alpha;           /* weight of the reconstruction loss, for either of two: the paper's
                            * 0.0005 */

    /* What another network says of the same images, and what the squared distance
     * from it weighs, summed over classes (and dimensions); NULL: weighs nothing. */
    const float *teacher_lengths; /* [n][classes] */
    const float *teacher_poses;   /* [n][classes][pose] */
    float lengths_weight, poses_weight;
};

/* What one batch gave; the losses are means over its images. */
struct batch_result {
    double loss;           /* margin + alpha * reconstruction + distillation */
    double margin;         /* sum over classes, equation 4 */
    double reconstruction; /* sum of squared pixel errors, section 4.1; of two digits, of both */
    double distillation;   /* the weighted distances from the teacher */
    size_t correct;        /* the longest capsule is the label, or the two longest are both */
};

/* Forward and backward.
 *
 * grad    [layout.total], overwritten with the gradient of result.loss
 * lengths [n][classes] and poses [n][classes*pose]: room for the outputs
 *
 * The model's spectrum must belong to its parameters (primary_prepare()). */
void batch_gradient(struct capsnet_workspace *ws, const struct batch *batch, float *grad,
                    float *lengths, float *poses, struct batch_result *result);

#endif
