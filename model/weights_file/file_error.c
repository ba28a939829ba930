/*
 * file_error.c - see file_error.h.
 */
#include "model/weights_file/file_error.h"

#include <stdarg.h>
#include <stdio.h>

enum capsnet_status source_fail(const struct source *source, enum capsnet_status status,
                                const char *format, ...)
{
    char *text = source->error->text;
    size_t size = sizeof source->error->text;
    int n = snprintf(text, size, "%.250s: ", source->name);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + n, size - (size_t)n, format, arguments);
    va_end(arguments);
    return status;
}
