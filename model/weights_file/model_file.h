/*
 * model_file.h - a model to and from its weights file, for the trainer.
 */
#ifndef CAPSNET_MODEL_FILE_H
#define CAPSNET_MODEL_FILE_H

#include "model/network/model.h"
#include "model/weights_file/safetensors.h"

/* A flat array in the model's layout (its parameters, or others of their
 * shape), whose tensors carry prefix before their names, e.g. "adam.m.". */
struct model_block {
    const char *prefix;
    const float *flat;
};

/* As capsnet_model_load(), from an open file and without the spectrum:
 * model_pack() must follow before inference, primary_prepare() before training.  path is
 * for messages. */
CAPSNET_MUST_CHECK enum capsnet_status model_from_file(struct capsnet_model **model,
                                                       const struct safetensors *file,
                                                       const char *path,
                                                       const struct capsnet_options *options,
                                                       struct capsnet_error *error);

/* As capsnet_model_load(), but the parameters stay whole: for a model that is to
 * be written again. */
CAPSNET_MUST_CHECK enum capsnet_status model_load_whole(struct capsnet_model **model,
                                                        const char *path,
                                                        const struct capsnet_options *options,
                                                        struct capsnet_error *error);

/* Reads one block of a file into flat [at.total].  Every value must be finite,
 * and of the weights themselves (prefix "") none beyond fp16's 65504. */
CAPSNET_MUST_CHECK enum capsnet_status model_import(const struct capsnet_model *model,
                                                    const struct safetensors *file,
                                                    const char *prefix, float *flat,
                                                    struct capsnet_error *error);

/* Writes blocks and metadata: what describes the model itself comes first,
 * then extra (keys of the former are left out).  Values that model_import()
 * would refuse are CAPSNET_ERR_FORMAT, and the old file stands. */
CAPSNET_MUST_CHECK enum capsnet_status
model_save(const struct capsnet_model *model, const char *path, enum safetensors_dtype dtype,
           const struct model_block *blocks, size_t n_blocks,
           const struct safetensors_metadata *extra, size_t n_extra, struct capsnet_error *error);

#endif
