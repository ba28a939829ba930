/*
 * library_waits.h - libmicrohttpd's waiting for its connections, seen before it waits.
 *
 * Its threads (0.9.75) cannot be told to do something between two looks at their connections;
 * run from outside, by threads of ours, it waits for ever, and looks all the time, where
 * a chunk's head does not fit its memory.  But it waits by epoll_wait(), and a program may
 * have a function of that name in front of the C library's (library_calls.h says more).
 */
#ifndef CAPSNETD_LIBRARY_WAITS_H
#define CAPSNETD_LIBRARY_WAITS_H

struct library_wait_watch {
    void *context;
    /* A thread is about to wait for events on epoll_fd, for that long at most, -1 for any time.
     * Returns for how long it is to wait. */
    int (*on_wait)(void *context, int epoll_fd, int timeout_ms);
};

/* Watches from now on; NULL ends it.  Call it while no daemon runs. */
void library_waits_watch(const struct library_wait_watch *watch);

#endif
