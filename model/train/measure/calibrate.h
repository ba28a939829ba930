/*
 * calibrate.h - by which numbers a model tells images of its kind from others.
 */
#ifndef CAPSNET_CALIBRATE_H
#define CAPSNET_CALIBRATE_H

#include "model/network/workspace.h"
#include "model/train/data/dataset.h"

/* The share of images of the model's own kind that the numbers refuse. */
#define CALIBRATE_REFUSED 0.05

/* Measures them on images index[0 .. n-1] of the data set, or on its first n when index
 * is NULL, best ones that were not trained on: a reconstruction errs the more, the more ink there is to
 * draw, so the error is judged by the image's ink.  ink_power is the slope of
 * log error over log ink (least squares); then error and length get thresholds
 * that refuse equally many images, CALIBRATE_REFUSED of all together.  (That
 * the error of the winner's reconstruction tells strange images: Frosst,
 * Sabour, Hinton, "DARCCC", 2018.)
 *
 * ws     of the model, ready to run
 * known  is written on success
 *
 * Returns OK, ERR_SHAPE (not images for that model) or ERR_MEMORY. */
CAPSNET_MUST_CHECK enum capsnet_status calibrate(struct capsnet_known *known,
                                                 struct capsnet_workspace *ws,
                                                 const struct dataset *data,
                                                 const uint32_t *index, size_t n,
                                                 struct capsnet_error *error);

/* Measures them anew for a weights file, on the images of the folder data that
 * were held out from its training, or those trained on when none were; writes
 * the file out, its tensors as they were.  writers: the training's --holdout-writers,
 * or NULL.  Prints what it found. */
CAPSNET_MUST_CHECK enum capsnet_status
calibrate_file(const char *weights, const char *data, const char *writers, const char *out,
               const char *cpu_level, size_t threads, struct capsnet_error *error);

/* "held-out images" or "training images": where the numbers come from. */
const char *calibrate_source(size_t n_holdout);

/* Prints them as one line. */
void calibrate_print(const struct capsnet_known *known, const char *source);

#endif
