/*
 * model_read.c - a model from its weights file and back.
 *
 * The file has PyTorch's tensor names and layouts; memory has layouts that the
 * kernels read in order (layout.h).  One function maps between them, element
 * by element, for both directions and for everything shaped like the
 * parameters (gradients, Adam's moments).
 */
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "model/weights_file/model_file.h"
#include "model/inference/inference.h"

/* ---- Tensors ------------------------------------------------------------- */

enum tensor {
    CONV1_WEIGHT, CONV1_BIAS, PRIMARY_WEIGHT, PRIMARY_BIAS, DIGIT_WEIGHT,
    DECODER0_WEIGHT, DECODER0_BIAS, DECODER2_WEIGHT, DECODER2_BIAS, DECODER4_WEIGHT, DECODER4_BIAS
};

static const char *const tensor_names[MODEL_TENSORS] = {
    "conv1.weight",     "conv1.bias",     "primary.weight",   "primary.bias",
    "digit.weight",     "decoder.0.weight", "decoder.0.bias", "decoder.2.weight",
    "decoder.2.bias",   "decoder.4.weight", "decoder.4.bias",
};

/* The file's dimensions of a tensor; returns its rank. */
static size_t tensor_dims(const struct capsnet_model *model, size_t tensor, size_t dims[4])
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

static size_t product(const size_t *dims, size_t rank)
{
    size_t count = 1;
    for (size_t i = 0; i < rank; i++)
        count *= dims[i];
    return count;
}

/* Where element i of a tensor, in the file's order, lies in the flat array. */
static size_t flat_index(const struct capsnet_model *model, size_t tensor, size_t i)
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
        return at->conv1_weight + (tap * channels + c) * at->conv1_row + o;
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
        sum += product(dims, tensor_dims(model, t, dims));
    return sum;
}

/* The largest value in a block: for weights fp16's.  With it no sum of the
 * forward pass overflows at any shape within the limits (conv1 stays below
 * 3e8, PrimaryCaps below 2e18, whose square squash needs, the decoder below
 * 2e24), so that no weights file makes a NaN.  Adam's sums have no limit. */
static float largest_value(const char *prefix)
{
    return *prefix ? FLT_MAX : 65504;
}

static enum capsnet_status bad_value(struct capsnet_error *error, const char *name, float value)
{
    snprintf(error->text, sizeof error->text, "tensor \"%s\" holds a value that is %s", name,
             isfinite(value) ? "beyond 65504 in size" : "not finite");
    return CAPSNET_ERR_FORMAT;
}

/* ---- Metadata ------------------------------------------------------------ */

static const struct {
    const char *key;
    size_t offset;
} shape_keys[] = {
#define KEY(name) {#name, offsetof(struct capsnet_shape, name)}
    KEY(height), KEY(width), KEY(channels), KEY(classes), KEY(conv1_kernel), KEY(conv1_channels),
    KEY(primary_kernel), KEY(primary_stride), KEY(primary_types), KEY(primary_dims),
    KEY(pose_dims), KEY(routing_iterations),
#undef KEY
};
enum { SHAPE_KEYS = sizeof shape_keys / sizeof *shape_keys };

/* The numbers of `struct capsnet_known`, in whose absence its defaults stand. */
static const struct {
    const char *key;
    size_t offset;
    float low, high;
} known_keys[] = {
#define KEY(name) #name, offsetof(struct capsnet_known, name)
    {KEY(error_threshold), 0, 1000},
    {KEY(typical_ink), 1e-6f, 1000},
    {KEY(ink_power), 0, 8},
    {KEY(length_threshold), 0, 1},
#undef KEY
};
enum { KNOWN_KEYS = sizeof known_keys / sizeof *known_keys };

static const char *const other_keys[] = {"format", "name", "labels", "decoder_hidden"};
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

/* A decimal number without sign, at most 9 digits, at *text; moves *text on. */
static int parse_size(const char **text, size_t *value)
{
    size_t digits = 0, sum = 0;
    for (; **text >= '0' && **text <= '9' && digits < 10; digits++, (*text)++)
        sum = sum * 10 + (size_t)(**text - '0');
    if (digits == 0 || digits > 9)
        return 0;
    *value = sum;
    return 1;
}

static enum capsnet_status bad(struct capsnet_error *error, const char *path, const char *what)
{
    snprintf(error->text, sizeof error->text, "%.200s: %.300s", path, what);
    return CAPSNET_ERR_FORMAT;
}

static enum capsnet_status read_shape(const struct safetensors *file, const char *path,
                                      struct capsnet_shape *shape, struct capsnet_error *error)
{
    char what[128];
    const char *text = safetensors_get_metadata(file, "format");
    if (!text || strcmp(text, "capsnet-1") != 0)
        return bad(error, path, "not a capsule network: its metadata lacks \"format\": \"capsnet-1\"");
    for (size_t i = 0; i < SHAPE_KEYS; i++) {
        size_t *field = (size_t *)(void *)((char *)shape + shape_keys[i].offset);
        text = safetensors_get_metadata(file, shape_keys[i].key);
        if (!text || !parse_size(&text, field) || *text) {
            snprintf(what, sizeof what, "metadata \"%s\" is missing or not a number",
                     shape_keys[i].key);
            return bad(error, path, what);
        }
    }
    text = safetensors_get_metadata(file, "decoder_hidden");
    if (!text || !parse_size(&text, &shape->decoder_hidden[0]) || *text++ != ',' ||
        !parse_size(&text, &shape->decoder_hidden[1]) || *text)
        return bad(error, path, "metadata \"decoder_hidden\" is missing or not two numbers");
    return CAPSNET_OK;
}

/* Replaces the default labels by the file's JSON array. */
static enum capsnet_status read_labels(struct capsnet_model *model, const char *text,
                                       const char *path, struct capsnet_error *error)
{
    enum capsnet_status status = CAPSNET_OK;
    cJSON *array = cJSON_ParseWithLength(text, strlen(text));
    if (!cJSON_IsArray(array) ||
        (size_t)cJSON_GetArraySize(array) != model->shape.classes) {
        status = bad(error, path, "metadata \"labels\" is not a JSON array of one string a class");
        goto out;
    }
    size_t j = 0;
    for (const cJSON *item = array->child; item; item = item->next, j++) {
        char *label = cJSON_IsString(item) ? strdup(item->valuestring) : NULL;
        if (!label) {
            status = bad(error, path, "metadata \"labels\" holds something that is no string");
            goto out;
        }
        free(model->labels[j]);
        model->labels[j] = label;
    }
out:
    cJSON_Delete(array);
    return status;
}

static enum capsnet_status read_known(struct capsnet_known *known, const struct safetensors *file,
                                      const char *path, struct capsnet_error *error)
{
    char what[128], *end;
    for (size_t i = 0; i < KNOWN_KEYS; i++) {
        const char *text = safetensors_get_metadata(file, known_keys[i].key);
        if (!text)
            continue;
        const float value = strtof(text, &end);
        if (end == text || *end || !(value >= known_keys[i].low && value <= known_keys[i].high)) {
            snprintf(what, sizeof what, "metadata \"%s\" is not a number from %g to %g",
                     known_keys[i].key, (double)known_keys[i].low, (double)known_keys[i].high);
            return bad(error, path, what);
        }
        *(float *)(void *)((char *)known + known_keys[i].offset) = value;
    }
    return CAPSNET_OK;
}

static enum capsnet_status read_metadata(struct capsnet_model *model,
                                         const struct safetensors *file, const char *path,
                                         struct capsnet_error *error)
{
    size_t n = 0;
    while (safetensors_metadata_at(file, n))
        n++;
    model->metadata = calloc(n ? n : 1, sizeof *model->metadata);
    if (!model->metadata)
        return model_no_memory(error);
    for (size_t i = 0; i < n; i++) {
        const struct safetensors_metadata *entry = safetensors_metadata_at(file, i);
        struct model_metadata *mine = &model->metadata[model->n_metadata++];
        mine->key = strdup(entry->key);
        mine->value = strdup(entry->value);
        if (!mine->key || !mine->value)
            return model_no_memory(error);
    }
    const char *text = safetensors_get_metadata(file, "name");
    if (text && *text) {
        free(model->name);
        model->name = strdup(text);
        if (!model->name)
            return model_no_memory(error);
    }
    enum capsnet_status status = read_known(&model->known, file, path, error);
    text = safetensors_get_metadata(file, "labels");
    return status == CAPSNET_OK && text ? read_labels(model, text, path, error) : status;
}

/* ---- Reading ------------------------------------------------------------- */

/* "16 x 1 x 9 x 9" */
static const char *dims_text(char *text, size_t size, const size_t *dims, size_t rank)
{
    size_t used = 0;
    for (size_t i = 0; i < rank && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, i ? " x %zu" : "%zu", dims[i]);
    if (rank == 0)
        snprintf(text, size, "one number");
    return text;
}

enum capsnet_status model_import(const struct capsnet_model *model,
                                 const struct safetensors *file, const char *prefix, float *flat,
                                 struct capsnet_error *error)
{
    const float limit = largest_value(prefix);
    for (size_t t = 0; t < MODEL_TENSORS; t++) {
        char name[64];
        size_t dims[4], rank = tensor_dims(model, t, dims), count = product(dims, rank);
        snprintf(name, sizeof name, "%s%s", prefix, tensor_names[t]);
        const struct safetensors_tensor *tensor = safetensors_find(file, name);
        if (!tensor) {
            snprintf(error->text, sizeof error->text, "tensor \"%s\" is missing", name);
            return CAPSNET_ERR_FORMAT;
        }
        if (tensor->rank != rank || memcmp(tensor->dims, dims, rank * sizeof *dims) != 0) {
            char is[64], should[64];
            snprintf(error->text, sizeof error->text, "tensor \"%s\" is %s, not %s", name,
                     dims_text(is, sizeof is, tensor->dims, tensor->rank),
                     dims_text(should, sizeof should, dims, rank));
            return CAPSNET_ERR_SHAPE;
        }
        float *values = malloc(count * sizeof *values);
        if (!values)
            return model_no_memory(error);
        safetensors_to_f32(tensor, values);
        size_t i = 0;
        for (; i < count && fabsf(values[i]) <= limit; i++)
            flat[flat_index(model, t, i)] = values[i];
        enum capsnet_status status =
            i < count ? bad_value(error, name, values[i]) : CAPSNET_OK;
        free(values);
        if (status != CAPSNET_OK)
            return status;
    }
    return CAPSNET_OK;
}

enum capsnet_status model_from_file(struct capsnet_model **out, const struct safetensors *file,
                                    const char *path, const struct capsnet_options *options,
                                    struct capsnet_error *error)
{
    struct capsnet_shape shape;
    struct capsnet_model *model = NULL;
    struct capsnet_error inner;
    enum capsnet_status status = read_shape(file, path, &shape, error);
    if (status != CAPSNET_OK)
        return status;
    status = model_create(&model, &shape, options, &inner);
    if (status == CAPSNET_OK)
        status = model_import(model, file, "", model->parameters, &inner);
    if (status != CAPSNET_OK) {
        if (status == CAPSNET_ERR_ARGUMENT) /* the options', not the file's */
            *error = inner;
        else
            snprintf(error->text, sizeof error->text, "%.150s: %.300s%s", path, inner.text,
                     status == CAPSNET_ERR_SHAPE ? " as the metadata says" : "");
        goto out;
    }
    model->stored_dtype = safetensors_dtype_name(safetensors_find(file, "digit.weight")->dtype);
    status = read_metadata(model, file, path, error);
    if (status != CAPSNET_OK)
        goto out;
    *out = model;
    model = NULL;
out:
    capsnet_model_free(model);
    return status;
}

enum capsnet_status model_load_whole(struct capsnet_model **out, const char *path,
                                     const struct capsnet_options *options,
                                     struct capsnet_error *error)
{
    struct safetensors *file;
    struct capsnet_model *model;
    enum capsnet_status status = safetensors_open(&file, path, error);
    if (status != CAPSNET_OK)
        return status;
    status = model_from_file(&model, file, path, options, error);
    safetensors_close(file);
    if (status != CAPSNET_OK)
        return status;
    status = model_pack(model, error);
    if (status != CAPSNET_OK) {
        capsnet_model_free(model);
        return status;
    }
    *out = model;
    return CAPSNET_OK;
}

enum capsnet_status capsnet_model_load(struct capsnet_model **out, const char *path,
                                       const struct capsnet_options *options,
                                       struct capsnet_error *error)
{
    enum capsnet_status status = model_load_whole(out, path, options, error);
    if (status == CAPSNET_OK)
        model_release(*out);
    return status;
}

/* ---- Writing ------------------------------------------------------------- */

/* The tensors of one block, in the file's names and layouts, behind a prefix;
 * their values go to *values, which moves on.  What model_import() would
 * refuse is not written either: a diverged run keeps its last good state. */
static enum capsnet_status export_block(const struct capsnet_model *model,
                                        const struct model_block *block,
                                        enum safetensors_dtype dtype, char (*names)[64],
                                        struct safetensors_entry *entries, float **values,
                                        struct capsnet_error *error)
{
    const float limit = largest_value(block->prefix);
    for (size_t t = 0; t < MODEL_TENSORS; t++) {
        struct safetensors_entry *entry = &entries[t];
        size_t dims[4], rank = tensor_dims(model, t, dims), count = product(dims, rank);
        snprintf(names[t], 64, "%s%s", block->prefix, tensor_names[t]);
        *entry = (struct safetensors_entry){.name = names[t], .dtype = dtype, .rank = rank,
                                            .data = *values};
        memcpy(entry->dims, dims, rank * sizeof *dims);
        for (size_t i = 0; i < count; i++) {
            (*values)[i] = block->flat[flat_index(model, t, i)];
            if (!(fabsf((*values)[i]) <= limit))
                return bad_value(error, names[t], (*values)[i]);
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
