/*
 * test_kernels_winograd.c - the transforms to ten points a direction of every CPU
 * level against their matrices in double precision, and the matrices against the
 * equation that they are for.  test_winograd_convolution.c has all of it together.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/common/kernel_check.h"
#include "tests/common/winograd_reference.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* ---- Matrices as they are meant ------------------------------------------- */

/* sum over points of A[p][m] G[p][j] B[p][n] is 1 where n = m + j, else 0. */
static void check_equation(const struct winograd *w, struct worst *worst, const char *name)
{
    const struct point_matrix *a = &w->output, *b = &w->data, *g = &w->kernel;
    for (size_t m = 0; m < a->n; m++)
        for (size_t j = 0; j < g->n; j++)
            for (size_t n = 0; n < b->n; n++) {
                double sum = 0, size = 0;
                for (size_t p = 0; p < POINTS; p++) {
                    const size_t i = a->imaginary[p];
                    if (p < a->reals) {
                        sum += line_at(a, p, m) * line_at(g, p, j) * line_at(b, p, n);
                    } else if (i) { /* A's lines are the factors of re and im */
                        sum += line_at(a, p, m) * (line_at(g, p, j) * line_at(b, p, n) -
                                                   line_at(g, i, j) * line_at(b, i, n));
                        sum += line_at(a, i, m) * (line_at(g, p, j) * line_at(b, i, n) +
                                                   line_at(g, i, j) * line_at(b, p, n));
                    }
                    size += line_size(a, p, m) * line_size(g, p, j) * line_size(b, p, n);
                }
                check_value(worst, sum, n == m + j, 3 * ROUNDING * size,
                            "%s points: output %zu, tap %zu, input %zu", name, m, j, n);
            }
}

/* Rows have norm 1 and the noise is as documented, to the digits given there. */
static void check_noise(const struct winograd *w, struct worst *worst, const char *name,
                        double noise)
{
    double sum = 0;
    for (size_t p = 0; p < POINTS; p++) {
        for (size_t m = 0; m < TILE; m++)
            sum += pow(line_at(&w->output, p, m), 2) / TILE / (p < w->output.reals ? 1 : 2);
        double norms[2] = {0, 0};
        const size_t i = w->data.imaginary[p];
        if (p >= w->data.reals && !i)
            continue;
        for (size_t n = 0; n < POINTS; n++)
            norms[0] += pow(line_at(&w->data, p, n), 2) + (i ? pow(line_at(&w->data, i, n), 2) : 0);
        for (size_t n = 0; n < TAPS; n++)
            norms[1] +=
                pow(line_at(&w->kernel, p, n), 2) + (i ? pow(line_at(&w->kernel, i, n), 2) : 0);
        for (size_t k = 0; k < 2; k++)
            check_value(worst, norms[k], 1, 1e-6, "%s points: norm of line %zu", name, p);
    }
    check_value(worst, sqrt(sum), noise, 0.05, "noise of the %s points", name);
}

static void test_points(const struct kernels *k, struct random *random, struct worst *worst)
{
    (void)k;
    (void)random;
    for (size_t i = 0; i < WINOGRAD_SETS; i++) {
        struct winograd w;
        size_t quarters = 0;
        winograd_init(&w, winograd_sets[i].set, 9, 16);
        check_equation(&w, worst, winograd_sets[i].name);
        check_noise(&w, worst, winograd_sets[i].name, winograd_sets[i].noise);
        for (size_t p = 0; p < w.products; p++)
            quarters += (w.product[p].is_complex ? 3 : 1) * w.product[p].k / 16;
        check_value(worst, (double)quarters, (double)winograd_sets[i].quarters, 0,
                    "%s: multiplications", winograd_sets[i].name);
        check_value(worst, (double)w.x_planes, (double)winograd_sets[i].x_planes, 0, "%s: planes",
                    winograd_sets[i].name);
    }
}

/* No two values share a place, whatever the kernel: what all phases of a
 * transform write is all that the products read. */
static void test_places(const struct kernels *k, struct random *random, struct worst *worst)
{
    enum { CHANNELS = 2, ROW = KERNEL_PHASES * CHANNELS };
    (void)k;
    (void)random;
    for (size_t set = 0; set < WINOGRAD_SETS; set++)
        for (size_t kernel = 1; kernel <= 10; kernel++) {
            struct winograd w;
            unsigned char written[POINT_PLANES][ROW] = {{0}};
            winograd_init(&w, winograd_sets[set].set, kernel, CHANNELS);
            assert_true(w.x_planes <= POINT_PLANES && w.operand_planes <= POINT_PLANES);
            for (size_t phase = 0; phase < KERNEL_PHASES; phase++) {
                struct planes to;
                winograd_operand(&to, &w, phase, ROW, 1);
                for (size_t p = 0; p < w.operand_planes; p++)
                    for (size_t c = 0; to.at[p] != NO_PLANE && c < CHANNELS; c++)
                        written[to.at[p] / ROW][to.at[p] % ROW + c]++;
            }
            for (size_t i = 0; i < w.products; i++)
                for (size_t part = 0; part < (w.product[i].is_complex ? 3 : 1); part++)
                    for (size_t c = 0; c < w.product[i].k; c++)
                        check_value(worst,
                                    written[w.product[i].x + part][w.product[i].column + c]++, 1, 0,
                                    "%s, kernel %zu: product %zu", winograd_sets[set].name, kernel,
                                    i);
        }
}

/* ---- Transforms ----------------------------------------------------------- */

/* Some layout of a rows x cols patch: channels last with gaps, every second
 * pixel of an image, or columns first. */
static struct patch random_patch(struct random *random, size_t rows, size_t cols)
{
    const size_t gap = KERNEL_PAD * random_below(random, 3);
    switch (random_below(random, 3)) {
    case 0: return (struct patch){rows, cols, cols * KERNEL_PAD + gap, KERNEL_PAD};
    case 1: return (struct patch){rows, cols, 2 * cols * 3 * KERNEL_PAD + gap, 3 * KERNEL_PAD};
    default: return (struct patch){rows, cols, KERNEL_PAD, rows * KERNEL_PAD + gap};
    }
}

static size_t patch_count(const struct patch *p)
{
    if (!p->rows || !p->cols)
        return 0;
    return (p->rows - 1) * p->row_stride + (p->cols - 1) * p->col_stride + KERNEL_PAD;
}

/* Random pixels, in one case of four all zero but one. */
static float *random_pixels(struct random *random, const struct patch *p, enum magnitude magnitude)
{
    float *data = check_floats(patch_count(p));
    const size_t impulse = random_below(random, 4 * (p->rows * p->cols + 1));
    canary_fill(data, patch_count(p));
    for (size_t y = 0; y < p->rows; y++)
        for (size_t x = 0; x < p->cols; x++) {
            float *pixel = data + patch_at(p, y, x);
            if (impulse < p->rows * p->cols && impulse != y * p->cols + x)
                memset(pixel, 0, KERNEL_PAD * sizeof *pixel);
            else
                random_fill(random, pixel, KERNEL_PAD, magnitude);
        }
    return data;
}

/* Planes in some order, one of ten not stored. */
static size_t random_planes(struct random *random, struct planes *planes, size_t n, size_t stride)
{
    for (size_t p = 0; p < n; p++)
        planes->at[p] = p * stride;
    for (size_t p = n; p > 1; p--) {
        const size_t other = random_below(random, p), at = planes->at[other];
        planes->at[other] = planes->at[p - 1];
        planes->at[p - 1] = at;
    }
    for (size_t p = 0; p < n; p++)
        if (random_below(random, 10) == 0)
            planes->at[p] = NO_PLANE;
    return n ? (n - 1) * stride + KERNEL_PAD : 0;
}

/* Which lines, (y, x), make a plane: sum of sign * value over the terms, the
 * imaginary ones last. */
struct plane_terms {
    size_t n;
    struct {
        size_t y, x;
        double sign;
    } term[4];
};

/* The re and im of each value in kernels.h's order; returns how many, of which
 * the first reals * reals have no im. */
static size_t enumerate(const struct point_matrix *m, struct plane_terms (*v)[2])
{
    size_t n = 0;
    const unsigned char *im = m->imaginary;
    for (size_t q = 0; q < m->reals; q++)
        for (size_t p = 0; p < m->reals; p++)
            v[n++][0] = (struct plane_terms){1, {{p, q, 1}}};
    for (size_t r = m->reals; r < POINTS; r++) {
        if (!im[r])
            continue;
        for (size_t p = 0; p < m->reals; p++) {
            v[n][0] = (struct plane_terms){1, {{p, r, 1}}};
            v[n++][1] = (struct plane_terms){1, {{p, im[r], 1}}};
            v[n][0] = (struct plane_terms){1, {{r, p, 1}}};
            v[n++][1] = (struct plane_terms){1, {{im[r], p, 1}}};
        }
        for (size_t s = m->reals; s < POINTS; s++)
            for (int conj = 0; im[s] && conj < 2; conj++) {
                const double sign = conj ? -1 : 1;
                v[n][0] = (struct plane_terms){2, {{s, r, 1}, {im[s], im[r], -sign}}};
                v[n++][1] = (struct plane_terms){2, {{im[s], r, 1}, {s, im[r], sign}}};
            }
    }
    return n;
}

/* M X M^T of one channel, and of the magnitudes. */
static void transformed(double value[POINTS][POINTS], double size[POINTS][POINTS],
                        const struct point_matrix *m, const float *src, const struct patch *patch)
{
    for (size_t p = 0; p < POINTS; p++)
        for (size_t q = 0; q < POINTS; q++) {
            value[p][q] = size[p][q] = 0;
            for (size_t y = 0; y < patch->rows; y++)
                for (size_t x = 0; x < patch->cols; x++) {
                    const double v = line_at(m, p, y) * line_at(m, q, x) *
                                     (double)src[patch_at(patch, y, x)];
                    value[p][q] += v;
                    size[p][q] += fabs(v);
                }
        }
}

static void sum_terms(double *value, double *size, const struct plane_terms *terms,
                      double (*values)[POINTS], double (*sizes)[POINTS])
{
    for (size_t t = 0; t < terms->n; t++) {
        *value += terms->term[t].sign * values[terms->term[t].y][terms->term[t].x];
        *size += sizes[terms->term[t].y][terms->term[t].x];
    }
}

static void check_channel(const struct point_matrix *m, const float *dst,
                          const struct planes *planes, enum operand_side side, const float *src,
                          const struct patch *patch, struct worst *worst)
{
    double values[POINTS][POINTS], sizes[POINTS][POINTS];
    static struct plane_terms terms[POINT_VALUES][2];
    const size_t n = enumerate(m, terms);
    transformed(values, sizes, m, src, patch);
    for (size_t i = 0, plane = 0; i < n; i++) {
        const size_t parts = i < m->reals * m->reals ? 1 : 3;
        double re = 0, im = 0, size = 0;
        sum_terms(&re, &size, &terms[i][0], values, sizes);
        if (parts == 3)
            sum_terms(&im, &size, &terms[i][1], values, sizes);
        const double want[2][3] = {{re, im, re + im}, {re, im - re, -(re + im)}};
        for (size_t part = 0; part < parts; part++, plane++)
            if (planes->at[plane] != NO_PLANE)
                check_value(worst, (double)dst[planes->at[plane]], want[side][part],
                            TRANSFORM_ROUNDINGS * (ROUNDING * size + 100 * (double)FLT_TRUE_MIN),
                            "value %zu, part %zu", i, part);
    }
}

static size_t operand_planes(const struct point_matrix *m)
{
    return m->reals * m->reals + (POINT_VALUES - m->reals * m->reals) / 2 * 3;
}

static void to_points_case(const struct kernels *k, struct random *random, struct worst *worst,
                           const struct point_matrix *m, size_t rows, size_t cols,
                           enum operand_side operand)
{
    const struct patch patch = random_patch(random, rows, cols);
    const enum magnitude magnitude = random_below(random, 4) ? MAGNITUDE_ONE : MAGNITUDE_HOSTILE;
    float *src = random_pixels(random, &patch, magnitude), *dst[SIDES];
    const size_t stride = KERNEL_PAD * (1 + random_below(random, 3));
    struct planes planes;
    const size_t count = random_planes(random, &planes, operand_planes(m), stride);
    float *seen = check_floats(count);
    for (enum side side = 0; side < SIDES; side++) {
        dst[side] = guard_output(count, side);
        k->to_points(dst[side], &planes, operand, m, guard_input(src, patch_count(&patch), side),
                     &patch);
    }
    check_bits(dst[0], dst[1], count, "to_points");
    for (size_t channel = 0; channel < KERNEL_PAD; channel++)
        check_channel(m, dst[0] + channel, &planes, operand, src + channel, &patch, worst);
    for (size_t p = 0; p < operand_planes(m); p++)
        for (size_t c = 0; planes.at[p] != NO_PLANE && c < KERNEL_PAD; c++)
            seen[planes.at[p] + c] = 1;
    for (size_t at = 0; at < count; at++)
        if (seen[at] == 0 && !canary_intact(dst[0] + at))
            fail_msg("to_points wrote between its planes");
    check_release();
}

/* What fp32 gives, rounded to bf16: half an ulp of 8 bits. */
static void to_points_bf16_case(const struct kernels *k, struct random *random,
                                struct worst *worst, const struct point_matrix *m, size_t rows,
                                size_t cols, enum operand_side operand)
{
    const struct patch patch = random_patch(random, rows, cols);
    float *src = random_pixels(random, &patch, MAGNITUDE_ONE);
    struct planes planes;
    const size_t count = random_planes(random, &planes, operand_planes(m), KERNEL_PAD);
    float *want = check_floats(count);
    k->to_points(want, &planes, operand, m, src, &patch);
    for (enum side side = 0; side < SIDES; side++) {
        float *out = guard_output(count / 2, side);
        const uint16_t *got = (const uint16_t *)(const void *)out;
        k->to_points_bf16((uint16_t *)(void *)out, &planes, operand, m,
                          guard_input(src, patch_count(&patch), side), &patch);
        for (size_t p = 0; p < operand_planes(m); p++)
            for (size_t c = 0; planes.at[p] != NO_PLANE && c < KERNEL_PAD; c++) {
                const uint32_t bits = (uint32_t)got[planes.at[p] + c] << 16;
                float x;
                memcpy(&x, &bits, sizeof x);
                check_value(worst, (double)x, (double)want[planes.at[p] + c],
                            fabs((double)want[planes.at[p] + c]) / 256, "plane %zu, channel %zu",
                            p, c);
            }
    }
    check_release();
}

/* M^T V M, where a plane adds to the lines that it is a sum of, with its sign, and
 * by half if it is a sum of two. */
static void from_points_case(const struct kernels *k, struct random *random, struct worst *worst,
                             const struct point_matrix *m, size_t rows, size_t cols)
{
    const struct patch patch = random_patch(random, rows, cols);
    static struct plane_terms terms[POINT_VALUES][2];
    const size_t n = enumerate(m, terms), reals = m->reals * m->reals;
    const size_t stride = KERNEL_PAD * (1 + random_below(random, 3)), pixels = patch_count(&patch);
    struct planes planes;
    const size_t count = random_planes(random, &planes, POINT_VALUES, stride);
    float *src = check_floats(count), bias[KERNEL_PAD], *dst[SIDES], *seen = check_floats(pixels);
    canary_fill(src, count);
    for (size_t p = 0; p < POINT_VALUES; p++)
        if (planes.at[p] != NO_PLANE)
            random_fill(random, src + planes.at[p], KERNEL_PAD, MAGNITUDE_ONE);
    random_fill(random, bias, KERNEL_PAD, MAGNITUDE_ONE);
    const int biased = random_below(random, 2) == 0;
    for (enum side side = 0; side < SIDES; side++) {
        dst[side] = guard_output(pixels, side);
        k->from_points(dst[side], &patch, m, guard_input(src, count, side), &planes,
                       biased ? guard_input(bias, KERNEL_PAD, side) : NULL);
    }
    check_bits(dst[0], dst[1], pixels, "from_points");
    for (size_t channel = 0; channel < KERNEL_PAD; channel++) {
        double v[POINTS][POINTS] = {{0}}, sizes[POINTS][POINTS] = {{0}};
        for (size_t i = 0, plane = 0; i < n; i++)
            for (size_t part = 0; part < (i < reals ? 1 : 2); part++, plane++) {
                const struct plane_terms *t = &terms[i][part];
                const double x = planes.at[plane] == NO_PLANE
                                     ? 0
                                     : (double)src[planes.at[plane] + channel] / (double)t->n;
                for (size_t j = 0; j < t->n; j++) {
                    v[t->term[j].y][t->term[j].x] += t->term[j].sign * x;
                    sizes[t->term[j].y][t->term[j].x] += fabs(x);
                }
            }
        for (size_t y = 0; y < rows; y++)
            for (size_t x = 0; x < cols; x++) {
                const size_t at = patch_at(&patch, y, x) + channel;
                double sum = biased ? (double)bias[channel] : 0, size = fabs(sum);
                for (size_t p = 0; p < POINTS; p++)
                    for (size_t q = 0; q < POINTS; q++) {
                        const double mm = line_at(m, p, y) * line_at(m, q, x);
                        sum += mm * v[p][q];
                        size += fabs(mm) * sizes[p][q];
                    }
                check_value(worst, (double)dst[0][at], sum, TRANSFORM_ROUNDINGS * ROUNDING * size,
                            "%zu x %zu: pixel (%zu, %zu)", rows, cols, y, x);
                seen[at] = 1;
            }
    }
    for (size_t at = 0; at < pixels; at++)
        if (seen[at] == 0 && !canary_intact(dst[0] + at))
            fail_msg("from_points wrote outside its patch");
    check_release();
}

/* All real sizes up to n x n that differ in code, for each set and matrix. */
static void each_case(const struct kernels *k, struct random *random, struct worst *worst,
                      void (*run)(const struct kernels *k, struct random *random,
                                  struct worst *worst, const struct point_matrix *m, size_t rows,
                                  size_t cols))
{
    static const size_t sides[] = {0, 1, 4, 5, 6, 9, 10};
    for (size_t set = 0; set < WINOGRAD_SETS; set++) {
        struct winograd w;
        winograd_init(&w, winograd_sets[set].set, 9, 16);
        const struct point_matrix *const matrices[] = {&w.data, &w.output, &w.kernel};
        for (size_t i = 0; i < COUNT(matrices); i++)
            for (size_t y = 0; y < COUNT(sides); y++)
                for (size_t x = 0; x < COUNT(sides); x++)
                    if (sides[y] <= matrices[i]->n && sides[x] <= matrices[i]->n)
                        run(k, random, worst, matrices[i], sides[y], sides[x]);
    }
}

static void left_case(const struct kernels *k, struct random *random, struct worst *worst,
                      const struct point_matrix *m, size_t rows, size_t cols)
{
    to_points_case(k, random, worst, m, rows, cols, OPERAND_LEFT);
    if (m->n == TAPS)
        to_points_case(k, random, worst, m, rows, cols, OPERAND_RIGHT);
    for (enum operand_side side = OPERAND_LEFT; k->to_points_bf16 && side <= OPERAND_RIGHT; side++)
        to_points_bf16_case(k, random, worst, m, rows, cols, side);
}

static void test_to_points(const struct kernels *k, struct random *random, struct worst *worst)
{
    if (!k->to_points_bf16)
        print_message("  bf16 skipped: level %s has no such instructions\n", k->level);
    each_case(k, random, worst, left_case);
}

static void test_from_points(const struct kernels *k, struct random *random, struct worst *worst)
{
    each_case(k, random, worst, from_points_case);
}

/* A channel of NaN leaves its neighbours' bits alone, both ways. */
static void test_channels(const struct kernels *k, struct random *random, struct worst *worst)
{
    const struct patch patch = {POINTS, POINTS, POINTS * KERNEL_PAD, KERNEL_PAD};
    const struct patch small = {TILE, TILE, TILE * KERNEL_PAD, KERNEL_PAD};
    const size_t bad = random_below(random, KERNEL_PAD);
    for (size_t set = 0; set < WINOGRAD_SETS; set++) {
        struct winograd w;
        struct planes planes;
        float *x[2], *values[2], *back[2];
        winograd_init(&w, winograd_sets[set].set, 9, 16);
        (void)random_planes(random, &planes, w.operand_planes, KERNEL_PAD);
        for (size_t i = 0; i < 2; i++) {
            x[i] = check_floats(POINT_VALUES * KERNEL_PAD);
            values[i] = check_floats(POINT_PLANES * KERNEL_PAD);
            back[i] = check_floats(TILE * TILE * KERNEL_PAD);
            if (i == 0)
                random_fill(random, x[0], POINT_VALUES * KERNEL_PAD, MAGNITUDE_ONE);
            else
                memcpy(x[1], x[0], POINT_VALUES * KERNEL_PAD * sizeof(float));
            for (size_t p = 0; i == 1 && p < POINT_VALUES; p++)
                canary_fill(x[1] + p * KERNEL_PAD + bad, 1);
            k->to_points(values[i], &planes, OPERAND_LEFT, &w.data, x[i], &patch);
            k->from_points(back[i], &small, &w.output, values[i], &planes, NULL);
        }
        for (size_t channel = 0; channel < KERNEL_PAD; channel++)
            if (channel != bad) {
                check_lane(values[1], channel, values[0], channel, POINT_PLANES,
                           "a channel beside one of NaN");
                check_lane(back[1], channel, back[0], channel, TILE * TILE,
                           "a channel beside one of NaN");
            }
        worst->values++;
    }
}

/* ---- Timing: the transforms of one image's 256 channels ------------------- */

struct transform {
    float *values, *pixels;
    struct patch patch;
    struct planes planes;
    const struct point_matrix *m;
};

enum { BENCH_CHANNELS = 256 };

static void call_to_points(const struct kernels *k, void *argument)
{
    const struct transform *t = argument;
    for (size_t c = 0; c < BENCH_CHANNELS; c += KERNEL_PAD)
        k->to_points(t->values + c, &t->planes, OPERAND_LEFT, t->m, t->pixels + c, &t->patch);
}

static void call_from_points(const struct kernels *k, void *argument)
{
    const struct transform *t = argument;
    for (size_t c = 0; c < BENCH_CHANNELS; c += KERNEL_PAD)
        k->from_points(t->pixels + c, &t->patch, t->m, t->values + c, &t->planes, NULL);
}

static void bench_points(const struct kernels *k)
{
    struct transform t = {
        .values = guard_output(POINT_PLANES * BENCH_CHANNELS, SIDE_START),
        .pixels = guard_output(POINT_VALUES * BENCH_CHANNELS, SIDE_START),
    };
    memset(t.values, 0, POINT_PLANES * BENCH_CHANNELS * sizeof(float));
    memset(t.pixels, 0, POINT_VALUES * BENCH_CHANNELS * sizeof(float));
    for (size_t set = 0; set < WINOGRAD_SETS; set++) {
        struct winograd w;
        char name[64];
        winograd_init(&w, winograd_sets[set].set, 9, 16);
        for (size_t p = 0; p < POINT_PLANES; p++)
            t.planes.at[p] = p * BENCH_CHANNELS;
        t.m = &w.data;
        t.patch = (struct patch){POINTS, POINTS, POINTS * BENCH_CHANNELS, BENCH_CHANNELS};
        snprintf(name, sizeof name, "to_points 10x10 %s", winograd_sets[set].name);
        /* Bytes: what is read and what is written. */
        bench_print(k, name, 4.0 * BENCH_CHANNELS * (double)(POINT_VALUES + w.operand_planes),
                    "GB/s", call_to_points, &t);
        t.m = &w.output;
        t.patch.rows = t.patch.cols = TILE;
        snprintf(name, sizeof name, "from_points 6x6 %s", winograd_sets[set].name);
        bench_print(k, name, 4.0 * BENCH_CHANNELS * (TILE * TILE + POINT_VALUES), "GB/s",
                    call_from_points, &t);
    }
}

int main(void)
{
    static const struct check checks[] = {
        {"points", test_points, NULL},
        {"places of planes", test_places, NULL},
        {"to_points", test_to_points, bench_points},
        {"from_points", test_from_points, NULL},
        {"channels apart", test_channels, NULL},
    };
    return check_main(checks, COUNT(checks));
}
