/*
 * routing_inference.c - prediction vectors and routing by agreement of one image,
 * KERNEL_LANES capsules side by side.
 *
 * One capsule per lane: an image alone fills the vectors, so that it costs what
 * it costs in a batch and its answer is the same bits.  Only the sums over
 * capsules cross the lanes, once an iteration and part.  u_hat is stored: the one image's
 * 737 kB stay in the second-level cache, and W, ten times larger, is read once.
 */
#include "model/kernels/routing_image.h"

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

/* The vector of W that lies so many values behind w, in fp32 or fp16. */
ALWAYS_INLINE vec load_weights(const char *w, size_t at, int is_f16)
{
#if HAS_F16
    if (is_f16)
        return vec_load_f16(w + at * sizeof(uint16_t));
#endif
    (void)is_f16;
    return vec_load((const float *)(const void *)w + at);
}

/* images, dims and is_f16 are constants to the compiler: W is read once for both. */
ALWAYS_INLINE void predict_images(const struct image_routing *r, size_t images, size_t dims,
                                  int is_f16, const float *u, float *u_hat, float *s, float *sums)
{
    const size_t outputs = r->classes * r->pose, row = round_lanes(outputs);
    const size_t size = r->groups * outputs * KERNEL_LANES; /* u_hat of an image */
    const size_t w_row = dims * KERNEL_LANES * (is_f16 ? sizeof(uint16_t) : sizeof(float));
    const char *w = (const char *)r->weight + r->first * outputs * w_row;
    struct row cap[2][KERNEL_MAX_DIMS];
    struct image_at at[2];
    for (size_t b = 0; b < images; b++)
        at[b] = image_at(r, b, u, s, sums);
    memset(sums, 0, images * row * KERNEL_LANES * sizeof *sums);
    for (size_t g = r->first; g < r->first + r->count; g++) {
        const size_t first = g * outputs * KERNEL_LANES;
        for (size_t b = 0; b < images; b++)
            load_capsule(cap[b], at[b].u + g * dims * KERNEL_LANES, dims);
        for (size_t je = 0; je < outputs; je++, w += w_row)
            for (size_t q = 0; q < PER_LANE; q++) {
                /* From zero: two products to add would leave the compiler the
                 * choice of which one to round, for one image and for two. */
                vec x[2] = {vec_set(0), vec_set(0)};
                for (size_t d = 0; d < dims; d++) {
                    const vec wd = load_weights(w, d * KERNEL_LANES + q * VEC, is_f16);
                    for (size_t b = 0; b < images; b++)
                        x[b] += wd * cap[b][d].v[q];
                }
                for (size_t b = 0; b < images; b++) {
                    const size_t to = je * KERNEL_LANES + q * VEC;
                    vec_store(at[b].sums + to, vec_load(at[b].sums + to) + x[b]);
                    vec_store(u_hat + b * size + first + to, x[b]);
                }
            }
    }
    for (size_t b = 0; b < images; b++)
        sum_groups(at[b].s, at[b].sums, outputs, 1.0f / (float)r->classes);
}

void KERNEL(predict_images)(const struct image_routing *r, size_t images, const float *u,
                            float *u_hat, float *s, float *sums)
{
    const struct image_routing own = *r; /* no store can change it */
    WITH_SHAPES(predict_images, &own, images, 0, u, u_hat, s, sums);
}

#if HAS_F16
void KERNEL(predict_images_f16)(const struct image_routing *r, size_t images, const float *u,
                                float *u_hat, float *s, float *sums)
{
    const struct image_routing own = *r;
    WITH_SHAPES(predict_images, &own, images, 1, u, u_hat, s, sums);
}
#endif

/* The groups of capsules from value `first` of u_hat on, count (a constant) of them side by
 * side, so that vsum and the sums are touched once for all.  They are added to sums, or, where
 * they are the first, replace them. */
ALWAYS_INLINE void route_groups(const struct image_routing *r, size_t count, size_t pose,
                                const float *u_hat, size_t first, const float *vsum, float *sums,
                                int adds)
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
                    dot[k] += vec_load(u_hat + x + k * step + e * KERNEL_LANES) * v;
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
                    sum += c[k][j].v[q] * vec_load(u_hat + first + k * step + at);
                vec_store(sums + at, sum);
            }
}

ALWAYS_INLINE void route_image(const struct image_routing *r, size_t pose, const float *u_hat,
                               const float *vsum, float *s, float *sums)
{
    const size_t outputs = r->classes * pose, size = outputs * KERNEL_LANES;
    const size_t end = r->first + r->count;
    size_t g = r->first;
    memset(sums + size, 0, (round_lanes(outputs) - outputs) * KERNEL_LANES * sizeof *sums);
    if (r->count == 0)
        memset(sums, 0, size * sizeof *sums);
    for (; g + 2 <= end; g += 2)
        route_groups(r, 2, pose, u_hat, g * size, vsum, sums, g > r->first);
    if (g < end)
        route_groups(r, 1, pose, u_hat, g * size, vsum, sums, g > r->first);
    sum_groups(s, sums, outputs, 1);
}

void KERNEL(route_image)(const struct image_routing *r, const float *u_hat, const float *vsum,
                         float *s, float *sums)
{
    const struct image_routing own = *r;
    if (r->pose == 16)
        route_image(&own, 16, u_hat, vsum, s, sums);
    else
        route_image(&own, r->pose, u_hat, vsum, s, sums);
}
