/* inflate_body.h - a body that came compressed (Content-Encoding) to what it was. */
#ifndef CAPSNETD_INFLATE_BODY_H
#define CAPSNETD_INFLATE_BODY_H

#include "server/request/request.h"

/* The coding of a Content-Encoding header (NULL: none), any case: *coding and 1, or 0
 * for one that is not taken. */
int content_coding(enum content_coding *coding, const char *header);

/* Replaces a whole body by what it inflates to, under the limits of any other body: the
 * options' max_body_bytes, and the memory of all bodies.  Stops where a limit is passed.
 * On a worker.  Returns 0, at once for CODING_IDENTITY, or the status of the refusal. */
unsigned inflate_body(struct request *request);

#endif
