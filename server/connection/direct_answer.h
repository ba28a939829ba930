/*
 * direct_answer.h - an answer that goes to the client past libmicrohttpd, where that takes
 * none from us: in the middle of a request that is arriving.
 *
 * Over TLS only on the connection's network thread.
 */
#ifndef CAPSNETD_DIRECT_ANSWER_H
#define CAPSNETD_DIRECT_ANSWER_H

#include <stddef.h>

struct client;

/* Sends a whole answer on a connection on which nothing else is being sent, and that is
 * closed afterwards.  It fits into any socket's buffer; a client that it does not reach is
 * lost.
 *
 * json    [nbytes], the body
 *
 * Returns 1 when the kernel has all of it, else 0. */
int direct_answer_send(const struct client *client, unsigned status, const char *json,
                       size_t nbytes);

/* Closes our side behind it: what libmicrohttpd sends from now on goes nowhere. */
void direct_answer_end(const struct client *client);

#endif
