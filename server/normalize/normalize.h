/*
 * normalize.h - from a picture to the digit that the network reads.
 *
 * A picture comes in as it was decoded; a digit [height][width][channels] goes
 * out, 0 paper to 1 ink, as MNIST has them.  Any thread may call.
 */
#ifndef CAPSNETD_NORMALIZE_H
#define CAPSNETD_NORMALIZE_H

#include "model/picture/image.h"

struct ink;
struct box;

/* Whose work it is to bring a picture to the model's form: AUTO, ours unless it
 * has that form already; FIT, ours always; NONE, the client's. */
enum normalize_mode { NORMALIZE_AUTO, NORMALIZE_FIT, NORMALIZE_NONE };

/* The form of a model's digits, as its file states it. */
struct normalize_form {
    size_t height, width, channels;   /* of what the network reads */
    size_t frame_height, frame_width; /* of one digit with its margin, of which it takes 20/28:
                                       * as much, or less where digits lie anywhere on a canvas */
    size_t objects;                   /* digits that may lie there on top of each other */
};

/* That of digits which fill the image. */
static inline struct normalize_form normalize_whole(size_t height, size_t width, size_t channels)
{
    return (struct normalize_form){height, width, channels, height, width, 1};
}

/* Brings a picture to the model's input form.
 *
 * digit    [height][width][channels] floats, 0 background to 1 ink
 * form     the model's; image->channels is its channels, or 3 for 1
 *
 * AUTO: a picture of the model's size that already is an MNIST-style digit
 * (light on dark, with its margin; on a canvas anywhere there, and perhaps two of them) is
 * used as it is, and so is one of a frame's size in the middle of the canvas; any other as
 * FIT.
 * FIT: light on dark by the border's polarity, cropped to the ink, strokes made
 * as broad as MNIST's are, scaled (area-averaged) into the middle 20/28 of the
 * frame keeping its aspect, centred by its centre of mass.  Two digits of such frames,
 * shifted on a canvas, together take more, up to that of the whole canvas: where there may be
 * two, the ink gets the middle between what one takes and that.  A blank picture gives
 * a blank digit.
 * NONE: the picture must have the model's size; its pixels / 255 are used.
 *
 * Returns IMAGE_OK, IMAGE_INVALID (NONE and the size differs) with message, or
 * IMAGE_MEMORY. */
__attribute__((warn_unused_result)) enum image_status
normalize_image(float *digit, const struct normalize_form *form, const struct image *image,
                enum normalize_mode mode, struct image_message *message);

/* The same in two steps, for who chooses the ink: that of the whole picture, freed of paper
 * and ruled lines (free(ink->pixels); NULL when the picture is blank); and a digit
 * of a form of one channel, from the ink in a box as FIT makes it.  Each returns
 * IMAGE_OK or IMAGE_MEMORY. */
__attribute__((warn_unused_result)) enum image_status normalize_find_ink(struct ink *ink,
                                                                         const struct image *image);
__attribute__((warn_unused_result)) enum image_status
normalize_ink(float *digit, const struct normalize_form *form, const struct ink *ink,
              const struct box *box);

/* Does a digit [height][width][channels] show strokes, and not nothing at all, or
 * one solid blot, with a square of ink of 0.55 of its longer side?  None of MNIST's
 * training images is one. */
int normalize_has_strokes(const float *digit, size_t height, size_t width, size_t channels);

#endif
