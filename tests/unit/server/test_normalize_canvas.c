/*
 * test_normalize_canvas.c - pictures for a network that was trained on digits lying
 * anywhere on a larger canvas, alone or two on top of each other: the 36 x 36 of the paper's
 * pairs, digits of 28 x 28.
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
#include "model/train/data/pairs.h"
#include "tests/common/drawn_digit.h"

enum { CANVAS = 36, CANVAS_PIXELS = CANVAS * CANVAS, SLACK = CANVAS - N };

static const struct normalize_form single = {CANVAS, CANVAS, 1, N, N, 1};
static const struct normalize_form pairs = {CANVAS, CANVAS, 1, N, N, 2};

static void make(float *digit, const struct normalize_form *form, const struct image *image,
                 enum normalize_mode mode)
{
    struct image_message message;
    for (size_t i = 0; i < CANVAS_PIXELS * form->channels; i++)
        digit[i] = NAN; /* so that a pixel left out shows */
    assert_int_equal(normalize_image(digit, form, image, mode, &message), IMAGE_OK);
    for (size_t i = 0; i < CANVAS_PIXELS * form->channels; i++)
        assert_true(digit[i] >= 0 && digit[i] <= 1);
}

static int is_own(const float *digit, const struct image *image)
{
    for (size_t i = 0; i < CANVAS_PIXELS; i++)
        if (digit[i] != (float)image->pixels[i] / 255.0f)
            return 0;
    return 1;
}

struct seen {
    size_t x0, y0, x1, y1; /* of the ink */
    double x, y;           /* its centre of mass, in pixel indices */
};

static struct seen see(const float *digit)
{
    struct seen s = {CANVAS, CANVAS, 0, 0, 0, 0};
    double mass = 0;
    for (size_t y = 0; y < CANVAS; y++)
        for (size_t x = 0; x < CANVAS; x++) {
            const double value = (double)digit[y * CANVAS + x];
            mass += value, s.x += value * (double)x, s.y += value * (double)y;
            if (value > 0) {
                s.x0 = x < s.x0 ? x : s.x0;
                s.x1 = x + 1 > s.x1 ? x + 1 : s.x1;
                s.y0 = y < s.y0 ? y : s.y0;
                s.y1 = y + 1;
            }
        }
    s.x /= mass, s.y /= mass;
    return s;
}

/* ---- What is taken as it is ------------------------------------------------ */

static void test_auto(void **state)
{
    (void)state;
    static const struct {
        double left, top, size;
        int paper, ink, is_single, is_pair; /* taken as it is by a network of either kind */
    } cases[] = {
        {9, 7, 20, 0, 255, 1, 1},    /* in the middle */
        {6, 4, 20, 0, 255, 1, 1},    /* shifted by 3 to either side */
        {12, 10, 20, 0, 255, 1, 1},
        {6, 10, 20, 0, 255, 1, 1},
        {0, 7, 20, 0, 255, 0, 0},    /* at the left edge */
        {9, 15, 20, 0, 255, 0, 0},   /* at the lower edge */
        {5, 5, 28, 0, 255, 0, 1},    /* as large as two digits are, shifted apart */
        {0, 0, 36, 0, 255, 0, 0},    /* fills the canvas */
        {13, 12, 12, 0, 255, 0, 0},  /* too small */
        {9, 7, 20, 255, 0, 0, 0},    /* dark on light */
        {9, 7, 20, 0, 120, 0, 0},    /* too faint */
        {9, 7, 20, 90, 255, 0, 0},   /* on gray */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int k = 0; k < 2; k++) {
            const struct normalize_form *form = k ? &pairs : &single;
            float digit[CANVAS_PIXELS], fitted[CANVAS_PIXELS];
            struct image image = draw_four(CANVAS, CANVAS, cases[i].left, cases[i].top,
                                           cases[i].size, cases[i].paper, cases[i].ink);
            make(digit, form, &image, NORMALIZE_AUTO);
            make(fitted, form, &image, NORMALIZE_FIT);
            if (is_own(digit, &image) != (k ? cases[i].is_pair : cases[i].is_single))
                fail_msg("case %zu, %d objects", i, k + 1);
            if (!is_own(digit, &image))
                assert_memory_equal(digit, fitted, sizeof digit);
            image_free(&image);
        }
}

/* An image of the digits' own size, as MNIST's, comes to the middle as it is. */
static void test_frame(void **state)
{
    (void)state;
    float digit[CANVAS_PIXELS];
    struct image image = draw_four(N, N, 5, 3, 20, 0, 255);
    for (int k = 0; k < 2; k++) {
        make(digit, k ? &pairs : &single, &image, NORMALIZE_AUTO);
        for (size_t y = 0; y < CANVAS; y++)
            for (size_t x = 0; x < CANVAS; x++) {
                const size_t v = y - SLACK / 2, u = x - SLACK / 2; /* huge before the frame */
                const float want = v < N && u < N ? (float)image.pixels[v * N + u] / 255.0f : 0;
                assert_true(digit[y * CANVAS + x] == want);
            }
    }
    image_free(&image);
    /* One that fills its frame is fitted like any other picture. */
    image = draw_four(N, N, 0, 0, 28, 0, 255);
    float fitted[CANVAS_PIXELS];
    make(digit, &single, &image, NORMALIZE_AUTO);
    make(fitted, &single, &image, NORMALIZE_FIT);
    assert_memory_equal(digit, fitted, sizeof digit);
    image_free(&image);
}

/* The paper's own pictures: each single digit and each pair of MNIST's test set. */
static void test_mnist(void **state)
{
    (void)state;
    enum { EACH = 2000 };
    const char *folders[] = {getenv("MNIST_DIR"), "../shared/mnist", "data"};
    size_t at = 0;
    struct capsnet_error error;
    struct dataset set;
    static uint8_t one[CANVAS_PIXELS], two[CANVAS_PIXELS], both[CANVAS_PIXELS];
    while (at < 3 && (!folders[at] || dataset_load_idx(&set, folders[at], "t10k", &error) != 0))
        at++;
    if (at == 3) {
        printf("SKIPPED: no MNIST (%s); set MNIST_DIR\n", error.text);
        skip();
    }
    for (size_t partners = 0; partners < 2; partners++) {
        struct pair *list;
        size_t touched = 0;
        float digit[CANVAS_PIXELS];
        const struct image image = {CANVAS, CANVAS, 1, both};
        assert_int_equal(pairs_draw(&list, &set, NULL, set.n, partners, CANVAS, 1, &error), 0);
        for (size_t i = 0; i < EACH; i++) {
            pair_picture(one, &set, &list[i], 0, CANVAS);
            pair_picture(two, &set, &list[i], 1, CANVAS);
            memcpy(both, one, sizeof both);
            if (partners)
                pair_overlay(both, one, two, CANVAS_PIXELS);
            make(digit, &pairs, &image, NORMALIZE_AUTO);
            touched += !is_own(digit, &image);
        }
        printf("%s: %d of %d are taken as they are\n", partners ? "pairs" : "single digits",
               EACH - (int)touched, EACH);
        assert_int_equal(touched, 0);
        free(list);
    }
    dataset_free(&set);
}

/* ---- What is fitted -------------------------------------------------------- */

/* A digit drawn on a pad gets the 20 pixels that a digit has on the canvas; where two may
 * be there, 23, the median of what two of them take together.  Its centre of mass comes to
 * the middle.  Neither the pad's size nor the digit's place changes that. */
static void test_fit(void **state)
{
    (void)state;
    static const struct {
        size_t width, height;
        double left, top, size;
        int paper, ink;
    } pads[] = {{300, 150, 20, 10, 120, 255, 0}, {200, 200, 90, 60, 100, 0, 255},
                {900, 700, 50, 200, 400, 240, 30}, {CANVAS, CANVAS, 1, 2, 33, 255, 0}};
    for (size_t i = 0; i < sizeof pads / sizeof *pads; i++)
        for (int k = 0; k < 2; k++) {
            float digit[CANVAS_PIXELS];
            struct image image =
                draw_four(pads[i].width, pads[i].height, pads[i].left, pads[i].top, pads[i].size,
                          pads[i].paper, pads[i].ink);
            make(digit, k ? &pairs : &single, &image, NORMALIZE_AUTO);
            const struct seen s = see(digit);
            assert_int_equal(s.y1 - s.y0, k ? 23 : 20);
            assert_in_range(s.x1 - s.x0, k ? 18 : 15, k ? 22 : 20);
            assert_true(s.x >= 17.49 && s.x < 18.51 && s.y >= 17.49 && s.y < 18.51);
            image_free(&image);
        }
    float digit[CANVAS_PIXELS];
    struct image image = flat_image(100, 50, 1, 200);
    make(digit, &pairs, &image, NORMALIZE_AUTO);
    for (size_t i = 0; i < CANVAS_PIXELS; i++)
        assert_true(digit[i] == 0);
    image_free(&image);
}

/* Pictures of pairs as large as they are on average, enlarged to a pad, come out as they
 * were, but for whole pixels that they are moved by: with the strokes of two digits, not
 * with those of one that fills the box, which would be broader. */
static void test_pair(void **state)
{
    (void)state;
    enum { TIMES = 9, PAD = CANVAS * TIMES };
    struct image a = draw_four(CANVAS, CANVAS, 6, 6, 20, 0, 255);
    struct image b = draw_four(CANVAS, CANVAS, 10, 9, 20, 0, 255), pad = flat_image(PAD, PAD, 1, 0);
    float digit[CANVAS_PIXELS], before[CANVAS_PIXELS];
    pair_overlay(a.pixels, a.pixels, b.pixels, CANVAS_PIXELS);
    for (size_t y = 0; y < PAD; y++)
        for (size_t x = 0; x < PAD; x++)
            pad.pixels[y * PAD + x] = a.pixels[y / TIMES * CANVAS + x / TIMES];
    for (size_t i = 0; i < CANVAS_PIXELS; i++)
        before[i] = (float)a.pixels[i] / 255;
    const struct seen was = see(before);
    assert_in_range(was.y1 - was.y0, 22, 24);
    make(digit, &pairs, &pad, NORMALIZE_FIT);
    const struct seen is = see(digit);
    assert_in_range(is.y1 - is.y0, 22, 24);
    double sum = 0, ink = 0;
    for (size_t y = 0; y < CANVAS; y++)
        for (size_t x = 0; x < CANVAS; x++) {
            const size_t v = y + was.y0 - is.y0, u = x + was.x0 - is.x0;
            const double want =
                v < CANVAS && u < CANVAS ? (double)before[v * CANVAS + u] : 0;
            sum += fabs((double)digit[y * CANVAS + x] - want);
            ink += want;
        }
    print_message("  %.1f %% of the ink differs\n", 100 * sum / ink);
    assert_true(sum < 0.12 * ink);
    image_free(&a);
    image_free(&b);
    image_free(&pad);
}

/* Two bars apart, their strokes as thin as thin ones of MNIST's digits are beside 20
 * pixels, stay so beside 23; for one digit they would be broader. */
static void test_strokes(void **state)
{
    (void)state;
    enum { SIDE = 230, WIDE = 19, LONG = 200 };
    float digit[CANVAS_PIXELS];
    struct image image = flat_image(2 * SIDE, 2 * SIDE, 1, 255);
    for (size_t y = 0; y < SIDE; y++)
        for (size_t x = 0; x < SIDE; x++)
            if ((x < WIDE && y < LONG) || (x >= SIDE - WIDE && y >= SIDE - LONG))
                image.pixels[(y + 100) * 2 * SIDE + x + 90] = 0;
    for (int k = 0; k < 2; k++) {
        double width = 0;
        make(digit, k ? &pairs : &single, &image, NORMALIZE_FIT);
        for (size_t x = 0; x < CANVAS; x++)
            width += (double)digit[CANVAS / 2 * CANVAS + x] / 2;
        const double share = width / (k ? 23 : 20);
        print_message("  strokes of %.4f of the box\n", share);
        assert_true(k ? share < 0.085 : share > 0.087);
    }
    image_free(&image);
}

static void test_colour(void **state)
{
    (void)state;
    static float digit[3 * CANVAS_PIXELS];
    const struct normalize_form form = {CANVAS, CANVAS, 3, N, N, 2};
    struct image four = draw_four(N, N, 5, 3, 20, 0, 255), image = flat_image(N, N, 3, 0);
    for (size_t i = 0; i < PIXELS; i++)
        for (size_t c = 0; c < 3; c++)
            image.pixels[3 * i + c] = (uint8_t)(four.pixels[i] * 9 / (c == 1 ? 10 : 9));
    make(digit, &form, &image, NORMALIZE_AUTO);
    for (size_t i = 0; i < 3 * PIXELS; i++) {
        const size_t y = i / 3 / N + SLACK / 2, x = i / 3 % N + SLACK / 2;
        assert_true(digit[(y * CANVAS + x) * 3 + i % 3] == (float)image.pixels[i] / 255.0f);
    }
    image_free(&four);
    image_free(&image);
}

static void test_none(void **state)
{
    (void)state;
    float digit[CANVAS_PIXELS] = {42};
    struct image_message message = {""};
    struct image image = draw_four(CANVAS, CANVAS, 0, 0, 36, 200, 10);
    make(digit, &pairs, &image, NORMALIZE_NONE);
    assert_true(is_own(digit, &image));
    image.height = image.width = N;
    assert_int_equal(normalize_image(digit, &pairs, &image, NORMALIZE_NONE, &message),
                     IMAGE_INVALID);
    assert_string_equal(message.text,
                        "the image is 28 x 28 pixels, and without normalisation it must be 36 x 36");
    image_free(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_auto), cmocka_unit_test(test_frame), cmocka_unit_test(test_mnist),
        cmocka_unit_test(test_fit),  cmocka_unit_test(test_pair),  cmocka_unit_test(test_strokes),
        cmocka_unit_test(test_colour),
        cmocka_unit_test(test_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
