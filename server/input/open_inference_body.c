/* open_inference_body.c - from an inference request to digits; see open_inference.h. */
#include "server/input/open_inference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/input/body_images.h"
#include "server/input/json_numbers.h"
#include "server/input/json_parse.h"
#include "server/request/query_params.h"

/* Pixels lie between 0 and 1.  Rounding and the ringing of resampling filters
 * leave that range by a little; what leaves it by more was scaled otherwise (0
 * to 255, -1 to 1, or by mean and deviation) and would get a wrong answer. */
#define PIXEL_SLACK 0.25f

enum { REQUEST_VALUES = 256 }; /* room in the JSON for all but the images */

enum datatype { TYPE_FP32, TYPE_UINT8, TYPE_BYTES };

/* The image tensor as it is in the request. */
struct input {
    enum datatype datatype;
    size_t n;
    const cJSON *data;    /* NULL when it is binary */
    const char *numbers;  /* the text of data's numbers; NULL: it has none */
    const uint8_t *bytes; /* of a binary tensor */
    size_t nbytes;
};

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

/* ---- The tensor's values --------------------------------------------------------- */

/* Checks the values [count] of digits, which are 0 to 1 or, for UINT8, 0 to
 * 255; these are brought to 0 to 1. */
static unsigned check_values(struct request *r, enum datatype datatype, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float value = r->digits[i];
        int is_good = datatype == TYPE_FP32
                          ? value >= -PIXEL_SLACK && value <= 1 + PIXEL_SLACK
                          : value >= 0 && value <= 255 && value == floorf(value);
        if (!is_good)
            return request_refuse(r, REFUSED_INVALID_JSON, "image: value %zu is %g, not %s", i,
                                  (double)value,
                                  datatype == TYPE_FP32 ? "a pixel between 0 and 1"
                                                        : "a whole number from 0 to 255");
        if (datatype == TYPE_UINT8)
            r->digits[i] = value / 255;
    }
    return 0;
}

static unsigned take_numbers(struct request *r, const struct input *input, const size_t *dims,
                             size_t rank, size_t count)
{
    size_t n;
    /* The numbers were blanked, so that an array that holds some is another. */
    if (!input->numbers || !cJSON_IsArray(input->data) || input->data->child)
        return bad(r, "inputs[0].data: must be an array of numbers");
    switch (numbers_read(r->digits, dims, rank, input->numbers, &n)) {
    case NUMBERS_SHAPE:
        return request_refuse(r, REFUSED_INVALID_JSON,
                              "inputs[0].data: must be %zu numbers, flat or nested as the shape "
                              "says", count);
    case NUMBERS_MALFORMED:
        return request_refuse(r, REFUSED_INVALID_JSON,
                              "inputs[0].data: value %zu is not a number", n);
    case NUMBERS_OK:
        break;
    }
    return 0;
}

static unsigned take_pixels(struct request *r, const struct input *input)
{
    size_t dims[OIP_MAX_RANK];
    size_t rank = oip_shape(dims, OIP_RECONSTRUCTION, request_shape(r), input->n);
    size_t count = 1, size = input->datatype == TYPE_FP32 ? sizeof(float) : 1;
    for (size_t i = 0; i < rank; i++)
        count *= dims[i];
    unsigned status = 0;
    if (input->data)
        status = take_numbers(r, input, dims, rank, count);
    else if (input->nbytes != count * size)
        status = request_refuse(r, REFUSED_INVALID_JSON,
                                "inputs[0]: the shape asks for %zu bytes of binary data, and there "
                                "are %zu", count * size, input->nbytes);
    else if (input->datatype == TYPE_FP32)
        memcpy(r->digits, input->bytes, input->nbytes);
    else
        for (size_t i = 0; i < count; i++)
            r->digits[i] = input->bytes[i];
    return status ? status : check_values(r, input->datatype, count);
}

/* Binary BYTES: each element is its length in 4 bytes, and then itself. */
static unsigned take_binary_pngs(struct request *r, const struct input *input)
{
    const uint8_t *at = input->bytes;
    size_t left = input->nbytes;
    for (size_t i = 0; i < input->n; i++) {
        uint32_t length = 0;
        if (left >= sizeof length) {
            memcpy(&length, at, sizeof length);
            at += sizeof length;
            left -= sizeof length;
        } else {
            left = 0;
        }
        if (length == 0 || length > left)
            return request_refuse(r, REFUSED_INVALID_JSON,
                                  "images[%zu]: its binary data is empty or cut short", i);
        unsigned status = body_take_png(r, i, at, length);
        if (status)
            return status;
        at += length;
        left -= length;
    }
    return left ? bad(r, "inputs[0]: the binary data goes on behind the last image") : 0;
}

static unsigned take_pngs(struct request *r, const struct input *input)
{
    if (!input->data)
        return take_binary_pngs(r, input);
    if (!cJSON_IsArray(input->data) || (size_t)cJSON_GetArraySize(input->data) != input->n)
        return request_refuse(r, REFUSED_INVALID_JSON,
                              "inputs[0].data: must be an array of %zu base64 strings", input->n);
    size_t i = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, input->data)
    {
        if (!cJSON_IsString(item))
            return request_refuse(r, REFUSED_INVALID_JSON,
                                  "inputs[0].data[%zu]: must be a base64 string", i);
        unsigned status = body_take_base64(r, i++, item->valuestring);
        if (status)
            return status;
    }
    return 0;
}

/* ---- The request's JSON ---------------------------------------------------------- */

static unsigned take_datatype(struct request *r, struct input *input, const cJSON *item)
{
    static const char *const NAMES[] = {
        [TYPE_FP32] = "FP32", [TYPE_UINT8] = "UINT8", [TYPE_BYTES] = "BYTES"};
    const char *name = cJSON_GetStringValue(item);
    for (size_t i = 0; name && i < sizeof NAMES / sizeof *NAMES; i++) {
        if (strcmp(name, NAMES[i]) == 0) {
            input->datatype = (enum datatype)i;
            return 0;
        }
    }
    return bad(r, "inputs[0].datatype: must be \"FP32\", \"UINT8\" or \"BYTES\"");
}

/* [n,height,width], with the channels behind unless there is one; of BYTES [n]. */
static unsigned take_shape(struct request *r, struct input *input, const cJSON *item)
{
    const size_t max_images = r->service->options->max_images;
    size_t dims[OIP_MAX_RANK], rank = oip_shape(dims, OIP_RECONSTRUCTION, request_shape(r), 0);
    struct text expected = {0};
    if (input->datatype == TYPE_BYTES)
        rank = 1;
    int is_good = cJSON_IsArray(item) && (size_t)cJSON_GetArraySize(item) == rank &&
                  json_get_index(&input->n, item->child, (size_t)1 << 32);
    const cJSON *dim = is_good ? item->child->next : NULL;
    for (size_t i = 1; is_good && i < rank; i++, dim = dim->next) {
        size_t value;
        is_good = json_get_index(&value, dim, (size_t)1 << 32) && value == dims[i];
    }
    if (is_good && input->n <= max_images)
        return body_make_digits(r, input->n);
    if (is_good)
        return request_refuse(r, REFUSED_TOO_LARGE, "the request holds more than %zu images",
                              max_images);
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
static unsigned find_values(struct request *r, struct input *input, const cJSON *item,
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

static unsigned take_normalize(struct request *r, const struct input *input, const cJSON *item)
{
    const char *value = cJSON_GetStringValue(item);
    char message[256];
    unsigned seen = 0;
    if (!item)
        return 0;
    if (!value || params_set(&r->params, PARAM_NORMALIZE, &seen, "normalize", value, 1, message,
                             sizeof message) != 0)
        return bad(r, "parameters.normalize: must be \"auto\", \"fit\" or \"none\"");
    if (input->datatype != TYPE_BYTES && r->params.normalize != NORMALIZE_NONE)
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
    struct input input = {.numbers = numbers};
    unsigned status = take_datatype(r, &input, cJSON_GetObjectItemCaseSensitive(item, "datatype"));
    if (!status)
        status = take_normalize(r, &input, parameter(root, "normalize"));
    if (!status)
        status = find_values(r, &input, item, json_nbytes);
    if (!status)
        status = take_shape(r, &input, cJSON_GetObjectItemCaseSensitive(item, "shape"));
    if (!status)
        status = input.datatype == TYPE_BYTES ? take_pngs(r, &input) : take_pixels(r, &input);
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
                              "\"reconstruction\" or \"class\"", oip->n_outputs);
    for (size_t i = 0; i < oip->n_outputs; i++)
        if (oip->outputs[i].tensor == (enum oip_tensor)tensor)
            return request_refuse(r, REFUSED_INVALID_JSON,
                                  "outputs[%zu]: \"%s\" is asked for twice", oip->n_outputs, name);
    if (parameter(item, "classification") || parameter(item, "shared_memory_region"))
        return request_refuse(r, REFUSED_INVALID_JSON,
                              "outputs[%zu].parameters: neither classification nor shared memory "
                              "is supported", oip->n_outputs);
    unsigned status = take_flag(r, &is_binary, item, "binary_data");
    oip->outputs[oip->n_outputs].tensor = (enum oip_tensor)tensor;
    oip->outputs[oip->n_outputs++].is_binary = is_binary;
    return status;
}

/* The outputs asked for; all when none is. */
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
    for (size_t tensor = 0; tensor < OIP_TENSORS; tensor++) {
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
