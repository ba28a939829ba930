/*
 * test_normalize_auto.c - what is taken as it is: MNIST's own pictures, and what
 * looks like them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/picture/png.h"
#include "model/train/data/idx.h"
#include "tests/common/drawn_digit.h"

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
        struct image image = draw_four(N, N, cases[i].left, cases[i].top, cases[i].size, cases[i].paper,
                                  cases[i].ink);
        make_digit(digit, &image, NORMALIZE_AUTO);
        make_digit(fitted, &image, NORMALIZE_FIT);
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
    struct image image = flat_image(N, N, 1, 0);
    (void)state;
    for (size_t y = 0; y < N; y++)
        image.pixels[y * N + 13] = image.pixels[y * N + 14] = 255;
    make_digit(digit, &image, NORMALIZE_AUTO);
    assert_false(is_untouched(digit, &image));
    check_digit(digit, 1, 0);
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
    make_digit(digit, image, NORMALIZE_AUTO);
    check_digit(digit, 1, 0);
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
            if (digit_difference(fitted, digits[n]) < digit_difference(fitted, digits[nearest]))
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
            make_digit(as_it_is, &image, NORMALIZE_AUTO);
            if (!is_untouched(as_it_is, &image))
                fail_msg("%s image %zu is not taken as it is", parts[p], i);
            if (i >= 10000)
                continue;
            make_digit(digit, &image, NORMALIZE_FIT);
            sum += digit_difference(as_it_is, digit) / 10000;
            differ += digit_difference(as_it_is, digit) > 0.02;
        }
        printf("%s: all %zu taken as they are; fitted, the first 10000 differ by %.5f on average, "
               "%zu by more than 0.02\n", parts[p], set.n, sum, differ);
        assert_true(sum < 0.002 && differ < 100);
        dataset_free(&set);
    }
}

static void test_none(void **state)
{
    float digit[PIXELS];
    struct image_message message = {""};
    const struct normalize_form form = normalize_whole(N, N, 1);
    struct image image = draw_four(N, N, 0, 0, 28, 200, 10);

    (void)state;
    make_digit(digit, &image, NORMALIZE_NONE);
    assert_true(is_untouched(digit, &image));
    image.height = 27;
    digit[0] = 42.0f;
    assert_int_equal(normalize_image(digit, &form, &image, NORMALIZE_NONE, &message),
                     IMAGE_INVALID);
    assert_string_equal(message.text,
                        "the image is 28 x 27 pixels, and without normalisation it must be 28 x 28");
    assert_true(digit[0] == 42.0f);
    image_free(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_auto),
        cmocka_unit_test(test_auto_full_height_stroke),
        cmocka_unit_test(test_own_digits),
        cmocka_unit_test(test_mnist),
        cmocka_unit_test(test_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
