/*
 * sheet.h - sheets of images beside what the decoder makes of their poses.
 * Each image is enlarged by a whole number; the reconstruction is that of the
 * class the model chose.  A class whose label is not ASCII goes by its number, "#3".
 */
#ifndef CAPSNET_SHEET_H
#define CAPSNET_SHEET_H

#include "model/train/measure/evaluate.h"
#include "model/draw/canvas.h"

enum {
    SHEET_SPACE = 12,    /* pixels around the sheet and between its cells */
    SHEET_GAP = 2,       /* between an image and its reconstruction */
    SHEET_COLUMNS = 12,  /* images of a class */
    SHEET_MISTAKES = 6,  /* in a row */
    SHEET_LETTERS = 2,   /* scale of the text */
};

/* By how much images of that shape are enlarged: to about side pixels. */
size_t sheet_scale(const struct capsnet_shape *shape, size_t side);

/* A row for each class, its label and its first SHEET_COLUMNS images among
 * index[0 .. n-1] (all of the data when NULL), each above its reconstruction,
 * enlarged to about 56 pixels.  Returns OK, ERR_SHAPE or ERR_MEMORY. */
CAPSNET_MUST_CHECK enum capsnet_status sheet_of_classes(struct image *picture,
                                                        struct capsnet_workspace *ws,
                                                        const struct dataset *data,
                                                        const uint32_t *index, size_t n,
                                                        struct capsnet_error *error);

/* Every image that the evaluation (of all of the data) has wrong, in the
 * data's order, beside its reconstruction, enlarged to about 84 pixels, and
 * beneath it "true>said", cut to fit.  *shown: how many; fewer than wrong only where the
 * picture would have more than 64 million pixels.  Returns as above. */
CAPSNET_MUST_CHECK enum capsnet_status sheet_of_mistakes(struct image *picture, size_t *shown,
                                                         struct capsnet_workspace *ws,
                                                         const struct dataset *data,
                                                         const struct evaluation *evaluation,
                                                         struct capsnet_error *error);

#endif
