/*
 * library_calls.h - two calls that libmicrohttpd makes, seen before they are made.
 *
 * libmicrohttpd (0.9.75) refuses what it cannot parse by itself, with HTML, and asks
 * nobody.  It closes some connections without a word, and over TLS it has ended the session
 * by the time it says so.  But it does both by public functions of shared libraries,
 * MHD_queue_response() and gnutls_bye(), and a program may have functions of those names
 * in front of the libraries' (the dynamic linker's rule of interposition).  Ours are in
 * library_calls.c.  A libmicrohttpd that was linked so that it calls itself past the
 * dynamic linker would answer as it did: tests/http/test_library_refusals.c would tell.
 */
#ifndef CAPSNETD_LIBRARY_CALLS_H
#define CAPSNETD_LIBRARY_CALLS_H

#include <microhttpd.h>

struct gnutls_session_int; /* GnuTLS's; its header does not agree with request.h */

/* What is called before them, each on the connection's network thread. */
struct library_watch {
    void *context;
    /* libmicrohttpd is about to queue an answer of its own.  It does so in any case; it
     * does not survive in every case that this fails. */
    void (*on_refusal)(void *context, struct MHD_Connection *connection, unsigned status);
    /* It is about to end the TLS session of a connection that it closes. */
    void (*on_tls_end)(void *context, struct MHD_Connection *connection);
};

/* Finds the libraries' functions, and watches from now on, for the life of the process;
 * the watch must live as long.  Call it before any daemon starts.  Returns 0, or -1. */
int library_calls_watch(const struct library_watch *watch);

/* The libraries' own functions. */
enum MHD_Result library_queue_response(struct MHD_Connection *connection, unsigned status,
                                       struct MHD_Response *response);
int library_tls_end(struct gnutls_session_int *session);

#endif
