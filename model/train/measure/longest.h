/*
 * longest.h - what the longest capsules say is in a picture.
 */
#ifndef CAPSNET_LONGEST_H
#define CAPSNET_LONGEST_H

#include <stddef.h>
#include <stdint.h>

/* Whether the longest of lengths [classes] is label, or, where other is another
 * class, the two longest are label and other; of equal ones the lower class counts as
 * longer, as in capsnet_winner(). */
int longest_are(size_t classes, const float *lengths, size_t label, size_t other);

/* The two longest of lengths [classes], of two classes or more, the longest first. */
void longest_two(uint8_t two[2], size_t classes, const float *lengths);

#endif
