/*
 * routing_inference.c - prediction vectors and routing by agreement of one image,
 * KERNEL_LANES capsules side by side.
 *
 * One capsule per lane: an image alone fills the vectors, so that it costs what
 * it costs in a batch and its answer is the same bits.  Only the sums over
 * capsules cross the lanes, once an iteration and part.  u_hat is stored: the one image's
 * 737 kB stay in the second-level cache, and W, ten times larger, is read once.
 * Where W is bf16 u_hat is so, too: then both images that share a reading of W fit.
 */
#include "model/kernels/routing.h"

/* 1 where u_hat is bf16: a constant to the compiler. */
enum narrowness { U_HAT_F32, U_HAT_BF16 };

#if defined(__AVX512BF16__)
ALWAYS_INLINE vec from_bf16(__m256i x)
{
    return (vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16);
}
#endif

ALWAYS_INLINE vec load_u_hat(enum narrowness narrow, const void *u_hat, size_t i)
{
#if defined(__AVX512BF16__)
    const uint16_t *at = (const uint16_t *)u_hat + i;
    if (narrow)
        return from_bf16(_mm256_loadu_si256((const __m256i *)(const void *)at));
#endif
    (void)narrow;
    return vec_load((const float *)u_hat + i);
}

/* Returns what has been stored. */
ALWAYS_INLINE vec store_u_hat(enum narrowness narrow, void *u_hat, size_t i, vec x)
{
#if defined(__AVX512BF16__)
    if (narrow) {
        const __m256i rounded = (__m256i)_mm512_cvtneps_pbh((__m512)x);
        _mm256_storeu_si256((__m256i *)(void *)((uint16_t *)u_hat + i), rounded);
        return from_bf16(rounded);
    }
#endif
    (void)narrow;
    vec_store((float *)u_hat + i, x);
    return x;
}

#if defined(__AVX512F__)

/* Of each half of 8 lanes the first or the second four, of a and then of b. */
ALWAYS_INLINE __m512 runs_of_four(__m512 a, __m512 b, int high)
{
    const __m512i low = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27);
    return _mm512_permutex2var_ps(a, _mm512_add_epi32(low, _mm512_set1_epi32(4 * high)), b);
}

/* 8 dims: capsules l and l + 8 are the halves of a vector, of which each is an 8 x 8
 * square to be transposed. */
static void gather_of_8(float *u, const float *const from[KERNEL_LANES])
{
    __m512 x[8], y[8];
    for (size_t l = 0; l < 8; l++)
        x[l] = _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(from[l])),
                                  _mm256_loadu_ps(from[l + 8]), 1);
    for (size_t l = 0; l < 8; l += 2) {
        y[l] = _mm512_unpacklo_ps(x[l], x[l + 1]);
        y[l + 1] = _mm512_unpackhi_ps(x[l], x[l + 1]);
    }
    for (size_t l = 0; l < 8; l += 4)
        for (size_t i = 0; i < 2; i++) {
            const __m512d a = _mm512_castps_pd(y[l + i]), b = _mm512_castps_pd(y[l + i + 2]);
            x[l + 2 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
            x[l + 2 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        }
    for (size_t d = 0; d < 4; d++) {
        _mm512_storeu_ps(u + d * KERNEL_LANES, runs_of_four(x[d], x[d + 4], 0));
        _mm512_storeu_ps(u + (d + 4) * KERNEL_LANES, runs_of_four(x[d], x[d + 4], 1));
    }
}

#endif

void KERNEL(gather_capsules)(float *u, const float *const from[KERNEL_LANES], size_t dims)
{
#if defined(__AVX512F__)
    if (dims == 8) {
        gather_of_8(u, from);
        return;
    }
#endif
    for (size_t d = 0; d < dims; d++)
        for (size_t l = 0; l < KERNEL_LANES; l++)
            u[d * KERNEL_LANES + l] = from[l][d];
}

ALWAYS_INLINE size_t round_lanes(size_t n)
{
    return (n + KERNEL_LANES - 1) / KERNEL_LANES * KERNEL_LANES;
}

/* s[je] = scale * the sum of row je of sums [outputs rounded up][lanes]; as many of s. */
ALWAYS_INLINE void sum_groups(float *s, const float *sums, size_t outputs, float scale)
{
    for (size_t je = 0; je < round_lanes(outputs); je += KERNEL_LANES) {
        struct row rows[KERNEL_LANES];
        for (size_t i = 0; i < KERNEL_LANES; i++)
            rows[i] = row_load(sums + (je + i) * KERNEL_LANES);
        sum_lanes(s + je, rows, KERNEL_LANES);
        for (size_t q = 0; q < PER_LANE; q++)
            vec_store(s + je + q * VEC, scale * vec_load(s + je + q * VEC));
    }
}

/* Where image b of a call has its part of the operands. */
struct image_at {
    const float *u;
    size_t u_hat; /* its first value */
    float *s, *sums;
};

ALWAYS_INLINE struct image_at image_at(const struct image_routing *r, size_t b, const float *u,
                                       float *s, float *sums)
{
    const size_t outputs = r->classes * r->pose, row = round_lanes(outputs);
    return (struct image_at){u + b * r->groups * r->dims * KERNEL_LANES,
                             b * r->groups * outputs * KERNEL_LANES, s + b * row,
                             sums + b * row * KERNEL_LANES};
}

/* images and dims are constants to the compiler: W is read once for both. */
ALWAYS_INLINE void predict_images(const struct image_routing *r, size_t images, size_t dims,
                                  const float *u, float *u_hat, float *s, float *sums)
{
    const size_t outputs = r->classes * r->pose, row = round_lanes(outputs);
    const float *w = (const float *)r->weight + r->first * outputs * dims * KERNEL_LANES;
    struct row cap[2][KERNEL_MAX_DIMS];
    struct image_at at[2];
    for (size_t b = 0; b < images; b++)
        at[b] = image_at(r, b, u, s, sums);
    memset(sums, 0, images * row * KERNEL_LANES * sizeof *sums);
    for (size_t g = r->first; g < r->first + r->count; g++) {
        const size_t first = g * outputs * KERNEL_LANES;
        for (size_t b = 0; b < images; b++)
            load_capsule(cap[b], at[b].u + g * dims * KERNEL_LANES, dims);
        for (size_t je = 0; je < outputs; je++, w += dims * KERNEL_LANES)
            for (size_t q = 0; q < PER_LANE; q++) {
                /* From zero: two products to add would leave the compiler the
                 * choice of which one to round, for one image and for two. */
                vec x[2] = {vec_set(0), vec_set(0)};
                for (size_t d = 0; d < dims; d++) {
                    const vec wd = vec_load(w + d * KERNEL_LANES + q * VEC);
                    for (size_t b = 0; b < images; b++)
                        x[b] += wd * cap[b][d].v[q];
                }
                for (size_t b = 0; b < images; b++) {
                    const size_t to = je * KERNEL_LANES + q * VEC;
                    vec_store(at[b].sums + to, vec_load(at[b].sums + to) + x[b]);
                    store_u_hat(U_HAT_F32, u_hat, at[b].u_hat + first + to, x[b]);
                }
            }
    }
    for (size_t b = 0; b < images; b++)
        sum_groups(at[b].s, at[b].sums, outputs, 1.0f / (float)r->classes);
}

/* f(r, images, dims, ...) with one or two images, and the default network's
 * dims, as constants. */
#define WITH_SHAPES(f, r, images, ...)                                                       \
    do {                                                                                     \
        if ((images) == 2 && (r)->dims == 8)                                                 \
            f(r, 2, 8, __VA_ARGS__);                                                         \
        else if ((images) == 2)                                                              \
            f(r, 2, (r)->dims, __VA_ARGS__);                                                 \
        else if ((r)->dims == 8)                                                             \
            f(r, 1, 8, __VA_ARGS__);                                                         \
        else                                                                                 \
            f(r, 1, (r)->dims, __VA_ARGS__);                                                 \
    } while (0)

void KERNEL(predict_images)(const struct image_routing *r, size_t images, const float *u,
                            float *u_hat, float *s, float *sums)
{
    const struct image_routing own = *r; /* no store can change it */
    WITH_SHAPES(predict_images, &own, images, u, u_hat, s, sums);
}

/* The groups of capsules from value `first` of u_hat on, count (a constant) of them side by
 * side, so that vsum and the sums are touched once for all.  They are added to sums, or, where
 * they are the first, replace them. */
ALWAYS_INLINE void route_groups(enum narrowness narrow, const struct image_routing *r,
                                size_t count, size_t pose, const void *u_hat, size_t first,
                                const float *vsum, float *sums, int adds)
{
    const size_t step = r->classes * pose * KERNEL_LANES;
    struct row c[2][KERNEL_MAX_CLASSES];
    for (size_t j = 0; j < r->classes; j++)
        for (size_t q = 0; q < PER_LANE; q++) {
            const size_t x = first + j * pose * KERNEL_LANES + q * VEC;
            vec dot[2] = {vec_set(0), vec_set(0)};
            for (size_t e = 0; e < pose; e++) {
                const vec v = vec_set(vsum[j * pose + e]);
                for (size_t k = 0; k < count; k++)
                    dot[k] += load_u_hat(narrow, u_hat, x + k * step + e * KERNEL_LANES) * v;
            }
            for (size_t k = 0; k < count; k++)
                c[k][j].v[q] = dot[k];
        }
    for (size_t k = 0; k < count; k++)
        softmax(c[k], r->classes);
    for (size_t j = 0, je = 0; j < r->classes; j++)
        for (size_t e = 0; e < pose; e++, je++)
            for (size_t q = 0; q < PER_LANE; q++) {
                const size_t at = je * KERNEL_LANES + q * VEC;
                vec sum = adds ? vec_load(sums + at) : vec_set(0);
                for (size_t k = 0; k < count; k++)
                    sum += c[k][j].v[q] * load_u_hat(narrow, u_hat, first + k * step + at);
                vec_store(sums + at, sum);
            }
}

ALWAYS_INLINE void route_image(enum narrowness narrow, const struct image_routing *r, size_t pose,
                               const void *u_hat, const float *vsum, float *s, float *sums)
{
    const size_t outputs = r->classes * pose, size = outputs * KERNEL_LANES;
    const size_t end = r->first + r->count;
    size_t g = r->first;
    memset(sums + size, 0, (round_lanes(outputs) - outputs) * KERNEL_LANES * sizeof *sums);
    if (r->count == 0)
        memset(sums, 0, size * sizeof *sums);
    for (; g + 2 <= end; g += 2)
        route_groups(narrow, r, 2, pose, u_hat, g * size, vsum, sums, g > r->first);
    if (g < end)
        route_groups(narrow, r, 1, pose, u_hat, g * size, vsum, sums, g > r->first);
    sum_groups(s, sums, outputs, 1);
}

void KERNEL(route_image)(const struct image_routing *r, const float *u_hat, const float *vsum,
                         float *s, float *sums)
{
    const struct image_routing own = *r;
    if (r->pose == 16)
        route_image(U_HAT_F32, &own, 16, u_hat, vsum, s, sums);
    else
        route_image(U_HAT_F32, &own, r->pose, u_hat, vsum, s, sums);
}

#if defined(__AVX512BF16__)

/* `count` groups of capsules from group g on, a constant to the compiler: the sums are touched
 * once for all. */
ALWAYS_INLINE void predict_groups_bf16(const struct image_routing *r, size_t images, size_t dims,
                                       size_t count, size_t g, const struct image_at *at,
                                       uint16_t *u_hat)
{
    const size_t outputs = r->classes * r->pose, words = (dims + 1) / 2;
    const size_t step = outputs * KERNEL_LANES, w_step = outputs * words * KERNEL_LANES;
    const uint32_t *w = (const uint32_t *)r->weight + g * w_step;
    __m512bh cap[2][2][KERNEL_MAX_DIMS / 2];
    for (size_t b = 0; b < images; b++)
        for (size_t k = 0; k < count; k++)
            for (size_t d = 0; d < words; d++) {
                const float *from = at[b].u + ((g + k) * dims + 2 * d) * KERNEL_LANES;
                cap[b][k][d] = (__m512bh)words_of(
                    vec_load(from), 2 * d + 1 < dims ? vec_load(from + KERNEL_LANES) : vec_set(0));
            }
    for (size_t je = 0; je < outputs; je++, w += words * KERNEL_LANES) {
        __m512 x[2][2];
        for (size_t k = 0; k < count; k++) {
            for (size_t b = 0; b < images; b++)
                x[b][k] = _mm512_setzero_ps();
            for (size_t d = 0; d < words; d++) {
                const __m512bh wd = (__m512bh)_mm512_loadu_si512(w + k * w_step + d * KERNEL_LANES);
                for (size_t b = 0; b < images; b++)
                    x[b][k] = _mm512_dpbf16_ps(x[b][k], cap[b][k][d], wd);
            }
        }
        for (size_t b = 0; b < images; b++) {
            float *sum = at[b].sums + je * KERNEL_LANES;
            vec s = vec_load(sum);
            for (size_t k = 0; k < count; k++)
                s += store_u_hat(U_HAT_BF16, u_hat, at[b].u_hat + (g + k) * step + je * KERNEL_LANES,
                                 (vec)x[b][k]);
            vec_store(sum, s);
        }
    }
}

ALWAYS_INLINE void predict_images_bf16(const struct image_routing *r, size_t images, size_t dims,
                                       const float *u, uint16_t *u_hat, float *s, float *sums)
{
    const size_t outputs = r->classes * r->pose, row = round_lanes(outputs);
    const size_t end = r->first + r->count;
    struct image_at at[2];
    size_t g = r->first;
    for (size_t b = 0; b < images; b++)
        at[b] = image_at(r, b, u, s, sums);
    memset(sums, 0, images * row * KERNEL_LANES * sizeof *sums);
    for (; g + 2 <= end; g += 2)
        predict_groups_bf16(r, images, dims, 2, g, at, u_hat);
    if (g < end)
        predict_groups_bf16(r, images, dims, 1, g, at, u_hat);
    for (size_t b = 0; b < images; b++)
        sum_groups(at[b].s, at[b].sums, outputs, 1.0f / (float)r->classes);
}

void KERNEL(predict_images_bf16)(const struct image_routing *r, size_t images, const float *u,
                                 uint16_t *u_hat, float *s, float *sums)
{
    const struct image_routing own = *r;
    WITH_SHAPES(predict_images_bf16, &own, images, u, u_hat, s, sums);
}

void KERNEL(route_image_bf16)(const struct image_routing *r, const uint16_t *u_hat,
                              const float *vsum, float *s, float *sums)
{
    const struct image_routing own = *r;
    if (r->pose == 16)
        route_image(U_HAT_BF16, &own, 16, u_hat, vsum, s, sums);
    else
        route_image(U_HAT_BF16, &own, r->pose, u_hat, vsum, s, sums);
}

#endif
