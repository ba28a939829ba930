/*
 * holdout_split.h - which training images are held out to choose and to measure by.
 */
#ifndef CAPSNET_HOLDOUT_SPLIT_H
#define CAPSNET_HOLDOUT_SPLIT_H

#include <stddef.h>
#include <stdint.h>

#include "model/capsnet.h"
#include "model/train/data/writers.h"

/* The indices of n images, the n_holdout held out last; to be freed.  The same
 * are held out whatever the seed, so that runs can be compared.  NULL without
 * memory. */
uint32_t *split_images(size_t n, size_t n_holdout);

/* The same with whole writers held out, drawn by the seed: about wanted images,
 * as many of each series.  Who was trained on is then read by nobody held out, as
 * nobody of the test set is.
 *
 * writers     of n >= 1 images at least; the first n count
 * *n_holdout  how many it came to, fewer than n
 * *index      [n] to be freed; set, like *n_holdout, on success only
 *
 * Returns OK, ERR_ARGUMENT (a series has not that many, or none would be left of
 * it), ERR_FORMAT (a writer of two series) or ERR_MEMORY. */
CAPSNET_MUST_CHECK enum capsnet_status split_writers(uint32_t **index, size_t *n_holdout,
                                                     const struct writers *writers, size_t n,
                                                     size_t wanted, uint64_t seed,
                                                     struct capsnet_error *error);

/* What is kept of a split with the weights. */
struct split_record {
    size_t n_train, n_skipped, n_holdout;
    size_t wanted; /* split_writers()' images and seed; 0: split_images() */
    uint64_t seed;
};

/* A split in words, as the weights file's "train.images" has it. */
void split_describe(char *text, size_t size, const struct split_record *record);

/* Reads it back; returns 0 when text is NULL or says something else. */
int split_parse(const char *text, struct split_record *record);

#endif
