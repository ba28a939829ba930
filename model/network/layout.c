/*
 * layout.c - see layout.h.
 */
#include "model/network/layout.h"

#include <stdio.h>
#include <string.h>

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* One limit per field.  They keep every product below far under 2^63 and every
 * allocation within reason; a real network is nowhere near them. */
static const struct {
    const char *name;
    size_t offset, low, high;
} limits[] = {
#define FIELD(name, low, high) {#name, offsetof(struct capsnet_shape, name), low, high}
    FIELD(height, 9, 512),
    FIELD(width, 9, 512),
    FIELD(channels, 1, 4),
    FIELD(classes, 2, KERNEL_MAX_CLASSES),
    FIELD(conv1_kernel, 1, 31),
    FIELD(conv1_channels, 1, 1024),
    FIELD(primary_kernel, 1, 10),
    FIELD(primary_stride, 2, 2),
    FIELD(primary_types, 1, 256),
    FIELD(primary_dims, 1, KERNEL_MAX_DIMS),
    FIELD(pose_dims, 1, 64),
    FIELD(routing_iterations, 1, 10),
    FIELD(decoder_hidden[0], 1, 8192),
    FIELD(decoder_hidden[1], 1, 8192),
#undef FIELD
};

static enum capsnet_status check_shape(const struct capsnet_shape *shape,
                                       struct capsnet_error *error)
{
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        size_t value;
        memcpy(&value, (const char *)shape + limits[i].offset, sizeof value);
        if (value < limits[i].low || value > limits[i].high) {
            snprintf(error->text, sizeof error->text, "%s is %zu, but must be %zu to %zu",
                     limits[i].name, value, limits[i].low, limits[i].high);
            return CAPSNET_ERR_SHAPE;
        }
    }
    size_t side = shape->height < shape->width ? shape->height : shape->width;
    if (side < capsnet_field(shape)) {
        snprintf(error->text, sizeof error->text,
                 "images of %zu x %zu pixels are too small for kernels of %zu and %zu",
                 shape->height, shape->width, shape->conv1_kernel, shape->primary_kernel);
        return CAPSNET_ERR_SHAPE;
    }
    return CAPSNET_OK;
}

/* Reserves floats of the flat array, at a multiple of 16. */
static size_t reserve(struct layout *at, size_t floats)
{
    size_t offset = at->total;
    at->total += round_up(floats, KERNEL_PAD);
    return offset;
}

enum capsnet_status layout_of(struct layout *at, const struct capsnet_shape *shape,
                              struct capsnet_error *error)
{
    enum capsnet_status status = check_shape(shape, error);
    if (status != CAPSNET_OK)
        return status;
    memset(at, 0, sizeof *at);
    at->pixels = capsnet_pixels(shape);
    at->pixels_row = round_up(at->pixels, KERNEL_PAD);
    at->conv1_taps = shape->conv1_kernel * shape->conv1_kernel * shape->channels;
    at->conv1_h = shape->height - shape->conv1_kernel + 1;
    at->conv1_w = shape->width - shape->conv1_kernel + 1;
    at->conv1_row = round_up(shape->conv1_channels, KERNEL_PAD);
    /* Rows a power of two apart would compete for one set of lines of the cache. */
    at->conv1_weight_row = at->conv1_row + KERNEL_PAD;
    at->conv1_size = at->conv1_h * at->conv1_w * at->conv1_row;
    at->conv1_bits = (at->conv1_row + 63) / 64;
    at->conv1_patch_row = round_up(at->conv1_taps, KERNEL_PAD);
    at->conv1_bands = (at->conv1_h + CONV1_BAND - 1) / CONV1_BAND;
    at->primary_h = capsnet_places(shape, shape->height);
    at->primary_w = capsnet_places(shape, shape->width);
    at->positions = at->primary_h * at->primary_w;
    at->primary_channels = shape->primary_types * shape->primary_dims;
    at->primary_row = round_up(at->primary_channels, KERNEL_PANEL);
    at->capsules = capsnet_capsules(shape);
    at->groups = (at->capsules + KERNEL_LANES - 1) / KERNEL_LANES;
    at->outputs = shape->classes * shape->pose_dims;
    at->outputs_row = round_up(at->outputs, KERNEL_PAD);
    at->strips_x = (at->primary_w + SPARSE_ROWS - 1) / SPARSE_ROWS;
    at->strips = at->primary_h * at->strips_x;
    at->primary_taps = shape->primary_kernel * shape->primary_kernel * at->conv1_row;
    at->tiles_y = (at->primary_h + 5) / 6;
    at->tiles_x = (at->primary_w + 5) / 6;
    at->tiles = at->tiles_y * at->tiles_x;
    at->spectral_k = 4 * at->conv1_row;

    const size_t widths[4] = {at->outputs, shape->decoder_hidden[0], shape->decoder_hidden[1],
                              at->pixels};
    at->conv1_weight = reserve(at, at->conv1_taps * at->conv1_weight_row);
    at->conv1_bias = reserve(at, at->conv1_row);
    at->primary_weight = reserve(at, at->primary_taps * at->primary_row);
    at->primary_bias = reserve(at, at->primary_row);
    at->digit_weight = reserve(at, at->capsules * at->outputs * shape->primary_dims);
    for (size_t l = 0; l < 3; l++) {
        at->in[l] = widths[l];
        at->out[l] = widths[l + 1];
        at->in_row[l] = round_up(at->in[l], KERNEL_PAD);
        at->out_row[l] = round_up(at->out[l], KERNEL_PAD);
        at->decoder_weight[l] = reserve(at, at->in_row[l] * at->out_row[l]);
        at->decoder_bias[l] = reserve(at, at->out_row[l]);
    }
    if (at->total > (size_t)1 << 28) {
        snprintf(error->text, sizeof error->text,
                 "the network has more than 268 million parameters");
        return CAPSNET_ERR_SHAPE;
    }
    return CAPSNET_OK;
}
