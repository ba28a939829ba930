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

#include "model/train/data/idx.h"
#include "model/picture/png.h"
#include "server/normalize/normalize.h"

enum { N = 28, PIXELS = N * N };

static uint32_t random_state; /* xorshift, seeded by SEED */

static uint32_t random_below(uint32_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % n;
}

/* ---- Drawing ------------------------------------------------------------------------ */

/* A four: strokes in the unit square, and as the digit of a typical hand it is
 * not symmetrical, so that a mirrored or turned picture would show. */
static const double four[][4] = {
    {0.30, 0.05, 0.10, 0.55}, {0.10, 0.55, 0.90, 0.50}, {0.70, 0.10, 0.60, 0.95}};

static double distance(double x, double y, const double s[4])
{
    const double dx = s[2] - s[0], dy = s[3] - s[1];
    double t = ((x - s[0]) * dx + (y - s[1]) * dy) / (dx * dx + dy * dy);
    t = fmax(0, fmin(1, t));
    return hypot(x - s[0] - t * dx, y - s[1] - t * dy);
}

/* Makes a picture with the four of that size at (left, top), its strokes a
 * tenth of it wide; paper and ink are brightnesses. */
static struct image draw(size_t width, size_t height, double left, double top, double size,
                         int paper, int ink)
{
    struct image image = {width, height, 1, malloc(width * height)};
    assert_non_null(image.pixels);
    for (size_t y = 0; y < height; y++) {
        for (size_t x = 0; x < width; x++) {
            double nearest = 1e9;
            for (size_t i = 0; i < 3; i++)
                nearest = fmin(nearest, distance(((double)x + 0.5 - left) / size,
                                                 ((double)y + 0.5 - top) / size, four[i]));
            const double cover = fmax(0, fmin(1, (0.05 - nearest) * size + 0.5));
            image.pixels[y * width + x] = (uint8_t)lround(paper + cover * (ink - paper));
        }
    }
    return image;
}

static struct image fill(size_t width, size_t height, size_t channels, int value)
{
    struct image image = {width, height, channels, malloc(width * height * channels)};
    assert_non_null(image.pixels);
    memset(image.pixels, value, width * height * channels);
    return image;
}

static void normalize(float *digit, const struct image *image, enum normalize_mode mode)
{
    struct image_message message;
    for (size_t i = 0; i < PIXELS * image->channels; i++)
        digit[i] = NAN; /* so that a pixel left out shows */
    assert_int_equal(normalize_image(digit, N, N, image->channels, image, mode, &message), IMAGE_OK);
}

/* Draws, normalises, frees. */
static void normalize_drawn(float *digit, struct image image, enum normalize_mode mode)
{
    normalize(digit, &image, mode);
    image_free(&image);
}

/* Every number from 0 to 1; a digit reaches 1, and keeps 20 pixels at most. */
static void check_form(const float *digit, size_t channels, int blank)
{
    size_t x0 = N, x1 = 0, y0 = N, y1 = 0;
    float most = 0;
    for (size_t y = 0; y < N; y++) {
        for (size_t x = 0; x < N * channels; x++) {
            const float value = digit[y * N * channels + x];
            assert_true(value >= 0.0f && value <= 1.0f); /* false for NaN */
            most = value > most ? value : most;
            if (value > 0.0f) {
                x0 = x / channels < x0 ? x / channels : x0;
                x1 = x / channels > x1 ? x / channels : x1;
                y0 = y < y0 ? y : y0;
                y1 = y > y1 ? y : y1;
            }
        }
    }
    assert_true(blank ? most == 0.0f : most == 1.0f);
    if (!blank) {
        assert_in_range(x1 - x0 + 1, 1, 20);
        assert_in_range(y1 - y0 + 1, 1, 20);
    }
}

static double difference(const float *a, const float *b)
{
    double sum = 0;
    for (size_t i = 0; i < PIXELS; i++)
        sum += fabs((double)a[i] - (double)b[i]);
    return sum / PIXELS;
}

static int is_untouched(const float *digit, const struct image *image)
{
    for (size_t i = 0; i < PIXELS * image->channels; i++)
        if (digit[i] != (float)image->pixels[i] / 255.0f)
            return 0;
    return 1;
}

/* ---- The same digit, however it was drawn ------------------------------------------- */

static void test_form(void **state)
{
    float digit[PIXELS];
    double mass = 0, mass_x = 0, mass_y = 0;

    (void)state;
    normalize_drawn(digit, draw(200, 200, 40, 30, 120, 255, 0), NORMALIZE_AUTO);
    check_form(digit, 1, 0);
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
    normalize_drawn(dark, draw(100, 90, 20, 10, 70, 255, 0), NORMALIZE_FIT);
    normalize_drawn(light, draw(100, 90, 20, 10, 70, 0, 255), NORMALIZE_FIT);
    check_form(dark, 1, 0);
    assert_true(difference(dark, light) < 0.002); /* rounding of soft edges */
}

static void test_contrast(void **state)
{
    static const int pairs[][2] = {{180, 140}, {30, 60}, {100, 40}, {140, 230}}; /* paper, ink */
    float strong[PIXELS], faint[PIXELS];
    (void)state;
    normalize_drawn(strong, draw(100, 90, 20, 10, 70, 255, 0), NORMALIZE_FIT);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        normalize_drawn(faint, draw(100, 90, 20, 10, 70, pairs[i][0], pairs[i][1]), NORMALIZE_FIT);
        assert_true(difference(strong, faint) < 0.005);
    }
}

static void test_translation(void **state)
{
    float here[PIXELS], there[PIXELS];
    (void)state;
    normalize_drawn(here, draw(150, 150, 10, 10, 60, 255, 0), NORMALIZE_FIT);
    normalize_drawn(there, draw(150, 150, 80, 71, 60, 255, 0), NORMALIZE_FIT);
    check_form(here, 1, 0);
    assert_true(difference(here, there) < 1e-6);
    normalize_drawn(there, draw(500, 300, 401, 11, 60, 255, 0), NORMALIZE_FIT);
    assert_true(difference(here, there) < 1e-6);
}

static void test_enlarged_pixels(void **state)
{
    float once[PIXELS], more[PIXELS];
    struct image small = draw(60, 50, 10, 5, 40, 255, 0);

    (void)state;
    normalize(once, &small, NORMALIZE_FIT);
    for (size_t k = 2; k <= 9; k++) {
        struct image large = fill(60 * k, 50 * k, 1, 0);
        for (size_t i = 0; i < 60 * k * 50 * k; i++)
            large.pixels[i] = small.pixels[i / (60 * k) / k * 60 + i % (60 * k) / k];
        normalize(more, &large, NORMALIZE_FIT);
        assert_true(difference(once, more) < 0.002);
        image_free(&large);
    }
    image_free(&small);
}

static void test_drawn_at_any_size(void **state)
{
    float reference[PIXELS], digit[PIXELS];
    (void)state;
    normalize_drawn(reference, draw(200, 200, 40, 40, 120, 255, 0), NORMALIZE_FIT);
    for (size_t size = 36; size <= 1500; size = size * 3 / 2) {
        normalize_drawn(digit, draw(2 * size, 2 * size, (double)size / 2 + 0.3, (double)size / 3,
                                    (double)size, 255, 0), NORMALIZE_FIT);
        check_form(digit, 1, 0);
        if (difference(reference, digit) > 0.02)
            fail_msg("size %zu differs by %g", size, difference(reference, digit));
    }
}

static void test_specks(void **state)
{
    float clean[PIXELS], dirty[PIXELS];
    struct image image = draw(200, 200, 40, 40, 120, 255, 0);

    (void)state;
    normalize(clean, &image, NORMALIZE_FIT);
    image.pixels[3 * 200 + 5] = image.pixels[3 * 200 + 6] = 0;
    image.pixels[190 * 200 + 195] = image.pixels[191 * 200 + 195] = 30;
    normalize(dirty, &image, NORMALIZE_FIT);
    assert_true(difference(clean, dirty) < 1e-3);
    image_free(&image);
}

/* A spot much darker than the ink does not make the rest of it pale. */
static void test_dark_spot_in_the_ink(void **state)
{
    float clean[PIXELS], spotted[PIXELS];
    struct image image = draw(200, 200, 40, 40, 120, 255, 120);

    (void)state;
    normalize(clean, &image, NORMALIZE_FIT);
    for (size_t i = 0; i < 8 * 8; i++) /* where two strokes cross */
        image.pixels[(98 + i / 8) * 200 + 114 + i % 8] = 0;
    normalize(spotted, &image, NORMALIZE_FIT);
    assert_true(difference(clean, spotted) < 0.005);
    image_free(&image);
}

/* Pale ink on paper in slanting light must not be lost as noise. */
static void test_uneven_paper(void **state)
{
    float digit[PIXELS];
    struct image image = draw(200, 200, 40, 40, 120, 190, 105);

    (void)state;
    for (size_t i = 0; i < 200 * 200; i++)
        if (image.pixels[i] == 190)
            image.pixels[i] = (uint8_t)(130 + i % 200 * 120 / 200);
    normalize_drawn(digit, image, NORMALIZE_FIT);
    check_form(digit, 1, 0);
}

static void test_noisy_paper(void **state)
{
    float clean[PIXELS], noisy[PIXELS];
    struct image image = draw(300, 200, 40, 40, 120, 200, 50);

    (void)state;
    normalize(clean, &image, NORMALIZE_FIT);
    for (size_t i = 0; i < 300 * 200; i++)
        image.pixels[i] = (uint8_t)(image.pixels[i] + random_below(21) - 10);
    normalize(noisy, &image, NORMALIZE_FIT);
    check_form(noisy, 1, 0);
    assert_true(difference(clean, noisy) < 0.03);
    image_free(&image);
}

static void test_touching_the_border(void **state)
{
    float whole[PIXELS], tight[PIXELS];
    (void)state;
    /* The strokes reach from 0.05 to 0.95 of 100 pixels, and 5 around. */
    normalize_drawn(whole, draw(200, 200, 50, 50, 100, 255, 0), NORMALIZE_FIT);
    normalize_drawn(tight, draw(90, 100, -5, 0, 100, 255, 0), NORMALIZE_FIT);
    check_form(tight, 1, 0);
    assert_true(difference(whole, tight) < 0.005);
}

static void test_colour(void **state)
{
    float gray[PIXELS], rgb[PIXELS * 3];
    struct image four_gray = draw(120, 120, 30, 30, 60, 255, 0);
    struct image image = fill(120, 120, 3, 0);

    (void)state;
    normalize(gray, &four_gray, NORMALIZE_FIT);
    for (size_t i = 0; i < 120 * 120; i++) { /* dark green on light yellow */
        image.pixels[3 * i] = (uint8_t)(20 + 220 * four_gray.pixels[i] / 255);
        image.pixels[3 * i + 1] = (uint8_t)(90 + 150 * four_gray.pixels[i] / 255);
        image.pixels[3 * i + 2] = (uint8_t)(60 + 80 * four_gray.pixels[i] / 255);
    }
    normalize(rgb, &image, NORMALIZE_FIT);
    check_form(rgb, 3, 0);
    for (size_t i = 0; i < PIXELS; i++) { /* the same place, the ink's colour */
        assert_true(fabsf(rgb[3 * i] - gray[i]) < 0.35f);
        assert_true(rgb[3 * i] >= rgb[3 * i + 1] && rgb[3 * i + 1] >= rgb[3 * i + 2]);
        assert_true(gray[i] < 0.2f || rgb[3 * i + 2] > 0.0f);
    }
    image_free(&image);
    image_free(&four_gray);
}

/* ---- Light, lines and dirt --------------------------------------------------------- */

/* The picture under other light: each pixel times light(x, y), 0 to 1. */
static struct image relit(const struct image *image, double (*light)(double x, double y))
{
    struct image lit = fill(image->width, image->height, 1, 0);
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
    struct image image = draw(240, 240, 60, 50, 120, 230, 30);

    (void)state;
    normalize(even, &image, NORMALIZE_FIT);
    for (size_t i = 0; i < sizeof lights / sizeof *lights; i++) {
        normalize_drawn(uneven, relit(&image, lights[i]), NORMALIZE_FIT);
        check_form(uneven, 1, 0);
        if (difference(even, uneven) > 0.01)
            fail_msg("light %zu: differs by %g", i, difference(even, uneven));
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
    normalize_drawn(clean, draw(300, 300, 60, 50, 180, 255, 0), NORMALIZE_FIT);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct image image = draw(300, 300, 60, 50, 180, 255, 0);
        rule(&image, cases[i].pitch, cases[i].level, cases[i].slant, cases[i].squared);
        normalize_drawn(ruled, image, NORMALIZE_FIT);
        if (difference(clean, ruled) > 0.02)
            fail_msg("case %zu: differs by %g", i, difference(clean, ruled));
    }
}

/* A stroke along a rule hides it, and stays. */
static void test_stroke_along_a_rule(void **state)
{
    float clean[PIXELS], ruled[PIXELS];
    struct image image = fill(600, 250, 1, 255);

    (void)state;
    for (size_t y = 20; y < 130; y++) { /* two posts and a bar, as an H */
        memset(image.pixels + y * 600 + 260, 0, 6);
        memset(image.pixels + y * 600 + 320, 0, 6);
    }
    for (size_t y = 70; y < 76; y++)
        memset(image.pixels + y * 600 + 260, 0, 60);
    normalize(clean, &image, NORMALIZE_FIT);
    for (size_t x = 3; x < 600; x += 80) /* one of them beside the right post */
        for (size_t y = 0; y < 250; y++)
            for (size_t k = 0; k < 2; k++)
                if (image.pixels[y * 600 + x + k] > 150)
                    image.pixels[y * 600 + x + k] = 150;
    normalize(ruled, &image, NORMALIZE_FIT);
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
    struct image image = fill(150, 200, 1, 255);

    (void)state;
    for (size_t i = 10; i < 13; i++)
        memset(image.pixels + i * 150, 0, 150);
    for (size_t y = 13; y < 190; y++)
        memset(image.pixels + y * 150 + 145 - y / 2, 0, 4);
    normalize(digit, &image, NORMALIZE_FIT);
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
    struct image image = draw(400, 300, 40, 40, 120, 255, 0);

    (void)state;
    normalize(clean, &image, NORMALIZE_FIT);
    for (size_t y = 230; y < 250; y++)
        memset(image.pixels + y * 400 + 350, 0, 20); /* a fifth of the digit's ink */
    for (size_t y = 0; y < 300; y++)
        memset(image.pixels + y * 400 + 394, 60, 6); /* the table beside the paper */
    normalize(dirty, &image, NORMALIZE_FIT);
    assert_true(difference(clean, dirty) < 1e-3);
    image_free(&image);
}

/* Hairlines beside a thick stroke stay to be seen. */
static void test_hairlines(void **state)
{
    float digit[PIXELS];
    size_t seen = 0;
    struct image image = fill(300, 300, 1, 255);

    (void)state;
    for (size_t y = 50; y < 250; y++) {
        memset(image.pixels + y * 300 + 180, 0, 12);
        memset(image.pixels + y * 300 + 90, 0, 3); /* 0.3 of a pixel of the frame */
    }
    for (size_t i = 0; i < 3; i++) {
        memset(image.pixels + (50 + i) * 300 + 90, 0, 90);
        memset(image.pixels + (247 + i) * 300 + 90, 0, 90);
    }
    normalize(digit, &image, NORMALIZE_FIT);
    check_form(digit, 1, 0);
    for (size_t y = 6; y < 22; y++) {
        float most = 0;
        for (size_t x = 0; x < 14; x++)
            most = fmaxf(most, digit[y * N + x]);
        seen += most > 0.4f;
    }
    assert_int_equal(seen, 16);
    image_free(&image);
}

/* ---- What AUTO leaves alone ------------------------------------------------------------ */

static void test_auto(void **state)
{
    float digit[PIXELS], fitted[PIXELS];
    (void)state;
    static const struct { double left, top, size; int paper, ink, untouched; } cases[] = {
        {5, 3, 20, 0, 255, 1}, /* MNIST's form: strokes of 18, with the soft rim 20 */
        {6, 4, 20, 0, 255, 1}, /* moved by 1 */
        {5, 3, 20, 255, 0, 0}, /* dark on light */
        {0, 0, 28, 0, 255, 0}, /* fills the frame */
        {0, 0, 20, 0, 255, 0}, /* in the corner */
        {10, 9, 9, 0, 255, 0}, /* too small */
        {5, 3, 20, 0, 120, 0}, /* too faint */
        {5, 3, 20, 90, 255, 0}, /* on gray */
        {5, 3, 20, 25, 255, 0}, /* on nearly black */
        {0, 3, 20, 0, 255, 0}, /* at the left edge */
        {5, 8, 20, 0, 255, 0}  /* at the lower edge */};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct image image = draw(N, N, cases[i].left, cases[i].top, cases[i].size, cases[i].paper,
                                  cases[i].ink);
        normalize(digit, &image, NORMALIZE_AUTO);
        normalize(fitted, &image, NORMALIZE_FIT);
        if (is_untouched(digit, &image) != cases[i].untouched)
            fail_msg("case %zu", i);
        if (!cases[i].untouched)
            assert_memory_equal(digit, fitted, sizeof digit);
        image_free(&image);
    }
}

/* A stroke over the whole height lights few border pixels, yet has no margin. */
static void test_auto_full_height_stroke(void **state)
{
    float digit[PIXELS];
    struct image image = fill(N, N, 1, 0);
    (void)state;
    for (size_t y = 0; y < N; y++)
        image.pixels[y * N + 13] = image.pixels[y * N + 14] = 255;
    normalize(digit, &image, NORMALIZE_AUTO);
    assert_false(is_untouched(digit, &image));
    check_form(digit, 1, 0);
    image_free(&image);
}

/* The pictures in tests/digits: decoded and brought to form. */
static void read_digit(float *digit, struct image *image, const char *kind, int n)
{
    struct image_message message;
    uint8_t bytes[1 << 14];
    char path[64];

    snprintf(path, sizeof path, "tests/digits/%s-%d.png", kind, n);
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("%s cannot be opened; run from the top of the source tree", path);
    const size_t nbytes = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    if (png_decode(image, bytes, nbytes, 1000, 1, &message) != IMAGE_OK)
        fail_msg("%s: %s", path, message.text);
    normalize(digit, image, NORMALIZE_AUTO);
    check_form(digit, 1, 0);
}

/* Every picture "as people send them", fitted, is nearest to the MNIST-style
 * picture of its own digit, though pen and slant differ. */
static void test_own_digits(void **state)
{
    static const struct { const char *kind; int n; } sent[] = {
        {"paper", 0}, {"paper", 1}, {"paper", 2}, {"paper", 3}, {"paper", 4}, {"paper", 5},
        {"paper", 6}, {"paper", 7}, {"paper", 8}, {"paper", 9}, {"transparent", 3}, {"chalk", 8},
        {"palette", 5}, {"colour", 7}, {"bilevel", 2}, {"large", 4}};
    float digits[10][PIXELS], fitted[PIXELS];
    struct image image;

    (void)state;
    for (int n = 0; n < 10; n++) {
        read_digit(digits[n], &image, "digit", n);
        assert_true(is_untouched(digits[n], &image));
        image_free(&image);
    }
    for (size_t i = 0; i < sizeof sent / sizeof *sent; i++) {
        int nearest = 0;
        read_digit(fitted, &image, sent[i].kind, sent[i].n);
        image_free(&image);
        for (int n = 1; n < 10; n++)
            if (difference(fitted, digits[n]) < difference(fitted, digits[nearest]))
                nearest = n;
        if (nearest != sent[i].n)
            fail_msg("%s-%d looks like %d", sent[i].kind, sent[i].n, nearest);
    }
}

/* Where MNIST lies: MNIST_DIR, or beside the source tree. */
static const char *mnist_folder(void)
{
    const char *folder = getenv("MNIST_DIR");
    return folder && *folder ? folder : "../shared/mnist";
}

static void test_mnist(void **state)
{
    static const char *const parts[] = {"train", "t10k"};
    (void)state;
    for (size_t p = 0; p < 2; p++) {
        struct capsnet_error error;
        struct dataset set;
        size_t differ = 0;
        double sum = 0;
        if (dataset_load_idx(&set, mnist_folder(), parts[p], &error) != CAPSNET_OK) {
            printf("SKIPPED: no MNIST (%s); set MNIST_DIR\n", error.text);
            skip();
        }
        for (size_t i = 0; i < set.n; i++) {
            struct image image = {N, N, 1, set.pixels + i * PIXELS};
            float as_it_is[PIXELS], digit[PIXELS];
            normalize(as_it_is, &image, NORMALIZE_AUTO);
            if (!is_untouched(as_it_is, &image))
                fail_msg("%s image %zu is not taken as it is", parts[p], i);
            if (i >= 10000)
                continue;
            normalize(digit, &image, NORMALIZE_FIT);
            sum += difference(as_it_is, digit) / 10000;
            differ += difference(as_it_is, digit) > 0.02;
        }
        printf("%s: all %zu taken as they are; fitted, the first 10000 differ by %.5f on average, "
               "%zu by more than 0.02\n", parts[p], set.n, sum, differ);
        assert_true(sum < 0.002 && differ < 100);
        dataset_free(&set);
    }
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
                    normalize_drawn(digit, fill(sizes[s][0], sizes[s][1], channels, value),
                                    (enum normalize_mode)mode);
                    check_form(digit, channels, 1);
                }
    struct image image = fill(100, 100, 1, 230); /* paper with a faint stain */
    memset(image.pixels + 4000, 220, 500);
    normalize_drawn(digit, image, NORMALIZE_AUTO);
    check_form(digit, 1, 1);
    image = fill(100, 100, 1, 0); /* rough paper */
    for (size_t i = 0; i < 100 * 100; i++)
        image.pixels[i] = (uint8_t)(230 + random_below(9));
    normalize(digit, &image, NORMALIZE_AUTO);
    check_form(digit, 1, 1);
    image_free(&image);
}

static void test_lines(void **state)
{
    float digit[PIXELS];
    (void)state;
    struct image image = fill(4096, 3, 1, 255);
    memset(image.pixels + 4096 + 10, 0, 4076); /* one row */
    normalize(digit, &image, NORMALIZE_AUTO);
    check_form(digit, 1, 0);
    for (size_t i = 0; i < PIXELS; i++)
        assert_true((digit[i] > 0.5f) == (i / N == 14 && i % N >= 4 && i % N < 24));
    image_free(&image);

    image = fill(3, 4096, 1, 0);
    for (size_t y = 10; y < 4086; y++)
        image.pixels[3 * y + 1] = 255;
    normalize(digit, &image, NORMALIZE_AUTO);
    check_form(digit, 1, 0);
    for (size_t i = 0; i < PIXELS; i++)
        assert_true((digit[i] > 0.5f) == (i % N == 14 && i / N >= 4 && i / N < 24));
    image_free(&image);
}

static void test_one_dot(void **state)
{
    float digit[PIXELS];
    struct image image = fill(50, 50, 1, 255);
    (void)state;
    image.pixels[20 * 50 + 7] = 0;
    normalize(digit, &image, NORMALIZE_AUTO);
    check_form(digit, 1, 0);
    image_free(&image);
}

static void test_random_pictures(void **state)
{
    (void)state;
    for (int i = 0; i < 3000; i++) {
        const size_t channels = i & 1 ? 3 : 1;
        const uint32_t span = 1 + random_below(256), limit = i % 50 == 0 ? 600 : 40;
        const uint32_t rare = 1 + random_below(100);
        struct image image = fill(1 + random_below(limit), 1 + random_below(limit), channels,
                                  (int)random_below(256));
        float digit[PIXELS * 3];
        int blank = 1;
        for (size_t p = 0; p < image.width * image.height * channels; p++)
            if (random_below(rare) == 0)
                image.pixels[p] = (uint8_t)random_below(span);
        normalize(digit, &image, NORMALIZE_FIT);
        for (size_t p = 0; p < PIXELS * channels; p++)
            blank &= !(digit[p] > 0.0f);
        check_form(digit, channels, blank);
        image_free(&image);
    }
}

static void test_other_frames(void **state)
{
    static const size_t frames[][2] = {{32, 32}, {28, 56}, {1, 1}, {2, 3}, {64, 10}};
    struct image image = draw(100, 100, 20, 20, 60, 255, 0);
    struct image_message message;

    (void)state;
    for (size_t f = 0; f < sizeof frames / sizeof *frames; f++) {
        const size_t h = frames[f][0], w = frames[f][1];
        float *digit = malloc(h * w * sizeof *digit), most = 0;
        assert_non_null(digit);
        assert_int_equal(normalize_image(digit, h, w, 1, &image, NORMALIZE_AUTO, &message), IMAGE_OK);
        for (size_t i = 0; i < h * w; i++) {
            assert_true(digit[i] >= 0.0f && digit[i] <= 1.0f);
            most = fmaxf(most, digit[i]);
        }
        assert_true(most == 1.0f);
        free(digit);
    }
    image_free(&image);
}

static void test_none(void **state)
{
    float digit[PIXELS];
    struct image_message message = {""};
    struct image image = draw(N, N, 0, 0, 28, 200, 10);

    (void)state;
    normalize(digit, &image, NORMALIZE_NONE);
    assert_true(is_untouched(digit, &image));
    image.height = 27;
    digit[0] = 42.0f;
    assert_int_equal(normalize_image(digit, N, N, 1, &image, NORMALIZE_NONE, &message),
                     IMAGE_INVALID);
    assert_string_equal(message.text,
                        "the image is 28 x 27 pixels, and without normalisation it must be 28 x 28");
    assert_true(digit[0] == 42.0f);
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
        cmocka_unit_test(test_light),
        cmocka_unit_test(test_ruled_paper),
        cmocka_unit_test(test_stroke_along_a_rule),
        cmocka_unit_test(test_a_bar_is_no_rule),
        cmocka_unit_test(test_dirt_far_away),
        cmocka_unit_test(test_hairlines),
        cmocka_unit_test(test_auto),
        cmocka_unit_test(test_auto_full_height_stroke),
        cmocka_unit_test(test_own_digits),
        cmocka_unit_test(test_mnist),
        cmocka_unit_test(test_blank),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_one_dot),
        cmocka_unit_test(test_random_pictures),
        cmocka_unit_test(test_other_frames),
        cmocka_unit_test(test_none),
    };
    const char *seed = getenv("SEED");
    random_state = seed ? (uint32_t)strtoul(seed, NULL, 10) : 20171105;
    printf("SEED=%u\n", random_state);
    random_state = random_state ? random_state : 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
