/* resume_queue.c - see resume_queue.h. */
#include "server/request/resume_queue.h"

#include <microhttpd.h>

#include "server/basics/clock.h"
#include "server/request/request.h"

/* A worker whose list of tasks never empties must not keep what it has: this
 * many answers, or an answer that has lain so long, take the others along. */
enum { OUTBOX_MAX = 32, OUTBOX_US = 500 };

void outbox_init(struct outbox *outbox)
{
    *outbox = (struct outbox){0};
    pthread_mutex_init(&outbox->lock, NULL);
    outbox->tail = &outbox->head;
}

void outbox_destroy(struct outbox *outbox)
{
    pthread_mutex_destroy(&outbox->lock);
}

void outbox_flush(struct outbox *outbox)
{
    pthread_mutex_lock(&outbox->lock);
    struct request *request = outbox->head;
    outbox->head = NULL;
    outbox->tail = &outbox->head;
    outbox->n = 0;
    pthread_mutex_unlock(&outbox->lock);
    while (request) {
        struct request *next = request->next;
        MHD_resume_connection(request->connection); /* the request may be gone after this */
        request = next;
    }
}

void outbox_add(struct outbox *outbox, struct request *request)
{
    int64_t now = clock_us();
    request->next = NULL;
    pthread_mutex_lock(&outbox->lock);
    if (!outbox->n++)
        outbox->since_us = now;
    *outbox->tail = request;
    outbox->tail = &request->next;
    int is_due = outbox->n >= OUTBOX_MAX || now - outbox->since_us >= OUTBOX_US;
    pthread_mutex_unlock(&outbox->lock);
    if (is_due)
        outbox_flush(outbox);
}
