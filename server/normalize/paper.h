/*
 * paper.h - what is paper, under whatever light, and how far does each pixel
 * stand out from it?  Used by ink.c alone.
 */
#ifndef CAPSNETD_PAPER_H
#define CAPSNETD_PAPER_H

#include "server/normalize/ink.h"

/* Finds the paper and on which side of it the ink is, ink->is_dark, and replaces
 * the brightness of each of ink->pixels by its distance from the paper in ink's
 * direction: 0 paper, 255 at most.  Returns IMAGE_OK or IMAGE_MEMORY. */
__attribute__((warn_unused_result)) enum image_status paper_subtract(struct ink *ink);

#endif
