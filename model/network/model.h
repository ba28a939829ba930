/*
 * model.h - a model in memory: what the library's `struct capsnet_model` is made
 * of, and how one begins.  The trainer and the layers see this; the server sees
 * capsnet.h only.
 */
#ifndef CAPSNET_MODEL_H
#define CAPSNET_MODEL_H

#include <stdint.h>

#include "model/capsnet.h"
#include "model/kernels/kernels.h"
#include "model/network/layout.h"
#include "model/network/winograd.h"

/* What the weights and activations of a forward pass are rounded to. */
enum precision { PRECISION_F32, PRECISION_BF16, PRECISION_INT8, PRECISIONS };

/* Values in a kernel's word. */
static inline size_t values_per_word(enum precision precision)
{
    return precision == PRECISION_F32 ? 1 : precision == PRECISION_BF16 ? 2 : 4;
}

/* What a layer's weights are stored as for inference.  fp16 is as exact as fp32: it is taken
 * where the weights have no other values, as those of a file in F16. */
enum weight_form { FORM_F32, FORM_F16, FORM_BF16, FORM_INT8 };

/* Bytes of a value. */
static inline size_t form_bytes(enum weight_form form)
{
    return form == FORM_F32 ? 4 : form == FORM_INT8 ? 1 : 2;
}

/* Weights as inference reads them, beside or instead of the parameters: one
 * block, made by model_pack().  Words and panels as in kernels.h; NULL where
 * the precision does not use it. */
struct packed {
    void *memory;
    size_t bytes;
    int has_bf16_layers;   /* routing is in bf16, and what goes into the decoder */
    uint32_t *conv1;       /* [panel][ky][conv1_words][KERNEL_PANEL] bf16 or s8 */
    size_t conv1_words;    /* of a kernel row, the last filled up */
    float *conv1_scales;   /* s8: [conv1_row] value of a unit */
    void *primary;         /* [panel][ky][primary_words][KERNEL_PANEL] of fp16, or words of bf16 or
                            * s8; in fp32 the parameters are read */
    float *primary_scales; /* [primary_row] value of an s8's unit */
    uint32_t *spectrum;    /* planes of [panel][spectral_k / values][KERNEL_PANEL] words of
                            * values: 2 bf16 or 4 s8 */
    float *spectrum_scales;   /* s8: [operand_planes][primary_row] value of a unit */
    int32_t *spectrum_starts; /* [conv1_row / KERNEL_PAD] likewise: -128 times the sum of a
                               * column's weights of each phase's first KERNEL_PAD channels,
                               * twice as many ..: what a u8 of 128 for 0 adds */
    size_t spectrum_plane; /* words from one to the next */
    enum weight_form primary_form, digit_form, decoder_form[3];
    void *digit;           /* struct image_routing's weight and scales */
    float *digit_scales;
    void *decoder[3];      /* [panel][words][KERNEL_PANEL] of fp16, or words of bf16 or s8; in fp32
                            * the parameters are read */
    float *decoder_scales[3]; /* s8: [out_row] value of a unit */
};

struct capsnet_model {
    struct capsnet_shape shape;
    struct layout at;
    const struct kernels *kernels;
    enum precision precision;
    enum precision products; /* of the spectral plan: the same, or model_set_products()'s */
    double cost;       /* of its products, in units of f32's */
    int is_spectral;   /* has weights in the transform domain: memory is full */
    int is_plan_fixed; /* by the options */
    size_t direct_max; /* largest batch that is computed directly, if is_spectral */
    float *parameters; /* [at.total] */
    size_t released_bytes; /* of them, and of what is packed */
    struct winograd winograd; /* of PrimaryCaps' spectral plan */
    float *spectrum;   /* f32: primary_weight's planes, see primary_spectral.c */
    size_t spectrum_plane;
    struct packed packed;
    struct capsnet_known known;
    struct capsnet_frame frame;
    const char *stored_dtype;
    char *name;
    char **labels; /* [classes] */
    struct model_metadata {
        char *key, *value;
    } *metadata;
    size_t n_metadata;
};

/* A model of that shape, its parameters zero, named "capsnet", its labels the
 * class numbers; capsnet_model_free() it.  options as in capsnet_model_load();
 * the trainer's memory must be full. */
CAPSNET_MUST_CHECK enum capsnet_status model_create(struct capsnet_model **model,
                                                    const struct capsnet_shape *shape,
                                                    const struct capsnet_options *options,
                                                    struct capsnet_error *error);

/* In what an f32 model of full memory multiplies in PrimaryCaps' spectral plan, which a
 * workspace is made for: PRECISION_F32, as it begins, or PRECISION_BF16 with fp32 sums,
 * which the level must have.  primary_prepare() must follow. */
CAPSNET_MUST_CHECK enum capsnet_status model_set_products(struct capsnet_model *model,
                                                          enum precision precision,
                                                          struct capsnet_error *error);

/* What the model, made but not read yet, is about to take. */
struct capsnet_sizes model_sizes(const struct capsnet_model *model);

/* Words from one plane of a packed spectrum to the next: 32 more than it holds keep
 * planes from lying whole pages apart. */
static inline size_t packed_spectrum_plane(const struct layout *at, enum precision products)
{
    return at->spectral_k / values_per_word(products) * at->primary_row + KERNEL_PANEL;
}

/* Says that memory is short for a model; returns CAPSNET_ERR_MEMORY. */
enum capsnet_status model_no_memory(struct capsnet_error *error);

#endif
