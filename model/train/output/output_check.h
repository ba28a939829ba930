/*
 * output_check.h - the files that a command is about to write, tried before its work:
 * what cannot be written shows now, not after hours.
 */
#ifndef CAPSNET_OUTPUT_CHECK_H
#define CAPSNET_OUTPUT_CHECK_H

#include "model/capsnet.h"

enum output_kind {
    OUTPUT_REPLACED, /* by another file, as safetensors_write() does */
    OUTPUT_TRUNCATED,
    OUTPUT_APPENDED,
    OUTPUT_INPUT /* is read, and is none of the others */
};

/* A file and the option that names it, e.g. "--log"; path may be NULL: none. */
struct output {
    const char *option, *path;
    enum output_kind kind;
};

/* Makes sure that no two are the same file, and tries each.  Returns OK, ERR_IO
 * or ERR_ARGUMENT (two are the same). */
CAPSNET_MUST_CHECK enum capsnet_status outputs_check(const struct output *outputs, size_t n,
                                                     struct capsnet_error *error);

#endif
