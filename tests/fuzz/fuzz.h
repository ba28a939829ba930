/*
 * fuzz.h - what the fuzz targets share.  Each fuzz_NAME.c is one target: its
 * LLVMFuzzerTestOneInput() feeds a parser and aborts when a promise of that
 * parser's header is broken; the sanitizers see the rest.
 *
 * clang links a target with libFuzzer (`make fuzz`), any compiler with replay.c
 * (`make check`), which runs it once over each file of corpus/NAME/.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Always returns 0.  bytes: [nbytes], not ended by a 0. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nbytes);

/* An assert() that no NDEBUG takes away. */
#define MUST(condition)                                                              \
    do {                                                                             \
        if (!(condition)) {                                                          \
            fprintf(stderr, "%s:%d: broken promise: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                 \
        }                                                                            \
    } while (0)

/* Takes the first line off the input as a string without its newline; without
 * a newline all of it is the line.  *bytes and *nbytes move on.  free() it. */
char *fuzz_line(const uint8_t **bytes, size_t *nbytes);

/* One sentence or clause for a client: printable ASCII, no line break, not empty. */
void fuzz_check_message(const char *message);

/* ---- A request's body, without a server -------------------------------- */

struct request;

/* A request for a tiny model (9 x 9 x 1, 2 classes, 1-D poses) whose body is a
 * copy of the bytes; the server's limits are small.  fuzz_request_check() frees it. */
struct request *fuzz_request(const uint8_t *body, size_t nbytes);

/* Checks what the input room has made of it, and frees it.  status: what
 * its function returned. */
void fuzz_request_check(struct request *request, unsigned status);

#endif
