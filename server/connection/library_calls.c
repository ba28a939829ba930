/* library_calls.c - see library_calls.h. */
#include "server/connection/library_calls.h"

#include <dlfcn.h>
#include <string.h>

#include <gnutls/gnutls.h>

static const struct library_watch *watcher;
static enum MHD_Result (*queue_response)(struct MHD_Connection *, unsigned, struct MHD_Response *);
static int (*tls_bye)(gnutls_session_t, gnutls_close_request_t);

int library_calls_watch(const struct library_watch *watch)
{
    void *queue = dlsym(RTLD_NEXT, "MHD_queue_response");
    void *bye = dlsym(RTLD_NEXT, "gnutls_bye");
    if (!queue || !bye)
        return -1;
    memcpy(&queue_response, &queue, sizeof queue); /* POSIX lets both have one size */
    memcpy(&tls_bye, &bye, sizeof bye);
    watcher = watch;
    return 0;
}

enum MHD_Result library_queue_response(struct MHD_Connection *connection, unsigned status,
                                       struct MHD_Response *response)
{
    return queue_response(connection, status, response);
}

int library_tls_end(gnutls_session_t session)
{
    return tls_bye(session, GNUTLS_SHUT_WR);
}

/* Called by libmicrohttpd alone: our answers go through library_queue_response(). */
enum MHD_Result MHD_queue_response(struct MHD_Connection *connection, unsigned status,
                                   struct MHD_Response *response)
{
    watcher->on_refusal(watcher->context, connection, status);
    return queue_response(connection, status, response);
}

/* Called by libmicrohttpd alone, whose sessions know their connections. */
int gnutls_bye(gnutls_session_t session, gnutls_close_request_t how)
{
    watcher->on_tls_end(watcher->context, gnutls_session_get_ptr(session));
    return tls_bye(session, how);
}
