/* drawn_digit.c - see drawn_digit.h. */
#include "tests/common/drawn_digit.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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

struct image draw_four(size_t width, size_t height, double left, double top, double size,
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

struct image flat_image(size_t width, size_t height, size_t channels, int value)
{
    struct image image = {width, height, channels, malloc(width * height * channels)};
    assert_non_null(image.pixels);
    memset(image.pixels, value, width * height * channels);
    return image;
}

void make_digit(float *digit, const struct image *image, enum normalize_mode mode)
{
    struct image_message message;
    const struct normalize_form form = normalize_whole(N, N, image->channels);
    for (size_t i = 0; i < PIXELS * image->channels; i++)
        digit[i] = NAN; /* so that a pixel left out shows */
    assert_int_equal(normalize_image(digit, &form, image, mode, &message), IMAGE_OK);
}

void make_digit_of(float *digit, struct image image, enum normalize_mode mode)
{
    make_digit(digit, &image, mode);
    image_free(&image);
}

void check_digit(const float *digit, size_t channels, int blank)
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

double digit_difference(const float *a, const float *b)
{
    double sum = 0;
    for (size_t i = 0; i < PIXELS; i++)
        sum += fabs((double)a[i] - (double)b[i]);
    return sum / PIXELS;
}

int is_untouched(const float *digit, const struct image *image)
{
    for (size_t i = 0; i < PIXELS * image->channels; i++)
        if (digit[i] != (float)image->pixels[i] / 255.0f)
            return 0;
    return 1;
}
