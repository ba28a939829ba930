/*
 * model_write.c - a model to its weights file.
 */
#include "model/weights_file/model_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "model/weights_file/tensor_map.h"

static const char *const other_keys[] = {"format", "name", "labels", "decoder_hidden", "frame"};
enum { OTHER_KEYS = sizeof other_keys / sizeof *other_keys };

/* Is this key written by model_save() itself? */
static int is_own_key(const char *key)
{
    for (size_t i = 0; i < SHAPE_KEYS; i++)
        if (strcmp(key, shape_keys[i].key) == 0)
            return 1;
    for (size_t i = 0; i < KNOWN_KEYS; i++)
        if (strcmp(key, known_keys[i].key) == 0)
            return 1;
    for (size_t i = 0; i < OTHER_KEYS; i++)
        if (strcmp(key, other_keys[i]) == 0)
            return 1;
    return 0;
}

/* The tensors of one block, in the file's names and layouts, behind a prefix;
 * their values go to *values, which moves on.  What model_import() would
 * refuse is not written either: a diverged run keeps its last good state. */
static enum capsnet_status export_block(const struct capsnet_model *model,
                                        const struct model_block *block,
                                        enum safetensors_dtype dtype, char (*names)[64],
                                        struct safetensors_entry *entries, float **values,
                                        struct capsnet_error *error)
{
    const float limit = tensor_largest_value(block->prefix);
    for (size_t t = 0; t < MODEL_TENSORS; t++) {
        struct safetensors_entry *entry = &entries[t];
        size_t dims[4], rank = tensor_dims(model, t, dims), count = tensor_product(dims, rank);
        snprintf(names[t], 64, "%s%s", block->prefix, tensor_names[t]);
        *entry = (struct safetensors_entry){.name = names[t], .dtype = dtype, .rank = rank,
                                            .data = *values};
        memcpy(entry->dims, dims, rank * sizeof *dims);
        for (size_t i = 0; i < count; i++) {
            (*values)[i] = block->flat[tensor_flat_index(model, t, i)];
            if (!(fabsf((*values)[i]) <= limit))
                return tensor_bad_value(error, names[t], (*values)[i]);
        }
        *values += count;
    }
    return CAPSNET_OK;
}

static char *labels_json(const struct capsnet_model *model)
{
    cJSON *array = cJSON_CreateArray();
    for (size_t j = 0; array && j < model->shape.classes; j++)
        cJSON_AddItemToArray(array, cJSON_CreateString(model->labels[j]));
    char *text = cJSON_PrintUnformatted(array);
    cJSON_Delete(array);
    return text;
}

/* The keys that describe the model itself; numbers holds their text. */
static size_t own_metadata(const struct capsnet_model *model, const char *labels,
                           char (*numbers)[64], struct safetensors_metadata *out)
{
    size_t n = 0;
    out[n++] = (struct safetensors_metadata){"format", "capsnet-1"};
    out[n++] = (struct safetensors_metadata){"name", model->name};
    out[n++] = (struct safetensors_metadata){"labels", labels};
    for (size_t i = 0; i < SHAPE_KEYS; i++) {
        size_t value;
        memcpy(&value, (const char *)&model->shape + shape_keys[i].offset, sizeof value);
        snprintf(numbers[n], sizeof *numbers, "%zu", value);
        out[n] = (struct safetensors_metadata){shape_keys[i].key, numbers[n]};
        n++;
    }
    snprintf(numbers[n], sizeof *numbers, "%zu,%zu", model->shape.decoder_hidden[0],
             model->shape.decoder_hidden[1]);
    out[n] = (struct safetensors_metadata){"decoder_hidden", numbers[n]};
    n++;
    if (model->frame.height != model->shape.height || model->frame.width != model->shape.width ||
        model->frame.objects != 1) {
        snprintf(numbers[n], sizeof *numbers, "%zu,%zu,%zu", model->frame.height,
                 model->frame.width, model->frame.objects);
        out[n] = (struct safetensors_metadata){"frame", numbers[n]};
        n++;
    }
    for (size_t i = 0; i < KNOWN_KEYS && !isnan(model->known.error_threshold); i++) {
        float value;
        memcpy(&value, (const char *)&model->known + known_keys[i].offset, sizeof value);
        snprintf(numbers[n], sizeof *numbers, "%.9g", (double)value);
        out[n] = (struct safetensors_metadata){known_keys[i].key, numbers[n]};
        n++;
    }
    return n;
}

enum capsnet_status model_save(const struct capsnet_model *model, const char *path,
                               enum safetensors_dtype dtype, const struct model_block *blocks,
                               size_t n_blocks, const struct safetensors_metadata *extra,
                               size_t n_extra, struct capsnet_error *error)
{
    enum capsnet_status status = CAPSNET_ERR_MEMORY;
    enum { OWN = SHAPE_KEYS + KNOWN_KEYS + OTHER_KEYS };
    const size_t parameters = capsnet_model_parameters(model);
    struct safetensors_metadata *metadata = calloc(OWN + n_extra, sizeof *metadata);
    struct safetensors_entry *entries = calloc(n_blocks * MODEL_TENSORS, sizeof *entries);
    char(*names)[64] = calloc(n_blocks * MODEL_TENSORS, sizeof *names);
    float *values = malloc(n_blocks * parameters * sizeof *values);
    char numbers[OWN][64], *labels = labels_json(model);
    if (!metadata || !entries || !names || !values || !labels) {
        model_no_memory(error);
        goto out;
    }
    float *next = values;
    for (size_t b = 0; b < n_blocks; b++) {
        struct capsnet_error inner;
        status = export_block(model, &blocks[b], dtype, names + b * MODEL_TENSORS,
                              entries + b * MODEL_TENSORS, &next, &inner);
        if (status != CAPSNET_OK) {
            snprintf(error->text, sizeof error->text, "%.200s is not written, because %.250s",
                     path, inner.text);
            goto out;
        }
    }
    size_t n = own_metadata(model, labels, numbers, metadata);
    for (size_t i = 0; i < n_extra; i++)
        if (!is_own_key(extra[i].key))
            metadata[n++] = extra[i];
    status = safetensors_write(path, entries, n_blocks * MODEL_TENSORS, metadata, n, error);
out:
    free(metadata);
    free(entries);
    free(names);
    free(values);
    free(labels);
    return status;
}
