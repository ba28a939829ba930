/*
 * evaluate.h - a model's answers for many images.
 */
#ifndef CAPSNET_EVALUATE_H
#define CAPSNET_EVALUATE_H

#include "model/network/workspace.h"
#include "model/train/data/dataset.h"

/* What the model said of n images; free with evaluation_free(). */
struct evaluation {
    size_t n, wrong;
    double margin;     /* mean margin loss (equation 4 of the paper) */
    uint8_t *answers;  /* [n] the longest capsule */
    float *lengths;    /* [n] its length */
    float *errors;     /* [n] mean squared pixel error of its reconstruction */
};

/* Whether a model of that shape takes the images: OK or ERR_SHAPE. */
CAPSNET_MUST_CHECK enum capsnet_status evaluate_check(const struct capsnet_shape *shape,
                                                      const struct dataset *data,
                                                      struct capsnet_error *error);

/* Images index[0 .. n-1] of the data set, or all of it when index is NULL (n
 * is then ignored), in batches of the workspace's largest. */
CAPSNET_MUST_CHECK enum capsnet_status evaluate(struct evaluation *evaluation,
                                                struct capsnet_workspace *ws,
                                                const struct dataset *data, const uint32_t *index,
                                                size_t n, struct capsnet_error *error);

/* The same, and the reconstructions: pictures [n][height][width][channels]. */
CAPSNET_MUST_CHECK enum capsnet_status
evaluate_pictures(struct evaluation *evaluation, float *pictures, struct capsnet_workspace *ws,
                  const struct dataset *data, const uint32_t *index, size_t n,
                  struct capsnet_error *error);

void evaluation_free(struct evaluation *evaluation);

#endif
