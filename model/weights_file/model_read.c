/*
 * model_read.c - a model from its weights file.
 */
#include "model/weights_file/model_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "model/inference/inference.h"
#include "model/weights_file/tensor_map.h"

/* ---- Metadata ------------------------------------------------------------ */

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

/* "28,28,2": height and width, each at least 1 and no more than the image has, and objects,
 * at most as many as there are classes.  Absent: the default stands. */
static enum capsnet_status read_frame(struct capsnet_model *model, const struct safetensors *file,
                                      const char *path, struct capsnet_error *error)
{
    struct capsnet_frame frame;
    const char *text = safetensors_get_metadata(file, "frame");
    if (!text)
        return CAPSNET_OK;
    if (!parse_size(&text, &frame.height) || *text++ != ',' || !parse_size(&text, &frame.width) ||
        *text++ != ',' || !parse_size(&text, &frame.objects) || *text || !frame.height ||
        !frame.width || !frame.objects || frame.height > model->shape.height ||
        frame.width > model->shape.width || frame.objects > model->shape.classes)
        return bad(error, path,
                   "metadata \"frame\" is not a height, a width and a number of objects that the "
                   "image has room for");
    model->frame = frame;
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
    if (status == CAPSNET_OK)
        status = read_frame(model, file, path, error);
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
    const float limit = tensor_largest_value(prefix);
    for (size_t t = 0; t < MODEL_TENSORS; t++) {
        char name[64];
        size_t dims[4], rank = tensor_dims(model, t, dims), count = tensor_product(dims, rank);
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
            flat[tensor_flat_index(model, t, i)] = values[i];
        enum capsnet_status status =
            i < count ? tensor_bad_value(error, name, values[i]) : CAPSNET_OK;
        free(values);
        if (status != CAPSNET_OK)
            return status;
    }
    return CAPSNET_OK;
}

/* No model could be made: names the file where the fault is the file's. */
static enum capsnet_status bad_model(struct capsnet_error *error, const char *path,
                                     enum capsnet_status status,
                                     const struct capsnet_error *inner)
{
    if (status == CAPSNET_ERR_ARGUMENT) /* the options', not the file's */
        *error = *inner;
    else
        snprintf(error->text, sizeof error->text, "%.150s: %.300s%s", path, inner->text,
                 status == CAPSNET_ERR_SHAPE ? " as the metadata says" : "");
    return status;
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
        bad_model(error, path, status, &inner);
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

enum capsnet_status capsnet_model_sizes(struct capsnet_sizes *sizes, const char *path,
                                        const struct capsnet_options *options,
                                        struct capsnet_error *error)
{
    struct safetensors *file;
    struct capsnet_shape shape;
    struct capsnet_model *model = NULL;
    struct capsnet_error inner;
    struct capsnet_options low = options ? *options : (struct capsnet_options){0};
    enum capsnet_status status = safetensors_open(&file, path, error);
    if (status != CAPSNET_OK)
        return status;
    status = read_shape(file, path, &shape, error);
    safetensors_close(file);
    if (status != CAPSNET_OK)
        return status;
    low.memory = "low";
    low.plan = NULL; /* spectral would not do with that */
    status = model_create(&model, &shape, &low, &inner); /* whose memory is not touched */
    if (status != CAPSNET_OK)
        return bad_model(error, path, status, &inner);
    *sizes = model_sizes(model);
    capsnet_model_free(model);
    return CAPSNET_OK;
}

/* for_inference: what inference does not read as the file has it may be changed and given
 * back. */
static enum capsnet_status load(struct capsnet_model **out, const char *path,
                                const struct capsnet_options *options, int for_inference,
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
    if (for_inference)
        status = model_order_channels(model, error);
    if (status == CAPSNET_OK)
        status = model_pack(model, error);
    if (status != CAPSNET_OK) {
        capsnet_model_free(model);
        return status;
    }
    if (for_inference)
        model_release(model);
    *out = model;
    return CAPSNET_OK;
}

enum capsnet_status model_load_whole(struct capsnet_model **out, const char *path,
                                     const struct capsnet_options *options,
                                     struct capsnet_error *error)
{
    return load(out, path, options, 0, error);
}

enum capsnet_status capsnet_model_load(struct capsnet_model **out, const char *path,
                                       const struct capsnet_options *options,
                                       struct capsnet_error *error)
{
    return load(out, path, options, 1, error);
}
