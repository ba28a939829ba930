/*
 * step_precision.c - in what a step multiplies in PrimaryCaps, where the most of it goes.
 */
#include <stdio.h>

#include "model/network/product_speed.h"
#include "model/train/learn/ranks.h"
#include "model/train/learn/run_state.h"

const char *const step_precision_names[STEP_PRECISIONS] = {"auto", "f32", "bf16"};

/* ---- Measuring ------------------------------------------------------------ */

/* bf16 has 107 multiplications where fp32 has 90, and pairs its operands anew: it pays
 * from about 1.3 times the rate.  CPUs have about once or twice. */
static const double PAYS = 1.4;

static enum capsnet_status measure(enum precision *precision, const struct kernels *kernels,
                                   struct capsnet_error *error)
{
    double ns[PRECISIONS];
    const enum capsnet_status status = product_speed(ns, kernels, error);
    if (status == CAPSNET_OK)
        *precision = ns[PRECISION_F32] > PAYS * ns[PRECISION_BF16] ? PRECISION_BF16
                                                                   : PRECISION_F32;
    return status;
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
