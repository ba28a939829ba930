/*
 * dataset_load.c - see dataset_load.h.
 */
#include "model/train/data/dataset_load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/train/data/idx.h"
#include "model/train/data/png_folder.h"

/* Is there FOLDER/SET-images-idx3-ubyte or the same with .gz? */
static int has_idx(const char *folder, const char *set)
{
    int found = 0;
    for (size_t i = 0; i < 2 && !found; i++) {
        char *path;
        if (asprintf(&path, "%s/%s-images-idx3-ubyte%s", folder, set, i ? ".gz" : "") < 0)
            return 0;
        found = access(path, F_OK) == 0;
        free(path);
    }
    return found;
}

/* IDX labels 1 .. n, as EMNIST Letters has them, to 0 .. n-1, called "1" .. "n". */
static enum capsnet_status shift_labels(struct dataset *d, struct capsnet_error *error)
{
    d->classes--;
    for (size_t i = 0; i < d->n; i++)
        d->labels[i]--;
    d->names = calloc(d->classes, sizeof *d->names);
    for (size_t j = 0; d->names && j < d->classes; j++)
        if (asprintf(&d->names[j], "%zu", j + 1) < 0) {
            d->names[j] = NULL;
            dataset_free_names(d);
        }
    if (d->names)
        return CAPSNET_OK;
    snprintf(error->text, sizeof error->text, "out of memory for the classes' names");
    return CAPSNET_ERR_MEMORY;
}

/* Whether an IDX set's labels are 1 .. n, each of them there; n must be classes,
 * the model's, if that is not 0. */
static int begins_at_1(const struct dataset *d, size_t classes)
{
    size_t count[DATASET_MAX_CLASSES] = {0};
    int whole = !d->names && d->classes > 1 && (!classes || d->classes == classes + 1);
    for (size_t i = 0; i < d->n; i++)
        count[d->labels[i]]++;
    for (size_t j = 0; whole && j < d->classes; j++)
        whole = (count[j] > 0) == (j > 0);
    return whole;
}

/* A capsule without images would learn nothing but to be silent. */
static enum capsnet_status check_no_gap(const struct dataset *d, const char *folder,
                                        struct capsnet_error *error)
{
    size_t count[DATASET_MAX_CLASSES] = {0};
    for (size_t i = 0; i < d->n; i++)
        count[d->labels[i]]++;
    for (size_t j = 0; j < d->classes; j++)
        if (!count[j]) {
            snprintf(error->text, sizeof error->text,
                     "%.300s: no training image has label %zu, but the labels go up to %zu; they "
                     "must be 0, 1, 2, ... or 1, 2, ... without a gap",
                     folder, j, d->classes - 1);
            return CAPSNET_ERR_FORMAT;
        }
    return CAPSNET_OK;
}

/* The model's class of that name, or its number of classes. */
static size_t find_class(const struct capsnet_model *model, const char *name)
{
    const size_t classes = capsnet_model_shape(model)->classes;
    size_t j = 0;
    while (j < classes && strcmp(capsnet_model_label(model, j), name) != 0)
        j++;
    return j;
}

/* Makes the labels the model's classes: by name, or by their order when the
 * model calls none of them by the data's names (its labels were given by hand). */
static enum capsnet_status match_classes(struct dataset *d, const struct capsnet_model *model,
                                         const char *folder, struct capsnet_error *error)
{
    const size_t classes = capsnet_model_shape(model)->classes;
    size_t class_of[DATASET_MAX_CLASSES], known = 0, unknown = 0;
    for (size_t j = 0; d->names && j < d->classes; j++) {
        class_of[j] = find_class(model, d->names[j]);
        known += class_of[j] < classes;
        if (class_of[j] == classes)
            unknown = j; /* to be named in the message */
    }
    const int by_order = known == 0 && (d->names ? d->classes == classes : d->classes <= classes);
    if (!by_order && (!d->names || known < d->classes)) {
        if (known)
            snprintf(error->text, sizeof error->text,
                     "%.200s: the class \"%.100s\" is none of the model's", folder,
                     d->names[unknown]);
        else
            snprintf(error->text, sizeof error->text,
                     "%.300s: the images have %zu classes, but the model knows %zu", folder,
                     d->classes, classes);
        return CAPSNET_ERR_SHAPE;
    }
    for (size_t i = 0; i < d->n && !by_order; i++)
        d->labels[i] = (uint8_t)class_of[d->labels[i]];
    dataset_free_names(d);
    d->classes = classes;
    return CAPSNET_OK;
}

static enum capsnet_status load_files(struct dataset *dataset, const char *folder,
                                      const char *set, size_t channels,
                                      struct capsnet_error *error)
{
    if (has_idx(folder, set))
        return dataset_load_idx(dataset, folder, set, error);
    if (png_folder_exists(folder, set))
        return dataset_load_png(dataset, folder, set, channels, error);
    snprintf(error->text, sizeof error->text,
             "%.200s: there is neither %.60s-images-idx3-ubyte[.gz] nor %.60s/ with a folder of "
             "PNGs for each class; `make data` brings MNIST",
             folder, set, set);
    return CAPSNET_ERR_IO;
}

enum capsnet_status dataset_load(struct dataset *dataset, const char *folder, const char *set,
                                 const struct capsnet_model *model, struct capsnet_error *error)
{
    struct dataset made;
    const size_t channels = model ? capsnet_model_shape(model)->channels : 0;
    enum capsnet_status status = load_files(&made, folder, set, channels, error);
    if (status != CAPSNET_OK)
        return status;
    if (begins_at_1(&made, model ? capsnet_model_shape(model)->classes : 0))
        status = shift_labels(&made, error);
    if (status == CAPSNET_OK)
        status = model ? match_classes(&made, model, folder, error)
                   : check_no_gap(&made, folder, error);
    if (status == CAPSNET_OK)
        *dataset = made;
    else
        dataset_free(&made);
    return status;
}
