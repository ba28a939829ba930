/*
 * set_up.c - the state of a run before its first step: data, memory, weights or
 * a checkpoint; and its end.  Whatever is wrong with options, files or images
 * shows here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/layers/layers.h"
#include "model/machine/huge_pages.h"
#include "model/train/data/dataset_load.h"
#include "model/train/data/holdout_split.h"
#include "model/train/learn/ranks.h"
#include "model/train/learn/run_state.h"
#include "model/train/measure/evaluate.h"
#include "model/train/output/output_check.h"

enum capsnet_status trainer_no_memory(struct capsnet_error *error)
{
    snprintf(error->text, sizeof error->text, "not enough memory for training");
    return CAPSNET_ERR_MEMORY;
}

/* Holds out writers; n_all: images before --limit, each of which has a line. */
static enum capsnet_status split_by_writer(struct trainer *t, size_t n_all,
                                           struct capsnet_error *error)
{
    const struct train_options *o = t->options;
    struct writers writers;
    enum capsnet_status status = writers_load(&writers, o->holdout_writers, n_all, error);
    if (status != CAPSNET_OK)
        return status;
    status = split_writers(&t->split, &t->n_holdout, &writers, t->data.n, o->holdout, o->seed,
                           error);
    writers_free(&writers);
    return status;
}

static enum capsnet_status load_data(struct trainer *t, struct capsnet_error *error)
{
    const struct train_options *o = t->options;
    enum capsnet_status status = dataset_load(&t->data, o->data, "train", NULL, error);
    if (status != CAPSNET_OK)
        return status;
    const size_t n_all = t->data.n;
    if (o->limit && o->limit < t->data.n)
        t->data.n = o->limit;
    if (o->holdout >= t->data.n) {
        snprintf(error->text, sizeof error->text,
                 "--holdout %zu leaves none of the %zu training images", o->holdout, t->data.n);
        return CAPSNET_ERR_ARGUMENT;
    }
    t->n_holdout = o->holdout;
    if (o->holdout_writers)
        status = split_by_writer(t, n_all, error);
    else
        t->split = split_images(t->data.n, t->n_holdout);
    if (status != CAPSNET_OK)
        return status;
    t->n_train = t->data.n - t->n_holdout;
    t->order = malloc(t->n_train * sizeof *t->order);
    t->shuffled = malloc(t->n_train * sizeof *t->shuffled);
    if (!t->split || !t->order || !t->shuffled)
        return trainer_no_memory(error);
    return CAPSNET_OK;
}

/* What cannot be written shows now, not after hours of training. */
static enum capsnet_status check_outputs(const struct train_options *o,
                                         struct capsnet_error *error)
{
    if (ranks_rank() != 0) /* the first process alone writes */
        return CAPSNET_OK;
    char *curve = run_picture_path(o->out, RUN_CURVE), *sheet = run_picture_path(o->out, RUN_SHEET);
    const struct output outputs[] = {
        {"--init", o->init, OUTPUT_INPUT},
        {"--teacher", o->teacher, OUTPUT_INPUT},
        {"--out", o->out, OUTPUT_REPLACED},
        {"--checkpoint", o->checkpoint, OUTPUT_REPLACED},
        {"--log", o->log, OUTPUT_APPENDED},
        {"the curve of --out", o->no_pictures ? NULL : curve, OUTPUT_TRUNCATED},
        {"the sheet of --out", o->no_pictures ? NULL : sheet, OUTPUT_TRUNCATED},
    };
    enum capsnet_status status = CAPSNET_OK;
    if (!curve || !sheet)
        status = trainer_no_memory(error);
    if (status == CAPSNET_OK)
        status = outputs_check(outputs, sizeof outputs / sizeof *outputs, error);
    if (status == CAPSNET_OK && !o->resume)
        status = checkpoint_check_free(o->checkpoint, error);
    free(curve);
    free(sheet);
    return status;
}

/* Moves the training images that the weights misread behind those that remain.
 * In a network that was trained on distorted images, and so learned few by
 * heart, most of them are mislabelled; and as the loss falls, what is left of
 * it is theirs (on learning with noisy labels: Northcutt, Jiang, Chuang, JAIR
 * 2021). */
static enum capsnet_status skip_misread(struct trainer *t, struct capsnet_error *error)
{
    struct evaluation e;
    struct dataset placed = {0};
    uint32_t *misread = t->order; /* not in use yet */
    enum capsnet_status status = CAPSNET_OK;
    primary_prepare(t->model, t->ws->pool);
    if (t->augmentation.canvas)
        status = trainer_place(t, &placed, &t->data, t->split, t->n_train, error);
    if (status == CAPSNET_OK)
        status = placed.n ? evaluate(&e, t->ws, &placed, NULL, 0, error)
                          : evaluate(&e, t->ws, &t->data, t->split, t->n_train, error);
    dataset_free(&placed);
    if (status != CAPSNET_OK)
        return status;
    size_t kept = 0;
    for (size_t i = 0; i < t->n_train; i++) {
        const uint32_t image = t->split[i];
        if (e.answers[i] == t->data.labels[image])
            t->split[kept++] = image;
        else
            misread[t->n_skipped++] = image;
    }
    t->n_train = kept;
    memcpy(t->split + kept, misread, t->n_skipped * sizeof *misread);
    evaluation_free(&e);
    if (kept)
        return CAPSNET_OK;
    snprintf(error->text, sizeof error->text,
             "%.200s reads none of the training images right: --skip-misread leaves none",
             t->options->init);
    return CAPSNET_ERR_ARGUMENT;
}

/* A capsule without images would learn nothing but to be silent; the data set
 * has some of every class, but these may not be trained on. */
static enum capsnet_status check_classes(const struct trainer *t, struct capsnet_error *error)
{
    size_t count[DATASET_MAX_CLASSES] = {0};
    for (size_t i = 0; i < t->n_train; i++)
        count[t->data.labels[t->split[i]]]++;
    for (size_t j = 0; j < t->data.classes; j++)
        if (!count[j]) {
            snprintf(error->text, sizeof error->text,
                     "of the %zu images that --limit, --holdout and --skip-misread leave to train "
                     "on, none is of class \"%.100s\"",
                     t->n_train, capsnet_model_label(t->model, j));
            return CAPSNET_ERR_ARGUMENT;
        }
    return CAPSNET_OK;
}

/* The most images of a batch that are this rank's. */
static size_t batch_share(const struct train_options *o)
{
    return (o->batch + ranks_count() - 1) / ranks_count();
}

enum capsnet_status trainer_make_workspace(struct trainer *t, struct capsnet_error *error)
{
    capsnet_workspace_free(t->ws);
    t->ws = NULL;
    return workspace_create(&t->ws, t->model, batch_share(t->options), t->options->threads, 1,
                            error);
}

/* Sets the augmentation, and in shape the size of what it makes. */
static enum capsnet_status choose_canvas(struct trainer *t, struct capsnet_shape *shape,
                                         struct capsnet_error *error)
{
    struct augmentation *g = &t->augmentation;
    *g = t->options->augmentation;
    shape->height = t->data.height;
    shape->width = t->data.width;
    if (!g->canvas && t->options->pairs)
        g->canvas = pairs_canvas(&t->data);
    if (!g->canvas)
        return CAPSNET_OK;
    if (g->canvas < shape->height || g->canvas < shape->width) {
        snprintf(error->text, sizeof error->text,
                 "--canvas %zu is smaller than the images, which are %zu x %zu", g->canvas,
                 shape->height, shape->width);
        return CAPSNET_ERR_ARGUMENT;
    }
    shape->height = shape->width = g->canvas;
    return CAPSNET_OK;
}

/* The arrays of a batch. */
static int make_batch(struct trainer *t)
{
    const size_t n = t->options->batch, pixels = t->model->at.pixels;
    t->images = malloc(n * pixels * sizeof(float));
    t->targets = malloc(n * pixels * sizeof(float));
    t->scratch = malloc(t->options->threads * pixels * sizeof(float));
    t->lengths = malloc(n * t->model->shape.classes * sizeof(float));
    t->poses = malloc(n * t->model->at.outputs * sizeof(float));
    t->labels = malloc(n);
    if (t->options->pairs) {
        t->other_targets = malloc(n * pixels * sizeof(float));
        t->others = malloc(n);
    }
    return t->images && t->targets && t->scratch && t->lengths && t->poses && t->labels &&
           (!t->options->pairs || (t->other_targets && t->others));
}

enum capsnet_status trainer_set_up(struct trainer *t, struct capsnet_error *error)
{
    const struct train_options *o = t->options;
    struct capsnet_shape shape = o->shape;
    enum capsnet_status status = check_outputs(o, error);
    if (status == CAPSNET_OK)
        status = load_data(t, error);
    if (status == CAPSNET_OK)
        status = choose_canvas(t, &shape, error);
    if (status != CAPSNET_OK)
        return status;
    shape.channels = t->data.channels;
    shape.classes = t->data.classes;
    const struct capsnet_options options = {o->cpu_level, "f32", "full", NULL};
    status = model_create(&t->model, &shape, &options, error);
    if (status != CAPSNET_OK)
        return status;
    t->model->frame = (struct capsnet_frame){t->data.height, t->data.width, o->pairs ? 2 : 1};
    status = trainer_set_names(t, error);
    if (status == CAPSNET_OK)
        status = trainer_choose_precision(t, error);
    if (status == CAPSNET_OK)
        status = trainer_make_workspace(t, error);
    if (status != CAPSNET_OK)
        return status;
    const size_t bytes = t->model->at.total * sizeof(float);
    t->grad = huge_alloc(bytes);
    t->adam.m = huge_alloc(bytes);
    t->adam.v = huge_alloc(bytes);
    t->adam.ema = o->ema > 0 ? huge_alloc(bytes) : NULL;
    t->history = calloc(o->epochs, sizeof *t->history);
    if (!t->grad || !t->adam.m || !t->adam.v || (o->ema > 0 && !t->adam.ema) ||
        !make_batch(t) || !t->history)
        return trainer_no_memory(error);
    if (o->teacher)
        status = teacher_load(&t->teacher, o->teacher, o->cpu_level, trainer_precision_name(t),
                              &shape, o->teacher_poses > 0, batch_share(o), o->threads, error);
    if (status == CAPSNET_OK && (!o->resume || o->skip_misread))
        status = trainer_init_weights(t, error);
    if (status == CAPSNET_OK && o->skip_misread)
        status = skip_misread(t, error);
    if (status == CAPSNET_OK)
        status = check_classes(t, error);
    if (status == CAPSNET_OK)
        status = trainer_place_measured(t, error);
    if (status != CAPSNET_OK)
        return status;
    trainer_sum_data(t);
    return o->resume ? checkpoint_load(t, error) : CAPSNET_OK;
}

void trainer_tear_down(struct trainer *t)
{
    const size_t bytes = t->model ? t->model->at.total * sizeof(float) : 0;
    huge_free(t->grad, bytes);
    huge_free(t->adam.m, bytes);
    huge_free(t->adam.v, bytes);
    huge_free(t->adam.ema, bytes);
    free(t->images);
    free(t->targets);
    free(t->scratch);
    free(t->lengths);
    free(t->poses);
    free(t->labels);
    free(t->other_targets);
    free(t->others);
    free(t->held_pairs);
    free(t->split);
    free(t->order);
    free(t->shuffled);
    free(t->history);
    dataset_free(&t->data);
    dataset_free(&t->test);
    dataset_free(&t->test_pictures);
    dataset_free(&t->placed);
    teacher_free(&t->teacher);
    capsnet_workspace_free(t->ws);
    capsnet_model_free(t->model);
}
