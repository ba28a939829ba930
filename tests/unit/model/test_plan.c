/*
 * test_plan.c - which plan and which precision run: as asked for, or as measured.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/common/small_network.h"
#include "model/inference/inference.h"
#include "model/network/product_speed.h"

/* A shape whose way by points is much the slower one, with kernels of one tap, or much
 * the faster one in any but small batches. */
static struct capsnet_shape shape_of(size_t primary_kernel)
{
    struct capsnet_shape shape = small_shape();
    shape.conv1_channels = primary_kernel < 9 ? 32 : 128;
    shape.primary_kernel = primary_kernel;
    shape.primary_types = primary_kernel < 9 ? 8 : 32;
    shape.height = shape.width = 28;
    return shape;
}

/* Whatever was expected, the faster plan is found. */
static void test_measured(const struct kernels *k, struct random *random, struct worst *worst)
{
    static const struct {
        size_t primary_kernel, expected, least, most;
        double seconds; /* at most, where an emulator is slow */
    } cases[] = {{1, 0, 64, SIZE_MAX, 20}, {1, 9, 64, SIZE_MAX, 20}, {9, 6, 0, 5, 300}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++, worst->values++) {
        struct small s;
        const struct capsnet_shape shape = shape_of(cases[i].primary_kernel);
        small_create(&s, &shape, k->level, random);
        s.model->direct_max = cases[i].expected;
        capsnet_model_measure(s.model, 1, cases[i].seconds);
        const size_t found = s.model->direct_max;
        if (found < cases[i].least || found > cases[i].most)
            fail_msg("kernel %zu, %zu expected: direct up to %zu images", cases[i].primary_kernel,
                     cases[i].expected, found);
        for (size_t n = 1; n <= 64; n++)
            assert_string_equal(capsnet_model_plan(s.model, n), n <= found ? "direct" : "spectral");
        capsnet_model_free(s.model);
        check_release();
    }
}

/* Without time nothing changes; what was found out goes to a model like it. */
static void test_kept(const struct kernels *k, struct random *random, struct worst *worst)
{
    struct small s, like, other;
    struct capsnet_shape shape = shape_of(1);
    small_create(&s, &shape, k->level, random);
    small_create(&like, &shape, k->level, random);
    shape.primary_kernel = 2;
    small_create(&other, &shape, k->level, random);
    const size_t before = s.model->direct_max;
    assert_string_equal(capsnet_model_plan(s.model, 64),
                        strcmp(k->level, "openblas") == 0 ? "spectral" : "direct");
    capsnet_model_measure(s.model, 1, 0);
    assert_int_equal(s.model->direct_max, before);
    s.model->direct_max = 7;
    assert_int_equal(capsnet_model_measured_as(like.model, s.model), 1);
    assert_string_equal(capsnet_model_plan(like.model, 7), "direct");
    assert_string_equal(capsnet_model_plan(like.model, 8), "spectral");
    assert_int_equal(capsnet_model_measured_as(other.model, s.model), 0);
    assert_int_equal(other.model->direct_max, before);
    worst->values += 2;
    capsnet_model_free(s.model);
    capsnet_model_free(like.model);
    capsnet_model_free(other.model);
}

static struct capsnet_model *create(const struct kernels *k, const char *precision,
                                    const char *memory, const char *plan)
{
    struct capsnet_model *model = NULL;
    struct capsnet_error error = {""};
    const struct capsnet_shape shape = shape_of(1);
    const struct capsnet_options options = {k->level, precision, memory, plan};
    if (model_create(&model, &shape, &options, &error) != CAPSNET_OK)
        fail_msg("%s", error.text);
    return model;
}

/* A plan that was asked for is not measured, and decides about memory. */
static void test_fixed(const struct kernels *k, struct random *random, struct worst *worst)
{
    static const struct {
        const char *memory, *plan, *is_memory, *is_plan;
    } cases[] = {
        {NULL, "direct", "low", "direct"},
        {"auto", "direct", "low", "direct"},
        {"full", "direct", "full", "direct"},
        {"low", "direct", "low", "direct"},
        {NULL, "spectral", "full", "spectral"},
        {"full", "spectral", "full", "spectral"},
        {"low", NULL, "low", "direct"},
    };
    (void)random;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++, worst->values++) {
        struct capsnet_model *model = create(k, "f32", cases[i].memory, cases[i].plan);
        const size_t fixed = model->direct_max;
        capsnet_model_measure(model, 1, 20);
        assert_int_equal(model->direct_max, fixed);
        assert_string_equal(capsnet_model_memory(model), cases[i].is_memory);
        assert_string_equal(capsnet_model_plan(model, 1), cases[i].is_plan);
        assert_string_equal(capsnet_model_plan(model, 64), cases[i].is_plan);
        capsnet_model_free(model);
    }
}

/* The golden network, and what it answers to N noises in a workspace of its own. */
enum { N = 20 };

struct golden {
    struct capsnet_model *model;
    float *lengths, *poses; /* [N] of each */
};

static void load_golden(struct golden *g, const struct kernels *k, const char *precision,
                        const char *memory)
{
    const struct capsnet_options options = {k->level, precision, memory, NULL};
    struct capsnet_error error;
    const char *path = "tests/golden/small.safetensors";
    assert_int_equal(capsnet_model_load(&g->model, path, &options, &error), CAPSNET_OK);
    g->lengths = calloc(N * g->model->shape.classes, sizeof *g->lengths);
    g->poses = calloc(N * g->model->at.outputs, sizeof *g->poses);
}

static void ask_golden(struct golden *g)
{
    struct capsnet_workspace *ws;
    struct capsnet_error error;
    const size_t floats = N * g->model->at.pixels;
    float *images = calloc(floats, sizeof *images);
    for (size_t i = 0; i < floats; i++)
        images[i] = (float)(i * 2654435761u >> 16 & 255) / 255;
    assert_int_equal(capsnet_workspace_create(&ws, g->model, N, 2, &error), CAPSNET_OK);
    capsnet_forward(ws, N, images, g->lengths, g->poses);
    capsnet_workspace_free(ws);
    free(images);
}

static void free_golden(struct golden *g)
{
    capsnet_model_free(g->model);
    free(g->lengths);
    free(g->poses);
}

/* Weights in the transform domain are given back where no batch is computed with them; then all
 * is as in a model that never had them. */
static void test_trimmed(const struct kernels *k, struct random *random, struct worst *worst)
{
    static const char *const names[PRECISIONS] = {"f32", "bf16", "int8"};
    const int has[PRECISIONS] = {1, k->gemm_bf16 != NULL, k->gemm_int8 != NULL};
    (void)random;
    for (size_t p = 0; p < PRECISIONS; p++) {
        struct golden full, low;
        if (!has[p])
            continue;
        load_golden(&full, k, names[p], "full");
        load_golden(&low, k, names[p], "low");
        const size_t bytes = capsnet_model_bytes(full.model);
        const size_t least = capsnet_model_bytes(low.model);

        full.model->direct_max = N - 1;
        capsnet_model_trim(full.model, N); /* such a batch needs them */
        assert_string_equal(capsnet_model_memory(full.model), "full");
        assert_int_equal(capsnet_model_bytes(full.model), bytes);
        ask_golden(&full);

        full.model->direct_max = N;
        capsnet_model_trim(full.model, N);
        assert_string_equal(capsnet_model_memory(full.model), "low");
        assert_in_range(capsnet_model_bytes(full.model), least, least + (bytes - least) / 10);
        assert_string_equal(capsnet_model_plan(full.model, 2 * N), "direct");
        capsnet_model_trim(full.model, N); /* again: nothing */
        ask_golden(&full);
        ask_golden(&low);
        assert_memory_equal(full.lengths, low.lengths,
                            N * low.model->shape.classes * sizeof *low.lengths);
        assert_memory_equal(full.poses, low.poses, N * low.model->at.outputs * sizeof *low.poses);
        worst->values++;
        free_golden(&full);
        free_golden(&low);
    }
}

/* What a level cannot multiply takes forever, and auto is what it can. */
static void test_precision(const struct kernels *k, struct random *random, struct worst *worst)
{
    static const char *const names[PRECISIONS] = {"f32", "bf16", "int8"};
    const int has[PRECISIONS] = {1, k->gemm_bf16 != NULL, k->gemm_int8 != NULL};
    double ns[PRECISIONS];
    struct capsnet_error error = {""};
    (void)random;
    assert_int_equal(product_speed(ns, k, &error), CAPSNET_OK);
    for (size_t p = 0; p < PRECISIONS; p++, worst->values++) {
        assert_true(has[p] ? ns[p] > 1000 && ns[p] < 1e10 : isinf(ns[p]));
        if (!has[p])
            continue;
        struct capsnet_model *model = create(k, names[p], NULL, NULL);
        const double cost = capsnet_model_cost(model);
        assert_true(p == PRECISION_F32 ? cost == 1 : cost > 0.01 && cost < 100);
        capsnet_model_free(model);
    }
    struct capsnet_model *model = create(k, "auto", NULL, NULL);
    for (size_t p = 0; p < PRECISIONS; p++)
        if (strcmp(capsnet_model_precision(model), names[p]) == 0)
            assert_true(has[p]);
    assert_true(capsnet_model_cost(model) <= 1);
    capsnet_model_free(model);
}

int main(void)
{
    static const struct check checks[] = {
        {"plan measured", test_measured, NULL},
        {"plan kept", test_kept, NULL},
        {"plan asked for", test_fixed, NULL},
        {"weights given back", test_trimmed, NULL},
        {"precision", test_precision, NULL},
    };
    return check_main(checks, sizeof checks / sizeof *checks);
}
