/*
 * result.c - the end of a run: what is measured, and the weights file.
 */
#include <math.h>
#include <stdio.h>

#include "model/layers/layers.h"
#include "model/train/data/holdout_split.h"
#include "model/train/learn/run_state.h"
#include "model/train/measure/calibrate.h"
#include "model/train/measure/evaluate.h"

/* Rounds the parameters to what the file will hold, so that what is measured
 * is what is shipped. */
static void round_parameters(struct capsnet_model *model, enum safetensors_dtype dtype)
{
    for (size_t i = 0; dtype == SAFETENSORS_F16 && i < model->at.total; i++)
        model->parameters[i] =
            safetensors_f32_from_f16(safetensors_f16_from_f32(model->parameters[i]));
}

/* What is measured by held-out images is measured by the training images as
 * they are when none were held out. */
static enum capsnet_status measure_known(struct trainer *t, struct capsnet_error *error)
{
    const struct measured m = trainer_measured(t);
    t->model->known.error_threshold = t->options->error_threshold;
    if (!isnan(t->options->error_threshold))
        return CAPSNET_OK;
    return calibrate(&t->model->known, t->ws, m.data, m.index, m.n, error);
}

/* What is measured from here on is what the file gives in fp32. */
static enum capsnet_status leave_bf16(struct trainer *t, struct capsnet_error *error)
{
    if (t->precision == PRECISION_F32)
        return CAPSNET_OK;
    enum capsnet_status status = model_set_products(t->model, PRECISION_F32, error);
    return status == CAPSNET_OK ? trainer_make_workspace(t, error) : status;
}

/* Measures the test set, before and after rounding; wrong: after. */
static enum capsnet_status measure_test(struct trainer *t, size_t *wrong, size_t *n,
                                        struct capsnet_error *error)
{
    struct evaluation full = {0}, rounded = {0};
    enum capsnet_status status = evaluate(&full, t->ws, &t->test, NULL, 0, error);
    if (status != CAPSNET_OK)
        goto out;
    round_parameters(t->model, t->options->dtype);
    primary_prepare(t->model, t->ws->pool);
    status = evaluate(&rounded, t->ws, &t->test, NULL, 0, error);
    if (status != CAPSNET_OK)
        goto out;
    size_t changed = 0;
    for (size_t i = 0; i < full.n; i++)
        changed += full.answers[i] != rounded.answers[i];
    printf("test error %.2f %% (%zu of %zu) as stored; storing as %s changed %zu answers\n",
           100.0 * (double)rounded.wrong / (double)rounded.n, rounded.wrong, rounded.n,
           safetensors_dtype_name(t->options->dtype), changed);
    *wrong = rounded.wrong;
    *n = rounded.n;
out:
    evaluation_free(&full);
    evaluation_free(&rounded);
    return status;
}

enum capsnet_status trainer_finish(struct trainer *t, struct capsnet_error *error)
{
    const struct train_options *o = t->options;
    char epochs[32], seed[32], images[160], test[64];
    size_t wrong = 0, n = 0, extras = 6;
    enum capsnet_status status = leave_bf16(t, error);
    if (status != CAPSNET_OK)
        return status;
    trainer_swap_average(t);
    if (o->test)
        status = measure_test(t, &wrong, &n, error);
    else
        round_parameters(t->model, o->dtype);
    if (status != CAPSNET_OK)
        return status;
    primary_prepare(t->model, t->ws->pool);
    status = measure_known(t, error);
    if (status != CAPSNET_OK)
        return status;
    snprintf(epochs, sizeof epochs, "%zu", o->epochs);
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)o->seed);
    split_describe(images, sizeof images,
                   &(struct split_record){t->n_train, t->n_skipped, t->n_holdout,
                                          o->holdout_writers ? o->holdout : 0, o->seed});
    const char *source = isnan(o->error_threshold) ? calibrate_source(t->n_holdout) : "given";
    snprintf(test, sizeof test, "%zu of %zu", wrong, n);
    struct safetensors_metadata extra[7] = {
        {"train.command", o->command}, {"train.images", images}, {"train.epochs", epochs},
        {"train.seed", seed},          {"error_threshold_from", source},
        {"train.step_precision", trainer_precision_name(t)},
    };
    if (o->test)
        extra[extras++] = (struct safetensors_metadata){"test.wrong", test};
    const struct model_block block = {"", t->model->parameters};
    status = model_save(t->model, o->out, o->dtype, &block, 1, extra, extras, error);
    if (status == CAPSNET_OK && isnan(o->error_threshold))
        calibrate_print(&t->model->known, source);
    if (status == CAPSNET_OK)
        printf("wrote %s\n", o->out);
    if (status == CAPSNET_OK && !o->no_pictures)
        status = run_pictures(t, error);
    return status;
}
