/*
 * routing_case.c - see routing_case.h.
 */
#include "tests/common/routing_case.h"

#include <math.h>
#include <string.h>

const size_t routing_classes[ROUTING_CLASSES] = {1, 2, 10, 47};
const size_t routing_poses[ROUTING_POSES] = {1, 16};
const size_t routing_dims[ROUTING_DIMS] = {8, 1, 4, 12};
const double routing_scales[ROUTING_SCALES] = {0, 1e-30, 0.3, 30};

void fill_scaled(struct random *random, float *p, size_t n, double scale)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (float)(scale * random_real(random));
}

uint16_t bf16_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)(bits >> 16);
}

void cut_to_bf16(float *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = (uint32_t)bf16_bits(p[i]) << 16;
        memcpy(p + i, &bits, sizeof bits);
    }
}

struct group random_group(struct random *random, const size_t size[4], double vsum_scale,
                          int is_bf16)
{
    struct group g = {.shape = {size[0], size[1], size[2], size[3], NULL, NULL, NULL}};
    g.outputs = size[1] * size[2];
    g.n_weight = size[0] * g.outputs * size[3];
    g.n_u = size[0] * size[3] * KERNEL_LANES;
    g.n_row = g.outputs * KERNEL_LANES;
    g.weight = check_floats(g.n_weight);
    g.u = check_floats(g.n_u);
    g.vsum = check_floats(g.n_row);
    g.ds = check_floats(g.n_row);
    g.shape.weight = g.weight;
    fill_scaled(random, g.weight, g.n_weight, 0.3);
    fill_scaled(random, g.u, g.n_u, 1);
    fill_scaled(random, g.vsum, g.n_row, vsum_scale);
    fill_scaled(random, g.ds, g.n_row, 1);
    if (is_bf16) {
        cut_to_bf16(g.weight, g.n_weight);
        cut_to_bf16(g.u, g.n_u);
    }
    return g;
}

static double *gather(const float *src, size_t n, size_t lane)
{
    double *d = check_doubles(n);
    for (size_t i = 0; i < n; i++)
        d[i] = (double)src[i * KERNEL_LANES + lane];
    return d;
}

struct image image_of(const struct group *g, double *weight, size_t lane)
{
    const struct routing *r = &g->shape;
    struct image m = {
        {r->capsules, r->classes, r->pose, r->dims, weight},
        g->outputs,
        weight,
        gather(g->u, r->capsules * r->dims, lane),
        gather(g->vsum, g->outputs, lane),
        gather(g->ds, g->outputs, lane),
        check_doubles(g->outputs),
        check_doubles(r->capsules * r->classes),
        check_doubles(g->outputs),
        check_doubles(r->capsules * r->classes),
    };
    return m;
}

/* Magnitudes of one capsule: U [outputs] and, by class, sum_e U |with|. */
static void magnitudes(const struct image *m, size_t i, double *big_u)
{
    for (size_t je = 0; je < m->outputs; je++) {
        big_u[je] = 0;
        for (size_t d = 0; d < m->shape.dims; d++)
            big_u[je] += fabs(m->weight[(i * m->outputs + je) * m->shape.dims + d] *
                              m->u[i * m->shape.dims + d]);
    }
}

static double agreement(const struct image *m, const double *big_u, const double *with, size_t j)
{
    double sum = 0;
    for (size_t e = 0; e < m->shape.pose; e++)
        sum += big_u[j * m->shape.pose + e] * fabs(with[j * m->shape.pose + e]);
    return sum;
}

/* The error of each c of capsule i. */
static void bound_c(struct bounds *b, const struct image *m, size_t i, const double *big_u,
                    int uniform)
{
    const struct reference_routing *r = &m->shape;
    double logit = 0;
    for (size_t j = 0; !uniform && j < r->classes; j++)
        logit = fmax(logit, agreement(m, big_u, m->vsum, j));
    /* 2 logit bounds the spread of the logits, whose subtraction rounds. */
    const double relative =
        ROUNDING * (2 * (double)(r->dims + r->pose) * logit + 2 * fmin(logit, 87) +
                    (double)r->classes + 8);
    for (size_t j = 0; j < r->classes; j++) {
        const double c = m->c[i * r->classes + j];
        b->c[i * r->classes + j] =
            relative > 0.5 ? 1 : 2 * relative * c + 2 * (double)FLT_MIN; /* exp(-87) */
    }
}

struct bounds bounds_of(const struct image *m, int uniform)
{
    const struct reference_routing *r = &m->shape;
    const double dims = (double)r->dims, pose = (double)r->pose, sums = (double)r->capsules;
    struct bounds b = {check_doubles(m->outputs), check_doubles(r->capsules * r->classes),
                       check_doubles(m->outputs), check_doubles(r->capsules * r->classes)};
    double *big_u = check_doubles(m->outputs), *dc = check_doubles(r->classes);
    for (size_t i = 0; i < r->capsules; i++) {
        const double *c = m->c + i * r->classes, *c_error = b.c + i * r->classes;
        double mean = 0, mean_error = 0;
        magnitudes(m, i, big_u);
        bound_c(&b, m, i, big_u, uniform);
        for (size_t j = 0; j < r->classes; j++) {
            dc[j] = agreement(m, big_u, m->ds, j);
            mean += c[j] * dc[j];
            mean_error += (c_error[j] + ROUNDING * (dims + pose + (double)r->classes) * c[j]) * dc[j];
        }
        for (size_t j = 0; j < r->classes; j++) {
            double *gb_error = &b.gb[i * r->classes + j];
            *gb_error = c_error[j] * (dc[j] + mean) + (c[j] + c_error[j]) * mean_error +
                        ROUNDING * c[j] * ((dims + pose) * dc[j] + 3 * (dc[j] + mean)) +
                        (double)FLT_TRUE_MIN;
            for (size_t e = 0; e < r->pose; e++) {
                const size_t je = j * r->pose + e;
                const double gb = fabs(m->gb[i * r->classes + j]) + *gb_error;
                b.s[je] += big_u[je] * (c_error[j] + ROUNDING * (dims + sums + 2) * c[j]) +
                           (double)FLT_TRUE_MIN;
                b.dvsum[je] += big_u[je] * (*gb_error + ROUNDING * (dims + sums) * gb) +
                               (double)FLT_TRUE_MIN;
            }
        }
    }
    return b;
}
