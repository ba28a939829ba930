/*
 * routing_inference_bf16.c - routing_inference.c with W and u_hat in bf16: then those of both
 * images that share a reading of W stay in the second-level cache.
 *
 * A word is two values of a prediction vector, of which one shift and one AND make fp32 again.
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

/* `count` groups of capsules from group g on, a constant to the compiler: the sums are touched
 * once for all. */
ALWAYS_INLINE void predict_groups(const struct image_routing *r, size_t images, size_t dims,
                                  size_t count, size_t g, const struct image_at *at,
                                  uint32_t *u_hat)
{
    const size_t words = (dims + 1) / 2, row = words * KERNEL_LANES, pairs = (r->pose + 1) / 2;
    const size_t step = r->classes * pairs * KERNEL_LANES, w_step = r->classes * r->pose * row;
    const uint32_t *w = (const uint32_t *)r->weight + g * w_step;
    __m512bh cap[2][2][KERNEL_MAX_DIMS / 2];
    for (size_t b = 0; b < images; b++)
        for (size_t k = 0; k < count; k++)
            for (size_t d = 0; d < words; d++) {
                const float *from = at[b].u + ((g + k) * dims + 2 * d) * KERNEL_LANES;
                cap[b][k][d] = (__m512bh)words_of(
                    vec_load(from), 2 * d + 1 < dims ? vec_load(from + KERNEL_LANES) : vec_set(0));
            }
    for (size_t j = 0, word = 0; j < r->classes; j++)
        for (size_t e = 0; e < r->pose; e += 2, word++) {
            const size_t je = j * r->pose + e;
            const size_t values = e + 1 < r->pose ? 2 : 1;
            __m512 x[2][2][2];
            for (size_t k = 0; k < count; k++)
                for (size_t i = 0; i < 2; i++) {
                    for (size_t b = 0; b < images; b++)
                        x[b][k][i] = _mm512_setzero_ps();
                    for (size_t d = 0; i < values && d < words; d++) {
                        const __m512bh wd = (__m512bh)_mm512_loadu_si512(
                            w + k * w_step + (je + i) * row + d * KERNEL_LANES);
                        for (size_t b = 0; b < images; b++)
                            x[b][k][i] = _mm512_dpbf16_ps(x[b][k][i], cap[b][k][d], wd);
                    }
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

ALWAYS_INLINE void predict_images(const struct image_routing *r, size_t images, size_t dims,
                                  const float *u, uint32_t *u_hat, float *s, float *sums)
{
    const size_t outputs = r->classes * r->pose, end = r->first + r->count;
    struct image_at at[2];
    size_t g = r->first;
    for (size_t b = 0; b < images; b++)
        at[b] = image_at(r, b, u, s, sums);
    memset(sums, 0, images * round_lanes(outputs) * KERNEL_LANES * sizeof *sums);
    for (; g + 2 <= end; g += 2)
        predict_groups(r, images, dims, 2, g, at, u_hat);
    if (g < end)
        predict_groups(r, images, dims, 1, g, at, u_hat);
    for (size_t b = 0; b < images; b++)
        sum_groups(at[b].s, at[b].sums, outputs, 1.0f / (float)r->classes);
}

void KERNEL(predict_images_bf16)(const struct image_routing *r, size_t images, const float *u,
                                 uint32_t *u_hat, float *s, float *sums)
{
    const struct image_routing own = *r;
    WITH_SHAPES(predict_images, &own, images, u, u_hat, s, sums);
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
