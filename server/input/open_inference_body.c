/* open_inference_body.c - from an inference request to digits; see open_inference.h. */
#include "server/input/open_inference.h"

#include <stdlib.h>
#include <string.h>

#include "server/input/body_images.h"
#include "server/input/json_numbers.h"
#include "server/input/json_parse.h"
#include "server/input/open_inference_tensor.h"
#include "server/request/query_params.h"

enum { REQUEST_VALUES = 256 }; /* room in the JSON for all but the images */

static unsigned bad(struct request *r, const char *sentence)
{
    return request_refuse(r, REFUSED_INVALID_JSON, "%s", sentence);
}

/* A member of an object; NULL when it is absent, or null, as clients write that do not
 * leave out what they have nothing to say about. */
static const cJSON *member(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNull(item) ? NULL : item;
}

/* A parameter of an object that may have parameters; NULL when it has none. */
static const cJSON *parameter(const cJSON *object, const char *name)
{
    return member(member(object, "parameters"), name);
}

/* ---- The request's JSON ---------------------------------------------------------- */

static unsigned take_datatype(struct request *r, struct oip_input *input, const cJSON *item)
{
    static const char *const NAMES[OIP_DATATYPES] = {[OIP_FP16] = "FP16",
                                                     [OIP_FP32] = "FP32",
                                                     [OIP_FP64] = "FP64",
                                                     [OIP_UINT8] = "UINT8",
                                                     [OIP_BYTES] = "BYTES"};
    const char *name = cJSON_GetStringValue(item);
    for (size_t i = 0; name && i < OIP_DATATYPES; i++) {
        if (strcmp(name, NAMES[i]) == 0) {
            input->datatype = (enum oip_datatype)i;
            return 0;
        }
    }
    return bad(r, "inputs[0].datatype: must be \"FP32\", \"FP16\", \"FP64\", \"UINT8\" or "
                  "\"BYTES\"");
}

/* Reads an array of 1 to OIP_MAX_RANK whole numbers: 1, or 0. */
static int read_dims(struct oip_input *input, const cJSON *item)
{
    const cJSON *dim;
    if (!cJSON_IsArray(item))
        return 0;
    input->rank = 0;
    cJSON_ArrayForEach(dim, item)
    {
        if (input->rank == OIP_MAX_RANK ||
            !json_get_index(&input->dims[input->rank++], dim, (size_t)1 << 32))
            return 0;
    }
    return input->rank > 0;
}

/* [n,height,width], with the channels behind unless there is one: that one may be
 * written too, in front or behind.  Of BYTES [n]. */
static int is_image_shape(const struct request *r, const struct oip_input *input)
{
    const struct capsnet_shape *shape = request_shape(r);
    const size_t n = input->dims[0], nbytes = input->rank * sizeof *input->dims;
    const size_t plain[] = {n, shape->height, shape->width},
                 behind[] = {n, shape->height, shape->width, shape->channels},
                 front[] = {n, 1, shape->height, shape->width};
    if (input->datatype == OIP_BYTES)
        return input->rank == 1;
    if (input->rank == 4)
        return memcmp(input->dims, behind, nbytes) == 0 ||
               (shape->channels == 1 && memcmp(input->dims, front, nbytes) == 0);
    return input->rank == 3 && shape->channels == 1 && memcmp(input->dims, plain, nbytes) == 0;
}

static unsigned take_shape(struct request *r, struct oip_input *input, const cJSON *item)
{
    const size_t max_images = r->service->options->max_images;
    size_t dims[OIP_MAX_RANK], rank = oip_shape(dims, OIP_RECONSTRUCTION, request_shape(r), 0);
    struct text expected = {0};
    int is_good = read_dims(input, item) && is_image_shape(r, input);
    if (is_good && input->dims[0] <= max_images)
        return body_make_digits(r, input->dims[0]);
    if (is_good)
        return request_refuse(r, REFUSED_TOO_LARGE, "the request holds more than %zu images",
                              max_images);
    if (input->datatype == OIP_BYTES)
        rank = 1;
    text_add(&expected, "[n");
    for (size_t i = 1; i < rank; i++)
        text_addf(&expected, ",%zu", dims[i]);
    unsigned status = expected.failed ? request_refuse_no_memory(r)
                                      : request_refuse(r, REFUSED_INVALID_JSON,
                                                       "inputs[0].shape: must be %s]",
                                                       expected.bytes);
    text_free(&expected);
    return status;
}

/* Where the tensor's values are.  rest: what follows the JSON in the body. */
static unsigned find_values(struct request *r, struct oip_input *input, const cJSON *item,
                            size_t json_nbytes)
{
    const cJSON *size = parameter(item, "binary_data_size");
    size_t rest = r->body.n - json_nbytes, nbytes = 0;
    input->data = member(item, "data");
    if (parameter(item, "shared_memory_region"))
        return bad(r, "inputs[0].parameters: shared memory is not supported");
    if (!size == !input->data)
        return bad(r, size ? "inputs[0]: must have data or the parameter binary_data_size, not both"
                           : "inputs[0]: must have data or the parameter binary_data_size");
    if (size && !json_get_index(&nbytes, size, SIZE_MAX))
        return bad(r, "inputs[0].parameters.binary_data_size: must be a whole number");
    if (nbytes != rest)
        return request_refuse(r, REFUSED_INVALID_JSON,
                              "%zu bytes follow the JSON, but binary_data_size says %zu", rest,
                              nbytes);
    input->bytes = (const uint8_t *)r->body.bytes + json_nbytes;
    input->nbytes = nbytes;
    return 0;
}

static unsigned take_normalize(struct request *r, const struct oip_input *input, const cJSON *item)
{
    const char *value = cJSON_GetStringValue(item);
    char message[256];
    unsigned seen = 0;
    if (!item)
        return 0;
    if (!value || params_set(&r->params, PARAM_NORMALIZE, &seen, "normalize", value, 1, message,
                             sizeof message) != 0)
        return bad(r, "parameters.normalize: must be \"auto\", \"fit\" or \"none\"");
    if (input->datatype != OIP_BYTES && r->params.normalize != NORMALIZE_NONE)
        return bad(r, "parameters.normalize: is for BYTES; pixels are taken as they are");
    return 0;
}

static unsigned take_input(struct request *r, const cJSON *root, const char *numbers,
                           size_t json_nbytes)
{
    const cJSON *inputs = cJSON_GetObjectItemCaseSensitive(root, "inputs");
    if (!cJSON_IsArray(inputs) || cJSON_GetArraySize(inputs) != 1)
        return bad(r, "inputs: must be an array of one tensor");
    const cJSON *item = inputs->child;
    const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "name"));
    if (!name || strcmp(name, "image") != 0)
        return bad(r, "inputs[0].name: must be \"image\"");
    struct oip_input input = {.numbers = numbers};
    unsigned status = take_datatype(r, &input, cJSON_GetObjectItemCaseSensitive(item, "datatype"));
    if (!status)
        status = take_normalize(r, &input, parameter(root, "normalize"));
    if (!status)
        status = find_values(r, &input, item, json_nbytes);
    if (!status)
        status = take_shape(r, &input, cJSON_GetObjectItemCaseSensitive(item, "shape"));
    if (!status)
        status = oip_take_values(r, &input);
    return status;
}

/* A parameter that is true or false: *flag, unless it is not given. */
static unsigned take_flag(struct request *r, int *flag, const cJSON *object, const char *name)
{
    const cJSON *item = parameter(object, name);
    if (item && !cJSON_IsBool(item))
        return request_refuse(r, REFUSED_INVALID_JSON, "the parameter %s must be true or false",
                              name);
    if (item)
        *flag = cJSON_IsTrue(item);
    return 0;
}

/* The classification extension: as many labels as asked for, or as there are. */
static unsigned take_n_top(struct request *r, enum oip_tensor tensor, const cJSON *output)
{
    const cJSON *item = parameter(output, "classification");
    const size_t classes = request_shape(r)->classes, i = r->oip->n_outputs;
    size_t n_top;
    if (!item)
        return 0;
    if (tensor != OIP_PROBABILITIES)
        return request_refuse(r, REFUSED_INVALID_JSON,
                              "outputs[%zu].parameters.classification: is for \"probabilities\"",
                              i);
    if (!json_get_index(&n_top, item, (size_t)1 << 32))
        return request_refuse(r, REFUSED_INVALID_JSON,
                              "outputs[%zu].parameters.classification: must be a whole number", i);
    r->oip->outputs[i].n_top = n_top < classes ? n_top : classes;
    return 0;
}

static unsigned take_output(struct request *r, const cJSON *item, int is_binary)
{
    struct oip_infer *oip = r->oip;
    const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "name"));
    size_t tensor = 0;
    while (name && tensor < OIP_TENSORS && strcmp(name, oip_name((enum oip_tensor)tensor)) != 0)
        tensor++;
    if (!name || tensor == OIP_TENSORS)
        return request_refuse(r, REFUSED_INVALID_JSON,
                              "outputs[%zu].name: must be \"probabilities\", \"poses\", "
                              "\"reconstruction\", \"class\" or \"coupling\"",
                              oip->n_outputs);
    for (size_t i = 0; i < oip->n_outputs; i++)
        if (oip->outputs[i].tensor == (enum oip_tensor)tensor)
            return request_refuse(r, REFUSED_INVALID_JSON,
                                  "outputs[%zu]: \"%s\" is asked for twice", oip->n_outputs, name);
    if (parameter(item, "shared_memory_region"))
        return request_refuse(r, REFUSED_INVALID_JSON,
                              "outputs[%zu].parameters: shared memory is not supported",
                              oip->n_outputs);
    unsigned status = take_flag(r, &is_binary, item, "binary_data");
    if (!status)
        status = take_n_top(r, (enum oip_tensor)tensor, item);
    oip->outputs[oip->n_outputs].tensor = (enum oip_tensor)tensor;
    oip->outputs[oip->n_outputs++].is_binary = is_binary;
    return status;
}

/* The outputs asked for; when none is, all but those on request. */
static unsigned take_outputs(struct request *r, const cJSON *root)
{
    struct oip_infer *oip = r->oip;
    const cJSON *outputs = member(root, "outputs"), *item;
    int is_binary = 0;
    unsigned status = take_flag(r, &is_binary, root, "binary_data_output");
    if (!status && outputs && !cJSON_IsArray(outputs))
        return bad(r, "outputs: must be an array");
    cJSON_ArrayForEach(item, outputs)
    {
        if (status)
            return status;
        status = take_output(r, item, is_binary);
    }
    if (status || oip->n_outputs)
        return status;
    for (size_t tensor = 0; tensor < OIP_ON_REQUEST; tensor++) {
        oip->outputs[oip->n_outputs].tensor = (enum oip_tensor)tensor;
        oip->outputs[oip->n_outputs++].is_binary = is_binary;
    }
    return 0;
}

/* Is the string UTF-8 (RFC 3629)?  What is echoed must be. */
static int is_utf8(const char *string)
{
    const unsigned char *at = (const unsigned char *)string;
    while (*at) {
        unsigned char lead = *at++;
        size_t more = lead < 0x80 ? 0 : lead < 0xc2 ? 4 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
        if (more == 4 || lead > 0xf4 || (lead == 0xe0 && *at < 0xa0) ||
            (lead == 0xed && *at > 0x9f) || (lead == 0xf0 && *at < 0x90) ||
            (lead == 0xf4 && *at > 0x8f))
            return 0;
        for (; more; more--)
            if ((*at++ & 0xc0) != 0x80)
                return 0;
    }
    return 1;
}

static unsigned take_root(struct request *r, const cJSON *root, const char *numbers,
                          size_t json_nbytes)
{
    const cJSON *id = member(root, "id");
    if (!cJSON_IsObject(root))
        return bad(r, "the JSON must be an object");
    if (id && (!cJSON_IsString(id) || !is_utf8(id->valuestring)))
        return bad(r, "id: must be a string of valid UTF-8");
    size_t id_size = id ? strlen(id->valuestring) + 1 : 1;
    r->oip = calloc(1, sizeof *r->oip + id_size);
    if (!r->oip)
        return request_refuse_no_memory(r);
    r->oip->has_id = id != NULL;
    if (id)
        memcpy(r->oip->id, id->valuestring, id_size);
    unsigned status = take_outputs(r, root);
    return status ? status : take_input(r, root, numbers, json_nbytes);
}

/* How much of the body is JSON. */
static unsigned take_json_length(struct request *r, size_t *nbytes)
{
    const char *length = r->json_length;
    char quoted[48];
    *nbytes = r->body.n;
    if (!length)
        return 0;
    size_t digits = strspn(length, "0123456789");
    if (digits > 0 && digits < 19 && length[digits] == 0)
        *nbytes = strtoul(length, NULL, 10);
    else
        *nbytes = SIZE_MAX;
    if (*nbytes <= r->body.n)
        return 0;
    return request_refuse(r, REFUSED_INVALID_PARAMETER,
                          "Inference-Header-Content-Length: must be a whole number up to %zu, the "
                          "body's length, not \"%s\"", r->body.n, quote_client(quoted, length));
}

unsigned oip_take(struct request *r)
{
    size_t json_nbytes, first = 0;
    unsigned status = take_json_length(r, &json_nbytes);
    if (status)
        return status;
    if (r->body.n == 0)
        return request_refuse(r, REFUSED_NO_IMAGE, "the body is empty");

    /* cJSON gets a copy in which the numbers are blank; those of the first tensor
     * are used. */
    struct numbers_scan scan = {.bytes = r->body.bytes, .nbytes = json_nbytes};
    char *blanked = NULL;
    for (size_t at, n; (n = numbers_next(&scan, &at));) {
        if (!blanked) {
            first = at;
            blanked = malloc(json_nbytes);
            if (!blanked)
                return request_refuse_no_memory(r);
            memcpy(blanked, r->body.bytes, json_nbytes);
        }
        memset(blanked + at + 1, ' ', n - 2);
    }
    cJSON *root;
    char message[128];
    enum json_status parsed =
        json_parse(&root, blanked ? blanked : r->body.bytes, json_nbytes,
                   r->service->options->max_images + REQUEST_VALUES, message, sizeof message);
    const char *numbers = blanked ? r->body.bytes + first : NULL;
    free(blanked);
    if (parsed != JSON_OK)
        return request_refuse(r,
                              parsed == JSON_TOO_MANY ? REFUSED_TOO_LARGE : REFUSED_INVALID_JSON,
                              "%s", message);
    status = take_root(r, root, numbers, json_nbytes);
    cJSON_Delete(root);
    return status;
}
