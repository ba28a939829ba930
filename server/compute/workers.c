/*
 * workers.c - see workers.h.
 *
 * Waking a thread costs more than decoding a digit, so a burst of tasks wakes
 * one worker, not one each: who puts the first task into an empty list wakes a
 * worker, and a worker that leaves tasks behind wakes the next.  Whenever the
 * list is not empty, some worker is thus awake or being woken.
 */
#include "server/compute/workers.h"

#include <pthread.h>
#include <stdlib.h>

struct workers {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct task *head, **tail;
    void (*rest)(void *context);
    void *context;
    int stopping;
    size_t n;
    pthread_t threads[];
};

/* Takes the first task, or returns NULL when the list is empty.  Called with
 * the lock. */
static struct task *take(struct workers *workers)
{
    struct task *task = workers->head;
    if (!task)
        return NULL;
    workers->head = task->next;
    if (workers->head)
        pthread_cond_signal(&workers->changed);
    else
        workers->tail = &workers->head;
    return task;
}

static void *work(void *argument)
{
    struct workers *workers = argument;
    int is_rested = 1;
    pthread_setname_np(pthread_self(), "worker");
    pthread_mutex_lock(&workers->lock);
    for (;;) {
        struct task *task = take(workers);
        if (!task && is_rested) {
            if (workers->stopping)
                break;
            pthread_cond_wait(&workers->changed, &workers->lock);
            continue;
        }
        pthread_mutex_unlock(&workers->lock);
        if (task)
            task->run(task);
        else
            workers->rest(workers->context);
        is_rested = !task;
        pthread_mutex_lock(&workers->lock);
    }
    pthread_mutex_unlock(&workers->lock);
    return NULL;
}

struct workers *workers_create(size_t n, void (*rest)(void *context), void *context)
{
    struct workers *workers = calloc(1, sizeof *workers + n * sizeof workers->threads[0]);
    if (!workers)
        return NULL;
    workers->tail = &workers->head;
    workers->rest = rest;
    workers->context = context;
    pthread_mutex_init(&workers->lock, NULL);
    pthread_cond_init(&workers->changed, NULL);
    while (workers->n < n) {
        if (pthread_create(&workers->threads[workers->n], NULL, work, workers) != 0) {
            workers_free(workers);
            return NULL;
        }
        workers->n++;
    }
    return workers;
}

void workers_submit(struct workers *workers, struct task *task)
{
    task->next = NULL;
    pthread_mutex_lock(&workers->lock);
    if (!workers->head)
        pthread_cond_signal(&workers->changed);
    *workers->tail = task;
    workers->tail = &task->next;
    pthread_mutex_unlock(&workers->lock);
}

void workers_free(struct workers *workers)
{
    if (!workers)
        return;
    pthread_mutex_lock(&workers->lock);
    workers->stopping = 1;
    pthread_cond_broadcast(&workers->changed);
    pthread_mutex_unlock(&workers->lock);
    for (size_t i = 0; i < workers->n; i++)
        pthread_join(workers->threads[i], NULL);
    pthread_cond_destroy(&workers->changed);
    pthread_mutex_destroy(&workers->lock);
    free(workers);
}
