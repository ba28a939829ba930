/*
 * workers.c - see workers.h.
 *
 * Waking a thread costs more than decoding a digit, so a burst of tasks wakes
 * one worker, not one each: who puts the first task into an empty list wakes a
 * worker, and a worker that leaves tasks behind wakes the next.  Whenever the
 * list is not empty, some worker is thus awake or being woken.  For a client who is alone
 * a worker does not sleep at once: the next task comes sooner than a thread wakes up.
 */
#include "server/compute/workers.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "server/basics/clock.h"

struct workers {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct task *head, **tail;
    int64_t (*rest)(void *context);
    void *context;
    int is_looking;       /* a worker is, and need not be woken; under lock */
    atomic_size_t events; /* tasks submitted, and the end; changed under lock */
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

/* Looks for an event since the last that was seen, at most so long. */
static void look(struct workers *workers, size_t seen, int64_t us)
{
    const int64_t until = clock_us() + us;
    while (atomic_load_explicit(&workers->events, memory_order_relaxed) == seen &&
           clock_us() < until)
        continue;
}

/* What a worker does that has run its tasks and found no more.  Called with the lock, which
 * it gives up meanwhile. */
static void run_rest(struct workers *workers)
{
    const size_t seen = workers->events;
    pthread_mutex_unlock(&workers->lock);
    const int64_t us = workers->rest(workers->context);
    pthread_mutex_lock(&workers->lock);
    if (us == 0 || workers->is_looking)
        return;
    workers->is_looking = 1;
    pthread_mutex_unlock(&workers->lock);
    look(workers, seen, us);
    pthread_mutex_lock(&workers->lock);
    workers->is_looking = 0;
}

static void *work(void *argument)
{
    struct workers *workers = argument;
    int is_rested = 1;
    pthread_setname_np(pthread_self(), "worker");
    pthread_mutex_lock(&workers->lock);
    for (;;) {
        struct task *task = take(workers);
        if (task) {
            pthread_mutex_unlock(&workers->lock);
            task->run(task);
            pthread_mutex_lock(&workers->lock);
            is_rested = 0;
        } else if (!is_rested) {
            run_rest(workers);
            is_rested = 1;
        } else if (workers->stopping) {
            break;
        } else {
            pthread_cond_wait(&workers->changed, &workers->lock);
        }
    }
    pthread_mutex_unlock(&workers->lock);
    return NULL;
}

struct workers *workers_create(size_t n, int64_t (*rest)(void *context), void *context)
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
    if (!workers->head && !workers->is_looking)
        pthread_cond_signal(&workers->changed);
    atomic_fetch_add_explicit(&workers->events, 1, memory_order_relaxed);
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
    atomic_fetch_add_explicit(&workers->events, 1, memory_order_relaxed);
    pthread_cond_broadcast(&workers->changed);
    pthread_mutex_unlock(&workers->lock);
    for (size_t i = 0; i < workers->n; i++)
        pthread_join(workers->threads[i], NULL);
    pthread_cond_destroy(&workers->changed);
    pthread_mutex_destroy(&workers->lock);
    free(workers);
}
