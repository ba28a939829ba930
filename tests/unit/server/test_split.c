/*
 * test_split.c - pictures of numbers cut into candidates, and the best way through them.
 * No network: what is drawn is known, and whoever reads it here knows a digit by its box.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>
#include <time.h>

#include "server/split/split.h"
#include "tests/common/drawn_digit.h"

/* ---- Drawing ------------------------------------------------------------------------ */

enum { MOST = 16 };

static const struct normalize_form FORM = {N, N, 1, N, N, 1};

/* Dark ink on white, and where the digits are. */
struct page {
    struct image image;
    struct box boxes[MOST];
    size_t n;
};

static struct page blank_page(size_t width, size_t height)
{
    return (struct page){.image = flat_image(width, height, 1, 255)};
}

static void ink_line(struct page *page, double ax, double ay, double bx, double by, double pen)
{
    const double dx = bx - ax, dy = by - ay, square = fmax(1e-9, dx * dx + dy * dy);
    for (size_t y = 0; y < page->image.height; y++)
        for (size_t x = 0; x < page->image.width; x++) {
            const double px = (double)x + 0.5 - ax, py = (double)y + 0.5 - ay;
            const double t = fmax(0, fmin(1, (px * dx + py * dy) / square));
            const double far = hypot(px - t * dx, py - t * dy);
            uint8_t *at = &page->image.pixels[y * page->image.width + x];
            const uint8_t value = (uint8_t)(255 * fmax(0, fmin(1, far - pen / 2 + 0.5)));
            *at = value < *at ? value : *at;
        }
}

static void ink_ring(struct page *page, double left, double top, double width, double height,
                     double pen)
{
    enum { SIDES = 40 };
    double x0 = 0, y0 = 0;
    for (int i = 0; i <= SIDES; i++) {
        const double turn = 6.283185 * i / SIDES;
        const double x = left + width / 2 * (1 + cos(turn)), y = top + height / 2 * (1 + sin(turn));
        if (i > 0)
            ink_line(page, x0, y0, x, y, pen);
        x0 = x, y0 = y;
    }
}

static void note(struct page *page, double left, double top, double right, double bottom,
                 double pen)
{
    const double half = pen / 2;
    page->boxes[page->n++] = (struct box){(size_t)(left - half), (size_t)(top - half),
                                          (size_t)(right + half), (size_t)(bottom + half)};
}

/* A 0, or a 1, of that height. */
static void put_zero(struct page *page, double left, double top, double size)
{
    const double pen = size / 9;
    ink_ring(page, left, top, 0.6 * size, size, pen);
    note(page, left, top, left + 0.6 * size, top + size, pen);
}

static void put_one(struct page *page, double left, double top, double size)
{
    const double pen = size / 9;
    ink_line(page, left + 0.1 * size, top, left, top + size, pen);
    note(page, left, top, left + 0.1 * size, top + size, pen);
}

/* ---- Reading what is known ------------------------------------------------------------ */

/* How alike two boxes are: 1, the same, to 0 where a side is off by a quarter of the second
 * one's height. */
static double likeness(const struct box *a, const struct box *b)
{
    const long sides[] = {(long)a->x0 - (long)b->x0, (long)a->x1 - (long)b->x1,
                          (long)a->y0 - (long)b->y0, (long)a->y1 - (long)b->y1};
    long off = 0;
    for (size_t i = 0; i < 4; i++)
        off = labs(sides[i]) > off ? labs(sides[i]) : off;
    return fmax(0, 1 - 4 * (double)off / (double)(b->y1 - b->y0));
}

/* What must be true of any picture's candidates; free them. */
static void check_split(const struct split *split, const struct image *image)
{
    assert_in_range(split->n, 0, SPLIT_MOST_CANDIDATES);
    assert_in_range(split->n_pieces, 0, SPLIT_MOST_PIECES);
    for (size_t i = 0; i < split->n; i++) {
        const struct split_candidate *candidate = &split->candidates[i];
        assert_true(candidate->first < candidate->end && candidate->end <= split->n_pieces);
        assert_true(i == 0 || candidate->end >= candidate[-1].end);
        assert_true(candidate->box.x0 < candidate->box.x1 && candidate->box.x1 <= image->width);
        assert_true(candidate->box.y0 < candidate->box.y1 && candidate->box.y1 <= image->height);
        check_digit(split->digits + i * PIXELS, 1, 0);
    }
}

/* The boxes of a picture read by one who knows the page's digits, the better the more of one
 * a candidate shows, and nothing else. */
static size_t read_page(struct box *boxes, const struct page *page)
{
    static struct split_reading readings[SPLIT_MOST_CANDIDATES];
    size_t chosen[SPLIT_MOST_PIECES];
    struct image_message message;
    struct split split;
    assert_int_equal(split_image(&split, &FORM, &page->image, &message), IMAGE_OK);
    check_split(&split, &page->image);
    for (size_t i = 0; i < split.n; i++) {
        double most = 0;
        for (size_t k = 0; k < page->n; k++)
            most = fmax(most, likeness(&split.candidates[i].box, &page->boxes[k]));
        readings[i] = (struct split_reading){.length = (float)(0.2 + 0.78 * most), .second = 0.05f,
                                             .error = (float)(0.06 - 0.05 * most), .ink = 0.1f};
    }
    const size_t n = split_choose(chosen, &split, readings);
    assert_in_range(n, 0, split.n_pieces);
    for (size_t i = 0; i < n; i++) {
        assert_true(i == 0 || split.candidates[chosen[i]].first >=
                                  split.candidates[chosen[i - 1]].end);
        boxes[i] = split.candidates[chosen[i]].box;
    }
    split_free(&split);
    return n;
}

/* The digits of the page are read, in the order in which they were put there. */
static void expect_page(const struct page *page, const char *what)
{
    struct box boxes[SPLIT_MOST_PIECES];
    const size_t n = read_page(boxes, page);
    if (n != page->n)
        fail_msg("%s: %zu digits in place of %zu", what, n, page->n);
    for (size_t i = 0; i < n; i++)
        if (likeness(&boxes[i], &page->boxes[i]) < 0.4) /* 0.15 of the height */
            fail_msg("%s: digit %zu is at %zu,%zu to %zu,%zu", what, i, boxes[i].x0, boxes[i].y0,
                     boxes[i].x1, boxes[i].y1);
}

static void expect_and_free(struct page *page, const char *what)
{
    expect_page(page, what);
    for (size_t i = 0; i < page->image.width * page->image.height; i++)
        page->image.pixels[i] = (uint8_t)(255 - page->image.pixels[i]);
    expect_page(page, what); /* light on dark */
    image_free(&page->image);
}

/* ---- Layouts ---------------------------------------------------------------------------- */

static void a_row_is_read_from_left_to_right(void **state)
{
    (void)state;
    struct page page = blank_page(400, 120);
    for (int i = 0; i < 6; i++)
        (i % 3 == 1 ? put_one : put_zero)(&page, 20 + 62 * i, 30 + i % 2 * 6, 60);
    expect_and_free(&page, "a row");

    page = blank_page(120, 40); /* as small as MNIST's */
    for (int i = 0; i < 5; i++)
        (i % 2 ? put_one : put_zero)(&page, 8 + 22 * i, 9, 20);
    expect_and_free(&page, "a small row");

    page = blank_page(3000, 1200); /* is reduced on the way; the boxes are in its own pixels */
    for (int i = 0; i < 4; i++)
        (i % 2 ? put_one : put_zero)(&page, 200 + 700 * i, 250, 600);
    expect_page(&page, "a large row");
    image_free(&page.image);
}

static void lines_are_read_from_above(void **state)
{
    (void)state;
    struct page page = blank_page(330, 250);
    for (int line = 0; line < 3; line++)
        for (int i = 0; i < 4; i++)
            ((line + i) % 3 ? put_zero : put_one)(&page, 25 + 70 * i, 20 + 75 * line, 50);
    expect_and_free(&page, "three lines");

    page = blank_page(500, 330); /* slanting, the second one longer than the first */
    for (int i = 0; i < 4; i++)
        put_zero(&page, 20 + 60 * i, 120 - 18 * i, 50);
    for (int i = 0; i < 7; i++)
        (i % 2 ? put_zero : put_one)(&page, 20 + 60 * i, 230 - 18 * i, 50);
    expect_and_free(&page, "two slanting lines");

    page = blank_page(500, 250);
    for (int i = 0; i < 7; i++)
        put_zero(&page, 20 + 65 * i, 20 + 22 * i, 50);
    expect_and_free(&page, "down a slope");
}

/* The 1 between and the rings beside it run into each other. */
static void touching_digits_are_cut(void **state)
{
    (void)state;
    struct page page = blank_page(320, 120);
    put_zero(&page, 30, 25, 70);
    put_zero(&page, 79, 28, 70);
    ink_line(&page, 128, 25, 128, 95, 8);
    note(&page, 128, 25, 128, 95, 8);
    put_zero(&page, 220, 25, 70);
    expect_and_free(&page, "touching digits");

    page = blank_page(320, 120); /* joined by a stroke */
    put_zero(&page, 30, 25, 70);
    put_zero(&page, 92, 25, 70);
    ink_line(&page, 70, 60, 94, 62, 5);
    expect_and_free(&page, "digits that a stroke joins");
}

static void what_is_one_digit_stays_one(void **state)
{
    (void)state;
    struct page page = blank_page(300, 120);
    put_zero(&page, 30, 25, 70);
    /* Another, its pen lifted twice. */
    ink_ring(&page, 120, 25, 42, 70, 8);
    note(&page, 120, 25, 162, 95, 8);
    for (size_t y = 20; y < 100; y++)
        for (size_t x = 138; x < 144; x++)
            page.image.pixels[y * 300 + x] = 255;
    put_one(&page, 230, 25, 70);
    expect_and_free(&page, "a broken digit");

    page = blank_page(300, 120); /* the bar of a five, apart from it */
    put_zero(&page, 30, 25, 70);
    ink_ring(&page, 130, 55, 45, 42, 8);
    ink_line(&page, 142, 25, 178, 24, 8);
    note(&page, 130, 24, 180, 97, 8);
    put_one(&page, 240, 25, 70);
    expect_and_free(&page, "a digit and its bar");
}

static void what_belongs_to_no_digit_is_left_out(void **state)
{
    (void)state;
    struct page page = blank_page(400, 160);
    put_zero(&page, 40, 30, 70);
    put_one(&page, 140, 30, 70);
    put_zero(&page, 220, 30, 70);
    ink_line(&page, 30, 125, 300, 121, 4);                      /* a line under them */
    ink_line(&page, 350, 140, 352, 141, 3);                     /* specks */
    ink_line(&page, 195, 40, 196, 41, 3);
    ink_line(&page, 355, 30, 357, 30, 2);
    expect_and_free(&page, "a line and specks");
}

static void a_blank_picture_has_no_candidates(void **state)
{
    (void)state;
    static const size_t sides[] = {1, 2, 28, 300};
    for (size_t i = 0; i < 4; i++)
        for (int value = 0; value < 256; value += 85) {
            struct image image = flat_image(sides[i], 1 + sides[i] / 2, 1 + 2 * (i & 1), value);
            struct image_message message;
            struct split split;
            assert_int_equal(split_image(&split, &FORM, &image, &message), IMAGE_OK);
            assert_int_equal(split.n, 0);
            assert_int_equal(split_choose(NULL, &split, NULL), 0);
            split_free(&split);
            image_free(&image);
        }
}

/* A digit alone is what it is without being split. */
static void a_lone_digit_is_normalised_as_ever(void **state)
{
    (void)state;
    float digit[PIXELS];
    struct image image = draw_four(200, 160, 60, 30, 90, 240, 20);
    struct image_message message;
    struct split split;
    make_digit(digit, &image, NORMALIZE_FIT);
    assert_int_equal(split_image(&split, &FORM, &image, &message), IMAGE_OK);
    int is_there = 0;
    for (size_t i = 0; i < split.n; i++)
        is_there |= digit_difference(digit, split.digits + i * PIXELS) < 1e-6;
    assert_true(is_there);
    split_free(&split);
    image_free(&image);
}

/* ---- What nobody writes ------------------------------------------------------------------ */

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Cuts it, or refuses it with a clause; frees it. */
static enum image_status take(struct image image)
{
    static struct split_reading readings[SPLIT_MOST_CANDIDATES];
    size_t chosen[SPLIT_MOST_PIECES];
    struct image_message message = {""};
    struct split split;
    const enum image_status status = split_image(&split, &FORM, &image, &message);
    assert_true(status == IMAGE_OK || status == IMAGE_TOO_LARGE);
    assert_int_equal(status == IMAGE_OK, message.text[0] == 0);
    if (status == IMAGE_OK) {
        check_split(&split, &image);
        assert_in_range(split_choose(chosen, &split, readings), 0, split.n_pieces);
    }
    split_free(&split);
    image_free(&image);
    return status;
}

static void hostile_pictures_cost_bounded_time(void **state)
{
    (void)state;
    uint64_t random = 7;
    const double start = cpu_seconds();
    for (int kind = 0; kind < 5; kind++) {
        const size_t side = kind == 0 ? 4096 : 1024;
        struct image image = flat_image(side, side, 1, 255);
        for (size_t i = 0; i < side * side; i++) {
            const size_t x = i % side, y = i / side;
            const size_t from = (size_t)hypot((double)x - 512, (double)y - 512);
            image.pixels[i] = kind < 2    ? (uint8_t)next_random(&random)       /* noise */
                              : kind == 2 ? (x % 8 < 4 && y % 8 < 4 ? 0 : 255)  /* dots */
                              : kind == 3 ? (from % 6 < 3 ? 0 : 255)            /* rings */
                                          : (x % 6 < 3 && y % 40 ? 0 : 255);    /* bars */
        }
        const enum image_status status = take(image);
        assert_true(kind != 2 || status == IMAGE_TOO_LARGE);
    }
    /* Some 0.3 s; a sanitizer's build on a busy machine takes ten times that. */
    assert_true(cpu_seconds() - start < 15);
}

/* Random pictures of every small size, whole and in few levels. */
static void random_pictures_are_cut_or_refused(void **state)
{
    (void)state;
    const char *seed = getenv("SEED");
    uint64_t random = seed ? strtoul(seed, NULL, 10) : (uint64_t)time(NULL);
    printf("SEED=%llu\n", (unsigned long long)random);
    for (int i = 0; i < 400; i++) {
        const size_t w = 1 + next_random(&random) % 90, h = 1 + next_random(&random) % 60;
        const size_t channels = next_random(&random) % 2 ? 3 : 1;
        const size_t block = 1 + next_random(&random) % 9;
        const unsigned share = (unsigned)(next_random(&random) % 200);
        const uint64_t salt = next_random(&random);
        struct image image = flat_image(w, h, channels, 255);
        for (size_t k = 0; k < w * h * channels; k++) {
            uint64_t own = salt + k / channels % w / block + 1000 * (k / channels / w / block);
            image.pixels[k] = next_random(&own) % 256 < share ? (uint8_t)next_random(&own) : 255;
        }
        take(image);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_is_read_from_left_to_right),
        cmocka_unit_test(lines_are_read_from_above),
        cmocka_unit_test(touching_digits_are_cut),
        cmocka_unit_test(what_is_one_digit_stays_one),
        cmocka_unit_test(what_belongs_to_no_digit_is_left_out),
        cmocka_unit_test(a_blank_picture_has_no_candidates),
        cmocka_unit_test(a_lone_digit_is_normalised_as_ever),
        cmocka_unit_test(hostile_pictures_cost_bounded_time),
        cmocka_unit_test(random_pictures_are_cut_or_refused),
    };
    return cmocka_run_group_tests_name("server split", tests, NULL, NULL);
}
