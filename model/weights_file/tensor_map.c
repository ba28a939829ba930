/*
 * tensor_map.c - see tensor_map.h.
 */
#include "model/weights_file/tensor_map.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum tensor {
    CONV1_WEIGHT, CONV1_BIAS, PRIMARY_WEIGHT, PRIMARY_BIAS, DIGIT_WEIGHT,
    DECODER0_WEIGHT, DECODER0_BIAS, DECODER2_WEIGHT, DECODER2_BIAS, DECODER4_WEIGHT, DECODER4_BIAS
};

const char *const tensor_names[MODEL_TENSORS] = {
    "conv1.weight",     "conv1.bias",     "primary.weight",   "primary.bias",
    "digit.weight",     "decoder.0.weight", "decoder.0.bias", "decoder.2.weight",
    "decoder.2.bias",   "decoder.4.weight", "decoder.4.bias",
};

size_t tensor_dims(const struct capsnet_model *model, size_t tensor, size_t dims[4])
{
    const struct capsnet_shape *shape = &model->shape;
    const struct layout *at = &model->at;
    const size_t k1 = shape->conv1_kernel, k2 = shape->primary_kernel;
    const size_t l = (tensor - DECODER0_WEIGHT) / 2; /* decoder layer */
    switch (tensor) {
    case CONV1_WEIGHT:
        memcpy(dims, (size_t[]){shape->conv1_channels, shape->channels, k1, k1}, 4 * sizeof *dims);
        return 4;
    case PRIMARY_WEIGHT:
        memcpy(dims, (size_t[]){at->primary_channels, shape->conv1_channels, k2, k2},
               4 * sizeof *dims);
        return 4;
    case DIGIT_WEIGHT:
        memcpy(dims, (size_t[]){at->capsules, shape->classes, shape->pose_dims,
                                shape->primary_dims}, 4 * sizeof *dims);
        return 4;
    case CONV1_BIAS:
        dims[0] = shape->conv1_channels;
        return 1;
    case PRIMARY_BIAS:
        dims[0] = at->primary_channels;
        return 1;
    case DECODER0_WEIGHT: case DECODER2_WEIGHT: case DECODER4_WEIGHT:
        dims[0] = at->out[l];
        dims[1] = at->in[l];
        return 2;
    default:
        dims[0] = at->out[l];
        return 1;
    }
}

size_t tensor_product(const size_t *dims, size_t rank)
{
    size_t count = 1;
    for (size_t i = 0; i < rank; i++)
        count *= dims[i];
    return count;
}

size_t tensor_flat_index(const struct capsnet_model *model, size_t tensor, size_t i)
{
    const struct layout *at = &model->at;
    const size_t channels = model->shape.channels, c1 = model->shape.conv1_channels;
    const size_t taps1 = model->shape.conv1_kernel * model->shape.conv1_kernel;
    const size_t taps2 = model->shape.primary_kernel * model->shape.primary_kernel;
    const size_t l = (tensor - DECODER0_WEIGHT) / 2;
    size_t o, c, tap;
    switch (tensor) {
    case CONV1_WEIGHT: /* [o][c][tap] */
        tap = i % taps1, c = i / taps1 % channels, o = i / taps1 / channels;
        return at->conv1_weight + (tap * channels + c) * at->conv1_weight_row + o;
    case CONV1_BIAS:
        return at->conv1_bias + i;
    case PRIMARY_WEIGHT: /* [o][c][tap] */
        tap = i % taps2, c = i / taps2 % c1, o = i / taps2 / c1;
        return at->primary_weight +
               ((o / KERNEL_PANEL * taps2 + tap) * at->conv1_row + c) * KERNEL_PANEL +
               o % KERNEL_PANEL;
    case PRIMARY_BIAS:
        return at->primary_bias + i;
    case DIGIT_WEIGHT:
        return at->digit_weight + i;
    case DECODER0_WEIGHT: case DECODER2_WEIGHT: case DECODER4_WEIGHT: /* [out][in] */
        return at->decoder_weight[l] + i % at->in[l] * at->out_row[l] + i / at->in[l];
    default:
        return at->decoder_bias[l] + i;
    }
}

size_t capsnet_model_parameters(const struct capsnet_model *model)
{
    size_t sum = 0, dims[4];
    for (size_t t = 0; t < MODEL_TENSORS; t++)
        sum += tensor_product(dims, tensor_dims(model, t, dims));
    return sum;
}

float tensor_largest_value(const char *prefix)
{
    return *prefix ? FLT_MAX : 65504;
}

enum capsnet_status tensor_bad_value(struct capsnet_error *error, const char *name, float value)
{
    snprintf(error->text, sizeof error->text, "tensor \"%s\" holds a value that is %s", name,
             isfinite(value) ? "beyond 65504 in size" : "not finite");
    return CAPSNET_ERR_FORMAT;
}

/* ---- Metadata ------------------------------------------------------------ */

const struct shape_key shape_keys[SHAPE_KEYS] = {
#define KEY(name) {#name, offsetof(struct capsnet_shape, name)}
    KEY(height), KEY(width), KEY(channels), KEY(classes), KEY(conv1_kernel), KEY(conv1_channels),
    KEY(primary_kernel), KEY(primary_stride), KEY(primary_types), KEY(primary_dims),
    KEY(pose_dims), KEY(routing_iterations),
#undef KEY
};

const struct known_key known_keys[KNOWN_KEYS] = {
#define KEY(name) #name, offsetof(struct capsnet_known, name)
    {KEY(error_threshold), 0, 1000},
    {KEY(typical_ink), 1e-6f, 1000},
    {KEY(ink_power), 0, 8},
    {KEY(length_threshold), 0, 1},
#undef KEY
};
