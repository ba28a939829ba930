/* routes.h - the one table of what is served. */
#ifndef CAPSNETD_ROUTES_H
#define CAPSNETD_ROUTES_H

#include "server/request/request.h"

/* A step of a request: from request to HTTP status.  0 means that the answer
 * is not there yet: the request's job has been given to the batcher, and the
 * route's finish step comes when it is done. */
typedef unsigned (*route_step)(struct request *request);

struct route {
    const char *path, *method; /* {name} in a path fits any one segment; GET answers HEAD too */
    unsigned params;           /* PARAM_ flags that the query may hold */
    int always;                /* answers while loading and draining too */
    route_step begin;  /* of a route with a finish step: on a worker, body complete;
                          else on a network thread, and quick */
    route_step finish; /* on a worker; NULL when begin answers */
};

/* The route of a path and a method.  NULL when there is none: then *allow is
 * NULL for an unknown path, or the methods that the path has, for "Allow".
 * segments: what stood in the place of each {name}; they point into path. */
const struct route *route_find(const char *path, const char *method, const char **allow,
                               struct segment segments[ROUTE_SEGMENTS]);

/* Route i of the table, NULL past its end. */
const struct route *route_at(size_t i);

#endif
