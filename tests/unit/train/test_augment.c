/*
 * test_augment.c - what training images are changed into, where it can be
 * worked out by hand: shifts, stroke widths, two digits on top of each other.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "model/train/data/augment.h"

enum { SIDE = 9, CHANNELS = 2, PIXELS = SIDE * SIDE * CHANNELS };

/* One lit pixel, in the second channel. */
static struct dataset dot(uint8_t *pixels, size_t y, size_t x)
{
    memset(pixels, 0, PIXELS);
    pixels[(y * SIDE + x) * CHANNELS + 1] = 255;
    return (struct dataset){.n = 1, .height = SIDE, .width = SIDE, .channels = CHANNELS,
                            .classes = 1, .pixels = pixels};
}

static float at(const float *image, size_t y, size_t x)
{
    assert_true(image[(y * SIDE + x) * CHANNELS] == 0); /* channels do not mix */
    return image[(y * SIDE + x) * CHANNELS + 1];
}

static void test_shift(void **state)
{
    (void)state;
    const struct augmentation g = {.shift = 2};
    uint8_t pixels[PIXELS];
    float out[PIXELS], scratch[PIXELS];
    unsigned seen[5][5] = {{0}};
    struct dataset data = dot(pixels, 4, 4);
    for (uint64_t i = 0; i < 1000; i++) {
        augment_image(out, scratch, &data, 0, &g, random_stream(1, RANDOM_AUGMENT, 0, i));
        unsigned lit = 0;
        for (size_t y = 0; y < SIDE; y++)
            for (size_t x = 0; x < SIDE; x++)
                if (at(out, y, x) != 0) {
                    assert_true(at(out, y, x) == 1 && y >= 2 && y <= 6 && x >= 2 && x <= 6);
                    seen[y - 2][x - 2]++;
                    lit++;
                }
        assert_int_equal(lit, 1);
    }
    for (size_t i = 0; i < 25; i++)
        assert_in_range(seen[i / 5][i % 5], 15, 80); /* 40 each, give or take */
}

/* A growing dot lights its four neighbours, a shrinking one fades; at the
 * border nothing is read from outside. */
static void test_stroke(void **state)
{
    (void)state;
    static const struct {
        size_t y, x, neighbours;
    } places[] = {{4, 4, 4}, {0, 4, 3}, {0, 0, 2}, {8, 8, 2}, {5, 8, 3}};
    const struct augmentation g = {.distorted = 1, .stroke = 0.6f};
    uint8_t pixels[PIXELS];
    float out[PIXELS], scratch[PIXELS];
    unsigned grown = 0;
    for (uint64_t i = 0; i < 500; i++) {
        const size_t py = places[i % 5].y, px = places[i % 5].x;
        struct dataset data = dot(pixels, py, px);
        augment_image(out, scratch, &data, 0, &g, random_stream(1, RANDOM_AUGMENT, 0, i));
        size_t lit = 0;
        float most = 0;
        for (size_t y = 0; y < SIDE; y++)
            for (size_t x = 0; x < SIDE; x++) {
                if ((y == py && x == px) || at(out, y, x) == 0)
                    continue;
                assert_int_equal((y > py ? y - py : py - y) + (x > px ? x - px : px - x), 1);
                most = at(out, y, x);
                lit++;
            }
        assert_true(lit == 0 || lit == places[i % 5].neighbours);
        assert_true(most <= 0.6f);
        if (lit)
            assert_true(at(out, py, px) == 1);
        else
            assert_true(at(out, py, px) >= 0.4f - 1e-6f && at(out, py, px) <= 1);
        grown += lit > 0;
    }
    assert_in_range(grown, 190, 310);
}

/* Every image is changed, none, or that share; the others stay exact. */
static void test_share_distorted(void **state)
{
    (void)state;
    for (int quarter = 0; quarter <= 4; quarter++) {
        const struct augmentation g = {.distorted = (float)quarter / 4, .rotate = 40, .zoom = 0.3f};
        uint8_t pixels[PIXELS];
        float out[PIXELS], scratch[PIXELS];
        struct dataset data = dot(pixels, 2, 2); /* off the middle: it turns */
        int changed = 0;
        for (uint64_t i = 0; i < 400; i++) {
            augment_image(out, scratch, &data, 0, &g, random_stream(1, RANDOM_AUGMENT, 0, i));
            changed += at(out, 2, 2) != 1;
        }
        assert_in_range(changed, quarter == 4 ? 390 : 100 * quarter - 30 * (quarter > 0),
                        quarter == 0 ? 0 : 100 * quarter + 30);
    }
}

/* An edge that is turned a little stays as steep as it was: the picture is not
 * blurred; and nothing leaves 0 to 1. */
static void test_sharp(void **state)
{
    (void)state;
    const struct augmentation g = {.distorted = 1, .zoom = 0.001f, .elastic = 0.5f};
    uint8_t pixels[PIXELS];
    float out[PIXELS], scratch[PIXELS];
    struct dataset data = dot(pixels, 4, 4);
    for (size_t y = 0; y < SIDE; y++)
        for (size_t x = 0; x < SIDE; x++)
            pixels[(y * SIDE + x) * CHANNELS + 1] = x < 3 || x > 5 ? 0 : 255;
    double contrast = 0;
    for (uint64_t i = 0; i < 500; i++) {
        augment_image(out, scratch, &data, 0, &g, random_stream(1, RANDOM_AUGMENT, 0, i));
        for (size_t y = 0; y < SIDE; y++)
            for (size_t x = 0; x < SIDE; x++)
                assert_true(at(out, y, x) >= 0 && at(out, y, x) <= 1);
        for (size_t y = 2; y < 7; y++)
            for (size_t x = 0; x + 1 < SIDE; x++) {
                double step = (double)at(out, y, x + 1) - (double)at(out, y, x);
                contrast += step * step / (500 * 5);
            }
    }
    /* Two edges of height 1: moved by half a pixel a bilinear one has 2 * 0.5. */
    printf("squared steps of a line three pixels wide: %.2f of 2\n", contrast);
    assert_true(contrast > 1.4);
}

static void test_overlay(void **state)
{
    (void)state;
    float out[] = {0, 0.25f, 0.75f, 1}, other[] = {0.5f, 0.25f, 0.5f, 1};
    const float want[] = {0.5f, 0.5f, 1, 1};
    augment_overlay(out, other, 4);
    assert_memory_equal(out, want, sizeof want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shift),
        cmocka_unit_test(test_stroke),
        cmocka_unit_test(test_share_distorted),
        cmocka_unit_test(test_sharp),
        cmocka_unit_test(test_overlay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
