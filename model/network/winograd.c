/*
 * winograd.c - see winograd.h.
 *
 * The points were searched for by the noise sqrt(mean over outputs of sum_p
 * |A[p][m]|^2), 2.2 for the ten roots of unity.  Of real points the best known
 * are +-0.416, +-0.801 and their inverses, 21.7; points_real has 21.8.  Points
 * that are not symmetric gave nothing better: from other starts the search ends
 * there too.  points_imaginary: 6.0, where the best of its kind has 5.9.
 * points_roots: 2.4.  In two dimensions it is the square of that.
 */
#include "model/network/winograd.h"

#include <complex.h>
#include <math.h>
#include <string.h>

const struct point_set points_real = {4, {{0.4, 0}, {0.8, 0}, {1.25, 0}, {2.5, 0}}};
const struct point_set points_imaginary = {4, {{0.5, 0}, {1, 0}, {2, 0}, {0, 1}}};
const struct point_set points_roots = {
    3, {{1, 0}, {0.70710678118654752440, 0.70710678118654752440}, {0, 1}}};

/* ---- Matrices ------------------------------------------------------------ */

enum { ZERO, INFINITY_POINT, FIRST_POINT };

/* The finite points, +p before -p, and for each pair of lines whether they are
 * the real and the imaginary part of one (an imaginary p). */
struct points {
    double complex at[POINTS]; /* [INFINITY_POINT] is not used */
    struct {
        double complex p; /* the pair is +-p */
        int part;         /* 0: real part of the lines +p and -p, 1: imaginary part */
        int is_split;
    } pair[POINTS / 2]; /* from 1 */
};

static void expand(struct points *points, struct point_matrix *shape, const struct point_set *set)
{
    size_t pair = 1, at = FIRST_POINT;
    memset(points, 0, sizeof *points);
    shape->reals = FIRST_POINT;
    shape->split = 0;
    memset(shape->imaginary, 0, sizeof shape->imaginary);
    for (size_t i = 0; i < set->n; i++) {
        const double re = set->of[i].re, im = set->of[i].im;
        const double complex p = re + im * I;
        points->at[at++] = p;
        points->at[at++] = -p;
        points->pair[pair].p = p;
        points->pair[pair].is_split = re != 0;
        if (im == 0) {
            shape->reals += 2;
        } else if (re == 0) {
            shape->imaginary[2 * pair] = (unsigned char)(2 * pair + 1);
        } else {
            points->at[at++] = conj(p);
            points->at[at++] = -conj(p);
            shape->imaginary[2 * pair] = (unsigned char)(2 * pair + 2);
            shape->imaginary[2 * pair + 1] = (unsigned char)(2 * pair + 3);
            shape->split++;
            pair++;
            points->pair[pair].p = p;
            points->pair[pair].part = 1;
            points->pair[pair].is_split = 1;
        }
        shape->split += re != 0;
        pair++;
    }
}

/* Coefficients of the polynomial that is 0 at all finite points but `except`
 * and 1 there; for infinity, 0 at all of them with leading coefficient 1. */
static void lagrange(double complex *row, const struct points *points, size_t except)
{
    memset(row, 0, POINTS * sizeof *row);
    row[0] = 1;
    for (size_t q = 0, degree = 0; q < POINTS; q++) {
        if (q == except || q == INFINITY_POINT)
            continue;
        const double complex scale =
            except == INFINITY_POINT ? 1 : 1 / (points->at[except] - points->at[q]);
        degree++;
        for (size_t i = degree + 1; i-- > 0;)
            row[i] = scale * ((i ? row[i - 1] : 0) - points->at[q] * (i < degree ? row[i] : 0));
    }
}

static void powers(double complex *row, const struct points *points, size_t point, size_t n)
{
    for (size_t i = 0; i < n; i++)
        row[i] = point == INFINITY_POINT ? i + 1 == n : i == 0 ? 1 : row[i - 1] * points->at[point];
}

static double norm(const double complex *row, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += creal(row[i] * conj(row[i]));
    return sqrt(sum);
}

/* Puts the row of a pair's +p, times scale, into its even and odd halves; that of
 * -p has the opposite odd one.  Pair 0 has two rows of its own. */
static void put(struct point_matrix *m, const struct points *points, size_t pair,
                const double complex *row, double complex scale)
{
    for (size_t i = 0; i < m->n; i++) {
        double complex x = row[i] * scale;
        const int imaginary = points->pair[pair].part ||
                              (!points->pair[pair].is_split && i % 2);
        *(i % 2 ? &m->odd[pair][i / 2] : &m->even[pair][i / 2]) =
            (float)(imaginary ? cimag(x) : creal(x));
    }
}

/* The rows of 0 and infinity: one value each but for B. */
static void put_ends(struct point_matrix *m, const double complex *zero,
                     const double complex *infinity, double zero_scale, double infinity_scale)
{
    if (m->n < POINTS) {
        m->even[0][0] = (float)zero_scale;
        m->odd[0][0] = (float)infinity_scale;
        return;
    }
    for (size_t i = 0; i < POINTS; i += 2) {
        m->even[0][i / 2] = (float)(creal(zero[i]) * zero_scale);
        m->odd[0][i / 2] = (float)(creal(infinity[i + 1]) * infinity_scale);
    }
}

static void make_matrices(struct winograd *w, const struct points *points)
{
    double complex a[TILE], b[POINTS], b_infinity[POINTS], g[TAPS];
    w->data.n = POINTS;
    w->output.n = TILE;
    w->kernel.n = TAPS;
    lagrange(b, points, ZERO);
    lagrange(b_infinity, points, INFINITY_POINT);
    put_ends(&w->data, b, b_infinity, 1 / norm(b, POINTS), 1 / norm(b_infinity, POINTS));
    put_ends(&w->output, NULL, NULL, norm(b, POINTS), norm(b_infinity, POINTS));
    put_ends(&w->kernel, NULL, NULL, 1, 1);
    for (size_t pair = 1, at = FIRST_POINT; pair < POINTS / 2; pair++) {
        /* A conjugate pair counts twice, of which the real part is wanted:
         * 2 Re(A y) = 2 Re A Re y - 2 Im A Im y. */
        const int is_complex = cimag(points->pair[pair].p) != 0;
        if (points->pair[pair].part)
            at -= 4;
        powers(a, points, at, TILE);
        powers(g, points, at, TAPS);
        lagrange(b, points, at);
        const double g_norm = norm(g, TAPS), b_norm = norm(b, POINTS);
        put(&w->data, points, pair, b, 1 / b_norm);
        put(&w->kernel, points, pair, g, 1 / g_norm);
        for (size_t i = 0; i < TILE && is_complex; i++)
            a[i] = 2 * conj(a[i]);
        put(&w->output, points, pair, a, g_norm * b_norm);
        at += is_complex && points->pair[pair].is_split ? 4 : 2;
    }
}

/* The kernel's matrix with its imaginary lines negated: the odd half of a pair that
 * is one line's two parts, all of a pair of imaginary parts. */
static void make_conjugate(struct winograd *w)
{
    struct point_matrix *m = &w->kernel_gradient;
    *m = w->kernel;
    for (size_t r = m->reals; r < POINTS; r += 2) {
        const size_t i = m->imaginary[r];
        for (size_t j = 0; i && j < POINTS / 2; j++) {
            m->even[i / 2][j] *= i == r + 1 ? 1 : -1;
            m->odd[i / 2][j] *= -1;
        }
    }
}

/* ---- Products ------------------------------------------------------------ */

/* The phases that take part at these two lines.  Phase 2 p + q of the kernel has
 * (kernel - p + 1) / 2 rows of taps and (kernel - q + 1) / 2 columns. */
static unsigned phases_at(size_t kernel, size_t y_line, size_t x_line)
{
    unsigned phases = 0;
    for (size_t phase = 0; phase < KERNEL_PHASES; phase++) {
        const size_t rows = (kernel - phase / 2 + 1) / 2, cols = (kernel - phase % 2 + 1) / 2;
        if ((y_line != INFINITY_POINT || rows == TAPS) &&
            (x_line != INFINITY_POINT || cols == TAPS))
            phases |= 1u << phase;
    }
    return phases;
}

static size_t count(unsigned phases)
{
    size_t n = 0;
    for (; phases; phases &= phases - 1)
        n++;
    return n;
}

/* Halved products of a kind take the two halves of their planes in turn. */
struct half {
    size_t x;
    int is_open;
};

static void add_product(struct winograd *w, struct half open[2], int is_complex, unsigned phases)
{
    struct winograd_product *p = &w->product[w->products++];
    struct half *half = &open[is_complex];
    const int is_half = count(phases) == KERNEL_PHASES / 2;
    *p = (struct winograd_product){.is_complex = is_complex,
                                   .phases = phases,
                                   .k = count(phases) * w->channels,
                                   .operand = w->operand_planes,
                                   .x = w->x_planes,
                                   .y = w->y_planes,
                                   .dy = w->dy_planes};
    w->y_planes += is_complex ? 2 : 1;
    w->dy_planes += is_complex ? 5 : 1;
    w->operand_planes += is_complex ? 3 : 1;
    if (is_half && half->is_open) {
        p->x = half->x;
        p->column = 2 * w->channels;
        half->is_open = 0;
        return;
    }
    if (is_half)
        *half = (struct half){p->x, 1};
    if (phases)
        w->x_planes += is_complex ? 3 : 1;
}

void winograd_init(struct winograd *w, const struct point_set *set, size_t kernel,
                   size_t channels)
{
    struct points points;
    struct half open[2] = {{0}};
    memset(w, 0, sizeof *w);
    w->channels = channels;
    expand(&points, &w->data, set);
    w->output = w->kernel = w->data;
    make_matrices(w, &points);
    make_conjugate(w);
    /* In the order of kernels.h. */
    const struct point_matrix *m = &w->data;
    for (size_t q = 0; q < m->reals; q++)
        for (size_t p = 0; p < m->reals; p++)
            add_product(w, open, 0, phases_at(kernel, p, q));
    for (size_t r = m->reals; r < POINTS; r++) {
        if (!m->imaginary[r])
            continue;
        for (size_t p = 0; p < m->reals; p++) {
            add_product(w, open, 1, phases_at(kernel, p, r));
            add_product(w, open, 1, phases_at(kernel, r, p));
        }
        for (size_t s = m->reals; s < POINTS; s++)
            for (size_t both = 0; m->imaginary[s] && both < 2; both++)
                add_product(w, open, 1, phases_at(kernel, s, r));
    }
}

double winograd_multiplications(const struct winograd *w)
{
    size_t sum = 0;
    for (size_t i = 0; i < w->products; i++)
        sum += w->product[i].k * (w->product[i].is_complex ? 3 : 1);
    return (double)sum / (double)(KERNEL_PHASES * w->channels);
}

static void place(struct planes *to, const struct winograd *w, size_t phase, size_t plane,
                  size_t channel, size_t complex_parts)
{
    size_t next = 0;
    for (size_t i = 0; i < w->products; i++) {
        const struct winograd_product *p = &w->product[i];
        const size_t before = count(p->phases & ((1u << phase) - 1));
        for (size_t part = 0; part < (p->is_complex ? complex_parts : 1); part++)
            to->at[next++] =
                p->phases >> phase & 1
                    ? (p->x + part) * plane + (p->column + before * w->channels) * channel
                    : NO_PLANE;
    }
}

void winograd_operand(struct planes *to, const struct winograd *w, size_t phase, size_t plane,
                      size_t channel)
{
    place(to, w, phase, plane, channel, 3);
}

void winograd_operand_gradient(struct planes *from, const struct winograd *w, size_t phase,
                               size_t plane, size_t channel)
{
    place(from, w, phase, plane, channel, 2);
}

void winograd_result(struct planes *to, const struct winograd *w, size_t plane)
{
    for (size_t i = 0; i < w->y_planes; i++)
        to->at[i] = i * plane;
}

void winograd_result_gradient(struct planes *to, const struct winograd *w, enum operand_side side,
                              size_t plane)
{
    size_t next = 0;
    for (size_t i = 0; i < w->products; i++) {
        const struct winograd_product *p = &w->product[i];
        for (size_t part = 0; part < (p->is_complex ? 3 : 1); part++)
            to->at[next++] = side == OPERAND_LEFT ? (p->dy + part) * plane
                             : part > 0           ? (p->dy + 2 + part) * plane
                                                  : NO_PLANE;
    }
}
