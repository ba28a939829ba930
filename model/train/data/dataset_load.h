/*
 * dataset_load.h - the one way to load a data set.
 */
#ifndef CAPSNET_DATASET_LOAD_H
#define CAPSNET_DATASET_LOAD_H

#include "model/capsnet.h"
#include "model/train/data/dataset.h"

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

#endif
