/*
 * split.h - from a picture of numbers to the digits in it.
 *
 * In: a picture as it was decoded.  Out: candidates, each some of its ink, which may
 * be one digit, brought to MNIST's form as a picture of its own.  Many of them exclude each
 * other: a 4 of two strokes is one candidate, each of its strokes another.  When the network
 * has read them all, split_choose() says which of them together read the picture best.
 *
 * The way: the ink is freed of paper and ruled lines as for a single digit
 * (normalize/); what hangs together is found, and in which line of writing it stands
 * (lines.h); what is wide enough to be several digits is cut where strokes are thin
 * (cuts.h); neighbouring pieces, one or more, are the candidates.
 *
 * Work is bounded by the picture's pixels and the limits below.  Any thread may call.
 */
#ifndef CAPSNETD_SPLIT_H
#define CAPSNETD_SPLIT_H

#include "model/picture/image.h"
#include "server/normalize/ink.h"
#include "server/normalize/normalize.h"

enum {
    SPLIT_MOST_PIECES = 192,     /* of ink in a picture */
    SPLIT_MOST_CANDIDATES = 256, /* of a picture: about 64 digits, cut */
};

/* Pieces first <= i < end of the writing order, read as one digit. */
struct split_candidate {
    size_t first, end;
    size_t line;    /* 0 is the topmost */
    struct box box; /* in the picture's pixels */
    float cut_left, cut_right; /* what was cut through there (cuts.h); 0: nothing */
    float tall;     /* its height by what is usual in the picture */
    float wide;     /* its width by that height */
};

/* What the network made of a candidate. */
struct split_reading {
    float length; /* of the longest capsule */
    float second; /* of the next */
    float error;  /* mean squared pixel error of the longest's reconstruction */
    float ink;    /* mean square of the candidate's pixels */
};

/* Zeroed before the first use, and freed by split_free(). */
struct split {
    size_t n_pieces;
    uint8_t *may_drop; /* [n_pieces]: small enough to be a speck */
    size_t n;
    struct split_candidate *candidates; /* [n], in the order of their ends */
    float *digits;                      /* [n][height][width] */
};

/* Finds the candidates of a picture, for a model whose digits have that form, of one
 * channel.  A blank picture has none.
 *
 * Returns IMAGE_OK; IMAGE_TOO_LARGE, with a message, when the ink falls into more
 * pieces than the limits; or IMAGE_MEMORY. */
__attribute__((warn_unused_result)) enum image_status
split_image(struct split *split, const struct normalize_form *form, const struct image *image,
            struct image_message *message);

void split_free(struct split *split);

/* Chooses the candidates that together read the picture best: left to right, line by
 * line.  readings: [split->n].  chosen: [split->n_pieces], their indices.  Returns how many. */
size_t split_choose(size_t *chosen, const struct split *split,
                    const struct split_reading *readings);

#endif
