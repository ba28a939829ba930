/*
 * test_kernels_routing_inference.c - routing by agreement of one image, capsules side
 * by side, of every CPU level, against double precision (tests/common/routing_case.h
 * has the bounds).
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/weights_file/float_formats.h"
#include "tests/common/kernel_check.h"
#include "tests/common/reference.h"
#include "tests/common/routing_case.h"

/* What W is stored in; with the last two u_hat is in bf16. */
enum form { F32, F16, BF16, INT8 };

static int has_words(enum form form)
{
    return form == BF16 || form == INT8;
}

static int can_predict(const struct kernels *k, enum form form)
{
    return form == F32    ? 1
           : form == F16  ? k->predict_images_f16 != NULL
           : form == BF16 ? k->predict_images_bf16 != NULL
                          : k->predict_images_int8 != NULL;
}

/* The group's lane 0 as the image kernels read it: u, and weights of some form.  A lane of no
 * capsule is zero. */
struct one_image {
    struct image_routing shape;
    size_t n_weight, n_scales, n_u, n_u_hat, n_sums; /* n_weight: of floats */
    float *weight, *scales, *u;
};

/* The unit of a capsule's weights of one class in 8 bits: a power of two, so that what is cut
 * to it is a float. */
static float unit_of(size_t capsule, size_t class_index)
{
    return 1.0f / (float)(512 << (capsule + class_index) % 5);
}

/* W to what the form can hold. */
static void cut_weights(const struct group *g, enum form form)
{
    const struct routing *r = &g->shape;
    if (form == BF16)
        cut_to_bf16(g->weight, g->n_weight);
    for (size_t k = 0; k < g->n_weight; k++) {
        const size_t i = k / (g->outputs * r->dims), j = k / (r->pose * r->dims) % r->classes;
        const float unit = unit_of(i, j);
        if (form == F16)
            g->weight[k] = safetensors_f32_from_f16(safetensors_f16_from_f32(g->weight[k]));
        if (form == INT8)
            g->weight[k] = unit * fmaxf(-127, fminf(127, rintf(g->weight[k] / unit)));
    }
}

/* Value d of a row of W, of words KERNEL_LANES apart. */
static void put_weight(float *row, size_t d, float w, float unit, enum form form)
{
    if (form == F32)
        row[d * KERNEL_LANES] = w;
    else if (form == F16)
        ((uint16_t *)(void *)row)[d * KERNEL_LANES] = safetensors_f16_from_f32(w);
    else if (form == BF16)
        ((uint16_t *)(void *)(row + d / 2 * KERNEL_LANES))[d % 2] = bf16_bits(w);
    else
        ((uint8_t *)(void *)(row + d / 4 * KERNEL_LANES))[d % 4] =
            (uint8_t)(128 + lrintf(w / unit));
}

static struct one_image pack_image(const struct group *g, enum form form)
{
    const struct routing *r = &g->shape;
    const size_t groups = (r->capsules + KERNEL_LANES - 1) / KERNEL_LANES;
    const size_t rows = (g->outputs + KERNEL_LANES - 1) / KERNEL_LANES * KERNEL_LANES;
    const size_t values = form == INT8 ? 4 : form == BF16 ? 2 : 1;
    const size_t step = (r->dims + values - 1) / values;
    const size_t lane_size = form == F16 ? sizeof(uint16_t) : sizeof(float);
    const size_t row_size = step * KERNEL_LANES * lane_size;
    struct one_image p = {.shape = {groups, 0, groups, r->classes, r->pose, r->dims, NULL, NULL},
                          .n_weight = groups * g->outputs * row_size / sizeof(float),
                          .n_scales = groups * r->classes * KERNEL_LANES,
                          .n_u = groups * r->dims * KERNEL_LANES,
                          .n_u_hat = groups * KERNEL_LANES *
                                     (has_words(form) ? prediction_words(r->classes, r->pose)
                                                      : g->outputs),
                          .n_sums = rows * KERNEL_LANES};
    p.weight = check_floats(p.n_weight);
    p.scales = check_floats(p.n_scales);
    p.u = check_floats(p.n_u);
    for (size_t i = 0; i < r->capsules; i++) {
        const size_t group = i / KERNEL_LANES, lane = i % KERNEL_LANES;
        for (size_t d = 0; d < r->dims; d++)
            p.u[(group * r->dims + d) * KERNEL_LANES + lane] =
                g->u[(i * r->dims + d) * KERNEL_LANES];
        for (size_t at = 0; at < g->outputs * r->dims; at++) {
            const size_t je = at / r->dims, j = je / r->pose;
            char *row = (char *)p.weight + (group * g->outputs + je) * row_size + lane * lane_size;
            put_weight((float *)(void *)row, at % r->dims, g->weight[i * g->outputs * r->dims + at],
                       unit_of(i, j), form);
            p.scales[(group * r->classes + j) * KERNEL_LANES + lane] = unit_of(i, j);
        }
    }
    return p;
}

/* How far a value of u may be off: half a unit of the capsule's in 8 bits. */
static double rounding_of(const struct image *m, size_t capsule, enum form form)
{
    double most = 0;
    for (size_t d = 0; form == INT8 && d < m->shape.dims; d++)
        most = fmax(most, fabs(m->u[capsule * m->shape.dims + d]));
    return most / 127 / 2 * (1 + 4 * ROUNDING * 127);
}

/* The image as a kernel has left it in bf16: u_hat is what it has stored, which must be
 * W u rounded. */
static struct image stored_image(const struct image *m, const uint32_t *u_hat, enum form form,
                                 struct worst *worst)
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
            double sum = 0, magnitude = 0, off = 0;
            for (size_t d = 0; d < m->shape.dims; d++) {
                const double term = m->weight[(i * m->outputs + je) * m->shape.dims + d] *
                                    m->u[i * m->shape.dims + d];
                sum += term;
                magnitude += fabs(term);
                off += fabs(m->weight[(i * m->outputs + je) * m->shape.dims + d]) *
                       rounding_of(m, i, form);
            }
            check_value(worst, (double)x, sum,
                        off + (fabs(sum) + off) / 256 +
                            (double)(m->shape.dims + 1) * ROUNDING * magnitude + (double)FLT_MIN,
                        "u_hat[%zu] of capsule %zu", je, i);
            stored.weight[i * m->outputs + je] = (double)x;
        }
    }
    return stored;
}

static void predict(const struct kernels *k, const struct image_routing *r, size_t images,
                    const float *u, float *u_hat, float *s, float *sums, enum form form)
{
    if (has_words(form))
        (form == BF16 ? k->predict_images_bf16 : k->predict_images_int8)(
            r, images, u, (uint32_t *)(void *)u_hat, s, sums);
    else
        (form == F32 ? k->predict_images : k->predict_images_f16)(r, images, u, u_hat, s, sums);
}

static void route(const struct kernels *k, const struct image_routing *r, const float *u_hat,
                  const float *vsum, float *s, float *sums, enum form form)
{
    if (has_words(form))
        k->route_image_bf16(r, (const uint32_t *)(const void *)u_hat, vsum, s, sums);
    else
        k->route_image(r, u_hat, vsum, s, sums);
}

/* The image in three parts of the groups, of which the first may have none: u_hat is the same
 * bits as in one, and s, of which each part has its share, is added up to sum[2][]: of the
 * first iteration and of another. */
static void in_parts(const struct kernels *k, const struct image_routing *all,
                     const struct one_image *p, const float *vsum, const float *u_hat,
                     size_t n_u_hat, float *sum[2], enum form form)
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
        predict(k, &r, 1, guard_input(p->u, p->n_u, 0), own, s[0], sums, form);
        route(k, &r, own, vsum, s[1], sums, form);
        for (size_t i = 0; i < 2; i++)
            for (size_t je = 0; je < rows; je++)
                sum[i][je] += s[i][je];
    }
    check_bits(own, u_hat, n_u_hat, "u_hat of an image in parts");
}

/* fp16 gives the same bits as fp32. */
static void check_f16(const struct kernels *k, const struct group *g, const float *u_hat,
                      const float *s)
{
    struct one_image p = pack_image(g, F32);
    float *own = check_floats(p.n_u_hat), *own_s = check_floats(p.n_sums / KERNEL_LANES);
    p.shape.weight = p.weight;
    predict(k, &p.shape, 1, p.u, own, own_s, check_floats(p.n_sums), F32);
    check_bits(u_hat, own, p.n_u_hat, "u_hat of W in fp16");
    check_bits(s, own_s, g->outputs, "s of W in fp16");
}

static void image_case(const struct kernels *k, struct random *random, struct worst *worst,
                       const size_t size[4], double vsum_scale, enum form form)
{
    const struct group g = random_group(random, size, vsum_scale, form == BF16);
    cut_weights(&g, form);
    const struct one_image p = pack_image(&g, form);
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
        r.scales = form == INT8 ? guard_input(p.scales, p.n_scales, side) : NULL;
        float *u_hat = guard_output(2 * n_u_hat, side), *sums = guard_output(2 * p.n_sums, side);
        s[0][side] = guard_output(2 * rows, side);
        s[1][side] = guard_output(rows, side);
        predict(k, &r, 2, guard_input(two, 2 * p.n_u, side), u_hat, s[0][side], sums, form);
        s[0][side] += rows; /* the second, and alone: */
        u_hat += n_u_hat;
        float *alone = guard_output(n_u_hat, side), *s_alone = guard_output(rows, side);
        predict(k, &r, 1, guard_input(p.u, p.n_u, side), alone, s_alone,
                guard_output(p.n_sums, side), form);
        check_bits(alone, u_hat, n_u_hat, "u_hat of an image beside another");
        check_bits(s_alone, s[0][side], g.outputs, "s of an image beside another");
        const float *own_vsum = guard_input(vsum, g.outputs, side);
        route(k, &r, u_hat, own_vsum, s[1][side], sums, form);
        if (has_words(form) && side == 0)
            stored = stored_image(&m, (const uint32_t *)(const void *)u_hat, form, worst);
        if (form == F16)
            check_f16(k, &g, alone, s_alone);
        if (side == 0)
            in_parts(k, &r, &p, own_vsum, u_hat, n_u_hat, in_three, form);
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
                        enum form form)
{
    static const size_t capsules[] = {0, 1, 5, 16, 17, 33};
    if (!can_predict(k, form)) {
        print_message("  skipped: level %s has no such instructions\n", k->level);
        return;
    }
    for (size_t a = 0; a < sizeof capsules / sizeof *capsules; a++)
        for (size_t b = 0; b < ROUTING_CLASSES; b++)
            for (size_t c = 0; c < ROUTING_POSES; c++)
                for (size_t d = 0; d < ROUTING_DIMS; d++)
                    for (size_t e = 1; e < ROUTING_SCALES; e++)
                        image_case(k, random, worst,
                                   (size_t[]){capsules[a], routing_classes[b], routing_poses[c],
                                              routing_dims[d]},
                                   routing_scales[e], form);
    image_case(k, random, worst, (size_t[]){300, 10, 16, 8}, 0.5, form);
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
    image_cases(k, random, worst, F32);
}

static void test_image_f16(const struct kernels *k, struct random *random, struct worst *worst)
{
    image_cases(k, random, worst, F16);
}

static void test_image_bf16(const struct kernels *k, struct random *random, struct worst *worst)
{
    image_cases(k, random, worst, BF16);
}

static void test_image_int8(const struct kernels *k, struct random *random, struct worst *worst)
{
    image_cases(k, random, worst, INT8);
}

/* ---- Timing: the default network, two images ------------------------------ */

struct image_bench {
    enum form form;
    struct one_image p;
    float *u_hat, *s, *sums;
};

static void call_predict(const struct kernels *k, void *argument)
{
    const struct image_bench *b = argument;
    predict(k, &b->p.shape, 2, b->p.u, b->u_hat, b->s, b->sums, b->form);
}

static void call_route_image(const struct kernels *k, void *argument)
{
    const struct image_bench *b = argument;
    route(k, &b->p.shape, b->u_hat, b->s, b->s + 160, b->sums, b->form);
}

static void bench_image(const struct kernels *k)
{
    struct random random = {1};
    const struct group g = random_group(&random, (size_t[]){1152, 10, 16, 8}, 0.1, 0);
    for (enum form form = F32; form <= INT8; form++) {
        static const char *const names[] = {"f32", "f16", "bf16", "int8"};
        char name[32];
        if (!can_predict(k, form))
            continue;
        cut_weights(&g, form);
        struct image_bench b = {form, pack_image(&g, form), NULL, NULL, NULL};
        b.p.shape.weight = b.p.weight;
        b.p.shape.scales = b.p.scales;
        float *u = check_floats(2 * b.p.n_u);
        memcpy(u, b.p.u, b.p.n_u * sizeof *u);
        memcpy(u + b.p.n_u, b.p.u, b.p.n_u * sizeof *u);
        b.p.u = u;
        b.u_hat = check_floats(2 * b.p.n_u_hat);
        b.s = check_floats(2 * 160);
        b.sums = check_floats(2 * b.p.n_sums);
        snprintf(name, sizeof name, "predict_images, 2, %s", names[form]);
        bench_print(k, name, 4.0 * (double)g.n_weight, "GFLOP/s", call_predict, &b);
        snprintf(name, sizeof name, "route_image, %s", names[form]);
        if (form == F32 || form == BF16)
            bench_print(k, name, 4.0 * 1152 * 160, "GFLOP/s", call_route_image, &b);
    }
}

int main(void)
{
    static const struct check checks[] = {
        {"gather_capsules", test_gather, NULL},
        {"one image", test_image, bench_image},
        {"one image, f16", test_image_f16, NULL},
        {"one image, bf16", test_image_bf16, NULL},
        {"one image, int8", test_image_int8, NULL},
    };
    return check_main(checks, sizeof checks / sizeof *checks);
}
