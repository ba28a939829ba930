/*
 * checkpoint.c - a run's state in a safetensors file: the weights under their
 * own names, Adam's moments and the moving average beside them, counters and
 * options as metadata.  Floats that must come back bit for bit are written as
 * hexadecimal.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trainer.h"

/* What decides the numbers of a run.  Paths, threads and the like do not. */
static void options_text(const struct trainer *t, char *text, size_t size)
{
    const struct train_options *o = t->options;
    const struct augmentation *g = &o->augmentation;
    snprintf(text, size,
             "images %zu, held out %zu, epochs %zu, batch %zu, seed %" PRIu64 ", rate %a to %a, "
             "warm-up %zu, ema %a, alpha %a, shift %d, rotate %a, zoom %a, shear %a, elastic %a",
             t->data.n, o->holdout, o->epochs, o->batch, o->seed, (double)o->rate,
             (double)o->final_rate, o->warmup, (double)o->ema, (double)o->alpha, g->shift,
             (double)g->rotate, (double)g->zoom, (double)g->shear, (double)g->elastic);
}

enum capsnet_status checkpoint_save(const struct trainer *t, struct capsnet_error *error)
{
    char options[512], state[256];
    options_text(t, options, sizeof options);
    snprintf(state, sizeof state, "%zu %zu %zu %zu %zu %a %a %a", t->epoch, t->step, t->adam.updates,
             t->sums.images, t->sums.wrong, t->sums.loss, t->sums.margin,
             t->sums.reconstruction);
    const struct safetensors_metadata metadata[] = {{"train.options", options},
                                                    {"train.state", state}};
    const struct model_block blocks[] = {
        {"", t->model->parameters}, {"adam.m.", t->adam.m}, {"adam.v.", t->adam.v}, {"ema.", t->adam.ema}};
    return model_save(t->model, t->options->checkpoint, SAFETENSORS_F32, blocks, t->adam.ema ? 4 : 3,
                      metadata, 2, error);
}

static enum capsnet_status refuse(const struct trainer *t, struct capsnet_error *error,
                                  const char *why, const char *what)
{
    snprintf(error->text, sizeof error->text, "%.100s: %.150s%.250s", t->options->checkpoint, why,
             what);
    return CAPSNET_ERR_FORMAT;
}

enum capsnet_status checkpoint_load(struct trainer *t, struct capsnet_error *error)
{
    struct safetensors *file;
    enum capsnet_status status = safetensors_open(&file, t->options->checkpoint, error);
    if (status != CAPSNET_OK)
        return status;
    char options[512];
    options_text(t, options, sizeof options);
    const char *theirs = safetensors_get_metadata(file, "train.options");
    const char *state = safetensors_get_metadata(file, "train.state");
    struct epoch_sums *s = &t->sums;
    if (!theirs || !state) {
        status = refuse(t, error, "this is no checkpoint of a training run", "");
        goto out;
    }
    if (strcmp(theirs, options) != 0) {
        status = refuse(t, error, "the checkpoint is of a run with other options: ", theirs);
        goto out;
    }
    if (sscanf(state, "%zu %zu %zu %zu %zu %la %la %la", &t->epoch, &t->step, &t->adam.updates,
               &s->images, &s->wrong, &s->loss, &s->margin, &s->reconstruction) != 8) {
        status = refuse(t, error, "the checkpoint's counters cannot be read", "");
        goto out;
    }
    const struct {
        const char *prefix;
        float *flat;
    } blocks[] = {{"", t->model->parameters}, {"adam.m.", t->adam.m}, {"adam.v.", t->adam.v},
                  {"ema.", t->adam.ema}};
    for (size_t i = 0; i < (t->adam.ema ? 4 : 3); i++) {
        struct capsnet_error inner;
        status = model_import(t->model, file, blocks[i].prefix, blocks[i].flat, &inner);
        if (status != CAPSNET_OK) {
            (void)refuse(t, error, "", inner.text);
            goto out;
        }
    }
out:
    safetensors_close(file);
    return status;
}
