/*
 * routing_inference_bf16_int8.c - routing_inference.c with u_hat in bf16: then those of both
 * images that share a reading of W stay in the second-level cache.  W is in bf16 or, half of
 * that again to read, in 8 bits.
 *
 * A word of u_hat is two values of a prediction vector, of which one shift and one AND make fp32
 * again.
 */
#include "model/kernels/routing_image.h"

#if defined(__AVX512BF16__)

/* Groups of capsules that are routed side by side. */
enum { GROUPS_AT_ONCE = 4 };

/* The two values of a word. */
struct pair {
    vec lo, hi;
};

ALWAYS_INLINE struct pair pair_of(__m512i word)
{
    return (struct pair){(vec)_mm512_slli_epi32(word, 16),
                         (vec)_mm512_and_si512(word, _mm512_set1_epi32((int)0xffff0000))};
}

ALWAYS_INLINE struct pair load_pair(const uint32_t *words)
{
    return pair_of(_mm512_loadu_si512(words));
}

/* Two rows of sums, or only the first. */
ALWAYS_INLINE struct pair load_sums(const float *sums, size_t values)
{
    return (struct pair){vec_load(sums), values == 2 ? vec_load(sums + KERNEL_LANES) : vec_set(0)};
}

ALWAYS_INLINE void store_sums(float *sums, struct pair x, size_t values)
{
    vec_store(sums, x.lo);
    if (values == 2)
        vec_store(sums + KERNEL_LANES, x.hi);
}

/* What W is in. */
enum kind { KIND_BF16, KIND_INT8 };

/* A group's capsules as words; int8: s8 with a scale for each capsule, and what sums begin with,
 * -128 times theirs, as each u8 of W is 128 too large. */
struct words_of_capsules {
    __m512i word[KERNEL_MAX_DIMS / 2], start;
    vec scale;
};

/* Dimension d of a group's capsules, or zero past the last. */
ALWAYS_INLINE vec load_dim(const float *u, size_t d, size_t dims)
{
    return d < dims ? vec_load(u + d * KERNEL_LANES) : vec_set(0);
}

ALWAYS_INLINE void round_bf16(struct words_of_capsules *to, const float *u, size_t dims)
{
    for (size_t w = 0; 2 * w < dims; w++)
        to->word[w] = words_of(load_dim(u, 2 * w, dims), load_dim(u, 2 * w + 1, dims));
    to->start = _mm512_setzero_si512();
}

ALWAYS_INLINE void round_int8(struct words_of_capsules *to, const float *u, size_t dims)
{
    vec most = vec_set(1e-30f); /* a unit that has an inverse */
    for (size_t d = 0; d < dims; d++)
        most = vec_max((vec)_mm512_abs_ps((__m512)load_dim(u, d, dims)), most);
    const vec inverse = 127.0f / most;
    __m512i sum = _mm512_setzero_si512();
    for (size_t w = 0; 4 * w < dims; w++) {
        to->word[w] = _mm512_setzero_si512();
        for (size_t q = 4; q-- > 0;) {
            const __m512i x = _mm512_cvtps_epi32((__m512)(load_dim(u, 4 * w + q, dims) * inverse));
            to->word[w] = _mm512_or_si512(_mm512_slli_epi32(to->word[w], 8),
                                          _mm512_and_si512(x, _mm512_set1_epi32(255)));
        }
        sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi8(-128), to->word[w]); /* u8 of 128 */
    }
    to->start = _mm512_sub_epi32(_mm512_setzero_si512(), sum);
    to->scale = most / 127.0f;
}

/* sum + the products of capsules' words and W's. */
ALWAYS_INLINE __m512i add_products_of(enum kind kind, __m512i sum, __m512i cap, __m512i w)
{
    if (kind == KIND_INT8)
        return _mm512_dpbusd_epi32(sum, w, cap);
    return (__m512i)_mm512_dpbf16_ps((__m512)sum, (__m512bh)cap, (__m512bh)w);
}

/* `count` groups of capsules from group g on, a constant to the compiler: the sums are touched
 * once for all. */
ALWAYS_INLINE void predict_groups(const struct image_routing *r, enum kind kind, size_t images,
                                  size_t dims, size_t count, size_t g, const struct image_at *at,
                                  uint32_t *u_hat)
{
    const size_t words = kind == KIND_INT8 ? (dims + 3) / 4 : (dims + 1) / 2;
    const size_t row = words * KERNEL_LANES, pairs = (r->pose + 1) / 2;
    const size_t step = r->classes * pairs * KERNEL_LANES, w_step = r->classes * r->pose * row;
    const uint32_t *w = (const uint32_t *)r->weight + g * w_step;
    struct words_of_capsules cap[2][2];
    for (size_t b = 0; b < images; b++)
        for (size_t k = 0; k < count; k++)
            (kind == KIND_INT8 ? round_int8 : round_bf16)(
                &cap[b][k], at[b].u + (g + k) * dims * KERNEL_LANES, dims);
    for (size_t j = 0, word = 0; j < r->classes; j++) {
        vec scale[2][2];
        for (size_t k = 0; kind == KIND_INT8 && k < count; k++)
            for (size_t b = 0; b < images; b++)
                scale[b][k] = cap[b][k].scale *
                              vec_load(r->scales + ((g + k) * r->classes + j) * KERNEL_LANES);
        for (size_t e = 0; e < r->pose; e += 2, word++) {
            const size_t je = j * r->pose + e;
            const size_t values = e + 1 < r->pose ? 2 : 1;
            __m512i x[2][2][2];
            for (size_t k = 0; k < count; k++)
                for (size_t i = 0; i < 2; i++) {
                    for (size_t b = 0; b < images; b++)
                        x[b][k][i] = i < values ? cap[b][k].start : _mm512_setzero_si512();
                    for (size_t d = 0; i < values && d < words; d++) {
                        const __m512i wd = _mm512_loadu_si512(
                            w + k * w_step + (je + i) * row + d * KERNEL_LANES);
                        for (size_t b = 0; b < images; b++)
                            x[b][k][i] = add_products_of(kind, x[b][k][i], cap[b][k].word[d], wd);
                    }
                    for (size_t b = 0; kind == KIND_INT8 && b < images; b++)
                        x[b][k][i] = (__m512i)((vec)_mm512_cvtepi32_ps(x[b][k][i]) * scale[b][k]);
                }
            for (size_t b = 0; b < images; b++) {
                float *sum = at[b].sums + je * KERNEL_LANES;
                struct pair s = load_sums(sum, values);
                for (size_t k = 0; k < count; k++) {
                    const __m512i both = words_of((vec)x[b][k][0], (vec)x[b][k][1]);
                    const struct pair rounded = pair_of(both);
                    uint32_t *to = u_hat + (b * r->groups + g + k) * step + word * KERNEL_LANES;
                    _mm512_storeu_si512(to, both);
                    s.lo += rounded.lo;
                    s.hi += rounded.hi;
                }
                store_sums(sum, s, values);
            }
        }
    }
}

ALWAYS_INLINE void predict_images(const struct image_routing *r, size_t images, size_t dims,
                                  enum kind kind, const float *u, uint32_t *u_hat, float *s,
                                  float *sums)
{
    const size_t outputs = r->classes * r->pose, end = r->first + r->count;
    struct image_at at[2];
    size_t g = r->first;
    for (size_t b = 0; b < images; b++)
        at[b] = image_at(r, b, u, s, sums);
    memset(sums, 0, images * round_lanes(outputs) * KERNEL_LANES * sizeof *sums);
    for (; g + 2 <= end; g += 2)
        predict_groups(r, kind, images, dims, 2, g, at, u_hat);
    if (g < end)
        predict_groups(r, kind, images, dims, 1, g, at, u_hat);
    for (size_t b = 0; b < images; b++)
        sum_groups(at[b].s, at[b].sums, outputs, 1.0f / (float)r->classes);
}

void KERNEL(predict_images_bf16)(const struct image_routing *r, size_t images, const float *u,
                                 uint32_t *u_hat, float *s, float *sums)
{
    const struct image_routing own = *r;
    WITH_SHAPES(predict_images, &own, images, KIND_BF16, u, u_hat, s, sums);
}

void KERNEL(predict_images_int8)(const struct image_routing *r, size_t images, const float *u,
                                 uint32_t *u_hat, float *s, float *sums)
{
    const struct image_routing own = *r;
    WITH_SHAPES(predict_images, &own, images, KIND_INT8, u, u_hat, s, sums);
}

/* As route_groups() of routing_inference.c, of `count` groups from group g on. */
ALWAYS_INLINE void route_groups(const struct image_routing *r, size_t count, size_t pose, size_t g,
                                const uint32_t *u_hat, const float *vsum, float *sums, int adds)
{
    const size_t pairs = (pose + 1) / 2, step = r->classes * pairs * KERNEL_LANES;
    struct row c[GROUPS_AT_ONCE][KERNEL_MAX_CLASSES];
    u_hat += g * step;
    for (size_t j = 0; j < r->classes; j++) {
        vec dot[GROUPS_AT_ONCE] = {{0}};
        for (size_t e = 0; e < pose; e += 2)
            for (size_t k = 0; k < count; k++) {
                const struct pair x =
                    load_pair(u_hat + k * step + (j * pairs + e / 2) * KERNEL_LANES);
                dot[k] += x.lo * vsum[j * pose + e];
                if (e + 1 < pose)
                    dot[k] += x.hi * vsum[j * pose + e + 1];
            }
        for (size_t k = 0; k < count; k++)
            c[k][j].v[0] = dot[k];
    }
    for (size_t k = 0; k < count; k++)
        softmax(c[k], r->classes);
    for (size_t j = 0, word = 0; j < r->classes; j++)
        for (size_t e = 0; e < pose; e += 2, word++) {
            float *sum = sums + (j * pose + e) * KERNEL_LANES;
            const size_t values = e + 1 < pose ? 2 : 1;
            struct pair s = adds ? load_sums(sum, values) : (struct pair){vec_set(0), vec_set(0)};
            for (size_t k = 0; k < count; k++) {
                const struct pair x = load_pair(u_hat + k * step + word * KERNEL_LANES);
                s.lo += c[k][j].v[0] * x.lo;
                s.hi += c[k][j].v[0] * x.hi;
            }
            store_sums(sum, s, values);
        }
}

ALWAYS_INLINE void route_image(const struct image_routing *r, size_t pose, const uint32_t *u_hat,
                               const float *vsum, float *s, float *sums)
{
    const size_t outputs = r->classes * pose, end = r->first + r->count;
    size_t g = r->first;
    memset(sums, 0, round_lanes(outputs) * KERNEL_LANES * sizeof *sums);
    for (; g + GROUPS_AT_ONCE <= end; g += GROUPS_AT_ONCE)
        route_groups(r, GROUPS_AT_ONCE, pose, g, u_hat, vsum, sums, g > r->first);
    for (; g + 2 <= end; g += 2)
        route_groups(r, 2, pose, g, u_hat, vsum, sums, g > r->first);
    if (g < end)
        route_groups(r, 1, pose, g, u_hat, vsum, sums, g > r->first);
    sum_groups(s, sums, outputs, 1);
}

void KERNEL(route_image_bf16)(const struct image_routing *r, const uint32_t *u_hat,
                              const float *vsum, float *s, float *sums)
{
    const struct image_routing own = *r;
    if (r->pose == 16)
        route_image(&own, 16, u_hat, vsum, s, sums);
    else
        route_image(&own, r->pose, u_hat, vsum, s, sums);
}

#endif
