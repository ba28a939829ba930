/*
 * route.h - what is known of a route: its path and method, what it takes, its
 * steps.  The table of all routes is answers/routes.c.
 */
#ifndef CAPSNETD_ROUTE_H
#define CAPSNETD_ROUTE_H

#include <stddef.h>

struct request;
struct web_file;

/* A step of a request: from request to HTTP status.  0 means that the answer
 * is not there yet: the request's job has been given to the batcher, and the
 * route's finish step comes when it is done (steps.h). */
typedef unsigned (*route_step)(struct request *request);

/* Of a request that has come whole: will its two steps take no longer than to hand it to another
 * thread and back? */
typedef int (*route_test)(const struct request *request);

struct route {
    const char *path, *method; /* {name} in a path fits any one segment; GET answers HEAD too */
    unsigned params;           /* PARAM_ flags that the query may hold */
    int always;                /* answers while loading and draining too */
    int tells_readiness;       /* refused while leaving, too: whoever asks shall go elsewhere */
    int is_open;               /* needs no API key */
    int ignores_query;         /* whatever it holds: links collect the parameters of others */
    route_step begin;  /* of a route with a finish step: on a worker, body complete;
                          else on a network thread, and quick */
    route_step finish; /* on a worker; NULL when begin answers */
    route_test is_small; /* then both are its network thread's; NULL: never */
    const struct web_file *file; /* what web_answer() sends; NULL of other routes */
};

/* A piece of the path. */
struct segment {
    const char *at; /* not ended by a 0 */
    size_t n;
};

enum { ROUTE_SEGMENTS = 2 }; /* no route's path has more that vary */

#endif
