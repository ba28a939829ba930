/*
 * png.h - PNG bytes to pixels, and back.
 *
 * Any thread may call; what is allocated is returned or freed.
 */
#ifndef CAPSNET_PNG_H
#define CAPSNET_PNG_H

#include "model/picture/image.h"

/* Is this the 8-byte PNG signature? */
int png_has_signature(const uint8_t *bytes, size_t nbytes);

/* Do they start as a PNG of at most that many pixels? */
int png_is_small(const uint8_t *bytes, size_t nbytes, size_t max_pixels);

/* Decodes a PNG of any colour type, bit depth, palette, transparency (tRNS or
 * alpha) or interlacing through libpng's low-level API.  Its size is checked
 * in IHDR, before anything is allocated.  Transparency is composited: on white
 * when the opaque parts are dark, on black when they are light.  The picture is
 * turned as eXIf says that it is seen.
 *
 * max_side   the largest width or height accepted, in pixels
 * channels   1 for gray (Rec. 601 luma for colour), 3 for RGB, 0 for what the
 *            file has of the two
 * *image     the picture, on IMAGE_OK only; image_free() it
 * message    why not, otherwise */
__attribute__((warn_unused_result)) enum image_status
png_decode(struct image *image, const uint8_t *bytes, size_t nbytes, size_t max_side,
           size_t channels, struct image_message *message);

/* Encodes 8-bit gray or RGB.  *png is malloc'd.  Returns IMAGE_OK or
 * IMAGE_MEMORY. */
__attribute__((warn_unused_result)) enum image_status
png_encode(uint8_t **png, size_t *png_nbytes, const struct image *image);

#endif
