/*
 * writers.c - see writers.h.
 */
#include "model/train/data/writers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "model/weights_file/file_error.h"

/* "WRITER<tab>SERIES" and the line's end, nothing else.  Returns whether it is. */
static int parse_line(const char *line, uint32_t *writer, uint8_t *series)
{
    unsigned long numbers[2];
    for (size_t i = 0; i < 2; i++) {
        const size_t digits = strspn(line, "0123456789");
        if (digits == 0 || digits > 9)
            return 0;
        numbers[i] = strtoul(line, NULL, 10);
        line += digits;
        if (i == 0 && *line++ != '\t')
            return 0;
    }
    *writer = (uint32_t)numbers[0];
    *series = (uint8_t)numbers[1];
    return numbers[1] < WRITERS_MAX_SERIES && line[strspn(line, "\r\n")] == 0;
}

/* Why gzgets() gave no line: the end, damage, or a failure to read. */
static enum capsnet_status no_line(gzFile file, const struct source *at, size_t i, size_t n)
{
    int code;
    const char *text = gzerror(file, &code);
    if (code == Z_ERRNO)
        return source_fail(at, CAPSNET_ERR_IO, "cannot read the file: %s", strerror(errno));
    if (code != Z_OK && code != Z_STREAM_END)
        return source_fail(at, CAPSNET_ERR_FORMAT, "the gzip data is damaged: %s", text);
    return source_fail(at, CAPSNET_ERR_FORMAT,
                       "the file has %zu lines, but there are %zu training images", i, n);
}

static enum capsnet_status read_lines(struct writers *w, gzFile file, const struct source *at,
                                      size_t n)
{
    char line[32];
    w->writer = malloc((n + 1) * sizeof *w->writer);
    w->series = malloc(n + 1);
    if (!w->writer || !w->series)
        return source_fail(at, CAPSNET_ERR_MEMORY, "out of memory for %zu writers", n);
    for (; w->n < n; w->n++) {
        if (!gzgets(file, line, sizeof line))
            return no_line(file, at, w->n, n);
        if (!parse_line(line, &w->writer[w->n], &w->series[w->n]))
            return source_fail(at, CAPSNET_ERR_FORMAT,
                               "line %zu is not a writer's number, a tab and a series below %d",
                               w->n + 1, WRITERS_MAX_SERIES);
    }
    if (gzgetc(file) != -1)
        return source_fail(at, CAPSNET_ERR_FORMAT,
                           "the file has more lines than the %zu training images", n);
    int code;
    const char *text = gzerror(file, &code);
    if (code != Z_OK && code != Z_STREAM_END)
        return source_fail(at, CAPSNET_ERR_FORMAT, "the gzip data is damaged: %s", text);
    return CAPSNET_OK;
}

enum capsnet_status writers_load(struct writers *writers, const char *path, size_t n,
                                 struct capsnet_error *error)
{
    const struct source at = {path, error};
    struct writers made = {0};
    gzFile file = gzopen(path, "rbe");
    if (!file)
        return source_fail(&at, CAPSNET_ERR_IO, "cannot open the file: %s",
                           errno ? strerror(errno) : "out of memory");
    enum capsnet_status status = read_lines(&made, file, &at, n);
    gzclose(file);
    if (status == CAPSNET_OK)
        *writers = made;
    else
        writers_free(&made);
    return status;
}

void writers_free(struct writers *writers)
{
    free(writers->writer);
    free(writers->series);
    *writers = (struct writers){0};
}
