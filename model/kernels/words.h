/*
 * words.h - products word by word: one fp32, two bf16 or four 8-bit values that lie side by
 * side along k, whose products an instruction adds to a lane of a sum.  The right operand's
 * words of one fp32 may be stored as fp16.
 */
#ifndef CAPSNET_WORDS_H
#define CAPSNET_WORDS_H

#include "model/kernels/vector.h"

enum { LINE = 64 }; /* bytes that are asked for at a time */

enum kind { KIND_F32, KIND_F16, KIND_BF16, KIND_INT8 };

/* How many values a word has. */
ALWAYS_INLINE size_t values_of(enum kind kind)
{
    return kind == KIND_BF16 ? 2 : kind == KIND_INT8 ? 4 : 1;
}

/* How many bytes a right operand's word has. */
ALWAYS_INLINE size_t word_size(enum kind kind)
{
    return kind == KIND_F16 ? sizeof(uint16_t) : sizeof(uint32_t);
}

/* Sums, of floats or of integers. */
#if defined(__AVX512VNNI__)
typedef __m512i sum;
#else
typedef vec sum;
#endif

/* A vector of a right operand's words. */
ALWAYS_INLINE sum load_words(enum kind kind, const void *at)
{
#if HAS_F16
    if (kind == KIND_F16)
        return (sum)vec_load_f16(at);
#endif
    (void)kind;
    sum x;
    memcpy(&x, at, sizeof x);
    return x;
}

/* acc + the word at x, in all lanes, times b; x needs no alignment. */
ALWAYS_INLINE sum multiply_add(enum kind kind, sum acc, const void *x, sum b)
{
#if defined(__AVX512VNNI__)
    int32_t word;
    memcpy(&word, x, sizeof word);
#endif
#if defined(__AVX512BF16__)
    if (kind == KIND_BF16)
        return _mm512_castps_si512(_mm512_dpbf16_ps(
            _mm512_castsi512_ps(acc), (__m512bh)_mm512_set1_epi32(word), (__m512bh)b));
#endif
#if defined(__AVX512VNNI__)
    if (kind == KIND_INT8)
        return _mm512_dpbusd_epi32(acc, _mm512_set1_epi32(word), b);
#endif
    (void)kind;
    float f;
    memcpy(&f, x, sizeof f);
    return (sum)((vec)acc + f * (vec)b);
}

ALWAYS_INLINE sum add(enum kind kind, sum a, sum b)
{
    return kind == KIND_INT8 ? (sum)((ivec)a + (ivec)b) : (sum)((vec)a + (vec)b);
}

/* A sum as it is, or, of integers, times row_scale and the scales of its columns, from `at`
 * on; else there may be none. */
ALWAYS_INLINE vec scaled(enum kind kind, sum t, float row_scale, const float *scales, size_t at)
{
#if defined(__AVX512VNNI__)
    if (kind == KIND_INT8)
        return (vec)_mm512_cvtepi32_ps(t) * (row_scale * vec_load(scales + at));
#endif
    (void)kind;
    (void)row_scale;
    (void)scales;
    (void)at;
    return (vec)t;
}

/* Keeps the compiler from copying a sum to and fro in a loop, half of its instructions. */
#if defined(__AVX512F__)
#define IN_PLACE(sum) __asm__("" : "+v"(sum))
#elif defined(__aarch64__)
#define IN_PLACE(sum) __asm__("" : "+w"(sum))
#else
#define IN_PLACE(sum) __asm__("" : "+x"(sum))
#endif

/* Bit l: lane l is not zero. */
ALWAYS_INLINE uint64_t lanes_set(ivec x)
{
#if defined(__AVX512F__)
    return _mm512_test_epi32_mask((__m512i)x, (__m512i)x);
#elif defined(__AVX2__)
    return (uint64_t)_mm256_movemask_ps((__m256)(x != 0));
#else
    uint64_t bits = 0;
    for (int l = 0; l < VEC; l++)
        bits |= (uint64_t)(x[l] != 0) << l;
    return bits;
#endif
}

#endif
