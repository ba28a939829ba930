/*
 * png_folder.h - a data set made of PNG files, one folder for each class.
 */
#ifndef CAPSNET_PNG_FOLDER_H
#define CAPSNET_PNG_FOLDER_H

#include "model/capsnet.h"
#include "model/train/data/dataset.h"

/* Is there FOLDER/SET/, or for "train" any class folder in FOLDER itself? */
int png_folder_exists(const char *folder, const char *set);

/* Loads FOLDER/SET/LABEL/NAME.png.  For "train", where there is no FOLDER/train,
 * the classes lie in FOLDER itself, t10k/ beside them not being one.
 *
 * The folders' names become dataset->names: in the order of numbers when all
 * are numbers, of bytes otherwise.  Hidden files (.NAME) are skipped; anything
 * else in a class folder must be a PNG, all of one size.  The first image of
 * every class comes first, then the second of every class, and so on, so that
 * the first N images are of all classes; within a class by file name.
 *
 * channels  1 gray, 3 colour, 0: colour if any picture has a colour
 *
 * Returns OK, ERR_IO, ERR_FORMAT (the message names the file), ERR_MEMORY. */
CAPSNET_MUST_CHECK enum capsnet_status dataset_load_png(struct dataset *dataset,
                                                        const char *folder, const char *set,
                                                        size_t channels,
                                                        struct capsnet_error *error);

#endif
