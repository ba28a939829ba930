/*
 * run_state.h - the state of a training run and what is done with it: the inside
 * of this folder, whose outside is train.h.  The main thread alone calls all of
 * this.
 */
#ifndef CAPSNET_RUN_STATE_H
#define CAPSNET_RUN_STATE_H

#include "model/train/data/dataset.h"
#include "model/train/data/pairs.h"
#include "model/train/draw/curve.h"
#include "model/train/learn/adam.h"
#include "model/train/learn/teacher.h"
#include "model/train/learn/train.h"

/* Sums over the images of an epoch so far. */
struct epoch_sums {
    double loss, margin, reconstruction;
    size_t images, wrong;
};

struct trainer {
    const struct train_options *options;
    struct dataset data, test; /* test: empty without --test, on the canvas where there is one */
    struct dataset test_pictures; /* then as it was loaded; else empty */
    struct dataset placed;     /* with a canvas, what is measured on it; else empty */
    struct pair *held_pairs;   /* [n_holdout] with pairs, of held-out images; else NULL */
    struct augmentation augmentation; /* the options', with the canvas that pairs have */
    uint32_t *split;          /* [data.n] training images, skipped ones, held-out ones */
    size_t n_train, n_skipped, n_holdout;
    uint32_t data_checksum; /* of the images, their labels and the split */
    uint32_t *order;          /* [n_train] this epoch's */
    uint32_t *shuffled;       /* [n_train] what it is taken from */
    struct capsnet_model *model;
    struct capsnet_workspace *ws;
    enum precision precision; /* --step-precision, chosen: f32 or bf16 */
    float *grad; /* [layout.total] */
    struct adam adam;
    struct teacher teacher;
    float *images, *targets, *lengths, *poses; /* one batch */
    uint8_t *labels;
    float *other_targets;   /* of pairs, as in struct batch; else NULL */
    uint8_t *others;
    float *scratch; /* [threads] pictures */
    size_t epoch, step; /* the next step to do: of this epoch */
    size_t share;       /* where in order this rank's images of the batch begin */
    int stop;           /* a signal has come, on whatever rank */
    struct epoch_sums sums;
    struct epoch_figures *history; /* [options->epochs], epoch of them done */
};

/* ---- set_up.c ------------------------------------------------------------- */

/* Loads the data, makes the arrays, and sets the state to that before the first
 * step, or to the checkpoint's; t holds its options and is otherwise zero.  To be
 * torn down whether it succeeds or not. */
CAPSNET_MUST_CHECK enum capsnet_status trainer_set_up(struct trainer *t,
                                                      struct capsnet_error *error);
void trainer_tear_down(struct trainer *t);

/* Makes the workspace for the model's precision in place of the one that stands. */
CAPSNET_MUST_CHECK enum capsnet_status trainer_make_workspace(struct trainer *t,
                                                              struct capsnet_error *error);

/* ERR_MEMORY and its sentence. */
CAPSNET_MUST_CHECK enum capsnet_status trainer_no_memory(struct capsnet_error *error);

/* ---- measured.c ----------------------------------------------------------- */

/* By what a run is measured: n images of a data set, the first n when index is NULL. */
struct measured {
    const struct dataset *data;
    const uint32_t *index;
    size_t n;
};

/* Held-out images, or the training images as they are when none are held out; on the
 * canvas where there is one. */
struct measured trainer_measured(const struct trainer *t);

/* Sets placed and held_pairs, the split being final. */
CAPSNET_MUST_CHECK enum capsnet_status trainer_place_measured(struct trainer *t,
                                                              struct capsnet_error *error);

/* Images index[0 .. n-1] of data, all n when index is NULL, on the canvas, as *placed, to
 * be freed. */
CAPSNET_MUST_CHECK enum capsnet_status
trainer_place(const struct trainer *t, struct dataset *placed, const struct dataset *data,
              const uint32_t *index, size_t n, struct capsnet_error *error);

/* ---- class_names.c -------------------------------------------------------- */

/* Names the model and its classes, and loads the test set, whose classes they
 * tell apart: what is wrong with any shows before the training. */
CAPSNET_MUST_CHECK enum capsnet_status trainer_set_names(struct trainer *t,
                                                         struct capsnet_error *error);

/* ---- step_precision.c ----------------------------------------------------- */

/* Sets the precision that --step-precision asks for, of the model as well. */
CAPSNET_MUST_CHECK enum capsnet_status trainer_choose_precision(struct trainer *t,
                                                                struct capsnet_error *error);
/* f32 or bf16 */
const char *trainer_precision_name(const struct trainer *t);

/* ---- initial_weights.c ---------------------------------------------------- */

/* The weights that a run begins with, and their average: random, or those of a
 * file; of a checkpoint its moving average, where it has one. */
CAPSNET_MUST_CHECK enum capsnet_status trainer_init_weights(struct trainer *t,
                                                            struct capsnet_error *error);

/* ---- step.c --------------------------------------------------------------- */

size_t trainer_steps_per_epoch(const struct trainer *t);

/* Adam's rate at an update: linear warm-up; then held, then half a cosine; and a
 * steady decay of the highest on top of both. */
double trainer_rate(const struct trainer *t, size_t update);

/* Sets the order of this epoch's images. */
void trainer_order_epoch(struct trainer *t);

/* The next step of the epoch whose order stands.  stop_asked: this rank has had
 * a signal; t->stop is then set on every rank. */
CAPSNET_MUST_CHECK enum capsnet_status trainer_step(struct trainer *t, int stop_asked,
                                                    struct capsnet_error *error);

/* Puts the averaged weights in the model's place, or back. */
void trainer_swap_average(struct trainer *t);

/* ---- result.c ------------------------------------------------------------- */

/* Measures the averaged weights as the file will hold them, writes the weights
 * file and draws the run. */
CAPSNET_MUST_CHECK enum capsnet_status trainer_finish(struct trainer *t,
                                                      struct capsnet_error *error);

/* ---- checkpoint.c --------------------------------------------------------- */

/* Writes everything that the run needs to go on bit for bit. */
CAPSNET_MUST_CHECK enum capsnet_status checkpoint_save(const struct trainer *t,
                                                       struct capsnet_error *error);

/* Reads it back into a trainer whose model and arrays stand.  A checkpoint of
 * other options or images is refused with a sentence that says what differs
 * first. */
CAPSNET_MUST_CHECK enum capsnet_status checkpoint_load(struct trainer *t,
                                                       struct capsnet_error *error);

/* The precision of the run that a checkpoint is of, STEP_AUTO when it cannot be read. */
enum step_precision checkpoint_step_precision(const char *path);

/* Refuses a path that holds the checkpoint of a run which has not ended: hours
 * of work are not overwritten because --resume was forgotten. */
CAPSNET_MUST_CHECK enum capsnet_status checkpoint_check_free(const char *path,
                                                             struct capsnet_error *error);

/* Sets data_checksum. */
void trainer_sum_data(struct trainer *t);

/* A checksum of all that the ranks of a run must have in common: the data, the
 * options that decide the numbers, the state. */
uint32_t trainer_fingerprint(const struct trainer *t);

/* ---- run_pictures.c ------------------------------------------------------- */

/* Where the pictures of a run go that writes out: its name without .safetensors,
 * with that ending; to be freed, NULL without memory. */
#define RUN_CURVE ".curve.png"
#define RUN_SHEET ".sheet.png"
char *run_picture_path(const char *out, const char *ending);

/* Draws OUT's .curve.png and .sheet.png at the end of a run, whose model is
 * that of the file, ready to run.  Returns OK, ERR_IO or ERR_MEMORY. */
CAPSNET_MUST_CHECK enum capsnet_status run_pictures(const struct trainer *t,
                                                    struct capsnet_error *error);

#endif
