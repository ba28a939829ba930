/*
 * workers.h - threads that do what must not hold up the network threads:
 * decoding pictures, writing answers.
 *
 * Tasks run in the order in which they came.  The list is unbounded; what is
 * put into it is bounded by the batcher's admission.
 */
#ifndef CAPSNETD_WORKERS_H
#define CAPSNETD_WORKERS_H

#include <stddef.h>
#include <stdint.h>

/* A piece of work, embedded in what it works on. */
struct task {
    void (*run)(struct task *task);
    struct task *next; /* the workers' own */
};

struct workers;

/* Starts n threads.  A worker that has run some tasks and finds no more calls
 * rest(context) before it sleeps: the place to pass on together what the tasks
 * have left.  It returns for how many microseconds a task is to be looked for before
 * that, by one worker at a time.  NULL when the threads cannot be started. */
struct workers *workers_create(size_t n, int64_t (*rest)(void *context), void *context);

/* Hands over a task; some worker calls task->run(task) once.  Thread-safe. */
void workers_submit(struct workers *workers, struct task *task);

/* Finishes what was submitted, stops the threads, frees; NULL is ignored. */
void workers_free(struct workers *workers);

#endif
