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

/* Capsules, groups or outputs that share a reading of the other operand: as many as
 * the level has registers for. */
enum { AT_ONCE = VEC == 16 ? 2 : 1 };

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

/* What is known of one capsule while its routing is worked out. */
struct capsule {
    struct row u[KERNEL_MAX_DIMS];
    struct row c[KERNEL_MAX_CLASSES];  /* logits, then their softmax */
    struct row dc[KERNEL_MAX_CLASSES]; /* backward: u_hat . ds, then gb */
};

/* u_hat of count (a constant) capsules into u_hat [count][classes*pose][lanes],
 * c[j] = u_hat . vsum, and dc[j] = u_hat . ds unless that is NULL. */
ALWAYS_INLINE void predict_all(const struct routing *r, size_t dims, size_t count, const float *w,
                               struct capsule *cap, const float *vsum, float *u_hat,
                               const float *ds)
{
    const size_t outputs = r->classes * r->pose;
    for (size_t j = 0; j < r->classes; j++) {
        struct row dot[AT_ONCE] = {{{{0}}}}, dot_ds[AT_ONCE] = {{{{0}}}};
        for (size_t e = 0; e < r->pose; e++, w += dims) {
            const size_t je = j * r->pose + e;
            const struct row v = row_load(vsum + je * KERNEL_LANES);
            const struct row s = row_load((ds ? ds : vsum) + je * KERNEL_LANES);
            for (size_t b = 0; b < count; b++) {
                const struct row x = predict(w + b * outputs * dims, cap[b].u, dims);
                row_store(u_hat + (b * outputs + je) * KERNEL_LANES, x);
                for (int q = 0; q < PER_LANE; q++) {
                    dot[b].v[q] += x.v[q] * v.v[q];
                    if (ds)
                        dot_ds[b].v[q] += x.v[q] * s.v[q];
                }
            }
        }
        for (size_t b = 0; b < count; b++) {
            cap[b].c[j] = dot[b];
            if (ds)
                cap[b].dc[j] = dot_ds[b];
        }
    }
}

/* sum[je] += sum over capsules of k[b][j] u_hat[b][je]. */
ALWAYS_INLINE void add_weighted(const struct routing *r, size_t count, float *sum,
                                const struct row *const k[AT_ONCE], const float *u_hat)
{
    const size_t size = r->classes * r->pose * KERNEL_LANES;
    for (size_t j = 0, je = 0; j < r->classes; j++)
        for (size_t e = 0; e < r->pose; e++, je++)
            for (int q = 0; q < PER_LANE; q++) {
                const size_t at = je * KERNEL_LANES + (size_t)q * VEC;
                vec x = vec_load(sum + at);
                for (size_t b = 0; b < count; b++)
                    x += k[b][j].v[q] * vec_load(u_hat + b * size + at);
                vec_store(sum + at, x);
            }
}

/* ---- Forward ------------------------------------------------------------- */

/* The first iteration, c = 1 / classes. */
ALWAYS_INLINE void route_evenly(const struct routing *r, size_t dims, const float *u, float *s)
{
    const size_t outputs = r->classes * r->pose;
    const float *w = r->weight, uniform = 1.0f / (float)r->classes;
    struct row cap[KERNEL_MAX_DIMS];
    for (size_t i = 0; i < r->capsules; i++, w += outputs * dims) {
        load_capsule(cap, u + i * dims * KERNEL_LANES, dims);
        for (size_t je = 0; je < outputs; je++) {
            const struct row x = predict(w + je * dims, cap, dims);
            for (int q = 0; q < PER_LANE; q++) {
                float *p = s + je * KERNEL_LANES + q * VEC;
                vec_store(p, vec_load(p) + x.v[q]);
            }
        }
    }
    for (size_t at = 0; at < outputs * KERNEL_LANES; at += VEC)
        vec_store(s + at, uniform * vec_load(s + at));
}

/* count (a constant) capsules at w and u. */
ALWAYS_INLINE void route_capsules(const struct routing *r, size_t dims, size_t count,
                                  const float *w, const float *u, const float *vsum, float *s,
                                  float *scratch)
{
    struct capsule cap[AT_ONCE];
    const struct row *c[AT_ONCE];
    for (size_t b = 0; b < count; b++)
        load_capsule(cap[b].u, u + b * dims * KERNEL_LANES, dims);
    predict_all(r, dims, count, w, cap, vsum, scratch, NULL);
    for (size_t b = 0; b < count; b++) {
        softmax(cap[b].c, r->classes);
        c[b] = cap[b].c;
    }
    add_weighted(r, count, s, c, scratch);
}

ALWAYS_INLINE void route(const struct routing *r, size_t dims, const float *u, const float *vsum,
                         float *s, float *scratch)
{
    const size_t outputs = r->classes * r->pose, w_size = outputs * dims;
    const size_t u_size = dims * KERNEL_LANES;
    size_t i = 0;
    memset(s, 0, outputs * KERNEL_LANES * sizeof *s);
    if (!vsum) {
        route_evenly(r, dims, u, s);
        return;
    }
    for (; i + AT_ONCE <= r->capsules; i += AT_ONCE)
        route_capsules(r, dims, AT_ONCE, r->weight + i * w_size, u + i * u_size, vsum, s, scratch);
    if (i < r->capsules)
        route_capsules(r, dims, 1, r->weight + i * w_size, u + i * u_size, vsum, s, scratch);
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

/* ---- Backward ------------------------------------------------------------ */

/* gb of one capsule, in the place of dc; c and gb go to where they are kept. */
ALWAYS_INLINE void gradient_of_logits(const struct routing *r, struct capsule *cap, float *c_out,
                                      float *gb_out)
{
    struct row mean = {{{0}}};
    for (size_t j = 0; j < r->classes; j++)
        for (int q = 0; q < PER_LANE; q++)
            mean.v[q] += cap->c[j].v[q] * cap->dc[j].v[q];
    for (size_t j = 0; j < r->classes; j++) {
        for (int q = 0; q < PER_LANE; q++)
            cap->dc[j].v[q] = cap->c[j].v[q] * (cap->dc[j].v[q] - mean.v[q]);
        row_store(c_out + j * KERNEL_LANES, cap->c[j]);
        row_store(gb_out + j * KERNEL_LANES, cap->dc[j]);
    }
}

/* Asks for rows of lanes that are to be written. */
ALWAYS_INLINE void ask_to_write(const float *p, size_t rows)
{
    for (size_t i = 0; i < rows; i++)
        __builtin_prefetch(p + i * KERNEL_LANES, 1);
}

/* count (a constant) capsules, at i. */
ALWAYS_INLINE void route_back(const struct routing *r, size_t dims, size_t count, size_t i,
                              const float *u, const float *vsum, const float *ds, float *dvsum,
                              float *c_out, float *gb_out, size_t capsule_stride, float *scratch)
{
    struct capsule cap[AT_ONCE];
    const struct row *gb[AT_ONCE];
    for (size_t b = 0; b < count; b++) {
        const size_t next = i + count + b; /* whose results go to memory */
        load_capsule(cap[b].u, u + (i + b) * dims * KERNEL_LANES, dims);
        ask_to_write(c_out + next * capsule_stride, r->classes);
        ask_to_write(gb_out + next * capsule_stride, r->classes);
    }
    predict_all(r, dims, count, r->weight + i * r->classes * r->pose * dims, cap, vsum, scratch,
                ds);
    for (size_t b = 0; b < count; b++) {
        softmax(cap[b].c, r->classes);
        gradient_of_logits(r, &cap[b], c_out + (i + b) * capsule_stride,
                           gb_out + (i + b) * capsule_stride);
        gb[b] = cap[b].dc;
    }
    add_weighted(r, count, dvsum, gb, scratch);
}

ALWAYS_INLINE void route_backward(const struct routing *r, size_t dims, const float *u,
                                  const float *vsum, const float *ds, float *dvsum, float *c_out,
                                  float *gb_out, size_t capsule_stride, float *scratch)
{
    size_t i = 0;
    memset(dvsum, 0, r->classes * r->pose * KERNEL_LANES * sizeof *dvsum);
    for (; i + AT_ONCE <= r->capsules; i += AT_ONCE)
        route_back(r, dims, AT_ONCE, i, u, vsum, ds, dvsum, c_out, gb_out, capsule_stride,
                   scratch);
    if (i < r->capsules)
        route_back(r, dims, 1, i, u, vsum, ds, dvsum, c_out, gb_out, capsule_stride, scratch);
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

/* du of count (a constant) groups from g on: each weight is read once for all. */
ALWAYS_INLINE void input_gradient(const struct routing *r, size_t dims, size_t count,
                                  const float *w, const float *du_hat, float *du,
                                  size_t group_stride)
{
    const size_t outputs = r->classes * r->pose;
    for (int q = 0; q < PER_LANE; q++) {
        vec sum[2][KERNEL_MAX_DIMS];
        for (size_t b = 0; b < count; b++)
            for (size_t d = 0; d < dims; d++)
                sum[b][d] = vec_set(0);
        for (size_t je = 0; je < outputs; je++) {
            vec x[2];
            for (size_t b = 0; b < count; b++)
                x[b] = vec_load(du_hat + (b * outputs + je) * KERNEL_LANES + q * VEC);
            for (size_t d = 0; d < dims; d++)
                for (size_t b = 0; b < count; b++)
                    sum[b][d] += w[je * dims + d] * x[b];
        }
        for (size_t b = 0; b < count; b++)
            for (size_t d = 0; d < dims; d++)
                vec_store(du + b * group_stride + d * KERNEL_LANES + q * VEC, sum[b][d]);
    }
}

/* The gradients of outputs je .. je + count - 1 (a constant), lanes still to be
 * summed: rows [count][dims]. */
ALWAYS_INLINE void weight_gradient(const struct routing *r, size_t dims, size_t count, size_t je,
                                   size_t groups, const float *du_hat, const float *u,
                                   size_t group_stride, struct row *rows)
{
    const size_t outputs = r->classes * r->pose;
    for (int q = 0; q < PER_LANE; q++) {
        vec sum[2][KERNEL_MAX_DIMS];
        for (size_t b = 0; b < count; b++)
            for (size_t d = 0; d < dims; d++)
                sum[b][d] = vec_set(0);
        for (size_t g = 0; g < groups; g++) {
            vec x[2];
            for (size_t b = 0; b < count; b++)
                x[b] = vec_load(du_hat + (g * outputs + je + b) * KERNEL_LANES + q * VEC);
            for (size_t d = 0; d < dims; d++) {
                const vec ud = vec_load(u + g * group_stride + d * KERNEL_LANES + q * VEC);
                for (size_t b = 0; b < count; b++)
                    sum[b][d] += x[b] * ud;
            }
        }
        for (size_t b = 0; b < count; b++)
            for (size_t d = 0; d < dims; d++)
                rows[b * dims + d].v[q] = sum[b][d];
    }
}

ALWAYS_INLINE void predict_backward(const struct routing *r, size_t dims, size_t capsule,
                                    size_t groups, const float *du_hat, const float *u,
                                    float *du, size_t group_stride, float *dw)
{
    const size_t outputs = r->classes * r->pose;
    const float *w = r->weight + capsule * outputs * dims;
    size_t g = 0, je = 0;
    for (; g + AT_ONCE <= groups; g += AT_ONCE)
        input_gradient(r, dims, AT_ONCE, w, du_hat + g * outputs * KERNEL_LANES,
                       du + g * group_stride, group_stride);
    if (g < groups)
        input_gradient(r, dims, 1, w, du_hat + g * outputs * KERNEL_LANES, du + g * group_stride,
                       group_stride);

    struct row full[KERNEL_LANES + AT_ONCE * KERNEL_MAX_DIMS]; /* whose lanes are still to be summed */
    size_t waiting = 0;
    while (je < outputs) {
        const size_t count = je + AT_ONCE <= outputs ? AT_ONCE : 1;
        if (count == AT_ONCE)
            weight_gradient(r, dims, AT_ONCE, je, groups, du_hat, u, group_stride, full + waiting);
        else
            weight_gradient(r, dims, 1, je, groups, du_hat, u, group_stride, full + waiting);
        je += count;
        waiting += count * dims;
        size_t done = 0;
        for (; done + KERNEL_LANES <= waiting; done += KERNEL_LANES, dw += KERNEL_LANES)
            sum_lanes(dw, full + done, KERNEL_LANES);
        waiting -= done;
        for (size_t i = 0; done > 0 && i < waiting; i++)
            full[i] = full[done + i];
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

/* Capsules that share a reading of the terms' vectors: as many as the level has
 * registers for, of five terms. */
enum { COMBINED = VEC == 16 ? 4 : 2 };

/* count (a constant) capsules from the first on. */
ALWAYS_INLINE void combine_capsules(const struct routing *r, size_t count, size_t first,
                                    float *du_hat, size_t du_hat_stride, size_t n_terms,
                                    const struct routing_term *terms)
{
    const size_t classes = r->classes, pose = r->pose;
    const float *vec_of[MAX_TERMS];
    for (size_t t = 0; t < n_terms; t++)
        vec_of[t] = terms[t].vec;
    for (size_t j = 0; j < classes; j++)
        for (int q = 0; q < PER_LANE; q++) {
            vec c[MAX_TERMS][COMBINED];
            for (size_t t = 0; t < n_terms; t++)
                for (size_t b = 0; b < count; b++)
                    c[t][b] = vec_load(terms[t].coef + (first + b) * terms[t].stride +
                                       j * KERNEL_LANES + q * VEC);
            for (size_t e = 0; e < pose; e++) {
                const size_t at = (j * pose + e) * KERNEL_LANES + (size_t)q * VEC;
                vec sum[COMBINED];
                for (size_t b = 0; b < count; b++)
                    sum[b] = vec_set(0);
                for (size_t t = 0; t < n_terms; t++) {
                    const vec x = vec_load(vec_of[t] + at);
                    for (size_t b = 0; b < count; b++)
                        sum[b] += c[t][b] * x;
                }
                for (size_t b = 0; b < count; b++)
                    vec_store(du_hat + (first + b) * du_hat_stride + at, sum[b]);
            }
        }
}

ALWAYS_INLINE void combine(const struct routing *r, size_t capsules, float *du_hat,
                           size_t du_hat_stride, size_t n_terms, const struct routing_term *terms)
{
    size_t i = 0;
    for (; i + COMBINED <= capsules; i += COMBINED)
        combine_capsules(r, COMBINED, i, du_hat, du_hat_stride, n_terms, terms);
    for (; i < capsules; i++)
        combine_capsules(r, 1, i, du_hat, du_hat_stride, n_terms, terms);
}

void KERNEL(combine)(const struct routing *r, size_t capsules, float *du_hat,
                     size_t du_hat_stride, size_t n_terms, const struct routing_term *terms)
{
    const struct routing own = *r;
    if (n_terms == 5) /* three iterations: the loops over terms unroll */
        combine(&own, capsules, du_hat, du_hat_stride, 5, terms);
    else
        combine(&own, capsules, du_hat, du_hat_stride, n_terms, terms);
}
