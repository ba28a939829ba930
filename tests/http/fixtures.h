/*
 * fixtures.h - what the tests send: pictures, whole and damaged, and a small
 * network to answer them.  Everything is made in memory from a number, so
 * that the tests need no file of the repository.
 */
#ifndef HTTP_FIXTURES_H
#define HTTP_FIXTURES_H

#include <stddef.h>
#include <stdint.h>

/* ---- Weights ---------------------------------------------------------- */

/* A tiny network for 28x28 gray images with ten classes and random weights:
 * 1 millisecond an image, the same answers in every run.  Returns its path. */
const char *test_weights(void);

/* Writes such a network to path; conv1_channels sets its size (the test
 * weights have 16), threshold is its metadata's error_threshold or NULL. */
void make_weights(const char *path, size_t conv1_channels, const char *threshold);

/* The same with a name of its model's own; make_weights() has "capsnet-test". */
void make_named_weights(const char *path, const char *name, size_t conv1_channels,
                        const char *threshold);

enum { TEST_CLASSES = 10, TEST_POSE_DIMS = 16 };

/* ---- Files ------------------------------------------------------------ */

/* A whole file with a 0 behind it; free() it.  One that cannot be read fails
 * the test. */
uint8_t *read_file(const char *path, size_t *nbytes);

/* Does it exist and can it be read? */
int file_exists(const char *path);

/* The folder with MNIST's test set: MNIST_DIR, ../shared/mnist or data; NULL
 * when none has it. */
const char *mnist_folder(void);

/* The shipped weights file; NULL when it is not there. */
const char *shipped_weights(void);

/* ---- Pictures --------------------------------------------------------- */

/* Bytes that free() frees. */
struct bytes {
    uint8_t *data;
    size_t nbytes;
};

/* A 28x28 gray drawing, light on dark in the middle 20x20 as MNIST has them;
 * every number gives another one. */
void draw_pixels(uint8_t pixels[28 * 28], unsigned number);
struct bytes draw_png(unsigned number);

/* An 8-bit gray PNG of any pixels [height][width]. */
struct bytes gray_png(const uint8_t *pixels, size_t width, size_t height);

/* A gray PNG all of one value. */
struct bytes blank_png(size_t width, size_t height, uint8_t value);

/* Only a header of that size and a few bytes of data. */
struct bytes bomb_png(uint32_t width, uint32_t height);

/* Replaces the CRC of the chunk that begins at offset with the right one. */
void png_fix_crc(struct bytes *png, size_t offset);

/* Reads width and height of an 8-bit gray PNG after checking its signature,
 * and that it decodes; fails the test when it is none.  Returns the pixels
 * [height][width]; free() them. */
uint8_t *check_png(const uint8_t *bytes, size_t nbytes, size_t width, size_t height);

/* {"images": ["<base64>", ...]}; free() it. */
char *images_json(const struct bytes *pngs, size_t n);

#endif
