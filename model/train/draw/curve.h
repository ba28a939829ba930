/*
 * curve.h - how a run went, to look at.
 */
#ifndef CAPSNET_CURVE_H
#define CAPSNET_CURVE_H

#include "model/draw/canvas.h"

/* What an epoch gave; held_out_error is NAN when nothing is held out. */
struct epoch_figures {
    double loss, training_error, held_out_error; /* errors in percent */
};

enum { CURVE_WIDTH = 900, CURVE_HEIGHT = 700 };

/* Draws the n >= 1 epochs of a run: the loss above, the errors below, each
 * with its own logarithmic axis.  image_free() the picture.
 * Returns OK or ERR_MEMORY. */
CAPSNET_MUST_CHECK enum capsnet_status curve_draw(struct image *picture,
                                                  const struct epoch_figures *epochs, size_t n,
                                                  struct capsnet_error *error);

#endif
