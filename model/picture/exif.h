/* exif.h - which way up a camera says that its picture is. */
#ifndef CAPSNET_EXIF_H
#define CAPSNET_EXIF_H

#include <stddef.h>
#include <stdint.h>

/* The orientation, 1 to 8, that Exif data state in their first directory; 1, as
 * it is stored, when they state none or are damaged.
 *
 * bytes   from the TIFF header on, as PNG's eXIf has them */
unsigned exif_orientation(const uint8_t *bytes, size_t nbytes);

#endif
