/*
 * text.h - a growing string, JSON written into it, and a client's text made fit
 * to be quoted.
 *
 * A failed allocation is remembered, not reported: write everything, then ask
 * once, with text_take() or text.failed.
 */
#ifndef CAPSNETD_TEXT_H
#define CAPSNETD_TEXT_H

#include <stddef.h>

/* Zero it to begin: struct text text = {0}. */
struct text {
    char *bytes; /* owned; 0-terminated when not NULL */
    size_t n, capacity;
    int failed;
};

/* Appends n bytes, a string, or what printf would print. */
void text_add_bytes(struct text *text, const void *bytes, size_t n);
void text_add(struct text *text, const char *string);
void text_addf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Appends n writable bytes that the caller fills, and returns them; NULL when
 * memory is short. */
char *text_add_space(struct text *text, size_t n);

/* Copies at most 40 characters of a client's text for use in a sentence:
 * printable ASCII, anything else as '?'.  Returns quoted. */
const char *quote_client(char quoted[48], const char *text);

/* Appends a JSON string with its quotes, escaped; NULL is written as null. */
void json_add_string(struct text *text, const char *string);

/* Appends the shortest decimal that reads back as the same float; null for
 * NaN and the infinities, which JSON cannot say. */
void json_add_float(struct text *text, float value);

/* Appends [a,b,...] of values [n]. */
void json_add_floats(struct text *text, const float *values, size_t n);

/* Appends n numbers as rows of columns: [[...],[...]].  values: [rows][columns] */
void json_add_rows(struct text *text, const float *values, size_t rows, size_t columns);

/* Hands over the bytes (free() them; 0-terminated) and their number, and
 * empties text.  NULL when an allocation failed on the way. */
char *text_take(struct text *text, size_t *n);

/* Frees what was not taken. */
void text_free(struct text *text);

#endif
