/*
 * test_normalize.c - pictures of digits brought to MNIST's form: the same
 * digit, however it was drawn; nothing but numbers from 0 to 1, whatever came.
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

#include "tests/common/drawn_digit.h"

static uint32_t random_state; /* xorshift, seeded by SEED */

static uint32_t random_below(uint32_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % n;
}

/* ---- The same digit, however it was drawn ------------------------------------------- */

static void test_form(void **state)
{
    float digit[PIXELS];
    double mass = 0, mass_x = 0, mass_y = 0;

    (void)state;
    make_digit_of(digit, draw_four(200, 200, 40, 30, 120, 255, 0), NORMALIZE_AUTO);
    check_digit(digit, 1, 0);
    for (size_t i = 0; i < PIXELS; i++) {
        mass += (double)digit[i];
        mass_x += (double)digit[i] * (double)(i % N);
        mass_y += (double)digit[i] * (double)(i / N);
    }
    assert_true(mass_x / mass >= 13.5 - 1e-4 && mass_x / mass < 14.5 + 1e-4);
    assert_true(mass_y / mass >= 13.5 - 1e-4 && mass_y / mass < 14.5 + 1e-4);
}

static void test_polarity(void **state)
{
    float dark[PIXELS], light[PIXELS];
    (void)state;
    make_digit_of(dark, draw_four(100, 90, 20, 10, 70, 255, 0), NORMALIZE_FIT);
    make_digit_of(light, draw_four(100, 90, 20, 10, 70, 0, 255), NORMALIZE_FIT);
    check_digit(dark, 1, 0);
    assert_true(digit_difference(dark, light) < 0.002); /* rounding of soft edges */
}

static void test_contrast(void **state)
{
    static const int pairs[][2] = {{180, 140}, {30, 60}, {100, 40}, {140, 230}}; /* paper, ink */
    float strong[PIXELS], faint[PIXELS];
    (void)state;
    make_digit_of(strong, draw_four(100, 90, 20, 10, 70, 255, 0), NORMALIZE_FIT);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        make_digit_of(faint, draw_four(100, 90, 20, 10, 70, pairs[i][0], pairs[i][1]), NORMALIZE_FIT);
        assert_true(digit_difference(strong, faint) < 0.005);
    }
}

static void test_translation(void **state)
{
    float here[PIXELS], there[PIXELS];
    (void)state;
    make_digit_of(here, draw_four(150, 150, 10, 10, 60, 255, 0), NORMALIZE_FIT);
    make_digit_of(there, draw_four(150, 150, 80, 71, 60, 255, 0), NORMALIZE_FIT);
    check_digit(here, 1, 0);
    assert_true(digit_difference(here, there) < 1e-6);
    make_digit_of(there, draw_four(500, 300, 401, 11, 60, 255, 0), NORMALIZE_FIT);
    assert_true(digit_difference(here, there) < 1e-6);
}

static void test_enlarged_pixels(void **state)
{
    float once[PIXELS], more[PIXELS];
    struct image small = draw_four(60, 50, 10, 5, 40, 255, 0);

    (void)state;
    make_digit(once, &small, NORMALIZE_FIT);
    for (size_t k = 2; k <= 9; k++) {
        struct image large = flat_image(60 * k, 50 * k, 1, 0);
        for (size_t i = 0; i < 60 * k * 50 * k; i++)
            large.pixels[i] = small.pixels[i / (60 * k) / k * 60 + i % (60 * k) / k];
        make_digit(more, &large, NORMALIZE_FIT);
        assert_true(digit_difference(once, more) < 0.002);
        image_free(&large);
    }
    image_free(&small);
}

static void test_drawn_at_any_size(void **state)
{
    float reference[PIXELS], digit[PIXELS];
    (void)state;
    make_digit_of(reference, draw_four(200, 200, 40, 40, 120, 255, 0), NORMALIZE_FIT);
    for (size_t size = 36; size <= 1500; size = size * 3 / 2) {
        make_digit_of(digit, draw_four(2 * size, 2 * size, (double)size / 2 + 0.3, (double)size / 3,
                                    (double)size, 255, 0), NORMALIZE_FIT);
        check_digit(digit, 1, 0);
        if (digit_difference(reference, digit) > 0.02)
            fail_msg("size %zu differs by %g", size, digit_difference(reference, digit));
    }
}

static void test_specks(void **state)
{
    float clean[PIXELS], dirty[PIXELS];
    struct image image = draw_four(200, 200, 40, 40, 120, 255, 0);

    (void)state;
    make_digit(clean, &image, NORMALIZE_FIT);
    image.pixels[3 * 200 + 5] = image.pixels[3 * 200 + 6] = 0;
    image.pixels[190 * 200 + 195] = image.pixels[191 * 200 + 195] = 30;
    make_digit(dirty, &image, NORMALIZE_FIT);
    assert_true(digit_difference(clean, dirty) < 1e-3);
    image_free(&image);
}

/* A spot much darker than the ink does not make the rest of it pale. */
static void test_dark_spot_in_the_ink(void **state)
{
    float clean[PIXELS], spotted[PIXELS];
    struct image image = draw_four(200, 200, 40, 40, 120, 255, 120);

    (void)state;
    make_digit(clean, &image, NORMALIZE_FIT);
    for (size_t i = 0; i < 8 * 8; i++) /* where two strokes cross */
        image.pixels[(98 + i / 8) * 200 + 114 + i % 8] = 0;
    make_digit(spotted, &image, NORMALIZE_FIT);
    assert_true(digit_difference(clean, spotted) < 0.005);
    image_free(&image);
}

/* Pale ink on paper in slanting light must not be lost as noise. */
static void test_uneven_paper(void **state)
{
    float digit[PIXELS];
    struct image image = draw_four(200, 200, 40, 40, 120, 190, 105);

    (void)state;
    for (size_t i = 0; i < 200 * 200; i++)
        if (image.pixels[i] == 190)
            image.pixels[i] = (uint8_t)(130 + i % 200 * 120 / 200);
    make_digit_of(digit, image, NORMALIZE_FIT);
    check_digit(digit, 1, 0);
}

static void test_noisy_paper(void **state)
{
    float clean[PIXELS], noisy[PIXELS];
    struct image image = draw_four(300, 200, 40, 40, 120, 200, 50);

    (void)state;
    make_digit(clean, &image, NORMALIZE_FIT);
    for (size_t i = 0; i < 300 * 200; i++)
        image.pixels[i] = (uint8_t)(image.pixels[i] + random_below(21) - 10);
    make_digit(noisy, &image, NORMALIZE_FIT);
    check_digit(noisy, 1, 0);
    assert_true(digit_difference(clean, noisy) < 0.03);
    image_free(&image);
}

static void test_touching_the_border(void **state)
{
    float whole[PIXELS], tight[PIXELS];
    (void)state;
    /* The strokes reach from 0.05 to 0.95 of 100 pixels, and 5 around. */
    make_digit_of(whole, draw_four(200, 200, 50, 50, 100, 255, 0), NORMALIZE_FIT);
    make_digit_of(tight, draw_four(90, 100, -5, 0, 100, 255, 0), NORMALIZE_FIT);
    check_digit(tight, 1, 0);
    assert_true(digit_difference(whole, tight) < 0.005);
}

static void test_colour(void **state)
{
    float gray[PIXELS], rgb[PIXELS * 3];
    struct image four_gray = draw_four(120, 120, 30, 30, 60, 255, 0);
    struct image image = flat_image(120, 120, 3, 0);

    (void)state;
    make_digit(gray, &four_gray, NORMALIZE_FIT);
    for (size_t i = 0; i < 120 * 120; i++) { /* dark green on light yellow */
        image.pixels[3 * i] = (uint8_t)(20 + 220 * four_gray.pixels[i] / 255);
        image.pixels[3 * i + 1] = (uint8_t)(90 + 150 * four_gray.pixels[i] / 255);
        image.pixels[3 * i + 2] = (uint8_t)(60 + 80 * four_gray.pixels[i] / 255);
    }
    make_digit(rgb, &image, NORMALIZE_FIT);
    check_digit(rgb, 3, 0);
    for (size_t i = 0; i < PIXELS; i++) { /* the same place, the ink's colour */
        assert_true(fabsf(rgb[3 * i] - gray[i]) < 0.35f);
        assert_true(rgb[3 * i] >= rgb[3 * i + 1] && rgb[3 * i + 1] >= rgb[3 * i + 2]);
        assert_true(gray[i] < 0.2f || rgb[3 * i + 2] > 0.0f);
    }
    image_free(&image);
    image_free(&four_gray);
}

/* ---- Anything at all ---------------------------------------------------------------------- */

static void test_blank(void **state)
{
    static const size_t sizes[][2] = {{28, 28}, {1, 1}, {2, 2}, {300, 200}, {1, 500}, {500, 1}};
    float digit[PIXELS * 3];
    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int value = 0; value <= 255; value += 51)
            for (size_t channels = 1; channels <= 3; channels += 2)
                for (int mode = NORMALIZE_AUTO; mode <= NORMALIZE_FIT; mode++) {
                    make_digit_of(digit, flat_image(sizes[s][0], sizes[s][1], channels, value),
                                    (enum normalize_mode)mode);
                    check_digit(digit, channels, 1);
                }
    struct image image = flat_image(100, 100, 1, 230); /* paper with a faint stain */
    memset(image.pixels + 4000, 220, 500);
    make_digit_of(digit, image, NORMALIZE_AUTO);
    check_digit(digit, 1, 1);
    image = flat_image(100, 100, 1, 0); /* rough paper */
    for (size_t i = 0; i < 100 * 100; i++)
        image.pixels[i] = (uint8_t)(230 + random_below(9));
    make_digit(digit, &image, NORMALIZE_AUTO);
    check_digit(digit, 1, 1);
    image_free(&image);
}

static void test_lines(void **state)
{
    float digit[PIXELS];
    (void)state;
    struct image image = flat_image(4096, 3, 1, 255);
    memset(image.pixels + 4096 + 10, 0, 4076); /* one row */
    make_digit(digit, &image, NORMALIZE_AUTO);
    check_digit(digit, 1, 0);
    for (size_t i = 0; i < PIXELS; i++) /* as broad as a stroke of MNIST's */
        assert_true((digit[i] > 0.5f) == (i / N >= 13 && i / N < 15 && i % N >= 4 && i % N < 24));
    image_free(&image);

    image = flat_image(3, 4096, 1, 0);
    for (size_t y = 10; y < 4086; y++)
        image.pixels[3 * y + 1] = 255;
    make_digit(digit, &image, NORMALIZE_AUTO);
    check_digit(digit, 1, 0);
    for (size_t i = 0; i < PIXELS; i++)
        assert_true((digit[i] > 0.5f) == (i % N >= 13 && i % N < 15 && i / N >= 4 && i / N < 24));
    image_free(&image);
}

static void test_one_dot(void **state)
{
    float digit[PIXELS];
    struct image image = flat_image(50, 50, 1, 255);
    (void)state;
    image.pixels[20 * 50 + 7] = 0;
    make_digit(digit, &image, NORMALIZE_AUTO);
    check_digit(digit, 1, 0);
    image_free(&image);
}

static void test_random_pictures(void **state)
{
    (void)state;
    for (int i = 0; i < 3000; i++) {
        const size_t channels = i & 1 ? 3 : 1;
        const uint32_t span = 1 + random_below(256), limit = i % 50 == 0 ? 600 : 40;
        const uint32_t rare = 1 + random_below(100);
        struct image image = flat_image(1 + random_below(limit), 1 + random_below(limit), channels,
                                  (int)random_below(256));
        float digit[PIXELS * 3];
        int blank = 1;
        for (size_t p = 0; p < image.width * image.height * channels; p++)
            if (random_below(rare) == 0)
                image.pixels[p] = (uint8_t)random_below(span);
        make_digit(digit, &image, NORMALIZE_FIT);
        for (size_t p = 0; p < PIXELS * channels; p++)
            blank &= !(digit[p] > 0.0f);
        check_digit(digit, channels, blank);
        image_free(&image);
    }
}

static void test_other_frames(void **state)
{
    static const size_t frames[][2] = {{32, 32}, {28, 56}, {1, 1}, {2, 3}, {64, 10}};
    struct image image = draw_four(100, 100, 20, 20, 60, 255, 0);
    struct image_message message;

    (void)state;
    for (size_t f = 0; f < sizeof frames / sizeof *frames; f++) {
        const size_t h = frames[f][0], w = frames[f][1];
        const struct normalize_form form = normalize_whole(h, w, 1);
        float *digit = malloc(h * w * sizeof *digit), most = 0;
        assert_non_null(digit);
        assert_int_equal(normalize_image(digit, &form, &image, NORMALIZE_AUTO, &message), IMAGE_OK);
        for (size_t i = 0; i < h * w; i++) {
            assert_true(digit[i] >= 0.0f && digit[i] <= 1.0f);
            most = fmaxf(most, digit[i]);
        }
        assert_true(most == 1.0f);
        free(digit);
    }
    image_free(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_form),
        cmocka_unit_test(test_polarity),
        cmocka_unit_test(test_contrast),
        cmocka_unit_test(test_translation),
        cmocka_unit_test(test_enlarged_pixels),
        cmocka_unit_test(test_drawn_at_any_size),
        cmocka_unit_test(test_specks),
        cmocka_unit_test(test_dark_spot_in_the_ink),
        cmocka_unit_test(test_uneven_paper),
        cmocka_unit_test(test_noisy_paper),
        cmocka_unit_test(test_touching_the_border),
        cmocka_unit_test(test_colour),
        cmocka_unit_test(test_blank),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_one_dot),
        cmocka_unit_test(test_random_pictures),
        cmocka_unit_test(test_other_frames),
    };
    const char *seed = getenv("SEED");
    random_state = seed ? (uint32_t)strtoul(seed, NULL, 10) : 20171105;
    printf("SEED=%u\n", random_state);
    random_state = random_state ? random_state : 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
