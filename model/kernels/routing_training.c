/*
 * routing_training.c - routing by agreement, and its gradient as far as the logits,
 * KERNEL_LANES images side by side; prediction_backward.c has the rest.
 *
 * One image per lane: every sum over dimensions, poses or classes is vertical,
 * the weights are read in their own order, one broadcast each, and nothing is
 * ever summed across a vector.  u_hat is never stored: at 8 multiply-adds a value,
 * computing it again costs less than writing and reading 737 kB an image, and so each
 * pass of the routing touches W once, in order.
 */
#include "model/kernels/routing.h"

/* u of a capsule, as predict() wants it: rows of floats, or of words of two dims. */
ALWAYS_INLINE void load_inputs(struct row *u, const float *src, struct form form)
{
    load_capsule(u, src, form.dims);
#if defined(__AVX512BF16__)
    for (size_t d = 0; form.is_bf16 && d < form.dims; d += 2)
        u[d / 2].v[0] = (vec)words_of(u[d].v[0], u[d + 1].v[0]);
#endif
}

/* u_hat[at] = sum_d W[at][d] u[d]; at counts the outputs of all capsules. */
ALWAYS_INLINE struct row predict(const struct routing *r, struct form form, size_t at,
                                 const struct row *u)
{
    const size_t dims = form.dims;
    struct row x;
#if defined(__AVX512BF16__)
    if (form.is_bf16) {
        x.v[0] = vec_set(0);
        for (size_t d = 0; d < dims / 2; d++)
            x.v[0] = add_products(x.v[0], r->dim_words[at * (dims / 2) + d], u[d].v[0]);
        return x;
    }
#endif
    const float *w = r->weight + at * dims;
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

/* u_hat of count (a constant) capsules from i on into u_hat [count][classes*pose][lanes],
 * c[j] = u_hat . vsum, and dc[j] = u_hat . ds unless that is NULL. */
ALWAYS_INLINE void predict_all(const struct routing *r, struct form form, size_t count, size_t i,
                               struct capsule *cap, const float *vsum, float *u_hat,
                               const float *ds)
{
    const size_t outputs = r->classes * r->pose;
    for (size_t j = 0; j < r->classes; j++) {
        struct row dot[AT_ONCE] = {{{{0}}}}, dot_ds[AT_ONCE] = {{{{0}}}};
        for (size_t e = 0; e < r->pose; e++) {
            const size_t je = j * r->pose + e;
            const struct row v = row_load(vsum + je * KERNEL_LANES);
            const struct row s = row_load((ds ? ds : vsum) + je * KERNEL_LANES);
            for (size_t b = 0; b < count; b++) {
                const struct row x = predict(r, form, (i + b) * outputs + je, cap[b].u);
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
ALWAYS_INLINE void route_evenly(const struct routing *r, struct form form, const float *u,
                                float *s)
{
    const size_t outputs = r->classes * r->pose;
    const float uniform = 1.0f / (float)r->classes;
    struct row cap[KERNEL_MAX_DIMS];
    for (size_t i = 0; i < r->capsules; i++) {
        load_inputs(cap, u + i * form.dims * KERNEL_LANES, form);
        for (size_t je = 0; je < outputs; je++) {
            const struct row x = predict(r, form, i * outputs + je, cap);
            for (int q = 0; q < PER_LANE; q++) {
                float *p = s + je * KERNEL_LANES + q * VEC;
                vec_store(p, vec_load(p) + x.v[q]);
            }
        }
    }
    for (size_t at = 0; at < outputs * KERNEL_LANES; at += VEC)
        vec_store(s + at, uniform * vec_load(s + at));
}

/* count (a constant) capsules, at i. */
ALWAYS_INLINE void route_capsules(const struct routing *r, struct form form, size_t count,
                                  size_t i, const float *u, const float *vsum, float *s,
                                  float *scratch)
{
    struct capsule cap[AT_ONCE];
    const struct row *c[AT_ONCE];
    for (size_t b = 0; b < count; b++)
        load_inputs(cap[b].u, u + (i + b) * form.dims * KERNEL_LANES, form);
    predict_all(r, form, count, i, cap, vsum, scratch, NULL);
    for (size_t b = 0; b < count; b++) {
        softmax(cap[b].c, r->classes);
        c[b] = cap[b].c;
    }
    add_weighted(r, count, s, c, scratch);
}

ALWAYS_INLINE void route(const struct routing *r, struct form form, const float *u,
                         const float *vsum, float *s, float *scratch)
{
    size_t i = 0;
    memset(s, 0, r->classes * r->pose * KERNEL_LANES * sizeof *s);
    if (!vsum) {
        route_evenly(r, form, u, s);
        return;
    }
    for (; i + AT_ONCE <= r->capsules; i += AT_ONCE)
        route_capsules(r, form, AT_ONCE, i, u, vsum, s, scratch);
    if (i < r->capsules)
        route_capsules(r, form, 1, i, u, vsum, s, scratch);
}

void KERNEL(route)(const struct routing *r, const float *u, const float *vsum, float *s,
                   float *scratch)
{
    const struct routing own = *r; /* no store can change it: it stays in registers */
    WITH_FORM(route, &own, u, vsum, s, scratch);
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
        for (int q = 0; q < PER_LANE; q++) {
            vec_stream(c_out + j * KERNEL_LANES + q * VEC, cap->c[j].v[q]);
            vec_stream(gb_out + j * KERNEL_LANES + q * VEC, cap->dc[j].v[q]);
        }
    }
}

/* Asks for rows of lanes that are to be written, unless they go past the caches. */
ALWAYS_INLINE void ask_to_write(const float *p, size_t rows)
{
    for (size_t i = 0; i < rows && !STREAMS; i++)
        __builtin_prefetch(p + i * KERNEL_LANES, 1);
}

/* count (a constant) capsules, at i. */
ALWAYS_INLINE void route_back(const struct routing *r, struct form form, size_t count, size_t i,
                              const float *u, const float *vsum, const float *ds, float *dvsum,
                              float *c_out, float *gb_out, size_t capsule_stride, float *scratch)
{
    struct capsule cap[AT_ONCE];
    const struct row *gb[AT_ONCE];
    for (size_t b = 0; b < count; b++) {
        const size_t next = i + count + b; /* whose results go to memory */
        load_inputs(cap[b].u, u + (i + b) * form.dims * KERNEL_LANES, form);
        ask_to_write(c_out + next * capsule_stride, r->classes);
        ask_to_write(gb_out + next * capsule_stride, r->classes);
    }
    predict_all(r, form, count, i, cap, vsum, scratch, ds);
    for (size_t b = 0; b < count; b++) {
        softmax(cap[b].c, r->classes);
        gradient_of_logits(r, &cap[b], c_out + (i + b) * capsule_stride,
                           gb_out + (i + b) * capsule_stride);
        gb[b] = cap[b].dc;
    }
    add_weighted(r, count, dvsum, gb, scratch);
}

ALWAYS_INLINE void route_backward(const struct routing *r, struct form form, const float *u,
                                  const float *vsum, const float *ds, float *dvsum, float *c_out,
                                  float *gb_out, size_t capsule_stride, float *scratch)
{
    size_t i = 0;
    memset(dvsum, 0, r->classes * r->pose * KERNEL_LANES * sizeof *dvsum);
    for (; i + AT_ONCE <= r->capsules; i += AT_ONCE)
        route_back(r, form, AT_ONCE, i, u, vsum, ds, dvsum, c_out, gb_out, capsule_stride,
                   scratch);
    if (i < r->capsules)
        route_back(r, form, 1, i, u, vsum, ds, dvsum, c_out, gb_out, capsule_stride, scratch);
}

void KERNEL(route_backward)(const struct routing *r, const float *u, const float *vsum,
                            const float *ds, float *dvsum, float *c_out, float *gb_out,
                            size_t capsule_stride, float *scratch)
{
    const struct routing own = *r; /* no store can change it: it stays in registers */
    WITH_FORM(route_backward, &own, u, vsum, ds, dvsum, c_out, gb_out, capsule_stride, scratch);
}
