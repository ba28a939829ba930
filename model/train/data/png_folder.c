/*
 * png_folder.c - see png_folder.h.
 */
#include "model/train/data/png_folder.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model/picture/png.h"

/* Sides above are beyond every network; files above are no small picture. */
enum { MAX_SIDE = 4096, MAX_FILE_BYTES = 64 << 20 };
static const size_t max_set_bytes = (size_t)8 << 30;

/* One class's files, sorted. */
struct class_files {
    struct dirent **entries;
    size_t n;
};

struct loader {
    char *root;              /* the folder of the class folders */
    struct dirent **classes; /* in the model's order */
    size_t n_classes;
    struct class_files *files; /* [n_classes] */
    char *first;               /* the path of the first picture */
    uint8_t *bytes;            /* of one file */
    struct dataset made;
    struct capsnet_error *error;
};

__attribute__((format(printf, 3, 4))) static enum capsnet_status
fail(const struct loader *l, enum capsnet_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(l->error->text, sizeof l->error->text, format, arguments);
    va_end(arguments);
    return status;
}

static enum capsnet_status no_memory(const struct loader *l)
{
    return fail(l, CAPSNET_ERR_MEMORY, "%.300s: not enough memory for the images", l->root);
}

static char *join(const char *folder, const char *name)
{
    char *path;
    return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

static int is_folder(const char *path)
{
    struct stat info;
    return path && stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static void free_entries(struct dirent **entries, size_t n)
{
    for (size_t i = 0; entries && i < n; i++)
        free(entries[i]);
    free(entries);
}

/* ---- Which files there are ----------------------------------------------- */

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* Numbers of any length, by value and then by bytes ("7" and "07"). */
static int by_number(const void *a, const void *b)
{
    const char *x = (*(struct dirent *const *)a)->d_name, *y = (*(struct dirent *const *)b)->d_name;
    const char *p = x + strspn(x, "0"), *q = y + strspn(y, "0");
    const size_t m = strlen(p), n = strlen(q);
    if (m != n)
        return m < n ? -1 : 1;
    int order = strcmp(p, q);
    return order ? order : strcmp(x, y);
}

/* The visible entries of a folder, by bytes; -1 and errno on failure. */
static int list(const char *path, struct dirent ***entries)
{
    return scandir(path, entries, is_visible, by_bytes);
}

/* The folders in root, but for the one called except. */
static enum capsnet_status list_classes(struct loader *l, const char *except)
{
    int n = list(l->root, &l->classes);
    if (n < 0)
        return fail(l, CAPSNET_ERR_IO, "%.300s: cannot read the folder: %s", l->root,
                    strerror(errno));
    int numbers = 1;
    size_t kept = 0;
    for (size_t i = 0; i < (size_t)n; i++) {
        struct dirent *entry = l->classes[i];
        char *path = join(l->root, entry->d_name);
        if (is_folder(path) && strcmp(entry->d_name, except) != 0) {
            numbers &= entry->d_name[strspn(entry->d_name, "0123456789")] == 0;
            l->classes[kept++] = entry;
        } else {
            free(entry);
        }
        free(path);
    }
    l->n_classes = kept;
    if (numbers && kept)
        qsort(l->classes, kept, sizeof *l->classes, by_number);
    return CAPSNET_OK;
}

static enum capsnet_status list_files(struct loader *l)
{
    if (l->n_classes == 0)
        return fail(l, CAPSNET_ERR_FORMAT,
                    "%.300s: there is no class, that is no folder of PNGs", l->root);
    if (l->n_classes > DATASET_MAX_CLASSES)
        return fail(l, CAPSNET_ERR_FORMAT, "%.300s: there are %zu classes, and at most %d are "
                    "possible", l->root, l->n_classes, DATASET_MAX_CLASSES);
    l->files = calloc(l->n_classes, sizeof *l->files);
    if (!l->files)
        return no_memory(l);
    for (size_t j = 0; j < l->n_classes; j++) {
        char *path = join(l->root, l->classes[j]->d_name);
        int n = path ? list(path, &l->files[j].entries) : -1;
        enum capsnet_status status = CAPSNET_OK;
        if (n < 0)
            status = fail(l, CAPSNET_ERR_IO, "%.300s/%.100s: cannot read the folder: %s", l->root,
                          l->classes[j]->d_name, strerror(errno));
        else if (n == 0)
            status = fail(l, CAPSNET_ERR_FORMAT, "%.300s: the class is empty: there is no PNG",
                          path);
        free(path);
        if (status != CAPSNET_OK)
            return status;
        l->files[j].n = (size_t)n;
        l->made.n += (size_t)n;
    }
    return CAPSNET_OK;
}

/* ---- Pictures ------------------------------------------------------------- */

static enum capsnet_status read_bytes(const struct loader *l, const char *path, size_t *nbytes)
{
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return fail(l, CAPSNET_ERR_FORMAT, "%.300s: this is no PNG, but a folder or the like", path);
    FILE *file = fopen(path, "rbe");
    *nbytes = file ? fread(l->bytes, 1, MAX_FILE_BYTES, file) : 0;
    int bad = !file || ferror(file);
    if (bad)
        (void)fail(l, CAPSNET_ERR_IO, "%.300s: cannot read the file: %s", path, strerror(errno));
    if (file)
        fclose(file);
    return bad ? CAPSNET_ERR_IO : CAPSNET_OK;
}

/* The first picture decides on the size. */
static enum capsnet_status allocate(struct loader *l, const char *path, const struct image *image)
{
    struct dataset *d = &l->made;
    const size_t image_bytes = image->height * image->width * image->channels;
    if (d->n > max_set_bytes / image_bytes)
        return fail(l, CAPSNET_ERR_FORMAT,
                    "%.300s: %zu images of %zu x %zu are more than is sane", l->root, d->n,
                    image->width, image->height);
    d->height = image->height;
    d->width = image->width;
    d->channels = image->channels;
    d->pixels = malloc(d->n * image_bytes);
    d->labels = malloc(d->n);
    l->first = strdup(path);
    return d->pixels && d->labels && l->first ? CAPSNET_OK : no_memory(l);
}

/* Reads a file as image i. */
static enum capsnet_status load_picture(struct loader *l, const char *path, size_t i,
                                        size_t channels)
{
    struct dataset *d = &l->made;
    struct image image;
    struct image_message message;
    size_t nbytes = 0;
    enum capsnet_status status = read_bytes(l, path, &nbytes);
    if (status != CAPSNET_OK)
        return status;
    enum image_status decoded = png_decode(&image, l->bytes, nbytes, MAX_SIDE, channels, &message);
    if (decoded == IMAGE_MEMORY)
        return no_memory(l);
    if (decoded != IMAGE_OK)
        return fail(l, CAPSNET_ERR_FORMAT, "%.250s: %.200s", path, message.text);
    if (i == 0)
        status = allocate(l, path, &image);
    else if (image.width != d->width || image.height != d->height)
        status = fail(l, CAPSNET_ERR_FORMAT,
                      "%.180s is %zu x %zu, but %.180s is %zu x %zu; all must be of one size", path,
                      image.width, image.height, l->first, d->width, d->height);
    const size_t image_bytes = d->height * d->width * d->channels;
    if (status == CAPSNET_OK)
        memcpy(d->pixels + i * image_bytes, image.pixels, image_bytes);
    image_free(&image);
    return status;
}

static enum capsnet_status load_pictures(struct loader *l, size_t channels)
{
    l->bytes = malloc(MAX_FILE_BYTES);
    if (!l->bytes)
        return no_memory(l);
    for (size_t i = 0, turn = 0; i < l->made.n; turn++)
        for (size_t j = 0; j < l->n_classes; j++) {
            if (turn >= l->files[j].n)
                continue;
            char *path;
            if (asprintf(&path, "%s/%s/%s", l->root, l->classes[j]->d_name,
                         l->files[j].entries[turn]->d_name) < 0)
                return no_memory(l);
            enum capsnet_status status = load_picture(l, path, i, channels);
            free(path);
            if (status != CAPSNET_OK)
                return status;
            l->made.labels[i++] = (uint8_t)j;
        }
    return CAPSNET_OK;
}

/* Three channels that are one everywhere become one. */
static void drop_colour(struct dataset *d)
{
    const size_t count = d->n * d->height * d->width;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *p = d->pixels + 3 * i;
        if (p[0] != p[1] || p[0] != p[2])
            return;
    }
    for (size_t i = 0; i < count; i++)
        d->pixels[i] = d->pixels[3 * i];
    d->channels = 1;
}

static enum capsnet_status set_names(struct loader *l)
{
    struct dataset *d = &l->made;
    d->names = calloc(l->n_classes, sizeof *d->names);
    if (!d->names)
        return no_memory(l);
    d->classes = l->n_classes;
    for (size_t j = 0; j < d->classes; j++) {
        d->names[j] = strdup(l->classes[j]->d_name);
        if (!d->names[j])
            return no_memory(l);
    }
    return CAPSNET_OK;
}

/* ---- The set -------------------------------------------------------------- */

/* FOLDER/SET, or for "train" FOLDER itself where the former is no folder. */
static char *find_root(const char *folder, const char *set)
{
    char *path = join(folder, set);
    if (!is_folder(path) && strcmp(set, "train") == 0) {
        free(path);
        path = strdup(folder);
    }
    return path;
}

static void loader_free(struct loader *l)
{
    for (size_t j = 0; l->files && j < l->n_classes; j++)
        free_entries(l->files[j].entries, l->files[j].n);
    free(l->files);
    free_entries(l->classes, l->n_classes);
    free(l->root);
    free(l->first);
    free(l->bytes);
    dataset_free(&l->made);
}

int png_folder_exists(const char *folder, const char *set)
{
    struct capsnet_error unused;
    struct loader l = {.root = find_root(folder, set), .error = &unused};
    int exists = is_folder(l.root);
    if (exists && strcmp(l.root, folder) == 0)
        exists = list_classes(&l, "t10k") == CAPSNET_OK && l.n_classes > 0;
    loader_free(&l);
    return exists;
}

enum capsnet_status dataset_load_png(struct dataset *dataset, const char *folder, const char *set,
                                     size_t channels, struct capsnet_error *error)
{
    struct loader l = {.root = find_root(folder, set), .error = error};
    if (!l.root) {
        snprintf(error->text, sizeof error->text, "out of memory for a path");
        return CAPSNET_ERR_MEMORY;
    }
    enum capsnet_status status =
        list_classes(&l, strcmp(l.root, folder) == 0 ? "t10k" : "");
    if (status == CAPSNET_OK)
        status = list_files(&l);
    if (status == CAPSNET_OK)
        status = load_pictures(&l, channels ? channels : 3);
    if (status == CAPSNET_OK)
        status = set_names(&l);
    if (status == CAPSNET_OK) {
        if (channels == 0)
            drop_colour(&l.made);
        *dataset = l.made;
        l.made = (struct dataset){0};
    }
    loader_free(&l);
    return status;
}
