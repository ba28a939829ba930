/*
 * tensor_map.h - the tensors of a weights file, and where their elements lie in a
 * model's memory.
 *
 * The file has PyTorch's tensor names and layouts; memory has layouts that the
 * kernels read in order (layout.h).  One function maps between them, element
 * by element, for both directions and for everything shaped like the
 * parameters (gradients, Adam's moments).  Beside it the keys of the file's
 * metadata that describe a model.
 */
#ifndef CAPSNET_TENSOR_MAP_H
#define CAPSNET_TENSOR_MAP_H

#include "model/network/model.h"

enum { MODEL_TENSORS = 11 };

extern const char *const tensor_names[MODEL_TENSORS];

/* The file's dimensions of a tensor; returns its rank. */
size_t tensor_dims(const struct capsnet_model *model, size_t tensor, size_t dims[4]);

/* Their product. */
size_t tensor_product(const size_t *dims, size_t rank);

/* Where element i of a tensor, in the file's order, lies in the flat array. */
size_t tensor_flat_index(const struct capsnet_model *model, size_t tensor, size_t i);

/* The largest value in a block: for weights fp16's.  With it no sum of the
 * forward pass overflows at any shape within the limits (conv1 stays below
 * 3e8, PrimaryCaps below 2e18, whose square squash needs, the decoder below
 * 2e24), so that no weights file makes a NaN.  Adam's sums have no limit. */
float tensor_largest_value(const char *prefix);

/* Says that a tensor holds a value beyond that; returns CAPSNET_ERR_FORMAT. */
enum capsnet_status tensor_bad_value(struct capsnet_error *error, const char *name, float value);

/* A number of `struct capsnet_shape` in the metadata, and where it lies there.
 * decoder_hidden, two numbers, stands apart. */
struct shape_key {
    const char *key;
    size_t offset;
};
enum { SHAPE_KEYS = 12 };
extern const struct shape_key shape_keys[SHAPE_KEYS];

/* A number of `struct capsnet_known`, in whose absence its default stands. */
struct known_key {
    const char *key;
    size_t offset;
    float low, high;
};
enum { KNOWN_KEYS = 4 };
extern const struct known_key known_keys[KNOWN_KEYS];

#endif
