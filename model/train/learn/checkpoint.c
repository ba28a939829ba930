/*
 * checkpoint.c - a run's state in a safetensors file: the weights under their
 * own names, Adam's moments and the moving average beside them, counters and
 * options as metadata.  Floats that must come back bit for bit are written as
 * hexadecimal, the options with digits enough to tell any two apart.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "model/train/learn/run_state.h"

/* Most of options_text(). */
enum { OPTIONS_SIZE = 2048 };
/* Its last item. */
#define PRECISION_ITEM ", step precision "

/* A text without the commas that options_text() puts between its items. */
static const char *item_text(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text ? text : "none");
    for (char *c = out; *c; c++)
        if (*c == ',')
            *c = ';';
    return out;
}

/* What decides the numbers of a run and the names in its file, as "name value, name
 * value".  Where things lie, threads and the like do not. */
static void options_text(const struct trainer *t, char *text, size_t size)
{
    const struct train_options *o = t->options;
    const struct augmentation *g = &t->augmentation;
    const double pairs = o->pairs ? 1 - (double)o->singles : 0;
    char init[128], name[128], canvas[48] = "";
    uLong labels = crc32(0, NULL, 0);
    for (size_t j = 0; j < t->model->shape.classes; j++) {
        const char *label = capsnet_model_label(t->model, j);
        labels = crc32_z(labels, (const Bytef *)label, strlen(label) + 1);
    }
    if (g->canvas)
        snprintf(canvas, sizeof canvas, " on a canvas of %zu", g->canvas);
    snprintf(text, size,
             "held out %zu%s, images %zu, their checksum %08" PRIx32 ", epochs %zu, batch %zu, "
             "seed %" PRIu64 ", repeats %zu, initialisation %d, primary scale %.9g, rate %.9g, "
             "final rate %.9g, warm-up %zu, hold %.9g, decay %.9g, ema %.9g, alpha %.9g, "
             "shift %d, distorted %.9g, rotate %.9g, zoom %.9g, shear %.9g, elastic %.9g, "
             "stroke %.9g, pairs %.9g%s, skip misread %d, teacher %08" PRIx32 ", "
             "its lengths %.9g, its poses %.9g, routing %zu, "
             "init %s, name %s, checksum of the labels %08" PRIx32 ", dtype %s, error threshold %.9g"
             PRECISION_ITEM "%s",
             o->holdout, o->holdout_writers ? " by writer" : "", t->data.n, t->data_checksum,
             o->epochs, o->batch, o->seed, o->repeats, (int)o->init_scheme, (double)o->primary_scale,
             (double)o->rate, (double)o->final_rate, o->warmup, (double)o->hold, (double)o->decay,
             (double)o->ema, (double)o->alpha,
             g->shift, (double)g->distorted, (double)g->rotate, (double)g->zoom, (double)g->shear,
             (double)g->elastic, (double)g->stroke, pairs, canvas, o->skip_misread,
             t->teacher.checksum, (double)o->teacher_lengths, (double)o->teacher_poses,
             o->shape.routing_iterations, item_text(init, sizeof init, o->init),
             item_text(name, sizeof name, o->name), (uint32_t)labels,
             safetensors_dtype_name(o->dtype), (double)o->error_threshold, trainer_precision_name(t));
}

/* Says of two such texts, theirs and ours, what differs first. */
static void name_difference(char *text, size_t size, const char *theirs, const char *ours)
{
    size_t item = 0, i = 0;
    for (; theirs[i] && theirs[i] == ours[i]; i++)
        if (theirs[i] == ',')
            item = i + 2;
    theirs += item;
    ours += item;
    const int their_length = (int)strcspn(theirs, ","), our_length = (int)strcspn(ours, ",");
    snprintf(text, size, "\"%.*s\", not \"%.*s\"", their_length, theirs, our_length, ours);
}

/* The figures of every epoch done, three numbers each; malloc'd, NULL without
 * memory. */
static char *history_text(const struct trainer *t)
{
    enum { MOST = 3 * 32 }; /* "-0x1.fffffffffffffp+1023 " and the like */
    char *text = malloc(t->epoch * MOST + 1), *end = text;
    if (!text)
        return NULL;
    *end = 0;
    for (size_t i = 0; i < t->epoch; i++) {
        const struct epoch_figures *f = &t->history[i];
        end += sprintf(end, "%a %a %a ", f->loss, f->training_error, f->held_out_error);
    }
    return text;
}

/* Whether step, epoch and sums can be those of a run of these options. */
static int counters_fit(const struct trainer *t)
{
    const struct train_options *o = t->options;
    const struct epoch_sums *s = &t->sums;
    if (t->epoch > o->epochs || t->step > t->n_train || (t->epoch == o->epochs && t->step))
        return 0;
    const size_t images = t->step * o->batch;
    return s->images == (images < t->n_train ? images : t->n_train) && s->wrong <= s->images &&
           isfinite(s->loss) && isfinite(s->margin) && isfinite(s->reconstruction);
}

/* Returns whether the text holds t->epoch epochs. */
static int history_read(struct trainer *t, const char *text)
{
    for (size_t i = 0; i < t->epoch; i++) {
        struct epoch_figures *f = &t->history[i];
        int used = 0;
        if (sscanf(text, "%la %la %la %n", &f->loss, &f->training_error, &f->held_out_error,
                   &used) != 3)
            return 0;
        text += used;
    }
    return *text == 0;
}

enum capsnet_status checkpoint_save(const struct trainer *t, struct capsnet_error *error)
{
    char options[OPTIONS_SIZE], state[256];
    options_text(t, options, sizeof options);
    snprintf(state, sizeof state, "%zu %zu %zu %zu %zu %a %a %a", t->epoch, t->step, t->adam.updates,
             t->sums.images, t->sums.wrong, t->sums.loss, t->sums.margin,
             t->sums.reconstruction);
    char *history = history_text(t);
    if (!history) {
        snprintf(error->text, sizeof error->text, "not enough memory for a checkpoint");
        return CAPSNET_ERR_MEMORY;
    }
    const struct safetensors_metadata metadata[] = {
        {"train.options", options}, {"train.state", state}, {"train.history", history}};
    const struct model_block blocks[] = {
        {"", t->model->parameters}, {"adam.m.", t->adam.m}, {"adam.v.", t->adam.v}, {"ema.", t->adam.ema}};
    enum capsnet_status status =
        model_save(t->model, t->options->checkpoint, SAFETENSORS_F32, blocks, t->adam.ema ? 4 : 3,
                   metadata, 3, error);
    free(history);
    return status;
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
    char options[OPTIONS_SIZE];
    options_text(t, options, sizeof options);
    const char *theirs = safetensors_get_metadata(file, "train.options");
    const char *state = safetensors_get_metadata(file, "train.state");
    const char *history = safetensors_get_metadata(file, "train.history");
    struct epoch_sums *s = &t->sums;
    if (!theirs || !state) {
        status = refuse(t, error, "this is no checkpoint of a training run", "");
        goto out;
    }
    if (strcmp(theirs, options) != 0) {
        char difference[256];
        name_difference(difference, sizeof difference, theirs, options);
        status = refuse(t, error, "the checkpoint is of a run with other options: ", difference);
        goto out;
    }
    if (sscanf(state, "%zu %zu %zu %zu %zu %la %la %la", &t->epoch, &t->step, &t->adam.updates,
               &s->images, &s->wrong, &s->loss, &s->margin, &s->reconstruction) != 8 ||
        !counters_fit(t) || !history || !history_read(t, history)) {
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

enum step_precision checkpoint_step_precision(const char *path)
{
    struct safetensors *file;
    struct capsnet_error error;
    if (safetensors_open(&file, path, &error) != CAPSNET_OK)
        return STEP_AUTO;
    const char *options = safetensors_get_metadata(file, "train.options");
    const char *at = options ? strstr(options, PRECISION_ITEM) : NULL;
    enum step_precision precision = STEP_AUTO;
    for (enum step_precision p = STEP_F32; at && p < STEP_PRECISIONS; p++)
        if (strcmp(at + strlen(PRECISION_ITEM), step_precision_names[p]) == 0)
            precision = p;
    safetensors_close(file);
    return precision;
}

enum capsnet_status checkpoint_check_free(const char *path, struct capsnet_error *error)
{
    struct safetensors *file;
    size_t epoch = 0, epochs = 0;
    if (access(path, F_OK) != 0 || safetensors_open(&file, path, error) != CAPSNET_OK)
        return CAPSNET_OK;
    const char *options = safetensors_get_metadata(file, "train.options");
    const char *state = safetensors_get_metadata(file, "train.state");
    const char *at = options ? strstr(options, ", epochs ") : NULL;
    const int unfinished = at && state && sscanf(at, ", epochs %zu", &epochs) == 1 &&
                           sscanf(state, "%zu", &epoch) == 1 && epoch < epochs;
    safetensors_close(file);
    if (!unfinished)
        return CAPSNET_OK;
    snprintf(error->text, sizeof error->text,
             "%.300s holds a run that was stopped after %zu of %zu epochs: --resume goes on with "
             "it; to begin anew, remove it",
             path, epoch, epochs);
    return CAPSNET_ERR_ARGUMENT;
}

void trainer_sum_data(struct trainer *t)
{
    const size_t pixels = t->data.height * t->data.width * t->data.channels;
    uLong sum = crc32_z(0, t->data.pixels, t->data.n * pixels);
    sum = crc32_z(sum, t->data.labels, t->data.n);
    sum = crc32_z(sum, (const Bytef *)t->split, t->data.n * sizeof *t->split);
    t->data_checksum = (uint32_t)sum;
}

uint32_t trainer_fingerprint(const struct trainer *t)
{
    char text[OPTIONS_SIZE + 128];
    options_text(t, text, OPTIONS_SIZE);
    const size_t used = strlen(text);
    snprintf(text + used, sizeof text - used, " %s %zu %zu %zu", capsnet_model_cpu_level(t->model),
             t->epoch, t->step, t->adam.updates);
    uLong sum = crc32(0, (const Bytef *)text, (uInt)strlen(text));
    sum = crc32_z(sum, (const Bytef *)t->model->parameters,
                  t->model->at.total * sizeof *t->model->parameters);
    return (uint32_t)sum;
}
