/* multipart.c - see multipart.h. */
#include "server/input/multipart.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* RFC 2046's bchars; a space is allowed inside quotes, but not at the end. */
static int is_boundary_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c && strchr("'()+_,-./:=? ", c));
}

/* The text after "boundary=" among the parameters, or NULL.  Quoted values of
 * other parameters are stepped over. */
static const char *find_boundary(const char *content_type)
{
    static const char name[] = "boundary=";
    const char *at = content_type;
    int quoted = 0;
    for (; *at; at++) {
        if (*at == '"')
            quoted = !quoted;
        if (*at != ';' || quoted)
            continue;
        const char *parameter = at + 1;
        parameter += strspn(parameter, " \t");
        if (strncasecmp(parameter, name, sizeof name - 1) == 0)
            return parameter + sizeof name - 1;
    }
    return NULL;
}

int multipart_boundary(char boundary[MULTIPART_BOUNDARY_SIZE], const char *content_type)
{
    const char *value = find_boundary(content_type);
    if (!value)
        return -1;
    size_t n;
    if (*value == '"') {
        value++;
        n = strcspn(value, "\"");
        if (value[n] != '"')
            return -1;
    } else {
        n = strcspn(value, "; \t");
    }
    if (n == 0 || n >= MULTIPART_BOUNDARY_SIZE || value[n - 1] == ' ')
        return -1;
    for (size_t i = 0; i < n; i++)
        if (!is_boundary_char(value[i]))
            return -1;
    memcpy(boundary, value, n);
    boundary[n] = 0;
    return 0;
}

/* Steps over the rest of a delimiter line: 1 it was the closing one, 0 a part
 * follows at *at, -1 neither. */
static int after_delimiter(const uint8_t **at, const uint8_t *end)
{
    const uint8_t *p = *at;
    if (end - p >= 2 && p[0] == '-' && p[1] == '-')
        return 1; /* what follows is an epilogue, to be ignored */
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    if (end - p < 2 || p[0] != '\r' || p[1] != '\n')
        return -1;
    *at = p + 2;
    return 0;
}

/* Does a text begin with a word, in any case? */
static int begins(const char *text, const char *end, const char *word)
{
    const size_t n = strlen(word);
    return (size_t)(end - text) >= n && strncasecmp(text, word, n) == 0;
}

/* One parameter, name=value or name="value", which ends at `end` at the latest: notes it
 * if it is one of the part's names.  Returns where it ends. */
static const char *take_parameter(struct multipart_part *part, const char *at, const char *end)
{
    at += strspn(at, " \t"); /* which ends at a CR at the latest */
    const char *value = at;
    while (value < end && *value != '=' && *value != ';')
        value++;
    if (value == end || *value == ';')
        return value;
    const char *stop = ++value;
    if (stop < end && *stop == '"') {
        for (stop = ++value; stop < end && *stop != '"'; stop++)
            stop += *stop == '\\' && end - stop > 1;
    } else {
        while (stop < end && *stop != ';' && *stop != ' ' && *stop != '\t')
            stop++;
    }
    if (begins(at, end, "name=")) {
        part->name = value;
        part->name_n = (size_t)(stop - value);
    } else if (begins(at, end, "filename=") || begins(at, end, "filename*=")) {
        part->filename = value;
        part->filename_n = (size_t)(stop - value);
    }
    return stop;
}

/* Reads the names from a part's header lines, which end in CRLF. */
static void take_headers(struct multipart_part *part, const char *at, const char *end)
{
    while (at < end) {
        const char *line_end = memmem(at, (size_t)(end - at), "\r\n", 2);
        if (!line_end)
            return;
        if (begins(at, line_end, "Content-Disposition:"))
            while ((at = memchr(at, ';', (size_t)(line_end - at))))
                at = take_parameter(part, at + 1, line_end);
        at = line_end + 2;
    }
}

enum multipart_status multipart_parse(struct multipart_part *parts, size_t max_parts,
                                      size_t *n_parts, const uint8_t *body, size_t nbytes,
                                      const char *boundary, const char **message)
{
    char delimiter[4 + MULTIPART_BOUNDARY_SIZE];
    size_t length = (size_t)snprintf(delimiter, sizeof delimiter, "\r\n--%s", boundary);
    const uint8_t *end = body + nbytes;
    size_t n = 0;

    /* The first delimiter may stand at the very start, without its CRLF. */
    const uint8_t *at;
    if (nbytes >= length - 2 && memcmp(body, delimiter + 2, length - 2) == 0) {
        at = body + length - 2;
    } else {
        at = nbytes ? memmem(body, nbytes, delimiter, length) : NULL;
        if (!at) {
            *message = "the boundary of the Content-Type does not occur in the body";
            return MULTIPART_INVALID;
        }
        at += length;
    }
    for (;;) {
        int last = after_delimiter(&at, end);
        if (last < 0) {
            *message = "a boundary line does not end in CRLF";
            return MULTIPART_INVALID;
        }
        if (last) {
            *n_parts = n;
            return MULTIPART_OK;
        }
        const uint8_t *stop = memmem(at, (size_t)(end - at), delimiter, length);
        if (!stop) {
            *message = "the body ends before its closing boundary";
            return MULTIPART_INVALID;
        }
        /* A part without any header line starts with the empty line itself. */
        const uint8_t *content = at;
        if (stop - at < 2 || at[0] != '\r' || at[1] != '\n') {
            content = memmem(at, (size_t)(stop - at), "\r\n\r\n", 4);
            if (!content) {
                *message = "a part has no empty line after its headers";
                return MULTIPART_INVALID;
            }
            content += 2;
        }
        if (n == max_parts)
            return MULTIPART_TOO_MANY;
        parts[n] = (struct multipart_part){.bytes = content + 2, .n = (size_t)(stop - content) - 2};
        take_headers(&parts[n++], (const char *)at, (const char *)content);
        at = stop + length;
    }
}
