/*
 * train.c - the training loop: Adam on the margin and reconstruction losses
 * (sections 4 and 4.1 of the paper) over augmented images.
 *
 * Everything random is a function of the seed, the epoch and the image
 * (random.h), every sum has a fixed order: the same options give the same
 * file, whatever the number of threads, broken off and resumed or not.
 */
#include "model/train/learn/train.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/train/measure/calibrate.h"
#include "model/train/measure/evaluate.h"
#include "model/train/output_check.h"
#include "model/train/learn/progress.h"
#include "model/train/learn/ranks.h"
#include "model/train/data/holdout_split.h"
#include "model/train/learn/run_state.h"

static volatile sig_atomic_t stop_signal;

static void on_signal(int signal_number)
{
    stop_signal = signal_number;
}

/* ---- Set-up -------------------------------------------------------------- */

/* Glorot and Bengio 2010: uniform, variance 2 / (in + out). */
static void init_uniform(float *w, size_t count, size_t in, size_t out, struct random *r)
{
    float limit = sqrtf(6.0f / (float)(in + out));
    for (size_t i = 0; i < count; i++)
        w[i] = random_uniform(r, -limit, limit);
}

/* Rows of width values, row floats apart: the padding stays zero. */
static void init_rows(float *w, size_t rows, size_t width, size_t row, size_t in, size_t out,
                      struct random *r)
{
    for (size_t i = 0; i < rows; i++)
        init_uniform(w + i * row, width, in, out, r);
}

static void init_parameters(struct capsnet_model *model, uint64_t seed)
{
    const struct capsnet_shape *shape = &model->shape;
    const struct layout *at = &model->at;
    float *w = model->parameters;
    struct random r = random_stream(seed, RANDOM_WEIGHTS, 0, 0);
    const size_t taps1 = shape->conv1_kernel * shape->conv1_kernel;
    const size_t taps2 = shape->primary_kernel * shape->primary_kernel;
    init_rows(w + at->conv1_weight, at->conv1_taps, shape->conv1_channels, at->conv1_row,
              at->conv1_taps, taps1 * shape->conv1_channels, &r);
    for (size_t o = 0; o < at->primary_channels; o += KERNEL_PANEL)
        for (size_t tap = 0; tap < taps2; tap++) {
            size_t left = at->primary_channels - o;
            init_rows(w + at->primary_weight +
                          (o / KERNEL_PANEL * taps2 + tap) * at->conv1_row * KERNEL_PANEL,
                      shape->conv1_channels, left < KERNEL_PANEL ? left : KERNEL_PANEL,
                      KERNEL_PANEL, taps2 * shape->conv1_channels, taps2 * at->primary_channels,
                      &r);
        }
    for (size_t i = 0; i < at->capsules * at->outputs * shape->primary_dims; i++)
        w[at->digit_weight + i] = 0.1f * random_normal(&r); /* as the authors' code */
    for (size_t l = 0; l < 3; l++)
        init_rows(w + at->decoder_weight[l], at->in[l], at->out[l], at->out_row[l], at->in[l],
                  at->out[l], &r);
}

static enum capsnet_status no_memory(struct capsnet_error *error)
{
    snprintf(error->text, sizeof error->text, "not enough memory for training");
    return CAPSNET_ERR_MEMORY;
}

static enum capsnet_status load_data(struct trainer *t, struct capsnet_error *error)
{
    const struct train_options *o = t->options;
    enum capsnet_status status = dataset_load(&t->data, o->data, "train", NULL, error);
    if (status != CAPSNET_OK)
        return status;
    if (o->limit && o->limit < t->data.n)
        t->data.n = o->limit;
    if (o->holdout >= t->data.n) {
        snprintf(error->text, sizeof error->text,
                 "--holdout %zu leaves none of the %zu training images", o->holdout, t->data.n);
        return CAPSNET_ERR_ARGUMENT;
    }
    t->n_holdout = o->holdout;
    t->n_train = t->data.n - o->holdout;
    t->split = split_images(t->data.n, t->n_holdout);
    t->order = malloc(t->n_train * sizeof *t->order);
    if (!t->split || !t->order)
        return no_memory(error);
    return CAPSNET_OK;
}

/* "a,b,c" into the model's labels. */
static enum capsnet_status set_labels(struct capsnet_model *model, const char *labels,
                                      struct capsnet_error *error)
{
    for (size_t j = 0; j < model->shape.classes; j++) {
        size_t length = strcspn(labels, ",");
        char *label = strndup(labels, length);
        if (!label)
            return no_memory(error);
        free(model->labels[j]);
        model->labels[j] = label;
        labels += length;
        int last = j + 1 == model->shape.classes;
        if (length == 0 || *labels != (last ? 0 : ',')) {
            snprintf(error->text, sizeof error->text,
                     "--labels must name %zu classes, separated by commas", model->shape.classes);
            return CAPSNET_ERR_ARGUMENT;
        }
        labels += !last;
    }
    return CAPSNET_OK;
}

/* By the folders' names a later set's classes are told, or by their order when the
 * model has none of them (dataset.c): labels that are names of other folders would
 * be taken for those. */
static enum capsnet_status check_labels(const struct trainer *t, struct capsnet_error *error)
{
    const char *reused = NULL;
    size_t kept = 0;
    for (size_t j = 0; j < t->data.classes; j++)
        for (size_t k = 0; k < j; k++)
            if (strcmp(capsnet_model_label(t->model, j), capsnet_model_label(t->model, k)) == 0) {
                snprintf(error->text, sizeof error->text, "--labels: \"%.100s\" stands twice",
                         capsnet_model_label(t->model, j));
                return CAPSNET_ERR_ARGUMENT;
            }
    for (size_t j = 0; t->data.names && j < t->data.classes; j++) {
        const char *label = capsnet_model_label(t->model, j);
        kept += strcmp(label, t->data.names[j]) == 0;
        for (size_t k = 0; k < t->data.classes; k++)
            reused = strcmp(label, t->data.names[k]) == 0 ? label : reused;
    }
    if (!reused || kept == t->data.classes)
        return CAPSNET_OK;
    snprintf(error->text, sizeof error->text,
             "--labels: \"%.100s\" is the name of a folder of images already; call all classes "
             "otherwise, or rename the folders",
             reused);
    return CAPSNET_ERR_ARGUMENT;
}

static int has_control(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return 1;
    return 0;
}

/* The weights file holds these texts, and must be UTF-8; the names are printed,
 * too. */
static enum capsnet_status check_text(const struct trainer *t, struct capsnet_error *error)
{
    const char *bad = safetensors_is_utf8(t->options->command) ? NULL : "the command line";
    int control = has_control(t->options->name);
    for (size_t j = 0; !bad && j < t->model->shape.classes; j++) {
        control |= has_control(t->model->labels[j]);
        if (!safetensors_is_utf8(t->model->labels[j]))
            bad = t->model->labels[j];
    }
    if (!bad && !control)
        return CAPSNET_OK;
    if (bad)
        snprintf(error->text, sizeof error->text,
                 "%.200s: this is not UTF-8, as all text in a weights file must be", bad);
    else
        snprintf(error->text, sizeof error->text,
                 "the name of the model or of a class holds a control character, such as a line "
                 "break");
    return CAPSNET_ERR_ARGUMENT;
}

/* Names, from the command line or the data, and the test set, whose classes
 * they tell apart: what is wrong with any shows before the training. */
static enum capsnet_status set_names(struct trainer *t, struct capsnet_error *error)
{
    const struct train_options *o = t->options;
    struct capsnet_model *model = t->model;
    enum capsnet_status status = CAPSNET_OK;
    free(model->name);
    model->name = strdup(o->name);
    if (!model->name)
        return no_memory(error);
    for (size_t j = 0; t->data.names && j < model->shape.classes; j++) {
        free(model->labels[j]);
        model->labels[j] = strdup(t->data.names[j]);
        if (!model->labels[j])
            return no_memory(error);
    }
    if (o->test)
        status = dataset_load(&t->test, o->data, "t10k", model, error);
    if (status == CAPSNET_OK && o->test)
        status = evaluate_check(&model->shape, &t->test, error);
    if (status == CAPSNET_OK && o->labels)
        status = set_labels(model, o->labels, error);
    if (status == CAPSNET_OK && o->labels)
        status = check_labels(t, error);
    return status == CAPSNET_OK ? check_text(t, error) : status;
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
        {"--out", o->out, OUTPUT_REPLACED},
        {"--checkpoint", o->checkpoint, OUTPUT_REPLACED},
        {"--log", o->log, OUTPUT_APPENDED},
        {"the curve of --out", o->no_pictures ? NULL : curve, OUTPUT_TRUNCATED},
        {"the sheet of --out", o->no_pictures ? NULL : sheet, OUTPUT_TRUNCATED},
    };
    enum capsnet_status status = CAPSNET_OK;
    if (!curve || !sheet)
        status = no_memory(error);
    if (status == CAPSNET_OK)
        status = outputs_check(outputs, sizeof outputs / sizeof *outputs, error);
    if (status == CAPSNET_OK && !o->resume)
        status = checkpoint_check_free(o->checkpoint, error);
    free(curve);
    free(sheet);
    return status;
}

/* The weights that a run begins with: random, or those of a file; of a checkpoint
 * their moving average, where it has one. */
static enum capsnet_status set_parameters(struct trainer *t, struct capsnet_error *error)
{
    const struct train_options *o = t->options;
    struct capsnet_model *model = t->model;
    if (o->init) {
        struct safetensors *file;
        enum capsnet_status status = safetensors_open(&file, o->init, error);
        if (status != CAPSNET_OK)
            return status;
        struct capsnet_error inner;
        const char *prefix = safetensors_find(file, "ema.conv1.weight") ? "ema." : "";
        status = model_import(model, file, prefix, model->parameters, &inner);
        safetensors_close(file);
        if (status != CAPSNET_OK) {
            snprintf(error->text, sizeof error->text, "%.150s: %.250s%s", o->init, inner.text,
                     status == CAPSNET_ERR_SHAPE ? " as the options and the images ask" : "");
            return status;
        }
    } else {
        init_parameters(model, o->seed);
    }
    if (t->adam.ema)
        memcpy(t->adam.ema, model->parameters, model->at.total * sizeof(float));
    return CAPSNET_OK;
}

/* Moves the training images that the weights misread behind those that remain.
 * In a network that was trained on distorted images, and so learned few by
 * heart, most of them are mislabelled; and as the loss falls, what is left of
 * it is theirs (on learning with noisy labels: Northcutt, Jiang, Chuang, JAIR
 * 2021). */
static enum capsnet_status skip_misread(struct trainer *t, struct capsnet_error *error)
{
    struct evaluation e;
    uint32_t *misread = t->order; /* not in use yet */
    primary_prepare(t->model, t->model->spectrum, t->ws->pool);
    enum capsnet_status status = evaluate(&e, t->ws, &t->data, t->split, t->n_train, error);
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

static enum capsnet_status set_up(struct trainer *t, struct capsnet_error *error)
{
    const struct train_options *o = t->options;
    enum capsnet_status status = check_outputs(o, error);
    if (status == CAPSNET_OK)
        status = load_data(t, error);
    if (status != CAPSNET_OK)
        return status;
    struct capsnet_shape shape = o->shape;
    shape.height = t->data.height;
    shape.width = t->data.width;
    shape.channels = t->data.channels;
    shape.classes = t->data.classes;
    const struct capsnet_options options = {o->cpu_level, "f32", "full"};
    status = model_create(&t->model, &shape, &options, error);
    if (status != CAPSNET_OK)
        return status;
    status = set_names(t, error);
    if (status != CAPSNET_OK)
        return status;
    const size_t share = (o->batch + ranks_count() - 1) / ranks_count();
    status = workspace_create(&t->ws, t->model, share, o->threads, 1, error);
    if (status != CAPSNET_OK)
        return status;
    const struct layout *at = &t->model->at;
    const size_t bytes = at->total * sizeof(float);
    t->grad = huge_alloc(bytes);
    t->adam.m = huge_alloc(bytes);
    t->adam.v = huge_alloc(bytes);
    t->adam.ema = o->ema > 0 ? huge_alloc(bytes) : NULL;
    t->images = malloc(o->batch * at->pixels * sizeof(float));
    t->targets = malloc(o->batch * at->pixels * sizeof(float));
    t->scratch = malloc(o->threads * 2 * at->pixels * sizeof(float));
    t->lengths = malloc(o->batch * shape.classes * sizeof(float));
    t->poses = malloc(o->batch * at->outputs * sizeof(float));
    t->labels = malloc(o->batch);
    t->others = malloc(o->batch);
    t->history = calloc(o->epochs, sizeof *t->history);
    if (!t->grad || !t->adam.m || !t->adam.v || (o->ema > 0 && !t->adam.ema) || !t->images ||
        !t->targets || !t->scratch || !t->lengths || !t->poses || !t->labels || !t->others ||
        !t->history)
        return no_memory(error);
    if (!o->resume || o->skip_misread)
        status = set_parameters(t, error);
    if (status == CAPSNET_OK && o->skip_misread)
        status = skip_misread(t, error);
    if (status == CAPSNET_OK)
        status = check_classes(t, error);
    if (status != CAPSNET_OK)
        return status;
    trainer_sum_data(t);
    return o->resume ? checkpoint_load(t, error) : CAPSNET_OK;
}

static void tear_down(struct trainer *t)
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
    free(t->others);
    free(t->split);
    free(t->order);
    free(t->history);
    dataset_free(&t->data);
    dataset_free(&t->test);
    capsnet_workspace_free(t->ws);
    capsnet_model_free(t->model);
}

/* ---- One step ------------------------------------------------------------ */

static size_t steps_per_epoch(const struct trainer *t)
{
    return (t->n_train + t->options->batch - 1) / t->options->batch;
}

/* The image that lies on image from: one of another class, of the training
 * images too, or from itself when it stays alone. */
static uint32_t draw_partner(const struct trainer *t, uint32_t from)
{
    struct random r = random_stream(t->options->seed, RANDOM_PAIR, t->epoch, from);
    if (random_uniform(&r, 0, 1) >= t->options->pairs)
        return from;
    uint32_t partner = t->split[random_below(&r, t->n_train)];
    return t->data.labels[partner] == t->data.labels[from] ? from : partner;
}

/* Image i of this rank's share of the batch.  Of a pair the decoder learns the
 * first digit alone; each is shifted twice as far, so that both can be seen. */
static void fill_image(void *context, size_t i, size_t thread)
{
    struct trainer *t = context;
    const uint64_t seed = t->options->seed;
    const size_t pixels = t->model->at.pixels;
    const uint32_t from = t->order[t->share + i], partner = draw_partner(t, from);
    float *image = t->images + i * pixels, *target = t->targets + i * pixels;
    float *other = t->scratch + thread * 2 * pixels, *scratch = other + pixels;
    struct augmentation augmentation = t->options->augmentation;
    if (partner != from)
        augmentation.shift *= 2;
    augment_image(target, scratch, &t->data, from, &augmentation,
                  random_stream(seed, RANDOM_AUGMENT, t->epoch, from));
    memcpy(image, target, pixels * sizeof *image);
    if (partner != from) {
        augment_image(other, scratch, &t->data, partner, &augmentation,
                      random_stream(seed, RANDOM_AUGMENT_PAIR, t->epoch, from));
        augment_overlay(image, other, pixels);
    }
    t->labels[i] = t->data.labels[from];
    t->others[i] = t->data.labels[partner];
}

/* Adam's rate at an update: linear warm-up, then half a cosine. */
static double rate_at(const struct trainer *t, size_t update)
{
    const struct train_options *o = t->options;
    const double total = (double)(o->epochs * steps_per_epoch(t));
    if (update < o->warmup)
        return (double)o->rate * (double)(update + 1) / (double)o->warmup;
    double done = (double)(update - o->warmup) / fmax(1, total - (double)o->warmup);
    return (double)o->final_rate +
           ((double)o->rate - (double)o->final_rate) * 0.5 * (1 + cos(3.14159265358979324 * done));
}

/* What a step gives beside the gradient: sums over its images. */
enum { SUM_LOSS, SUM_MARGIN, SUM_RECONSTRUCTION, SUM_WRONG, SUM_STOP, SUMS };

/* The gradient of the own images of a batch of n, weighed so that those of all
 * ranks add up to the mean over n. */
static void share_gradient(struct trainer *t, size_t own, size_t n, double sums[SUMS])
{
    const size_t total = t->model->at.total;
    struct batch_result result;
    if (own == 0) { /* fewer images than ranks */
        memset(t->grad, 0, total * sizeof *t->grad);
        return;
    }
    batch_gradient(t->ws, own, t->images, t->targets, t->labels, t->others, t->options->alpha,
                   t->grad, t->lengths, t->poses, &result);
    const float weight = (float)own / (float)n;
    for (size_t i = 0; own < n && i < total; i++)
        t->grad[i] *= weight;
    sums[SUM_LOSS] = result.loss * (double)own;
    sums[SUM_MARGIN] = result.margin * (double)own;
    sums[SUM_RECONSTRUCTION] = result.reconstruction * (double)own;
    sums[SUM_WRONG] = (double)(own - result.correct);
}

static enum capsnet_status step(struct trainer *t, struct capsnet_error *error)
{
    double sums[SUMS] = {0};
    const size_t first = t->step * t->options->batch, left = t->n_train - first;
    const size_t n = left < t->options->batch ? left : t->options->batch;
    const size_t begin = n * ranks_rank() / ranks_count();
    const size_t own = n * (ranks_rank() + 1) / ranks_count() - begin;
    t->share = first + begin;
    pool_run(t->ws->pool, own, fill_image, t);
    uint64_t clock = phase_clock();
    primary_prepare(t->model, t->model->spectrum, t->ws->pool);
    phase_end(t->ws, PHASE_PREPARE, &clock);
    share_gradient(t, own, n, sums);
    sums[SUM_STOP] = stop_signal != 0; /* one rank's signal stops all at this step */
    ranks_sum_floats(t->grad, t->model->at.total);
    ranks_sum_doubles(sums, SUMS);
    t->stop = sums[SUM_STOP] > 0;
    if (!isfinite(sums[SUM_LOSS])) {
        snprintf(error->text, sizeof error->text,
                 "the loss is no longer a number at step %zu of epoch %zu: try a lower --rate; "
                 "%.200s holds the last good state", t->step + 1, t->epoch + 1,
                 t->options->checkpoint);
        return CAPSNET_ERR_FORMAT;
    }
    adam_update(t->ws, t->model->parameters, t->grad, &t->adam, rate_at(t, t->adam.updates),
                (double)t->options->ema);
    t->sums.loss += sums[SUM_LOSS];
    t->sums.margin += sums[SUM_MARGIN];
    t->sums.reconstruction += sums[SUM_RECONSTRUCTION];
    t->sums.images += n;
    t->sums.wrong += (size_t)sums[SUM_WRONG];
    t->step++;
    return CAPSNET_OK;
}

/* ---- Epochs -------------------------------------------------------------- */

/* Puts the averaged weights in the model's place, or back. */
static void swap_average(struct trainer *t)
{
    if (t->adam.ema) {
        float *swap = t->model->parameters;
        t->model->parameters = t->adam.ema;
        t->adam.ema = swap;
    }
    primary_prepare(t->model, t->model->spectrum, t->ws->pool);
}

static enum capsnet_status evaluate_holdout(struct trainer *t, struct evaluation *e,
                                            struct capsnet_error *error)
{
    swap_average(t);
    enum capsnet_status status =
        evaluate(e, t->ws, &t->data, t->split + t->n_train + t->n_skipped, t->n_holdout, error);
    swap_average(t);
    return status;
}

/* One line of JSON per epoch, appended. */
static enum capsnet_status log_epoch(const struct trainer *t, double seconds, double per_second,
                                     const struct evaluation *held_out,
                                     struct capsnet_error *error)
{
    if (!t->options->log)
        return CAPSNET_OK;
    FILE *file = fopen(t->options->log, "a");
    const struct epoch_sums *s = &t->sums;
    const double n = (double)s->images;
    int bad = !file;
    if (file) {
        fprintf(file,
                "{\"epoch\": %zu, \"loss\": %.9g, \"margin\": %.9g, \"reconstruction\": %.4f, "
                "\"train_wrong\": %zu, \"train_images\": %zu, ",
                t->epoch + 1, s->loss / n, s->margin / n, s->reconstruction / n, s->wrong,
                s->images);
        if (t->n_holdout)
            fprintf(file,
                    "\"held_out_wrong\": %zu, \"held_out_images\": %zu, "
                    "\"held_out_margin\": %.9g, ",
                    held_out->wrong, held_out->n, held_out->margin);
        fprintf(file, "\"seconds\": %.1f, \"images_per_second\": %.1f}\n", seconds, per_second);
        bad = ferror(file);
        bad |= fclose(file) != 0;
    }
    if (!bad)
        return CAPSNET_OK;
    snprintf(error->text, sizeof error->text, "%.200s: cannot write the log: %s", t->options->log,
             strerror(errno));
    return CAPSNET_ERR_IO;
}

static enum capsnet_status report_epoch(struct trainer *t, struct progress *progress,
                                        double per_second, double epoch_seconds,
                                        struct capsnet_error *error)
{
    struct evaluation held_out = {0};
    const struct epoch_sums *s = &t->sums;
    enum capsnet_status status = CAPSNET_OK;
    if (t->n_holdout)
        status = evaluate_holdout(t, &held_out, error);
    if (status != CAPSNET_OK)
        return status;
    char left[32];
    const double n = (double)s->images;
    t->history[t->epoch] = (struct epoch_figures){
        s->loss / n, 100.0 * (double)s->wrong / n,
        t->n_holdout ? 100.0 * (double)held_out.wrong / (double)held_out.n : NAN};
    progress_clear(progress);
    printf("epoch %zu/%zu: loss %.5f (margin %.5f, pixels %.2f), training error %.3f %%",
           t->epoch + 1, t->options->epochs, s->loss / n, s->margin / n, s->reconstruction / n,
           100.0 * (double)s->wrong / n);
    if (t->n_holdout)
        printf(", held-out error %.2f %% (%zu of %zu; margin %.5f)",
               100.0 * (double)held_out.wrong / (double)held_out.n, held_out.wrong, held_out.n,
               held_out.margin);
    printf(", %.0f images/s, %s left\n", per_second,
           duration(left, (double)(t->options->epochs - t->epoch - 1) * (double)t->n_train /
                              per_second));
    fflush(stdout);
    status = log_epoch(t, epoch_seconds, per_second, &held_out, error);
    evaluation_free(&held_out);
    return status;
}

static enum capsnet_status save_state(const struct trainer *t, struct capsnet_error *error)
{
    return ranks_rank() == 0 ? checkpoint_save(t, error) : CAPSNET_OK;
}

/* Squash and the sigmoid keep every loss finite, so a run that diverges ends up
 * with capsules of length 0 or 1 whatever the image: a margin loss of 0.81 an
 * image where there are two classes or more, 0.9^2 for a silent network
 * (equation 4).  What learns anything is far below; past the warm-up, an epoch
 * within 1 % of it is the end of the run, and not saved. */
static enum capsnet_status check_learning(const struct trainer *t, struct capsnet_error *error)
{
    const double margin = t->sums.margin / (double)t->sums.images;
    const size_t began = t->adam.updates - steps_per_epoch(t);
    const double silent = 0.81 * (1 + (double)t->options->pairs);
    if (t->epoch == 0 || began < t->options->warmup || margin < 0.99 * silent)
        return CAPSNET_OK;
    snprintf(error->text, sizeof error->text,
             "the margin loss of epoch %zu, %.4f, is no better than a silent network's: the run "
             "has diverged, or learns nothing; try a lower --rate; %.200s holds the state before, which "
             "--init takes, with another --checkpoint",
             t->epoch + 1, margin, t->options->checkpoint);
    return CAPSNET_ERR_FORMAT;
}

static enum capsnet_status run_epochs(struct trainer *t, struct capsnet_error *error)
{
    enum capsnet_status status = CAPSNET_OK;
    struct progress progress;
    progress_start(&progress, t->epoch * t->n_train + t->sums.images);
    progress.terminal &= ranks_rank() == 0;
    while (t->epoch < t->options->epochs && status == CAPSNET_OK) {
        memcpy(t->order, t->split, t->n_train * sizeof *t->order);
        shuffle(t->order, t->n_train,
                random_stream(t->options->seed, RANDOM_ORDER, t->epoch, 0));
        const uint64_t start = phase_clock();
        const size_t before = t->sums.images;
        while (t->step < steps_per_epoch(t)) {
            status = step(t, error);
            if (status != CAPSNET_OK)
                return status;
            const struct epoch_sums *s = &t->sums;
            progress_show(&progress, t->epoch + 1, t->options->epochs, s->images, t->n_train,
                          t->epoch * t->n_train + s->images, t->options->epochs * t->n_train,
                          s->loss / (double)s->images,
                          100.0 * (double)s->wrong / (double)s->images);
            if (t->stop) {
                progress_clear(&progress);
                return save_state(t, error);
            }
        }
        status = check_learning(t, error);
        if (status != CAPSNET_OK)
            return status;
        double seconds = (double)(phase_clock() - start) * 1e-9;
        if (ranks_rank() == 0)
            status = report_epoch(t, &progress, (double)(t->sums.images - before) / seconds,
                                  seconds, error);
        t->epoch++;
        t->step = 0;
        t->sums = (struct epoch_sums){0};
        /* A log that cannot be written, say, does not cost the epoch. */
        struct capsnet_error second;
        enum capsnet_status saved = save_state(t, status == CAPSNET_OK ? error : &second);
        status = status == CAPSNET_OK ? saved : status;
    }
    return status;
}

/* ---- The result ---------------------------------------------------------- */

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
    const size_t first = t->n_holdout ? t->n_train + t->n_skipped : 0;
    t->model->known.error_threshold = t->options->error_threshold;
    if (!isnan(t->options->error_threshold))
        return CAPSNET_OK;
    return calibrate(&t->model->known, t->ws, &t->data, t->split + first,
                     t->n_holdout ? t->n_holdout : t->data.n, error);
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
    primary_prepare(t->model, t->model->spectrum, t->ws->pool);
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

static enum capsnet_status finish(struct trainer *t, struct capsnet_error *error)
{
    const struct train_options *o = t->options;
    char epochs[32], seed[32], images[96], test[64];
    size_t wrong = 0, n = 0, extras = 5;
    swap_average(t);
    enum capsnet_status status = CAPSNET_OK;
    if (o->test)
        status = measure_test(t, &wrong, &n, error);
    else
        round_parameters(t->model, o->dtype);
    if (status != CAPSNET_OK)
        return status;
    primary_prepare(t->model, t->model->spectrum, t->ws->pool);
    status = measure_known(t, error);
    if (status != CAPSNET_OK)
        return status;
    snprintf(epochs, sizeof epochs, "%zu", o->epochs);
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)o->seed);
    split_describe(images, sizeof images, t->n_train, t->n_skipped, t->n_holdout);
    const char *source = isnan(o->error_threshold) ? calibrate_source(t->n_holdout) : "given";
    snprintf(test, sizeof test, "%zu of %zu", wrong, n);
    struct safetensors_metadata extra[6] = {
        {"train.command", o->command}, {"train.images", images}, {"train.epochs", epochs},
        {"train.seed", seed},          {"error_threshold_from", source},
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

/* Ranks with other data, options or weights would train a muddle in silence. */
static enum capsnet_status check_ranks(const struct trainer *t, struct capsnet_error *error)
{
    if (ranks_count() == 1 || ranks_agree(trainer_fingerprint(t)))
        return CAPSNET_OK;
    snprintf(error->text, sizeof error->text,
             "the processes do not agree: data, options, checkpoint and CPU level must be the "
             "same on every machine");
    return CAPSNET_ERR_ARGUMENT;
}

static void print_start(const struct trainer *t)
{
    printf("%zu parameters, %zu training images, ", capsnet_model_parameters(t->model),
           t->n_train);
    if (t->n_skipped)
        printf("%zu skipped that --init misread, ", t->n_skipped);
    printf("%zu held out, ", t->n_holdout);
    if (ranks_count() > 1)
        printf("%zu processes of ", ranks_count());
    printf("%zu threads, %s\n", t->options->threads, capsnet_model_cpu_level(t->model));
    fflush(stdout);
}

int train(const struct train_options *options)
{
    struct capsnet_error error = {""};
    struct trainer t = {.options = options};
    struct sigaction action = {.sa_handler = on_signal};
    ranks_start();
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    enum capsnet_status status = set_up(&t, &error);
    if (status == CAPSNET_OK)
        status = check_ranks(&t, &error);
    if (status == CAPSNET_OK) {
        if (ranks_rank() == 0)
            print_start(&t);
        status = run_epochs(&t, &error);
    }
    if (status == CAPSNET_OK && ranks_rank() == 0) {
        if (t.stop)
            printf("stopped in epoch %zu; %s holds the state: --resume goes on from there\n",
                   t.epoch + 1, options->checkpoint);
        else
            status = finish(&t, &error);
    }
    tear_down(&t);
    if (status != CAPSNET_OK) {
        fputs("capsnet-train: ", stderr);
        if (ranks_count() > 1)
            fprintf(stderr, "process %zu of %zu: ", ranks_rank() + 1, ranks_count());
        fprintf(stderr, "%s\n", error.text);
        ranks_abort();
        return 1;
    }
    fflush(stdout);
    ranks_finish();
    return t.stop ? 130 : 0;
}
