/*
 * image.h - a picture in memory, and why there is none.
 *
 * What both programs share: the server reads the pictures that it is sent and
 * draws those it answers with, the trainer reads its data and draws its sheets.
 * Nothing here prints, or keeps anything between calls: any thread may call.
 */
#ifndef CAPSNET_IMAGE_H
#define CAPSNET_IMAGE_H

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
    IMAGE_INVALID,   /* the bytes or the picture are not what is asked for */
    IMAGE_TOO_LARGE, /* more pixels than allowed */
    IMAGE_MEMORY,    /* an allocation failed */
};

/* A message is one clause that can follow "images[2]: ", without a full stop,
 * e.g. "the PNG ends in the middle of its IDAT". */
struct image_message {
    char text[256];
};

void image_free(struct image *image);

/* Turns and mirrors the picture from how it is stored to how it is seen, by Exif's
 * orientation: 1 as it is ... 8.  Returns IMAGE_OK, or IMAGE_MEMORY, and then it
 * stays as it was. */
__attribute__((warn_unused_result)) enum image_status image_orient(struct image *image,
                                                                   unsigned orientation);

/* Pixels 0..1 [height][width][channels] to 8 bits (x 255, rounded, clamped),
 * each pixel enlarged to scale x scale.  Returns IMAGE_OK or IMAGE_MEMORY. */
__attribute__((warn_unused_result)) enum image_status
image_from_digit(struct image *image, const float *digit, size_t height, size_t width,
                 size_t channels, size_t scale);

#endif
