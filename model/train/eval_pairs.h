/*
 * eval_pairs.h - `capsnet-train eval --pairs`: what a weights file makes of two digits on
 * top of each other.
 *
 * The protocol, after the paper's section 6: each of the n images of a set with
 * PAIRS_PARTNERS others of other classes, drawn by the seed, each of the two anywhere on
 * the model's canvas, which for 28 x 28 on 36 x 36 is a shift of up to 4 pixels; their sum
 * is clipped at 255.  A pair is right when the two longest capsules are its classes.  Then
 * the n images alone on the canvas.
 */
#ifndef CAPSNET_EVAL_PAIRS_H
#define CAPSNET_EVAL_PAIRS_H

#include "model/train/measure/evaluate_pairs.h"

struct eval_pairs_options {
    const char *weights;  /* the file's name, to be printed */
    const char *answers;  /* a file for the two longest capsules of each pair; or NULL */
    const char *pictures; /* a folder for the first pairs as PNGs, and pairs.tsv; or NULL */
    size_t n_pictures;
    uint64_t seed;
    size_t threads;       /* to be printed */
};

/* Measures ws's model and prints what it found.  Returns OK, ERR_SHAPE, ERR_ARGUMENT,
 * ERR_IO or ERR_MEMORY. */
CAPSNET_MUST_CHECK enum capsnet_status eval_pairs(struct capsnet_workspace *ws,
                                                  const struct dataset *data,
                                                  const struct eval_pairs_options *options,
                                                  struct capsnet_error *error);

#endif
