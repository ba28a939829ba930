/*
 * bench.c - see bench.h.
 */
#include "tests/bench/bench.h"
#include "model/machine/huge_pages.h"

#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/train/data/dataset_load.h"
#include "model/train/learn/gradient.h"

enum { REPEAT = 7 };

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *seconds, size_t n)
{
    qsort(seconds, n, sizeof *seconds, compare);
    return seconds[n / 2];
}

double bench_seconds(void (*run)(void *), void *context)
{
    uint64_t start = phase_clock();
    run(context);
    return (double)(phase_clock() - start) * 1e-9;
}

double bench_time(void (*run)(void *), void *context)
{
    double seconds[REPEAT];
    run(context);
    for (int i = 0; i < REPEAT; i++)
        seconds[i] = bench_seconds(run, context);
    return bench_median(seconds, REPEAT);
}

void bench_die(const char *words)
{
    fprintf(stderr, "bench: %s\n", words);
    exit(1);
}

void bench_openblas(char **argv)
{
    const char *type = __builtin_cpu_supports("avx512vl") ? "SkylakeX"
                       : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? "Haswell"
                                                                                        : NULL;
    openblas_set_num_threads(1);
    if (!type || strcmp(openblas_get_corename(), "Prescott") || getenv("OPENBLAS_CORETYPE"))
        return;
    setenv("OPENBLAS_CORETYPE", type, 1);
    execv("/proc/self/exe", argv);
    bench_die("cannot start again with OpenBLAS's kernels for this CPU");
}

float *bench_noise(size_t count, float size)
{
    float *values = huge_alloc(count * sizeof *values);
    if (!values)
        bench_die("not enough memory");
    for (size_t i = 0; i < count; i++)
        values[i] = size * ((float)(i * 2654435761u % 65536) / 32768 - 1);
    return values;
}

float *bench_test_images(const char *folder, const struct capsnet_model *model, size_t n)
{
    struct dataset data;
    struct capsnet_error error;
    if (dataset_load(&data, folder, "t10k", model, &error) != CAPSNET_OK)
        bench_die(error.text);
    if (data.n < n)
        bench_die("too few test images");
    float *images = bench_noise(n * model->at.pixels, 0);
    for (size_t i = 0; i < n * model->at.pixels; i++)
        images[i] = (float)data.pixels[i] / 255;
    dataset_free(&data);
    return images;
}

double bench_multiply_adds(const struct capsnet_model *model)
{
    const struct capsnet_shape *h = &model->shape;
    const struct layout *at = &model->at;
    size_t count = at->conv1_h * at->conv1_w * at->conv1_taps * h->conv1_channels;
    count += at->positions * h->primary_kernel * h->primary_kernel * h->conv1_channels *
             at->primary_channels;
    count += at->capsules * at->outputs * (h->primary_dims + 2 * h->routing_iterations - 1);
    for (size_t l = 0; l < 3; l++)
        count += at->in[l] * at->out[l];
    return (double)count;
}

void bench_open(struct bench *b)
{
    const struct capsnet_shape shape = {28, 28, 1, 10, 9, 256, 9, 2, 32, 8, 16, 3, {512, 1024}};
    struct capsnet_error error;
    const char *level = getenv("CAPSNETD_CPU_LEVEL");
    const struct capsnet_options options = {level && *level ? level : NULL, "f32", "full", NULL};
    *b = (struct bench){0};
    if (model_create(&b->model, &shape, &options, &error) != CAPSNET_OK)
        bench_die(error.text);
    const struct layout *at = &b->model->at;
    const size_t bytes = at->total * sizeof(float);
    for (size_t i = 0; i < at->total; i++) { /* sizes as in a fresh model */
        float size = i >= at->digit_weight && i < at->decoder_weight[0] ? 0.2f : 0.02f;
        b->model->parameters[i] = size * ((float)(i * 2654435761u % 65536) / 32768 - 1);
    }
    b->images = bench_noise(BENCH_BATCH * at->pixels, 1);
    b->lengths = malloc(BENCH_BATCH * shape.classes * sizeof(float));
    b->poses = malloc(BENCH_BATCH * at->outputs * sizeof(float));
    b->pictures = malloc(BENCH_BATCH * at->pixels * sizeof(float));
    b->grad = huge_alloc(bytes);
    b->adam = (struct adam){huge_alloc(bytes), huge_alloc(bytes), huge_alloc(bytes), 0};
    if (!b->lengths || !b->poses || !b->pictures || !b->grad || !b->adam.m || !b->adam.v ||
        !b->adam.ema)
        bench_die("not enough memory");
    for (size_t i = 0; i < BENCH_BATCH; i++)
        b->labels[i] = (uint8_t)(i % shape.classes);
}

void bench_close(struct bench *b)
{
    const size_t bytes = b->model->at.total * sizeof(float);
    huge_free(b->images, BENCH_BATCH * b->model->at.pixels * sizeof(float));
    free(b->lengths);
    free(b->poses);
    free(b->pictures);
    huge_free(b->grad, bytes);
    huge_free(b->adam.m, bytes);
    huge_free(b->adam.v, bytes);
    huge_free(b->adam.ema, bytes);
    capsnet_model_free(b->model);
}

void bench_workspace(struct bench *b, size_t threads, int training)
{
    struct capsnet_error error;
    if (workspace_create(&b->ws, b->model, BENCH_BATCH, threads, training, &error) != CAPSNET_OK)
        bench_die(error.text);
}

double bench_gradient(struct bench *b)
{
    struct batch_result result;
    const struct batch batch = {.n = BENCH_BATCH, .images = b->images, .targets = b->images,
                                .labels = b->labels, .alpha = 0.0005f};
    batch_gradient(b->ws, &batch, b->grad, b->lengths, b->poses, &result);
    return result.loss;
}
