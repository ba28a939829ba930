/*
 * bench.c - how fast it is, in one table from one run: the matrix kernels
 * beside OpenBLAS, the forward pass by plan, batch and threads, the phases of
 * a forward pass and of a training step.
 *
 * Every figure is the median of several timings; ratios are within the run.
 * OpenBLAS is the yardstick only: the programs do not use it.
 */
#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../model/model_file.h"
#include "../../model/train/adam.h"
#include "../../model/train/gradient.h"

enum { REPEAT = 7, MAX_BATCH = 128 };

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median seconds of REPEAT calls, after one that warms up. */
static double median_seconds(void (*run)(void *), void *context)
{
    double seconds[REPEAT];
    run(context);
    for (int i = 0; i < REPEAT; i++) {
        uint64_t start = phase_clock();
        run(context);
        seconds[i] = (double)(phase_clock() - start) * 1e-9;
    }
    qsort(seconds, REPEAT, sizeof *seconds, compare);
    return seconds[REPEAT / 2];
}

static void die(const struct capsnet_error *error)
{
    fprintf(stderr, "bench: %s\n", error->text);
    exit(1);
}

static float *noise(size_t count, float size)
{
    float *values = huge_alloc(count * sizeof *values);
    for (size_t i = 0; values && i < count; i++)
        values[i] = size * ((float)(i * 2654435761u % 65536) / 32768 - 1);
    return values;
}

/* ---- Matrix kernels ------------------------------------------------------ */

struct product {
    struct gemm g;
    const struct kernels *kernels; /* NULL: OpenBLAS, row-major */
    const float *b;
};

static void run_product(void *context)
{
    const struct product *p = context;
    if (p->kernels)
        p->kernels->gemm(&p->g);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)p->g.m, (int)p->g.n,
                    (int)p->g.k, 1, p->g.a.data, (int)p->g.a.row, p->b, (int)p->g.n, 0,
                    p->g.c.data, (int)p->g.n);
}

static void bench_products(void)
{
    const size_t m = 128, n = 256, k = 1024, a_row = k + KERNEL_PAD;
    float *a = noise(m * a_row, 1), *b = noise(k * n, 1), *c = noise(m * n, 1);
    struct product p = {
        .g = {.m = m, .n = n, .k = k, .a = {a, a_row, 1}, .b = {b, KERNEL_PANEL, k * KERNEL_PANEL},
              .c = {c, n, KERNEL_PANEL}},
        .b = b,
    };
    int usable;
    printf("one product of PrimaryCaps (128 x 1024 x 256), one thread, GFLOP/s\n");
    for (size_t i = 0; (p.kernels = kernels_at(i, &usable)); i++)
        if (usable)
            printf("  %-12s %6.1f\n", p.kernels->level,
                   2e-9 * (double)(m * n * k) / median_seconds(run_product, &p));
    printf("  %-12s %6.1f  (%s)\n", "OpenBLAS",
           2e-9 * (double)(m * n * k) / median_seconds(run_product, &p), openblas_get_corename());
    huge_free(a, m * a_row * sizeof *a);
    huge_free(b, k * n * sizeof *b);
    huge_free(c, m * n * sizeof *c);
}

/* ---- Forward ------------------------------------------------------------- */

struct forward {
    struct capsnet_workspace *ws;
    size_t n;
    const float *images;
    float *lengths, *poses, *pictures;
    size_t classes[MAX_BATCH];
    void (*primary)(struct capsnet_workspace *, size_t, const float *);
};

/* The whole network with the decoder, as the server runs it. */
static void run_forward(void *context)
{
    struct forward *f = context;
    f->primary(f->ws, f->n, f->images);
    digit_forward(f->ws, f->n);
    digit_read(f->ws, f->n, f->lengths, f->poses);
    capsnet_decode(f->ws, f->n, f->poses, f->classes, f->pictures);
}

static void bench_forward(const struct capsnet_model *model, struct forward *f, size_t threads)
{
    static const size_t batches[] = {1, 2, 3, 4, 6, 8, 16, 32, 64, 128};
    struct capsnet_error error;
    if (capsnet_workspace_create(&f->ws, model, MAX_BATCH, threads, &error) != CAPSNET_OK)
        die(&error);
    printf("\nforward pass with decoder, %s, %zu thread%s\n", model->kernels->level, threads,
           threads > 1 ? "s" : "");
    printf("  %5s %14s %14s %12s\n", "batch", "direct ms", "spectral ms", "images/s");
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        f->n = batches[i];
        f->primary = primary_direct;
        double direct = median_seconds(run_forward, f) * 1e3;
        f->primary = primary_spectral;
        double spectral = median_seconds(run_forward, f) * 1e3;
        double best = direct < spectral ? direct : spectral;
        printf("  %5zu %14.3f %14.3f %12.0f\n", f->n, direct, spectral,
               (double)f->n * 1e3 / best);
    }
    capsnet_workspace_free(f->ws);
}

/* ---- A training step ----------------------------------------------------- */

struct training {
    struct forward f;
    struct capsnet_model *model;
    float *grad;
    struct adam adam;
    uint8_t labels[MAX_BATCH];
};

static void run_step(void *context)
{
    struct training *t = context;
    struct batch_result result;
    uint64_t clock = phase_clock();
    primary_prepare(t->model, t->model->spectrum, t->f.ws->pool);
    phase_end(t->f.ws, PHASE_PREPARE, &clock);
    batch_gradient(t->f.ws, MAX_BATCH, t->f.images, t->f.images, t->labels, 0.0005f, t->grad,
                   t->f.lengths, t->f.poses, &result);
    adam_update(t->f.ws, t->model->parameters, t->grad, &t->adam, 1e-4, 0.999);
}

static void bench_training(struct training *t, size_t threads)
{
    struct capsnet_error error;
    if (workspace_create(&t->f.ws, t->model, MAX_BATCH, threads, 1, &error) != CAPSNET_OK)
        die(&error);
    double seconds = median_seconds(run_step, t);
    printf("\ntraining step, batch %d, %zu threads: %.0f images/s, %.2f ms an image, "
           "60,000 images in %.0f s\n",
           MAX_BATCH, threads, MAX_BATCH / seconds, seconds * 1e3 / MAX_BATCH,
           60000 * seconds / MAX_BATCH);
    uint64_t total = 0;
    for (size_t p = 0; p < PHASES; p++)
        total += t->f.ws->phase_ns[p];
    for (size_t p = 0; p < PHASES; p++)
        printf("  %-22s %5.1f %%\n", phase_names[p],
               100 * (double)t->f.ws->phase_ns[p] / (double)total);
    capsnet_workspace_free(t->f.ws);
}

int main(void)
{
    const struct capsnet_shape shape = {28, 28, 1, 10, 9, 256, 9, 2, 32, 8, 16, 3, {512, 1024}};
    struct capsnet_error error;
    struct training t = {0};
    setvbuf(stdout, NULL, _IOLBF, 0);
    openblas_set_num_threads(1);
    bench_products();

    const char *level = getenv("CAPSNETD_CPU_LEVEL");
    if (model_create(&t.model, &shape, level, &error) != CAPSNET_OK)
        die(&error);
    const size_t total = t.model->at.total, bytes = total * sizeof(float);
    for (size_t i = 0; i < total; i++)
        t.model->parameters[i] = 0.02f * ((float)(i * 2654435761u % 65536) / 32768 - 1);
    t.f.images = noise(MAX_BATCH * t.model->at.pixels, 1);
    t.f.lengths = malloc(MAX_BATCH * shape.classes * sizeof(float));
    t.f.poses = malloc(MAX_BATCH * t.model->at.outputs * sizeof(float));
    t.f.pictures = malloc(MAX_BATCH * t.model->at.pixels * sizeof(float));
    t.grad = huge_alloc(bytes);
    t.adam = (struct adam){huge_alloc(bytes), huge_alloc(bytes), huge_alloc(bytes), 0};
    if (!t.f.images || !t.f.lengths || !t.f.poses || !t.f.pictures || !t.grad || !t.adam.m ||
        !t.adam.v || !t.adam.ema) {
        fputs("bench: not enough memory\n", stderr);
        return 1;
    }
    for (size_t i = 0; i < MAX_BATCH; i++)
        t.labels[i] = (uint8_t)(i % shape.classes);

    struct pool *pool = pool_create(1);
    primary_prepare(t.model, t.model->spectrum, pool);
    pool_free(pool);
    const size_t threads = capsnet_cpu_count();
    bench_forward(t.model, &t.f, 1);
    if (threads > 1)
        bench_forward(t.model, &t.f, threads);
    bench_training(&t, threads);
    capsnet_model_free(t.model);
    return 0;
}
