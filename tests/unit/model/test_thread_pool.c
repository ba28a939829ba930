/* test_thread_pool.c - every item once, and each thread's own first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <time.h>

#include "model/machine/thread_pool.h"

enum { MOST_THREADS = 5, MOST_ITEMS = 41 };

/* What each thread did, in order. */
struct record {
    size_t items[MOST_THREADS][MOST_ITEMS];
    size_t count[MOST_THREADS];
    atomic_int done[MOST_ITEMS];
    int64_t item_ns;
};

static void note(void *context, size_t item, size_t thread)
{
    struct record *r = context;
    struct timespec pause = {0, r->item_ns};
    r->items[thread][r->count[thread]++] = item;
    atomic_fetch_add(&r->done[item], 1);
    if (r->item_ns)
        nanosleep(&pause, NULL);
}

typedef void (*loop)(struct pool *pool, size_t items, pool_function function, void *context);

/* Whose item i of n is, by the definition of each loop. */
static size_t owner(int is_dealt, size_t threads, size_t n, size_t i)
{
    if (is_dealt)
        return i % threads;
    for (size_t t = 0, end = 0; t < threads; t++) {
        end += n / threads + (t < n % threads);
        if (i < end)
            return t;
    }
    return threads;
}

static void check(struct pool *pool, size_t threads, size_t n, int is_dealt, int64_t item_ns)
{
    static const loop loops[2] = {pool_run, pool_run_longest_first};
    struct record r = {.item_ns = item_ns};
    loops[is_dealt](pool, n, note, &r);
    for (size_t i = 0; i < MOST_ITEMS; i++)
        assert_int_equal(atomic_load(&r.done[i]), i < n);
    for (size_t t = 0; t < threads && n > 1; t++) {
        size_t k = 0, last = 0;
        for (; k < r.count[t] && owner(is_dealt, threads, n, r.items[t][k]) == t; k++) {
            assert_true(k == 0 || r.items[t][k] > last);
            last = r.items[t][k];
        }
        for (; k < r.count[t]; k++) /* then others', and no more of its own */
            assert_int_not_equal(owner(is_dealt, threads, n, r.items[t][k]), t);
    }
}

static void test_items(void **state)
{
    (void)state;
    for (size_t threads = 1; threads <= MOST_THREADS; threads++) {
        struct pool *pool = pool_create(threads);
        assert_non_null(pool);
        assert_int_equal(pool_threads(pool), threads);
        for (size_t n = 0; n <= MOST_ITEMS; n++)
            for (int is_dealt = 0; is_dealt < 2; is_dealt++)
                check(pool, threads, n, is_dealt, n % 8 == 5 ? 100000 : 0);
        pool_rest(pool);
        check(pool, threads, MOST_ITEMS, 0, 0);
        pool_free(pool);
    }
}

/* A loop ends with all done whether a helper comes or sleeps through it; some it shares. */
static void test_shared(void **state)
{
    (void)state;
    struct pool *pool = pool_create(2);
    assert_non_null(pool);
    size_t with_both = 0;
    for (int i = 0; i < 20; i++) {
        struct record r = {.item_ns = 1000000};
        pool_run(pool, 8, note, &r);
        assert_int_equal(r.count[0] + r.count[1], 8);
        with_both += r.count[1] > 0;
    }
    assert_true(with_both > 0);
    pool_free(pool);
}

/* Loops that begin, and end, just when those who look for that go to sleep (after 0.1 ms): nobody
 * waits for ever, and each item is done once. */
static void test_going_to_sleep(void **state)
{
    (void)state;
    struct pool *pool = pool_create(3);
    assert_non_null(pool);
    for (int i = 0; i < 400; i++) {
        const struct timespec pause = {0, i % 20 * 5000};
        nanosleep(&pause, NULL);
        check(pool, 3, 4, 0, i % 2 ? 1000 + i % 7 * 10000 : 0);
        if (i % 5 == 0)
            pool_rest(pool);
    }
    pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_items),
                                       cmocka_unit_test(test_shared),
                                       cmocka_unit_test(test_going_to_sleep)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
