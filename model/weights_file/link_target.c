/*
 * link_target.c - see link_target.h.
 */
#include "model/weights_file/link_target.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_LINKS = 40 }; /* as Linux */

char *link_target(const char *path)
{
    char *at = strdup(path), to[PATH_MAX];
    for (size_t links = 0; at; links++) {
        const ssize_t n = readlink(at, to, sizeof to - 1);
        if (n < 0 && (errno == EINVAL || errno == ENOENT))
            return at; /* no link, or nothing yet */
        if (n < 0 || links == MOST_LINKS) {
            const int saved = n < 0 ? errno : ELOOP;
            free(at);
            errno = saved;
            return NULL;
        }
        to[n] = 0;
        const char *slash = strrchr(at, '/');
        char *next;
        if (asprintf(&next, "%.*s%s", *to == '/' || !slash ? 0 : (int)(slash - at) + 1, at, to) < 0)
            next = NULL;
        free(at);
        at = next;
    }
    return NULL;
}
