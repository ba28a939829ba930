/*
 * file_error.h - what is being read or written, for the messages about it.
 */
#ifndef CAPSNET_SOURCE_H
#define CAPSNET_SOURCE_H

#include "model/capsnet.h"

struct source {
    const char *name; /* a path, as a rule */
    struct capsnet_error *error;
};

/* Puts "NAME: sentence" into the caller's message and returns status.  The
 * name is cut so that a long path never crowds out the reason. */
__attribute__((format(printf, 3, 4))) enum capsnet_status
source_fail(const struct source *source, enum capsnet_status status, const char *format, ...);

#endif
