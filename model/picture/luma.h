/* luma.h - the gray of a colour. */
#ifndef CAPSNETD_LUMA_H
#define CAPSNETD_LUMA_H

#include <stdint.h>

/* Rec. 601 luma of rgb [3] in 16-bit fixed point.  The weights sum to 65536,
 * so that gray stays as it is. */
static inline uint8_t luma_of(const uint8_t *rgb)
{
    return (uint8_t)((19595u * rgb[0] + 38470u * rgb[1] + 7471u * rgb[2] + 32768u) >> 16);
}

#endif
