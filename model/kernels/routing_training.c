/*
 * routing_training.c - squash, prediction vectors, routing by agreement and their
 * gradients: KERNEL_LANES images side by side for training, KERNEL_LANES
 * capsules of one image for inference.
 *
 * Training, one image per lane: every sum over dimensions, poses or classes is vertical,
 * the weights are read in their own order, one broadcast each, and nothing is
 * ever summed across a vector (but in predict_backward, once per weight and
 * step).  u_hat is never stored: at 8 multiply-adds a value, computing it
 * again costs less than writing and reading 737 kB an image, and so each pass
 * of the routing touches W once, in order.
 *
 * Inference, one capsule per lane: an image alone fills the vectors, so that it
 * costs what it costs in a batch and its answer is the same bits.  Only the
 * sums over capsules cross the lanes, once an iteration.  u_hat is stored:
 * the one image's 737 kB stay in the second-level cache, and W, ten times
 * larger, is read once.
 */
#include <float.h>
#include <math.h>

#include "model/kernels/vector.h"

enum { PER_LANE = KERNEL_LANES / VEC }; /* vectors per row of lanes */

/* One row of lanes. */
struct row {
    vec v[PER_LANE];
};

ALWAYS_INLINE struct row row_load(const float *p)
{
    struct row r;
    for (int q = 0; q < PER_LANE; q++)
        r.v[q] = vec_load(p + q * VEC);
    return r;
}

ALWAYS_INLINE void row_store(float *p, struct row r)
{
    for (int q = 0; q < PER_LANE; q++)
        vec_store(p + q * VEC, r.v[q]);
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

/* ---- Squash ------------------------------------------------------------- */

/* Without <immintrin.h> a loop over the lanes becomes one instruction. */
ALWAYS_INLINE vec vec_sqrt(vec x)
{
    for (int i = 0; i < VEC; i++)
        x[i] = sqrtf(x[i]);
    return x;
}

/* Beyond this a component counts as this: |s|^2 of 256 of them is still
 * finite, and |v| stays below 1 whatever s is.  NaN stays NaN. */
#define SQUASH_LIMIT 1e18f

ALWAYS_INLINE vec squash_load(const float *p)
{
    vec low = vec_max(vec_set(-SQUASH_LIMIT), vec_load(p));
    return vec_min(vec_set(SQUASH_LIMIT), low);
}

void KERNEL(squash)(float *v, const float *s, size_t count, size_t dims)
{
    for (size_t i = 0; i < count; i++, v += dims * KERNEL_LANES, s += dims * KERNEL_LANES)
        for (int q = 0; q < PER_LANE; q++) {
            vec sum = vec_set(0);
            for (size_t d = 0; d < dims; d++) {
                vec x = squash_load(s + d * KERNEL_LANES + q * VEC);
                sum += x * x;
            }
            vec h = vec_sqrt(sum) / (1.0f + sum);
            for (size_t d = 0; d < dims; d++)
                vec_store(v + d * KERNEL_LANES + q * VEC,
                          h * squash_load(s + d * KERNEL_LANES + q * VEC));
        }
}

/* v = h(q) s with q = |s|^2, h = sqrt q / (1 + q), so
 *   ds = h dv + h (1 - q) / (1 + q) (n . dv) n,  n = s / |s|,
 * whose second term goes to 0 with s.  In this form nothing overflows where
 * |s|^2 does not. */
void KERNEL(squash_backward)(float *ds, const float *s, const float *dv, size_t count,
                             size_t dims)
{
    const size_t step = dims * KERNEL_LANES;
    for (size_t i = 0; i < count; i++, ds += step, s += step, dv += step)
        for (int lane = 0; lane < PER_LANE; lane++) {
            vec q = vec_set(0), dot = vec_set(0);
            for (size_t d = 0; d < dims; d++) {
                vec x = vec_load(s + d * KERNEL_LANES + lane * VEC);
                q += x * x;
                dot += x * vec_load(dv + d * KERNEL_LANES + lane * VEC);
            }
            vec root = vec_sqrt(q), one_q = 1.0f + q;
            vec h = root / one_q, inverse = 1.0f / vec_max(root, vec_set(1e-18f));
            vec k = h * ((1.0f - q) / one_q) * (dot * inverse);
            for (size_t d = 0; d < dims; d++) {
                size_t at = d * KERNEL_LANES + (size_t)lane * VEC;
                vec_store(ds + at, h * vec_load(dv + at) + k * (inverse * vec_load(s + at)));
            }
        }
}

/* ---- Routing ------------------------------------------------------------ */

enum { MAX_CLASSES = 256 };

/* u_hat[je] = sum_d W[je][d] u[d]. */
ALWAYS_INLINE struct row predict(const float *w, const struct row *u, size_t dims)
{
    struct row x;
    for (int q = 0; q < PER_LANE; q++)
        x.v[q] = w[0] * u[0].v[q];
    for (size_t d = 1; d < dims; d++)
        for (int q = 0; q < PER_LANE; q++)
            x.v[q] += w[d] * u[d].v[q];
    return x;
}

/* u_hat of one capsule into [classes*pose][lanes], logits[j] = u_hat . vsum, and
 * dc[j] = u_hat . ds unless that is NULL. */
ALWAYS_INLINE void predict_all(const struct routing *r, size_t dims, const float *w,
                               const struct row *u, const float *vsum, float *u_hat,
                               struct row *logits, const float *ds, struct row *dc)
{
    for (size_t j = 0; j < r->classes; j++) {
        struct row dot = {{{0}}}, dot_ds = {{{0}}};
        for (size_t e = 0; e < r->pose; e++, w += dims) {
            size_t je = j * r->pose + e;
            struct row x = predict(w, u, dims);
            row_store(u_hat + je * KERNEL_LANES, x);
            for (int q = 0; q < PER_LANE; q++) {
                size_t at = je * KERNEL_LANES + (size_t)q * VEC;
                dot.v[q] += x.v[q] * vec_load(vsum + at);
                if (ds)
                    dot_ds.v[q] += x.v[q] * vec_load(ds + at);
            }
        }
        logits[j] = dot;
        if (ds)
            dc[j] = dot_ds;
    }
}

/* In place; the largest logit is subtracted first, so that nothing overflows. */
ALWAYS_INLINE void softmax(struct row *c, size_t classes)
{
    for (int q = 0; q < PER_LANE; q++) {
        vec top = c[0].v[q], sum = vec_set(0);
        for (size_t j = 1; j < classes; j++)
            top = vec_max(top, c[j].v[q]);
        for (size_t j = 0; j < classes; j++) {
            c[j].v[q] = vec_exp(c[j].v[q] - top);
            sum += c[j].v[q];
        }
        vec inverse = 1.0f / sum;
        for (size_t j = 0; j < classes; j++)
            c[j].v[q] *= inverse;
    }
}

ALWAYS_INLINE void load_capsule(struct row *u, const float *src, size_t dims)
{
    for (size_t d = 0; d < dims; d++)
        u[d] = row_load(src + d * KERNEL_LANES);
}

enum { MAX_DIMS = 64 };

ALWAYS_INLINE void route(const struct routing *r, size_t dims, const float *u, const float *vsum,
                         float *s, float *scratch)
{
    const size_t outputs = r->classes * r->pose;
    const float *w = r->weight;
    struct row cap[MAX_DIMS], c[MAX_CLASSES];
    memset(s, 0, outputs * KERNEL_LANES * sizeof *s);
    for (size_t i = 0; i < r->capsules; i++, w += outputs * dims) {
        load_capsule(cap, u + i * dims * KERNEL_LANES, dims);
        if (!vsum) {
            for (size_t je = 0; je < outputs; je++) {
                struct row x = predict(w + je * dims, cap, dims);
                for (int q = 0; q < PER_LANE; q++) {
                    float *p = s + je * KERNEL_LANES + q * VEC;
                    vec_store(p, vec_load(p) + x.v[q]);
                }
            }
            continue;
        }
        predict_all(r, dims, w, cap, vsum, scratch, c, NULL, NULL);
        softmax(c, r->classes);
        for (size_t j = 0, je = 0; j < r->classes; j++)
            for (size_t e = 0; e < r->pose; e++, je++)
                for (int q = 0; q < PER_LANE; q++) {
                    size_t at = je * KERNEL_LANES + (size_t)q * VEC;
                    vec_store(s + at, vec_load(s + at) + c[j].v[q] * vec_load(scratch + at));
                }
    }
    if (!vsum) {
        float uniform = 1.0f / (float)r->classes;
        for (size_t at = 0; at < outputs * KERNEL_LANES; at += VEC)
            vec_store(s + at, uniform * vec_load(s + at));
    }
}

void KERNEL(route)(const struct routing *r, const float *u, const float *vsum, float *s,
                   float *scratch)
{
    const struct routing own = *r; /* no store can change it: it stays in registers */
    if (r->dims == 8)
        route(&own, 8, u, vsum, s, scratch);
    else
        route(&own, r->dims, u, vsum, s, scratch);
}

ALWAYS_INLINE void route_backward(const struct routing *r, size_t dims, const float *u,
                                  const float *vsum, const float *ds, float *dvsum, float *c_out,
                                  float *gb_out, size_t capsule_stride, float *scratch)
{
    const size_t outputs = r->classes * r->pose;
    const float *w = r->weight;
    struct row cap[MAX_DIMS], c[MAX_CLASSES], dc[MAX_CLASSES];
    memset(dvsum, 0, outputs * KERNEL_LANES * sizeof *dvsum);
    for (size_t i = 0; i < r->capsules; i++, w += outputs * dims) {
        load_capsule(cap, u + i * dims * KERNEL_LANES, dims);
        predict_all(r, dims, w, cap, vsum, scratch, c, ds, dc);
        softmax(c, r->classes);
        struct row mean = {{{0}}};
        for (size_t j = 0; j < r->classes; j++)
            for (int q = 0; q < PER_LANE; q++)
                mean.v[q] += c[j].v[q] * dc[j].v[q];
        for (size_t j = 0; j < r->classes; j++)
            for (int q = 0; q < PER_LANE; q++) {
                vec gb = c[j].v[q] * (dc[j].v[q] - mean.v[q]);
                vec_store(c_out + i * capsule_stride + j * KERNEL_LANES + q * VEC, c[j].v[q]);
                vec_store(gb_out + i * capsule_stride + j * KERNEL_LANES + q * VEC, gb);
                for (size_t e = 0; e < r->pose; e++) {
                    size_t at = (j * r->pose + e) * KERNEL_LANES + (size_t)q * VEC;
                    vec_store(dvsum + at, vec_load(dvsum + at) + gb * vec_load(scratch + at));
                }
            }
    }
}

void KERNEL(route_backward)(const struct routing *r, const float *u, const float *vsum,
                            const float *ds, float *dvsum, float *c_out, float *gb_out,
                            size_t capsule_stride, float *scratch)
{
    const struct routing own = *r; /* no store can change it: it stays in registers */
    if (r->dims == 8)
        route_backward(&own, 8, u, vsum, ds, dvsum, c_out, gb_out, capsule_stride, scratch);
    else
        route_backward(&own, r->dims, u, vsum, ds, dvsum, c_out, gb_out, capsule_stride, scratch);
}

/* out[i] = the sum of row i of rows [KERNEL_LANES][lanes], for the first count
 * rows: transposed, so that all add at once.  Halves are folded onto halves, a
 * fixed order of additions. */
ALWAYS_INLINE void sum_lanes(float *out, const struct row rows[KERNEL_LANES], size_t count)
{
    struct row t[KERNEL_LANES];
    KERNEL(transpose)((float *)t, KERNEL_LANES, (const float *)rows, KERNEL_LANES, KERNEL_LANES,
                      KERNEL_LANES);
    for (int half = KERNEL_LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            for (int q = 0; q < PER_LANE; q++)
                t[i].v[q] += t[i + half].v[q];
    memcpy(out, t, count * sizeof *out);
}

ALWAYS_INLINE void predict_backward(const struct routing *r, size_t dims, size_t capsule,
                                    size_t groups, const float *du_hat, const float *u,
                                    float *du, size_t group_stride, float *dw)
{
    const size_t outputs = r->classes * r->pose;
    const float *w = r->weight + capsule * outputs * dims;
    for (size_t g = 0; g < groups; g++) {
        struct row sum[MAX_DIMS];
        memset(sum, 0, dims * sizeof *sum);
        for (size_t je = 0; je < outputs; je++) {
            struct row x = row_load(du_hat + (g * outputs + je) * KERNEL_LANES);
            for (size_t d = 0; d < dims; d++)
                for (int q = 0; q < PER_LANE; q++)
                    sum[d].v[q] += w[je * dims + d] * x.v[q];
        }
        for (size_t d = 0; d < dims; d++)
            row_store(du + g * group_stride + d * KERNEL_LANES, sum[d]);
    }
    struct row full[KERNEL_LANES]; /* weights whose lanes are still to be summed */
    size_t waiting = 0;
    for (size_t je = 0; je < outputs; je++) {
        struct row sum[MAX_DIMS];
        memset(sum, 0, dims * sizeof *sum);
        for (size_t g = 0; g < groups; g++) {
            struct row x = row_load(du_hat + (g * outputs + je) * KERNEL_LANES);
            for (size_t d = 0; d < dims; d++)
                for (int q = 0; q < PER_LANE; q++)
                    sum[d].v[q] +=
                        x.v[q] * vec_load(u + g * group_stride + d * KERNEL_LANES + q * VEC);
        }
        for (size_t d = 0; d < dims; d++) {
            full[waiting++] = sum[d];
            if (waiting == KERNEL_LANES) {
                sum_lanes(dw, full, waiting);
                dw += waiting;
                waiting = 0;
            }
        }
    }
    if (waiting > 0) {
        memset(full + waiting, 0, (KERNEL_LANES - waiting) * sizeof *full);
        sum_lanes(dw, full, waiting);
    }
}

void KERNEL(predict_backward)(const struct routing *r, size_t capsule, size_t groups,
                              const float *du_hat, const float *u, float *du,
                              size_t group_stride, float *dw)
{
    const struct routing own = *r; /* no store can change it: it stays in registers */
    if (r->dims == 8)
        predict_backward(&own, 8, capsule, groups, du_hat, u, du, group_stride, dw);
    else
        predict_backward(&own, r->dims, capsule, groups, du_hat, u, du, group_stride, dw);
}

enum { MAX_TERMS = 2 * 10 - 1 }; /* of ten iterations, the most that a shape may have */

ALWAYS_INLINE void combine(const struct routing *r, float *du_hat, size_t terms,
                           const float *const *coef, const float *const *vectors)
{
    const size_t classes = r->classes, pose = r->pose;
    const float *from[MAX_TERMS];
    for (size_t t = 0; t < terms; t++)
        from[t] = vectors[t];
    for (size_t j = 0; j < classes; j++)
        for (int q = 0; q < PER_LANE; q++) {
            vec c[MAX_TERMS];
            for (size_t t = 0; t < terms; t++)
                c[t] = vec_load(coef[t] + j * KERNEL_LANES + q * VEC);
            for (size_t e = 0; e < pose; e++) {
                size_t at = (j * pose + e) * KERNEL_LANES + (size_t)q * VEC;
                vec sum = vec_set(0);
                for (size_t t = 0; t < terms; t++)
                    sum += c[t] * vec_load(from[t] + at);
                vec_store(du_hat + at, sum);
            }
        }
}

void KERNEL(combine)(const struct routing *r, float *du_hat, size_t terms,
                     const float *const *coef, const float *const *vectors)
{
    if (terms == 5) /* three iterations: the loop over terms unrolls */
        combine(r, du_hat, 5, coef, vectors);
    else
        combine(r, du_hat, terms, coef, vectors);
}

/* ---- One image, capsules side by side ------------------------------------ */

/* s[je] = scale * the sum of row je of sums [outputs rounded up][lanes]. */
ALWAYS_INLINE void sum_groups(float *s, const float *sums, size_t outputs, float scale)
{
    for (size_t je = 0; je < outputs; je += KERNEL_LANES) {
        struct row rows[KERNEL_LANES];
        const size_t count = outputs - je < KERNEL_LANES ? outputs - je : KERNEL_LANES;
        for (size_t i = 0; i < KERNEL_LANES; i++)
            rows[i] = row_load(sums + (je + i) * KERNEL_LANES);
        sum_lanes(s + je, rows, count);
    }
    for (size_t je = 0; je < outputs; je++)
        s[je] *= scale;
}

ALWAYS_INLINE size_t round_lanes(size_t n)
{
    return (n + KERNEL_LANES - 1) / KERNEL_LANES * KERNEL_LANES;
}

/* Where image b of a call has its part of the operands. */
struct image_at {
    const float *u;
    float *u_hat, *s, *sums;
};

ALWAYS_INLINE struct image_at image_at(const struct image_routing *r, size_t b, const float *u,
                                       float *u_hat, float *s, float *sums)
{
    const size_t outputs = r->classes * r->pose, row = round_lanes(outputs);
    return (struct image_at){u + b * r->groups * r->dims * KERNEL_LANES,
                             u_hat + b * r->groups * outputs * KERNEL_LANES, s + b * row,
                             sums + b * row * KERNEL_LANES};
}

ALWAYS_INLINE void put_u_hat(const struct image_at *at, size_t first, size_t je, size_t q, vec x)
{
    float *sum = at->sums + je * KERNEL_LANES + q * VEC;
    vec_store(at->u_hat + first + je * KERNEL_LANES + q * VEC, x);
    vec_store(sum, vec_load(sum) + x);
}

/* images and dims are constants to the compiler: W is read once for both. */
ALWAYS_INLINE void predict_images(const struct image_routing *r, size_t images, size_t dims,
                                  const float *u, float *u_hat, float *s, float *sums)
{
    const size_t outputs = r->classes * r->pose, row = round_lanes(outputs);
    const float *w = r->weight;
    struct row cap[2][MAX_DIMS];
    struct image_at at[2];
    for (size_t b = 0; b < images; b++)
        at[b] = image_at(r, b, u, u_hat, s, sums);
    memset(sums, 0, images * row * KERNEL_LANES * sizeof *sums);
    for (size_t g = 0; g < r->groups; g++) {
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
                for (size_t b = 0; b < images; b++)
                    put_u_hat(&at[b], first, je, q, x[b]);
            }
    }
    for (size_t b = 0; b < images; b++)
        sum_groups(at[b].s, at[b].sums, outputs, 1.0f / (float)r->classes);
}

void KERNEL(predict_images)(const struct image_routing *r, size_t images, const float *u,
                            float *u_hat, float *s, float *sums)
{
    const struct image_routing own = *r; /* no store can change it */
    if (images == 2 && r->dims == 8)
        predict_images(&own, 2, 8, u, u_hat, s, sums);
    else if (images == 2)
        predict_images(&own, 2, r->dims, u, u_hat, s, sums);
    else if (r->dims == 8)
        predict_images(&own, 1, 8, u, u_hat, s, sums);
    else
        predict_images(&own, 1, r->dims, u, u_hat, s, sums);
}

/* The groups of capsules at u_hat, count (a constant) of them side by side, so
 * that vsum and the sums are touched once for all. */
ALWAYS_INLINE void route_groups(const struct image_routing *r, size_t count, size_t pose,
                                const float *u_hat, const float *vsum, float *sums)
{
    const size_t step = r->classes * pose * KERNEL_LANES;
    struct row c[2][MAX_CLASSES];
    for (size_t j = 0; j < r->classes; j++)
        for (size_t q = 0; q < PER_LANE; q++) {
            const float *x = u_hat + j * pose * KERNEL_LANES + q * VEC;
            vec dot[2] = {vec_set(0), vec_set(0)};
            for (size_t e = 0; e < pose; e++) {
                const vec v = vec_set(vsum[j * pose + e]);
                for (size_t k = 0; k < count; k++)
                    dot[k] += vec_load(x + k * step + e * KERNEL_LANES) * v;
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
                vec sum = vec_load(sums + at);
                for (size_t k = 0; k < count; k++)
                    sum += c[k][j].v[q] * vec_load(u_hat + k * step + at);
                vec_store(sums + at, sum);
            }
}

ALWAYS_INLINE void route_image(const struct image_routing *r, size_t pose, const float *u_hat,
                               const float *vsum, float *s, float *sums)
{
    const size_t outputs = r->classes * pose;
    size_t g = 0;
    memset(sums, 0, round_lanes(outputs) * KERNEL_LANES * sizeof *sums);
    for (; g + 2 <= r->groups; g += 2)
        route_groups(r, 2, pose, u_hat + g * outputs * KERNEL_LANES, vsum, sums);
    if (g < r->groups)
        route_groups(r, 1, pose, u_hat + g * outputs * KERNEL_LANES, vsum, sums);
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

#if defined(__AVX512BF16__)

/* Per lane a word of two bf16: lo in its low half, hi in its high half. */
ALWAYS_INLINE __m512bh pair(vec lo, vec hi)
{
    const __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)lo));
    const __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)hi));
    return (__m512bh)_mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

ALWAYS_INLINE void predict_images_bf16(const struct image_routing *r, size_t images, size_t dims,
                                       const float *u, float *u_hat, float *s, float *sums)
{
    const size_t outputs = r->classes * r->pose, row = round_lanes(outputs);
    const size_t words = (dims + 1) / 2;
    const uint32_t *w = r->weight;
    __m512bh cap[2][MAX_DIMS / 2];
    struct image_at at[2];
    for (size_t b = 0; b < images; b++)
        at[b] = image_at(r, b, u, u_hat, s, sums);
    memset(sums, 0, images * row * KERNEL_LANES * sizeof *sums);
    for (size_t g = 0; g < r->groups; g++) {
        const size_t first = g * outputs * KERNEL_LANES;
        for (size_t b = 0; b < images; b++)
            for (size_t d = 0; d < words; d++) {
                const float *from = at[b].u + (g * dims + 2 * d) * KERNEL_LANES;
                cap[b][d] = pair(vec_load(from), 2 * d + 1 < dims ? vec_load(from + KERNEL_LANES)
                                                                  : vec_set(0));
            }
        for (size_t je = 0; je < outputs; je++, w += words * KERNEL_LANES) {
            __m512 x[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
            for (size_t d = 0; d < words; d++) {
                const __m512bh wd = (__m512bh)_mm512_loadu_si512(w + d * KERNEL_LANES);
                for (size_t b = 0; b < images; b++)
                    x[b] = _mm512_dpbf16_ps(x[b], cap[b][d], wd);
            }
            for (size_t b = 0; b < images; b++)
                put_u_hat(&at[b], first, je, 0, (vec)x[b]);
        }
    }
    for (size_t b = 0; b < images; b++)
        sum_groups(at[b].s, at[b].sums, outputs, 1.0f / (float)r->classes);
}

void KERNEL(predict_images_bf16)(const struct image_routing *r, size_t images, const float *u,
                                 float *u_hat, float *s, float *sums)
{
    const struct image_routing own = *r;
    if (images == 2 && r->dims == 8)
        predict_images_bf16(&own, 2, 8, u, u_hat, s, sums);
    else if (images == 2)
        predict_images_bf16(&own, 2, r->dims, u, u_hat, s, sums);
    else if (r->dims == 8)
        predict_images_bf16(&own, 1, 8, u, u_hat, s, sums);
    else
        predict_images_bf16(&own, 1, r->dims, u, u_hat, s, sums);
}

#endif

/* ---- Elementwise -------------------------------------------------------- */

void KERNEL(adam)(size_t n, float *w, const float *g, float *m, float *v, float *ema, float rate,
                  float beta1, float beta2, float epsilon, float ema_decay)
{
    for (size_t i = 0; i < n; i += VEC) {
        vec gv = vec_load(g + i), mv = vec_load(m + i), vv = vec_load(v + i);
        mv += (1.0f - beta1) * (gv - mv);
        vv += (1.0f - beta2) * (gv * gv - vv);
        vec wv = vec_load(w + i) - rate * mv / (vec_sqrt(vv) + epsilon);
        vec_store(m + i, mv);
        vec_store(v + i, vv);
        vec_store(w + i, wv);
        if (ema) {
            vec ev = vec_load(ema + i);
            vec_store(ema + i, ev + (1.0f - ema_decay) * (wv - ev));
        }
    }
}

void KERNEL(relu_backward)(float *dx, const float *x, float *db, size_t rows, size_t n)
{
    for (size_t i = 0; i < rows; i++, dx += n, x += n)
        for (size_t j = 0; j < n; j += VEC) {
            vec d = vec_select(vec_load(x + j) > 0, vec_load(dx + j), vec_set(0));
            vec_store(dx + j, d);
            vec_store(db + j, vec_load(db + j) + d);
        }
}

void KERNEL(sigmoid)(float *y, size_t n)
{
    for (size_t i = 0; i < n; i += VEC) {
        /* exp of a value <= 0 only: no overflow, and 1 - p by symmetry. */
        vec x = vec_load(y + i);
        vec e = vec_exp(-vec_max(x, -x));
        vec p = 1.0f / (1.0f + e);
        vec_store(y + i, vec_select(x < 0, e * p, p));
    }
}
