/*
 * turns.c - see turns.h.
 *
 * One lock guards everything; it is held for moments, a few times a loop.  `running`
 * counts the owner's threads that run; a turn that is to end is handed on by the one
 * that takes it to 0.  `until_us` is all that is looked at between items: the moment
 * from which the turn is over, never while nobody waits.
 */
#include "model/machine/turns.h"

#include <sched.h>
#include <stdlib.h>

#include "model/machine/monotonic_clock.h"

/* A shorter turn would be spent on the threads' going and coming; a longer one is
 * noticed by who waits. */
enum { SHORTEST_US = 500, LONGEST_US = 5000 };

/* So long a thread computes before it lets others have its CPU. */
enum { YIELD_US = 100 };

struct capsnet_turns {
    pthread_mutex_t lock;
    struct turns_party beside;        /* turns_beside()'s */
    struct turns_party *owner;        /* NULL: nobody computes */
    struct turns_party *head, **tail; /* who waits */
    size_t running;
    int64_t since_us;
    int is_ending; /* the owner's threads are stopping */
    atomic_llong until_us;
};

struct capsnet_turns *capsnet_turns_create(void)
{
    struct capsnet_turns *turns = calloc(1, sizeof *turns);
    if (!turns)
        return NULL;
    pthread_mutex_init(&turns->lock, NULL);
    turns->tail = &turns->head;
    turns_party_init(&turns->beside, turns);
    atomic_init(&turns->until_us, INT64_MAX);
    return turns;
}

void capsnet_turns_free(struct capsnet_turns *turns)
{
    if (!turns)
        return;
    turns_party_destroy(&turns->beside);
    pthread_mutex_destroy(&turns->lock);
    free(turns);
}

struct turns_party *turns_beside(struct capsnet_turns *turns)
{
    return &turns->beside;
}

void turns_party_init(struct turns_party *party, struct capsnet_turns *turns)
{
    *party = (struct turns_party){.turns = turns};
    pthread_cond_init(&party->granted, NULL);
}

void turns_party_destroy(struct turns_party *party)
{
    pthread_cond_destroy(&party->granted);
}

/* ---- With the lock ---------------------------------------------------------- */

static void set_end(struct capsnet_turns *turns)
{
    int64_t until = INT64_MAX;
    if (turns->is_ending) {
        until = 0;
    } else if (turns->owner && turns->head) {
        const int64_t wanted = turns->head->last_us;
        until = turns->since_us + (wanted < SHORTEST_US  ? SHORTEST_US
                                   : wanted > LONGEST_US ? LONGEST_US
                                                         : wanted);
    }
    atomic_store_explicit(&turns->until_us, until, memory_order_relaxed);
}

static void enqueue(struct capsnet_turns *turns, struct turns_party *party)
{
    party->next = NULL;
    *turns->tail = party;
    turns->tail = &party->next;
}

/* The owner's turn ends; the first of those who wait gets the next. */
static void hand_on(struct capsnet_turns *turns)
{
    const int64_t now = monotonic_us();
    struct turns_party *next = turns->head;
    turns->owner->used_us += now - turns->since_us;
    turns->owner = next;
    turns->is_ending = 0;
    turns->since_us = now;
    if (next) {
        turns->head = next->next;
        if (!turns->head)
            turns->tail = &turns->head;
        pthread_cond_broadcast(&next->granted);
    }
    set_end(turns);
}

static void start(struct capsnet_turns *turns, struct turns_party *party)
{
    while (turns->owner != party || turns->is_ending)
        pthread_cond_wait(&party->granted, &turns->lock);
    turns->running++;
}

/* A thread of the owner's stops to run.  The owner still has work to do: where its turn is to
 * end, it waits for another. */
static void stop(struct capsnet_turns *turns)
{
    if (--turns->running == 0 && turns->is_ending) {
        enqueue(turns, turns->owner);
        hand_on(turns);
    }
}

/* ---- By the parties' threads --------------------------------------------------- */

void turns_take(struct turns_party *party)
{
    struct capsnet_turns *turns = party->turns;
    if (!turns)
        return;
    pthread_mutex_lock(&turns->lock);
    if (party->on++ > 0) {
        /* It has a turn already, or waits for one. */
    } else if (turns->owner) {
        enqueue(turns, party);
    } else {
        turns->owner = party;
        turns->since_us = monotonic_us();
    }
    set_end(turns);
    start(turns, party);
    pthread_mutex_unlock(&turns->lock);
}

void turns_give(struct turns_party *party)
{
    struct capsnet_turns *turns = party->turns;
    if (!turns)
        return;
    pthread_mutex_lock(&turns->lock);
    if (--party->on > 0) {
        stop(turns);
    } else {
        turns->running--;
        hand_on(turns);
        party->last_us = party->used_us;
        party->used_us = 0;
    }
    pthread_mutex_unlock(&turns->lock);
}

void turns_join(struct turns_party *party)
{
    struct capsnet_turns *turns = party->turns;
    if (!turns)
        return;
    pthread_mutex_lock(&turns->lock);
    start(turns, party);
    pthread_mutex_unlock(&turns->lock);
}

void turns_part(struct turns_party *party)
{
    struct capsnet_turns *turns = party->turns;
    if (!turns)
        return;
    pthread_mutex_lock(&turns->lock);
    stop(turns);
    pthread_mutex_unlock(&turns->lock);
}

void turns_yield(struct turns_party *party, int yields)
{
    atomic_store_explicit(&party->yields, yields, memory_order_relaxed);
}

/* Not between all items: where nobody waits it still takes 1 us. */
static void yield(void)
{
    static _Thread_local int64_t last_us;
    const int64_t now = monotonic_us();
    if (now - last_us < YIELD_US)
        return;
    last_us = now;
    sched_yield();
}

void turns_pause(struct turns_party *party)
{
    struct capsnet_turns *turns = party->turns;
    if (!turns)
        return;
    if (atomic_load_explicit(&party->yields, memory_order_relaxed))
        yield();
    const int64_t until = atomic_load_explicit(&turns->until_us, memory_order_relaxed);
    if (until == INT64_MAX || monotonic_us() < until)
        return;
    pthread_mutex_lock(&turns->lock);
    if (turns->head) {
        turns->is_ending = 1;
        set_end(turns);
        stop(turns);
        start(turns, party);
    }
    pthread_mutex_unlock(&turns->lock);
}
