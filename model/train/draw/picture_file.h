/*
 * picture_file.h - a picture to a file.
 */
#ifndef CAPSNET_PICTURE_FILE_H
#define CAPSNET_PICTURE_FILE_H

#include "model/capsnet.h"
#include "model/picture/image.h"

/* Writes it as a PNG.  Returns OK, ERR_IO or ERR_MEMORY. */
CAPSNET_MUST_CHECK enum capsnet_status picture_write(const struct image *picture, const char *path,
                                                     struct capsnet_error *error);

#endif
