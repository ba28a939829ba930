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

#include "tests/common/temp_folder.h"
#include "model/weights_file/safetensors.h"
#include "model/train/data/random.h"
#include "model/train/data/holdout_split.h"

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

/* The four numbers of a file, as `info` prints them. */
static void read_known(const char *name, double known[4])
{
    static const char *const keys[] = {"error_threshold ", "typical_ink ", "ink_power ",
                                       "length_threshold "};
    char words[64];
    snprintf(words, sizeof words, "info %s", name);
    run(0, "error_threshold_from", words);
    for (size_t i = 0; i < 4; i++) {
        const char *at = strstr(output, keys[i]);
        assert_non_null(at);
        known[i] = strtod(at + strlen(keys[i]), NULL);
    }
}

/* All of two files is the same, but for the four numbers, which a forward pass in
 * training and one in inference round differently, and how long they are. */
static void expect_same(const char *a, const char *b)
{
    size_t n, m;
    double x[4], y[4];
    read_known(a, x);
    read_known(b, y);
    for (size_t i = 0; i < 4; i++)
        assert_true(fabs(x[i] - y[i]) <= 1e-5 * fabs(x[i]));
    uint8_t *one = get_file(a, &n), *two = get_file(b, &m);
    const size_t weights = 4000; /* of the bytes at the end, more than these */
    assert_true(n > 2 * weights && m > 2 * weights);
    assert_memory_equal(one + n - weights, two + m - weights, weights);
    free(one);
    free(two);
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

/* On a canvas images lie where they lay at the end of training. */
static void it_measures_on_a_canvas(void **state)
{
    (void)state;
    char words[400];
    snprintf(words, sizeof words, TRAINING " --canvas 22", HELD_OUT);
    run(0, "wrote f", words);
    run(0, "from the held-out images", "calibrate f --data . --out g --threads 1");
    expect_same("f", "g");
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

/* Blank images, which no threshold can let in, do not decide on any: with every
 * tenth image blank the file still can be read. */
static void blank_images_take_no_part(void **state)
{
    (void)state;
    static uint8_t pixels[TRAIN][SIDE][SIDE], labels[TRAIN];
    for (size_t i = 0; i < TRAIN; i++) {
        labels[i] = i % 10 == 9 ? 2 : (uint8_t)(i % 2);
        for (size_t y = 2; labels[i] < 2 && y < SIDE - 2; y++)
            for (size_t x = 2; x < SIDE - 2; x++)
                pixels[i][y][x] = (labels[i] ? x : y) / 4 == 2 ? (uint8_t)(150 + 105 * i / TRAIN) : 0;
    }
    put_idx("blanks/train", TRAIN, SIDE, SIDE, pixels[0][0], labels);
    char words[400];
    snprintf(words, sizeof words, TRAINING " --data blanks", 0);
    run(0, "wrote f", words);
    run(0, "error_threshold", "info f");
    double percent = 0;
    run(0, "in_distribution: ", "eval f --data blanks --set train");
    assert_int_equal(sscanf(strstr(output, "in_distribution: "), "in_distribution: %lf", &percent), 1);
    if (percent < 85 || percent > 90)
        fail_msg("%.2f %% are known; a tenth is blank", percent);
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
    char text[128];
    for (size_t skipped = 0; skipped <= 70; skipped += 70)
        for (size_t wanted = 0; wanted <= 4990; wanted += 4990) {
            const struct split_record told = {55000 - skipped, skipped, 5000, wanted,
                                              wanted ? 4294967295 : 0};
            struct split_record read;
            split_describe(text, sizeof text, &told);
            assert_int_equal(split_parse(text, &read), 1);
            assert_memory_equal(&read, &told, sizeof told);
        }
    static const char *const bad[] = {
        NULL, "", "55000 trained on", "1 trained on, 2 held out!", "1 trained on, 2 skipped",
        "1 trained on, 2 skipped, 3", "1 trained on, 2 held out, 3 skipped",
        "1 trained on, 2 held out by writer", "1 trained on, 2 held out by writer, 0 wanted, seed 1",
        "1 trained on, 2 held out by writer, 2 wanted, seed 1!"};
    struct split_record unused;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(split_parse(bad[i], &unused), 0);
}

static int set_up(void **state)
{
    folder_create(state);
    put_bars("train", TRAIN);
    return 0;
}

int main(void)
{
    const char *seed = getenv("SEED");
    dice.state = seed ? strtoull(seed, NULL, 10) : 1;
    printf("SEED=%llu\n", (unsigned long long)dice.state);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_measures_what_training_measured),
        cmocka_unit_test(it_measures_on_a_canvas),
        cmocka_unit_test(a_file_without_numbers_gets_them),
        cmocka_unit_test(it_refuses_one_in_twenty),
        cmocka_unit_test(blank_images_take_no_part),
        cmocka_unit_test(it_says_what_is_wrong),
        cmocka_unit_test(splits_are_told_and_read),
    };
    return cmocka_run_group_tests(tests, set_up, folder_remove);
}
