/*
 * outbox.h - answered requests on their way back to the network thread.
 *
 * Each resumed connection makes the network thread look at all that it has, so
 * the answers of a batch are handed back together, not one by one.
 */
#ifndef CAPSNETD_OUTBOX_H
#define CAPSNETD_OUTBOX_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct request;

struct outbox {
    pthread_mutex_t lock;
    struct request *head, **tail;
    size_t n;
    int64_t since_us; /* when the first one was added */
    atomic_size_t resumed, taken;
    size_t taken_before; /* these two are outbox_is_stuck()'s own */
    int64_t looked_us;
};

void outbox_init(struct outbox *outbox);
void outbox_destroy(struct outbox *outbox);

/* Adds an answered request.  It leaves with the next outbox_flush(), or at once
 * when many or old ones lie there.  Thread-safe. */
void outbox_add(struct outbox *outbox, struct request *request);

/* Resumes the connections of all; from then on the requests are the network
 * thread's.  Thread-safe. */
void outbox_flush(struct outbox *outbox);

/* The network thread has come upon a request that was resumed. */
void outbox_take(struct outbox *outbox);

/* Has the network thread taken none of those that were resumed, though there are
 * some, for 100 ms?  For one thread to ask at least that often. */
int outbox_is_stuck(struct outbox *outbox, int64_t now_us);

#endif
