/*
 * safetensors_sample.h - a weights file with one of everything, and what its tests
 * share.  What goes wrong fails the test.
 */
#ifndef SAFETENSORS_SAMPLE_H
#define SAFETENSORS_SAMPLE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/weights_file/safetensors.h"

enum { SAMPLE_N = 10, N_SAMPLE = 6, N_METADATA = 5 };
extern const struct safetensors_entry sample[N_SAMPLE];
extern const struct safetensors_metadata sample_metadata[N_METADATA];

/* Writes the sample to a file. */
void write_sample(const char *path);

/* The sample as bytes, malloc'd. */
unsigned char *sample_bytes(size_t *nbytes);

/* A whole file of less than a megabyte, malloc'd. */
unsigned char *read_all(const char *path, size_t *nbytes);

/* Fails unless the message has the fragment. */
void assert_says(const struct capsnet_error *error, const char *fragment);

/* Parses a copy that lies in a heap block of its exact size.  The copy goes to
 * *copy when the parse succeeds. */
enum capsnet_status parse_copy(struct safetensors **file, unsigned char **copy,
                               const void *bytes, size_t nbytes, struct capsnet_error *error);

#endif
