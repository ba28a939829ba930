/*
 * negatives.c - what is no digit, and two digits at once: see accuracy.h.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/accuracy/accuracy.h"
#include "tests/accuracy/kinds.h"

/* ---- No digit ------------------------------------------------------------------- */

enum { MOST = 10000 };

/* What was made of one kind of picture. */
struct tally {
    size_t n, refused, refused_by_error;
    float error_threshold;      /* of the error alone */
    float errors[MOST], lengths[MOST];
};

static void tally_reading(void *context, const struct reading *reading)
{
    struct tally *tally = context;
    const size_t i = tally->n;
    if (i == MOST)
        return;
    tally->errors[i] = reading->error;
    tally->lengths[i] = reading->lengths[reading->winner];
    tally->refused_by_error += reading->error > tally->error_threshold;
    tally->refused += !reading->is_known;
    tally->n++;
}

static int compare(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static float quantile_of(float *values, size_t n, double fraction)
{
    qsort(values, n, sizeof *values, compare);
    return n ? values[(size_t)(fraction * (double)(n - 1))] : NAN;
}

static void print_tally(const char *kind, struct tally *tally)
{
    const double percent = 100.0 / (double)tally->n;
    printf("| %-28s | %6zu | %6.2f | %6.2f | %.4f | %.4f |\n", kind, tally->n,
           percent * (double)tally->refused, percent * (double)tally->refused_by_error,
           (double)quantile_of(tally->errors, tally->n, 0.5),
           (double)quantile_of(tally->lengths, tally->n, 0.5));
    fflush(stdout);
}

static void start_tally(struct lab *lab, struct tally *tally)
{
    tally->n = tally->refused = tally->refused_by_error = 0;
    lab->batch.done = tally_reading;
    lab->batch.context = tally;
}

/* Letters, doodles and garments: in the plain kind, and as a canvas. */
static void tally_drawn(struct lab *lab, struct tally *tally, enum source_type type)
{
    struct chance chance = {lab->seed * 77 + (unsigned)type};
    start_tally(lab, tally);
    for (size_t i = 0; i < 2 * lab->images; i++) {
        const struct source source = {.type = type};
        size_t nbytes;
        uint8_t *png = kind_make(i % 2 ? 2 : 0, &source, &chance, &nbytes);
        batch_png(&lab->batch, 0, png, nbytes);
        free(png);
    }
    batch_flush(&lab->batch);
}

/* Pictures of pixels: blank paper, noise, and coarse noise. */
static void tally_pixels(struct lab *lab, struct tally *tally, int is_noise)
{
    struct chance chance = {lab->seed * 79 + (unsigned)is_noise};
    start_tally(lab, tally);
    for (size_t i = 0; i < lab->images; i++) {
        const size_t side = 28 + chance_below(&chance, 100), coarse = 1 + i % 8;
        const double paper = chance_between(&chance, 0, 1);
        struct picture picture = picture_new(side, side, 0);
        for (size_t p = 0; p < side * side * 3; p++)
            picture.rgb[p] = (float)paper;
        for (size_t p = 0; p < side * side && is_noise; p++) {
            const size_t from = p / side / coarse * coarse * side + p % side / coarse * coarse;
            const float value = (float)chance_between(&chance, 0, 1);
            for (size_t c = 0; c < 3; c++)
                picture.rgb[3 * p + c] = from == p ? value : picture.rgb[3 * from + c];
        }
        size_t nbytes;
        uint8_t *png = picture_png(&picture, PNG_GRAY_8, &nbytes);
        batch_png(&lab->batch, 0, png, nbytes);
        free(png);
        picture_free(&picture);
    }
    batch_flush(&lab->batch);
}

/* MNIST's images; upside down only 3, 4 and 7: the others turn into a digit, or
 * nearly. */
static void tally_mnist(struct lab *lab, struct tally *tally, int is_upside_down)
{
    start_tally(lab, tally);
    for (size_t i = 0; i < lab->mnist.n && i < MOST; i++) {
        const size_t label = lab->mnist.labels[i];
        const uint8_t *pixels = lab->mnist.pixels + i * SIDE * SIDE;
        if (is_upside_down && label != 3 && label != 4 && label != 7)
            continue;
        float *digit = batch_next(&lab->batch, label);
        for (size_t p = 0; p < SIDE * SIDE; p++)
            digit[p] = (float)pixels[is_upside_down ? SIDE * SIDE - 1 - p : p] / 255.0f;
    }
    batch_flush(&lab->batch);
}

void measure_negatives(struct lab *lab)
{
    struct tally *tally = calloc(1, sizeof *tally);
    if (!tally)
        fail("no memory");
    printf("\n\"in_distribution\": false, percent: by the file's rule; by the error alone, at a "
           "threshold that refuses 5 %% of MNIST's images\n\n"
           "| pictures                     |      n |   rule |  error | median error | length |\n"
           "|---|--:|--:|--:|--:|--:|\n");
    tally_mnist(lab, tally, 0);
    tally->error_threshold = quantile_of(tally->errors, tally->n, 0.95);
    tally_mnist(lab, tally, 0);
    print_tally("MNIST", tally);
    tally_mnist(lab, tally, 1);
    print_tally("3, 4, 7 upside down", tally);
    tally_drawn(lab, tally, SOURCE_LETTER);
    print_tally("letters", tally);
    tally_drawn(lab, tally, SOURCE_DOODLE);
    print_tally("doodles", tally);
    tally_drawn(lab, tally, SOURCE_GARMENT);
    print_tally("garments", tally);
    tally_pixels(lab, tally, 1);
    print_tally("noise", tally);
    tally_pixels(lab, tally, 0);
    print_tally("blank", tally);
    free(tally);
}

/* ---- Two digits ------------------------------------------------------------------- */

struct pairs {
    size_t n, in_top_two, exact, both_listed;
};

static void count_pair(void *context, const struct reading *reading)
{
    struct pairs *pairs = context;
    const size_t a = reading->label / CLASSES, b = reading->label % CLASSES;
    const float *v = reading->lengths;
    size_t longer_a = 0, longer_b = 0, listed = 0;
    for (size_t j = 0; j < CLASSES; j++) {
        longer_a += j != b && v[j] > v[a];
        longer_b += j != a && v[j] > v[b];
        listed += v[j] > 0.5f;
    }
    pairs->n++;
    pairs->in_top_two += longer_a == 0 && longer_b == 0;
    pairs->both_listed += v[a] > 0.5f && v[b] > 0.5f;
    pairs->exact += v[a] > 0.5f && v[b] > 0.5f && listed == 2;
}

/* Two images of different classes, each moved by up to 4 pixels, the brighter
 * pixel of both: the paper's MultiMNIST in a frame of 28.  What leaves the frame
 * is lost. */
void measure_pairs(struct lab *lab)
{
    struct chance chance = {lab->seed * 83};
    struct pairs pairs = {0};
    const size_t n = 10 * lab->images;

    lab->batch.done = count_pair;
    lab->batch.context = &pairs;
    for (size_t i = 0; i < n; i++) {
        const size_t a = chance_below(&chance, lab->mnist.n);
        size_t b = a;
        while (lab->mnist.labels[b] == lab->mnist.labels[a])
            b = chance_below(&chance, lab->mnist.n);
        float *digit = batch_next(&lab->batch,
                                  (size_t)lab->mnist.labels[a] * CLASSES + lab->mnist.labels[b]);
        memset(digit, 0, SIDE * SIDE * sizeof *digit);
        for (int k = 0; k < 2; k++) {
            const uint8_t *pixels = lab->mnist.pixels + (k ? b : a) * SIDE * SIDE;
            const long dx = (long)chance_below(&chance, 9) - 4, dy = (long)chance_below(&chance, 9) - 4;
            for (long y = 0; y < SIDE; y++)
                for (long x = 0; x < SIDE; x++) {
                    const long u = x - dx, v = y - dy;
                    if (u >= 0 && v >= 0 && u < SIDE && v < SIDE)
                        digit[y * SIDE + x] = fmaxf(digit[y * SIDE + x],
                                                    (float)pixels[v * SIDE + u] / 255.0f);
                }
        }
    }
    batch_flush(&lab->batch);
    printf("\nOverlapping pairs of MNIST's digits: %zu; both in the top two %.2f %%; both longer than "
           "0.5 %.2f %%; \"detected\" is exactly the pair %.2f %%\n", pairs.n,
           100.0 * (double)pairs.in_top_two / (double)pairs.n,
           100.0 * (double)pairs.both_listed / (double)pairs.n,
           100.0 * (double)pairs.exact / (double)pairs.n);
}
