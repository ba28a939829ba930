/*
 * strokes.h - how broad a digit's strokes are, and how they are brought to the
 * breadth that MNIST's have.  Used by normalize.c alone.
 */
#ifndef CAPSNETD_STROKES_H
#define CAPSNETD_STROKES_H

#include "server/normalize/ink.h"
#include "server/normalize/levels.h"

/* One channel of a picture's ink. */
struct channel {
    const uint8_t *pixels; /* of the channel; a row is [width][step] */
    size_t width, step;
    struct box box;        /* of the digit */
    uint8_t table[LEVELS]; /* from a pixel's value to its ink */
};

/* How much broader the strokes should be on either side, as a part of the box's
 * longer side; negative: narrower; 0: they are as MNIST's.  share: how much of the box one
 * digit takes, 1 but for several on top of each other. */
double strokes_change(const struct channel *channel, double share);

/* Copies the channel's box with its strokes broader by that much on either side,
 * so that the copy is broader too.  pixels: [height][width] ink; image_free() it.
 * Returns IMAGE_OK or IMAGE_MEMORY. */
__attribute__((warn_unused_result)) enum image_status
strokes_copy(struct image *copy, const struct channel *channel, double change);

#endif
