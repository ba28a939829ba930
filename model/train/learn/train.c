/*
 * train.c - the training run: set-up, epochs, result.
 */
#include "model/train/learn/train.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "model/train/learn/progress.h"
#include "model/train/learn/ranks.h"
#include "model/train/learn/run_state.h"
#include "model/train/measure/evaluate.h"
#include "model/train/measure/evaluate_pairs.h"

static volatile sig_atomic_t stop_signal;

static void on_signal(int signal_number)
{
    stop_signal = signal_number;
}

/* ---- Epochs -------------------------------------------------------------- */

/* What held-out images gave; of single ones, and of pairs where they are trained. */
struct held_out {
    struct evaluation single;
    struct pairs_evaluation pairs;
};

static enum capsnet_status evaluate_holdout(struct trainer *t, struct held_out *held,
                                            struct capsnet_error *error)
{
    const struct measured m = trainer_measured(t);
    *held = (struct held_out){0};
    if (!t->n_holdout)
        return CAPSNET_OK;
    trainer_swap_average(t);
    enum capsnet_status status = evaluate(&held->single, t->ws, m.data, m.index, m.n, error);
    if (status == CAPSNET_OK && t->held_pairs)
        status = evaluate_pairs(&held->pairs, t->ws, &t->data, t->held_pairs, t->n_holdout, error);
    trainer_swap_average(t);
    return status;
}

/* The error that the curve shows: of pairs, where they are trained; in percent. */
static double held_out_error(const struct held_out *held)
{
    const size_t n = held->pairs.n ? held->pairs.n : held->single.n;
    const size_t wrong = held->pairs.n ? held->pairs.wrong : held->single.wrong;
    return n ? 100.0 * (double)wrong / (double)n : NAN;
}

/* One line of JSON per epoch, appended. */
static enum capsnet_status log_epoch(const struct trainer *t, double seconds, double per_second,
                                     const struct held_out *held,
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
                    held->single.wrong, held->single.n, held->single.margin);
        if (held->pairs.n)
            fprintf(file,
                    "\"held_out_pairs_wrong\": %zu, \"held_out_pairs\": %zu, "
                    "\"held_out_pairs_margin\": %.9g, ",
                    held->pairs.wrong, held->pairs.n, held->pairs.margin);
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
    struct held_out held;
    const struct epoch_sums *s = &t->sums;
    enum capsnet_status status = evaluate_holdout(t, &held, error);
    if (status != CAPSNET_OK)
        return status;
    char left[32];
    const double n = (double)s->images;
    t->history[t->epoch] = (struct epoch_figures){
        s->loss / n, 100.0 * (double)s->wrong / n, held_out_error(&held)};
    progress_clear(progress);
    printf("epoch %zu/%zu: loss %.5f (margin %.5f, pixels %.2f), training error %.3f %%",
           t->epoch + 1, t->options->epochs, s->loss / n, s->margin / n, s->reconstruction / n,
           100.0 * (double)s->wrong / n);
    if (held.pairs.n)
        printf(", held-out pairs wrong %.2f %% (%zu of %zu; margin %.5f)", held_out_error(&held),
               held.pairs.wrong, held.pairs.n, held.pairs.margin);
    if (held.single.n)
        printf(", held-out error %.2f %% (%zu of %zu; margin %.5f)",
               100.0 * (double)held.single.wrong / (double)held.single.n, held.single.wrong,
               held.single.n, held.single.margin);
    printf(", %.0f images/s, %s left\n", per_second,
           duration(left, (double)(t->options->epochs - t->epoch - 1) * (double)t->n_train /
                              per_second));
    fflush(stdout);
    status = log_epoch(t, epoch_seconds, per_second, &held, error);
    evaluation_free(&held.single);
    pairs_evaluation_free(&held.pairs);
    return status;
}

static enum capsnet_status save_state(const struct trainer *t, struct capsnet_error *error)
{
    return ranks_rank() == 0 ? checkpoint_save(t, error) : CAPSNET_OK;
}

/* Squash and the sigmoid keep every loss finite, so a run that diverges ends up
 * with capsules of length 0 or 1 whatever the image: a margin loss of 0.81 an
 * image where there are two classes or more, 0.9^2 for a silent network
 * (equation 4).  What learns anything is far below: whether this epoch, begun
 * past the warm-up, is within 1 % of it so far. */
static int is_silent(const struct trainer *t)
{
    const double margin = t->sums.margin / (double)t->sums.images;
    const size_t began = t->adam.updates - t->step;
    const double pairs = t->options->pairs ? 1 - (double)t->options->singles : 0;
    const double silent = 0.81 * (1 + pairs);
    return t->epoch > 0 && began >= t->options->warmup && !(margin < 0.99 * silent);
}

/* Such an epoch is the end of the run, and not saved. */
static enum capsnet_status check_learning(const struct trainer *t, struct capsnet_error *error)
{
    if (!is_silent(t))
        return CAPSNET_OK;
    snprintf(error->text, sizeof error->text,
             "the margin loss of epoch %zu, %.4f, is no better than a silent network's: the run "
             "has diverged, or learns nothing; try a lower --rate; %.200s holds the state before, which "
             "--init takes, with another --checkpoint",
             t->epoch + 1, t->sums.margin / (double)t->sums.images, t->options->checkpoint);
    return CAPSNET_ERR_FORMAT;
}

/* The rest of an epoch's steps, saving the state every --checkpoint-minutes; ends
 * early, the state saved, when a signal has come. */
static enum capsnet_status run_steps(struct trainer *t, struct progress *progress,
                                     struct capsnet_error *error)
{
    const double minutes = (double)t->options->checkpoint_minutes;
    uint64_t saved = phase_clock();
    enum capsnet_status status = CAPSNET_OK;
    while (t->step < trainer_steps_per_epoch(t) && status == CAPSNET_OK) {
        status = trainer_step(t, stop_signal != 0, error);
        if (status != CAPSNET_OK)
            return status;
        const struct epoch_sums *s = &t->sums;
        progress_show(progress, t->epoch + 1, t->options->epochs, s->images, t->n_train,
                      t->epoch * t->n_train + s->images, t->options->epochs * t->n_train,
                      s->loss / (double)s->images, 100.0 * (double)s->wrong / (double)s->images);
        if (t->stop) {
            progress_clear(progress);
            return save_state(t, error);
        }
        const uint64_t now = phase_clock();
        if ((double)(now - saved) * 1e-9 >= 60 * minutes && !is_silent(t)) {
            status = save_state(t, error);
            saved = now;
        }
    }
    return status;
}

static enum capsnet_status run_epochs(struct trainer *t, struct capsnet_error *error)
{
    enum capsnet_status status = CAPSNET_OK;
    struct progress progress;
    progress_start(&progress, t->epoch * t->n_train + t->sums.images, ranks_rank() == 0);
    while (t->epoch < t->options->epochs && status == CAPSNET_OK) {
        trainer_order_epoch(t);
        const uint64_t start = phase_clock();
        const size_t before = t->sums.images;
        status = run_steps(t, &progress, error);
        if (status != CAPSNET_OK || t->stop)
            return status;
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

/* ---- The run ------------------------------------------------------------- */

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
    char openblas[96];
    capsnet_openblas(openblas, sizeof openblas);
    printf("%zu threads, %s, %s, steps in %s\n", t->options->threads,
           capsnet_model_cpu_level(t->model), openblas, trainer_precision_name(t));
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
    enum capsnet_status status = trainer_set_up(&t, &error);
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
            status = trainer_finish(&t, &error);
    }
    trainer_tear_down(&t);
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
