/*
 * thread_pool.c - see thread_pool.h.
 *
 * A loop is announced by the next round of `state`, entered, left and closed by changing that
 * one word; a lock is only taken to sleep and to wake.  Every thread has a share of the
 * items, the same in every loop of as many, so that what it wrote or read is still in its own
 * caches: to fetch it from another's costs as much as some loops compute, more where the two
 * CPUs have no cache in common, and as much again in the next loop, by whose share they then
 * are.  So who is through with his share first leaves the others a moment to take the rest of
 * theirs, PATIENCE_US, unless they are asleep, and then helps them.
 * The caller then closes the loop, and waits until the others have left it, so that the next
 * loop finds them all idle.  Who has not entered by then is not waited for: on a busy machine
 * a helper that was woken may get a CPU milliseconds later.  A pass is a handful of loops
 * one right after the other, and to wake a thread that sleeps takes as long as a small
 * batch's loop: who waits looks for SPIN_US before it sleeps.  Not after the last loop of a
 * pass (pool_rest): a thread that is woken may be put on the CPU of one that looks, who is
 * then not moved to an idle one, as one that is woken is.  Between items a pool that shares
 * its CPUs may have to let others compute (turns.h).
 */
#include "model/machine/thread_pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "model/machine/monotonic_clock.h"

enum { SPIN_US = 100, PATIENCE_US = 20 };

/* A thread's share of a loop: count items, of which `next` is taken next, in a cache line of
 * its own. */
struct share {
    _Alignas(64) atomic_size_t next;
    atomic_int sleeps; /* does its owner, so that he comes late? */
    size_t count, first, step; /* item k of it is item first + k * step of the loop */
};

/* What `state` is made of: how many helpers are inside the loop, whether more may enter it, or
 * whether the pass was over, and above that the round. */
enum { INSIDE = 0xffff, OPEN = INSIDE + 1, RESTS = 2 * OPEN, ROUND = 2 * RESTS };
static const size_t ROUNDS = ~((size_t)ROUND - 1);

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t start, done;
    atomic_size_t state;
    atomic_size_t sleepers; /* helpers that wait for `start`, changed under lock */
    atomic_int is_waiting;  /* does the caller wait for `done`?  Changed under lock */
    int stop;               /* under lock */
    pool_function function; /* this and the shares: by the caller, while no loop is on */
    void *context;
    struct share *shares; /* [threads] */
    size_t threads;       /* with the caller */
    struct turns_party own;    /* while it has no party with others */
    struct turns_party *party; /* that one, or theirs */
    struct helper {
        struct pool *pool;
        size_t index;
        pthread_t thread;
    } helpers[];
};

/* A moment for what shares the core. */
static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Until that part of the state is `wanted`, or is not; at most for SPIN_US. */
static void spin(const struct pool *pool, size_t part, size_t wanted, int is_wanted)
{
    for (const int64_t until = monotonic_us() + SPIN_US; monotonic_us() < until;)
        for (int i = 0; i < 16; i++) {
            const size_t state = atomic_load_explicit(&pool->state, memory_order_relaxed);
            if (((state & part) == wanted) == is_wanted)
                return;
            relax();
        }
}

static void take_share(struct pool *pool, struct share *share, size_t thread)
{
    while (atomic_load_explicit(&share->next, memory_order_relaxed) < share->count) {
        turns_pause(pool->party);
        const size_t k = atomic_fetch_add_explicit(&share->next, 1, memory_order_relaxed);
        if (k >= share->count)
            return;
        pool->function(pool->context, share->first + k * share->step, thread);
    }
}

/* Until the share's owner has taken all of it, or that moment has come; not where he sleeps. */
static void wait_for_owner(const struct share *share, int64_t until_us)
{
    while (atomic_load_explicit(&share->next, memory_order_relaxed) < share->count &&
           !atomic_load_explicit(&share->sleeps, memory_order_relaxed) &&
           monotonic_us() < until_us)
        relax();
}

static void take_items(struct pool *pool, size_t thread)
{
    take_share(pool, &pool->shares[thread], thread);
    const int64_t until_us = monotonic_us() + PATIENCE_US;
    for (size_t i = 1; i < pool->threads; i++) {
        struct share *share = &pool->shares[(thread + i) % pool->threads];
        wait_for_owner(share, until_us);
        take_share(pool, share, thread);
    }
}

/* Wakes whoever waits for that, after it has come. */
static void wake(struct pool *pool, pthread_cond_t *condition)
{
    pthread_mutex_lock(&pool->lock); /* who has looked and is about to wait, waits then */
    pthread_mutex_unlock(&pool->lock);
    pthread_cond_broadcast(condition);
}

/* Until another round than `seen`.  Returns 0 when there is none and the pool is to end. */
static int sleep_until_round(struct pool *pool, size_t seen, atomic_int *sleeps)
{
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->sleepers, 1); /* then looks for a round; run() the other way round */
    while ((atomic_load(&pool->state) & ROUNDS) == seen && !pool->stop) {
        atomic_store_explicit(sleeps, 1, memory_order_relaxed);
        pthread_cond_wait(&pool->start, &pool->lock);
    }
    atomic_fetch_sub(&pool->sleepers, 1);
    const int is_round = (atomic_load(&pool->state) & ROUNDS) != seen;
    pthread_mutex_unlock(&pool->lock);
    return is_round;
}

/* Enters the loop that is on, if it is open.  Returns the state before. */
static size_t enter_loop(struct pool *pool)
{
    size_t state = atomic_load(&pool->state);
    while (state & OPEN && !atomic_compare_exchange_weak(&pool->state, &state, state + 1)) {
        /* Again, with what it is now. */
    }
    return state;
}

static void leave_loop(struct pool *pool)
{
    const size_t inside = atomic_fetch_sub(&pool->state, 1) & INSIDE;
    if (inside == 1 && atomic_load(&pool->is_waiting))
        wake(pool, &pool->done);
}

static void *helper_main(void *argument)
{
    struct helper *helper = argument;
    struct pool *pool = helper->pool;
    atomic_int *sleeps = &pool->shares[helper->index].sleeps;
    size_t state = 0;
    for (;;) {
        const size_t seen = state & ROUNDS;
        if (!(state & RESTS))
            spin(pool, ROUNDS, seen, 0);
        if ((atomic_load(&pool->state) & ROUNDS) == seen &&
            !sleep_until_round(pool, seen, sleeps))
            return NULL;
        atomic_store_explicit(sleeps, 0, memory_order_relaxed);
        state = enter_loop(pool);
        if (!(state & OPEN))
            continue;
        turns_join(pool->party);
        take_items(pool, helper->index);
        turns_part(pool->party);
        leave_loop(pool);
    }
}

struct pool *pool_create(size_t threads)
{
    struct pool *pool = calloc(1, sizeof *pool + (threads - 1) * sizeof pool->helpers[0]);
    if (!pool)
        return NULL;
    pool->shares = aligned_alloc(_Alignof(struct share), threads * sizeof *pool->shares);
    if (!pool->shares) {
        free(pool);
        return NULL;
    }
    for (size_t i = 0; i < threads; i++)
        atomic_init(&pool->shares[i].sleeps, i > 0);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->start, NULL);
    pthread_cond_init(&pool->done, NULL);
    turns_party_init(&pool->own, NULL);
    pool->party = &pool->own;
    for (pool->threads = 1; pool->threads < threads; pool->threads++) {
        struct helper *helper = &pool->helpers[pool->threads - 1];
        helper->pool = pool;
        helper->index = pool->threads;
        if (pthread_create(&helper->thread, NULL, helper_main, helper)) {
            pool_free(pool);
            return NULL;
        }
    }
    return pool;
}

void pool_free(struct pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->stop = 1;
    pthread_mutex_unlock(&pool->lock);
    pthread_cond_broadcast(&pool->start);
    for (size_t i = 0; i + 1 < pool->threads; i++)
        pthread_join(pool->helpers[i].thread, NULL);
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->start);
    pthread_mutex_destroy(&pool->lock);
    turns_party_destroy(&pool->own);
    free(pool->shares);
    free(pool);
}

size_t pool_threads(const struct pool *pool)
{
    return pool->threads;
}

void pool_share(struct pool *pool, struct capsnet_turns *turns, int is_beside)
{
    pool->own.turns = turns;
    pool->party = is_beside && turns ? turns_beside(turns) : &pool->own;
}

struct turns_party *pool_party(struct pool *pool)
{
    return pool->party;
}

/* By the caller, while nobody is inside, when all that belongs to the next round is set. */
static void next_round(struct pool *pool, size_t flag)
{
    const size_t state = atomic_load_explicit(&pool->state, memory_order_relaxed);
    atomic_store(&pool->state, ((state & ROUNDS) + ROUND) | flag);
}

/* Lets nobody enter the loop any more and waits until the helpers have left it; while they have
 * not, the caller does not run, so that a turn may end that they are to go on with in the next. */
static void close_loop(struct pool *pool)
{
    if (!(atomic_fetch_and(&pool->state, ~(size_t)OPEN) & INSIDE))
        return;
    spin(pool, INSIDE, 0, 1);
    if (!(atomic_load(&pool->state) & INSIDE))
        return;
    turns_part(pool->party);
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->is_waiting, 1); /* then looks who is inside; leave_loop() the other way */
    while (atomic_load(&pool->state) & INSIDE)
        pthread_cond_wait(&pool->done, &pool->lock);
    atomic_store(&pool->is_waiting, 0);
    pthread_mutex_unlock(&pool->lock);
    turns_join(pool->party);
}

/* Shares of items beside each other, or dealt out one by one.  As many in both: the first
 * have one more where they do not come out even. */
static void set_shares(struct pool *pool, size_t items, int is_dealt)
{
    const size_t least = items / pool->threads, more = items % pool->threads;
    for (size_t i = 0, first = 0; i < pool->threads; i++) {
        struct share *share = &pool->shares[i];
        atomic_store_explicit(&share->next, 0, memory_order_relaxed);
        share->count = least + (i < more);
        share->first = is_dealt ? i : first;
        share->step = is_dealt ? pool->threads : 1;
        first += share->count;
    }
}

static void run(struct pool *pool, size_t items, int is_dealt, pool_function function,
                void *context)
{
    if (pool->threads == 1 || items <= 1) {
        for (size_t i = 0; i < items; i++) {
            turns_pause(pool->party);
            function(context, i, 0);
        }
        return;
    }
    pool->function = function;
    pool->context = context;
    set_shares(pool, items, is_dealt);
    next_round(pool, OPEN);
    if (atomic_load(&pool->sleepers))
        wake(pool, &pool->start);

    take_items(pool, 0);
    close_loop(pool);
}

void pool_run(struct pool *pool, size_t items, pool_function function, void *context)
{
    run(pool, items, 0, function, context);
}

void pool_run_longest_first(struct pool *pool, size_t items, pool_function function,
                            void *context)
{
    run(pool, items, 1, function, context);
}

void pool_rest(struct pool *pool)
{
    next_round(pool, RESTS); /* who looks sees it, who sleeps sleeps on */
}
