/*
 * resume_queue.h - answered requests on their way back to their network threads.
 *
 * Each resumed connection makes its network thread look at all that it has, so
 * the answers of a batch are handed back together, not one by one.
 */
#ifndef CAPSNETD_RESUME_QUEUE_H
#define CAPSNETD_RESUME_QUEUE_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

struct MHD_Connection;

/* A connection that is suspended or can be, embedded in its request. */
struct resumable {
    struct MHD_Connection *connection;
    struct resumable *next; /* the queue's own */
};

struct resume_queue {
    pthread_mutex_t lock;
    struct resumable *head, **tail;
    size_t n;
    int64_t since_us; /* when the first one was added */
};

void resume_queue_init(struct resume_queue *queue);
void resume_queue_destroy(struct resume_queue *queue);

/* Adds one.  It leaves with the next resume_queue_flush(), or at once when many or
 * old ones lie there.  Thread-safe. */
void resume_queue_add(struct resume_queue *queue, struct resumable *resumable);

/* Resumes all; from then on they, and the requests that they lie in, are their
 * network threads'.  Thread-safe. */
void resume_queue_flush(struct resume_queue *queue);

#endif
