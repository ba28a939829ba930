/*
 * turns.h - several pools on the same CPUs: one computes at a time, with all its
 * threads, and those that wait get their turns in the order in which they came.
 *
 * A turn that is not over by itself is broken off, between two items of a loop, when
 * somebody waits and it has lasted as long as the last work of who waits first, within
 * limits (turns.c): so a small batch does not wait for a large one of another model, and
 * of models that all have work each gets about the same share of time.
 */
#ifndef CAPSNET_TURNS_H
#define CAPSNET_TURNS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "model/capsnet.h"

/* Who takes turns: a pool, or all the pools that compute beside each other.  Under the
 * turns' lock, all of it. */
struct turns_party {
    struct capsnet_turns *turns; /* NULL: alone, and all functions here do nothing */
    struct turns_party *next;    /* of those who wait */
    pthread_cond_t granted;
    size_t on;                /* works that have begun and not ended: of several pools */
    int64_t used_us, last_us; /* of the work that is on, and that the last one took */
    atomic_int yields;        /* turns_yield(); read without the lock */
};

void turns_party_init(struct turns_party *party, struct capsnet_turns *turns);
void turns_party_destroy(struct turns_party *party);

/* The one party of the pools that compute beside each other, on a part of the CPUs each. */
struct turns_party *turns_beside(struct capsnet_turns *turns);

/* A work begins and ends, by one thread of the party, which then runs.  The party's turn begins
 * with the first work and ends with the last. */
void turns_take(struct turns_party *party);
void turns_give(struct turns_party *party);

/* A thread of a party whose work is on begins to run, when the turn is the party's; stops
 * to run. */
void turns_join(struct turns_party *party);
void turns_part(struct turns_party *party);

/* Whether the party's threads now and then, between two items, let whoever waits for a CPU have
 * it: in a large batch.  What a thread of another model's request was woken for takes microseconds,
 * but where all CPUs compute it would wait at each hand-over until the kernel's next tick,
 * 4 ms on many. */
void turns_yield(struct turns_party *party, int yields);

/* Between two items, by a thread that runs: lets others have their turns when this one
 * has lasted long enough. */
void turns_pause(struct turns_party *party);

#endif
