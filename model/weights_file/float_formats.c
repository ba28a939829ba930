/*
 * float_formats.c - see float_formats.h.
 */
#include "model/weights_file/float_formats.h"

#include <stdint.h>
#include <string.h>

static const struct {
    const char *name;
    size_t nbytes; /* of an element */
} dtypes[] = {
    [SAFETENSORS_F32] = {"F32", 4},
    [SAFETENSORS_F16] = {"F16", 2},
    [SAFETENSORS_BF16] = {"BF16", 2},
};

const char *safetensors_dtype_name(enum safetensors_dtype dtype)
{
    return dtypes[dtype].name;
}

size_t safetensors_dtype_nbytes(enum safetensors_dtype dtype)
{
    return dtypes[dtype].nbytes;
}

int safetensors_dtype_find(enum safetensors_dtype *dtype, const char *name)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++)
        if (strcmp(name, dtypes[i].name) == 0) {
            *dtype = (enum safetensors_dtype)i;
            return 1;
        }
    return 0;
}

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

unsigned short safetensors_f16_from_f32(float value)
{
    uint32_t bits = bits_of(value);
    uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff, half;
    if (magnitude > 0x7f800000) { /* NaN: made quiet, the payload's top kept */
        half = 0x7e00 | (magnitude >> 13 & 0x1ff);
    } else if (magnitude >= 0x477ff000) { /* 65520 and up round to infinity */
        half = 0x7c00;
    } else if (magnitude >= 0x38800000) { /* 2^-14 and up: rebias the exponent, drop 13 bits */
        half = (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13;
    } else if (magnitude >= 0x33000000) { /* subnormal: a multiple of 2^-24 */
        uint32_t shift = 126 - (magnitude >> 23);
        uint32_t mantissa = (magnitude & 0x7fffff) | 0x800000;
        uint32_t rest = mantissa & ((1u << shift) - 1), tie = 1u << (shift - 1);
        half = mantissa >> shift;
        half += rest > tie || (rest == tie && (half & 1));
    } else {
        half = 0;
    }
    return (unsigned short)(sign | half);
}

float safetensors_f32_from_f16(unsigned short bits)
{
    uint32_t sign = (uint32_t)(bits & 0x8000) << 16;
    uint32_t exponent = bits >> 10 & 0x1f, mantissa = bits & 0x3ff;
    if (exponent == 0) /* zero or subnormal; the product is exact */
        return float_of(sign | bits_of((float)mantissa * 0x1p-24f));
    exponent = exponent == 31 ? 255 : exponent + 127 - 15;
    return float_of(sign | exponent << 23 | mantissa << 13);
}

static unsigned short bf16_from_f32(float value)
{
    uint32_t bits = bits_of(value);
    if ((bits & 0x7fffffff) > 0x7f800000) /* rounding could turn a NaN into infinity */
        return (unsigned short)(bits >> 16 | 0x40);
    return (unsigned short)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static uint32_t load16(const unsigned char *p)
{
    return p[0] | (uint32_t)p[1] << 8;
}

static unsigned char *store16(unsigned char *p, uint32_t bits)
{
    p[0] = (unsigned char)bits;
    p[1] = (unsigned char)(bits >> 8);
    return p + 2;
}

void floats_read(float *dst, enum safetensors_dtype dtype, const unsigned char *src, size_t count)
{
    switch (dtype) {
    case SAFETENSORS_F32:
        for (size_t i = 0; i < count; i++)
            dst[i] = float_of(load16(src + 4 * i) | load16(src + 4 * i + 2) << 16);
        break;
    case SAFETENSORS_F16:
        for (size_t i = 0; i < count; i++)
            dst[i] = safetensors_f32_from_f16((unsigned short)load16(src + 2 * i));
        break;
    case SAFETENSORS_BF16:
        for (size_t i = 0; i < count; i++)
            dst[i] = float_of(load16(src + 2 * i) << 16);
        break;
    }
}

size_t floats_write(unsigned char *dst, enum safetensors_dtype dtype, const float *src,
                    size_t count)
{
    unsigned char *p = dst;
    for (size_t i = 0; i < count; i++) {
        const uint32_t bits = bits_of(src[i]);
        if (dtype == SAFETENSORS_F32)
            p = store16(store16(p, bits), bits >> 16);
        else if (dtype == SAFETENSORS_F16)
            p = store16(p, safetensors_f16_from_f32(src[i]));
        else
            p = store16(p, bf16_from_f32(src[i]));
    }
    return (size_t)(p - dst);
}
