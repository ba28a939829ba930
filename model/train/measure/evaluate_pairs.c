/*
 * evaluate_pairs.c - see evaluate_pairs.h.
 */
#include "model/train/measure/evaluate_pairs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/train/measure/longest.h"
#include "model/train/measure/margin_loss.h"

/* Room for one batch; one block each for floats and bytes. */
struct buffers {
    float *images, *digits[2]; /* [batch][pixels] */
    float *lengths, *poses, *decoded, *pictures;
    size_t *classes;
    uint8_t *bytes; /* [3][pixels] */
};

static int buffers_make(struct buffers *b, const struct capsnet_workspace *ws)
{
    const struct capsnet_shape *shape = &ws->model->shape;
    const size_t batch = ws->max_batch, pixels = batch * ws->model->at.pixels;
    b->images = malloc(4 * pixels * sizeof(float));
    b->lengths = malloc(batch * shape->classes * sizeof(float));
    b->poses = malloc(batch * ws->model->at.outputs * sizeof(float));
    b->decoded = malloc(batch * shape->pose_dims * sizeof(float));
    b->classes = malloc(batch * sizeof(size_t));
    b->bytes = malloc(3 * ws->model->at.pixels);
    if (!b->images || !b->lengths || !b->poses || !b->decoded || !b->classes || !b->bytes)
        return 0;
    b->digits[0] = b->images + pixels;
    b->digits[1] = b->images + 2 * pixels;
    b->pictures = b->images + 3 * pixels;
    return 1;
}

static void buffers_free(struct buffers *b)
{
    free(b->images);
    free(b->lengths);
    free(b->poses);
    free(b->decoded);
    free(b->classes);
    free(b->bytes);
}

static void to_floats(float *out, const uint8_t *bytes, size_t n)
{
    for (size_t p = 0; p < n; p++)
        out[p] = (float)bytes[p] / 255;
}

static void draw(struct buffers *b, const struct dataset *data, const struct pair *pairs, size_t n,
                 const struct layout *at, size_t canvas)
{
    uint8_t *one = b->bytes, *two = one + at->pixels, *both = two + at->pixels;
    for (size_t i = 0; i < n; i++) {
        pair_picture(one, data, &pairs[i], 0, canvas);
        pair_picture(two, data, &pairs[i], 1, canvas);
        if (pairs[i].image[0] != pairs[i].image[1])
            pair_overlay(both, one, two, at->pixels);
        else
            memcpy(both, one, at->pixels);
        to_floats(b->digits[0] + i * at->pixels, one, at->pixels);
        to_floats(b->digits[1] + i * at->pixels, two, at->pixels);
        to_floats(b->images + i * at->pixels, both, at->pixels);
    }
}

static void judge(struct pairs_evaluation *e, size_t at, size_t classes, const float *lengths,
                  size_t label, size_t other)
{
    float unused[DATASET_MAX_CLASSES];
    const size_t present = label == other ? 1 : 2;
    size_t listed = 0;
    for (size_t j = 0; j < classes; j++)
        listed += lengths[j] > DETECTED_LENGTH;
    e->wrong += !longest_are(classes, lengths, label, other);
    e->not_detected += !(listed == present && lengths[label] > DETECTED_LENGTH &&
                         lengths[other] > DETECTED_LENGTH);
    e->margin += (double)margin_loss(classes, lengths, label, other, unused);
    longest_two(e->answers[at], classes, lengths);
}

static void evaluate_batch(struct pairs_evaluation *e, struct capsnet_workspace *ws,
                           const struct dataset *data, const struct pair *pairs, size_t first,
                           size_t n, struct buffers *b)
{
    const struct capsnet_shape *shape = &ws->model->shape;
    const struct layout *at = &ws->model->at;
    const size_t dims = shape->pose_dims;
    draw(b, data, pairs + first, n, at, shape->width);
    capsnet_forward(ws, n, b->images, b->lengths, b->poses);
    for (size_t i = 0; i < n; i++)
        judge(e, first + i, shape->classes, b->lengths + i * shape->classes,
              data->labels[pairs[first + i].image[0]], data->labels[pairs[first + i].image[1]]);
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < n; i++) {
            b->classes[i] = data->labels[pairs[first + i].image[k]];
            memcpy(b->decoded + i * dims, b->poses + i * at->outputs + b->classes[i] * dims,
                   dims * sizeof *b->decoded);
        }
        capsnet_decode(ws, n, b->decoded, b->classes, b->pictures);
        for (size_t i = 0; i < n; i++) {
            const float *picture = b->pictures + i * at->pixels;
            e->own_error +=
                (double)capsnet_pixel_error(shape, picture, b->digits[k] + i * at->pixels);
            e->other_error +=
                (double)capsnet_pixel_error(shape, picture, b->digits[1 - k] + i * at->pixels);
        }
    }
}

enum capsnet_status evaluate_pairs(struct pairs_evaluation *out, struct capsnet_workspace *ws,
                                   const struct dataset *data, const struct pair *pairs, size_t n,
                                   struct capsnet_error *error)
{
    const struct capsnet_shape *shape = &ws->model->shape;
    struct pairs_evaluation e = {.n = n};
    struct buffers b = {0};
    enum capsnet_status status = CAPSNET_OK;
    if (shape->height != shape->width || shape->height < data->height ||
        shape->width < data->width || shape->channels != data->channels) {
        snprintf(error->text, sizeof error->text,
                 "pairs of images of %zu x %zu x %zu (height, width, channels) need a model of a "
                 "square at least as large; this one takes %zu x %zu x %zu",
                 data->height, data->width, data->channels, shape->height, shape->width,
                 shape->channels);
        return CAPSNET_ERR_SHAPE;
    }
    e.answers = malloc((n + 1) * sizeof *e.answers);
    if (buffers_make(&b, ws) && e.answers) {
        for (size_t first = 0; first < n; first += ws->max_batch)
            evaluate_batch(&e, ws, data, pairs, first,
                           n - first < ws->max_batch ? n - first : ws->max_batch, &b);
        e.margin /= n ? (double)n : 1;
        e.own_error /= n ? 2 * (double)n : 1;
        e.other_error /= n ? 2 * (double)n : 1;
        *out = e;
    } else {
        snprintf(error->text, sizeof error->text, "not enough memory to evaluate %zu pairs", n);
        status = CAPSNET_ERR_MEMORY;
        pairs_evaluation_free(&e);
    }
    buffers_free(&b);
    return status;
}

void pairs_evaluation_free(struct pairs_evaluation *e)
{
    free(e->answers);
    memset(e, 0, sizeof *e);
}
