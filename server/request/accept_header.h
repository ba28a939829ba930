/* accept_header.h - what a client's Accept header asks for (RFC 9110, 12.5.1). */
#ifndef CAPSNETD_ACCEPT_HEADER_H
#define CAPSNETD_ACCEPT_HEADER_H

/* 1 when the header names application/json with a quality above 0 that is no
 * lower than image/png's.  0 otherwise, so that no header (NULL) and wildcards
 * give PNG. */
int accept_prefers_json(const char *accept);

/* 1 when the header names image/png with a quality above application/json's, as which none
 * is 0.  0 otherwise, so that no header (NULL) and wildcards give JSON. */
int accept_prefers_png(const char *accept);

#endif
