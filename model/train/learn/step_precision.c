/*
 * step_precision.c - in what a step multiplies in PrimaryCaps, where the most of it goes.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/train/learn/ranks.h"
#include "model/train/learn/run_state.h"

const char *const step_precision_names[STEP_PRECISIONS] = {"auto", "f32", "bf16"};

/* ---- Measuring ------------------------------------------------------------ */

/* A product of the full network's size, of ones. */
enum { ROWS = 120, DEPTH = 1024, COLUMNS = 256, TURNS = 16 };

/* bf16 has 107 multiplications where fp32 has 90, and pairs its operands anew: it pays
 * from about 1.3 times the rate.  CPUs have about once or twice. */
static const double PAYS = 1.4;

static double gemm_ns(const struct kernels *kernels, float *a, float *b, float *c)
{
    const struct gemm g = {.m = ROWS, .n = COLUMNS, .k = DEPTH, .a = {a, DEPTH, 1},
                           .b = {b, KERNEL_PANEL, DEPTH * KERNEL_PANEL},
                           .c = {c, COLUMNS, KERNEL_PANEL}};
    const uint64_t start = phase_clock();
    kernels->gemm(&g);
    return (double)(phase_clock() - start);
}

static double gemm_bf16_ns(const struct kernels *kernels, float *a, float *b, float *c)
{
    const struct narrow g = {.m = ROWS, .n = COLUMNS, .words = DEPTH / 2, .runs = 1,
                             .a = {.data = a, .width = ROWS, .row = DEPTH * 2},
                             .b = (const uint32_t *)(const void *)b,
                             .b_panel = DEPTH / 2 * KERNEL_PANEL, .c = c, .c_stride = COLUMNS};
    const uint64_t start = phase_clock();
    kernels->gemm_bf16(&g);
    return (double)(phase_clock() - start);
}

/* Both in turns, of each the best: what else runs here slows single turns. */
static enum capsnet_status measure(enum precision *precision, const struct kernels *kernels,
                                   struct capsnet_error *error)
{
    const size_t n_a = ROWS * DEPTH, n_b = DEPTH * COLUMNS, n_c = ROWS * COLUMNS;
    float *a = aligned_alloc(64, (n_a + n_b + n_c) * sizeof *a), *b = a + n_a, *c = b + n_b;
    double f32 = INFINITY, bf16 = INFINITY;
    if (!a)
        return trainer_no_memory(error);
    for (size_t i = 0; i < n_a + n_b; i++)
        a[i] = 1;
    for (size_t turn = 0; turn < TURNS; turn++) {
        f32 = fmin(f32, gemm_ns(kernels, a, b, c));
        bf16 = fmin(bf16, gemm_bf16_ns(kernels, a, b, c));
    }
    free(a);
    *precision = f32 > PAYS * bf16 ? PRECISION_BF16 : PRECISION_F32;
    return CAPSNET_OK;
}

/* ---- Choosing ------------------------------------------------------------- */

enum capsnet_status trainer_choose_precision(struct trainer *t, struct capsnet_error *error)
{
    const struct train_options *o = t->options;
    const struct kernels *kernels = t->model->kernels;
    enum step_precision asked = o->step_precision;
    enum capsnet_status status = CAPSNET_OK;
    t->precision = PRECISION_F32;
    if (asked == STEP_AUTO && o->resume)
        asked = checkpoint_step_precision(o->checkpoint);
    if (asked == STEP_BF16 && !kernels->gemm_bf16) {
        snprintf(error->text, sizeof error->text,
                 "steps in bf16 need a CPU with AVX-512 BF16; this one runs at level %s",
                 kernels->level);
        return CAPSNET_ERR_ARGUMENT;
    }
    if (asked == STEP_BF16)
        t->precision = PRECISION_BF16;
    if (asked == STEP_AUTO && kernels->gemm_bf16)
        status = measure(&t->precision, kernels, error);
    if (status != CAPSNET_OK)
        return status;
    /* All ranks or none. */
    double votes = t->precision == PRECISION_BF16;
    ranks_sum_doubles(&votes, 1);
    if (asked == STEP_AUTO && votes < (double)ranks_count())
        t->precision = PRECISION_F32;
    return t->precision == PRECISION_BF16 ? model_set_products(t->model, t->precision, error)
                                          : CAPSNET_OK;
}

const char *trainer_precision_name(const struct trainer *t)
{
    return step_precision_names[t->precision == PRECISION_BF16 ? STEP_BF16 : STEP_F32];
}
