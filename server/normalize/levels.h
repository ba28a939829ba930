/* levels.h - how often each of the 256 levels of brightness, or of ink, occurs. */
#ifndef CAPSNETD_LEVELS_H
#define CAPSNETD_LEVELS_H

#include <stddef.h>
#include <stdint.h>

enum { LEVELS = 256 };

/* Counts the outermost pixels of a picture [height][width], whose neighbours
 * are `step` bytes apart: one channel of it. */
void levels_of_border(size_t histogram[LEVELS], const uint8_t *pixels, size_t width, size_t height,
                      size_t step);

/* The level that a fraction of all values does not exceed (0.5: the median); 0
 * when there are none. */
uint8_t levels_quantile(const size_t histogram[LEVELS], double fraction);

/* The level that splits the values into two groups, up to it and above it, with
 * the greatest variance between them (Otsu). */
uint8_t levels_otsu(const size_t histogram[LEVELS]);

#endif
