/* colour.h - from colour to one plane of brightness.  Used by normalize.c alone. */
#ifndef CAPSNETD_COLOUR_H
#define CAPSNETD_COLOUR_H

#include "model/picture/image.h"

/* The luma of an RGB picture: [height][width]. */
void colour_luma(uint8_t *plane, const struct image *image);

/* The same, unless ink and paper differ in colour far more than in luma: then how
 * far each pixel lies from the paper's colour towards the ink's.  The paper is
 * brighter than the ink. */
void colour_contrast(uint8_t *plane, const struct image *image);

#endif
