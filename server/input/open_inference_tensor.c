/* open_inference_tensor.c - see open_inference_tensor.h. */
#include "server/input/open_inference_tensor.h"

#include <math.h>
#include <string.h>

#include "server/input/body_images.h"
#include "server/input/json_numbers.h"

/* Pixels lie between 0 and 1.  Rounding and the ringing of resampling filters
 * leave that range by a little; what leaves it by more was scaled otherwise (0
 * to 255, -1 to 1, or by mean and deviation) and would get a wrong answer. */
#define PIXEL_SLACK 0.25f

/* Checks the values [count] of digits, which are 0 to 1 or, for UINT8, 0 to
 * 255; these are brought to 0 to 1. */
static unsigned check_values(struct request *r, enum oip_datatype datatype, size_t count)
{
    const int is_whole = datatype == OIP_UINT8;
    for (size_t i = 0; i < count; i++) {
        float value = r->digits[i];
        int is_good = is_whole ? value >= 0 && value <= 255 && value == floorf(value)
                               : value >= -PIXEL_SLACK && value <= 1 + PIXEL_SLACK;
        if (!is_good)
            return request_refuse(r, REFUSED_INVALID_JSON, "image: value %zu is %g, not %s", i,
                                  (double)value,
                                  is_whole ? "a whole number from 0 to 255"
                                           : "a pixel between 0 and 1");
        if (is_whole)
            r->digits[i] = value / 255;
    }
    return 0;
}

static unsigned take_numbers(struct request *r, const struct oip_input *input, size_t count)
{
    size_t n;
    /* The numbers were blanked, so that an array that holds some is another. */
    if (!input->numbers || !cJSON_IsArray(input->data) || input->data->child)
        return request_refuse(r, REFUSED_INVALID_JSON,
                              "inputs[0].data: must be an array of numbers");
    switch (numbers_read(r->digits, input->dims, input->rank, input->numbers, &n)) {
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

/* IEEE 754 binary16: a sign, 5 bits of exponent, 10 of fraction. */
static float half_float(uint16_t bits)
{
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    float magnitude = exponent == 0    ? ldexpf((float)fraction, -24)
                      : exponent != 31 ? ldexpf((float)(1024 + fraction), exponent - 25)
                      : fraction       ? NAN
                                       : INFINITY;
    return bits >> 15 ? -magnitude : magnitude;
}

/* Value i of a binary tensor, which need not be aligned. */
static float binary_value(const struct oip_input *input, size_t i)
{
    uint16_t half;
    float single;
    double wide;
    switch (input->datatype) {
    case OIP_FP16:
        memcpy(&half, input->bytes + i * sizeof half, sizeof half);
        return half_float(half);
    case OIP_FP32:
        memcpy(&single, input->bytes + i * sizeof single, sizeof single);
        return single;
    case OIP_FP64:
        memcpy(&wide, input->bytes + i * sizeof wide, sizeof wide);
        return (float)wide;
    case OIP_UINT8:
    case OIP_BYTES:
        break;
    }
    return input->bytes[i];
}

static unsigned take_pixels(struct request *r, const struct oip_input *input)
{
    static const size_t SIZES[OIP_DATATYPES] = {
        [OIP_FP16] = 2, [OIP_FP32] = 4, [OIP_FP64] = 8, [OIP_UINT8] = 1};
    const size_t size = SIZES[input->datatype];
    size_t count = 1;
    for (size_t i = 0; i < input->rank; i++)
        count *= input->dims[i];
    unsigned status = 0;
    if (input->data)
        status = take_numbers(r, input, count);
    else if (input->nbytes != count * size)
        status = request_refuse(r, REFUSED_INVALID_JSON,
                                "inputs[0]: the shape asks for %zu bytes of binary data, and there "
                                "are %zu", count * size, input->nbytes);
    else
        for (size_t i = 0; i < count; i++)
            r->digits[i] = binary_value(input, i);
    return status ? status : check_values(r, input->datatype, count);
}

/* Binary BYTES: each element is its length in 4 bytes, and then itself. */
static unsigned take_binary_pngs(struct request *r, const struct oip_input *input)
{
    const uint8_t *at = input->bytes;
    size_t left = input->nbytes;
    for (size_t i = 0; i < input->dims[0]; i++) {
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
    if (left == 0)
        return 0;
    return request_refuse(r, REFUSED_INVALID_JSON,
                          "inputs[0]: the binary data goes on behind the last image");
}

static unsigned take_pngs(struct request *r, const struct oip_input *input)
{
    if (!input->data)
        return take_binary_pngs(r, input);
    if (!cJSON_IsArray(input->data) || (size_t)cJSON_GetArraySize(input->data) != input->dims[0])
        return request_refuse(r, REFUSED_INVALID_JSON,
                              "inputs[0].data: must be an array of %zu base64 strings",
                              input->dims[0]);
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

unsigned oip_take_values(struct request *r, const struct oip_input *input)
{
    return input->datatype == OIP_BYTES ? take_pngs(r, input) : take_pixels(r, input);
}
