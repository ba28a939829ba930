/*
 * vector.h - the level's vector of floats, for the sources of this folder.
 */
#ifndef CAPSNET_VECTOR_H
#define CAPSNET_VECTOR_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "model/kernels/kernels.h"

#define KERNEL_PASTE2(name, level) name##_##level
#define KERNEL_PASTE(name, level) KERNEL_PASTE2(name, level)
/* The name of a function at this level: KERNEL(gemm) is gemm_avx512. */
#define KERNEL(name) KERNEL_PASTE(name, KERNEL_LEVEL)
/* The same of the products alone: level `openblas` has its own, all else it
 * has from KERNEL_LEVEL ref. */
#define PRODUCT(name) KERNEL_PASTE(name, PRODUCT_LEVEL)

#if defined(__AVX512F__)
enum { VEC = 16, GEMM_ROWS = 8 };
#elif defined(__AVX2__)
enum { VEC = 8, GEMM_ROWS = 6 };
#else
enum { VEC = 4, GEMM_ROWS = 4 };
#endif

typedef float vec __attribute__((vector_size(4 * VEC)));
typedef int32_t ivec __attribute__((vector_size(4 * VEC)));

#if defined(__AVX512F__)
#define LANE_NUMBERS ((ivec){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
#elif defined(__AVX2__)
#define LANE_NUMBERS ((ivec){0, 1, 2, 3, 4, 5, 6, 7})
#else
#define LANE_NUMBERS ((ivec){0, 1, 2, 3})
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))

ALWAYS_INLINE vec vec_load(const float *p)
{
    vec x;
    memcpy(&x, p, sizeof x);
    return x;
}

ALWAYS_INLINE void vec_store(float *p, vec x)
{
    memcpy(p, &x, sizeof x);
}

/* VEC fp16 as fp32, where the level has an instruction for that. */
#if defined(__AVX512F__)
#define HAS_F16 1
ALWAYS_INLINE vec vec_load_f16(const void *p)
{
    return (vec)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}
#elif defined(__AVX2__)
#define HAS_F16 1
ALWAYS_INLINE vec vec_load_f16(const void *p)
{
    return (vec)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}
#else
#define HAS_F16 0
#endif

/* Stores past the caches, where a vector is a whole line: for what is read only when they hold
 * it no more.  p aligned.  Others see it from the thread's next locked instruction on, such as
 * the pool's at the end of every item. */
#if defined(__AVX512F__)
enum { STREAMS = 1 };
ALWAYS_INLINE void vec_stream(float *p, vec x)
{
    _mm512_stream_ps(p, (__m512)x);
}
#else
enum { STREAMS = 0 };
ALWAYS_INLINE void vec_stream(float *p, vec x)
{
    vec_store(p, x);
}
#endif

ALWAYS_INLINE vec vec_set(float x)
{
    return x - (vec){0};
}

/* mask ? a : b, lane by lane; mask lanes are all ones or all zeros. */
ALWAYS_INLINE vec vec_select(ivec mask, vec a, vec b)
{
    return (vec)((mask & (ivec)a) | (~mask & (ivec)b));
}

/* a > b ? a : b and a < b ? a : b: the second where one is NaN, as x86's
 * instructions have it. */
#if defined(__AVX512F__)
ALWAYS_INLINE vec vec_max(vec a, vec b)
{
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
}
ALWAYS_INLINE vec vec_min(vec a, vec b)
{
    return (vec)_mm512_min_ps((__m512)a, (__m512)b);
}
#elif defined(__AVX2__)
ALWAYS_INLINE vec vec_max(vec a, vec b)
{
    return (vec)_mm256_max_ps((__m256)a, (__m256)b);
}
ALWAYS_INLINE vec vec_min(vec a, vec b)
{
    return (vec)_mm256_min_ps((__m256)a, (__m256)b);
}
#else
ALWAYS_INLINE vec vec_max(vec a, vec b)
{
    return vec_select(a > b, a, b);
}
ALWAYS_INLINE vec vec_min(vec a, vec b)
{
    return vec_select(a < b, a, b);
}
#endif

/* Without <immintrin.h> a loop over the lanes becomes one instruction. */
ALWAYS_INLINE vec vec_sqrt(vec x)
{
    for (int i = 0; i < VEC; i++)
        x[i] = sqrtf(x[i]);
    return x;
}

/* exp(x) for x <= 0, to 2 ulp: 2^n exp(r) with r = x - n ln 2 split in two,
 * a degree-6 polynomial on |r| <= ln(2)/2 (its Taylor series, whose rest is
 * below 2^-24 there).  x below -87 gives exp(-87). */
ALWAYS_INLINE vec vec_exp(vec x)
{
    x = vec_max(vec_min(x, vec_set(88.0f)), vec_set(-87.0f));
    vec t = x * 1.44269504088896341f + 12582912.0f; /* 1.5 * 2^23 rounds to an integer */
    vec n = t - 12582912.0f;
    vec r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    vec p = vec_set(1.0f / 5040);
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    ivec e = (ivec)t << 23; /* the integer sits in the low bits of t */
    return (vec)((ivec)p + e);
}

#if defined(__AVX512BF16__)

/* Per lane a word of two bf16: lo, rounded, in its low half and hi in its high half. */
ALWAYS_INLINE __m512i words_of(vec lo, vec hi)
{
    const __m512i zip = (__m512i)(LANE_NUMBERS | (LANE_NUMBERS + VEC) << 16);
    return _mm512_permutexvar_epi16(zip, (__m512i)_mm512_cvtne2ps_pbh((__m512)hi, (__m512)lo));
}

#endif

/* What each level's files define; level_table.c puts them into the level's table. */
void PRODUCT(gemm)(const struct gemm *g);
void KERNEL(find_words)(uint64_t *set, const void *words, size_t n);
size_t KERNEL(list_words)(struct sparse_word *to, size_t rows, const void *const from[SPARSE_ROWS],
                          const uint64_t *const set[SPARSE_ROWS], size_t words, uint32_t number);
void KERNEL(gemm_sparse)(const struct sparse_product *g);
void KERNEL(conv_sparse)(const struct convolution *g);
size_t KERNEL(used_columns)(const float *x, size_t rows, size_t n);
void KERNEL(transpose)(float *dst, size_t dst_stride, const float *src, size_t src_stride,
                       size_t rows, size_t cols);
void KERNEL(to_points)(float *dst, const struct planes *planes, enum operand_side side,
                       const struct point_matrix *m, const float *src,
                       const struct patch *patch);
void KERNEL(from_points)(float *dst, const struct patch *patch, const struct point_matrix *m,
                         const float *src, const struct planes *planes, const float *bias);
void KERNEL(route)(const struct routing *r, const float *u, const float *vsum, float *s,
                   float *scratch);
void KERNEL(route_backward)(const struct routing *r, const float *u, const float *vsum,
                            const float *ds, float *dvsum, float *c_out, float *gb_out,
                            size_t capsule_stride, float *scratch);
void KERNEL(predict_backward)(const struct routing *r, size_t capsule, size_t groups,
                              const float *du_hat, const float *u, float *du,
                              size_t group_stride, float *dw, uint32_t *scratch);
void KERNEL(combine)(const struct routing *r, size_t capsules, float *du_hat,
                     size_t du_hat_stride, size_t n_terms, const struct routing_term *terms);
void KERNEL(squash)(float *v, const float *s, size_t count, size_t dims);
void KERNEL(squash_backward)(float *ds, const float *s, const float *dv, size_t count,
                             size_t dims);
void KERNEL(adam)(size_t n, float *w, const float *g, float *m, float *v, float *ema, float rate,
                  float beta1, float beta2, float epsilon, float ema_decay);
void KERNEL(positive)(uint16_t *bits, const float *x, size_t n);
void KERNEL(relu_backward)(float *dx, const uint16_t *bits, float *db, size_t rows, size_t n);
void KERNEL(sigmoid)(float *y, size_t n);

void KERNEL(gather_capsules)(float *u, const float *const from[KERNEL_LANES], size_t dims);
void KERNEL(predict_images)(const struct image_routing *r, size_t images, const float *u,
                            float *u_hat, float *s, float *sums);
void KERNEL(route_image)(const struct image_routing *r, const float *u_hat, const float *vsum,
                         float *s, float *sums);

/* Levels that lack the instructions do not define these. */
void KERNEL(gemm_sparse_f16)(const struct sparse_product *g);
void KERNEL(gemm_f16)(const struct gemm *g);
void KERNEL(predict_images_f16)(const struct image_routing *r, size_t images, const float *u,
                                float *u_hat, float *s, float *sums);
void KERNEL(gemm_int8)(const struct narrow *g);
void KERNEL(gemm_sparse_int8)(const struct sparse_product *g);
void KERNEL(conv_sparse_int8)(const struct convolution *g);
float KERNEL(largest)(const float *src, size_t n);
void KERNEL(quantise)(uint8_t *dst, const float *src, size_t n, float factor);
void KERNEL(gemm3_int8)(const struct narrow3 *g);
float KERNEL(quantise_signed)(uint8_t *dst, const float *src, size_t n);
void KERNEL(zip_u8)(uint32_t *dst, const uint8_t *src, size_t stride, size_t n);
void KERNEL(words_int8)(uint32_t *dst, int32_t *sums, const float *const rows[4],
                        const float *factors, size_t n);
void KERNEL(gemm_bf16)(const struct narrow *g);
void KERNEL(gemm_sparse_bf16)(const struct sparse_product *g);
void KERNEL(conv_sparse_bf16)(const struct convolution *g);
void KERNEL(gemm3_bf16)(const struct narrow3 *g);
void KERNEL(to_bf16)(uint16_t *dst, const float *src, size_t n);
void KERNEL(pair_rows_bf16)(uint32_t *dst, size_t dst_stride, const float *src, size_t src_stride,
                            size_t pairs, size_t n);
void KERNEL(stream_pair_bf16)(uint32_t *dst, const float *src);
void KERNEL(relu_backward_bf16)(uint32_t *dst, const float *dx, const uint16_t *bits, float *db,
                                size_t lines, size_t width, size_t n);
void KERNEL(predict_images_bf16)(const struct image_routing *r, size_t images, const float *u,
                                 uint32_t *u_hat, float *s, float *sums);
void KERNEL(predict_images_int8)(const struct image_routing *r, size_t images, const float *u,
                                 uint32_t *u_hat, float *s, float *sums);
void KERNEL(route_image_bf16)(const struct image_routing *r, const uint32_t *u_hat,
                              const float *vsum, float *s, float *sums);
void KERNEL(zip_bf16)(uint32_t *dst, const uint16_t *lo, const uint16_t *hi, size_t n);
void KERNEL(transpose_bf16)(uint32_t *dst, const uint32_t *src);
void KERNEL(to_points_bf16)(uint16_t *dst, const struct planes *planes, enum operand_side side,
                            const struct point_matrix *m, const float *src,
                            const struct patch *patch);

#endif
