/*
 * test_pairs.c - pictures of two digits on a canvas: which, where, and their sum; and
 * what is said of a network's answers for them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/train/data/augment.h"
#include "model/train/data/pairs.h"
#include "model/train/measure/longest.h"

enum { HEIGHT = 4, WIDTH = 5, CHANNELS = 2, PIXELS = HEIGHT * WIDTH * CHANNELS, N = 30 };
enum { CANVAS = 9, CANVAS_PIXELS = CANVAS * CANVAS * CHANNELS };

/* Image i is of class i % 3 and filled with 100 + i, but for its first pixel's channels. */
static struct dataset images(uint8_t pixels[N * PIXELS], uint8_t labels[N])
{
    for (size_t i = 0; i < N; i++) {
        memset(pixels + i * PIXELS, (int)(100 + i), PIXELS);
        pixels[i * PIXELS] = (uint8_t)(10 + i);
        pixels[i * PIXELS + 1] = 0;
        labels[i] = (uint8_t)(i % 3);
    }
    return (struct dataset){.n = N, .height = HEIGHT, .width = WIDTH, .channels = CHANNELS,
                            .classes = 3, .pixels = pixels, .labels = labels};
}

/* Image i alone with its corner at (y, x): its bytes there, zero elsewhere. */
static void check_alone(const uint8_t *picture, const struct dataset *data, size_t i, size_t top,
                        size_t left)
{
    for (size_t y = 0; y < CANVAS; y++)
        for (size_t x = 0; x < CANVAS; x++)
            for (size_t c = 0; c < CHANNELS; c++) {
                const int in = y >= top && y < top + HEIGHT && x >= left && x < left + WIDTH;
                const uint8_t want =
                    in ? data->pixels[((i * HEIGHT + y - top) * WIDTH + x - left) * CHANNELS + c]
                       : 0;
                assert_int_equal(picture[(y * CANVAS + x) * CHANNELS + c], want);
            }
}

/* The paper's digits of 28 x 28 lie on 36 x 36. */
static void test_canvas_size(void **state)
{
    (void)state;
    assert_int_equal(pairs_canvas(&(struct dataset){.height = 28, .width = 28}), 36);
    assert_int_equal(pairs_canvas(&(struct dataset){.height = 20, .width = 32}), 40);
}

/* Every image comes first as often as asked, with partners of other classes among the same
 * images; all places and, given time, all partners are used; a seed gives the same again. */
static void test_drawn(void **state)
{
    (void)state;
    enum { PARTNERS = 400 };
    uint8_t pixels[N * PIXELS], labels[N];
    const struct dataset data = images(pixels, labels);
    static const uint32_t index[] = {3, 8, 4, 12, 20, 7, 1};
    enum { USED = sizeof index / sizeof *index };
    struct capsnet_error error = {""};
    struct pair *pairs, *again;
    unsigned partner[N] = {0}, y[2][CANVAS] = {{0}}, x[2][CANVAS] = {{0}};
    assert_int_equal(pairs_draw(&pairs, &data, index, USED, PARTNERS, CANVAS, 7, &error), 0);
    for (size_t i = 0; i < USED * PARTNERS; i++) {
        const struct pair *p = &pairs[i];
        assert_int_equal(p->image[0], index[i / PARTNERS]);
        assert_int_not_equal(labels[p->image[0]], labels[p->image[1]]);
        partner[p->image[1]]++;
        for (size_t k = 0; k < 2; k++) {
            assert_true(p->y[k] <= CANVAS - HEIGHT && p->x[k] <= CANVAS - WIDTH);
            y[k][p->y[k]]++;
            x[k][p->x[k]]++;
        }
    }
    size_t partners = 0;
    for (size_t i = 0; i < USED; i++) {
        assert_true(partner[index[i]] > PARTNERS / 3);
        partners += partner[index[i]];
    }
    assert_int_equal(partners, USED * PARTNERS);
    for (size_t k = 0; k < 2; k++) { /* 467 and 560 each, give or take */
        for (size_t i = 0; i <= CANVAS - HEIGHT; i++)
            assert_in_range(y[k][i], 350, 600);
        for (size_t i = 0; i <= CANVAS - WIDTH; i++)
            assert_in_range(x[k][i], 440, 690);
    }
    assert_int_equal(pairs_draw(&again, &data, index, USED, PARTNERS, CANVAS, 7, &error), 0);
    assert_memory_equal(pairs, again, USED * PARTNERS * sizeof *pairs);
    free(again);
    assert_int_equal(pairs_draw(&again, &data, index, USED, PARTNERS, CANVAS, 8, &error), 0);
    assert_memory_not_equal(pairs, again, USED * PARTNERS * sizeof *pairs);
    free(again);
    free(pairs);
}

static void test_refused(void **state)
{
    (void)state;
    uint8_t pixels[N * PIXELS], labels[N];
    const struct dataset data = images(pixels, labels);
    static const uint32_t alike[] = {0, 3, 6};
    struct capsnet_error error = {""};
    struct pair *pairs = NULL;
    assert_int_equal(pairs_draw(&pairs, &data, alike, 3, 1, CANVAS, 1, &error),
                     CAPSNET_ERR_ARGUMENT);
    assert_non_null(strstr(error.text, "these 3 are of one"));
    assert_int_equal(pairs_draw(&pairs, &data, NULL, N, 1, WIDTH - 1, 1, &error),
                     CAPSNET_ERR_SHAPE);
    assert_non_null(strstr(error.text, "4 x 5 pixels do not fit on a canvas of 4 x 4"));
    assert_null(pairs);
}

/* Each digit alone, both, and single ones as a data set. */
static void test_pictures(void **state)
{
    (void)state;
    uint8_t pixels[N * PIXELS], labels[N];
    uint8_t one[CANVAS_PIXELS], two[CANVAS_PIXELS], both[CANVAS_PIXELS];
    const struct dataset data = images(pixels, labels);
    const struct pair pair = {.image = {4, 29}, .y = {0, 3}, .x = {4, 2}};
    pair_picture(one, &data, &pair, 0, CANVAS);
    pair_picture(two, &data, &pair, 1, CANVAS);
    check_alone(one, &data, 4, 0, 4);
    check_alone(two, &data, 29, 3, 2);
    pair_overlay(both, one, two, CANVAS_PIXELS);
    unsigned clipped = 0;
    for (size_t p = 0; p < CANVAS_PIXELS; p++) {
        assert_int_equal(both[p], one[p] + two[p] > 255 ? 255 : one[p] + two[p]);
        clipped += one[p] + two[p] > 255;
    }
    assert_int_equal(clipped, 0); /* 104 + 129; and where they do add up to more: */
    pair_overlay(both, (const uint8_t[]){200, 255, 128}, (const uint8_t[]){100, 255, 127}, 3);
    assert_memory_equal(both, ((const uint8_t[]){255, 255, 255}), 3);

    static const uint32_t index[] = {5, 0, 17};
    struct capsnet_error error = {""};
    struct dataset single;
    struct pair *places;
    assert_int_equal(pairs_single(&single, &data, index, 3, CANVAS, 3, &error), 0);
    assert_int_equal(pairs_draw(&places, &data, index, 3, 0, CANVAS, 3, &error), 0);
    assert_true(single.n == 3 && single.height == CANVAS && single.width == CANVAS &&
                single.channels == CHANNELS && single.classes == 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(single.labels[i], index[i] % 3);
        assert_int_equal(places[i].image[0], index[i]);
        assert_int_equal(places[i].image[1], index[i]);
        check_alone(single.pixels + i * CANVAS_PIXELS, &data, index[i], places[i].y[0],
                    places[i].x[0]);
    }
    dataset_free(&single);
    free(places);
    assert_int_equal(pairs_single(&single, &data, NULL, N, CANVAS, 3, &error), 0);
    for (size_t i = 0; i < N; i++)
        assert_int_equal(single.labels[i], labels[i]);
    dataset_free(&single);
}

/* In training: unchanged but for its place, or changed, an image lies on the canvas as
 * large as it was, anywhere, and --shift moves it no further. */
static void test_augmented(void **state)
{
    (void)state;
    uint8_t pixels[N * PIXELS], labels[N];
    const struct dataset data = images(pixels, labels);
    float out[CANVAS_PIXELS], scratch[CANVAS_PIXELS];
    unsigned seen[CANVAS][CANVAS] = {{0}};
    for (uint64_t i = 0; i < 3000; i++) {
        const struct augmentation g = {.shift = 9, .canvas = CANVAS, .distorted = 1};
        uint8_t bytes[CANVAS_PIXELS];
        size_t first = 0;
        augment_image(out, scratch, &data, 6, &g, random_stream(1, RANDOM_AUGMENT, 0, i));
        while (out[first] == 0)
            first++;
        for (size_t p = 0; p < CANVAS_PIXELS; p++)
            bytes[p] = (uint8_t)(out[p] * 255 + 0.5f);
        const size_t y = first / CHANNELS / CANVAS, x = first / CHANNELS % CANVAS;
        check_alone(bytes, &data, 6, y, x);
        seen[y][x]++;
    }
    for (size_t y = 0; y <= CANVAS - HEIGHT; y++)
        for (size_t x = 0; x <= CANVAS - WIDTH; x++)
            assert_in_range(seen[y][x], 50, 160); /* 100 each, give or take */
    /* Changed: the ink is about as much, and none of it beyond an image's reach. */
    for (uint64_t i = 0; i < 300; i++) {
        const struct augmentation g = {.canvas = CANVAS, .distorted = 1, .rotate = 20,
                                       .elastic = 0.3f, .stroke = i % 2 ? 0.2f : 0};
        float sum = 0;
        augment_image(out, scratch, &data, 6, &g, random_stream(1, RANDOM_AUGMENT, 0, i));
        for (size_t p = 0; p < CANVAS_PIXELS; p++) {
            assert_true(out[p] >= 0 && out[p] <= 1);
            sum += out[p];
        }
        assert_true(sum > 0.6f * 16 && sum < 1.6f * 16); /* 40 values of 106 / 255 */
    }
}

/* ---- Answers --------------------------------------------------------------- */

static void test_longest(void **state)
{
    (void)state;
    static const struct {
        float lengths[4];
        size_t label, other;
        int right;
        uint8_t two[2];
    } cases[] = {
        {{0.9f, 0.1f, 0.8f, 0.3f}, 0, 0, 1, {0, 2}},
        {{0.9f, 0.1f, 0.8f, 0.3f}, 2, 2, 0, {0, 2}},
        {{0.9f, 0.1f, 0.8f, 0.3f}, 0, 2, 1, {0, 2}},
        {{0.9f, 0.1f, 0.8f, 0.3f}, 2, 0, 1, {0, 2}},
        {{0.9f, 0.1f, 0.8f, 0.3f}, 0, 3, 0, {0, 2}},
        {{0.9f, 0.1f, 0.8f, 0.3f}, 1, 3, 0, {0, 2}},
        {{0.1f, 0.2f, 0.3f, 0.4f}, 3, 2, 1, {3, 2}},
        {{0.4f, 0.3f, 0.2f, 0.1f}, 1, 0, 1, {0, 1}},
        {{0.2f, 0.5f, 0.5f, 0.5f}, 1, 2, 1, {1, 2}}, /* of equal ones the lower first */
        {{0.2f, 0.5f, 0.5f, 0.5f}, 1, 3, 0, {1, 2}},
        {{0.2f, 0.5f, 0.5f, 0.5f}, 2, 2, 0, {1, 2}},
        {{0.2f, 0.5f, 0.5f, 0.5f}, 1, 1, 1, {1, 2}},
        {{0, 0, 0, 0}, 0, 1, 1, {0, 1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t two[2];
        assert_int_equal(longest_are(4, cases[i].lengths, cases[i].label, cases[i].other),
                         cases[i].right);
        longest_two(two, 4, cases[i].lengths);
        assert_memory_equal(two, cases[i].two, 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_canvas_size), cmocka_unit_test(test_drawn),
        cmocka_unit_test(test_refused),     cmocka_unit_test(test_pictures),
        cmocka_unit_test(test_augmented),   cmocka_unit_test(test_longest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
