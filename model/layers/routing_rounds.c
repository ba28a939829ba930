/*
 * routing_rounds.c - what a round of routing made of an image's prediction vectors:
 * struct capsnet_routing, on request.
 *
 * Routing stores neither b nor c.  Both follow from what it has at hand: before a round
 * b_ij = u_hat_ij . vsum_j, and c_i = softmax(b_i).  Here they are worked out once more, in
 * double precision, for a person to look at; the pass goes on with its own.
 */
#include <math.h>
#include <string.h>

#include "model/layers/layers.h"

/* Of one place of the grid: sums over the capsule types, class by class. */
struct place {
    double coupling[KERNEL_MAX_CLASSES], votes[KERNEL_MAX_CLASSES];
};

/* 1 / |s_j|, or 0 where s_j is 0.  The square of a float does not vanish in a double. */
static void inverse_norms(const struct capsnet_shape *shape, const float *s, double *inverse)
{
    for (size_t j = 0; j < shape->classes; j++) {
        double sum = 0;
        for (size_t e = 0; e < shape->pose_dims; e++) {
            const double x = (double)s[j * shape->pose_dims + e];
            sum += x * x;
        }
        inverse[j] = sum == 0 ? 0 : 1 / sqrt(sum);
    }
}

/* In place, of logits b to c; the largest is subtracted first, so that nothing overflows. */
static void softmax(double *b, size_t classes)
{
    double top = b[0], sum = 0;
    for (size_t j = 1; j < classes; j++)
        top = fmax(top, b[j]);
    for (size_t j = 0; j < classes; j++)
        sum += b[j] = exp(b[j] - top);
    for (size_t j = 0; j < classes; j++)
        b[j] /= sum;
}

float prediction(const struct capsnet_shape *shape, struct predictions u_hat, size_t i, size_t j,
                 size_t e)
{
    const size_t classes = shape->classes, pose = shape->pose_dims;
    const size_t group = i / KERNEL_LANES, lane = i % KERNEL_LANES;
    if (u_hat.f32)
        return u_hat.f32[((group * classes + j) * pose + e) * KERNEL_LANES + lane];
    const size_t word = group * prediction_words(classes, pose) + j * ((pose + 1) / 2) + e / 2;
    const uint32_t both = u_hat.bf16[word * KERNEL_LANES + lane];
    const uint32_t bits = e % 2 ? both & 0xffff0000 : both << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Adds capsule i to its place, and writes its c_ij to couplings [classes] unless NULL. */
static void add_capsule(const struct capsnet_model *model, struct predictions u_hat, size_t i,
                        const float *vsum, const float *s, const double *inverse,
                        struct place *place, float *couplings)
{
    const size_t classes = model->shape.classes, pose = model->shape.pose_dims;
    double c[KERNEL_MAX_CLASSES], along_s[KERNEL_MAX_CLASSES];
    for (size_t j = 0, je = 0; j < classes; j++) {
        double b = 0, a = 0;
        for (size_t e = 0; e < pose; e++, je++) {
            const double x = (double)prediction(&model->shape, u_hat, i, j, e);
            b += x * (double)vsum[je];
            a += x * (double)s[je];
        }
        c[j] = b;
        along_s[j] = a * inverse[j];
    }
    softmax(c, classes);
    for (size_t j = 0; j < classes; j++) {
        place->coupling[j] += c[j];
        place->votes[j] += c[j] * along_s[j];
        if (couplings)
            couplings[j] = (float)c[j];
    }
}

void routing_round(const struct capsnet_model *model, size_t r, struct predictions u_hat,
                   const float *vsum, const float *s, const struct capsnet_routing *to)
{
    const struct capsnet_shape *shape = &model->shape;
    const size_t classes = shape->classes, positions = model->at.positions;
    const int has_couplings = to->couplings && r + 1 == shape->routing_iterations;
    double inverse[KERNEL_MAX_CLASSES];
    if (!to->coupling && !to->votes && !has_couplings)
        return;
    inverse_norms(shape, s, inverse);
    for (size_t p = 0; p < positions; p++) {
        struct place place = {{0}, {0}};
        for (size_t i = p; i < model->at.capsules; i += positions)
            add_capsule(model, u_hat, i, vsum, s, inverse, &place,
                        has_couplings ? to->couplings + i * classes : NULL);
        for (size_t j = 0; j < classes; j++) {
            const size_t at = (r * classes + j) * positions + p;
            if (to->coupling)
                to->coupling[at] = (float)(place.coupling[j] / (double)shape->primary_types);
            if (to->votes)
                to->votes[at] = (float)place.votes[j];
        }
    }
}
