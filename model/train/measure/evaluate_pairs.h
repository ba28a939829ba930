/*
 * evaluate_pairs.h - a model's answers for two digits on top of each other.
 */
#ifndef CAPSNET_EVALUATE_PAIRS_H
#define CAPSNET_EVALUATE_PAIRS_H

#include "model/network/workspace.h"
#include "model/train/data/pairs.h"

/* A capsule longer than this is one of the classes detected. */
#define DETECTED_LENGTH 0.5f

/* What the model said of n pairs; free with pairs_evaluation_free(). */
struct pairs_evaluation {
    size_t n;
    size_t wrong;        /* the two longest capsules are not the pair */
    size_t not_detected; /* the classes detected are not exactly the pair */
    double margin;       /* mean margin loss, of two classes present */
    double own_error;    /* mean squared pixel error of a digit's capsule, decoded alone, from
                          * that digit's picture */
    double other_error;  /* and from the other digit's */
    uint8_t (*answers)[2]; /* [n] the two longest capsules, the longest first */
};

/* n pairs of images of the data set, or single ones among them (of which the errors say
 * that image's twice), drawn on a canvas of the model's size, which must be
 * square and no smaller than they are, in batches of the workspace's largest.  Returns OK,
 * ERR_SHAPE or ERR_MEMORY. */
CAPSNET_MUST_CHECK enum capsnet_status
evaluate_pairs(struct pairs_evaluation *evaluation, struct capsnet_workspace *ws,
               const struct dataset *data, const struct pair *pairs, size_t n,
               struct capsnet_error *error);

void pairs_evaluation_free(struct pairs_evaluation *evaluation);

#endif
