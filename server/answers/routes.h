/* routes.h - the one table of what is served. */
#ifndef CAPSNETD_ROUTES_H
#define CAPSNETD_ROUTES_H

#include <stddef.h>

#include "server/request/route.h"

/* The route of a path and a method.  NULL when there is none: then *allow is
 * NULL for an unknown path, or the methods that the path has, for "Allow"; of
 * OPTIONS and the path "*", the methods that any path has.
 * segments: what stood in the place of each {name}; they point into path. */
const struct route *route_find(const char *path, const char *method, const char **allow,
                               struct segment segments[ROUTE_SEGMENTS]);

/* The place of a route in the table; of NULL, the one behind the last route's. */
size_t route_number(const struct route *route);

/* Route i of the table, NULL past its end. */
const struct route *route_at(size_t i);

#endif
