/*
 * json_numbers.h - large arrays of numbers in JSON, read without a node for each.
 *
 * An inference request may hold 64 x 28 x 28 numbers as "data": [...].  They
 * are found by their place and read here; what is left of the request is small
 * enough for cJSON.
 */
#ifndef CAPSNETD_NUMBERS_H
#define CAPSNETD_NUMBERS_H

#include <stddef.h>

/* How deep the parts of a request lie: {"inputs": [{"data": [...]}]}. */
enum { NUMBERS_ROOT = 1, NUMBERS_LIST, NUMBERS_TENSOR };

/* Where the search has come to.  Begins as {.bytes = ..., .nbytes = ...}. */
struct numbers_scan {
    const char *bytes; /* [nbytes], JSON or not */
    size_t nbytes, at, depth;
    char open[NUMBERS_TENSOR + 1]; /* [depth] the bracket that opened it */
    int is_inputs, is_data;        /* the last key of the root, of a tensor */
};

/* Finds the next array inputs[i].data that holds no strings and no objects.
 * Keys written with escapes are not known again.
 *
 * *found  where its opening bracket is
 *
 * Returns the length up to and with its closing bracket, 0 when there is none. */
size_t numbers_next(struct numbers_scan *scan, size_t *found);

enum numbers_status {
    NUMBERS_OK = 0,
    NUMBERS_SHAPE,    /* more or fewer numbers, or other brackets, than the shape says */
    NUMBERS_MALFORMED /* something else than a number */
};

/* Reads what numbers_next() found, as a flat list or nested as the shape says.
 *
 * values  [product of dims], each rounded correctly; infinite when too large
 * dims    [rank], none of them 0; rank 1 to 8
 * text    begins with its first bracket and ends with the matching one
 * *n      how many numbers were read */
enum numbers_status numbers_read(float *values, const size_t *dims, size_t rank, const char *text,
                                 size_t *n);

#endif
