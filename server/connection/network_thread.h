/*
 * network_thread.h - a thread with connections of its own: libmicrohttpd reads, judges and sends
 * on it, and between two looks at its connections it computes what it has gathered.
 */
#ifndef CAPSNETD_NETWORK_THREAD_H
#define CAPSNETD_NETWORK_THREAD_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "server/request/gathering.h"
#include "server/request/service.h"

struct http;
struct MHD_Daemon;

struct network_thread {
    struct http *http; /* for the daemon's callbacks, whose context the thread is */
    struct service *service;
    struct MHD_Daemon *daemon;
    int epoll_fd;              /* the daemon's, */
    atomic_int is_up;          /* once this says so */
    atomic_size_t connections; /* handed over to the daemon, and not closed */

    /* The thread's own. */
    struct gathering gathering;
    int is_seen;     /* network_thread_on_wait() has been called: it may gather */
    int has_moved;   /* a request has come or gone on since the last look */
    int64_t look_us; /* until then it does not sleep */
};

/* The thread is about to wait for its connections' events on epoll_fd, for that long at most
 * (-1: for any time).  Computes what is due, or waits for company itself.  Returns for how long
 * to wait. */
int network_thread_on_wait(struct network_thread *thread, int epoll_fd, int timeout_ms);

#endif
