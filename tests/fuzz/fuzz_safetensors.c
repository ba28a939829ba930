/* fuzz_safetensors.c - a weights file, and the model made from it. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "model/weights_file/model_file.h"

static void read_tensors(const struct safetensors *file, const uint8_t *bytes, size_t nbytes)
{
    const struct safetensors_tensor *tensor;
    for (size_t i = 0; (tensor = safetensors_at(file, i)); i++) {
        size_t count = 1, size = tensor->dtype == SAFETENSORS_F32 ? 4 : 2;
        MUST(tensor->rank <= SAFETENSORS_MAX_RANK);
        for (size_t d = 0; d < tensor->rank; d++)
            count *= tensor->dims[d];
        MUST(count == tensor->count && count <= nbytes / size);
        MUST(tensor->data >= bytes && tensor->data + count * size <= bytes + nbytes);
        MUST(safetensors_find(file, tensor->name) == tensor);
        float *values = malloc(count * sizeof *values + 1);
        MUST(values);
        safetensors_to_f32(tensor, values);
        free(values);
    }
    const struct safetensors_metadata *entry;
    for (size_t i = 0; (entry = safetensors_metadata_at(file, i)); i++)
        MUST(safetensors_is_utf8(entry->key) && safetensors_is_utf8(entry->value));
}

/* Memory for the largest shape that a header may state is only reserved until
 * tensors of that size have been found in the file, so no limit is needed. */
static void make_model(const struct safetensors *file)
{
    struct capsnet_model *model;
    struct capsnet_error error = {""};
    if (model_from_file(&model, file, "fuzz", &(struct capsnet_options){.cpu_level = "ref"}, &error) != CAPSNET_OK) {
        MUST(*error.text);
        return;
    }
    const struct capsnet_shape *shape = capsnet_model_shape(model);
    MUST(*capsnet_model_name(model));
    for (size_t j = 0; j < shape->classes; j++)
        MUST(safetensors_is_utf8(capsnet_model_label(model, j)));
    capsnet_model_free(model);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nbytes)
{
    uint8_t *copy = malloc(nbytes + !nbytes);
    struct safetensors *file;
    struct capsnet_error error = {""};
    MUST(copy);
    if (nbytes)
        memcpy(copy, bytes, nbytes);
    if (safetensors_parse(&file, "fuzz", copy, nbytes, &error) == CAPSNET_OK) {
        read_tensors(file, copy, nbytes);
        make_model(file);
        safetensors_close(file);
    } else {
        MUST(*error.text);
    }
    free(copy);
    return 0;
}
