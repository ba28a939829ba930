/*
 * gathering.h - small pictures that a network thread computes itself, together.
 *
 * To hand a request to another thread and back takes as long as a small pass, and while
 * the CPUs compute, each hand-over waits for the scheduler.  So a network thread keeps what is
 * small (route.h: is_small) until it has read all that has arrived; computes it as one batch
 * on its lane, beside the other network threads; and answers.  Where others would wait for that,
 * or larger batches are faster, it goes the way of all else.  One network thread's.
 */
#ifndef CAPSNETD_GATHERING_H
#define CAPSNETD_GATHERING_H

#include <stddef.h>
#include <stdint.h>

struct request;

struct gathering {
    size_t lane;
    struct request *head, **tail; /* in the order of their arrival */
    size_t n;
    size_t answered;  /* by the last batch, until gathering_wait_us() has been asked */
    size_t goal;      /* requests that the next batch waits for, */
    int64_t goal_us;  /* until then */
};

void gathering_init(struct gathering *gathering, size_t lane);

/* Takes a request in that has come whole and is small: stage GATHERED.  Returns 0 where others
 * are to compute it: where the thread has enough to do, or the model's queue is in use. */
int gathering_add(struct gathering *gathering, struct request *request);

/* Forgets one whose client has gone. */
void gathering_remove(struct gathering *gathering, struct request *request);

/* How long what is there waits for company: 0 when it is to be computed now, -1 when nothing
 * is there.  To be asked after each look at the connections. */
int64_t gathering_wait_us(struct gathering *gathering);

/* Computes a batch, the first of what is there: stage ANSWERED. */
void gathering_run(struct gathering *gathering);

#endif
