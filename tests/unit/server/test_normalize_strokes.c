/*
 * test_normalize_strokes.c - pens of every breadth, ink of every colour, and what
 * is no drawing: what the shipped network makes of the digits that come out.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/capsnet.h"
#include "tests/common/drawn_digit.h"

enum { CLASSES = 10, POSE = 16 };

static struct capsnet_model *model;
static struct capsnet_workspace *workspace;

static int load(void **state)
{
    struct capsnet_error error;
    (void)state;
    if (capsnet_model_load(&model, "weights/capsnet-mnist.safetensors", NULL, &error) !=
            CAPSNET_OK ||
        capsnet_workspace_create(&workspace, model, 1, 1, &error) != CAPSNET_OK)
        fail_msg("%s", error.text);
    return 0;
}

static int unload(void **state)
{
    (void)state;
    capsnet_workspace_free(workspace);
    capsnet_model_free(model);
    return 0;
}

/* What the network reads, and whether the server would call it known. */
static size_t read_digit(int *is_known, const float *digit)
{
    const struct capsnet_shape *shape = capsnet_model_shape(model);
    float lengths[CLASSES], poses[CLASSES][POSE], picture[PIXELS];

    capsnet_forward(workspace, 1, digit, lengths, poses[0]);
    const size_t winner = capsnet_winner(shape, lengths);
    capsnet_decode(workspace, 1, poses[winner], &winner, picture);
    *is_known = capsnet_is_known(capsnet_model_known(model),
                                 capsnet_pixel_error(shape, digit, picture), lengths[winner],
                                 capsnet_ink(shape, digit)) &&
                normalize_has_strokes(digit, N, N, 1);
    return winner;
}

/* Draws a line of a round pen into a picture of one channel, light on dark. */
static void draw_line(struct image *image, const double line[4], double pen)
{
    const double dx = line[2] - line[0], dy = line[3] - line[1];
    for (size_t y = 0; y < image->height; y++)
        for (size_t x = 0; x < image->width; x++) {
            const double px = (double)x + 0.5 - line[0], py = (double)y + 0.5 - line[1];
            const double t = fmax(0, fmin(1, (px * dx + py * dy) / (dx * dx + dy * dy)));
            const double cover = pen / 2 - hypot(px - t * dx, py - t * dy) + 0.5;
            uint8_t *at = &image->pixels[y * image->width + x];
            const uint8_t ink = (uint8_t)lround(255 * fmax(0, fmin(1, cover)));
            *at = ink > *at ? ink : *at;
        }
}

/* A four of three lines, on 400 x 400. */
static struct image draw_open_four(double pen)
{
    static const double lines[][4] = {
        {152, 60, 128, 220}, {128, 220, 280, 220}, {248, 80, 240, 352}};
    struct image image = flat_image(400, 400, 1, 0);
    for (size_t i = 0; i < 3; i++)
        draw_line(&image, lines[i], pen);
    return image;
}

static void test_pens(void **state)
{
    static const double pens[] = {1, 2, 4, 8, 12, 16, 20, 32, 40, 60, 80};
    float digit[PIXELS];
    int is_known;
    (void)state;
    for (size_t i = 0; i < sizeof pens / sizeof *pens; i++) {
        make_digit_of(digit, draw_open_four(pens[i]), NORMALIZE_AUTO);
        check_digit(digit, 1, 0);
        const size_t winner = read_digit(&is_known, digit);
        if (winner != 4 || !is_known)
            fail_msg("a pen of %g: class %zu, %sknown", pens[i], winner, is_known ? "" : "un");
    }
}

/* Pens thinner than MNIST's all come out as one. */
static void test_thin_pens_are_alike(void **state)
{
    float thin[PIXELS], thinner[PIXELS];
    (void)state;
    make_digit_of(thin, draw_open_four(12), NORMALIZE_AUTO);
    for (double pen = 1; pen < 12; pen += 2.5) {
        make_digit_of(thinner, draw_open_four(pen), NORMALIZE_AUTO);
        if (digit_difference(thin, thinner) > 0.03)
            fail_msg("a pen of %g differs by %g", pen, digit_difference(thin, thinner));
    }
}

/* Ink and paper as bright as each other. */
static void test_equal_luma(void **state)
{
    static const uint8_t pairs[][2][3] = { /* paper, ink */
        {{0, 118, 0}, {232, 0, 0}},     {{232, 0, 0}, {0, 118, 0}},
        {{60, 140, 255}, {215, 110, 0}}, {{255, 255, 255}, {255, 255, 0}}};
    float gray[PIXELS], digit[PIXELS];
    const struct normalize_form form = normalize_whole(N, N, 1);
    struct image four = draw_open_four(32), colour = flat_image(400, 400, 3, 0);
    int is_known;
    (void)state;
    make_digit(gray, &four, NORMALIZE_AUTO);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        for (size_t p = 0; p < 400 * 400; p++)
            for (size_t c = 0; c < 3; c++) {
                const int paper = pairs[i][0][c], ink = pairs[i][1][c];
                colour.pixels[3 * p + c] =
                    (uint8_t)(paper + four.pixels[p] * (ink - paper) / 255);
            }
        struct image_message message;
        assert_int_equal(normalize_image(digit, &form, &colour, NORMALIZE_AUTO, &message),
                         IMAGE_OK);
        check_digit(digit, 1, 0);
        assert_true(digit_difference(gray, digit) < 0.01);
        assert_int_equal(read_digit(&is_known, digit), 4);
        assert_true(is_known);
    }
    image_free(&colour);
    image_free(&four);
}

static void test_no_drawing(void **state)
{
    float digit[PIXELS];
    int is_known;
    (void)state;
    make_digit_of(digit, flat_image(280, 280, 1, 255), NORMALIZE_AUTO);
    assert_false(normalize_has_strokes(digit, N, N, 1));
    for (double radius = 10; radius < 120; radius += 20) { /* a filled disc */
        struct image image = flat_image(280, 280, 1, 0);
        draw_line(&image, (double[]){140, 140, 140.001, 140}, 2 * radius);
        make_digit_of(digit, image, NORMALIZE_AUTO);
        check_digit(digit, 1, 0);
        read_digit(&is_known, digit);
        if (is_known)
            fail_msg("a disc of %g is known", radius);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pens),
        cmocka_unit_test(test_thin_pens_are_alike),
        cmocka_unit_test(test_equal_luma),
        cmocka_unit_test(test_no_drawing),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
