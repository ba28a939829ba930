/*
 * gradient.c - see gradient.h.
 */
#include "model/train/learn/gradient.h"

#include <string.h>

#include "model/layers/layers.h"
#include "model/train/measure/longest.h"
#include "model/train/measure/margin_loss.h"

/* The decoder draws the labels' capsules in rows 0 .. n-1 and, where there are others,
 * theirs in rows n .. 2n-1. */
static size_t decoder_rows(const struct batch *b)
{
    return b->others ? 2 * b->n : b->n;
}
static size_t row_class(const struct batch *b, size_t row)
{
    return row < b->n ? b->labels[row] : b->others[row - b->n];
}
/* What the row should be, NULL where that does not matter. */
static const float *row_target(const struct batch *b, size_t row, size_t pixels)
{
    if (row < b->n)
        return b->targets + row * pixels;
    const size_t i = row - b->n;
    return b->others[i] != b->labels[i] ? b->other_targets + i * pixels : NULL;
}

/* One picture's reconstruction loss, and its gradient before the sigmoid into
 * ddecoder[3]. */
static float pixel_gradient(struct capsnet_workspace *ws, const struct batch *b, size_t row)
{
    const struct layout *at = &ws->model->at;
    const float mean = 1 / (float)b->n, *target = row_target(b, row, at->pixels);
    const float *picture = ws->decoder[3] + row * at->pixels_row;
    float *dy = ws->ddecoder[3] + row * at->pixels_row, squares = 0;
    if (!target) {
        memset(dy, 0, at->pixels * sizeof *dy);
        return 0;
    }
    for (size_t p = 0; p < at->pixels; p++) {
        float error = picture[p] - target[p];
        squares += error * error;
        dy[p] = 2 * b->alpha * mean * error * picture[p] * (1 - picture[p]);
    }
    return squares;
}

/* Adds weight * (x - target)^2 to a loss; returns its derivative for x. */
static float add_square(float x, float target, float weight, double *loss)
{
    const float apart = x - target;
    *loss += (double)(weight * apart * apart);
    return 2 * weight * apart;
}

/* One image's losses into result, and the gradient of all but the pixels into
 * poses [classes][pose], which hold the outputs. */
static void image_gradient(const struct capsnet_shape *shape, const struct batch *b, size_t i,
                           const float *lengths, float *poses, struct batch_result *result)
{
    const size_t label = b->labels[i], other = b->others ? b->others[i] : label;
    const size_t classes = shape->classes, outputs = classes * shape->pose_dims;
    const float mean = 1 / (float)b->n;
    float dlengths[256];
    result->margin += (double)margin_loss(classes, lengths, label, other, dlengths);
    result->correct += (size_t)longest_are(classes, lengths, label, other);
    for (size_t j = 0; b->teacher_lengths && j < classes; j++)
        dlengths[j] += add_square(lengths[j], b->teacher_lengths[i * classes + j],
                                  b->lengths_weight, &result->distillation);
    for (size_t k = 0; k < outputs; k++) {
        const size_t j = k / shape->pose_dims;
        /* d|v| / dv = v / |v|, and 0 for a capsule of no length. */
        const float scale = lengths[j] > 0 ? mean * dlengths[j] / lengths[j] : 0;
        const float pose = poses[k];
        poses[k] = pose * scale;
        if (b->teacher_poses)
            poses[k] += mean * add_square(pose, b->teacher_poses[i * outputs + k],
                                          b->poses_weight, &result->distillation);
    }
}

void batch_gradient(struct capsnet_workspace *ws, const struct batch *b, float *grad,
                    float *lengths, float *poses, struct batch_result *result)
{
    const struct capsnet_shape *shape = &ws->model->shape;
    const struct layout *at = &ws->model->at;
    const size_t n = b->n, rows = decoder_rows(b);
    memset(result, 0, sizeof *result);
    capsnet_forward(ws, n, b->images, lengths, poses);
    for (size_t row = 0; row < rows; row++) {
        const size_t class_index = row_class(b, row);
        decoder_input(ws, row, class_index,
                      poses + row % n * at->outputs + class_index * shape->pose_dims);
    }
    decoder_forward(ws, rows);

    for (size_t i = 0; i < n; i++)
        image_gradient(shape, b, i, lengths + i * shape->classes, poses + i * at->outputs, result);
    for (size_t row = 0; row < rows; row++)
        result->reconstruction += (double)pixel_gradient(ws, b, row);
    result->margin /= (double)n;
    result->reconstruction /= (double)n;
    result->distillation /= (double)n;
    result->loss =
        result->margin + (double)b->alpha * result->reconstruction + result->distillation;

    decoder_backward(ws, rows, grad);
    for (size_t row = 0; row < rows; row++) /* the mask lets one class's gradient through */
        for (size_t e = 0; e < shape->pose_dims; e++) {
            const size_t je = row_class(b, row) * shape->pose_dims + e;
            poses[row % n * at->outputs + je] += ws->ddecoder[0][row * at->in_row[0] + je];
        }
    digit_backward(ws, n, poses, grad);
    primary_backward(ws, n, grad);
    conv1_backward(ws, n, b->images, grad);
}
