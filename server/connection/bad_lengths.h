/*
 * bad_lengths.h - our answer to a Content-Length that is no number.
 *
 * libmicrohttpd (0.9.75) refuses such a request by itself, before we are asked: with HTML,
 * and with its head sent twice.  All that it tells us is a line for its log, on the
 * network thread of the connection and before it sends anything.  So each network thread
 * knows the requests whose heads are arriving on it; of these, the one whose head is
 * complete is the one that is refused.  It gets our answer, and the socket's sending side
 * is closed behind it, so that libmicrohttpd's own goes nowhere.
 *
 * All functions are for the request's network thread.
 */
#ifndef CAPSNETD_BAD_LENGTHS_H
#define CAPSNETD_BAD_LENGTHS_H

#include "server/request/request.h"

/* A request's head begins to arrive; and it has arrived, or never will. */
void bad_lengths_watch(struct request *request);
void bad_lengths_forget(struct request *request);

/* Takes a line of libmicrohttpd's log.  Returns the request that it refuses now for its
 * Content-Length, NULL when the line is about something else. */
struct request *bad_lengths_find(const char *format);

#endif
