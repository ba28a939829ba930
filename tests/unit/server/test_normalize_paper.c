/*
 * test_normalize_paper.c - what lies on the paper beside the digit: light and
 * shadow, ruled lines, dirt.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/common/drawn_digit.h"

/* ---- Light, lines and dirt --------------------------------------------------------- */

/* The picture under other light: each pixel times light(x, y), 0 to 1. */
static struct image relit(const struct image *image, double (*light)(double x, double y))
{
    struct image lit = flat_image(image->width, image->height, 1, 0);
    for (size_t y = 0; y < image->height; y++)
        for (size_t x = 0; x < image->width; x++)
            lit.pixels[y * image->width + x] =
                (uint8_t)lround(image->pixels[y * image->width + x] *
                                light((double)x / (double)image->width - 0.5,
                                      (double)y / (double)image->height - 0.5));
    return lit;
}

static double light_slope(double x, double y)
{
    return 0.7 + 0.35 * x - 0.2 * y;
}

static double light_lamp(double x, double y)
{
    return 1 - 1.1 * (x * x + y * y);
}

static double light_shadow(double x, double y)
{
    return x + 0.7 * y > 0.05 ? 0.55 : 1;
}

static void test_light(void **state)
{
    static double (*const lights[])(double, double) = {light_slope, light_lamp, light_shadow};
    float even[PIXELS], uneven[PIXELS];
    struct image image = draw_four(240, 240, 60, 50, 120, 230, 30);

    (void)state;
    make_digit(even, &image, NORMALIZE_FIT);
    for (size_t i = 0; i < sizeof lights / sizeof *lights; i++) {
        make_digit_of(uneven, relit(&image, lights[i]), NORMALIZE_FIT);
        check_digit(uneven, 1, 0);
        if (digit_difference(even, uneven) > 0.01)
            fail_msg("light %zu: differs by %g", i, digit_difference(even, uneven));
    }
    image_free(&image);
}

/* Draws rules 2 pixels thick; slant: pixels that they fall along the picture. */
static void rule(struct image *image, size_t pitch, int level, double slant, int squared)
{
    for (size_t y = 0; y < image->height; y++)
        for (size_t x = 0; x < image->width; x++) {
            const size_t row = y + (size_t)(slant * (double)x / (double)image->width);
            uint8_t *at = &image->pixels[y * image->width + x];
            if ((row % pitch < 2 || (squared && x % pitch < 2)) && *at > level)
                *at = (uint8_t)level;
        }
}

static void test_ruled_paper(void **state)
{
    static const struct { size_t pitch; int level; double slant; int squared; } cases[] = {
        {30, 190, 0, 0}, {45, 140, 0, 0}, {40, 20, 0, 0}, {40, 150, 5, 0}, {140, 150, 0, 0},
        {25, 190, 0, 1}, {40, 120, 0, 1}, {50, 20, 0, 1}};
    float clean[PIXELS], ruled[PIXELS];

    (void)state;
    make_digit_of(clean, draw_four(300, 300, 60, 50, 180, 255, 0), NORMALIZE_FIT);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct image image = draw_four(300, 300, 60, 50, 180, 255, 0);
        rule(&image, cases[i].pitch, cases[i].level, cases[i].slant, cases[i].squared);
        make_digit_of(ruled, image, NORMALIZE_FIT);
        if (digit_difference(clean, ruled) > 0.02)
            fail_msg("case %zu: differs by %g", i, digit_difference(clean, ruled));
    }
}

/* A stroke along a rule hides it, and stays. */
static void test_stroke_along_a_rule(void **state)
{
    float clean[PIXELS], ruled[PIXELS];
    struct image image = flat_image(600, 250, 1, 255);

    (void)state;
    for (size_t y = 20; y < 130; y++) { /* two posts and a bar, as an H */
        memset(image.pixels + y * 600 + 260, 0, 6);
        memset(image.pixels + y * 600 + 320, 0, 6);
    }
    for (size_t y = 70; y < 76; y++)
        memset(image.pixels + y * 600 + 260, 0, 60);
    make_digit(clean, &image, NORMALIZE_FIT);
    for (size_t x = 3; x < 600; x += 80) /* one of them beside the right post */
        for (size_t y = 0; y < 250; y++)
            for (size_t k = 0; k < 2; k++)
                if (image.pixels[y * 600 + x + k] > 150)
                    image.pixels[y * 600 + x + k] = 150;
    make_digit(ruled, &image, NORMALIZE_FIT);
    /* The middle may round to the next pixel: so how much ink, not where. */
    double before = 0, after = 0;
    for (size_t i = 0; i < PIXELS; i++) {
        before += (double)clean[i];
        after += (double)ruled[i];
    }
    assert_true(fabs(after / before - 1) < 0.05);
    image_free(&image);
}

/* A thin 7 whose bar reaches from side to side is no rule. */
static void test_a_bar_is_no_rule(void **state)
{
    float digit[PIXELS];
    size_t bar = 0;
    struct image image = flat_image(150, 200, 1, 255);

    (void)state;
    for (size_t i = 10; i < 13; i++)
        memset(image.pixels + i * 150, 0, 150);
    for (size_t y = 13; y < 190; y++)
        memset(image.pixels + y * 150 + 145 - y / 2, 0, 4);
    make_digit(digit, &image, NORMALIZE_FIT);
    for (size_t x = 0; x < N; x++) {
        float most = 0;
        for (size_t y = 0; y < 10; y++)
            most = fmaxf(most, digit[y * N + x]);
        bar += most > 0.25f;
    }
    assert_in_range(bar, 15, 18); /* as wide as the digit */
    image_free(&image);
}

/* What lies far off, or at the edge, is not the digit's. */
static void test_dirt_far_away(void **state)
{
    float clean[PIXELS], dirty[PIXELS];
    struct image image = draw_four(400, 300, 40, 40, 120, 255, 0);

    (void)state;
    make_digit(clean, &image, NORMALIZE_FIT);
    for (size_t y = 230; y < 250; y++)
        memset(image.pixels + y * 400 + 350, 0, 20); /* a fifth of the digit's ink */
    for (size_t y = 0; y < 300; y++)
        memset(image.pixels + y * 400 + 394, 60, 6); /* the table beside the paper */
    make_digit(dirty, &image, NORMALIZE_FIT);
    assert_true(digit_difference(clean, dirty) < 1e-3);
    image_free(&image);
}

/* Hairlines beside a thick stroke stay to be seen. */
static void test_hairlines(void **state)
{
    float digit[PIXELS];
    size_t seen = 0;
    struct image image = flat_image(300, 300, 1, 255);

    (void)state;
    for (size_t y = 50; y < 250; y++) {
        memset(image.pixels + y * 300 + 180, 0, 12);
        memset(image.pixels + y * 300 + 90, 0, 3); /* 0.3 of a pixel of the frame */
    }
    for (size_t i = 0; i < 3; i++) {
        memset(image.pixels + (50 + i) * 300 + 90, 0, 90);
        memset(image.pixels + (247 + i) * 300 + 90, 0, 90);
    }
    make_digit(digit, &image, NORMALIZE_FIT);
    check_digit(digit, 1, 0);
    for (size_t y = 6; y < 22; y++) {
        float most = 0;
        for (size_t x = 0; x < 14; x++)
            most = fmaxf(most, digit[y * N + x]);
        seen += most > 0.4f;
    }
    assert_int_equal(seen, 16);
    image_free(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_light),
        cmocka_unit_test(test_ruled_paper),
        cmocka_unit_test(test_stroke_along_a_rule),
        cmocka_unit_test(test_a_bar_is_no_rule),
        cmocka_unit_test(test_dirt_far_away),
        cmocka_unit_test(test_hairlines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
