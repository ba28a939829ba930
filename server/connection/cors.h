/* cors.h - which web pages may call the server (--cors-origin). */
#ifndef CAPSNETD_CORS_H
#define CAPSNETD_CORS_H

#include <stddef.h>

/* What "Access-Control-Allow-Origin" says to a request.
 *
 * allowed  the option: "*", or origins separated by commas; NULL for none
 * origin   the request's Origin header; NULL for none
 *
 * Returns "*", or origin when it is one of the allowed, or NULL for no header. */
const char *cors_allow(const char *allowed, const char *origin);

#endif
