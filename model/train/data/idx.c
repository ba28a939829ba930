/*
 * idx.c - reads MNIST's pair of IDX files.  zlib's gzFile reads plain and
 * gzipped files alike, and checks the CRC of the latter.
 */
#include "model/train/data/idx.h"

#include "model/weights_file/file_error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* Type 08 (unsigned byte), then the number of dimensions. */
enum { MAGIC_IMAGES = 0x0803, MAGIC_LABELS = 0x0801 };

/* Far above any data set of this kind; below what gzread() takes at once. */
enum { MAX_SIDE = 4096, MAX_NBYTES = 1 << 30 };

/* An open file and where to report about it; at.name is path. */
struct idx_file {
    gzFile gz;
    char *path;
    struct source at;
};

static void idx_close(struct idx_file *file)
{
    if (file->gz)
        gzclose(file->gz);
    free(file->path);
}

/* Opens FOLDER/PREFIX-NAME or the same with .gz. */
static enum capsnet_status idx_open(struct idx_file *file, const char *folder, const char *prefix,
                                    const char *name, struct capsnet_error *error)
{
    static const char *const endings[] = {"", ".gz"};
    *file = (struct idx_file){.at.error = error};
    for (size_t i = 0; i < 2; i++) {
        free(file->path);
        if (asprintf(&file->path, "%s/%s-%s%s", folder, prefix, name, endings[i]) < 0) {
            *file = (struct idx_file){.at.error = error};
            snprintf(error->text, sizeof error->text, "out of memory for a path");
            return CAPSNET_ERR_MEMORY;
        }
        errno = 0; /* gzopen() leaves it when out of memory */
        file->at.name = file->path;
        file->gz = gzopen(file->path, "rbe");
        if (file->gz)
            return CAPSNET_OK;
        if (errno != ENOENT)
            break;
    }
    if (errno == ENOENT)
        return source_fail(&file->at, CAPSNET_ERR_IO,
                           "there is no such file, nor one without .gz; `make data` brings MNIST");
    return source_fail(&file->at, CAPSNET_ERR_IO, "cannot open the file: %s",
                       errno ? strerror(errno) : "out of memory");
}

/* Reads exactly nbytes, which what names. */
static enum capsnet_status read_bytes(const struct idx_file *file, void *dst, size_t nbytes,
                                      const char *what)
{
    int got = gzread(file->gz, dst, (unsigned)nbytes), code;
    const char *text = gzerror(file->gz, &code);
    if (got >= 0 && (size_t)got == nbytes)
        return CAPSNET_OK;
    if (code == Z_ERRNO)
        return source_fail(&file->at, CAPSNET_ERR_IO, "cannot read the file: %s", strerror(errno));
    if (code != Z_OK && code != Z_BUF_ERROR) /* Z_BUF_ERROR: the gzip stream ends early */
        return source_fail(&file->at, CAPSNET_ERR_FORMAT, "the gzip data is damaged in its %s: %s",
                           what, text);
    return source_fail(&file->at, CAPSNET_ERR_FORMAT,
                       "the file is cut short in its %s: %d bytes of %zu", what, got < 0 ? 0 : got,
                       nbytes);
}

/* The file must end here; for a gzipped one this also checks its CRC. */
static enum capsnet_status expect_end(const struct idx_file *file)
{
    unsigned char byte;
    int got = gzread(file->gz, &byte, 1), code;
    const char *text = gzerror(file->gz, &code);
    if (got > 0)
        return source_fail(&file->at, CAPSNET_ERR_FORMAT,
                           "the file is longer than its header says; something follows the values");
    if (got < 0 || code == Z_BUF_ERROR)
        return source_fail(&file->at, CAPSNET_ERR_FORMAT, "the gzip data is damaged at its end: %s",
                           text);
    return CAPSNET_OK;
}

/* Reads the magic number and n_dims big-endian dimensions, none of which may
 * be 0. */
static enum capsnet_status read_header(const struct idx_file *file, uint32_t magic, size_t *dims,
                                       size_t n_dims)
{
    uint8_t bytes[16];
    uint32_t words[4];
    enum capsnet_status status = read_bytes(file, bytes, 4 + 4 * n_dims, "header");
    if (status)
        return status;
    for (size_t i = 0; i <= n_dims; i++)
        words[i] = (uint32_t)bytes[4 * i] << 24 | (uint32_t)bytes[4 * i + 1] << 16 |
                   (uint32_t)bytes[4 * i + 2] << 8 | bytes[4 * i + 3];
    if (words[0] != magic)
        return source_fail(
            &file->at, CAPSNET_ERR_FORMAT,
            "the magic number is 0x%08x where 0x%08x belongs; is this the right file?", words[0],
            magic);
    for (size_t i = 0; i < n_dims; i++) {
        if (words[i + 1] == 0)
            return source_fail(&file->at, CAPSNET_ERR_FORMAT, "the header states 0 %s",
                               i             ? "pixels"
                               : n_dims == 3 ? "images"
                                             : "labels");
        dims[i] = words[i + 1];
    }
    return CAPSNET_OK;
}

static enum capsnet_status load_images(struct dataset *dataset, const struct idx_file *file)
{
    size_t dims[3];
    enum capsnet_status status = read_header(file, MAGIC_IMAGES, dims, 3);
    if (status)
        return status;
    if (dims[1] > MAX_SIDE || dims[2] > MAX_SIDE || dims[0] > MAX_NBYTES / (dims[1] * dims[2]))
        return source_fail(&file->at, CAPSNET_ERR_FORMAT,
                           "the header states %zu images of %zu x %zu, more than is sane", dims[0],
                           dims[1], dims[2]);
    size_t nbytes = dims[0] * dims[1] * dims[2];
    dataset->n = dims[0];
    dataset->height = dims[1];
    dataset->width = dims[2];
    dataset->channels = 1;
    dataset->pixels = malloc(nbytes);
    if (!dataset->pixels)
        return source_fail(&file->at, CAPSNET_ERR_MEMORY, "out of memory for %zu bytes of pixels",
                           nbytes);
    status = read_bytes(file, dataset->pixels, nbytes, "pixels");
    return status ? status : expect_end(file);
}

static enum capsnet_status load_labels(struct dataset *dataset, const struct idx_file *file)
{
    size_t n = 0;
    enum capsnet_status status = read_header(file, MAGIC_LABELS, &n, 1);
    if (status)
        return status;
    if (n != dataset->n)
        return source_fail(&file->at, CAPSNET_ERR_FORMAT, "the file has %zu labels for %zu images",
                           n, dataset->n);
    dataset->labels = malloc(n);
    if (!dataset->labels)
        return source_fail(&file->at, CAPSNET_ERR_MEMORY, "out of memory for %zu labels", n);
    status = read_bytes(file, dataset->labels, n, "labels");
    if (status)
        return status;
    for (size_t i = 0; i < n; i++)
        if (dataset->labels[i] >= dataset->classes)
            dataset->classes = dataset->labels[i] + (size_t)1;
    return expect_end(file);
}

enum capsnet_status dataset_load_idx(struct dataset *dataset, const char *folder,
                                     const char *prefix, struct capsnet_error *error)
{
    struct dataset made = {0};
    struct idx_file file;
    enum capsnet_status status = idx_open(&file, folder, prefix, "images-idx3-ubyte", error);
    if (!status)
        status = load_images(&made, &file);
    idx_close(&file);
    if (!status) {
        status = idx_open(&file, folder, prefix, "labels-idx1-ubyte", error);
        if (!status)
            status = load_labels(&made, &file);
        idx_close(&file);
    }
    if (status)
        dataset_free(&made);
    else
        *dataset = made;
    return status;
}
