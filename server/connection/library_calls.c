/* library_calls.c - see library_calls.h. */
#include "server/connection/library_calls.h"

#include <dlfcn.h>
#include <string.h>
#include <sys/epoll.h>

#include <gnutls/gnutls.h>

static const struct library_watch *watcher;
static enum MHD_Result (*queue_response)(struct MHD_Connection *, unsigned, struct MHD_Response *);
static int (*tls_bye)(gnutls_session_t, gnutls_close_request_t);
static const struct library_wait_watch *wait_watcher;
static int (*wait_for_events)(int, struct epoll_event *, int, int);

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

int library_calls_watch_waits(const struct library_wait_watch *watch)
{
    void *wait = dlsym(RTLD_NEXT, "epoll_wait");
    if (!wait)
        return -1;
    memcpy(&wait_for_events, &wait, sizeof wait);
    wait_watcher = watch;
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

/* Called by libmicrohttpd alone: nothing else here uses epoll. */
int epoll_wait(int fd, struct epoll_event *events, int max, int timeout_ms)
{
    const int ms = wait_watcher->on_wait(wait_watcher->context, fd, timeout_ms);
    return wait_for_events(fd, events, max, ms);
}
