/*
 * test_kernels_routing_inference.c - routing by agreement of one image, capsules side
 * by side, of every CPU level, against double precision (tests/common/routing_case.h
 * has the bounds).
 */
#include <math.h>
#include <string.h>

#include "tests/common/kernel_check.h"
#include "tests/common/reference.h"
#include "tests/common/routing_case.h"

/* The group's lane 0 as the image kernels read it: u, and weights of either
 * kind.  A lane of no capsule is zero. */
struct one_image {
    struct image_routing shape;
    size_t n_weight, n_u, n_u_hat, n_sums;
    float *weight, *u;
};

static struct one_image pack_image(const struct group *g, int is_bf16)
{
    const struct routing *r = &g->shape;
    const size_t groups = (r->capsules + KERNEL_LANES - 1) / KERNEL_LANES;
    const size_t rows = (g->outputs + KERNEL_LANES - 1) / KERNEL_LANES * KERNEL_LANES;
    const size_t step = is_bf16 ? (r->dims + 1) / 2 : r->dims;
    struct one_image p = {.shape = {groups, 0, groups, r->classes, r->pose, r->dims, NULL},
                          .n_weight = groups * g->outputs * step * KERNEL_LANES,
                          .n_u = groups * r->dims * KERNEL_LANES,
                          .n_u_hat = groups * KERNEL_LANES *
                                     (is_bf16 ? prediction_words(r->classes, r->pose) : g->outputs),
                          .n_sums = rows * KERNEL_LANES};
    p.weight = check_floats(p.n_weight);
    p.u = check_floats(p.n_u);
    for (size_t i = 0; i < r->capsules; i++) {
        const size_t group = i / KERNEL_LANES, lane = i % KERNEL_LANES;
        for (size_t d = 0; d < r->dims; d++)
            p.u[(group * r->dims + d) * KERNEL_LANES + lane] =
                g->u[(i * r->dims + d) * KERNEL_LANES];
        for (size_t at = 0; at < g->outputs * r->dims; at++) {
            const size_t je = at / r->dims, d = at % r->dims;
            const float w = g->weight[i * g->outputs * r->dims + at];
            float *to = p.weight + ((group * g->outputs + je) * step + (is_bf16 ? d / 2 : d)) *
                                       KERNEL_LANES + lane;
            if (is_bf16)
                ((uint16_t *)(void *)to)[d % 2] = bf16_bits(w);
            else
                *to = w;
        }
    }
    return p;
}

/* The image as a kernel has left it in bf16: u_hat is what it has stored, which must be
 * W u rounded. */
static struct image stored_image(const struct image *m, const uint32_t *u_hat, struct worst *worst)
{
    struct image stored = *m;
    const size_t n = m->shape.capsules * m->outputs;
    stored.shape.dims = 1;
    stored.weight = check_doubles(n);
    stored.shape.weight = stored.weight;
    stored.u = check_doubles(m->shape.capsules);
    for (size_t i = 0; i < m->shape.capsules; i++) {
        stored.u[i] = 1;
        for (size_t je = 0; je < m->outputs; je++) {
            const size_t pose = m->shape.pose, j = je / pose, e = je % pose;
            const size_t word = i / KERNEL_LANES * prediction_words(m->shape.classes, pose) +
                                j * ((pose + 1) / 2) + e / 2;
            const uint32_t both = u_hat[word * KERNEL_LANES + i % KERNEL_LANES];
            const uint32_t bits = e % 2 ? both & 0xffff0000 : both << 16;
            float x;
            memcpy(&x, &bits, sizeof x);
            double sum = 0, magnitude = 0;
            for (size_t d = 0; d < m->shape.dims; d++) {
                const double term = m->weight[(i * m->outputs + je) * m->shape.dims + d] *
                                    m->u[i * m->shape.dims + d];
                sum += term;
                magnitude += fabs(term);
            }
            check_value(worst, (double)x, sum,
                        fabs(sum) / 256 + (double)(m->shape.dims + 1) * ROUNDING * magnitude +
                            (double)FLT_MIN,
                        "u_hat[%zu] of capsule %zu", je, i);
            stored.weight[i * m->outputs + je] = (double)x;
        }
    }
    return stored;
}

static void predict(const struct kernels *k, const struct image_routing *r, size_t images,
                    const float *u, float *u_hat, float *s, float *sums, int is_bf16)
{
    if (is_bf16)
        k->predict_images_bf16(r, images, u, (uint32_t *)(void *)u_hat, s, sums);
    else
        k->predict_images(r, images, u, u_hat, s, sums);
}

static void route(const struct kernels *k, const struct image_routing *r, const float *u_hat,
                  const float *vsum, float *s, float *sums, int is_bf16)
{
    if (is_bf16)
        k->route_image_bf16(r, (const uint32_t *)(const void *)u_hat, vsum, s, sums);
    else
        k->route_image(r, u_hat, vsum, s, sums);
}

/* The image in three parts of the groups, of which the first may have none: u_hat is the same
 * bits as in one, and s, of which each part has its share, is added up to sum[2][]: of the
 * first iteration and of another. */
static void in_parts(const struct kernels *k, const struct image_routing *all,
                     const struct one_image *p, const float *vsum, const float *u_hat,
                     size_t n_u_hat, float *sum[2], int is_bf16)
{
    const size_t rows = p->n_sums / KERNEL_LANES;
    float *own = guard_output(n_u_hat, 0), *sums = guard_output(p->n_sums, 0);
    for (size_t i = 0; i < 2; i++)
        sum[i] = check_floats(rows);
    for (size_t part = 0; part < 3; part++) {
        struct image_routing r = *all;
        float *s[2] = {guard_output(rows, 0), guard_output(rows, 0)};
        r.first = part * all->groups / 3;
        r.count = (part + 1) * all->groups / 3 - r.first;
        predict(k, &r, 1, guard_input(p->u, p->n_u, 0), own, s[0], sums, is_bf16);
        route(k, &r, own, vsum, s[1], sums, is_bf16);
        for (size_t i = 0; i < 2; i++)
            for (size_t je = 0; je < rows; je++)
                sum[i][je] += s[i][je];
    }
    check_bits(own, u_hat, n_u_hat, "u_hat of an image in parts");
}

static void image_case(const struct kernels *k, struct random *random, struct worst *worst,
                       const size_t size[4], double vsum_scale, int is_bf16)
{
    const struct group g = random_group(random, size, vsum_scale, is_bf16);
    const struct one_image p = pack_image(&g, is_bf16);
    const size_t rows = p.n_sums / KERNEL_LANES, n_u_hat = p.n_u_hat;
    struct image m = image_of(&g, check_to_doubles(g.weight, g.n_weight), 0), stored = m;
    float *vsum = check_floats(g.outputs), *s[2][SIDES], *in_three[2], *two = check_floats(2 * p.n_u);
    fill_scaled(random, two, p.n_u, 1);
    memcpy(two + p.n_u, p.u, p.n_u * sizeof *two);
    for (size_t je = 0; je < g.outputs; je++)
        vsum[je] = g.vsum[je * KERNEL_LANES];
    for (enum side side = 0; side < SIDES; side++) {
        struct image_routing r = p.shape;
        r.weight = guard_input(p.weight, p.n_weight, side);
        float *u_hat = guard_output(2 * n_u_hat, side), *sums = guard_output(2 * p.n_sums, side);
        s[0][side] = guard_output(2 * rows, side);
        s[1][side] = guard_output(rows, side);
        predict(k, &r, 2, guard_input(two, 2 * p.n_u, side), u_hat, s[0][side], sums, is_bf16);
        s[0][side] += rows; /* the second, and alone: */
        u_hat += n_u_hat;
        float *alone = guard_output(n_u_hat, side), *s_alone = guard_output(rows, side);
        predict(k, &r, 1, guard_input(p.u, p.n_u, side), alone, s_alone,
                guard_output(p.n_sums, side), is_bf16);
        check_bits(alone, u_hat, n_u_hat, "u_hat of an image beside another");
        check_bits(s_alone, s[0][side], g.outputs, "s of an image beside another");
        const float *own_vsum = guard_input(vsum, g.outputs, side);
        route(k, &r, u_hat, own_vsum, s[1][side], sums, is_bf16);
        if (is_bf16 && side == 0)
            stored = stored_image(&m, (const uint32_t *)(const void *)u_hat, worst);
        if (side == 0)
            in_parts(k, &r, &p, own_vsum, u_hat, n_u_hat, in_three, is_bf16);
    }
    for (int routed = 0; routed < 2; routed++) {
        reference_route(stored.s, stored.c, &stored.shape, stored.u, routed ? stored.vsum : NULL);
        const struct bounds b = bounds_of(&stored, !routed);
        check_bits(s[routed][0], s[routed][1], g.outputs, "an image's routing");
        for (size_t je = 0; je < 2 * g.outputs; je++) {
            const size_t at = je % g.outputs, parts = je < g.outputs ? 1 : 3;
            check_value(worst, (double)(parts == 1 ? s[routed][0] : in_three[routed])[at],
                        stored.s[at],
                        b.s[at] + (double)(size[0] * size[3] + 1) * (double)FLT_MIN,
                        "capsules %zu classes %zu pose %zu dims %zu |vsum| %g: %s s[%zu] in %zu",
                        size[0], size[1], size[2], size[3], vsum_scale,
                        routed ? "routed" : "first", at, parts);
        }
    }
    check_release();
}

static void image_cases(const struct kernels *k, struct random *random, struct worst *worst,
                        int is_bf16)
{
    static const size_t capsules[] = {0, 1, 5, 16, 17, 33};
    for (size_t a = 0; a < sizeof capsules / sizeof *capsules; a++)
        for (size_t b = 0; b < ROUTING_CLASSES; b++)
            for (size_t c = 0; c < ROUTING_POSES; c++)
                for (size_t d = 0; d < ROUTING_DIMS; d++)
                    for (size_t e = 1; e < ROUTING_SCALES; e++)
                        image_case(k, random, worst,
                                   (size_t[]){capsules[a], routing_classes[b], routing_poses[c],
                                              routing_dims[d]},
                                   routing_scales[e], is_bf16);
    image_case(k, random, worst, (size_t[]){300, 10, 16, 8}, 0.5, is_bf16);
}

static void test_gather(const struct kernels *k, struct random *random, struct worst *worst)
{
    for (size_t dims = 1; dims <= 20; dims++) {
        const float *from[KERNEL_LANES];
        float *capsules = check_floats(KERNEL_LANES * dims);
        random_fill(random, capsules, KERNEL_LANES * dims, MAGNITUDE_HOSTILE);
        for (enum side side = 0; side < SIDES; side++) {
            for (size_t l = 0; l < KERNEL_LANES; l++)
                from[l] = guard_input(capsules + l * dims, dims, side);
            float *u = guard_output(KERNEL_LANES * dims, side);
            k->gather_capsules(u, from, dims);
            for (size_t l = 0; l < KERNEL_LANES; l++)
                for (size_t d = 0; d < dims; d++, worst->values++)
                    check_bits(&u[d * KERNEL_LANES + l], &capsules[l * dims + d], 1, "a capsule");
        }
        check_release();
    }
}

static void test_image(const struct kernels *k, struct random *random, struct worst *worst)
{
    image_cases(k, random, worst, 0);
}

static void test_image_bf16(const struct kernels *k, struct random *random, struct worst *worst)
{
    if (k->predict_images_bf16)
        image_cases(k, random, worst, 1);
    else
        print_message("  skipped: level %s has no such instructions\n", k->level);
}

/* ---- Timing: the default network, two images ------------------------------ */

struct image_bench {
    struct one_image p;
    float *u_hat, *s, *sums;
};

static void call_predict(const struct kernels *k, void *argument)
{
    const struct image_bench *b = argument;
    k->predict_images(&b->p.shape, 2, b->p.u, b->u_hat, b->s, b->sums);
}

static void call_predict_bf16(const struct kernels *k, void *argument)
{
    const struct image_bench *b = argument;
    k->predict_images_bf16(&b->p.shape, 2, b->p.u, (uint32_t *)(void *)b->u_hat, b->s, b->sums);
}

static void call_route_image(const struct kernels *k, void *argument)
{
    const struct image_bench *b = argument;
    k->route_image(&b->p.shape, b->u_hat, b->s, b->s + 160, b->sums);
}

static void call_route_image_bf16(const struct kernels *k, void *argument)
{
    const struct image_bench *b = argument;
    k->route_image_bf16(&b->p.shape, (const uint32_t *)(const void *)b->u_hat, b->s, b->s + 160,
                        b->sums);
}

static void bench_image(const struct kernels *k)
{
    struct random random = {1};
    const struct group g = random_group(&random, (size_t[]){1152, 10, 16, 8}, 0.1, 0);
    for (int is_bf16 = 0; is_bf16 < 2; is_bf16++) {
        struct image_bench b = {.p = pack_image(&g, is_bf16)};
        b.p.shape.weight = b.p.weight;
        float *u = check_floats(2 * b.p.n_u);
        memcpy(u, b.p.u, b.p.n_u * sizeof *u);
        memcpy(u + b.p.n_u, b.p.u, b.p.n_u * sizeof *u);
        b.p.u = u;
        b.u_hat = check_floats(2 * b.p.n_u_hat);
        b.s = check_floats(2 * 160);
        b.sums = check_floats(2 * b.p.n_sums);
        if (!is_bf16)
            bench_print(k, "predict_images, 2", 4.0 * (double)g.n_weight, "GFLOP/s",
                        call_predict, &b);
        else if (k->predict_images_bf16)
            bench_print(k, "the same, bf16", 4.0 * (double)g.n_weight, "GFLOP/s",
                        call_predict_bf16, &b);
        if (!is_bf16)
            bench_print(k, "route_image", 4.0 * 1152 * 160, "GFLOP/s", call_route_image,
                        &b);
        else if (k->route_image_bf16)
            bench_print(k, "the same, bf16", 4.0 * 1152 * 160, "GFLOP/s",
                        call_route_image_bf16, &b);
    }
}

int main(void)
{
    static const struct check checks[] = {
        {"gather_capsules", test_gather, NULL},
        {"one image", test_image, bench_image},
        {"one image, bf16", test_image_bf16, NULL},
    };
    return check_main(checks, sizeof checks / sizeof *checks);
}
