/* test_turns.c - pools that share their CPUs: one computes at a time, or some beside each other,
 * and none starves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "model/machine/thread_pool.h"

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

enum { POOLS = 3, MOST_ITEMS = 4000 };

/* Who computes: the threads within an item, of each pool. */
static atomic_int inside[POOLS];

/* Pools that may compute beside each other. */
static int is_beside[POOLS];

/* One pool's work: loops, one after the other, of items that take a while each. */
struct work {
    struct pool *pool;
    size_t number, works, loops, items;
    int64_t item_us;
    atomic_int done[MOST_ITEMS]; /* how often each item of this loop was */
    atomic_size_t total, most_threads;
    atomic_int mixed;     /* another pool was computing that may not beside this one, */
    atomic_int met;       /* or that may */
    int64_t longest_us;   /* of a work, from asking for the turn to giving it back */
    pthread_t thread;
};

static void run_item(void *context, size_t item, size_t thread)
{
    struct work *w = context;
    (void)thread;
    const int now = atomic_fetch_add(&inside[w->number], 1) + 1;
    if ((size_t)now > atomic_load(&w->most_threads))
        atomic_store(&w->most_threads, (size_t)now);
    for (size_t i = 0; i < POOLS; i++)
        if (i != w->number && atomic_load(&inside[i]))
            atomic_store(is_beside[i] && is_beside[w->number] ? &w->met : &w->mixed, 1);
    atomic_fetch_add(&w->done[item], 1);
    atomic_fetch_add(&w->total, 1);
    for (const int64_t until = now_us() + w->item_us; now_us() < until;) {
    }
    atomic_fetch_sub(&inside[w->number], 1);
}

static void *run_works(void *argument)
{
    struct work *w = argument;
    for (size_t i = 0; i < w->works; i++) {
        const int64_t asked = now_us();
        turns_take(pool_party(w->pool));
        for (size_t l = 0; l < w->loops; l++)
            pool_run(w->pool, w->items, run_item, w);
        turns_give(pool_party(w->pool));
        const int64_t took = now_us() - asked;
        w->longest_us = took > w->longest_us ? took : w->longest_us;
    }
    return NULL;
}

static struct work *make(struct capsnet_turns *turns, size_t number, size_t threads)
{
    struct work *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->number = number;
    w->pool = pool_create(threads);
    assert_non_null(w->pool);
    pool_share(w->pool, turns, is_beside[number]);
    return w;
}

static void start(struct work *w, size_t works, size_t loops, size_t items, int64_t item_us)
{
    w->works = works;
    w->loops = loops;
    w->items = items;
    w->item_us = item_us;
    assert_int_equal(pthread_create(&w->thread, NULL, run_works, w), 0);
}

/* Checks that every item was done in every loop, by no more threads than the pool has,
 * and never beside another pool. */
static void finish(struct work *w, size_t threads)
{
    assert_int_equal(pthread_join(w->thread, NULL), 0);
    assert_int_equal(atomic_load(&w->total), w->works * w->loops * w->items);
    for (size_t i = 0; i < w->items; i++)
        assert_int_equal(atomic_load(&w->done[i]), w->works * w->loops);
    assert_in_range(atomic_load(&w->most_threads), 1, threads);
    assert_false(atomic_load(&w->mixed));
    pool_free(w->pool);
}

/* What a pool does: see start(). */
struct load {
    size_t works, loops, items;
    int64_t item_us;
};

/* Pools side by side; returns whether two that may were seen to compute at the same time. */
static int run_beside(const struct load loads[POOLS], size_t threads)
{
    struct capsnet_turns *turns = capsnet_turns_create();
    assert_non_null(turns);
    struct work *w[POOLS];
    for (size_t i = 0; i < POOLS; i++)
        w[i] = make(turns, i, threads);
    for (size_t i = 0; i < POOLS; i++)
        start(w[i], loads[i].works, loads[i].loops, loads[i].items, loads[i].item_us);
    int met = 0;
    for (size_t i = 0; i < POOLS; i++) {
        finish(w[i], threads);
        met |= atomic_load(&w[i]->met);
        free(w[i]);
    }
    capsnet_turns_free(turns);
    return met;
}

/* Loops of few and of many items, short and long. */
static void one_pool_computes_at_a_time(void **state)
{
    (void)state;
    static const struct load loads[POOLS] = {{3, 2, 200, 100}, {100, 5, 3, 20}, {200, 3, 1, 10}};
    for (size_t threads = 1; threads <= 4; threads++)
        assert_false(run_beside(loads, threads));
}

/* One work of half a second's items; beside it short ones, which must not wait for its
 * end: they take a few of its turns' lengths, and half of it on the busiest machine. */
static void short_work_is_let_in(void **state)
{
    (void)state;
    enum { ITEMS = 2500, ITEM_US = 200, SHORT = 20 };
    for (size_t threads = 1; threads <= 2; threads++) {
        struct capsnet_turns *turns = capsnet_turns_create();
        assert_non_null(turns);
        struct work *large = make(turns, 0, threads), *small = make(turns, 1, threads);
        start(large, 1, 1, ITEMS, ITEM_US);
        while (atomic_load(&large->total) == 0) {
        }
        start(small, SHORT, 4, 2, ITEM_US);
        finish(small, threads);
        const size_t before_end = atomic_load(&large->total);
        finish(large, threads);
        printf("%zu threads: short works of %d us took %lld us at most beside one of %lld us\n",
               threads, 8 * ITEM_US, (long long)small->longest_us, (long long)large->longest_us);
        assert_true(before_end < ITEMS);
        assert_true(small->longest_us < large->longest_us / 2);
        free(large);
        free(small);
        capsnet_turns_free(turns);
    }
}

/* Of two that always have work, each gets a fair share: when the first has done its work,
 * the other, of the same size, is not far from done. */
static void all_who_have_work_get_turns(void **state)
{
    (void)state;
    enum { ITEMS = 1000, ITEM_US = 200 };
    struct capsnet_turns *turns = capsnet_turns_create();
    assert_non_null(turns);
    struct work *a = make(turns, 0, 2), *b = make(turns, 1, 2);
    start(a, 1, 1, ITEMS, ITEM_US);
    start(b, 1, 1, ITEMS, ITEM_US);
    while (atomic_load(&a->total) < ITEMS && atomic_load(&b->total) < ITEMS) {
    }
    const size_t done = atomic_load(&a->total) < ITEMS ? atomic_load(&a->total)
                                                        : atomic_load(&b->total);
    finish(a, 2);
    finish(b, 2);
    printf("one was done when the other had %zu of %d\n", done, ITEMS);
    assert_true(done > ITEMS / 4);
    free(a);
    free(b);
    capsnet_turns_free(turns);
}

/* Two pools beside each other, as often as not at the same time, and one that takes turns with
 * both; each has its works done, whoever begins and ends the others' turn. */
static void some_compute_beside_each_other(void **state)
{
    (void)state;
    static const struct load loads[POOLS] = {
        {200, 3, 10, 100}, {300, 2, 7, 100}, {150, 2, 8, 100}};
    is_beside[0] = is_beside[1] = 1;
    for (size_t threads = 1; threads <= 2; threads++)
        assert_true(run_beside(loads, threads));
    is_beside[0] = is_beside[1] = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_pool_computes_at_a_time),
        cmocka_unit_test(short_work_is_let_in),
        cmocka_unit_test(all_who_have_work_get_turns),
        cmocka_unit_test(some_compute_beside_each_other),
    };
    return cmocka_run_group_tests_name("turns", tests, NULL, NULL);
}
