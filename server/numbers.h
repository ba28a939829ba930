/*
 * numbers.h - large arrays of numbers in JSON, read without a node for each.
 *
 * An inference request may hold 64 x 28 x 28 numbers as "data": [...].  They
 * are found by their key and read here; what is left of the request is small
 * enough for cJSON.
 */
#ifndef CAPSNETD_NUMBERS_H
#define CAPSNETD_NUMBERS_H

#include <stddef.h>

/* Finds the first "data": [...] that holds no strings and no objects.
 *
 * bytes   [nbytes], JSON or not
 * *at     where its opening bracket is, looked for from *at on
 *
 * Returns the length up to and with its closing bracket, 0 when there is none. */
size_t numbers_find(const char *bytes, size_t nbytes, size_t *at);

enum numbers_status {
    NUMBERS_OK = 0,
    NUMBERS_SHAPE,    /* more or fewer numbers, or other brackets, than the shape says */
    NUMBERS_MALFORMED /* something else than a number */
};

/* Reads what numbers_find() found, as a flat list or nested as the shape says.
 *
 * values  [product of dims], each rounded correctly; infinite when too large
 * dims    [rank], none of them 0; rank 1 to 8
 * text    begins with its first bracket and ends with the matching one
 * *n      how many numbers were read */
enum numbers_status numbers_read(float *values, const size_t *dims, size_t rank, const char *text,
                                 size_t *n);

#endif
