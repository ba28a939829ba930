/* blots.h - the ink of a picture by what hangs together.  Used by blots.c and by the
 * room split. */
#ifndef CAPSNETD_BLOTS_H
#define CAPSNETD_BLOTS_H

#include "server/normalize/ink.h"

/* Connected pixels of ink. */
struct blot {
    size_t mass; /* the sum of its ink */
    uint8_t most;
    size_t contact; /* its pixels at the picture's edge */
    size_t rim;     /* its pixels near its own box's sides */
    size_t count;
    int is_alien;   /* a dark corner, a desk, a frame */
    int is_kept;    /* blots.c's own */
    struct box box;
};

struct blots {
    uint32_t *label; /* [height][width]: 1 + the blot's index, 0 for paper */
    uint32_t *stack; /* [height][width], scratch */
    struct blot *list;
    size_t n, room;
    uint8_t low;  /* a blot is all that hangs together above this, */
    uint8_t high; /* and must reach this somewhere to be a stroke */
};

/* Finds the blots of ink that is not blank, and which of them are aliens.  Free them in
 * either case.  Returns IMAGE_OK or IMAGE_MEMORY. */
__attribute__((warn_unused_result)) enum image_status blots_find(struct blots *blots,
                                                                 const struct ink *ink);
void blots_free(struct blots *blots);

/* Makes a box just large enough for pixel (x, y) too. */
void box_widen(struct box *box, size_t x, size_t y);

#endif
