/*
 * infer.c - how fast the forward pass is: the matrix kernels beside OpenBLAS,
 * and the network by convolution, batch and threads.  OpenBLAS is the
 * yardstick only: the programs do not use it.
 */
#include <cblas.h>
#include <stdio.h>

#include "bench.h"

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
    float *a = bench_noise(m * a_row, 1), *b = bench_noise(k * n, 1), *c = bench_noise(m * n, 1);
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
                   2e-9 * (double)(m * n * k) / bench_time(run_product, &p));
    printf("  %-12s %6.1f  (%s)\n", "OpenBLAS",
           2e-9 * (double)(m * n * k) / bench_time(run_product, &p), openblas_get_corename());
    huge_free(a, m * a_row * sizeof *a);
    huge_free(b, k * n * sizeof *b);
    huge_free(c, m * n * sizeof *c);
}

/* ---- Forward ------------------------------------------------------------- */

struct forward {
    struct bench *b;
    size_t n;
    size_t classes[BENCH_BATCH];
    void (*primary)(struct capsnet_workspace *, size_t, const float *);
};

/* The whole network with the decoder, as the server runs it. */
static void run_forward(void *context)
{
    struct forward *f = context;
    struct bench *b = f->b;
    f->primary(b->ws, f->n, b->images);
    digit_forward(b->ws, f->n);
    digit_read(b->ws, f->n, b->lengths, b->poses);
    capsnet_decode(b->ws, f->n, b->poses, f->classes, b->pictures);
}

static void bench_forward(struct bench *b, size_t threads)
{
    static const size_t batches[] = {1, 2, 3, 4, 6, 8, 16, 32, 64, 128};
    struct forward f = {.b = b};
    bench_workspace(b, threads, 0);
    printf("\nforward pass with decoder, %s, %zu thread%s\n", b->model->kernels->level, threads,
           threads > 1 ? "s" : "");
    printf("  %5s %14s %14s %12s\n", "batch", "direct ms", "spectral ms", "images/s");
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        f.n = batches[i];
        f.primary = primary_direct;
        double direct = bench_time(run_forward, &f) * 1e3;
        f.primary = primary_spectral;
        double spectral = bench_time(run_forward, &f) * 1e3;
        double best = direct < spectral ? direct : spectral;
        printf("  %5zu %14.3f %14.3f %12.0f\n", f.n, direct, spectral, (double)f.n * 1e3 / best);
    }
    capsnet_workspace_free(b->ws);
}

int main(void)
{
    struct bench b;
    setvbuf(stdout, NULL, _IOLBF, 0);
    openblas_set_num_threads(1);
    bench_products();
    bench_open(&b);
    struct pool *pool = pool_create(1);
    if (!pool)
        bench_die("not enough memory");
    primary_prepare(b.model, b.model->spectrum, pool);
    pool_free(pool);
    const size_t threads = capsnet_cpu_count();
    bench_forward(&b, 1);
    if (threads > 1)
        bench_forward(&b, threads);
    bench_close(&b);
    return 0;
}
