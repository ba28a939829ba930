/*
 * ink.h - the steps from a picture's brightness to the ink of its digit, used by
 * normalize.c alone, and what ink is, for the room split too.
 */
#ifndef CAPSNETD_INK_H
#define CAPSNETD_INK_H

#include "model/picture/image.h"

/* x0 <= x < x1, y0 <= y < y1 */
struct box {
    size_t x0, y0, x1, y1;
};

/* The ink of a picture: 0 paper ... peak.  The picture is reduced to about a
 * megapixel at most: `factor` of its own along a side make one here.
 * pixels: [height][width], owned; NULL when the picture is blank. */
struct ink {
    size_t width, height, factor;
    uint8_t *pixels;
    int is_dark;        /* ink darker than the paper? */
    uint8_t floor;      /* what was taken off every pixel as the paper's noise */
    uint8_t peak;       /* ink is clipped here: the brightest twentieth of it */
    uint8_t threshold;  /* ink above this is certainly ink (Otsu) */
};

/* The mean of a picture's pixels [height][width] in a rectangle, cut off at its
 * edges. */
float ink_mean(const uint8_t *pixels, size_t width, size_t height, size_t x0, size_t y0,
               size_t wide, size_t high);

/* Finds paper and ink.  luma: [height][width].  Returns IMAGE_OK or
 * IMAGE_MEMORY. */
__attribute__((warn_unused_result)) enum image_status
ink_extract(struct ink *ink, const uint8_t *luma, size_t width, size_t height);

/* Takes off the lines of ruled and squared paper (ruled_lines.c).  Returns
 * IMAGE_OK or IMAGE_MEMORY. */
__attribute__((warn_unused_result)) enum image_status ink_remove_rules(struct ink *ink);

/* Clears all but the digit, and finds its box (blots.c).  ink is not blank.
 * Returns IMAGE_OK or IMAGE_MEMORY. */
__attribute__((warn_unused_result)) enum image_status ink_keep_digit(struct ink *ink,
                                                                     struct box *box);

#endif
