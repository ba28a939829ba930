/*
 * shapes.h - where the ink comes from: strokes of the project's own hand, the
 * glyphs of installed fonts, images of MNIST, and what is no digit at all.
 */
#ifndef NORMALIZE_SHAPES_H
#define NORMALIZE_SHAPES_H

#include "tests/accuracy/sheet.h"

/* Where a shape is drawn: the corner of its box and the box's height, in
 * pixels; pen: the stroke's width. */
struct place {
    double left, top, size, pen;
    double turn;   /* radians, added to the shape's own */
    double wobble; /* of the hand, as a part of the size: 0.02 is usual */
};

/* A digit in one of its usual ways of writing, with jitter in every point. */
void draw_digit(struct sheet *sheet, size_t digit, const struct place *place, struct chance *chance);

/* A capital letter that cannot be taken for a digit. */
void draw_letter(struct sheet *sheet, const struct place *place, struct chance *chance);

/* A face, star, heart, house, spiral, arrow, note, or scribble. */
void draw_doodle(struct sheet *sheet, const struct place *place, struct chance *chance);

/* A shirt, trousers, dress, bag or shoe, filled, in Fashion-MNIST's manner. */
void draw_garment(struct sheet *sheet, const struct place *place, struct chance *chance);

/* Enlarges an image [28][28] so that its ink's longer side takes place->size.
 * heavier: 0 as it is, towards 0.4 thicker, towards -0.4 thinner strokes. */
void draw_mnist(struct sheet *sheet, const uint8_t *pixels, const struct place *place,
                double heavier);

/* ---- Fonts (TrueType outlines) --------------------------------------------- */

struct font;
struct font *font_open(const char *path); /* NULL when it is none, or lacks digits */
void font_close(struct font *font);
void draw_glyph(struct sheet *sheet, const struct font *font, char character,
                const struct place *place);

#endif
