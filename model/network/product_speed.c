/*
 * product_speed.c - see product_speed.h.
 */
#include "model/network/product_speed.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

enum { ROWS = 120, DEPTH = 1024, COLUMNS = 256, TURNS = 16 };

/* Operands of the widest kind, of ones; the others read them as theirs. */
struct operands {
    float *a, *b, *c;
    float scales[COLUMNS];
};

static void multiply_f32(const struct kernels *kernels, const struct operands *o)
{
    const struct gemm g = {.m = ROWS, .n = COLUMNS, .k = DEPTH, .a = {o->a, DEPTH, 1},
                           .b = {o->b, KERNEL_PANEL, DEPTH * KERNEL_PANEL},
                           .c = {o->c, COLUMNS, KERNEL_PANEL}};
    kernels->gemm(&g);
}

static struct narrow narrow_product(const struct operands *o, size_t value_bytes)
{
    const size_t words = DEPTH * value_bytes / 4;
    return (struct narrow){.m = ROWS, .n = COLUMNS, .words = words, .runs = 1,
                           .a = {.data = o->a, .width = ROWS, .row = DEPTH * value_bytes},
                           .b = (const uint32_t *)(const void *)o->b,
                           .b_panel = words * KERNEL_PANEL, .row_scales = o->scales,
                           .scales = o->scales, .c = o->c, .c_stride = COLUMNS};
}

static void multiply_bf16(const struct kernels *kernels, const struct operands *o)
{
    const struct narrow g = narrow_product(o, 2);
    kernels->gemm_bf16(&g);
}

static void multiply_int8(const struct kernels *kernels, const struct operands *o)
{
    const struct narrow g = narrow_product(o, 1);
    kernels->gemm_int8(&g);
}

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

/* All in turns, of each the best: what else runs here slows single turns. */
enum capsnet_status product_speed(double ns[PRECISIONS], const struct kernels *kernels,
                                  struct capsnet_error *error)
{
    void (*const multiply[PRECISIONS])(const struct kernels *, const struct operands *) = {
        multiply_f32, kernels->gemm_bf16 ? multiply_bf16 : NULL,
        kernels->gemm_int8 ? multiply_int8 : NULL};
    const size_t n_a = ROWS * DEPTH, n_b = DEPTH * COLUMNS, n_c = ROWS * COLUMNS;
    struct operands o = {.a = aligned_alloc(64, (n_a + n_b + n_c) * sizeof *o.a)};
    if (!o.a)
        return model_no_memory(error);
    o.b = o.a + n_a;
    o.c = o.b + n_b;
    for (size_t i = 0; i < n_a + n_b; i++)
        o.a[i] = 1;
    for (size_t j = 0; j < COLUMNS; j++)
        o.scales[j] = 1;
    for (size_t p = 0; p < PRECISIONS; p++)
        ns[p] = INFINITY;
    for (size_t turn = 0; turn < TURNS; turn++)
        for (size_t p = 0; p < PRECISIONS; p++)
            if (multiply[p]) {
                const double start = now_ns();
                multiply[p](kernels, &o);
                ns[p] = fmin(ns[p], now_ns() - start);
            }
    free(o.a);
    return CAPSNET_OK;
}
