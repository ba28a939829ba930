/*
 * direct_answer.h - an answer that goes to the socket past libmicrohttpd, where that takes
 * none from us: in the middle of a request that is arriving.
 */
#ifndef CAPSNETD_DIRECT_ANSWER_H
#define CAPSNETD_DIRECT_ANSWER_H

#include <stddef.h>

/* Sends a whole answer on a plain TCP connection, on which nothing else is being sent, and
 * that is closed afterwards.  It fits into any socket's buffer; a client that it does not
 * reach is lost.
 *
 * status_line  e.g. "408 Request Timeout"
 * json         [nbytes], the body */
void direct_answer_send(int fd, const char *status_line, const char *request_id,
                        const char *json, size_t nbytes);

#endif
