/* lines.c - see lines.h. */
#include "server/split/lines.h"

#include <math.h>
#include <stdlib.h>

#include "server/normalize/levels.h"

/* All as parts of the usual height. */
#define LEAST_TALL 0.45 /* lower is a piece, or a speck */
#define MOST_TALL 2.5   /* taller is no writing */
#define MOST_LONG 0.9   /* a piece that is longer is an underline, or no writing */
#define ONE_DIGIT 1.6   /* a digit is no wider than that by its own height */
#define NEAR 0.35       /* how far a piece may be from the digit that it belongs to */
#define OFF_LINE 0.6    /* how far a digit's middle may be above or below its line */

/* A piece has this part of a digit's ink at least: a dot of a pen is a speck. */
enum { SPECK = 40 };

static double width_of(const struct box *box)
{
    return (double)(box->x1 - box->x0);
}

static double height_of(const struct box *box)
{
    return (double)(box->y1 - box->y0);
}

static double middle_x(const struct box *box)
{
    return (double)(box->x0 + box->x1) / 2;
}

static double middle_y(const struct box *box)
{
    return (double)(box->y0 + box->y1) / 2;
}

static int compare(const void *a, const void *b)
{
    const size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

/* How high the writing of a blot is: of one that is too wide to be a digit, what nine in ten
 * of its columns do not exceed from their highest ink to their lowest. */
static double writing_height(const struct blots *blots, const struct ink *ink, size_t i)
{
    enum { COLUMNS = 256 };
    const struct box *box = &blots->list[i].box;
    const size_t w = box->x1 - box->x0;
    size_t heights[COLUMNS], n = 0;
    if ((double)w <= ONE_DIGIT * height_of(box))
        return height_of(box);
    for (size_t x = box->x0; x < box->x1; x += 1 + w / COLUMNS) {
        size_t top = box->y1, bottom = box->y0;
        for (size_t y = box->y0; y < box->y1; y++)
            if (blots->label[y * ink->width + x] == i + 1) {
                top = y < top ? y : top;
                bottom = y + 1;
            }
        heights[n++] = bottom > top ? bottom - top : 0;
    }
    qsort(heights, n, sizeof *heights, compare);
    return (double)heights[n * 9 / 10];
}

/* Does it lie along the picture's edge, and there are others? */
static int is_left_out(const struct blots *blots, const struct blot *blot, int has_writing)
{
    return blot->most <= blots->high || (has_writing && blot->is_alien);
}

static int has_writing(const struct blots *blots)
{
    for (size_t i = 0; i < blots->n; i++)
        if (!is_left_out(blots, &blots->list[i], 1))
            return 1;
    return 0;
}

/* Half of the ink is in blots that are at most so high. */
double lines_height(const struct blots *blots, const struct ink *ink)
{
    enum { FEWEST = 4 }; /* pixels */
    const int is_some = has_writing(blots);
    const size_t most = ink->height + 1;
    size_t *mass = calloc(most, sizeof *mass), all = 0, sum = 0;
    double height = 0;
    if (!mass)
        return 0;
    for (size_t i = 0; i < blots->n; i++) {
        const struct blot *blot = &blots->list[i];
        if (is_left_out(blots, blot, is_some) || blot->count < FEWEST)
            continue;
        mass[(size_t)writing_height(blots, ink, i)] += blot->mass;
        all += blot->mass;
    }
    for (size_t i = 0; i < most && all > 0; i++) {
        sum += mass[i];
        if (2 * sum >= all) {
            height = (double)i;
            break;
        }
    }
    free(mass);
    return height;
}

/* ---- Lines ------------------------------------------------------------------------- */

/* A line of writing, as far as it has been followed. */
struct line {
    double first_x, first_y, last_x, last_y;
    double slope;        /* of its last steps */
    double sum_x, sum_y; /* of its parts' middles */
    size_t n, old;
    double place; /* how far down it stands */
};

static int by_x(const void *a, const void *b)
{
    const double x = middle_x(&((const struct part *)a)->box);
    const double y = middle_x(&((const struct part *)b)->box);
    return (x > y) - (x < y);
}

static int by_place(const void *a, const void *b)
{
    const double x = ((const struct line *)a)->place, y = ((const struct line *)b)->place;
    return (x > y) - (x < y);
}

static void go_on(struct line *line, double x, double y, double height)
{
    const double dx = x - line->last_x;
    if (line->n == 0)
        *line = (struct line){.first_x = x, .first_y = y};
    else if (dx > 0.3 * height)
        line->slope = fmax(-0.6, fmin(0.6, (line->slope + (y - line->last_y) / dx) / 2));
    line->last_x = x;
    line->last_y = y;
    line->sum_x += x;
    line->sum_y += y;
    line->n++;
}

/* From left to right, each part goes on the line that leads to it most nearly, or begins
 * another.  lines: [n].  Returns how many there are. */
static size_t follow_lines(struct line *lines, struct part *parts, size_t n, double height)
{
    size_t n_lines = 0;
    for (size_t i = 0; i < n; i++) {
        const double x = middle_x(&parts[i].box), y = middle_y(&parts[i].box);
        double least = OFF_LINE * height;
        size_t line = n_lines;
        for (size_t k = 0; k < n_lines; k++) {
            const double lead = fmin(x - lines[k].last_x, 3 * height);
            const double off = fabs(y - lines[k].last_y - lines[k].slope * lead);
            if (off < least) {
                least = off;
                line = k;
            }
        }
        if (line == n_lines)
            lines[n_lines++] = (struct line){.n = 0};
        go_on(&lines[line], x, y, height);
        parts[i].line = line;
    }
    return n_lines;
}

/* Numbers the lines from above, as the page lies when its lines are level. */
static void number_lines(struct line *lines, size_t n_lines, struct part *parts, size_t n,
                         size_t *number)
{
    double run = 1e-9, rise = 0;
    for (size_t k = 0; k < n_lines; k++) {
        run += lines[k].last_x - lines[k].first_x;
        rise += lines[k].last_y - lines[k].first_y;
        lines[k].old = k;
    }
    for (size_t k = 0; k < n_lines; k++)
        lines[k].place = (lines[k].sum_y - rise / run * lines[k].sum_x) / (double)lines[k].n;
    qsort(lines, n_lines, sizeof *lines, by_place);
    for (size_t k = 0; k < n_lines; k++)
        number[lines[k].old] = k;
    for (size_t i = 0; i < n; i++)
        parts[i].line = number[parts[i].line];
}

/* ---- Small pieces ------------------------------------------------------------------ */

static double gap(size_t a0, size_t a1, size_t b0, size_t b1)
{
    return a1 < b0 ? (double)(b0 - a1) : b1 < a0 ? (double)(a0 - b1) : 0;
}

/* The part that a small box is nearest to; n: none is near. */
static size_t nearest(const struct part *parts, size_t n, const struct box *box, double height)
{
    double least = NEAR * height;
    size_t at = n;
    for (size_t i = 0; i < n; i++) {
        const struct box *own = &parts[i].box;
        const double off = fmax(gap(own->x0, own->x1, box->x0, box->x1),
                                gap(own->y0, own->y1, box->y0, box->y1));
        if (off < least) {
            least = off;
            at = i;
        }
    }
    return at;
}

size_t lines_find(struct part *parts, size_t most, const struct blots *blots, const struct ink *ink,
                  double height)
{
    const int is_some = has_writing(blots);
    size_t n = 0, mass = 0;
    for (size_t i = 0; i < blots->n; i++) {
        const struct blot *blot = &blots->list[i];
        if (is_left_out(blots, blot, is_some) || height_of(&blot->box) < LEAST_TALL * height)
            continue;
        const double own = writing_height(blots, ink, i);
        if (own < LEAST_TALL * height || own > MOST_TALL * height)
            continue;
        if (n == most)
            return most + 1;
        parts[n++] = (struct part){.blot = i, .box = blot->box, .height = own};
        mass += blot->mass;
    }
    struct line *lines = calloc(2 * n + 1, sizeof *lines);
    size_t *number = calloc(n + 1, sizeof *number);
    if (lines && number) {
        qsort(parts, n, sizeof *parts, by_x);
        number_lines(lines, follow_lines(lines, parts, n, height), parts, n, number);
    }
    free(lines);
    free(number);
    const size_t large = n;
    for (size_t i = 0; i < blots->n && n > 0; i++) {
        const struct blot *blot = &blots->list[i];
        const struct box *box = &blot->box;
        if (is_left_out(blots, blot, is_some) || height_of(box) >= LEAST_TALL * height ||
            width_of(box) > MOST_LONG * height || blot->mass * SPECK * large < mass)
            continue;
        const size_t at = nearest(parts, large, box, height);
        if (at == large)
            continue;
        if (n == most)
            return most + 1;
        parts[n++] = (struct part){.blot = i, .box = *box, .height = height_of(box), .is_small = 1,
                                   .line = parts[at].line};
    }
    return n;
}
