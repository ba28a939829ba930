/*
 * initial_weights.c - the weights that a run begins with.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/train/data/random.h"
#include "model/train/learn/run_state.h"

/* How one layer's weights are drawn. */
struct draw {
    enum init_scheme scheme;
    size_t in, out;  /* Glorot and Bengio 2010: values summed, and those summed into */
    float deviation; /* of a normal, where the scheme is the authors' */
};

/* Rows of width values, row floats apart: the padding stays zero. */
static void draw_rows(float *w, size_t rows, size_t width, size_t row, const struct draw *d,
                      struct random *r)
{
    const float limit = sqrtf(6.0f / (float)(d->in + d->out));
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < width; j++)
            w[i * row + j] = d->scheme == INIT_GLOROT ? random_uniform(r, -limit, limit)
                                                      : d->deviation * random_normal(r);
}

static void fill(float *values, size_t n, float value)
{
    for (size_t i = 0; i < n; i++)
        values[i] = value;
}

/* Every one 0.1, as the authors have them. */
static void set_biases(float *w, const struct layout *at, const struct capsnet_shape *shape)
{
    fill(w + at->conv1_bias, shape->conv1_channels, 0.1f);
    fill(w + at->primary_bias, at->primary_channels, 0.1f);
    for (size_t l = 0; l < 3; l++)
        fill(w + at->decoder_bias[l], at->out[l], 0.1f);
}

/* PrimaryCaps' kernels, in panels of output channels. */
static void draw_primary(float *w, const struct layout *at, const struct capsnet_shape *shape,
                         const struct draw *d, struct random *r)
{
    const size_t taps = shape->primary_kernel * shape->primary_kernel;
    for (size_t o = 0; o < at->primary_channels; o += KERNEL_PANEL)
        for (size_t tap = 0; tap < taps; tap++) {
            size_t left = at->primary_channels - o;
            draw_rows(w + (o / KERNEL_PANEL * taps + tap) * at->conv1_row * KERNEL_PANEL,
                      shape->conv1_channels, left < KERNEL_PANEL ? left : KERNEL_PANEL,
                      KERNEL_PANEL, d, r);
        }
}

static void draw_parameters(struct capsnet_model *model, const struct train_options *o)
{
    const struct capsnet_shape *shape = &model->shape;
    const struct layout *at = &model->at;
    float *w = model->parameters;
    struct random r = random_stream(o->seed, RANDOM_WEIGHTS, 0, 0);
    const size_t taps1 = shape->conv1_kernel * shape->conv1_kernel;
    const size_t taps2 = shape->primary_kernel * shape->primary_kernel;
    const struct draw conv1 = {o->init_scheme, at->conv1_taps, taps1 * shape->conv1_channels,
                               0.05f};
    /* Scaled as the parameters hold it (adam.h); Glorot's variance is that of what
     * is computed, and so of the product. */
    const struct draw primary = {o->init_scheme, taps2 * shape->conv1_channels,
                                 taps2 * at->primary_channels, 0.1f * o->primary_scale};
    const struct draw digit = {INIT_AUTHORS, 1, 1, 0.1f};
    draw_rows(w + at->conv1_weight, at->conv1_taps, shape->conv1_channels, at->conv1_weight_row,
              &conv1, &r);
    draw_primary(w + at->primary_weight, at, shape, &primary, &r);
    draw_rows(w + at->digit_weight, 1, at->capsules * at->outputs * shape->primary_dims, 0, &digit,
              &r);
    for (size_t l = 0; l < 3; l++) {
        const struct draw dense = {o->init_scheme, at->in[l], at->out[l], 0.1f};
        draw_rows(w + at->decoder_weight[l], at->in[l], at->out[l], at->out_row[l], &dense, &r);
    }
    if (o->init_scheme == INIT_AUTHORS)
        set_biases(w, at, shape);
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
        draw_parameters(model, o);
    }
    if (t->adam.ema)
        memcpy(t->adam.ema, model->parameters, model->at.total * sizeof(float));
    return CAPSNET_OK;
}
