/*
 * library_refusals.h - our answer, one head and JSON, where libmicrohttpd refuses by itself.
 *
 * What it cannot parse it would answer with HTML, some with the head sent twice, and a line
 * without a space not at all.  library_calls.h lets us know before it does.  Then the client
 * gets our answer past libmicrohttpd, and our sending side is closed behind it, so that
 * libmicrohttpd's own goes nowhere.
 *
 * What none of this reaches: a line without a space in one packet with the request before it
 * is dropped in silence.
 */
#ifndef CAPSNETD_LIBRARY_REFUSALS_H
#define CAPSNETD_LIBRARY_REFUSALS_H

#include "server/connection/deadlines.h"
#include "server/connection/library_calls.h"
#include "server/connection/lingering_close.h"
#include "server/request/service.h"

struct library_refusals {
    struct service *service;
    struct deadlines *deadlines;
    struct lingering *lingering;
    struct library_watch watch; /* library_refusals_init()'s own */
};

/* Watches from now on, for the life of the process; before the daemon starts.  The three
 * pointers are set.  Returns 0, or -1. */
int library_refusals_init(struct library_refusals *refusals);

/* The rest is called on the connection's network thread.
 *
 * A TLS connection begins: should it turn out to speak plain HTTP, it is told so. */
void library_refusals_watch_tls(struct library_refusals *refusals, struct client *client);

/* libmicrohttpd closes a connection without TLS, whose sending side is still open. */
void library_refusals_close(struct library_refusals *refusals, struct client *client);

/* What on_connection() in http.c has left with a connection; NULL when memory was short. */
struct client *client_of(struct MHD_Connection *connection);

#endif
