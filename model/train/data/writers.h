/*
 * writers.h - who wrote each training image: a text file, plain or gzipped, whose
 * line i has the writer's number and his series', a tab between them.  A series is
 * a kind of writer (MNIST's: students, employees) that every split should have its
 * share of.
 */
#ifndef CAPSNET_WRITERS_H
#define CAPSNET_WRITERS_H

#include <stdint.h>

#include "model/capsnet.h"

/* The most series that there can be, numbered from 0. */
enum { WRITERS_MAX_SERIES = 256 };

struct writers {
    size_t n;         /* images */
    uint32_t *writer; /* [n] any numbers */
    uint8_t *series;  /* [n] the same for all images of a writer */
};

/* Loads the file that must have a line for each of n images; free it with
 * writers_free().  Returns OK, ERR_IO, ERR_FORMAT (the message names the line) or
 * ERR_MEMORY. */
CAPSNET_MUST_CHECK enum capsnet_status writers_load(struct writers *writers, const char *path,
                                                    size_t n, struct capsnet_error *error);

/* Frees the arrays and zeroes the struct. */
void writers_free(struct writers *writers);

#endif
