/* accept_header.h - what a client's Accept header asks for (RFC 9110, 12.5.1). */
#ifndef CAPSNETD_ACCEPT_HEADER_H
#define CAPSNETD_ACCEPT_HEADER_H

/* 1 when the header names application/json with a quality above 0 that is no
 * lower than image/png's.  0 otherwise, so that no header (NULL) and wildcards
 * give PNG. */
int accept_prefers_json(const char *accept);

#endif
