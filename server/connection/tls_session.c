/* tls_session.c - see tls_session.h. */
#include "server/connection/tls_session.h"

#include <sys/socket.h>

#include <gnutls/gnutls.h>

#include "server/connection/library_calls.h"

/* What GnuTLS reads with. */
static ssize_t pull(gnutls_transport_ptr_t context, void *bytes, size_t n)
{
    struct tls_watch *watch = context;
    const ssize_t got = recv(watch->fd, bytes, n, 0);
    if (got == 0)
        watch->on_end(watch->context);
    if (watch->has_spoken || got <= 0)
        return got;
    watch->has_spoken = 1;
    const char first = *(const char *)bytes;
    if (first < 'A' || first > 'Z')
        return got;
    watch->on_plain(watch->context);
    return 0;
}

void tls_session_watch(gnutls_session_t session, struct tls_watch *watch)
{
    gnutls_transport_set_ptr2(session, watch, (gnutls_transport_ptr_t)(intptr_t)watch->fd);
    gnutls_transport_set_pull_function(session, pull);
}

/* A handshake of TLS 1.2 ends with record 0, after which come those of data. */
uint64_t tls_session_records(gnutls_session_t session)
{
    unsigned char next[8];
    uint64_t n = 0;
    if (gnutls_record_get_state(session, 1, NULL, NULL, NULL, next) < 0)
        return 0;
    for (size_t i = 0; i < sizeof next; i++)
        n = n << 8 | next[i];
    return n && gnutls_protocol_get_version(session) < GNUTLS_TLS1_3 ? n - 1 : n;
}

int tls_session_has_ended(gnutls_session_t session)
{
    char byte;
    return gnutls_record_recv(session, &byte, 1) == 0;
}

ssize_t tls_session_send(gnutls_session_t session, const void *bytes, size_t n)
{
    const ssize_t sent = gnutls_record_send(session, bytes, n);
    return sent < 0 ? -1 : sent;
}

void tls_session_end(gnutls_session_t session)
{
    (void)library_tls_end(session);
}
