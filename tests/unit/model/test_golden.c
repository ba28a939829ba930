/*
 * test_golden.c - the whole network, forward and backward, against what an
 * independent implementation gave for the same weights and images
 * (tests/golden/README.md), at every CPU level this machine has.
 */
#include <math.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "model/weights_file/model_file.h"
#include "model/machine/huge_pages.h"
#include "model/inference/inference.h"
#include "model/train/learn/gradient.h"

struct golden {
    struct safetensors *weights, *expected;
    struct capsnet_model *model;
    struct capsnet_workspace *ws;
    size_t n;
    float *images, *lengths, *poses;
    uint8_t *labels;
};

static float *read_tensor(const struct safetensors *file, const char *name, size_t *count)
{
    const struct safetensors_tensor *tensor = safetensors_find(file, name);
    assert_non_null(tensor);
    float *values = malloc(tensor->count * sizeof *values);
    assert_non_null(values);
    safetensors_to_f32(tensor, values);
    if (count)
        *count = tensor->count;
    return values;
}

static void golden_open(struct golden *g, const char *name, const char *level, size_t threads)
{
    struct capsnet_error error;
    char path[256];
    snprintf(path, sizeof path, "tests/golden/%s.safetensors", name);
    assert_int_equal(safetensors_open(&g->weights, path, &error), CAPSNET_OK);
    assert_int_equal(model_from_file(&g->model, g->weights, path, &(struct capsnet_options){level, "f32", "full", NULL},
                                     &error), CAPSNET_OK);
    snprintf(path, sizeof path, "tests/golden/%s-golden.safetensors", name);
    assert_int_equal(safetensors_open(&g->expected, path, &error), CAPSNET_OK);
    g->n = safetensors_find(g->expected, "labels")->count;
    assert_int_equal(workspace_create(&g->ws, g->model, g->n, threads, 1, &error), CAPSNET_OK);
    assert_int_equal(model_pack(g->model, &error), CAPSNET_OK);
    g->images = read_tensor(g->expected, "images", NULL);
    float *labels = read_tensor(g->expected, "labels", NULL);
    g->labels = malloc(g->n);
    for (size_t i = 0; i < g->n; i++)
        g->labels[i] = (uint8_t)labels[i];
    free(labels);
    g->lengths = calloc(g->n * g->model->shape.classes, sizeof(float));
    g->poses = calloc(g->n * g->model->at.outputs, sizeof(float));
}

static void golden_close(struct golden *g)
{
    capsnet_workspace_free(g->ws);
    capsnet_model_free(g->model);
    safetensors_close(g->weights);
    safetensors_close(g->expected);
    free(g->images);
    free(g->labels);
    free(g->lengths);
    free(g->poses);
}

/* The largest difference to a golden tensor, as a share of its largest value. */
static double worst(const struct golden *g, const char *name, const float *values)
{
    size_t count;
    float *want = read_tensor(g->expected, name, &count);
    double difference = 0, largest = 0;
    for (size_t i = 0; i < count; i++) {
        difference = fmax(difference, fabs((double)values[i] - (double)want[i]));
        largest = fmax(largest, fabs((double)want[i]));
        assert_true(isfinite(values[i]) != 0);
    }
    free(want);
    assert_true(largest > 0);
    return difference / largest;
}

static void check_forward(struct golden *g)
{
    const struct capsnet_shape *shape = &g->model->shape;
    float *pictures = calloc(g->n * g->model->at.pixels, sizeof *pictures);
    float *poses = calloc(g->n * shape->pose_dims, sizeof *poses);
    size_t *classes = calloc(g->n, sizeof *classes);
    for (int direct = 0; direct < 2; direct++) {
        const size_t step = direct ? 1 : g->n; /* images at a time */
        struct capsnet_workspace *ws = g->ws;
        struct capsnet_error error;
        if (direct) /* one image at a time takes the direct convolution */
            assert_int_equal(capsnet_workspace_create(&ws, g->model, 1, 1, &error), CAPSNET_OK);
        for (size_t i = 0; i < g->n; i += step)
            capsnet_forward(ws, step, g->images + i * g->model->at.pixels,
                            g->lengths + i * shape->classes, g->poses + i * g->model->at.outputs);
        double lengths = worst(g, "lengths", g->lengths), pose = worst(g, "poses", g->poses);
        for (size_t i = 0; i < g->n; i++) {
            classes[i] = capsnet_winner(shape, g->lengths + i * shape->classes);
            memcpy(poses + i * shape->pose_dims,
                   g->poses + i * g->model->at.outputs + classes[i] * shape->pose_dims,
                   shape->pose_dims * sizeof *poses);
        }
        for (size_t i = 0; i < g->n; i += step)
            capsnet_decode(ws, step, poses + i * shape->pose_dims, classes + i,
                           pictures + i * g->model->at.pixels);
        double picture = worst(g, "reconstruction", pictures);
        print_message("  %s: lengths %.1e, poses %.1e, reconstruction %.1e\n",
                      direct ? "direct" : "spectral", lengths, pose, picture);
        const double bound = direct ? 1e-5 : 1e-4;
        assert_true(lengths < bound && pose < bound && picture < bound);
        if (direct)
            capsnet_workspace_free(ws);
    }
    free(pictures);
    free(poses);
    free(classes);
}

static void check_backward(struct golden *g)
{
    struct batch_result result;
    const struct layout *at = &g->model->at;
    float *grad = huge_alloc(at->total * sizeof *grad), *values;
    size_t count;
    float alpha = strtof(safetensors_get_metadata(g->expected, "alpha"), NULL);
    const struct batch batch = {.n = g->n, .images = g->images, .targets = g->images,
                                .labels = g->labels, .alpha = alpha};
    batch_gradient(g->ws, &batch, grad, g->lengths, g->poses, &result);
    float *loss = read_tensor(g->expected, "loss", NULL);
    print_message("  loss %.7f, expected %.7f\n", result.loss, (double)loss[0]);
    assert_true(fabs(result.loss - (double)loss[0]) < 1e-5 * (double)loss[0]);
    free(loss);

    /* Through a file and back: the export's layouts are checked as well. */
    struct capsnet_error error;
    struct safetensors *file;
    char path[] = "/tmp/capsnet-golden-XXXXXX";
    close(mkstemp(path));
    struct model_block block = {"grad.", grad};
    assert_int_equal(model_save(g->model, path, SAFETENSORS_F32, &block, 1, NULL, 0, &error),
                     CAPSNET_OK);
    assert_int_equal(safetensors_open(&file, path, &error), CAPSNET_OK);
    for (size_t i = 0; safetensors_at(file, i); i++) {
        const char *name = safetensors_at(file, i)->name;
        values = read_tensor(file, name, &count);
        assert_int_equal(count, safetensors_find(g->expected, name)->count);
        double error_share = worst(g, name, values);
        print_message("  %-22s %.1e\n", name, error_share);
        assert_true(error_share < 1e-4);
        free(values);
    }
    safetensors_close(file);
    unlink(path);
    huge_free(grad, at->total * sizeof *grad);
}

static void test_golden(void **state)
{
    const char *name = *state;
    int usable;
    for (size_t i = 0; kernels_at(i, &usable); i++) {
        const char *level = kernels_at(i, &usable)->level;
        if (!usable) {
            print_message("%s, %s: skipped, this CPU lacks it\n", name, level);
            continue;
        }
        for (size_t threads = 1; threads <= 2; threads++) {
            struct golden g;
            print_message("%s, %s, %zu threads\n", name, level, threads);
            golden_open(&g, name, level, threads);
            check_forward(&g);
            check_backward(&g);
            golden_close(&g);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"small", test_golden, NULL, NULL, (void *)(size_t) "small"},
        {"colour", test_golden, NULL, NULL, (void *)(size_t) "colour"},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
