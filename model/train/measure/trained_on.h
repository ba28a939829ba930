/*
 * trained_on.h - what a weights file says of the pictures that it was trained on, in
 * the trainer's own words.
 */
#ifndef CAPSNET_TRAINED_ON_H
#define CAPSNET_TRAINED_ON_H

#include "model/network/model.h"
#include "model/train/data/dataset.h"

/* The value of a key of the file's metadata, NULL when there is none. */
const char *trained_metadata(const struct capsnet_model *model, const char *key);

/* Whether it was trained on pairs (data/pairs.h). */
int trained_on_pairs(const struct capsnet_model *model);

/* Images index[0 .. n-1] of a data set, all n when index is NULL, on the model's canvas by
 * that seed, as a data set of their own, to be freed; an empty one where it was not trained
 * on a canvas.  Returns as pairs_single(). */
CAPSNET_MUST_CHECK enum capsnet_status
trained_place(struct dataset *placed, const struct capsnet_model *model,
              const struct dataset *data, const uint32_t *index, size_t n, uint64_t seed,
              struct capsnet_error *error);

#endif
