/*
 * holdout_split.h - which training images are held out to choose and to measure by.
 */
#ifndef CAPSNET_HOLDOUT_SPLIT_H
#define CAPSNET_HOLDOUT_SPLIT_H

#include <stddef.h>
#include <stdint.h>

#include "model/train/data/random.h"

/* Puts n indices into an order of r's. */
void shuffle(uint32_t *index, size_t n, struct random r);

/* The indices of n images, the n_holdout held out last; to be freed.  The same
 * are held out whatever the seed, so that runs can be compared.  NULL without
 * memory. */
uint32_t *split_images(size_t n, size_t n_holdout);

/* A split in words, as the weights file's "train.images" has it. */
void split_describe(char *text, size_t size, size_t n_train, size_t n_skipped, size_t n_holdout);

/* Reads it back, n_shown being the images that were not held out, skipped ones
 * among them; returns 0 when text is NULL or says something else. */
int split_parse(const char *text, size_t *n_shown, size_t *n_holdout);

#endif
