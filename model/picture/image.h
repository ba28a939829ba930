/*
 * image.h - pictures in and out: PNG bytes to pixels, pixels to the digit
 * that the network reads, and back to PNG.
 *
 * Requests travel one way: bytes -> struct image -> digit [h][w][c] -> batch.
 * Everything here is thread-safe, allocates only what it returns, and never
 * prints.
 */
#ifndef CAPSNETD_IMAGE_H
#define CAPSNETD_IMAGE_H

#include <stddef.h>
#include <stdint.h>

/* An 8-bit picture without transparency.  pixels: [height][width][channels]. */
struct image {
    size_t width, height;
    size_t channels; /* 1 gray, 3 RGB */
    uint8_t *pixels; /* owned; image_free() */
};

enum image_status {
    IMAGE_OK = 0,
    IMAGE_INVALID,   /* not a PNG, damaged, or cut short: 400 invalid_png */
    IMAGE_TOO_LARGE, /* more pixels than allowed: 413 too_large */
    IMAGE_MEMORY,    /* an allocation failed */
};

/* How an image becomes the model's input; API.md, "Images". */
enum normalize_mode { NORMALIZE_AUTO, NORMALIZE_FIT, NORMALIZE_NONE };

/* A message is one clause that can follow "images[2]: ", without a full stop,
 * e.g. "the PNG ends in the middle of its IDAT". */
struct image_message {
    char text[256];
};

void image_free(struct image *image);

/* Is this the 8-byte PNG signature? */
int png_has_signature(const uint8_t *bytes, size_t nbytes);

/* Decodes a PNG of any colour type, bit depth, palette, transparency (tRNS or
 * alpha) or interlacing through libpng's low-level API.  Its size is checked
 * in IHDR, before anything is allocated.  Transparency is composited: on white
 * when the opaque parts are dark, on black when they are light.
 *
 * max_side   the largest width or height accepted, in pixels
 * channels   1 for gray (Rec. 601 luma for colour), 3 for RGB
 * *image     the picture, on IMAGE_OK only; image_free() it
 * message    why not, otherwise */
__attribute__((warn_unused_result)) enum image_status
png_decode(struct image *image, const uint8_t *bytes, size_t nbytes, size_t max_side,
           size_t channels, struct image_message *message);

/* Encodes 8-bit gray or RGB.  *png is malloc'd.  Returns IMAGE_OK or
 * IMAGE_MEMORY. */
__attribute__((warn_unused_result)) enum image_status
png_encode(uint8_t **png, size_t *png_nbytes, const struct image *image);

/* Brings a picture to the model's input form.
 *
 * digit    [height][width][channels] floats, 0 background to 1 ink
 * height, width, channels   the model's; image->channels == channels
 *
 * AUTO: a picture of the model's size that already is an MNIST-style digit
 * (light on dark, with its margin) is used as it is; any other as FIT.
 * FIT: light on dark by the border's polarity, cropped to the ink, scaled
 * (area-averaged) into the middle 20/28 of the frame keeping its aspect,
 * centred by its centre of mass.  A blank picture gives a blank digit.
 * NONE: the picture must have the model's size; its pixels / 255 are used.
 *
 * Returns IMAGE_OK, IMAGE_INVALID (NONE and the size differs) with message, or
 * IMAGE_MEMORY. */
__attribute__((warn_unused_result)) enum image_status
normalize_image(float *digit, size_t height, size_t width, size_t channels,
                const struct image *image, enum normalize_mode mode,
                struct image_message *message);

/* Pixels 0..1 [height][width][channels] to 8 bits (x 255, rounded, clamped),
 * each pixel enlarged to scale x scale.  Returns IMAGE_OK or IMAGE_MEMORY. */
__attribute__((warn_unused_result)) enum image_status
image_from_digit(struct image *image, const float *digit, size_t height, size_t width,
                 size_t channels, size_t scale);

/* Base64 (RFC 4648 section 4, padded).  Encode: dst holds
 * base64_encoded_size(n) bytes including the terminating 0.  Decode: white
 * space is skipped; dst holds n * 3 / 4 + 3 bytes; returns 0 on success, -1
 * when the text is not base64. */
size_t base64_encoded_size(size_t nbytes);
void base64_encode(char *dst, const uint8_t *bytes, size_t nbytes);
int base64_decode(uint8_t *dst, size_t *dst_nbytes, const char *text, size_t text_nbytes);

#endif
