/*
 * refusal.h - why a request can be refused: for each reason its HTTP status, its
 * code, and the JSON document that the client gets.
 */
#ifndef CAPSNETD_REFUSAL_H
#define CAPSNETD_REFUSAL_H

#include "server/basics/text.h"

/* refusal.c maps each to its status and code. */
enum refusal {
    REFUSED_NOT = 0,
    REFUSED_INVALID_REQUEST,
    REFUSED_INVALID_PNG,
    REFUSED_INVALID_JSON,
    REFUSED_INVALID_PARAMETER,
    REFUSED_INVALID_MULTIPART,
    REFUSED_NO_IMAGE,
    REFUSED_NOT_FOUND,
    REFUSED_METHOD_NOT_ALLOWED,
    REFUSED_TIMEOUT,
    REFUSED_TOO_LARGE,
    REFUSED_UNSUPPORTED_MEDIA_TYPE,
    REFUSED_OVERLOADED,
    REFUSED_DRAINING,
    REFUSED_LOADING,
    REFUSED_HEADERS_TOO_LARGE,
    REFUSED_UNAUTHORIZED,
    REFUSED_UNSUPPORTED_VERSION,
    N_REFUSALS,
};

/* Writes the error document for a refusal; returns its HTTP status.  is_oip: in the
 * form of the Open Inference Protocol. */
unsigned refusal_document(struct text *text, enum refusal refusal, const char *sentence,
                          int is_oip);

/* The document of REFUSED_OVERLOADED for when there is no memory to write one in;
 * a constant. */
const char *refusal_document_no_memory(int is_oip);

/* The HTTP status of a refusal. */
unsigned refusal_status(enum refusal refusal);

/* The code of a refusal, as the error document has it. */
const char *refusal_code(enum refusal refusal);

/* Is the refusal one that a later try may escape (503)? */
int refusal_is_temporary(enum refusal refusal);

#endif
