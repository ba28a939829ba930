/*
 * safetensors.h - the weights file: an 8-byte little-endian header length, a
 * JSON header, raw tensors.  Reading maps the file and checks every field
 * before anything is used; writing goes beside the target, is synced, and is
 * renamed over it, so that a reader never sees half a file.
 *
 * Format: https://github.com/huggingface/safetensors
 */
#ifndef CAPSNET_SAFETENSORS_H
#define CAPSNET_SAFETENSORS_H

#include "model/capsnet.h"
#include "model/weights_file/float_formats.h"

enum { SAFETENSORS_MAX_RANK = 8 };

/* One tensor of a mapped file.  data points into the mapping: little-endian,
 * row-major, aligned to the element size or not. */
struct safetensors_tensor {
    const char *name;
    enum safetensors_dtype dtype;
    size_t rank;
    size_t dims[SAFETENSORS_MAX_RANK];
    size_t count; /* number of elements */
    const unsigned char *data;
};

/* A string of the header's "__metadata__". */
struct safetensors_metadata {
    const char *key, *value;
};

/* A tensor to be written: fp32 in memory, stored as dtype. */
struct safetensors_entry {
    const char *name;
    enum safetensors_dtype dtype;
    size_t rank;
    size_t dims[SAFETENSORS_MAX_RANK];
    const float *data;
};

struct safetensors; /* a mapped, checked file */

/* Maps and checks a file: lengths, JSON, dtypes, shapes, offsets, overlaps,
 * gaps, duplicate names.  Returns OK, ERR_IO, ERR_FORMAT or ERR_MEMORY with
 * one sentence in error. */
CAPSNET_MUST_CHECK enum capsnet_status
safetensors_open(struct safetensors **file, const char *path, struct capsnet_error *error);

/* The same over bytes already in memory (not copied: they must outlive the
 * handle); name stands for the path in error messages. */
CAPSNET_MUST_CHECK enum capsnet_status
safetensors_parse(struct safetensors **file, const char *name, const void *bytes, size_t nbytes,
                  struct capsnet_error *error);

/* Unmaps; NULL is ignored. */
void safetensors_close(struct safetensors *file);

/* The tensor of that name, or NULL. */
const struct safetensors_tensor *safetensors_find(const struct safetensors *file, const char *name);

/* Tensor i in the file's order, or NULL past the end. */
const struct safetensors_tensor *safetensors_at(const struct safetensors *file, size_t i);

/* The metadata string of that key, or NULL. */
const char *safetensors_get_metadata(const struct safetensors *file, const char *key);

/* Metadata string i in the file's order, or NULL past the end. */
const struct safetensors_metadata *safetensors_metadata_at(const struct safetensors *file, size_t i);

/* Converts a tensor to fp32.  dst: [tensor->count]. */
void safetensors_to_f32(const struct safetensors_tensor *tensor, float *dst);

/* Whether a text is UTF-8, as every string of the header must be. */
int safetensors_is_utf8(const char *text);

/* Writes a file atomically: PATH.tmp-PID beside it, fsync, rename, fsync of
 * the folder; where path is a symbolic link, its target is what is written.
 * Returns OK, ERR_IO or ERR_MEMORY; on failure the old file stands untouched and
 * nothing is left beside it. */
CAPSNET_MUST_CHECK enum capsnet_status
safetensors_write(const char *path, const struct safetensors_entry *entries, size_t n_entries,
                  const struct safetensors_metadata *metadata, size_t n_metadata,
                  struct capsnet_error *error);

#endif
