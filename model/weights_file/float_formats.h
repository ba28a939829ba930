/*
 * float_formats.h - numbers as a weights file stores them: little-endian F32,
 * F16 or BF16.  In: fp32 or bytes.  Out: the other.
 */
#ifndef CAPSNET_FLOAT_FORMATS_H
#define CAPSNET_FLOAT_FORMATS_H

#include <stddef.h>

enum safetensors_dtype { SAFETENSORS_F32, SAFETENSORS_F16, SAFETENSORS_BF16 };

/* "F32", "F16", "BF16". */
const char *safetensors_dtype_name(enum safetensors_dtype dtype);

/* The dtype of that name.  Returns 1, or 0 when there is none. */
int safetensors_dtype_find(enum safetensors_dtype *dtype, const char *name);

/* Bytes of a number. */
size_t safetensors_dtype_nbytes(enum safetensors_dtype dtype);

/* Rounds fp32 to the nearest fp16 (ties to even; overflow becomes infinity)
 * and back. */
unsigned short safetensors_f16_from_f32(float value);
float safetensors_f32_from_f16(unsigned short bits);

/* count stored numbers at src, aligned or not, to fp32. */
void floats_read(float *dst, enum safetensors_dtype dtype, const unsigned char *src, size_t count);

/* count fp32 to bytes at dst, rounded to nearest; returns how many bytes. */
size_t floats_write(unsigned char *dst, enum safetensors_dtype dtype, const float *src,
                    size_t count);

#endif
