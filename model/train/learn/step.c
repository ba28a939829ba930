/*
 * step.c - one step of a run: a batch of augmented images, its gradient, Adam
 * (sections 4 and 4.1 of the paper).
 *
 * Everything random is a function of the seed, the epoch and the image
 * (random.h), every sum has a fixed order: the same options give the same
 * file, whatever the number of threads, broken off and resumed or not.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/layers/layers.h"
#include "model/train/data/pairs.h"
#include "model/train/data/random.h"
#include "model/train/learn/gradient.h"
#include "model/train/learn/ranks.h"
#include "model/train/learn/run_state.h"

size_t trainer_steps_per_epoch(const struct trainer *t)
{
    return (t->n_train + t->options->batch - 1) / t->options->batch;
}

/* ---- The stream of images ------------------------------------------------- */

/* Place p of this epoch in a stream of --repeats epochs, in which each image
 * stands that often: its copies follow each other. */
static size_t stream_place(const struct trainer *t, size_t p)
{
    return t->epoch % t->options->repeats * t->n_train + p;
}

static size_t copy_at(const struct trainer *t, size_t p)
{
    return stream_place(t, p) % t->options->repeats;
}

void trainer_order_epoch(struct trainer *t)
{
    const size_t repeats = t->options->repeats;
    memcpy(t->shuffled, t->split, t->n_train * sizeof *t->shuffled);
    random_shuffle(t->shuffled, t->n_train,
                   random_stream(t->options->seed, RANDOM_ORDER, t->epoch / repeats, 0));
    for (size_t p = 0; p < t->n_train; p++)
        t->order[p] = t->shuffled[stream_place(t, p) / repeats];
}

/* The image that lies on image from, item in random streams: one of another class,
 * of the training images too, or from itself when it stays alone. */
static uint32_t draw_partner(const struct trainer *t, uint32_t from, uint64_t item)
{
    struct random r = random_stream(t->options->seed, RANDOM_PAIR, t->epoch, item);
    if (random_uniform(&r, 0, 1) < t->options->singles)
        return from;
    return pairs_partner(&t->data, t->split, t->n_train, from, &r);
}

/* Lays a second digit on image i of this rank's share of the batch. */
static void fill_second(struct trainer *t, size_t i, uint32_t from, uint64_t item, float *scratch)
{
    const size_t pixels = t->model->at.pixels;
    const uint32_t partner = draw_partner(t, from, item);
    float *target = t->other_targets + i * pixels;
    t->others[i] = t->data.labels[partner];
    if (partner == from)
        return;
    augment_image(target, scratch, &t->data, partner, &t->augmentation,
                  random_stream(t->options->seed, RANDOM_AUGMENT_PAIR, t->epoch, item));
    augment_overlay(t->images + i * pixels, target, pixels);
}

/* Image i of this rank's share of the batch; of a pair each digit's own picture is what
 * the decoder learns. */
static void fill_image(void *context, size_t i, size_t thread)
{
    struct trainer *t = context;
    const size_t pixels = t->model->at.pixels;
    const uint32_t from = t->order[t->share + i];
    const uint64_t item = from | (uint64_t)copy_at(t, t->share + i) << 32;
    float *target = t->targets + i * pixels, *scratch = t->scratch + thread * pixels;
    augment_image(target, scratch, &t->data, from, &t->augmentation,
                  random_stream(t->options->seed, RANDOM_AUGMENT, t->epoch, item));
    memcpy(t->images + i * pixels, target, pixels * sizeof *target);
    t->labels[i] = t->data.labels[from];
    if (t->options->pairs)
        fill_second(t, i, from, item, scratch);
}

/* ---- The step ------------------------------------------------------------- */

double trainer_rate(const struct trainer *t, size_t update)
{
    const struct train_options *o = t->options;
    const double total = (double)(o->epochs * trainer_steps_per_epoch(t));
    if (update < o->warmup)
        return (double)o->rate * (double)(update + 1) / (double)o->warmup;
    const double steps = fmax(1, total - (double)o->warmup);
    const double held = floor((double)o->hold * steps), past = (double)(update - o->warmup) - held;
    const double done = past > 0 ? past / (steps - held) : 0; /* of the cosine */
    const double high = (double)o->rate * pow((double)o->decay, (double)update / DECAY_STEPS);
    return (double)o->final_rate +
           (high - (double)o->final_rate) * 0.5 * (1 + cos(3.14159265358979324 * done));
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
    const struct train_options *o = t->options;
    struct batch batch = {.n = own, .images = t->images, .targets = t->targets,
                          .labels = t->labels, .others = t->others,
                          .other_targets = t->other_targets, .alpha = o->alpha};
    if (t->teacher.model) {
        teacher_answer(&t->teacher, own, t->images);
        batch.teacher_lengths = t->teacher.lengths;
        batch.lengths_weight = o->teacher_lengths;
        batch.teacher_poses = o->teacher_poses > 0 ? t->teacher.poses : NULL;
        batch.poses_weight = o->teacher_poses;
    }
    batch_gradient(t->ws, &batch, t->grad, t->lengths, t->poses, &result);
    const float weight = (float)own / (float)n;
    for (size_t i = 0; own < n && i < total; i++)
        t->grad[i] *= weight;
    sums[SUM_LOSS] = result.loss * (double)own;
    sums[SUM_MARGIN] = result.margin * (double)own;
    sums[SUM_RECONSTRUCTION] = result.reconstruction * (double)own;
    sums[SUM_WRONG] = (double)(own - result.correct);
}

enum capsnet_status trainer_step(struct trainer *t, int stop_asked, struct capsnet_error *error)
{
    double sums[SUMS] = {0};
    const size_t first = t->step * t->options->batch, left = t->n_train - first;
    const size_t n = left < t->options->batch ? left : t->options->batch;
    const size_t begin = n * ranks_rank() / ranks_count();
    const size_t own = n * (ranks_rank() + 1) / ranks_count() - begin;
    t->share = first + begin;
    pool_run(t->ws->pool, own, fill_image, t);
    uint64_t clock = phase_clock();
    primary_prepare(t->model, t->ws->pool);
    phase_end(t->ws, PHASE_PREPARE, &clock);
    share_gradient(t, own, n, sums);
    sums[SUM_STOP] = stop_asked; /* one rank's signal stops all at this step */
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
    adam_update(t->ws, t->model->parameters, t->grad, &t->adam, trainer_rate(t, t->adam.updates),
                (double)t->options->ema, (double)t->options->primary_scale);
    t->sums.loss += sums[SUM_LOSS];
    t->sums.margin += sums[SUM_MARGIN];
    t->sums.reconstruction += sums[SUM_RECONSTRUCTION];
    t->sums.images += n;
    t->sums.wrong += (size_t)sums[SUM_WRONG];
    t->step++;
    return CAPSNET_OK;
}

void trainer_swap_average(struct trainer *t)
{
    if (t->adam.ema) {
        float *swap = t->model->parameters;
        t->model->parameters = t->adam.ema;
        t->adam.ema = swap;
    }
    primary_prepare(t->model, t->ws->pool);
}
