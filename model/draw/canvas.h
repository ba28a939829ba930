/*
 * canvas.h - drawing into an RGB picture: rectangles, lines, small text,
 * images.  Whatever lies outside the picture is left out.  Colours are
 * 0xRRGGBB; places are pixels from the top left.
 */
#ifndef CAPSNET_CANVAS_H
#define CAPSNET_CANVAS_H

#include "model/picture/image.h"
#include "model/capsnet.h"

/* A letter is 5 x 7 pixels, a pixel between two; g, j, p, q and y reach two
 * rows below the line. */
enum { LETTER_WIDTH = 5, LETTER_HEIGHT = 7, LETTER_ROWS = 9, LETTER_STEP = 6 };

/* A picture of one colour; image_free() it.  Returns OK or ERR_MEMORY. */
CAPSNET_MUST_CHECK enum capsnet_status canvas_create(struct image *picture, size_t width,
                                                      size_t height, uint32_t colour,
                                                      struct capsnet_error *error);

void canvas_fill(struct image *picture, size_t x, size_t y, size_t width, size_t height,
                  uint32_t colour);

/* A line with round, smooth edges. */
void canvas_line(struct image *picture, double x0, double y0, double x1, double y1,
                  double thickness, uint32_t colour);

/* Width of a text, each of its pixels scale x scale. */
size_t canvas_text_width(const char *text, size_t scale);

/* ASCII is drawn as letters, every other character (UTF-8) as a box. */
void canvas_text(struct image *picture, size_t x, size_t y, size_t scale, uint32_t colour,
                  const char *text);

/* An image [height][width][channels], 0 to 1, each pixel scale x scale. */
void canvas_image(struct image *picture, size_t x, size_t y, size_t scale, const float *pixels,
                   const struct capsnet_shape *shape);

#endif
