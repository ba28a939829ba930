/*
 * cuts.h - where digits that touch may be cut apart.  Used by split.c alone.
 */
#ifndef CAPSNETD_CUTS_H
#define CAPSNETD_CUTS_H

#include "server/normalize/blots.h"

enum {
    CUT_ROWS = 256, /* of cells, of which 32 make the usual height */
    MOST_CUTS = 24, /* of one blot */
};

/* A way through a blot from above to below. */
struct cut {
    uint16_t x[CUT_ROWS]; /* in cells from the box's left, row by row: ink before it is left */
    double cost;          /* of all that it cuts through, in strokes' widths */
    double mean_x;
};

/* The cuts of one blot: from left to right, none across another. */
struct cuts {
    double cell; /* pixels */
    size_t n;
    struct cut list[MOST_CUTS];
};

/* Finds the cuts of blot i through thin strokes.  height: of a usual digit, in pixels.
 * Returns IMAGE_OK or IMAGE_MEMORY. */
__attribute__((warn_unused_result)) enum image_status
cuts_find(struct cuts *cuts, const struct blots *blots, const struct ink *ink, size_t i,
          double height);

/* How many of the cuts are left of pixel (x, y) of the picture, in the blot's box. */
size_t cuts_left_of(const struct cuts *cuts, const struct box *box, size_t x, size_t y);

#endif
