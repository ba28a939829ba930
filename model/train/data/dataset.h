/*
 * dataset.h - labelled images in memory.
 */
#ifndef CAPSNET_DATASET_H
#define CAPSNET_DATASET_H

#include <stddef.h>
#include <stdint.h>

/* Labels are bytes. */
enum { DATASET_MAX_CLASSES = 256 };

/* Images of one size, each with its class. */
struct dataset {
    size_t n, height, width, channels;
    size_t classes;  /* largest label + 1, or the model's */
    uint8_t *pixels; /* [n][height][width][channels], 0 to 255 */
    uint8_t *labels; /* [n] */
    char **names;    /* [classes] what the classes are called, or NULL: unknown, or the model's labels */
};

/* Mean square of the pixels of one image, each 0 to 1. */
float dataset_ink(const struct dataset *dataset, size_t image);

/* Frees the names alone: the classes are called by their numbers, or as a model
 * calls them. */
void dataset_free_names(struct dataset *dataset);

/* Frees the arrays and zeroes the struct. */
void dataset_free(struct dataset *dataset);

#endif
