/*
 * resume_queue.h - answered requests on their way back to their network threads.
 *
 * Each resumed connection makes its network thread look at all that it has, so
 * the answers of a batch are handed back together, not one by one.
 */
#ifndef CAPSNETD_OUTBOX_H
#define CAPSNETD_OUTBOX_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

struct request;

struct outbox {
    pthread_mutex_t lock;
    struct request *head, **tail;
    size_t n;
    int64_t since_us; /* when the first one was added */
};

void outbox_init(struct outbox *outbox);
void outbox_destroy(struct outbox *outbox);

/* Adds an answered request.  It leaves with the next outbox_flush(), or at once
 * when many or old ones lie there.  Thread-safe. */
void outbox_add(struct outbox *outbox, struct request *request);

/* Resumes the connections of all; from then on the requests are their network
 * threads'.  Thread-safe. */
void outbox_flush(struct outbox *outbox);

#endif
