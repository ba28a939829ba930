/*
 * test_pictures.c - what is drawn lies where it should: letters, lines, the
 * curve of a run, the sheets of reconstructions.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/common/small_network.h"
#include "model/picture/png.h"
#include "tests/common/temp_folder.h"
#include "model/train/draw/curve.h"
#include "model/train/draw/picture_file.h"
#include "model/train/draw/sheet.h"

enum { WHITE = 0xffffff, BLUE = 0x1f5fbf, ORANGE = 0xd9690f };

static uint32_t pixel(const struct image *p, size_t x, size_t y)
{
    assert_true(x < p->width && y < p->height);
    const uint8_t *c = p->pixels + (y * p->width + x) * 3;
    return (uint32_t)c[0] << 16 | (uint32_t)c[1] << 8 | c[2];
}

static void check_pixel(const struct image *p, size_t x, size_t y, uint32_t colour)
{
    if (pixel(p, x, y) != colour)
        fail_msg("pixel %zu, %zu is %06x, not %06x", x, y, pixel(p, x, y), colour);
}

static struct image canvas(size_t width, size_t height)
{
    struct image p;
    struct capsnet_error error;
    assert_int_equal(canvas_create(&p, width, height, WHITE, &error), CAPSNET_OK);
    return p;
}

static void test_text(void **state)
{
    (void)state;
    static const char *const expected[] = { /* "7g" and a character that is not ASCII */
        "##### ..... #####", "....# ..... #...#", "...#. .#### #...#", "..#.. #...# #...#",
        ".#... #...# #...#", ".#... #...# #...#", ".#... .#### #####", "..... ....# .....",
        "..... .###. .....",
    };
    struct image p = canvas(60, 30);
    canvas_text(&p, 2, 3, 1, 0, "7g\xe2\x82\xac");
    for (size_t y = 0; y < 9; y++)
        for (size_t x = 0; x < 17; x++)
            check_pixel(&p, 2 + x, 3 + y, expected[y][x] == '#' ? 0 : WHITE);
    canvas_text(&p, 30, 10, 2, 0x00ff00, "-");
    check_pixel(&p, 30, 16, 0x00ff00);
    check_pixel(&p, 39, 17, 0x00ff00);
    check_pixel(&p, 40, 17, WHITE);
    check_pixel(&p, 30, 15, WHITE);
    assert_int_equal(canvas_text_width("7g\xe2\x82\xac", 2), 34);
    assert_int_equal(canvas_text_width("", 2), 0);
    canvas_text(&p, 57, 27, 3, 0, "MMMM"); /* over the edge: nothing happens */
    image_free(&p);
}

static void test_line(void **state)
{
    (void)state;
    struct image p = canvas(40, 20);
    canvas_line(&p, 5, 10, 30, 10, 4, 0); /* covers rows 8 to 11 */
    for (size_t x = 5; x < 30; x++) {
        check_pixel(&p, x, 8, 0);
        check_pixel(&p, x, 11, 0);
        check_pixel(&p, x, 6, WHITE);
        check_pixel(&p, x, 13, WHITE);
    }
    check_pixel(&p, 34, 10, WHITE);
    canvas_line(&p, -50, -20, 90, 50, 3, 0); /* through both edges */
    canvas_line(&p, 5, -30, 5, -20, 3, 0);   /* outside */
    image_free(&p);
}

/* The curve's plots: x from 90 to 875, y from 54 and 404, 256 high. */
static size_t curve_x(size_t epoch, size_t n)
{
    return 90 + (size_t)lround((double)(epoch - 1) / (double)(n - 1) * 785);
}

static void test_curve(void **state)
{
    (void)state;
    /* Errors from 0.1 to 100 and a 0; losses from 0.01 to 1. */
    const struct epoch_figures epochs[] = {{1, 100, 50}, {0.1, 10, 1}, {0.01, 0.2, 0}};
    struct image p;
    struct capsnet_error error;
    assert_int_equal(curve_draw(&p, epochs, 3, &error), CAPSNET_OK);
    assert_int_equal(p.width, 900);
    assert_int_equal(p.height, 700);
    check_pixel(&p, curve_x(1, 3), 54, BLUE);       /* the top of the losses */
    check_pixel(&p, curve_x(2, 3), 54 + 128, BLUE); /* 0.1 is half way down */
    check_pixel(&p, curve_x(3, 3), 54 + 255, BLUE);
    check_pixel(&p, curve_x(1, 3), 404, BLUE);
    check_pixel(&p, curve_x(2, 3), 404 + 85, BLUE); /* a decade of three down */
    check_pixel(&p, curve_x(2, 3), 404 + 170, ORANGE);
    check_pixel(&p, curve_x(3, 3), 404 + 255, ORANGE); /* no error at all: 0.1 */
    check_pixel(&p, 500, 20, WHITE);
    image_free(&p);
}

/* Whatever the figures, drawing ends, and a line is to be seen. */
static void test_odd_curves(void **state)
{
    (void)state;
    static struct epoch_figures many[1000];
    for (size_t i = 0; i < 1000; i++)
        many[i] = (struct epoch_figures){1e-7 + 1e7 * exp(-(double)i / 10), 0, NAN};
    const struct epoch_figures flat = {0.3, 0, NAN};
    const struct {
        const struct epoch_figures *epochs;
        size_t n;
    } cases[] = {{&flat, 1}, {many, 2}, {many, 11}, {many, 99}, {many, 1000}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct image p;
        struct capsnet_error error;
        assert_int_equal(curve_draw(&p, cases[i].epochs, cases[i].n, &error), CAPSNET_OK);
        size_t blue = 0, orange = 0;
        for (size_t y = 0; y < 700; y++) {
            for (size_t x = 0; x < 900; x++) {
                blue += y >= 54 && pixel(&p, x, y) == BLUE;
                orange += pixel(&p, x, y) == ORANGE;
            }
        }
        assert_true(blue >= 9);
        assert_int_equal(orange, 0); /* nothing was held out */
        image_free(&p);
    }
}

/* ---- Sheets ---------------------------------------------------------------- */

/* A random network, images of its three classes and their answers. */
struct world {
    struct small net;
    struct capsnet_workspace *ws;
    struct dataset data;
    struct evaluation answers;
    float *pictures;
};

static void world_create(struct world *w, size_t channels)
{
    const char *seed = getenv("SEED");
    struct random random = {seed ? strtoull(seed, NULL, 0) : 1};
    printf("SEED=%llu\n", (unsigned long long)random.state);
    struct capsnet_shape shape = small_shape();
    struct capsnet_error error;
    shape.channels = channels;
    shape.width = 20;
    small_create(&w->net, &shape, "ref", &random);
    assert_int_equal(capsnet_workspace_create(&w->ws, w->net.model, 4, 1, &error), CAPSNET_OK);
    const size_t n = 50, pixels = 18 * 20 * channels;
    w->data = (struct dataset){.n = n, .height = 18, .width = 20, .channels = channels,
                               .classes = 3, .pixels = malloc(n * pixels), .labels = malloc(n)};
    for (size_t i = 0; i < n * pixels; i++)
        w->data.pixels[i] = (uint8_t)random_below(&random, 256);
    for (size_t i = 0; i < n; i++)
        w->data.labels[i] = i == 7 ? 2 : i % 2; /* class 2 has one image */
    w->pictures = malloc(n * pixels * sizeof *w->pictures);
    assert_non_null(w->pictures);
    assert_int_equal(evaluate_pictures(&w->answers, w->pictures, w->ws, &w->data, NULL, 0, &error),
                     CAPSNET_OK);
}

static void world_free(struct world *w)
{
    evaluation_free(&w->answers);
    free(w->pictures);
    dataset_free(&w->data);
    capsnet_workspace_free(w->ws);
    capsnet_model_free(w->net.model);
    check_release();
}

/* Image i of the data, or its reconstruction, stands there. */
static void check_image(const struct image *p, const struct world *w, size_t x, size_t y,
                        size_t scale, size_t i, int reconstruction)
{
    const size_t channels = w->data.channels;
    for (size_t row = 0; row < 18; row++)
        for (size_t column = 0; column < 20; column++)
            for (size_t c = 0; c < 3; c++) {
                const size_t from =
                    ((i * 18 + row) * 20 + column) * channels + (channels == 3 ? c : 0);
                const double value =
                    reconstruction ? (double)w->pictures[from] * 255 : w->data.pixels[from];
                for (size_t corner = 0; corner < 2; corner++) {
                    const size_t at = corner ? scale - 1 : 0;
                    const uint32_t got =
                        pixel(p, x + column * scale + at, y + row * scale + at) >> (16 - 8 * c) &
                        255;
                    /* A reconstruction depends on its batch by up to 1e-4. */
                    if (fabs((double)got - value) > 0.51)
                        fail_msg("image %zu at %zu, %zu: row %zu, column %zu: %u, not %g", i, x, y,
                                 row, column, got, value);
                }
            }
}

static void check_classes(size_t channels)
{
    struct world w;
    struct image p;
    struct capsnet_error error;
    world_create(&w, channels);
    assert_int_equal(sheet_of_classes(&p, w.ws, &w.data, NULL, 0, &error), CAPSNET_OK);
    /* 20 goes twice into 56: cells of 40 x 36, left of them 24 and a digit. */
    assert_int_equal(p.width, 10 + 24 + 12 * (40 + 12));
    assert_int_equal(p.height, 12 + 3 * (36 + 2 + 36 + 12));
    check_image(&p, &w, 34, 12, 2, 0, 0);
    check_image(&p, &w, 34, 12 + 38, 2, 0, 1);
    check_image(&p, &w, 34 + 11 * 52, 12, 2, 22, 0); /* the 12th of class 0 */
    check_image(&p, &w, 34 + 52, 12 + 86, 2, 3, 0);
    check_image(&p, &w, 34 + 52, 12 + 86 + 38, 2, 3, 1);
    check_image(&p, &w, 34, 12 + 2 * 86, 2, 7, 0);
    check_pixel(&p, 34 + 52, 12 + 2 * 86, WHITE); /* there is no second one */
    check_pixel(&p, 34, 12 + 36, WHITE);          /* the gap */
    check_pixel(&p, 12 + 4, 12 + 86 + 30, 0x333333); /* the stem of the label 1 */
    image_free(&p);

    const uint32_t index[] = {5, 0, 9};
    assert_int_equal(sheet_of_classes(&p, w.ws, &w.data, index, 3, &error), CAPSNET_OK);
    check_image(&p, &w, 34, 12 + 86, 2, 5, 0);
    check_image(&p, &w, 34 + 52, 12 + 86, 2, 9, 0);
    check_image(&p, &w, 34 + 52, 12 + 86 + 38, 2, 9, 1);
    image_free(&p);
    world_free(&w);
}

static void test_classes(void **state)
{
    (void)state;
    check_classes(1);
    check_classes(3);
}

static void rename_class(struct capsnet_model *model, size_t class_index, const char *label)
{
    free(model->labels[class_index]);
    model->labels[class_index] = strdup(label);
    assert_non_null(model->labels[class_index]);
}

static void test_mistakes(void **state)
{
    (void)state;
    struct world w;
    struct image p;
    struct capsnet_error error;
    size_t shown, wrong[50], n = 0;
    world_create(&w, 1);
    for (size_t i = 0; i < 50; i++)
        if (w.answers.answers[i] != w.data.labels[i])
            wrong[n++] = i;
    assert_int_equal(n, w.answers.wrong);
    assert_true(n > 7); /* a network that has learned nothing */
    assert_int_equal(sheet_of_mistakes(&p, &shown, w.ws, &w.data, &w.answers, &error),
                     CAPSNET_OK);
    assert_int_equal(shown, n);
    /* 20 goes four times into 84: pairs of 80 x 72, below them text. */
    assert_int_equal(p.width, 12 + 6 * (80 + 2 + 80 + 12));
    assert_int_equal(p.height, 12 + (n + 5) / 6 * (72 + 18 + 4 + 12));
    for (size_t i = 0; i < n; i++) {
        const size_t x = 12 + i % 6 * 174, y = 12 + i / 6 * 106;
        check_image(&p, &w, x, y, 4, wrong[i], 0);
        check_image(&p, &w, x + 82, y, 4, wrong[i], 1);
        check_pixel(&p, x + 12 + 8, y + 76 + 6, 0x333333); /* the tip of > */
    }
    image_free(&p);

    /* Long labels are cut on both sides of the sign: "aaaaaa>bbbbbb", 13 letters of
     * 12 pixels in the 174 of a pair less its space.  What is not ASCII goes by its
     * number: "#0>bbbbbbbbbb". */
    const size_t first = w.data.labels[wrong[0]], said = w.answers.answers[wrong[0]];
    rename_class(w.net.model, first, "aaaaaaaaaaaaaaaa");
    rename_class(w.net.model, said, "bbbbbbbbbbbbbbbb");
    assert_int_equal(sheet_of_mistakes(&p, &shown, w.ws, &w.data, &w.answers, &error),
                     CAPSNET_OK);
    check_pixel(&p, 12 + 6 * 12 + 8, 12 + 76 + 6, 0x333333);
    check_pixel(&p, 12 + 13 * 12 + 2, 12 + 76 + 6, WHITE);
    image_free(&p);
    rename_class(w.net.model, first, "\xe6\x97\xa5\xe6\x9c\xac");
    assert_int_equal(sheet_of_mistakes(&p, &shown, w.ws, &w.data, &w.answers, &error),
                     CAPSNET_OK);
    check_pixel(&p, 12 + 2 * 12 + 8, 12 + 76 + 6, 0x333333);
    image_free(&p);

    memcpy(w.answers.answers, w.data.labels, 50);
    w.answers.wrong = 0;
    assert_int_equal(sheet_of_mistakes(&p, &shown, w.ws, &w.data, &w.answers, &error),
                     CAPSNET_OK);
    assert_int_equal(shown, 0);
    image_free(&p);
    world_free(&w);
}

static void test_file(void **state)
{
    (void)state;
    struct image p = canvas(31, 17), read;
    struct image_message message;
    struct capsnet_error error = {""};
    size_t nbytes;
    canvas_fill(&p, 30, 16, 5, 5, 0x123456);
    assert_int_equal(picture_write(&p, in_folder("x.png"), &error), CAPSNET_OK);
    uint8_t *bytes = get_file("x.png", &nbytes);
    assert_int_equal(png_decode(&read, bytes, nbytes, 100, 3, &message), IMAGE_OK);
    assert_int_equal(read.width, 31);
    assert_int_equal(read.height, 17);
    assert_memory_equal(read.pixels, p.pixels, 31 * 17 * 3);
    check_pixel(&read, 30, 16, 0x123456);
    assert_int_equal(picture_write(&p, in_folder("no/x.png"), &error), CAPSNET_ERR_IO);
    assert_non_null(strstr(error.text, "no/x.png: cannot write the picture: No such file"));
    free(bytes);
    image_free(&p);
    image_free(&read);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),       cmocka_unit_test(test_line),
        cmocka_unit_test(test_curve),      cmocka_unit_test(test_odd_curves),
        cmocka_unit_test(test_classes),    cmocka_unit_test(test_mistakes),
        cmocka_unit_test_setup_teardown(test_file, folder_create, folder_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
