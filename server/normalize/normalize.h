/*
 * normalize.h - from a picture to the digit that the network reads.
 *
 * A picture comes in as it was decoded; a digit [height][width][channels] goes
 * out, 0 paper to 1 ink, as MNIST has them.  Any thread may call.
 */
#ifndef CAPSNETD_NORMALIZE_H
#define CAPSNETD_NORMALIZE_H

#include "model/picture/image.h"

/* Whose work it is to bring a picture to the model's form: AUTO, ours unless it
 * has that form already; FIT, ours always; NONE, the client's. */
enum normalize_mode { NORMALIZE_AUTO, NORMALIZE_FIT, NORMALIZE_NONE };

/* Brings a picture to the model's input form.
 *
 * digit    [height][width][channels] floats, 0 background to 1 ink
 * height, width, channels   the model's; image->channels is the same, or 3 for 1
 *
 * AUTO: a picture of the model's size that already is an MNIST-style digit
 * (light on dark, with its margin) is used as it is; any other as FIT.
 * FIT: light on dark by the border's polarity, cropped to the ink, strokes made
 * as broad as MNIST's are, scaled (area-averaged) into the middle 20/28 of the
 * frame keeping its aspect, centred by its centre of mass.  A blank picture gives
 * a blank digit.
 * NONE: the picture must have the model's size; its pixels / 255 are used.
 *
 * Returns IMAGE_OK, IMAGE_INVALID (NONE and the size differs) with message, or
 * IMAGE_MEMORY. */
__attribute__((warn_unused_result)) enum image_status
normalize_image(float *digit, size_t height, size_t width, size_t channels,
                const struct image *image, enum normalize_mode mode,
                struct image_message *message);

/* Does a digit [height][width][channels] show strokes, and not nothing at all, or
 * one solid blot, with a square of ink of 0.55 of its longer side?  None of MNIST's
 * training images is one. */
int normalize_has_strokes(const float *digit, size_t height, size_t width, size_t channels);

#endif
