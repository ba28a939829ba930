/*
 * picture_file.c - see picture_file.h.
 */
#include "model/train/draw/picture_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/picture/png.h"

enum capsnet_status picture_write(const struct image *picture, const char *path,
                                  struct capsnet_error *error)
{
    uint8_t *png;
    size_t nbytes;
    if (png_encode(&png, &nbytes, picture) != IMAGE_OK) {
        snprintf(error->text, sizeof error->text, "%.300s: not enough memory for the picture",
                 path);
        return CAPSNET_ERR_MEMORY;
    }
    FILE *file = fopen(path, "wbe");
    int bad = !file || fwrite(png, 1, nbytes, file) != nbytes;
    if (file)
        bad |= fclose(file) != 0;
    free(png);
    if (!bad)
        return CAPSNET_OK;
    snprintf(error->text, sizeof error->text, "%.300s: cannot write the picture: %s", path,
             strerror(errno));
    return CAPSNET_ERR_IO;
}
