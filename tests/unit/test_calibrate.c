/*
 * test_calibrate.c - `capsnet-train calibrate` as its users run it, on a small
 * data set of its own: it measures what training measured, refuses as many
 * images as it says, and leaves the weights as they are.  SEED repeats the data.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "folder.h"
#include "safetensors.h"
#include "train/random.h"
#include "train/split.h"

/* The training is long enough that pictures err less than blank ones would:
 * before that the numbers decide nothing. */
enum { SIDE = 18, TRAIN = 300, HELD_OUT = 100 };
#define TRAINING "train --data . --out f --conv1 8 --types 2 --dims 4 --pose 4 --hidden1 16 " \
                 "--hidden2 32 --batch 25 --warmup 5 --shift 1 --rate 0.01 --alpha 0.05 --ema 0 " \
                 "--epochs 16 --no-pictures --threads 2 --holdout %d"

static struct random dice;
static char output[1 << 14];

/* A bar across or upright, of random place, length and brightness. */
static void put_bars(const char *prefix, size_t n)
{
    static uint8_t pixels[TRAIN][SIDE][SIDE], labels[TRAIN];
    memset(pixels, 0, sizeof pixels);
    for (size_t i = 0; i < n; i++) {
        const size_t at = 6 + random_below(&dice, 6), length = 6 + random_below(&dice, 8);
        const uint8_t ink = (uint8_t)(180 + random_below(&dice, 76));
        labels[i] = (uint8_t)(i % 2);
        for (size_t k = 0; k < 4 * length; k++) { /* four pixels thick */
            uint8_t *pixel = labels[i] ? &pixels[i][2 + k / 4][at - 2 + k % 4]
                                       : &pixels[i][at - 2 + k % 4][2 + k / 4];
            *pixel = ink;
        }
    }
    put_idx(prefix, n, SIDE, SIDE, pixels[0][0], labels);
}

static void run(int status, const char *fragment, const char *words)
{
    const int got = run_trainer(output, sizeof output, "%s", words);
    if (got != status || !strstr(output, fragment))
        fail_msg("\"%s\" gave %d and \"%s\", expected %d and \"%s\"", words, got, output, status,
                 fragment);
}

static void train_small(int held_out)
{
    char words[400];
    snprintf(words, sizeof words, TRAINING, held_out);
    run(0, "wrote f", words);
}

static void expect_same(const char *a, const char *b)
{
    size_t n, m;
    uint8_t *x = get_file(a, &n), *y = get_file(b, &m);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    free(x);
    free(y);
}

/* Changes one text of the file's header into another of the same length. */
static void change(const char *name, const char *from, const char *to)
{
    size_t nbytes;
    uint8_t *bytes = get_file(name, &nbytes), *at = memmem(bytes, nbytes, from, strlen(from));
    assert_non_null(at);
    assert_int_equal(strlen(from), strlen(to));
    memcpy(at, to, strlen(to));
    put_file(name, bytes, nbytes);
    free(bytes);
}

static void it_measures_what_training_measured(void **state)
{
    (void)state;
    const int held_out[] = {HELD_OUT, 0};
    for (size_t i = 0; i < 2; i++) {
        train_small(held_out[i]);
        run(0, held_out[i] ? "from the held-out images" : "from the training images",
            "calibrate f --data . --out g --threads 1");
        expect_same("f", "g");
        change("g", "\"length_threshold\":\"0.", "\"length_threshold\":\"0 ");
        run(1, "length_threshold", "calibrate g --data .");
    }
}

static void a_file_without_numbers_gets_them(void **state)
{
    (void)state;
    train_small(HELD_OUT);
    char command[500];
    snprintf(command, sizeof command, TRAINING " --error-threshold 0.5", HELD_OUT);
    run(0, "wrote f", command);
    run(0, "length_threshold       0\n", "info f");
    run(0, "from the held-out images", "calibrate f --data .");
    run(0, "error_threshold_from   held-out images", "info f");
    assert_null(strstr(output, "length_threshold       0\n"));
}

static void it_refuses_one_in_twenty(void **state)
{
    (void)state;
    train_small(0); /* so that all training images are what it was measured by */
    double percent = 0;
    run(0, "in_distribution: ", "eval f --data . --set train");
    assert_int_equal(sscanf(strstr(output, "in_distribution: "), "in_distribution: %lf", &percent), 1);
    if (percent < 95)
        fail_msg("%.2f %% are known", percent);
    /* At most 5 % are refused; one image more by each sign would be over it. */
    assert_true(percent >= 95 - 1e-9 && percent <= 95 + 200.0 / TRAIN + 1e-9);
}

static void it_says_what_is_wrong(void **state)
{
    (void)state;
    train_small(HELD_OUT);
    run(2, "needs a weights file", "calibrate");
    run(1, "none", "calibrate none --data .");
    run(1, "nowhere", "calibrate f --data nowhere");
    change("f", "200 trained on, 100 held out", "900 trained on, 100 held out");
    run(1, "1000 images", "calibrate f --data .");
    change("f", "900 trained on, 100 held out", "nine trained on and 100 left");
    run(1, "train.images", "calibrate f --data .");
}

static void splits_are_told_and_read(void **state)
{
    (void)state;
    char text[64];
    size_t n_train = 0, n_holdout = 0;
    split_describe(text, sizeof text, 55000, 5000);
    assert_int_equal(split_parse(text, &n_train, &n_holdout), 1);
    assert_int_equal(n_train, 55000);
    assert_int_equal(n_holdout, 5000);
    assert_int_equal(split_parse(NULL, &n_train, &n_holdout), 0);
    assert_int_equal(split_parse("55000 trained on", &n_train, &n_holdout), 0);
    assert_int_equal(split_parse("1 trained on, 2 held out!", &n_train, &n_holdout), 0);
}

static int set_up(void **state)
{
    (void)state;
    folder_create();
    put_bars("train", TRAIN);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove();
    return 0;
}

int main(void)
{
    const char *seed = getenv("SEED");
    dice.state = seed ? strtoull(seed, NULL, 10) : 1;
    printf("SEED=%llu\n", (unsigned long long)dice.state);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_measures_what_training_measured),
        cmocka_unit_test(a_file_without_numbers_gets_them),
        cmocka_unit_test(it_refuses_one_in_twenty),
        cmocka_unit_test(it_says_what_is_wrong),
        cmocka_unit_test(splits_are_told_and_read),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
