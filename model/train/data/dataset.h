/*
 * dataset.h - labelled images in memory, and the one way to load them.
 */
#ifndef CAPSNET_DATASET_H
#define CAPSNET_DATASET_H

#include <stdint.h>

#include "model/capsnet.h"

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

/* Loads a set, "train" or "t10k", of a folder that holds either
 *   SET-images-idx3-ubyte and SET-labels-idx1-ubyte, plain or .gz (idx.h), or
 *   SET/LABEL/NAME.png, or for "train" LABEL/NAME.png (png_folder.h).
 *
 * IDX labels that are 1 .. n, as EMNIST Letters', are shifted to 0 .. n-1, called
 * "1" .. "n".
 *
 * model  NULL: this set is trained on; every class up to the largest must have
 *        images, and the pictures decide on gray or colour.
 *        Else the set is for that model: labels become its classes (by the
 *        classes' names where both sides have them) and PNGs get its channels.
 *
 * Returns OK, ERR_IO, ERR_FORMAT, ERR_SHAPE (not for that model), ERR_MEMORY. */
CAPSNET_MUST_CHECK enum capsnet_status dataset_load(struct dataset *dataset, const char *folder,
                                                    const char *set,
                                                    const struct capsnet_model *model,
                                                    struct capsnet_error *error);

/* Mean square of the pixels of one image, each 0 to 1. */
float dataset_ink(const struct dataset *dataset, size_t image);

/* Frees the arrays and zeroes the struct. */
void dataset_free(struct dataset *dataset);

#endif
