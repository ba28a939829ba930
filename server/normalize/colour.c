/*
 * colour.c - see colour.h.
 *
 * The axis from paper to ink is the one along which near pixels differ most: light
 * and shadow change slowly, strokes within a fiftieth of the picture.  So it is
 * the principal axis of the differences between pixels that far apart.
 */
#include "server/normalize/colour.h"

#include <math.h>
#include <string.h>

#include "model/picture/luma.h"
#include "server/normalize/levels.h"

enum {
    PAPER = 192,   /* brightness that the paper gets: noise has room above */
    SAMPLES = 256, /* along either side, at most */
};

/* Luma will do while it shows this part of the squared difference: ink that is
 * half as strong in it as a gray of the same distance would be. */
#define ENOUGH 0.16

struct axis {
    double paper[3], towards[3]; /* the paper's colour; from it towards the ink, length 1 */
};

void colour_luma(uint8_t *plane, const struct image *image)
{
    for (size_t i = 0; i < image->width * image->height; i++)
        plane[i] = luma_of(image->pixels + 3 * i);
}

static void add_difference(double sums[3][3], const uint8_t *a, const uint8_t *b)
{
    const int d[3] = {a[0] - b[0], a[1] - b[1], a[2] - b[2]};
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            sums[i][j] += d[i] * d[j];
}

/* The sum of products of the differences of pixels that are `apart`, along rows
 * and columns. */
static void sum_differences(double sums[3][3], const struct image *image)
{
    const size_t w = image->width, h = image->height;
    const size_t apart = 1 + (w > h ? w : h) / 50, across = 1 + w / SAMPLES, down = 1 + h / SAMPLES;

    memset(sums, 0, 3 * sizeof *sums);
    for (size_t y = 0; y < h; y += down)
        for (size_t x = 0; x < w; x += across) {
            const uint8_t *at = image->pixels + 3 * (y * w + x);
            if (x + apart < w)
                add_difference(sums, at, at + 3 * apart);
            if (y + apart < h)
                add_difference(sums, at, at + 3 * w * apart);
        }
}

static double dot(const double a[3], const double b[3])
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

/* The principal axis of a symmetric matrix by power iteration, and how much lies
 * along it. */
static double find_principal(double axis[3], double sums[3][3])
{
    double next[3], length = 0;
    int most = 0;
    for (int i = 1; i < 3; i++)
        most = sums[i][i] > sums[most][most] ? i : most;
    memcpy(axis, sums[most], sizeof next);
    for (int round = 0; round < 20; round++) {
        length = sqrt(dot(axis, axis));
        if (length <= 0)
            return 0;
        for (int i = 0; i < 3; i++)
            axis[i] /= length;
        for (int i = 0; i < 3; i++)
            next[i] = dot(sums[i], axis);
        memcpy(axis, next, sizeof next);
    }
    length = sqrt(dot(axis, axis));
    for (int i = 0; i < 3 && length > 0; i++)
        axis[i] /= length;
    return length;
}

/* Finds the axis; returns 0 when luma will do. */
static int find_axis(struct axis *axis, const struct image *image)
{
    static const double luma[3] = {0.299, 0.587, 0.114};
    double sums[3][3], along[3], far = 0;

    sum_differences(sums, image);
    const double most = find_principal(axis->towards, sums);
    for (int i = 0; i < 3; i++)
        along[i] = dot(sums[i], luma);
    if (3 * dot(along, luma) >= ENOUGH * most)
        return 0;
    for (size_t c = 0; c < 3; c++) {
        size_t border[LEVELS];
        levels_of_border(border, image->pixels + c, image->width, image->height, 3);
        axis->paper[c] = levels_quantile(border, 0.5);
    }
    /* All pixels together lie on the ink's side of the paper. */
    const size_t count = image->width * image->height;
    for (size_t i = 0; i < count; i++)
        for (int c = 0; c < 3; c++)
            far += axis->towards[c] * (image->pixels[3 * i + (size_t)c] - axis->paper[c]);
    for (int c = 0; c < 3 && far < 0; c++)
        axis->towards[c] = -axis->towards[c];
    return 1;
}

void colour_contrast(uint8_t *plane, const struct image *image)
{
    struct axis axis;

    if (!find_axis(&axis, image)) {
        colour_luma(plane, image);
        return;
    }
    const double from = PAPER + 0.5 + dot(axis.towards, axis.paper);
    for (size_t i = 0; i < image->width * image->height; i++) {
        const uint8_t *at = image->pixels + 3 * i;
        const double value = from - dot(axis.towards, (double[]){at[0], at[1], at[2]});
        plane[i] = value < 0 ? 0 : value > 255 ? 255 : (uint8_t)value;
    }
}
