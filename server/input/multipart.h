/*
 * multipart.h - multipart/form-data (RFC 7578) over a complete body.
 *
 * The parser copies nothing: parts point into the body.  It is a function
 * from bytes to parts, so that it can be fuzzed.
 */
#ifndef CAPSNETD_MULTIPART_H
#define CAPSNETD_MULTIPART_H

#include <stddef.h>
#include <stdint.h>

/* One part; all point into the body.  The names are as the Content-Disposition has them
 * between their quotes, its backslashes left; NULL when it states none. */
struct multipart_part {
    const uint8_t *bytes; /* the content */
    size_t n;
    const char *name, *filename;
    size_t name_n, filename_n;
};

enum multipart_status {
    MULTIPART_OK = 0,
    MULTIPART_INVALID,  /* not multipart, or damaged */
    MULTIPART_TOO_MANY, /* more than max_parts parts */
};

enum { MULTIPART_BOUNDARY_SIZE = 71 }; /* RFC 2046: 70 characters at most, and a 0 */

/* The boundary parameter of a Content-Type, quoted or not.  Returns 0, or -1
 * when there is none or it is not one that RFC 2046 allows. */
int multipart_boundary(char boundary[MULTIPART_BOUNDARY_SIZE], const char *content_type);

/* Cuts a body into its parts.
 *
 * parts    [max_parts]; *n_parts of them are filled, on MULTIPART_OK only
 * body     [nbytes]
 * message  one clause on failure */
__attribute__((warn_unused_result)) enum multipart_status
multipart_parse(struct multipart_part *parts, size_t max_parts, size_t *n_parts,
                const uint8_t *body, size_t nbytes, const char *boundary, const char **message);

#endif
