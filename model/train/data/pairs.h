/*
 * pairs.h - two digits of different classes on top of each other on a canvas larger
 * than they are, for measuring (MultiMNIST, section 6 of the paper); and single ones
 * there.  In training the same is made on the fly, changed at random (augment.h).
 */
#ifndef CAPSNET_PAIRS_H
#define CAPSNET_PAIRS_H

#include "model/capsnet.h"
#include "model/train/data/dataset.h"
#include "model/train/data/random.h"

/* How far a digit is shifted each way where a canvas is not asked for: the paper's 4,
 * which makes a canvas of 36 x 36 for digits of 28 x 28. */
enum { PAIRS_SHIFT = 4 };

/* By what pairs are measured: partners of each test image, and the seed of what is held
 * out, and of the test unless another is asked for. */
enum { PAIRS_PARTNERS = 10, PAIRS_SEED = 1 };

/* Which images, and where the upper left corner of each is. */
struct pair {
    uint32_t image[2]; /* of the data set; the same twice: one alone */
    uint16_t y[2], x[2];
};

/* The side of the canvas on which images are shifted by up to PAIRS_SHIFT each way. */
size_t pairs_canvas(const struct dataset *data);

/* Below, images index[0 .. n-1] are the first n when index is NULL. */

/* One of images index[0 .. n-1], of another class than image from; one of them must
 * be. */
uint32_t pairs_partner(const struct dataset *data, const uint32_t *index, size_t n, uint32_t from,
                       struct random *r);

/* Each of images index[0 .. n-1] with that many partners among them, or alone, once,
 * with none; every place on the canvas is as likely.  A function of the seed and of the images.
 *
 * *pairs  [n * partners], or [n], to be freed; set on success only
 *
 * Returns OK, ERR_SHAPE (the canvas is smaller than an image), ERR_ARGUMENT (all are of
 * one class) or ERR_MEMORY. */
CAPSNET_MUST_CHECK enum capsnet_status pairs_draw(struct pair **pairs, const struct dataset *data,
                                                  const uint32_t *index, size_t n,
                                                  size_t partners, size_t canvas, uint64_t seed,
                                                  struct capsnet_error *error);

/* Image 0 or 1 of a pair, alone on the canvas: [canvas][canvas][channels]. */
void pair_picture(uint8_t *out, const struct dataset *data, const struct pair *pair, size_t which,
                  size_t canvas);

/* The pixel-wise sum of two pictures of n values, clipped at 255. */
void pair_overlay(uint8_t *out, const uint8_t *a, const uint8_t *b, size_t n);

/* Images index[0 .. n-1] as a data set of their own, each alone on the canvas as
 * pairs_draw() places it.  Classes have no names. */
CAPSNET_MUST_CHECK enum capsnet_status pairs_single(struct dataset *out,
                                                    const struct dataset *data,
                                                    const uint32_t *index, size_t n,
                                                    size_t canvas, uint64_t seed,
                                                    struct capsnet_error *error);

#endif
