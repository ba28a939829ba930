/*
 * routing_case.h - what the tests of routing's kernels share: a random group of
 * images, one of its images in double precision, and how far a kernel may be off.
 *
 * Bounds follow the data (u is one rounding, |.| the sum of magnitudes):
 *   u_hat  dims u U_je, U_je = sum_d |W||u|
 *   logit  (dims + pose) u sum_e U_je |vsum_je| =: l_j
 *   c      relative: 2 max l + the softmax's own: exp to 4 u, its argument's
 *          subtraction, classes additions, a quotient, a product
 *   s      sum_i of c's error times U, and dims + capsules roundings of c U
 * and likewise for the gradient.  Where logits are so large that their own
 * rounding decides, c may be anything from 0 to 1.
 */
#ifndef ROUTING_CASE_H
#define ROUTING_CASE_H

#include "tests/common/kernel_check.h"
#include "tests/common/reference.h"

/* Sizes and scales that the kernels are tried with. */
enum { ROUTING_CLASSES = 4, ROUTING_POSES = 2, ROUTING_DIMS = 4, ROUTING_SCALES = 4 };
extern const size_t routing_classes[ROUTING_CLASSES], routing_poses[ROUTING_POSES];
extern const size_t routing_dims[ROUTING_DIMS];
extern const double routing_scales[ROUTING_SCALES]; /* of vsum; 0: NULL */

/* One group of images, in the kernels' layouts, floats. */
struct group {
    struct routing shape;
    size_t outputs, n_weight, n_u, n_row; /* row: [classes*pose][lanes] */
    float *weight, *u, *vsum, *ds;
};

/* n values between -scale and scale. */
void fill_scaled(struct random *random, float *p, size_t n, double scale);

/* size: capsules, classes, pose, dims; W and u are values of bf16 where is_bf16. */
struct group random_group(struct random *random, const size_t size[4], double vsum_scale,
                          int is_bf16);

/* The upper half of a float: all of it, where that is a value of bf16. */
uint16_t bf16_bits(float x);

/* To values of bf16; any will do. */
void cut_to_bf16(float *p, size_t n);

/* The same for one image, in double precision. */
struct image {
    struct reference_routing shape;
    size_t outputs;
    double *weight, *u, *vsum, *ds, *s, *c, *dvsum, *gb;
};

/* weight is shared by the images: check_to_doubles(g->weight, g->n_weight). */
struct image image_of(const struct group *g, double *weight, size_t lane);

/* Bounds of one image's results, as the top of this file has them. */
struct bounds {
    double *s, *c, *dvsum, *gb; /* shapes as in struct image */
};
struct bounds bounds_of(const struct image *m, int uniform);

#endif
