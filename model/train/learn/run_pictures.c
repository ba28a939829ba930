/*
 * run_pictures.c - what a finished run looks like: the curve of its epochs and
 * a sheet of reconstructions, beside the weights file.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/train/draw/picture_file.h"
#include "model/train/draw/sheet.h"
#include "model/train/learn/run_state.h"

char *run_picture_path(const char *out, const char *ending)
{
    static const char own[] = ".safetensors";
    size_t length = strlen(out);
    if (length > sizeof own - 1 && strcmp(out + length - (sizeof own - 1), own) == 0)
        length -= sizeof own - 1;
    char *path;
    return asprintf(&path, "%.*s%s", (int)length, out, ending) < 0 ? NULL : path;
}

static enum capsnet_status write_beside(const char *out, const char *ending,
                                        const struct image *picture, struct capsnet_error *error)
{
    char *path = run_picture_path(out, ending);
    enum capsnet_status status = CAPSNET_ERR_MEMORY;
    if (path)
        status = picture_write(picture, path, error);
    else
        snprintf(error->text, sizeof error->text, "out of memory for a path");
    if (status == CAPSNET_OK)
        printf("wrote %s\n", path);
    free(path);
    return status;
}

enum capsnet_status run_pictures(const struct trainer *t, struct capsnet_error *error)
{
    struct image picture;
    enum capsnet_status status = curve_draw(&picture, t->history, t->epoch, error);
    if (status != CAPSNET_OK)
        return status;
    status = write_beside(t->options->out, RUN_CURVE, &picture, error);
    image_free(&picture);
    if (status != CAPSNET_OK)
        return status;
    /* Images that were not trained on, where there are any. */
    const struct measured m = trainer_measured(t);
    if (t->test.n)
        status = sheet_of_classes(&picture, t->ws, &t->test, NULL, 0, error);
    else
        status = sheet_of_classes(&picture, t->ws, m.data, m.index, m.n, error);
    if (status != CAPSNET_OK)
        return status;
    status = write_beside(t->options->out, RUN_SHEET, &picture, error);
    image_free(&picture);
    return status;
}
