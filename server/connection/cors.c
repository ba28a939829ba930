/* cors.c - see cors.h. */
#include "server/connection/cors.h"

#include <string.h>

const char *cors_allow(const char *allowed, const char *origin)
{
    if (!allowed || strcmp(allowed, "*") == 0)
        return allowed;
    if (!origin || !*origin)
        return NULL;
    const size_t n = strlen(origin);
    for (const char *at = allowed; *at; at += strcspn(at, ", ")) {
        at += strspn(at, ", ");
        if (strcspn(at, ", ") == n && strncmp(at, origin, n) == 0)
            return origin;
    }
    return NULL;
}
