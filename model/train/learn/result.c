/*
 * result.c - the end of a run: what is measured, and the weights file.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "model/layers/layers.h"
#include "model/train/data/holdout_split.h"
#include "model/train/learn/run_state.h"
#include "model/train/measure/calibrate.h"
#include "model/train/measure/evaluate.h"
#include "model/train/measure/evaluate_pairs.h"

/* Rounds the parameters to what the file will hold, so that what is measured
 * is what is shipped. */
static void round_parameters(struct capsnet_model *model, enum safetensors_dtype dtype)
{
    for (size_t i = 0; dtype == SAFETENSORS_F16 && i < model->at.total; i++)
        model->parameters[i] =
            safetensors_f32_from_f16(safetensors_f16_from_f32(model->parameters[i]));
}

/* What is measured by held-out images is measured by the training images as
 * they are when none were held out.  Of a pair the winning capsule draws one digit, so
 * that its picture cannot tell pairs from what the network does not know: there is no
 * threshold then. */
static enum capsnet_status measure_known(struct trainer *t, struct capsnet_error *error)
{
    const struct measured m = trainer_measured(t);
    t->model->known.error_threshold = t->options->error_threshold;
    if (!isnan(t->options->error_threshold) || t->options->pairs)
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

/* What the file says of the test set: "32 of 10000". */
struct test_figures {
    char wrong[64], pairs_wrong[64];
};

/* Measures pairs of the test set as the file will hold the weights. */
static enum capsnet_status measure_test_pairs(struct trainer *t, struct test_figures *figures,
                                              struct capsnet_error *error)
{
    struct pair *pairs;
    struct pairs_evaluation e;
    const size_t n = t->test_pictures.n * PAIRS_PARTNERS;
    enum capsnet_status status =
        pairs_draw(&pairs, &t->test_pictures, NULL, t->test_pictures.n, PAIRS_PARTNERS,
                   t->augmentation.canvas, PAIRS_SEED, error);
    if (status != CAPSNET_OK)
        return status;
    status = evaluate_pairs(&e, t->ws, &t->test_pictures, pairs, n, error);
    free(pairs);
    if (status != CAPSNET_OK)
        return status;
    printf("test pairs wrong %.2f %% (%zu of %zu)\n", 100.0 * (double)e.wrong / (double)n, e.wrong,
           n);
    snprintf(figures->pairs_wrong, sizeof figures->pairs_wrong, "%zu of %zu", e.wrong, n);
    pairs_evaluation_free(&e);
    return CAPSNET_OK;
}

/* Measures the test set, before and after rounding; the figures: after. */
static enum capsnet_status measure_test(struct trainer *t, struct test_figures *figures,
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
    snprintf(figures->wrong, sizeof figures->wrong, "%zu of %zu", rounded.wrong, rounded.n);
    if (t->options->pairs)
        status = measure_test_pairs(t, figures, error);
out:
    evaluation_free(&full);
    evaluation_free(&rounded);
    return status;
}

/* Writes the weights file with all that it says of the run. */
static enum capsnet_status write_weights(const struct trainer *t,
                                         const struct test_figures *test, const char *source,
                                         struct capsnet_error *error)
{
    const struct train_options *o = t->options;
    char epochs[32], seed[32], images[160];
    snprintf(epochs, sizeof epochs, "%zu", o->epochs);
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)o->seed);
    split_describe(images, sizeof images,
                   &(struct split_record){t->n_train, t->n_skipped, t->n_holdout,
                                          o->holdout_writers ? o->holdout : 0, o->seed});
    const struct {
        int is_said;
        struct safetensors_metadata entry;
    } all[] = {
        {1, {"train.command", o->command}},
        {1, {"train.images", images}},
        {1, {"train.epochs", epochs}},
        {1, {"train.seed", seed}},
        {!isnan(t->model->known.error_threshold), {"error_threshold_from", source}},
        {1, {"train.step_precision", trainer_precision_name(t)}},
        {o->test, {"test.wrong", test->wrong}},
        {o->test && o->pairs, {"test.pairs_wrong", test->pairs_wrong}},
    };
    struct safetensors_metadata extra[sizeof all / sizeof *all];
    size_t n = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].is_said)
            extra[n++] = all[i].entry;
    const struct model_block block = {"", t->model->parameters};
    return model_save(t->model, o->out, o->dtype, &block, 1, extra, n, error);
}

enum capsnet_status trainer_finish(struct trainer *t, struct capsnet_error *error)
{
    const struct train_options *o = t->options;
    const int is_measured = isnan(o->error_threshold);
    const char *source = is_measured ? calibrate_source(t->n_holdout) : "given";
    struct test_figures test = {{""}, {""}};
    enum capsnet_status status = leave_bf16(t, error);
    if (status != CAPSNET_OK)
        return status;
    trainer_swap_average(t);
    if (o->test)
        status = measure_test(t, &test, error);
    else
        round_parameters(t->model, o->dtype);
    if (status != CAPSNET_OK)
        return status;
    primary_prepare(t->model, t->ws->pool);
    status = measure_known(t, error);
    if (status == CAPSNET_OK)
        status = write_weights(t, &test, source, error);
    if (status == CAPSNET_OK && is_measured && !isnan(t->model->known.error_threshold))
        calibrate_print(&t->model->known, source);
    if (status == CAPSNET_OK)
        printf("wrote %s\n", o->out);
    if (status == CAPSNET_OK && !o->no_pictures)
        status = run_pictures(t, error);
    return status;
}
