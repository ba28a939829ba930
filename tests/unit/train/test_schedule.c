/*
 * test_schedule.c - what a run does when: the rate of each update, and the order of
 * each epoch's images.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/train/learn/run_state.h"

/* 100 epochs of 100 steps. */
static struct train_options options_of(float hold, float decay, float final_rate)
{
    return (struct train_options){.epochs = 100, .batch = 10, .warmup = 200, .rate = 0.001f,
                                  .final_rate = final_rate, .hold = hold, .decay = decay,
                                  .repeats = 1};
}

static void expect_rate(const struct train_options *o, size_t update, double want)
{
    const struct trainer t = {.options = o, .n_train = 995};
    const double got = trainer_rate(&t, update);
    if (!(fabs(got - want) <= 1e-9))
        fail_msg("update %zu has the rate %.9g, not %.9g", update, got, want);
}

static void test_rates(void **state)
{
    (void)state;
    const struct train_options cosine = options_of(0, 1, 0), low = options_of(0, 1, 0.0002f);
    expect_rate(&cosine, 0, 0.001 / 200); /* the warm-up */
    expect_rate(&cosine, 99, 0.0005);
    expect_rate(&cosine, 199, 0.001);
    expect_rate(&cosine, 200, 0.001); /* the cosine of 9800 steps */
    expect_rate(&cosine, 5100, 0.0005);
    expect_rate(&cosine, 10000, 0);
    expect_rate(&low, 5100, 0.0006);
    expect_rate(&low, 10000, 0.0002);

    const struct train_options held = options_of(1, 1, 0), later = options_of(0.75f, 1, 0);
    for (size_t update = 200; update < 10000; update += 700)
        expect_rate(&held, update, 0.001);
    expect_rate(&held, 9999, 0.001);
    expect_rate(&later, 7550, 0.001); /* 200 + 3/4 of 9800 */
    expect_rate(&later, 8775, 0.0005);
    expect_rate(&later, 10000, 0);

    const struct train_options authors = options_of(1, 0.96f, 0), both = options_of(0, 0.5f, 0);
    expect_rate(&authors, 2000, 0.00096);
    expect_rate(&authors, 9000, 0.001 * pow((double)0.96f, 4.5));
    expect_rate(&both, 5100, 0.0005 * pow(0.5, 2.55));
}

/* In N epochs every image stands N times, one behind the other, and the copies of
 * one epoch know each other apart; with one copy it is one shuffle each epoch. */
static void test_order(void **state)
{
    (void)state;
    enum { N = 101, SKIPPED = 4 };
    uint32_t images[N + SKIPPED], order[N], shuffled[N], before[N];
    for (uint32_t i = 0; i < N + SKIPPED; i++)
        images[i] = 1000 + i;
    for (size_t repeats = 1; repeats <= 5; repeats++) {
        struct train_options o = {.repeats = repeats, .seed = 3};
        struct trainer t = {.options = &o, .split = images, .order = order, .shuffled = shuffled,
                            .n_train = N, .n_skipped = SKIPPED};
        for (size_t turn = 0; turn < 2; turn++) { /* two rounds of that many epochs */
            size_t count[N] = {0}, run = 0;
            uint32_t last = 0;
            for (size_t e = 0; e < repeats; e++, t.epoch++) {
                trainer_order_epoch(&t);
                for (size_t p = 0; p < N; p++) {
                    assert_in_range(order[p], 1000, 1000 + N - 1);
                    count[order[p] - 1000]++;
                    assert_true(run % repeats == 0 || order[p] == last);
                    last = order[p];
                    run++;
                }
                if (e == 0 && turn == 1)
                    assert_memory_not_equal(order, before, sizeof order);
                if (e == 0)
                    memcpy(before, order, sizeof before);
            }
            for (size_t i = 0; i < N; i++)
                assert_int_equal(count[i], repeats);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
