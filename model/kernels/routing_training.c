/*
 * routing_training.c - prediction vectors, routing by agreement and their
 * gradients, KERNEL_LANES images side by side.
 *
 * One image per lane: every sum over dimensions, poses or classes is vertical,
 * the weights are read in their own order, one broadcast each, and nothing is
 * ever summed across a vector (but in predict_backward, once per weight and
 * step).  u_hat is never stored: at 8 multiply-adds a value, computing it
 * again costs less than writing and reading 737 kB an image, and so each pass
 * of the routing touches W once, in order.
 */
#include "model/kernels/routing.h"

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
