/*
 * test_kernels_routing_training.c - routing by agreement of a group of images, of every
 * CPU level: route and its gradient, predict_backward and combine, against double
 * precision (tests/common/routing_case.h has the bounds) and against finite
 * differences of the whole.
 */
#include <math.h>
#include <string.h>

#include "tests/common/kernel_check.h"
#include "tests/common/reference.h"
#include "tests/common/routing_case.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* The group's W in bf16, a float for two values: word i is of values at(i) and at(i) +
 * apart, where at counts those rows of length apart that have a second beside them. */
static float *words_of_group(const struct group *g, size_t apart)
{
    float *words = check_floats(g->n_weight / 2 + 1);
    for (size_t i = 0; i < g->n_weight; i++) {
        const size_t row = i / apart, at = row / 2 * apart + i % apart;
        ((uint16_t *)(void *)words)[2 * at + row % 2] = bf16_bits(g->weight[i]);
    }
    return words;
}

static const uint32_t *guarded_words(const struct group *g, size_t apart, enum side side)
{
    return (const uint32_t *)(const void *)guard_input(words_of_group(g, apart), g->n_weight / 2,
                                                       side);
}

/* Its shape, with W guarded: as it is or, where is_bf16, as words alone. */
static struct routing guarded(const struct group *g, enum side side, int is_bf16)
{
    struct routing r = g->shape;
    r.weight = is_bf16 ? NULL : guard_input(g->weight, g->n_weight, side);
    if (is_bf16) {
        r.dim_words = guarded_words(g, 1, side);
        r.output_words = guarded_words(g, r.dims, side);
    }
    return r;
}

/* What an instruction of bf16 may lose: it takes numbers below FLT_MIN for 0. */
static double tiny(int is_bf16)
{
    return is_bf16 ? (double)FLT_MIN : 0;
}

/* ---- route -------------------------------------------------------------- */

static void route_case(const struct kernels *k, struct random *random, struct worst *worst,
                       const size_t size[4], double vsum_scale, int is_bf16)
{
    const struct group g = random_group(random, size, vsum_scale, is_bf16);
    float *s[SIDES];
    for (enum side side = 0; side < SIDES; side++) {
        const struct routing r = guarded(&g, side, is_bf16);
        s[side] = guard_output(g.n_row, side);
        k->route(&r, guard_input(g.u, g.n_u, side),
                 vsum_scale > 0 ? guard_input(g.vsum, g.n_row, side) : NULL, s[side],
                 guard_output(2 * g.n_row, side));
    }
    check_bits(s[0], s[1], g.n_row, "route");
    double *weight = check_to_doubles(g.weight, g.n_weight);
    for (size_t lane = 0; lane < KERNEL_LANES; lane += 1 + random_below(random, 5)) {
        const struct image m = image_of(&g, weight, lane);
        reference_route(m.s, m.c, &m.shape, m.u, vsum_scale > 0 ? m.vsum : NULL);
        const struct bounds b = bounds_of(&m, vsum_scale <= 0);
        for (size_t je = 0; je < g.outputs; je++)
            check_value(worst, (double)s[0][je * KERNEL_LANES + lane], m.s[je],
                        b.s[je] + (double)(size[0] * size[3] + 1) * tiny(is_bf16),
                        "capsules %zu classes %zu pose %zu dims %zu |vsum| %g: s[%zu] of lane %zu",
                        size[0], size[1], size[2], size[3], vsum_scale, je, lane);
    }
    check_release();
}

/* Is W multiplied in bf16 here? */
static int has_words(const struct kernels *k, const size_t size[4])
{
    return k->gemm_bf16 && size[3] % 2 == 0 && size[1] * size[2] % 2 == 0;
}

static const size_t capsule_sizes[] = {0, 1, 5};

typedef void (*case_fn)(const struct kernels *k, struct random *random, struct worst *worst,
                        const size_t size[4], double vsum_scale, int is_bf16);

/* All small shapes, then the paper's, fewer capsules of it; in bf16 those of even dims and outputs. */
static void over_shapes(case_fn run, const struct kernels *k, struct random *random,
                        struct worst *worst, size_t first_scale, int is_bf16)
{
    for (size_t a = 0; a < COUNT(capsule_sizes); a++)
        for (size_t b = 0; b < ROUTING_CLASSES; b++)
            for (size_t c = 0; c < ROUTING_POSES; c++)
                for (size_t d = 0; d < ROUTING_DIMS; d++)
                    for (size_t e = first_scale; e < ROUTING_SCALES; e++) {
                        const size_t size[] = {capsule_sizes[a], routing_classes[b],
                                               routing_poses[c], routing_dims[d]};
                        if (!is_bf16 || has_words(k, size))
                            run(k, random, worst, size, routing_scales[e], is_bf16);
                    }
    if (first_scale == 0)
        run(k, random, worst, (size_t[]){300, 10, 16, 8}, 0, is_bf16);
    run(k, random, worst, (size_t[]){300, 10, 16, 8}, 0.5, is_bf16);
}

static void test_route(const struct kernels *k, struct random *random, struct worst *worst)
{
    over_shapes(route_case, k, random, worst, 0, 0);
    if (k->gemm_bf16)
        over_shapes(route_case, k, random, worst, 0, 1);
}

/* Hostile logits with exact answers, small whole numbers times 2^scale: equal
 * logits share evenly however large they are, and a larger one takes all. */
static void exact_case(const struct kernels *k, size_t classes, int scale, size_t winner)
{
    enum { DIMS = 8, CAPSULES = 4 };
    const struct routing r = {CAPSULES, classes, 1, DIMS, NULL, NULL, NULL};
    float *w = check_floats(CAPSULES * classes * DIMS), *u = check_floats(r.capsules * DIMS * 16);
    float *vsum = check_floats(classes * 16), *s = check_floats(classes * 16);
    for (size_t at = 0; at < CAPSULES * classes * DIMS; at++)
        w[at] = at / DIMS % classes == winner ? 2 : 1;
    for (size_t at = 0; at < CAPSULES * DIMS * KERNEL_LANES; at++)
        u[at] = ldexpf(1, scale);
    for (size_t at = 0; at < classes * KERNEL_LANES; at++)
        vsum[at] = ldexpf(1, scale);
    struct routing filled = r;
    filled.weight = w;
    k->route(&filled, u, vsum, s, check_floats(2 * classes * KERNEL_LANES));
    const float even = 1.0f / (float)classes;
    for (size_t at = 0; at < classes * KERNEL_LANES; at++) {
        const size_t j = at / KERNEL_LANES;
        const float share = winner >= classes ? even : j == winner ? 1 : 0;
        const float want = (float)(CAPSULES * DIMS) * (j == winner ? 2 : 1) * share *
                           ldexpf(1, scale);
        /* Not exact where exp stops at exp(-87), and among subnormals. */
        const float bound = 1e-36f * ldexpf(1, scale) + (CAPSULES + 2) * FLT_TRUE_MIN;
        if (!(fabsf(s[at] - want) <= bound + 4 * FLT_EPSILON * want))
            fail_msg("%zu classes, scale 2^%d: s[%zu] is %g, not %g", classes, scale, j,
                     (double)s[at], (double)want);
    }
    check_release();
}

static void test_route_extremes(const struct kernels *k, struct random *random,
                                struct worst *worst)
{
    (void)worst;
    for (size_t c = 0; c < ROUTING_CLASSES; c++)
        for (int scale = -140; scale <= 60; scale += 20) {
            exact_case(k, routing_classes[c], scale, SIZE_MAX); /* equal logits */
            if (scale > 4) /* logits 2^(2 scale) apart */
                exact_case(k, routing_classes[c], scale, random_below(random, routing_classes[c]));
        }
}

/* An image's lane is the same bits whatever its neighbours are, NaN and huge
 * ones included, and whichever lane it sits in. */
static void lanes_case(const struct kernels *k, struct random *random, const size_t size[4])
{
    const struct group g = random_group(random, size, 0.5, 0), h = random_group(random, size, 0.5, 0);
    const size_t n_c = g.shape.classes * KERNEL_LANES, mine = random_below(random, KERNEL_LANES);
    const size_t there = random_below(random, KERNEL_LANES);
    random_fill(random, h.u, h.n_u, MAGNITUDE_HOSTILE);
    for (size_t at = 0; at < h.n_u; at++)
        if (at % 5 == 0)
            canary_fill(h.u + at, 1);
    for (size_t at = 0; at < h.n_u; at += KERNEL_LANES)
        h.u[at + there] = g.u[at + mine];
    for (size_t at = 0; at < h.n_row; at += KERNEL_LANES) {
        h.vsum[at + there] = g.vsum[at + mine];
        h.ds[at + there] = g.ds[at + mine];
    }
    float *out[2][5];
    for (int i = 0; i < 2; i++) {
        const struct group *x = i ? &h : &g;
        float *scratch = check_floats(2 * g.n_row);
        for (int q = 0; q < 3; q++)
            out[i][q] = check_floats(g.n_row);
        out[i][3] = check_floats(n_c * size[0]);
        out[i][4] = check_floats(n_c * size[0]);
        k->route(&g.shape, x->u, x->vsum, out[i][0], scratch);
        k->route(&g.shape, x->u, NULL, out[i][1], scratch);
        k->route_backward(&g.shape, x->u, x->vsum, x->ds, out[i][2], out[i][3], out[i][4], n_c,
                          scratch);
    }
    check_lane(out[1][0], there, out[0][0], mine, g.outputs, "s beside other images");
    check_lane(out[1][1], there, out[0][1], mine, g.outputs, "first s beside other images");
    check_lane(out[1][2], there, out[0][2], mine, g.outputs, "dvsum beside other images");
    check_lane(out[1][3], there, out[0][3], mine, size[1] * size[0], "c beside other images");
    check_lane(out[1][4], there, out[0][4], mine, size[1] * size[0], "gb beside other images");
    check_release();
}

static void test_lanes(const struct kernels *k, struct random *random, struct worst *worst)
{
    (void)worst;
    for (size_t d = 0; d < ROUTING_DIMS; d++)
        for (size_t c = 0; c < ROUTING_CLASSES; c++)
            for (int repeat = 0; repeat < 8; repeat++)
                lanes_case(k, random, (size_t[]){7, routing_classes[c], 16, routing_dims[d]});
}

/* ---- route_backward ------------------------------------------------------ */

static void backward_case(const struct kernels *k, struct random *random, struct worst *worst,
                          const size_t size[4], double vsum_scale, int is_bf16)
{
    const struct group g = random_group(random, size, vsum_scale, is_bf16);
    const size_t n_c = size[1] * KERNEL_LANES;
    const size_t stride = n_c * (1 + 2 * random_below(random, 2)); /* c and gb may interleave */
    const size_t n_out = size[0] ? (size[0] - 1) * stride + n_c : 0;
    float *dvsum[SIDES], *c[SIDES], *gb[SIDES];
    for (enum side side = 0; side < SIDES; side++) {
        const struct routing r = guarded(&g, side, is_bf16);
        dvsum[side] = guard_output(g.n_row, side);
        c[side] = guard_output(n_out, side);
        gb[side] = guard_output(n_out, side);
        k->route_backward(&r, guard_input(g.u, g.n_u, side), guard_input(g.vsum, g.n_row, side),
                          guard_input(g.ds, g.n_row, side), dvsum[side], c[side], gb[side], stride,
                          guard_output(2 * g.n_row, side));
    }
    check_bits(dvsum[0], dvsum[1], g.n_row, "dvsum");
    check_bits(c[0], c[1], n_out, "c");
    check_bits(gb[0], gb[1], n_out, "gb");
    for (size_t at = 0; at < n_out; at++)
        if (at % stride >= n_c && !(canary_intact(c[0] + at) && canary_intact(gb[0] + at)))
            fail_msg("route_backward wrote between capsules");
    double *weight = check_to_doubles(g.weight, g.n_weight);
    for (size_t lane = 0; lane < KERNEL_LANES; lane += 1 + random_below(random, 5)) {
        const struct image m = image_of(&g, weight, lane);
        reference_route(m.s, m.c, &m.shape, m.u, m.vsum);
        reference_route_backward(m.dvsum, m.gb, &m.shape, m.u, m.c, m.ds);
        const struct bounds b = bounds_of(&m, 0);
        for (size_t i = 0; i < size[0]; i++)
            for (size_t j = 0; j < size[1]; j++) {
                const size_t at = i * stride + j * KERNEL_LANES + lane, ij = i * size[1] + j;
                check_value(worst, (double)c[0][at], m.c[ij], b.c[ij], "c[%zu][%zu]", i, j);
                check_value(worst, (double)gb[0][at], m.gb[ij], b.gb[ij], "gb[%zu][%zu]", i, j);
            }
        for (size_t je = 0; je < g.outputs; je++)
            check_value(worst, (double)dvsum[0][je * KERNEL_LANES + lane], m.dvsum[je], b.dvsum[je],
                        "capsules %zu classes %zu pose %zu dims %zu: dvsum[%zu]", size[0], size[1],
                        size[2], size[3], je);
    }
    check_release();
}

static void test_route_backward(const struct kernels *k, struct random *random,
                                struct worst *worst)
{
    over_shapes(backward_case, k, random, worst, 1, 0);
    if (k->gemm_bf16)
        over_shapes(backward_case, k, random, worst, 1, 1);
}

/* ---- predict_backward, combine ------------------------------------------- */

/* Bound: as many roundings as terms, of the sum of magnitudes. */
static void predict_backward_case(const struct kernels *k, struct random *random,
                                  struct worst *worst, const size_t size[4], size_t groups,
                                  int is_bf16)
{
    const struct group g = random_group(random, size, 1, is_bf16);
    const size_t capsule = random_below(random, size[0]), dims = size[3];
    const size_t n_cap = dims * KERNEL_LANES, stride = n_cap * (1 + random_below(random, 3));
    const size_t n_u = (groups - 1) * stride + n_cap, n_dw = g.outputs * dims;
    float *du_hat = check_floats(groups * g.n_row), *u = check_floats(n_u);
    float *du[SIDES], *dw[SIDES];
    random_fill(random, du_hat, groups * g.n_row, MAGNITUDE_ONE);
    canary_fill(u, n_u);
    for (size_t x = 0; x < groups; x++)
        random_fill(random, u + x * stride, n_cap, MAGNITUDE_ONE);
    if (is_bf16) {
        cut_to_bf16(du_hat, groups * g.n_row);
        cut_to_bf16(u, n_u);
    }
    for (enum side side = 0; side < SIDES; side++) {
        const struct routing r = guarded(&g, side, is_bf16);
        du[side] = guard_output(n_u, side);
        dw[side] = guard_output(n_dw, side);
        k->predict_backward(&r, capsule, groups, guard_input(du_hat, groups * g.n_row, side),
                            guard_input(u, n_u, side), du[side], stride, dw[side],
                            (uint32_t *)(void *)guard_output((groups + 1) / 2 * n_cap, side));
    }
    check_bits(du[0], du[1], n_u, "du");
    check_bits(dw[0], dw[1], n_dw, "dw");
    const float *w = g.weight + capsule * n_dw;
    for (size_t at = 0; at < n_u; at++) {
        const size_t x = at / stride, d = at % stride / KERNEL_LANES, lane = at % KERNEL_LANES;
        if (d >= dims) {
            if (!canary_intact(du[0] + at))
                fail_msg("predict_backward wrote between groups");
            continue;
        }
        double sum = 0, terms = 0;
        for (size_t je = 0; je < g.outputs; je++) {
            const double t = (double)w[je * dims + d] *
                             (double)du_hat[(x * g.outputs + je) * KERNEL_LANES + lane];
            sum += t;
            terms += fabs(t);
        }
        check_value(worst, (double)du[0][at], sum,
                    (double)(g.outputs + 1) * (ROUNDING * terms + tiny(is_bf16)),
                    "dims %zu: du[%zu] of group %zu", dims, d, x);
    }
    for (size_t at = 0; at < n_dw; at++) {
        double sum = 0, terms = 0;
        for (size_t image = 0; image < groups * KERNEL_LANES; image++) {
            const size_t x = image / KERNEL_LANES, lane = image % KERNEL_LANES;
            const double t =
                (double)du_hat[(x * g.outputs + at / dims) * KERNEL_LANES + lane] *
                (double)u[x * stride + at % dims * KERNEL_LANES + lane];
            sum += t;
            terms += fabs(t);
        }
        check_value(worst, (double)dw[0][at], sum,
                    (double)(groups * KERNEL_LANES + 1) * (ROUNDING * terms + tiny(is_bf16)),
                    "dw[%zu][%zu]", at / dims, at % dims);
    }
    check_release();
}

static void test_predict_backward(const struct kernels *k, struct random *random,
                                  struct worst *worst)
{
    for (size_t b = 0; b < ROUTING_CLASSES; b++)
        for (size_t c = 0; c < ROUTING_POSES; c++)
            for (size_t d = 0; d < ROUTING_DIMS; d++)
                for (size_t groups = 1; groups <= 8; groups = groups * 2 + 1) {
                    const size_t size[] = {3, routing_classes[b], routing_poses[c],
                                           routing_dims[d]};
                    predict_backward_case(k, random, worst, size, groups, 0);
                    if (has_words(k, size))
                        predict_backward_case(k, random, worst, size, groups, 1);
                }
}

enum { MAX_TERMS = 6 };

/* Each capsule beside others; coef and du_hat with gaps between capsules. */
static void combine_case(const struct kernels *k, struct random *random, struct worst *worst,
                         size_t classes, size_t pose, size_t n_terms, size_t capsules)
{
    enum { GAP = KERNEL_LANES };
    const struct routing r = {capsules, classes, pose, 8, NULL, NULL, NULL};
    const size_t n_c = classes * KERNEL_LANES, n = n_c * pose, stride = n_c + GAP;
    const size_t all_c = capsules * stride, n_out = capsules * (n + GAP);
    float *coef[MAX_TERMS], *vec[MAX_TERMS], *out[SIDES];
    for (size_t t = 0; t < n_terms; t++) {
        coef[t] = check_floats(all_c);
        vec[t] = check_floats(n);
        random_fill(random, coef[t], all_c, MAGNITUDE_HOSTILE);
        random_fill(random, vec[t], n, MAGNITUDE_HOSTILE);
    }
    for (enum side side = 0; side < SIDES; side++) {
        struct routing_term terms[MAX_TERMS];
        for (size_t t = 0; t < n_terms; t++) /* the first is the same for all capsules */
            terms[t] = (struct routing_term){guard_input(coef[t], t ? all_c : n_c, side),
                                             t ? stride : 0, guard_input(vec[t], n, side)};
        out[side] = guard_output(n_out, side);
        k->combine(&r, capsules, out[side], n + GAP, n_terms, terms);
    }
    check_bits(out[0], out[1], n_out, "combine");
    for (size_t at = 0; at < n_out; at++) {
        const size_t i = at / (n + GAP), je = at % (n + GAP);
        const size_t lane = je % KERNEL_LANES, j = je / KERNEL_LANES / pose;
        double sum = 0, size = 0;
        if (je >= n) {
            if (!canary_intact(out[0] + at))
                fail_msg("combine wrote between capsules");
            continue;
        }
        for (size_t t = 0; t < n_terms; t++) {
            const float c = coef[t][(t ? i * stride : 0) + j * KERNEL_LANES + lane];
            const double x = (double)c * (double)vec[t][je];
            sum += x;
            size += fabs(x);
        }
        check_value(worst, (double)out[0][at], sum,
                    (double)(n_terms + 1) * (ROUNDING * size + (double)FLT_TRUE_MIN),
                    "classes %zu pose %zu terms %zu: du_hat[%zu] of capsule %zu of %zu", classes,
                    pose, n_terms, je, i, capsules);
    }
    check_release();
}

static void test_combine(const struct kernels *k, struct random *random, struct worst *worst)
{
    for (size_t b = 0; b < ROUTING_CLASSES; b++)
        for (size_t c = 0; c < ROUTING_POSES; c++)
            for (size_t terms = 0; terms <= MAX_TERMS; terms++)
                for (size_t capsules = 1; capsules <= 6; capsules++)
                    combine_case(k, random, worst, routing_classes[b], routing_poses[c], terms,
                                 capsules);
}

/* ---- Finite differences --------------------------------------------------- */

/* The loss sum_lanes ds . s of one pass; its gradient by u, W and vsum is what
 * route_backward, combine and predict_backward give together. */
struct loss {
    struct image image[KERNEL_LANES];
    size_t first, end; /* the lanes that depend on what is varied */
};

static double loss(void *argument)
{
    struct loss *l = argument;
    double sum = 0;
    for (size_t lane = l->first; lane < l->end; lane++) {
        const struct image *m = &l->image[lane];
        reference_route(m->s, m->c, &m->shape, m->u, m->vsum);
        for (size_t je = 0; je < m->outputs; je++)
            sum += m->ds[je] * m->s[je];
    }
    return sum;
}

enum { FD_CAPSULES = 3, FD_CLASSES = 4, FD_POSE = 3, FD_DIMS = 8 };

/* The kernels' gradient: dvsum [outputs][lanes], du as u, dw as weight. */
static void kernel_gradient(const struct kernels *k, const struct group *g, float *dvsum, float *du,
                            float *dw)
{
    const size_t n_c = FD_CLASSES * KERNEL_LANES, n_cap = FD_DIMS * KERNEL_LANES;
    float *c = check_floats(FD_CAPSULES * n_c), *gb = check_floats(FD_CAPSULES * n_c);
    float *du_hat = check_floats(2 * g->n_row);
    k->route_backward(&g->shape, g->u, g->vsum, g->ds, dvsum, c, gb, n_c, du_hat);
    for (size_t i = 0; i < FD_CAPSULES; i++) {
        const struct routing_term terms[] = {{c + i * n_c, 0, g->ds}, {gb + i * n_c, 0, g->vsum}};
        k->combine(&g->shape, 1, du_hat, 0, 2, terms);
        k->predict_backward(&g->shape, i, 1, du_hat, g->u + i * n_cap, du + i * n_cap, n_cap,
                            dw + i * g->outputs * FD_DIMS, NULL);
    }
}

/* |du_hat| and its error bound for one image: du_hat = c ds + gb vsum. */
static void bound_du_hat(const struct image *m, const struct bounds *b, size_t i, size_t je,
                         double *size, double *error)
{
    const size_t ij = i * FD_CLASSES + je / FD_POSE;
    const double ds = fabs(m->ds[je]), vsum = fabs(m->vsum[je]);
    *size = m->c[ij] * ds + fabs(m->gb[ij]) * vsum;
    *error = b->c[ij] * ds + b->gb[ij] * vsum + 3 * ROUNDING * *size;
}

static void check_du(struct worst *worst, struct loss *l, const struct bounds *b, const float *du,
                     size_t lane)
{
    const struct image *m = &l->image[lane];
    l->first = lane;
    l->end = lane + 1;
    for (size_t id = 0; id < FD_CAPSULES * FD_DIMS; id++) {
        const size_t i = id / FD_DIMS, d = id % FD_DIMS;
        double bound = 0, error, size, fd_error;
        for (size_t je = 0; je < m->outputs; je++) {
            const double w = fabs(m->weight[(i * m->outputs + je) * FD_DIMS + d]);
            bound_du_hat(m, b, i, je, &size, &error);
            bound += w * (error + (double)(m->outputs + 1) * ROUNDING * (size + error));
        }
        const double slope = reference_slope(loss, l, &m->u[id], &fd_error);
        check_value(worst, (double)du[id * KERNEL_LANES + lane], slope, bound + fd_error,
                    "du[%zu][%zu] of lane %zu by differences", i, d, lane);
    }
}

static void check_dvsum(struct worst *worst, struct loss *l, const struct bounds *b,
                        const float *dvsum, size_t lane)
{
    const struct image *m = &l->image[lane];
    l->first = lane;
    l->end = lane + 1;
    for (size_t je = 0; je < m->outputs; je++) {
        double fd_error, slope = reference_slope(loss, l, &m->vsum[je], &fd_error);
        check_value(worst, (double)dvsum[je * KERNEL_LANES + lane], slope, b->dvsum[je] + fd_error,
                    "dvsum[%zu] of lane %zu by differences", je, lane);
    }
}

static void check_dw(struct worst *worst, struct loss *l, const struct bounds *b, const float *dw)
{
    const struct image *first = &l->image[0];
    l->first = 0;
    l->end = KERNEL_LANES;
    for (size_t at = 0; at < FD_CAPSULES * first->outputs * FD_DIMS; at++) {
        const size_t i = at / FD_DIMS / first->outputs, je = at / FD_DIMS % first->outputs;
        double bound = 0, error, size, fd_error;
        for (size_t lane = 0; lane < KERNEL_LANES; lane++) {
            bound_du_hat(&l->image[lane], &b[lane], i, je, &size, &error);
            bound += fabs(l->image[lane].u[i * FD_DIMS + at % FD_DIMS]) *
                     (error + (KERNEL_LANES + 1) * ROUNDING * (size + error));
        }
        const double slope = reference_slope(loss, l, &first->weight[at], &fd_error);
        check_value(worst, (double)dw[at], slope, bound + fd_error, "dw[%zu] by differences", at);
    }
}

static void test_differences(const struct kernels *k, struct random *random, struct worst *worst)
{
    const struct group g = random_group(
        random, (size_t[]){FD_CAPSULES, FD_CLASSES, FD_POSE, FD_DIMS}, 1, 0);
    float *dvsum = check_floats(g.n_row), *du = check_floats(g.n_u), *dw = check_floats(g.n_weight);
    kernel_gradient(k, &g, dvsum, du, dw);
    double *weight = check_to_doubles(g.weight, g.n_weight);
    struct loss l;
    struct bounds b[KERNEL_LANES];
    for (size_t lane = 0; lane < KERNEL_LANES; lane++) {
        struct image *m = &l.image[lane];
        *m = image_of(&g, weight, lane);
        reference_route(m->s, m->c, &m->shape, m->u, m->vsum);
        reference_route_backward(m->dvsum, m->gb, &m->shape, m->u, m->c, m->ds);
        b[lane] = bounds_of(m, 0);
    }
    for (size_t lane = 0; lane < KERNEL_LANES; lane++) {
        check_du(worst, &l, &b[lane], du, lane);
        check_dvsum(worst, &l, &b[lane], dvsum, lane);
    }
    check_dw(worst, &l, b, dw);
}

/* ---- Timing: the default network, one group ------------------------------ */

enum { BENCH_CAPSULES = 1152, BENCH_GROUPS = 4 };

struct bench {
    struct group g;
    const float *vsum;
    float *out, *scratch, *c, *gb;
    uint32_t *scratch_words;
};

static void call_route(const struct kernels *k, void *argument)
{
    const struct bench *b = argument;
    k->route(&b->g.shape, b->g.u, b->vsum, b->out, b->scratch);
}

static void call_route_backward(const struct kernels *k, void *argument)
{
    const struct bench *b = argument;
    k->route_backward(&b->g.shape, b->g.u, b->vsum, b->g.ds, b->out, b->c, b->gb,
                      10 * KERNEL_LANES, b->scratch);
}

static void call_predict_backward(const struct kernels *k, void *argument)
{
    const struct bench *b = argument;
    k->predict_backward(&b->g.shape, 0, BENCH_GROUPS, b->scratch, b->g.u, b->c, 8 * KERNEL_LANES,
                        b->gb, b->scratch_words);
}

static void call_combine(const struct kernels *k, void *argument)
{
    const struct bench *b = argument;
    const size_t stride = 10 * KERNEL_LANES;
    const struct routing_term terms[] = {{b->c, 0, b->g.ds}, {b->c, stride, b->g.ds},
                                         {b->gb, stride, b->g.vsum}, {b->c, stride, b->g.ds},
                                         {b->gb, stride, b->g.vsum}};
    k->combine(&b->g.shape, BENCH_GROUPS, b->scratch, b->g.n_row, 5, terms);
}

static void bench_routing(const struct kernels *k)
{
    struct random random = {1};
    const size_t n_c = BENCH_CAPSULES * 10 * KERNEL_LANES;
    struct bench b = {.g = random_group(&random, (size_t[]){BENCH_CAPSULES, 10, 16, 8}, 0.1, 0)};
    const double products = (double)b.g.n_weight * KERNEL_LANES;
    b.out = guard_output(b.g.n_row, SIDE_START);
    b.scratch = guard_output(BENCH_GROUPS * b.g.n_row, SIDE_START);
    b.c = guard_output(n_c, SIDE_START);
    b.gb = guard_output(n_c, SIDE_START);
    b.scratch_words =
        (uint32_t *)(void *)guard_output((BENCH_GROUPS + 1) / 2 * 8 * KERNEL_LANES, SIDE_START);
    for (enum side i = 0; i < SIDES; i++) {
        fill_scaled(&random, i ? b.c : b.gb, n_c, 1);
        fill_scaled(&random, b.scratch, BENCH_GROUPS * b.g.n_row, 1);
    }
    bench_print(k, "combine, 5 terms", 2.0 * 5 * BENCH_GROUPS * (double)b.g.n_row, "GFLOP/s",
                call_combine, &b);
    bench_print(k, "predict_backward", 4.0 * products / BENCH_CAPSULES * BENCH_GROUPS, "GFLOP/s",
                call_predict_backward, &b);
    /* Multiply-adds of u_hat and s; with vsum also those of the logits. */
    bench_print(k, "route, first", 2.0 * products, "GFLOP/s", call_route, &b);
    b.vsum = b.g.vsum;
    bench_print(k, "route", 2.0 * products * (1 + 2.0 / 8), "GFLOP/s", call_route, &b);
    bench_print(k, "route_backward", 2.0 * products * (1 + 3.0 / 8), "GFLOP/s",
                call_route_backward, &b);
    if (!k->gemm_bf16)
        return;
    b.g.shape.dim_words = guarded_words(&b.g, 1, SIDE_START);
    b.g.shape.output_words = guarded_words(&b.g, 8, SIDE_START);
    bench_print(k, "predict_backward, bf16", 4.0 * products / BENCH_CAPSULES * BENCH_GROUPS,
                "GFLOP/s", call_predict_backward, &b);
    bench_print(k, "route, bf16", 2.0 * products * (1 + 2.0 / 8), "GFLOP/s", call_route,
                &b);
    bench_print(k, "route_backward, bf16", 2.0 * products * (1 + 3.0 / 8), "GFLOP/s",
                call_route_backward, &b);
}

int main(void)
{
    static const struct check checks[] = {
        {"route", test_route, bench_routing},
        {"route, extreme logits", test_route_extremes, NULL},
        {"routing, lane by lane", test_lanes, NULL},
        {"route_backward", test_route_backward, NULL},
        {"predict_backward", test_predict_backward, NULL},
        {"combine", test_combine, NULL},
        {"routing by differences", test_differences, NULL},
    };
    return check_main(checks, COUNT(checks));
}
