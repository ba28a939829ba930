/* numbers.h - pictures of numbers of 1 to 8 digits, side by side, in one line or two. */
#ifndef ACCURACY_NUMBERS_H
#define ACCURACY_NUMBERS_H

#include "model/train/data/idx.h"
#include "tests/accuracy/scene.h"

enum { NUMBERS_MOST = 20 }; /* characters of a text */

struct numbers_box {
    size_t x0, y0, x1, y1;
};

struct numbers {
    size_t layout;               /* below numbers_layouts() */
    const struct dataset *mnist; /* whose digits; NULL: own strokes */

    /* Filled: what is written, lines apart by '\n', and where each digit is. */
    char text[NUMBERS_MOST];
    struct numbers_box boxes[NUMBERS_MOST];
};

size_t numbers_layouts(void);
const char *numbers_layout_name(size_t layout);

/* Percent of whole texts that must be read right; 0: nothing is said. */
double numbers_wanted(size_t layout);

/* Makes a picture as a PNG; to be freed. */
uint8_t *numbers_make(struct numbers *numbers, struct chance *chance, size_t *png_nbytes);

/* split_numbers.c */
struct lab;
void measure_numbers(struct lab *lab);

#endif
