/*
 * evaluate.c - see evaluate.h.
 */
#include "model/train/measure/evaluate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/train/measure/margin_loss.h"

/* Room for one batch. */
struct buffers {
    float *images, *lengths, *poses, *winners, *pictures;
    size_t *classes;
};

static void evaluate_batch(struct evaluation *e, struct capsnet_workspace *ws, size_t first,
                           size_t n, const uint8_t *labels, struct buffers *b)
{
    float dlengths[256];
    const struct capsnet_shape *shape = &ws->model->shape;
    const struct layout *at = &ws->model->at;
    capsnet_forward(ws, n, b->images, b->lengths, b->poses);
    for (size_t i = 0; i < n; i++) {
        size_t winner = capsnet_winner(shape, b->lengths + i * shape->classes);
        b->classes[i] = winner;
        memcpy(b->winners + i * shape->pose_dims,
               b->poses + i * at->outputs + winner * shape->pose_dims,
               shape->pose_dims * sizeof *b->winners);
        e->answers[first + i] = (uint8_t)winner;
        e->lengths[first + i] = b->lengths[i * shape->classes + winner];
        e->wrong += winner != labels[i];
        e->margin += (double)margin_loss(shape->classes, b->lengths + i * shape->classes,
                                         labels[i], labels[i], dlengths);
    }
    capsnet_decode(ws, n, b->winners, b->classes, b->pictures);
    for (size_t i = 0; i < n; i++)
        e->errors[first + i] = capsnet_pixel_error(shape, b->images + i * at->pixels,
                                                   b->pictures + i * at->pixels);
}

enum capsnet_status evaluate_check(const struct capsnet_shape *shape, const struct dataset *data,
                                   struct capsnet_error *error)
{
    if (data->height == shape->height && data->width == shape->width &&
        data->channels == shape->channels)
        return CAPSNET_OK;
    snprintf(error->text, sizeof error->text,
             "the images are %zu x %zu x %zu (height, width, channels), but the model takes "
             "%zu x %zu x %zu",
             data->height, data->width, data->channels, shape->height, shape->width,
             shape->channels);
    return CAPSNET_ERR_SHAPE;
}

enum capsnet_status evaluate(struct evaluation *out, struct capsnet_workspace *ws,
                             const struct dataset *data, const uint32_t *index, size_t n,
                             struct capsnet_error *error)
{
    return evaluate_pictures(out, NULL, ws, data, index, n, error);
}

enum capsnet_status evaluate_pictures(struct evaluation *out, float *pictures,
                                      struct capsnet_workspace *ws, const struct dataset *data,
                                      const uint32_t *index, size_t n,
                                      struct capsnet_error *error)
{
    const struct capsnet_shape *shape = &ws->model->shape;
    const struct layout *at = &ws->model->at;
    const size_t batch = ws->max_batch, pixels = at->pixels;
    enum capsnet_status status = evaluate_check(shape, data, error);
    if (status != CAPSNET_OK)
        return status;
    status = CAPSNET_ERR_MEMORY;
    struct evaluation e = {.n = index ? n : data->n};
    struct buffers b = {
        .images = malloc(batch * pixels * sizeof(float)),
        .lengths = malloc(batch * shape->classes * sizeof(float)),
        .poses = malloc(batch * at->outputs * sizeof(float)),
        .winners = malloc(batch * shape->pose_dims * sizeof(float)),
        .pictures = malloc(batch * pixels * sizeof(float)),
        .classes = malloc(batch * sizeof(size_t)),
    };
    uint8_t *labels = malloc(batch);
    e.answers = malloc(e.n + 1);
    e.lengths = malloc((e.n + 1) * sizeof(float));
    e.errors = malloc((e.n + 1) * sizeof(float));
    if (!b.images || !b.lengths || !b.poses || !b.winners || !b.pictures || !b.classes ||
        !labels || !e.answers || !e.lengths || !e.errors) {
        snprintf(error->text, sizeof error->text, "not enough memory to evaluate %zu images", e.n);
        evaluation_free(&e);
        goto out;
    }
    for (size_t first = 0; first < e.n; first += batch) {
        size_t count = e.n - first < batch ? e.n - first : batch;
        for (size_t i = 0; i < count; i++) {
            size_t from = index ? index[first + i] : first + i;
            labels[i] = data->labels[from];
            for (size_t p = 0; p < pixels; p++)
                b.images[i * pixels + p] = (float)data->pixels[from * pixels + p] / 255;
        }
        evaluate_batch(&e, ws, first, count, labels, &b);
        if (pictures)
            memcpy(pictures + first * pixels, b.pictures, count * pixels * sizeof *pictures);
    }
    e.margin /= e.n ? (double)e.n : 1;
    *out = e;
    status = CAPSNET_OK;
out:
    free(b.images);
    free(b.lengths);
    free(b.poses);
    free(b.winners);
    free(b.pictures);
    free(b.classes);
    free(labels);
    return status;
}

void evaluation_free(struct evaluation *e)
{
    free(e->answers);
    free(e->lengths);
    free(e->errors);
    memset(e, 0, sizeof *e);
}
