/*
 * gradient.c - see gradient.h.
 */
#include "model/train/learn/gradient.h"

#include <string.h>

#include "model/train/measure/margin_loss.h"

/* One image: its losses into result; the decoder's output gradient (before
 * the sigmoid) into ddecoder[3]; the margin's share into poses, which become
 * their own gradient. */
static void image_gradient(struct capsnet_workspace *ws, size_t n, size_t i, const float *target,
                           size_t label, size_t other, float alpha, const float *lengths,
                           float *poses, struct batch_result *result)
{
    const struct capsnet_shape *shape = &ws->model->shape;
    const struct layout *at = &ws->model->at;
    const float mean = 1 / (float)n;
    float dlengths[256];
    result->margin += (double)margin_loss(shape->classes, lengths, label, other, dlengths);
    const size_t winner = capsnet_winner(shape, lengths);
    result->correct += winner == label || winner == other;

    const float *picture = ws->decoder[3] + i * at->pixels_row;
    float *dy = ws->ddecoder[3] + i * at->pixels_row, squares = 0;
    for (size_t p = 0; p < at->pixels; p++) {
        float error = picture[p] - target[p];
        squares += error * error;
        dy[p] = 2 * alpha * mean * error * picture[p] * (1 - picture[p]);
    }
    result->reconstruction += (double)squares;

    for (size_t j = 0; j < shape->classes; j++) {
        /* d|v| / dv = v / |v|, and 0 for a capsule of no length. */
        float scale = lengths[j] > 0 ? mean * dlengths[j] / lengths[j] : 0;
        for (size_t e = 0; e < shape->pose_dims; e++)
            poses[j * shape->pose_dims + e] *= scale;
    }
}

void batch_gradient(struct capsnet_workspace *ws, size_t n, const float *images,
                    const float *targets, const uint8_t *labels, const uint8_t *others,
                    float alpha, float *grad, float *lengths, float *poses,
                    struct batch_result *result)
{
    const struct capsnet_shape *shape = &ws->model->shape;
    const struct layout *at = &ws->model->at;
    memset(result, 0, sizeof *result);
    capsnet_forward(ws, n, images, lengths, poses);
    for (size_t i = 0; i < n; i++)
        decoder_input(ws, i, labels[i], poses + i * at->outputs + labels[i] * shape->pose_dims);
    decoder_forward(ws, n);

    for (size_t i = 0; i < n; i++)
        image_gradient(ws, n, i, targets + i * at->pixels, labels[i],
                       others ? others[i] : labels[i], alpha, lengths + i * shape->classes,
                       poses + i * at->outputs, result);
    result->margin /= (double)n;
    result->reconstruction /= (double)n;
    result->loss = result->margin + (double)alpha * result->reconstruction;

    decoder_backward(ws, n, grad);
    for (size_t i = 0; i < n; i++) /* the mask lets one class's gradient through */
        for (size_t e = 0; e < shape->pose_dims; e++) {
            size_t je = labels[i] * shape->pose_dims + e;
            poses[i * at->outputs + je] += ws->ddecoder[0][i * at->in_row[0] + je];
        }
    digit_backward(ws, n, poses, grad);
    primary_backward(ws, n, grad);
    conv1_backward(ws, n, images, grad);
}
