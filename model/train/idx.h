/*
 * idx.h - MNIST's file format, plain or gzipped, and the data set it makes.
 * Format: the description on the MNIST page (magic 0x0000TTDD, big-endian
 * 32-bit dimensions, then the values).
 */
#ifndef CAPSNET_IDX_H
#define CAPSNET_IDX_H

#include <stdint.h>

#include "../capsnet.h"

/* Images of one size, each with its class. */
struct dataset {
    size_t n, height, width, channels;
    size_t classes;  /* largest label + 1 */
    uint8_t *pixels; /* [n][height][width][channels], 0 to 255 */
    uint8_t *labels; /* [n] */
};

/* Loads the pair PREFIX-images-idx3-ubyte and PREFIX-labels-idx1-ubyte, each
 * plain or with .gz, from a folder: dataset_load_idx(&d, "data", "t10k", &e).
 * Checks magic, dimensions, lengths (too short and too long) and that both
 * files count the same.  Returns OK, ERR_IO, ERR_FORMAT, ERR_MEMORY. */
CAPSNET_MUST_CHECK enum capsnet_status
dataset_load_idx(struct dataset *dataset, const char *folder, const char *prefix,
                 struct capsnet_error *error);

/* Frees the arrays and zeroes the struct. */
void dataset_free(struct dataset *dataset);

#endif
