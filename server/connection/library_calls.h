/*
 * library_calls.h - three calls that libmicrohttpd makes, seen before they are made.
 *
 * libmicrohttpd (0.9.75) refuses what it cannot parse by itself, with HTML, and asks
 * nobody.  It closes some connections without a word, and over TLS it has ended the session
 * by the time it says so.  Nor can its threads be told to do something between two looks at
 * their connections.  But it does all that by public functions of shared libraries,
 * MHD_queue_response(), gnutls_bye() and epoll_wait(), and a program may have functions of those
 * names in front of the libraries' (the dynamic linker's rule of interposition).  Ours are in
 * library_calls.c.  A libmicrohttpd that was linked so that it calls itself past the
 * dynamic linker would answer as it did: tests/http/test_library_refusals.c would tell.
 */
#ifndef CAPSNETD_LIBRARY_CALLS_H
#define CAPSNETD_LIBRARY_CALLS_H

#include <microhttpd.h>

struct gnutls_session_int; /* GnuTLS's; its header does not agree with request.h */

/* What is called before them, each on a network thread. */
struct library_watch {
    void *context;
    /* libmicrohttpd is about to queue an answer of its own.  It does so in any case; it
     * does not survive in every case that this fails. */
    void (*on_refusal)(void *context, struct MHD_Connection *connection, unsigned status);
    /* It is about to end the TLS session of a connection that it closes. */
    void (*on_tls_end)(void *context, struct MHD_Connection *connection);
};

struct library_wait_watch {
    void *context;
    /* It is about to wait for events of connections, for that long at most, -1 for any time.
     * Returns for how long it is to wait. */
    int (*on_wait)(void *context, int epoll_fd, int timeout_ms);
};

/* Find the libraries' functions, and watch from now on, for the life of the process;
 * the watches must live as long.  Call them before any daemon starts.  Return 0, or -1. */
int library_calls_watch(const struct library_watch *watch);
int library_calls_watch_waits(const struct library_wait_watch *watch);

/* The libraries' own functions. */
enum MHD_Result library_queue_response(struct MHD_Connection *connection, unsigned status,
                                       struct MHD_Response *response);
int library_tls_end(struct gnutls_session_int *session);

#endif
