/* workers.c - see workers.h. */
#include "workers.h"

#include <pthread.h>
#include <stdlib.h>

struct workers {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct task *head, **tail;
    int stopping;
    size_t n;
    pthread_t threads[];
};

static void *work(void *argument)
{
    struct workers *workers = argument;
    pthread_mutex_lock(&workers->lock);
    for (;;) {
        while (!workers->head && !workers->stopping)
            pthread_cond_wait(&workers->changed, &workers->lock);
        struct task *task = workers->head;
        if (!task)
            break;
        workers->head = task->next;
        if (!workers->head)
            workers->tail = &workers->head;
        pthread_mutex_unlock(&workers->lock);
        task->run(task);
        pthread_mutex_lock(&workers->lock);
    }
    pthread_mutex_unlock(&workers->lock);
    return NULL;
}

struct workers *workers_create(size_t n)
{
    struct workers *workers = calloc(1, sizeof *workers + n * sizeof workers->threads[0]);
    if (!workers)
        return NULL;
    workers->tail = &workers->head;
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
    *workers->tail = task;
    workers->tail = &task->next;
    pthread_cond_signal(&workers->changed);
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
