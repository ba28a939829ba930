/*
 * test_eval_pairs.c - `capsnet-train eval --pairs` as its users run it, on small shapes of
 * its own: what it prints, writes and draws is what the pairs are, worked out here again;
 * and a model of pairs that is measured, described and calibrated.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "model/picture/png.h"
#include "model/train/data/idx.h"
#include "model/train/data/pairs.h"
#include "tests/common/temp_folder.h"

enum { SIDE = 12, TRAIN = 240, TEST = 42, CANVAS = SIDE + 2 * PAIRS_SHIFT };
enum { PAIRS = TEST * PAIRS_PARTNERS, PIXELS = CANVAS * CANVAS };
#define NETWORK "train --data . --conv1 16 --types 4 --dims 8 --pose 8 --hidden1 32 --hidden2 32 " \
                "--batch 25 --warmup 10 --rate 0.004 --alpha 0.005 --ema 0.9 "

static char output[1 << 16];
static struct dataset test;

/* ---- Data ------------------------------------------------------------------ */

/* A bar across, one upright, a frame; their brightness differs. */
static void draw(uint8_t *pixels, size_t label, size_t i)
{
    const uint8_t ink = (uint8_t)(140 + 9 * (i % 12));
    memset(pixels, 0, SIDE * SIDE);
    for (size_t y = 1; y < SIDE - 1; y++)
        for (size_t x = 1; x < SIDE - 1; x++) {
            const int across = y == 5 || y == 6, upright = x == 5 || x == 6;
            const int frame = y < 3 || y > SIDE - 4 || x < 3 || x > SIDE - 4;
            if (label == 0 ? across : label == 1 ? upright : frame)
                pixels[y * SIDE + x] = ink;
        }
}

static void put_shapes(const char *prefix, size_t n)
{
    static uint8_t pixels[TRAIN * SIDE * SIDE], labels[TRAIN];
    for (size_t i = 0; i < n; i++) {
        labels[i] = (uint8_t)(i % 3);
        draw(pixels + i * SIDE * SIDE, i % 3, i / 3);
    }
    put_idx(prefix, n, SIDE, SIDE, pixels, labels);
}

/* ---- Running --------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static void expect(int status, const char *fragment,
                                                         const char *format, ...)
{
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    const int got = run_trainer(output, sizeof output, "%s", line);
    if (got != status || !strstr(output, fragment))
        fail_msg("\"%s\" gave %d and \"%s\", expected %d and \"%s\"", line, got, output, status,
                 fragment);
}

/* The number that follows these words in what was said. */
static double number_after(const char *words)
{
    const char *at = strstr(output, words);
    if (!at)
        fail_msg("\"%s\" does not say \"%s\"", output, words);
    return strtod(at + strlen(words), NULL);
}

static int set_up(void **state)
{
    struct capsnet_error error = {""};
    folder_create(state);
    put_shapes("train", TRAIN);
    put_shapes("t10k", TEST);
    assert_int_equal(dataset_load_idx(&test, in_folder("."), "t10k", &error), CAPSNET_OK);
    expect(0, "wrote model", NETWORK "--epochs 120 --pairs --singles 0.2 --out model --test "
                             "--labels across,upright,frame --no-pictures");
    return 0;
}

static int tear_down(void **state)
{
    dataset_free(&test);
    return folder_remove(state);
}

/* ---- What it measures ------------------------------------------------------ */

/* It learns; the figures at the end of training, in the file, of `eval --pairs` and of
 * `eval` are the same ones. */
static void its_figures_agree(void **state)
{
    (void)state;
    char text[64];
    expect(0, "test.pairs_wrong", "info model");
    const size_t wrong = (size_t)number_after("test.pairs_wrong ");
    const size_t single = (size_t)number_after("test.wrong ");
    snprintf(text, sizeof text, "(%zu of %d)", wrong, (int)PAIRS);
    expect(0, text, "eval model --data . --pairs");
    assert_non_null(strstr(output, "42 images with 10 partners of other classes each, anywhere on "
                                   "20 x 20, seed 1"));
    print_message("%s", output);
    snprintf(text, sizeof text, "(%zu of %d wrong)", single, (int)TEST);
    assert_non_null(strstr(output, text));
    assert_true(number_after("pairs wrong ") < 25); /* by chance 67 */
    assert_true(number_after("single images on the canvas: error ") < 25);
    assert_true(number_after("detected exactly the pair ") > 30);
    assert_true(number_after("capsule drawn alone: ") < number_after("its own image, "));
    expect(0, text, "eval model --data .");
    expect(0, "seed 2", "eval model --data . --pairs --seed 2 --batch 7 --threads 1");
    assert_true(number_after("pairs wrong ") < 25);
}

/* --answers: the two longest capsules; as many are not the pair as it says, here of a
 * network that has hardly begun.  Neither batches nor threads change them. */
static void its_answers_are_told(void **state)
{
    (void)state;
    struct capsnet_error error = {""};
    struct pair *pairs;
    size_t n, n_again, wrong = 0;
    assert_int_equal(pairs_draw(&pairs, &test, NULL, TEST, PAIRS_PARTNERS, CANVAS, 1, &error), 0);
    expect(0, "wrote young", NETWORK "--epochs 10 --pairs --out young --no-pictures");
    expect(0, "pairs wrong", "eval young --data . --pairs --answers answers");
    const char *at = strstr(output, "pairs wrong ");
    size_t printed;
    assert_int_equal(sscanf(at, "pairs wrong %*f %% (%zu of", &printed), 1);
    char *text = (char *)get_file("answers", &n), *rest = text;
    for (size_t i = 0; i < PAIRS; i++) {
        unsigned first, second;
        int used;
        assert_int_equal(sscanf(rest, "%u %u\n%n", &first, &second, &used), 2);
        rest += used;
        assert_true(first < 3 && second < 3 && first != second);
        const unsigned a = test.labels[pairs[i].image[0]], b = test.labels[pairs[i].image[1]];
        wrong += !((first == a && second == b) || (first == b && second == a));
    }
    assert_int_equal(*rest, 0);
    assert_int_equal(wrong, printed);
    assert_true(wrong > 0 && wrong < PAIRS);
    expect(0, "pairs wrong", "eval young --data . --pairs --answers again --batch 50 --threads 3");
    char *again = (char *)get_file("again", &n_again);
    assert_int_equal(n, n_again);
    assert_memory_equal(text, again, n);
    free(again);
    free(text);
    free(pairs);
}

/* --pictures: the pairs themselves, and a list of their labels. */
static void its_pairs_are_written(void **state)
{
    (void)state;
    enum { WRITTEN = 23 };
    struct capsnet_error error = {""};
    struct pair *pairs;
    size_t n;
    static uint8_t one[PIXELS], two[PIXELS], both[PIXELS];
    static const char *const labels[] = {"across", "upright", "frame"};
    assert_int_equal(pairs_draw(&pairs, &test, NULL, TEST, PAIRS_PARTNERS, CANVAS, 5, &error), 0);
    expect(0, "wrote 23 pairs and pairs.tsv to pictures",
           "eval model --data . --pairs --seed 5 --pictures pictures --pictures-count 23");
    char *list = (char *)get_file("pictures/pairs.tsv", &n), *rest = list;
    for (size_t i = 0; i < WRITTEN; i++) {
        char name[64], line[128], wanted[128];
        struct image image;
        struct image_message message;
        snprintf(wanted, sizeof wanted, "%06zu.png\t%s\t%s", i,
                 labels[test.labels[pairs[i].image[0]]], labels[test.labels[pairs[i].image[1]]]);
        snprintf(line, sizeof line, "%s", strsep(&rest, "\n"));
        assert_string_equal(line, wanted);
        snprintf(name, sizeof name, "pictures/%06zu.png", i);
        uint8_t *bytes = get_file(name, &n);
        assert_int_equal(png_decode(&image, bytes, n, PIXELS, 1, &message), IMAGE_OK);
        assert_true(image.width == CANVAS && image.height == CANVAS && image.channels == 1);
        pair_picture(one, &test, &pairs[i], 0, CANVAS);
        pair_picture(two, &test, &pairs[i], 1, CANVAS);
        pair_overlay(both, one, two, PIXELS);
        assert_memory_equal(image.pixels, both, PIXELS);
        image_free(&image);
        free(bytes);
    }
    assert_true(rest && *rest == 0);
    assert_int_not_equal(access(in_folder("pictures/%06d.png", WRITTEN), F_OK), 0);
    free(list);
    free(pairs);
}

/* ---- in_distribution ------------------------------------------------------- */

/* A model of pairs has no threshold, unless one is given, and none is measured. */
static void it_has_no_threshold(void **state)
{
    (void)state;
    expect(0, "frame                  12,12,2\n", "info model");
    assert_null(strstr(output, "threshold"));
    expect(1, "was trained on pairs", "calibrate model --data .");
    expect(0, "wrote given", NETWORK "--epochs 1 --pairs --error-threshold 0.5 --out given --no-pictures");
    expect(0, "error_threshold        0.5\n", "info given");
}

/* What a run draws, as any other: a curve, and single images on the canvas. */
static void it_is_drawn(void **state)
{
    (void)state;
    expect(0, "wrote drawn.sheet.png", NETWORK "--epochs 1 --pairs --holdout 30 --out drawn");
}

static void it_says_what_is_wrong(void **state)
{
    (void)state;
    expect(2, "--mistakes draws single images", "eval model --data . --pairs --mistakes m.png");
    expect(2, "--pictures is for --pairs", "eval model --data . --pictures p");
    expect(2, "--pictures-count", "eval model --data . --pairs --pictures p --pictures-count 0");
    expect(1, "nowhere/p: cannot write the pictures: No such file",
           "eval model --data . --pairs --pictures nowhere/p");
    put_file("file", "x", 1);
    expect(1, "file: cannot write the pictures: Not a directory",
           "eval model --data . --pairs --pictures file");
    expect(1, "nowhere/a", "eval model --data . --pairs --answers nowhere/a");
    static uint8_t pixels[2 * 24 * 24], labels[2] = {0, 1};
    put_idx("large", 2, 24, 24, pixels, labels);
    expect(1, "24 x 24 pixels do not fit on a canvas of 20 x 20",
           "eval model --data . --pairs --set large");
    expect(1, "24 x 24 pixels do not fit on a canvas of 20 x 20",
           "eval model --data . --set large");
    static uint8_t wide[3 * 20 * 24], three[3] = {0, 1, 2};
    put_idx("wide/train", 3, 20, 24, wide, three);
    put_idx("wide/t10k", 3, 20, 24, wide, three);
    expect(0, "wrote oblong", NETWORK "--data wide --epochs 1 --out oblong --no-pictures");
    expect(1, "need a model of a square at least as large; this one takes 20 x 24 x 1",
           "eval oblong --data wide --pairs");
    put_idx("one", 2, SIDE, SIDE, pixels, (const uint8_t[]){1, 1});
    expect(1, "these 2 are of one", "eval model --data . --pairs --set one");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_figures_agree),   cmocka_unit_test(its_answers_are_told),
        cmocka_unit_test(its_pairs_are_written), cmocka_unit_test(it_has_no_threshold),
        cmocka_unit_test(it_is_drawn),         cmocka_unit_test(it_says_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
