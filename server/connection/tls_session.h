/*
 * tls_session.h - what is done with a connection's TLS session past libmicrohttpd.
 *
 * All on the connection's network thread.  A session is libmicrohttpd's, and lives from the
 * notice that a connection has begun until its end (library_calls.h).
 */
#ifndef CAPSNETD_TLS_SESSION_H
#define CAPSNETD_TLS_SESSION_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct gnutls_session_int; /* GnuTLS's; its header does not agree with request.h */

/* What GnuTLS reads is looked at first.
 *
 * fd          the session's socket
 * has_spoken  0 to begin
 * on_plain    is called when the peer does not speak TLS, but HTTP: no record of TLS begins
 *             with a capital letter, as a request does.  From then on the session reads as
 *             ended
 * on_end      is called when the socket reads as ended, which breaks the session: here
 *             something can still be sent */
struct tls_watch {
    int fd;
    int has_spoken;
    void (*on_plain)(void *context);
    void (*on_end)(void *context);
    void *context;
};

/* The watch must live as long as the session. */
void tls_session_watch(struct gnutls_session_int *session, struct tls_watch *watch);

/* How many records of data the peer has sent; 0 before the handshake is over. */
uint64_t tls_session_records(struct gnutls_session_int *session);

/* Has the peer ended the session?  This may take a byte that it has sent. */
int tls_session_has_ended(struct gnutls_session_int *session);

/* Sends.  Returns how many bytes were taken, or -1. */
ssize_t tls_session_send(struct gnutls_session_int *session, const void *bytes, size_t n);

/* Tells the peer that nothing more is sent. */
void tls_session_end(struct gnutls_session_int *session);

#endif
