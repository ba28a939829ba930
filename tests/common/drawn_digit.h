/*
 * drawn_digit.h - a digit drawn by code, brought to MNIST's form, and what must
 * be true of it then.  Shared by the tests of normalisation; what fails, fails
 * the test.
 */
#ifndef TESTS_DRAWN_DIGIT_H
#define TESTS_DRAWN_DIGIT_H

#include "server/normalize/normalize.h"

enum { N = 28, PIXELS = N * N };

/* A gray picture [height][width] with a four of `size` pixels at (left, top), its
 * strokes a tenth of it wide; paper and ink are brightnesses.  image_free() it. */
struct image draw_four(size_t width, size_t height, double left, double top, double size,
                       int paper, int ink);

/* A picture of one value.  image_free() it. */
struct image flat_image(size_t width, size_t height, size_t channels, int value);

/* Normalises the image to digit [N][N][channels]; the second frees it too. */
void make_digit(float *digit, const struct image *image, enum normalize_mode mode);
void make_digit_of(float *digit, struct image image, enum normalize_mode mode);

/* Checks that every number is from 0 to 1, and that a digit, unless it is blank,
 * reaches 1 and takes 20 pixels at most. */
void check_digit(const float *digit, size_t channels, int blank);

/* The mean difference of two digits [N][N]. */
double digit_difference(const float *a, const float *b);

/* Is the digit [N][N][channels] the image's own pixels? */
int is_untouched(const float *digit, const struct image *image);

#endif
