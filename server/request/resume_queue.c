/* resume_queue.c - see resume_queue.h. */
#include "server/request/resume_queue.h"

#include <microhttpd.h>

#include "server/basics/clock.h"

/* A worker whose list of tasks never empties must not keep what it has: this
 * many answers, or an answer that has lain so long, take the others along. */
enum { MAX_WAITING = 32, MAX_WAIT_US = 500 };

void resume_queue_init(struct resume_queue *queue)
{
    *queue = (struct resume_queue){0};
    pthread_mutex_init(&queue->lock, NULL);
    queue->tail = &queue->head;
}

void resume_queue_destroy(struct resume_queue *queue)
{
    pthread_mutex_destroy(&queue->lock);
}

void resume_queue_flush(struct resume_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    struct resumable *resumable = queue->head;
    queue->head = NULL;
    queue->tail = &queue->head;
    queue->n = 0;
    pthread_mutex_unlock(&queue->lock);
    while (resumable) {
        struct resumable *next = resumable->next;
        MHD_resume_connection(resumable->connection); /* its request may be gone after this */
        resumable = next;
    }
}

void resume_queue_add(struct resume_queue *queue, struct resumable *resumable)
{
    int64_t now = clock_us();
    resumable->next = NULL;
    pthread_mutex_lock(&queue->lock);
    if (!queue->n++)
        queue->since_us = now;
    *queue->tail = resumable;
    queue->tail = &resumable->next;
    int is_due = queue->n >= MAX_WAITING || now - queue->since_us >= MAX_WAIT_US;
    pthread_mutex_unlock(&queue->lock);
    if (is_due)
        resume_queue_flush(queue);
}
