/*
 * kinds.h - the kinds of pictures that people send, made by code: a source of
 * ink, put on a sheet in one of these ways.
 */
#ifndef NORMALIZE_KINDS_H
#define NORMALIZE_KINDS_H

#include "tests/accuracy/shapes.h"

enum source_type { SOURCE_STROKES, SOURCE_MNIST, SOURCE_FONT,
                   SOURCE_LETTER, SOURCE_DOODLE, SOURCE_GARMENT };

struct source {
    enum source_type type;
    size_t digit;
    const uint8_t *pixels;   /* [28][28], of SOURCE_MNIST */
    const struct font *font; /* of SOURCE_FONT */
};

size_t kinds_count(void);
const char *kind_name(size_t kind);

/* Is the kind a matter of the pen, which MNIST's digits have with them? */
int kind_has_pen(size_t kind);

/* Makes a picture of that kind as a PNG; to be freed. */
uint8_t *kind_make(size_t kind, const struct source *source, struct chance *chance,
                   size_t *png_nbytes);

#endif
