/*
 * initial_weights.c - the weights that a run begins with.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/train/data/random.h"
#include "model/train/learn/run_state.h"

/* Glorot and Bengio 2010: uniform, variance 2 / (in + out). */
static void init_uniform(float *w, size_t count, size_t in, size_t out, struct random *r)
{
    float limit = sqrtf(6.0f / (float)(in + out));
    for (size_t i = 0; i < count; i++)
        w[i] = random_uniform(r, -limit, limit);
}

/* Rows of width values, row floats apart: the padding stays zero. */
static void init_rows(float *w, size_t rows, size_t width, size_t row, size_t in, size_t out,
                      struct random *r)
{
    for (size_t i = 0; i < rows; i++)
        init_uniform(w + i * row, width, in, out, r);
}

static void init_parameters(struct capsnet_model *model, uint64_t seed)
{
    const struct capsnet_shape *shape = &model->shape;
    const struct layout *at = &model->at;
    float *w = model->parameters;
    struct random r = random_stream(seed, RANDOM_WEIGHTS, 0, 0);
    const size_t taps1 = shape->conv1_kernel * shape->conv1_kernel;
    const size_t taps2 = shape->primary_kernel * shape->primary_kernel;
    init_rows(w + at->conv1_weight, at->conv1_taps, shape->conv1_channels, at->conv1_row,
              at->conv1_taps, taps1 * shape->conv1_channels, &r);
    for (size_t o = 0; o < at->primary_channels; o += KERNEL_PANEL)
        for (size_t tap = 0; tap < taps2; tap++) {
            size_t left = at->primary_channels - o;
            init_rows(w + at->primary_weight +
                          (o / KERNEL_PANEL * taps2 + tap) * at->conv1_row * KERNEL_PANEL,
                      shape->conv1_channels, left < KERNEL_PANEL ? left : KERNEL_PANEL,
                      KERNEL_PANEL, taps2 * shape->conv1_channels, taps2 * at->primary_channels,
                      &r);
        }
    for (size_t i = 0; i < at->capsules * at->outputs * shape->primary_dims; i++)
        w[at->digit_weight + i] = 0.1f * random_normal(&r); /* as the authors' code */
    for (size_t l = 0; l < 3; l++)
        init_rows(w + at->decoder_weight[l], at->in[l], at->out[l], at->out_row[l], at->in[l],
                  at->out[l], &r);
}

enum capsnet_status trainer_init_weights(struct trainer *t, struct capsnet_error *error)
{
    const struct train_options *o = t->options;
    struct capsnet_model *model = t->model;
    if (o->init) {
        struct safetensors *file;
        enum capsnet_status status = safetensors_open(&file, o->init, error);
        if (status != CAPSNET_OK)
            return status;
        struct capsnet_error inner;
        const char *prefix = safetensors_find(file, "ema.conv1.weight") ? "ema." : "";
        status = model_import(model, file, prefix, model->parameters, &inner);
        safetensors_close(file);
        if (status != CAPSNET_OK) {
            snprintf(error->text, sizeof error->text, "%.150s: %.250s%s", o->init, inner.text,
                     status == CAPSNET_ERR_SHAPE ? " as the options and the images ask" : "");
            return status;
        }
    } else {
        init_parameters(model, o->seed);
    }
    if (t->adam.ema)
        memcpy(t->adam.ema, model->parameters, model->at.total * sizeof(float));
    return CAPSNET_OK;
}
