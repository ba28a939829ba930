/* accept_header.h - what a client's Accept header asks for (RFC 9110, 12.5.1). */
#ifndef CAPSNETD_ACCEPT_HEADER_H
#define CAPSNETD_ACCEPT_HEADER_H

/* 1 when the header gives application/json a higher quality than image/png, or names it
 * with the same; a wildcard stands for what is not named.  0 otherwise, so that no header
 * (NULL) and one that tells no difference give PNG.  Several lines are joined by commas. */
int accept_prefers_json(const char *accept);

/* The same the other way round; where both are named with the same quality it is JSON. */
int accept_prefers_png(const char *accept);

#endif
