/*
 * strokes.c - digits, letters and doodles as strokes through points, with the
 * unsteadiness of a hand.
 *
 * A shape is text: points "x y" in hundredths of its box, x to the right, y
 * downwards; '|' lifts the pen.  A stroke is smooth through its points
 * (Catmull-Rom); a corner is where one stroke ends and the next begins.
 */
#include <math.h>
#include <stdlib.h>

#include "tests/accuracy/shapes.h"

static const char *const digits[10][6] = {
    {"50 2 25 12 12 45 18 80 45 98 75 88 88 55 80 18 52 2",
     "60 4 30 8 14 45 24 88 52 98 82 75 84 35 66 10 45 12",
     "40 3 14 24 10 60 28 92 58 97 84 72 86 36 70 10 40 3",
     "66 10 40 2 16 22 12 62 30 94 58 98 82 74 84 34 62 6 50 10"},
    {"50 0 50 50 50 100", "62 0 52 50 40 100", "28 24 54 2|54 2 53 50 52 98",
     "30 22 54 2|54 2 52 98|28 98 78 97", "18 40 60 2|60 2 58 98", "44 2 50 50 54 98"},
    {"14 26 28 7 52 2 76 14 76 36 54 62 14 96|14 96 86 95",
     "14 24 30 6 56 3 76 18 70 42 44 70 20 90 12 84 22 76 40 86 60 96 88 90",
     "16 24 28 7 52 2 74 14 74 36 54 62 14 95|14 95 30 88 53 93 70 97 90 90",
     "15 10 45 3 78 12|78 12 50 55 15 95|15 95 88 95"},
    {"20 12 42 2 68 9 72 27 56 42 40 47|40 47 64 49 80 64 74 86 50 98 26 94 14 84",
     "18 5 78 5|78 5 42 42|42 42 70 46 84 68 70 92 42 98 16 86",
     "18 14 42 2 72 10 72 32 46 46 76 54 82 78 60 97 30 96 12 82"},
    {"28 4 20 30 14 54|14 54 88 52|66 30 62 98", "24 4 20 52|20 52 88 50|74 4 68 98",
     "64 2 10 66|10 66 92 66|64 2 64 98", "70 98 66 2|66 2 12 60|12 60 90 62",
     "30 5 22 40 26 54 50 54 80 46|78 6 72 50 70 98"},
    {"80 4 28 5|28 5 22 42|22 42 48 36 78 50 80 76 56 97 16 90",
     "80 6 50 3 26 14 28 38 56 46 78 62 74 88 46 98 14 88",
     "30 6 26 44|26 44 54 38 80 54 78 80 52 97 18 90|30 6 84 2",
     "82 4 32 6|32 6 24 42|24 42 46 37 70 46 78 68 64 89 40 97 18 90"},
    {"68 3 36 24 18 58 22 88 48 99 76 86 78 62 54 50 28 60 19 74",
     "58 0 28 40 17 70|17 70 24 94 50 99 76 84 70 60 44 54 22 68",
     "74 8 50 4 26 28 17 62 28 94 56 98 78 80 68 58 42 56 22 72"},
    {"12 6 86 6|86 6 42 98", "12 6 86 6|86 6 42 98|34 52 78 50",
     "12 20 14 5|14 5 86 6|86 6 60 45 44 98", "10 12 40 6 84 8|84 8 62 40 48 98",
     "12 8 86 6|86 6 60 40 46 98|36 50 76 46"},
    {"74 14 48 2 24 14 32 36 54 50 76 70 66 94 40 98 22 84 30 62 54 46 72 30 74 14",
     "50 2 28 12 28 34 50 46 72 34 72 12 50 2|50 46 22 58 20 86 50 98 80 86 78 58 50 46",
     "78 10 50 2 28 16 36 36 60 52 74 74 56 97 28 92 24 72 48 50 72 30 80 8"},
    {"76 20 54 3 26 12 22 36 46 48 72 34 77 18|77 18 74 60 68 98",
     "76 22 54 3 26 12 22 36 46 48 72 34 77 20 77 60 64 92 40 98 20 90",
     "74 22 50 3 24 18 30 42 56 44 74 22|74 22 66 60 56 98",
     "70 6 40 4 22 24 34 46 62 40 76 14|76 14 76 60 74 98"},
};

static const char *const letters[] = {
    "8 98 50 2|50 2 92 98|24 62 76 62", "80 4 18 4|18 4 18 97|18 97 82 97|18 48 70 48",
    "80 4 20 4|20 4 20 98|20 48 66 48", "16 2 16 98|84 2 84 98|16 50 84 50",
    "18 2 18 98|80 2 18 54|36 44 84 98", "10 98 14 2|14 2 50 60|50 60 86 2|86 2 90 98",
    "16 98 16 2|16 2 84 98|84 98 84 2", "20 98 20 2|20 2 70 6 80 28 64 48 20 52",
    "20 98 20 2|20 2 70 6 78 26 64 46 20 50|44 50 84 98", "8 4 92 4|50 4 50 98",
    "6 2 28 98|28 98 50 30|50 30 72 98|72 98 94 2", "12 2 88 98|88 2 12 98",
    "10 2 50 50|90 2 50 50|50 50 50 98", "16 2 18 70 50 98 82 70 84 2",
};

static const char *const doodles[] = {
    "50 2 15 18 4 50 16 84 50 98 84 84 96 50 84 18 50 2|34 32 34 40|66 32 66 40|28 66 50 78 72 66",
    "50 2 78 96|78 96 4 36|4 36 96 36|96 36 22 96|22 96 50 2",
    "50 96 8 44 14 14 38 8 50 28|50 28 64 8 88 14 92 44 50 96",
    "12 46 12 98|12 98 88 98|88 98 88 46|4 50 50 4|50 4 96 50|40 98 40 66|40 66 60 66|60 66 60 98",
    "50 50 58 44 62 54 50 64 36 52 46 32 70 36 80 58 60 82 26 74 16 40 40 10 84 18 98 54",
    "4 50 96 50|62 20 96 50|96 50 62 80", "36 88 20 98 8 86 22 74 36 84|36 84 36 6|36 6 84 16|84 16 84 74",
    "4 60 14 20 26 80 38 20 50 80 62 20 74 80 86 20 96 60", "10 10 90 10|90 10 90 90|90 90 10 90|10 90 10 10",
    "50 4 4 92|4 92 96 92|96 92 50 4", "50 4 50 96|4 50 96 50|18 18 82 82|82 18 18 82",
};

/* The shape's own transformation: box to paper. */
struct hand {
    double left, top, xx, xy, yx, yy, wobble;
};

static struct hand make_hand(const struct place *place, double wide, struct chance *chance)
{
    const double slant = chance_between(chance, -0.12, 0.3);
    const double turn = place->turn + chance_between(chance, -0.08, 0.08);
    const double size = place->size, across = size * wide;
    return (struct hand){place->left, place->top,
                         across * cos(turn), -size * (sin(turn) + slant * cos(turn)),
                         across * sin(turn), size * (cos(turn) - slant * sin(turn)),
                         place->wobble};
}

static void put(const struct hand *hand, double x, double y, double *px, double *py)
{
    x -= 0.5, y -= 0.5;
    *px = hand->left + 0.5 * hypot(hand->xx, hand->yx) + hand->xx * x + hand->xy * y;
    *py = hand->top + 0.5 * hypot(hand->xy, hand->yy) + hand->yx * x + hand->yy * y;
}

enum { MOST_POINTS = 64, STEPS = 10 };

/* Draws one stroke through n points [x, y] of the box. */
static void draw_stroke(struct sheet *sheet, double (*points)[2], size_t n, const struct hand *hand,
                        double pen)
{
    double x0, y0, x1, y1;
    put(hand, points[0][0], points[0][1], &x0, &y0);
    for (size_t i = 0; i + 1 < n; i++) {
        const double *a = points[i ? i - 1 : 0], *b = points[i], *c = points[i + 1];
        const double *d = points[i + 2 < n ? i + 2 : n - 1];
        for (int s = 1; s <= STEPS; s++) {
            const double t = (double)s / STEPS;
            double at[2];
            for (int k = 0; k < 2; k++)
                at[k] = 0.5 * (2 * b[k] + (c[k] - a[k]) * t +
                               (2 * a[k] - 5 * b[k] + 4 * c[k] - d[k]) * t * t +
                               (3 * b[k] - a[k] - 3 * c[k] + d[k]) * t * t * t);
            put(hand, at[0], at[1], &x1, &y1);
            sheet_line(sheet, x0, y0, x1, y1, pen);
            x0 = x1, y0 = y1;
        }
    }
}

/* Draws a shape's text.  Where a stroke goes on from the last one's end, it
 * does so with the jitter too. */
static void draw_shape(struct sheet *sheet, const char *text, const struct hand *hand, double pen,
                       struct chance *chance)
{
    double points[MOST_POINTS][2], last[2] = {-1, -1}, moved[2] = {0, 0};
    size_t n = 0;
    for (;;) {
        char *end;
        const double x = strtod(text, &end);
        const double y = strtod(end, &end);
        const double at[2] = {x, y};
        const int joins = n == 0 && fabs(at[0] - last[0]) + fabs(at[1] - last[1]) < 0.5;
        for (int k = 0; k < 2; k++) {
            points[n][k] = joins ? moved[k] : at[k] / 100 + hand->wobble * chance_normal(chance);
            last[k] = at[k];
            moved[k] = points[n][k];
        }
        n++;
        text = end;
        if (*text == '|' || *text == 0) {
            draw_stroke(sheet, points, n, hand, pen * chance_between(chance, 0.9, 1.1));
            n = 0;
            if (*text++ == 0)
                return;
        }
    }
}

void draw_digit(struct sheet *sheet, size_t digit, const struct place *place, struct chance *chance)
{
    size_t styles = 0;
    while (styles < 6 && digits[digit][styles])
        styles++;
    const struct hand hand = make_hand(place, chance_between(chance, 0.5, 0.95), chance);
    draw_shape(sheet, digits[digit][chance_below(chance, styles)], &hand, place->pen, chance);
}

void draw_letter(struct sheet *sheet, const struct place *place, struct chance *chance)
{
    const struct hand hand = make_hand(place, chance_between(chance, 0.6, 1), chance);
    draw_shape(sheet, letters[chance_below(chance, sizeof letters / sizeof *letters)], &hand,
               place->pen, chance);
}

void draw_doodle(struct sheet *sheet, const struct place *place, struct chance *chance)
{
    const size_t kinds = sizeof doodles / sizeof *doodles;
    const size_t kind = chance_below(chance, kinds + 1);
    const struct hand hand = make_hand(place, chance_between(chance, 0.7, 1.2), chance);
    double points[12][2];
    if (kind < kinds) {
        draw_shape(sheet, doodles[kind], &hand, place->pen, chance);
        return;
    }
    for (size_t i = 0; i < 12; i++) /* a scribble */
        for (int k = 0; k < 2; k++)
            points[i][k] = chance_between(chance, 0, 1);
    draw_stroke(sheet, points, 12, &hand, place->pen);
}

/* ---- Filled shapes ------------------------------------------------------------- */

static const char *const garments[] = {
    "30 5 42 10 58 10 70 5 98 28 84 44 76 36 76 96 24 96 24 36 16 44 2 28", /* shirt */
    "26 2 74 2 80 98 58 98 50 30 42 98 20 98",                              /* trousers */
    "34 2 42 14 58 14 66 2 64 40 88 98 12 98 36 40",                        /* dress */
    "6 36 28 34 32 10 68 10 72 34 94 36 90 92 10 92",                       /* bag */
    "4 44 22 40 46 58 90 68 97 84 4 86",                                    /* shoe */
};

/* Is (x, y) inside the polygon of n corners?  Even-odd. */
static int is_inside(double (*corners)[2], size_t n, double x, double y)
{
    int inside = 0;
    for (size_t i = 0; i < n; i++) {
        const double *a = corners[i], *b = corners[(i + 1) % n];
        if ((a[1] > y) != (b[1] > y) && x < a[0] + (b[0] - a[0]) * (y - a[1]) / (b[1] - a[1]))
            inside = !inside;
    }
    return inside;
}

void draw_garment(struct sheet *sheet, const struct place *place, struct chance *chance)
{
    const char *text = garments[chance_below(chance, sizeof garments / sizeof *garments)];
    const struct hand hand = make_hand(place, chance_between(chance, 0.8, 1.1), chance);
    const double stripes = chance_between(chance, 5, 20), depth = chance_between(chance, 0, 0.4);
    double corners[16][2];
    size_t n = 0;
    while (*text) {
        char *end;
        const double x = strtod(text, &end) / 100, y = strtod(end, &end) / 100;
        put(&hand, x + place->wobble * chance_normal(chance),
            y + place->wobble * chance_normal(chance), &corners[n][0], &corners[n][1]);
        n++;
        text = end;
    }
    for (size_t y = 0; y < sheet->height; y++)
        for (size_t x = 0; x < sheet->width; x++)
            if (is_inside(corners, n, (double)x + 0.5, (double)y + 0.5))
                sheet->cover[y * sheet->width + x] =
                    (float)(1 - depth * (1 + sin((double)y / place->size * 6.28 * stripes)) / 2);
}

/* ---- MNIST ----------------------------------------------------------------------- */

static double image_at(const uint8_t *pixels, long y, long x)
{
    return x < 0 || y < 0 || x >= 28 || y >= 28 ? 0 : (double)pixels[y * 28 + x] / 255;
}

/* Cubic B-spline weights: smooth, so that no pixel corners show. */
static double smooth_at(const uint8_t *pixels, double y, double x)
{
    double sum = 0;
    for (long j = (long)floor(y) - 1; j <= (long)floor(y) + 2; j++)
        for (long i = (long)floor(x) - 1; i <= (long)floor(x) + 2; i++) {
            double weight = 1;
            const double apart[2] = {fabs(y - (double)j), fabs(x - (double)i)};
            for (int k = 0; k < 2; k++)
                weight *= apart[k] < 1 ? 2.0 / 3 - apart[k] * apart[k] * (1 - apart[k] / 2)
                          : apart[k] < 2 ? pow(2 - apart[k], 3) / 6 : 0;
            sum += weight * image_at(pixels, j, i);
        }
    return sum;
}

void draw_mnist(struct sheet *sheet, const uint8_t *pixels, const struct place *place,
                double heavier)
{
    const double scale = 20 / place->size, middle = place->size / 2;
    for (size_t y = 0; y < sheet->height; y++)
        for (size_t x = 0; x < sheet->width; x++) {
            const double dx = (double)x + 0.5 - place->left - middle;
            const double dy = (double)y + 0.5 - place->top - middle;
            const double u = cos(place->turn) * dx + sin(place->turn) * dy;
            const double v = cos(place->turn) * dy - sin(place->turn) * dx;
            if (fabs(u) > 0.72 * place->size || fabs(v) > 0.72 * place->size)
                continue;
            const double ink = smooth_at(pixels, v * scale + 13.5, u * scale + 13.5);
            /* The edge is where half the ink is; it stays a pixel soft. */
            const double sharp = fmax(1, fmin(6, 0.35 / scale));
            const double cover = fmax(0, fmin(1, (ink - 0.42 + heavier) * sharp + 0.5));
            sheet->cover[y * sheet->width + x] = (float)cover;
        }
}
