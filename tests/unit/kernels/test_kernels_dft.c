/*
 * test_kernels_dft.c - the 10x10 transforms of every CPU level against sums of
 * sines and cosines in double precision, and the whole of DESIGN.md's
 * "PrimaryCaps in the frequency domain": spectral products against the direct
 * convolution and its two gradients.
 *
 * Bound of a transform: one dimension rounds at most 7 times on the way of a
 * value (a sum of two, then a 5-point DFT: a sum, a rounded cosine, its
 * product, two sums, and one more for a complex input); in the second one
 * |re| + |im| is up to sqrt 2 times the magnitude; the scale rounds once:
 * 7 + 7 sqrt 2 + 1 < 18 roundings of the sum of magnitudes.  An impulse, whose
 * sum is one value, shows a wrong digit of a constant.
 */
#include <math.h>
#include <string.h>

#include "tests/common/kernel_check.h"
#include "tests/common/reference.h"

enum { DFT_ROUNDINGS = 18 };

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* The order that dft10.c documents: kx = 1..4 with all ky; kx = 0 and 5 with
 * ky = 1..4; then the real (ky, kx) = (0,0), (5,0), (0,5), (5,5). */
static void frequency(size_t f, size_t *ky, size_t *kx)
{
    if (f < 40)
        *kx = 1 + f / 10, *ky = f % 10;
    else if (f < DFT_COMPLEX)
        *kx = (f - 40) / 4 * 5, *ky = 1 + (f - 40) % 4;
    else
        *kx = (f - DFT_COMPLEX) / 2 * 5, *ky = (f - DFT_COMPLEX) % 2 * 5;
}

static double angle(size_t f, size_t y, size_t x)
{
    size_t ky, kx;
    frequency(f, &ky, &kx);
    return 2 * acos(-1.0) / DFT_N * (double)((ky * y + kx * x) % DFT_N);
}

static size_t plane_count(enum spectrum_planes planes)
{
    return planes == SPECTRUM_GRADIENT ? SPECTRUM4_PLANES : SPECTRUM3_PLANES;
}

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

static size_t patch_at(const struct patch *p, size_t y, size_t x)
{
    return y * p->row_stride + x * p->col_stride;
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

/* ---- Forward ------------------------------------------------------------ */

/* The planes of one frequency of one channel. */
static void check_frequency(struct worst *worst, const float *dst, size_t stride, size_t f,
                            enum spectrum_planes planes, const double x[2], double size)
{
    const size_t step = plane_count(planes) == SPECTRUM4_PLANES ? 4 : 3;
    const double bound = DFT_ROUNDINGS * (ROUNDING * size + 100 * (double)FLT_TRUE_MIN);
    const char *form = "frequency %zu plane %zu";
    if (f >= DFT_COMPLEX) {
        const size_t plane = step * DFT_COMPLEX + f - DFT_COMPLEX;
        check_value(worst, (double)dst[plane * stride], x[0], bound, form, f, plane);
        return;
    }
    const double re = x[0], im = planes == SPECTRUM_WEIGHTS ? -x[1] : x[1];
    const double data[4] = {re, im, re + im, im - re}, weights[3] = {re, im - re, -(re + im)};
    for (size_t p = 0; p < step; p++)
        check_value(worst, (double)dst[(step * f + p) * stride],
                    planes == SPECTRUM_WEIGHTS ? weights[p] : data[p], 2 * bound, form, f, p);
}

static void forward_case(const struct kernels *k, struct random *random, struct worst *worst,
                         size_t rows, size_t cols, enum spectrum_planes planes)
{
    const struct patch patch = random_patch(random, rows, cols);
    const enum magnitude magnitude = random_below(random, 4) ? MAGNITUDE_ONE : MAGNITUDE_HOSTILE;
    float *src = random_pixels(random, &patch, magnitude);
    const size_t stride = KERNEL_PAD * (1 + random_below(random, 3));
    const size_t count = (plane_count(planes) - 1) * stride + KERNEL_PAD;
    const float scale = random_below(random, 2) ? 1.0f : -0.01f;
    float *dst[SIDES];
    for (enum side side = 0; side < SIDES; side++) {
        dst[side] = guard_output(count, side);
        k->dft_forward(dst[side], stride, planes, guard_input(src, patch_count(&patch), side),
                       &patch, scale);
    }
    check_bits(dst[0], dst[1], count, "dft_forward");
    for (size_t at = 0; at < count; at++)
        if (at % stride >= KERNEL_PAD && !canary_intact(dst[0] + at))
            fail_msg("dft_forward wrote between its planes");
    for (size_t f = 0; f < DFT_FREQUENCIES; f++)
        for (size_t channel = 0; channel < KERNEL_PAD; channel++) {
            double sum[2] = {0, 0}, size = 0;
            for (size_t y = 0; y < rows; y++)
                for (size_t x = 0; x < cols; x++) {
                    double v = (double)scale * (double)src[patch_at(&patch, y, x) + channel];
                    sum[0] += v * cos(angle(f, y, x));
                    sum[1] -= v * sin(angle(f, y, x));
                    size += fabs(v);
                }
            check_frequency(worst, dst[0] + channel, stride, f, planes, sum, size);
        }
    check_release();
}

/* What the fp32 transform gives, held against double precision above, rounded
 * to bf16: half an ulp of 8 bits, and the little by which the two may differ. */
static void forward_bf16_case(const struct kernels *k, struct random *random, struct worst *worst,
                              size_t rows, size_t cols)
{
    const struct patch patch = random_patch(random, rows, cols);
    float *src = random_pixels(random, &patch, MAGNITUDE_ONE);
    const size_t stride = KERNEL_PAD * (1 + random_below(random, 3));
    const size_t count = (SPECTRUM3_PLANES - 1) * stride + KERNEL_PAD;
    float *want = check_floats(count);
    const double size = (double)(rows * cols); /* of pixels of at most 1 */
    k->dft_forward(want, stride, SPECTRUM_DATA, src, &patch, 1);
    for (enum side side = 0; side < SIDES; side++) {
        float *out = guard_output(count / 2, side);
        const uint16_t *got = (const uint16_t *)(const void *)out;
        k->dft_forward_bf16((uint16_t *)(void *)out, stride,
                            guard_input(src, patch_count(&patch), side), &patch);
        for (size_t at = 0; at < count; at++) {
            const uint32_t bits = (uint32_t)got[at] << 16;
            float x;
            memcpy(&x, &bits, sizeof x);
            if (at % stride < KERNEL_PAD)
                check_value(worst, (double)x, (double)want[at],
                            fabs((double)want[at]) / 256 + 2 * DFT_ROUNDINGS * ROUNDING * size,
                            "%zu x %zu: value %zu", rows, cols, at);
            else if (got[at] != (at % 2 ? 0xffc0 : 0xffee))
                fail_msg("dft_forward_bf16 wrote between its planes");
        }
    }
    check_release();
}

static const size_t sides[] = {0, 1, 4, 5, 6, 9, 10};

static void test_forward(const struct kernels *k, struct random *random, struct worst *worst)
{
    for (size_t i = 0; i < COUNT(sides); i++)
        for (size_t j = 0; j < COUNT(sides); j++)
            for (enum spectrum_planes p = SPECTRUM_DATA; p <= SPECTRUM_GRADIENT; p++)
                forward_case(k, random, worst, sides[i], sides[j], p);
}

static void test_forward_bf16(const struct kernels *k, struct random *random,
                              struct worst *worst)
{
    if (!k->dft_forward_bf16) {
        print_message("  skipped: level %s has no such instructions\n", k->level);
        return;
    }
    for (size_t i = 0; i < COUNT(sides); i++)
        for (size_t j = 0; j < COUNT(sides); j++)
            forward_bf16_case(k, random, worst, sides[i], sides[j]);
}

/* ---- Inverse ------------------------------------------------------------ */

static void inverse(const struct kernels *k, int conjugate, float *dst, const struct patch *patch,
                    const float *src, size_t stride, size_t step, const float *bias, float scale)
{
    if (conjugate)
        k->dft_inverse_conj(dst, patch, src, stride, step, bias, scale);
    else
        k->dft_inverse(dst, patch, src, stride, step, bias, scale);
}

/* Pixel (y, x) of the inverse of one channel's spectrum, unscaled. */
static double inverse_pixel(const float *src, size_t stride, size_t step, int conjugate, size_t y,
                            size_t x, double *size)
{
    double sum = 0;
    *size = 0;
    for (size_t f = 0; f < DFT_FREQUENCIES; f++) {
        if (f >= DFT_COMPLEX) {
            double re = (double)src[(step * DFT_COMPLEX + f - DFT_COMPLEX) * stride];
            sum += re * cos(angle(f, y, x));
            *size += fabs(re);
            continue;
        }
        double re = (double)src[step * f * stride], im = (double)src[(step * f + 1) * stride];
        /* The frequency and its mirror image, which is its conjugate. */
        sum += 2 * (re * cos(angle(f, y, x)) - (conjugate ? -im : im) * sin(angle(f, y, x)));
        *size += 2 * (fabs(re) + fabs(im));
    }
    return sum;
}

static void inverse_case(const struct kernels *k, struct random *random, struct worst *worst,
                         size_t rows, size_t cols, int conjugate)
{
    const struct patch patch = random_patch(random, rows, cols);
    const size_t step = 2 + random_below(random, 2), planes = step * DFT_COMPLEX + DFT_REAL;
    const size_t stride = KERNEL_PAD * (1 + random_below(random, 3));
    const size_t count = (planes - 1) * stride + KERNEL_PAD, pixels = patch_count(&patch);
    const float scale = random_below(random, 2) ? 1.0f : -0.01f;
    float *src = check_floats(count), bias[KERNEL_PAD], *dst[SIDES], *seen = check_floats(pixels);
    const size_t impulse = random_below(random, 4 * planes);
    canary_fill(src, count);
    for (size_t p = 0; p < planes; p++) {
        if (p < step * DFT_COMPLEX && p % step >= 2)
            continue;
        if (impulse < planes && p != impulse)
            memset(src + p * stride, 0, KERNEL_PAD * sizeof *src);
        else
            random_fill(random, src + p * stride, KERNEL_PAD, MAGNITUDE_ONE);
    }
    random_fill(random, bias, KERNEL_PAD, MAGNITUDE_ONE);
    const int biased = random_below(random, 2) == 0;
    for (enum side side = 0; side < SIDES; side++) {
        dst[side] = guard_output(pixels, side);
        inverse(k, conjugate, dst[side], &patch, guard_input(src, count, side), stride, step,
                biased ? guard_input(bias, KERNEL_PAD, side) : NULL, scale);
    }
    check_bits(dst[0], dst[1], pixels, "dft_inverse");
    for (size_t y = 0; y < rows; y++)
        for (size_t x = 0; x < cols; x++)
            for (size_t channel = 0; channel < KERNEL_PAD; channel++) {
                const size_t at = patch_at(&patch, y, x) + channel;
                double size, shift = biased ? (double)bias[channel] : 0;
                double v = inverse_pixel(src + channel, stride, step, conjugate, y, x, &size);
                size = size * fabs((double)scale) + fabs(shift);
                check_value(worst, (double)dst[0][at], (double)scale * v + shift,
                            DFT_ROUNDINGS * ROUNDING * size, "%zu x %zu: pixel (%zu, %zu)",
                            rows, cols, y, x);
                seen[at] = 1;
            }
    for (size_t at = 0; at < pixels; at++)
        if (seen[at] == 0 && !canary_intact(dst[0] + at))
            fail_msg("dft_inverse wrote outside its patch");
    check_release();
}

static void test_inverse(const struct kernels *k, struct random *random, struct worst *worst)
{
    for (size_t i = 0; i < COUNT(sides); i++)
        for (size_t j = 0; j < COUNT(sides); j++)
            for (int conjugate = 0; conjugate < 2; conjugate++)
                inverse_case(k, random, worst, sides[i], sides[j], conjugate);
}

/* Inverse of forward is 100 x; its error is that of both transforms, the
 * inverse's measured against the largest spectrum that x can have. */
static void test_round_trip(const struct kernels *k, struct random *random, struct worst *worst)
{
    enum { PIXELS = DFT_N * DFT_N };
    const struct patch patch = {DFT_N, DFT_N, DFT_N * KERNEL_PAD, KERNEL_PAD};
    float *x = check_floats(PIXELS * KERNEL_PAD), *back = check_floats(PIXELS * KERNEL_PAD);
    float *spectrum = check_floats(SPECTRUM3_PLANES * KERNEL_PAD);
    random_fill(random, x, PIXELS * KERNEL_PAD, MAGNITUDE_ONE);
    k->dft_forward(spectrum, KERNEL_PAD, SPECTRUM_DATA, x, &patch, 1);
    k->dft_inverse(back, &patch, spectrum, KERNEL_PAD, 3, NULL, 1);
    for (size_t channel = 0; channel < KERNEL_PAD; channel++) {
        double norm = 0; /* sum_f |X_f| <= 10 |X| = 100 |x| (Cauchy, Parseval) */
        for (size_t p = 0; p < PIXELS; p++)
            norm += pow((double)x[p * KERNEL_PAD + channel], 2);
        const double bound = 2 * DFT_ROUNDINGS * 2 * ROUNDING * 100 * sqrt(norm);
        for (size_t p = 0; p < PIXELS; p++)
            check_value(worst, (double)back[p * KERNEL_PAD + channel],
                        100 * (double)x[p * KERNEL_PAD + channel], bound, "pixel %zu", p);
    }
    /* A channel of NaN leaves its neighbours' bits alone, both ways. */
    float *x2 = check_floats(PIXELS * KERNEL_PAD), *back2 = check_floats(PIXELS * KERNEL_PAD);
    const size_t bad = random_below(random, KERNEL_PAD);
    memcpy(x2, x, PIXELS * KERNEL_PAD * sizeof *x);
    for (size_t p = 0; p < PIXELS; p++)
        canary_fill(x2 + p * KERNEL_PAD + bad, 1);
    k->dft_forward(spectrum, KERNEL_PAD, SPECTRUM_DATA, x2, &patch, 1);
    k->dft_inverse(back2, &patch, spectrum, KERNEL_PAD, 3, NULL, 1);
    for (size_t channel = 0; channel < KERNEL_PAD; channel++)
        if (channel != bad)
            check_lane(back2, channel, back, channel, PIXELS, "a channel beside one of NaN");
}

/* ---- PrimaryCaps --------------------------------------------------------- */

enum {
    IMAGES = 3,
    CIN = 16,
    COUT = 32,
    SIZE = 20,
    OUT = 6,
    TAPS = 9,
    PHASES = 4,
    ROWS = PHASES * CIN, /* inner length of the products */
};

/* Everything in the layouts that the engine may use: images and gradients
 * channels last, weights [c][9][9][o], spectra plane by plane. */
struct primary {
    float *x, *w, *dy, *y, *dx, *dw;
    float *x_spectrum;  /* [plane][image][phase][c] */
    float *w_spectrum;  /* [plane][phase][c][o] */
    float *wt_spectrum; /* [plane][o][phase][c] */
    float *dy_spectrum; /* [plane][image][o] */
    float *product;     /* [plane][up to ROWS][COUT] */
};

static struct patch x_patch(size_t phase, size_t *offset)
{
    *offset = (phase / 2 * SIZE + phase % 2) * CIN;
    return (struct patch){DFT_N, DFT_N, 2 * SIZE * CIN, 2 * CIN};
}

static struct patch w_patch(size_t phase, size_t *offset)
{
    *offset = (phase / 2 * TAPS + phase % 2) * COUT;
    return (struct patch){5 - phase / 2, 5 - phase % 2, 2 * TAPS * COUT, 2 * COUT};
}

static const struct patch y_patch = {OUT, OUT, OUT * COUT, COUT};

static void primary_transform(const struct kernels *k, const struct primary *p)
{
    size_t offset;
    for (size_t n = 0; n < IMAGES; n++)
        for (size_t phase = 0; phase < PHASES; phase++) {
            struct patch patch = x_patch(phase, &offset);
            for (size_t c = 0; c < CIN; c += KERNEL_PAD)
                k->dft_forward(p->x_spectrum + n * ROWS + phase * CIN + c, IMAGES * ROWS,
                               SPECTRUM_DATA, p->x + n * SIZE * SIZE * CIN + offset + c, &patch, 1);
        }
    for (size_t phase = 0; phase < PHASES; phase++)
        for (size_t c = 0; c < CIN; c++) {
            struct patch patch = w_patch(phase, &offset);
            for (size_t o = 0; o < COUT; o += KERNEL_PAD)
                k->dft_forward(p->w_spectrum + (phase * CIN + c) * COUT + o, ROWS * COUT,
                               SPECTRUM_WEIGHTS, p->w + c * TAPS * TAPS * COUT + offset + o, &patch,
                               1);
        }
    for (size_t plane = 0; plane < SPECTRUM3_PLANES; plane++)
        k->transpose(p->wt_spectrum + plane * ROWS * COUT, ROWS,
                     p->w_spectrum + plane * ROWS * COUT, COUT, ROWS, COUT);
    for (size_t n = 0; n < IMAGES; n++)
        for (size_t o = 0; o < COUT; o += KERNEL_PAD)
            k->dft_forward(p->dy_spectrum + n * COUT + o, IMAGES * COUT, SPECTRUM_GRADIENT,
                           p->dy + n * OUT * OUT * COUT + o, &y_patch, 1);
}

/* One of the three products at all frequencies; a_planes and b_planes name
 * the plane of each of gemm3's operands. */
struct product {
    size_t m, n, k;
    const float *a;
    size_t a_row, a_col, a_step, a_size, a_planes[3];
    const float *b;
    size_t b_step, b_planes[3];
    float sign;
};

static void primary_product(const struct kernels *k, const struct product *p, float *out)
{
    for (size_t f = 0; f < DFT_COMPLEX; f++) {
        struct gemm3 g = {.m = p->m, .n = p->n, .k = p->k, .sign = p->sign};
        for (size_t q = 0; q < 3; q++) {
            g.a[q] = (struct operand){p->a + (p->a_step * f + p->a_planes[q]) * p->a_size, p->a_row,
                                      p->a_col};
            g.b[q] = (struct const_matrix){p->b + (p->b_step * f + p->b_planes[q]) * p->k * p->n,
                                           p->n, KERNEL_PANEL};
        }
        g.re = (struct matrix){out + 2 * f * p->m * p->n, p->n, KERNEL_PANEL};
        g.im = (struct matrix){out + (2 * f + 1) * p->m * p->n, p->n, KERNEL_PANEL};
        k->gemm3(&g);
    }
    for (size_t f = 0; f < DFT_REAL; f++) {
        struct gemm g = {
            p->m, p->n, p->k,
            {p->a + (p->a_step * DFT_COMPLEX + f) * p->a_size, p->a_row, p->a_col},
            {p->b + (p->b_step * DFT_COMPLEX + f) * p->k * p->n, p->n, KERNEL_PANEL},
            {out + (2 * DFT_COMPLEX + f) * p->m * p->n, p->n, KERNEL_PANEL},
            GEMM_STORE, NULL,
        };
        k->gemm(&g);
    }
}

/* y = x conj(w), with T = (xr + xi) wr:  re = T - xi (wr + wi'),
 * im = T + xr (wi' - wr), where wi' = -wi is what is stored. */
static void primary_forward(const struct kernels *k, const struct primary *p)
{
    const struct product product = {
        IMAGES, COUT, ROWS, p->x_spectrum, ROWS, 1, 3, IMAGES * ROWS, {2, 1, 0},
        p->w_spectrum, 3, {0, 2, 1}, 1,
    };
    primary_product(k, &product, p->product);
    for (size_t n = 0; n < IMAGES; n++)
        for (size_t o = 0; o < COUT; o += KERNEL_PAD)
            k->dft_inverse(p->y + n * OUT * OUT * COUT + o, &y_patch, p->product + n * COUT + o,
                           IMAGES * COUT, 2, NULL, 0.01f);
}

/* dx = dy w, with T = (yr + yi) wr:  re = T + yi (wi' - wr),
 * im = T - yr (wr + wi'). */
static void primary_backward_data(const struct kernels *k, const struct primary *p)
{
    const struct product product = {
        IMAGES, ROWS, COUT, p->dy_spectrum, COUT, 1, 4, IMAGES * COUT, {2, 1, 0},
        p->wt_spectrum, 3, {0, 1, 2}, 1,
    };
    primary_product(k, &product, p->product);
    for (size_t n = 0; n < IMAGES; n++)
        for (size_t phase = 0; phase < PHASES; phase++) {
            size_t offset;
            struct patch patch = x_patch(phase, &offset);
            for (size_t c = 0; c < CIN; c += KERNEL_PAD)
                k->dft_inverse(p->dx + n * SIZE * SIZE * CIN + offset + c, &patch,
                               p->product + n * ROWS + phase * CIN + c, IMAGES * ROWS, 2, NULL,
                               0.01f);
        }
}

/* dw = x conj(dy); its conjugate is computed, with T = (xr + xi) yr:
 * re = T + xi (yi - yr), im = -T + xr (yr + yi). */
static void primary_backward_weights(const struct kernels *k, const struct primary *p)
{
    const struct product product = {
        ROWS, COUT, IMAGES, p->x_spectrum, 1, ROWS, 3, IMAGES * ROWS, {2, 1, 0},
        p->dy_spectrum, 4, {0, 3, 2}, -1,
    };
    primary_product(k, &product, p->product);
    for (size_t phase = 0; phase < PHASES; phase++)
        for (size_t c = 0; c < CIN; c++) {
            size_t offset;
            struct patch patch = w_patch(phase, &offset);
            for (size_t o = 0; o < COUT; o += KERNEL_PAD)
                k->dft_inverse_conj(p->dw + c * TAPS * TAPS * COUT + offset + o, &patch,
                                    p->product + (phase * CIN + c) * COUT + o, ROWS * COUT, 2, NULL,
                                    0.01f);
        }
}

/* |error| of one output value <= (inner length + three transforms + 2) u times
 * 4, for |re| + |im| and the three products, times the sum over the inner
 * index of the operands' Euclidean norms: an inverse transform's worst value
 * is sum_f |A_f||B_f| / 100 <= |A||B| / 100 = |a||b| (Cauchy, Parseval). */
static double primary_bound(size_t inner, double norms)
{
    return ((double)inner + 3 * DFT_ROUNDINGS + 2) * ROUNDING * 4 * norms;
}

/* Euclidean norm of p[0], p[stride], ..., n of them. */
static double norm(const float *p, size_t n, size_t stride)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)p[i * stride] * (double)p[i * stride];
    return sqrt(sum);
}

/* The sum of norm products that each kind of output is bounded by. */
struct primary_norms {
    double x[IMAGES][CIN], w[CIN][COUT], dy[IMAGES][COUT];
};

static void primary_measure(struct primary_norms *n, const struct primary *p)
{
    for (size_t i = 0; i < IMAGES; i++) {
        for (size_t c = 0; c < CIN; c++)
            n->x[i][c] = norm(p->x + i * SIZE * SIZE * CIN + c, SIZE * SIZE, CIN);
        for (size_t o = 0; o < COUT; o++)
            n->dy[i][o] = norm(p->dy + i * OUT * OUT * COUT + o, OUT * OUT, COUT);
    }
    for (size_t c = 0; c < CIN; c++)
        for (size_t o = 0; o < COUT; o++)
            n->w[c][o] = norm(p->w + c * TAPS * TAPS * COUT + o, TAPS * TAPS, COUT);
}

static void primary_check(struct worst *worst, const struct primary *p)
{
    static const struct reference_conv conv = {SIZE, SIZE, CIN, COUT, TAPS, 2};
    enum { N_X = SIZE * SIZE * CIN, N_Y = OUT * OUT * COUT, N_W = TAPS * TAPS * CIN * COUT };
    double *w = check_doubles(N_W), *dw = check_doubles(N_W);
    double *y = check_doubles(N_Y), *dx = check_doubles(N_X);
    static struct primary_norms norms;
    primary_measure(&norms, p);
    for (size_t c = 0; c < CIN; c++)
        for (size_t tap = 0; tap < TAPS * TAPS; tap++)
            for (size_t o = 0; o < COUT; o++)
                w[(o * CIN + c) * TAPS * TAPS + tap] =
                    (double)p->w[(c * TAPS * TAPS + tap) * COUT + o];
    for (size_t n = 0; n < IMAGES; n++) {
        const double *x = check_to_doubles(p->x + n * N_X, N_X);
        const double *dy = check_to_doubles(p->dy + n * N_Y, N_Y);
        reference_conv(y, &conv, x, w, NULL);
        reference_conv_backward(dx, dw, &conv, x, w, dy);
        for (size_t at = 0; at < N_Y; at++) {
            double sum = 0; /* phases: sum |x_ab||w_ab| <= |x||w| */
            for (size_t c = 0; c < CIN; c++)
                sum += norms.x[n][c] * norms.w[c][at % COUT];
            check_value(worst, (double)p->y[n * N_Y + at], y[at], primary_bound(ROWS, sum),
                        "image %zu: y[%zu]", n, at);
        }
        for (size_t at = 0; at < N_X; at++) {
            double sum = 0;
            for (size_t o = 0; o < COUT; o++)
                sum += norms.dy[n][o] * norms.w[at % CIN][o];
            check_value(worst, (double)p->dx[n * N_X + at], dx[at], primary_bound(COUT, sum),
                        "image %zu: dx[%zu]", n, at);
        }
    }
    for (size_t c = 0; c < CIN; c++)
        for (size_t at = 0; at < TAPS * TAPS * COUT; at++) {
            const size_t tap = at / COUT, o = at % COUT;
            double sum = 0;
            for (size_t n = 0; n < IMAGES; n++)
                sum += norms.x[n][c] * norms.dy[n][o];
            check_value(worst, (double)p->dw[c * TAPS * TAPS * COUT + at],
                        dw[(o * CIN + c) * TAPS * TAPS + tap], primary_bound(IMAGES, sum),
                        "dw[%zu][%zu][%zu]", o, c, tap);
        }
}

static void test_primary(const struct kernels *k, struct random *random, struct worst *worst)
{
    enum { N_X = IMAGES * SIZE * SIZE * CIN, N_Y = IMAGES * OUT * OUT * COUT,
           N_W = TAPS * TAPS * CIN * COUT };
    const struct primary p = {
        check_floats(N_X), check_floats(N_W), check_floats(N_Y),
        check_floats(N_Y), check_floats(N_X), check_floats(N_W),
        check_floats(SPECTRUM3_PLANES * IMAGES * ROWS),
        check_floats(SPECTRUM3_PLANES * ROWS * COUT),
        check_floats(SPECTRUM3_PLANES * ROWS * COUT),
        check_floats(SPECTRUM4_PLANES * IMAGES * COUT),
        check_floats(SPECTRUM2_PLANES * ROWS * COUT),
    };
    random_fill(random, p.x, N_X, MAGNITUDE_ONE);
    random_fill(random, p.w, N_W, MAGNITUDE_ONE);
    random_fill(random, p.dy, N_Y, MAGNITUDE_ONE);
    primary_transform(k, &p);
    primary_forward(k, &p);
    primary_backward_data(k, &p);
    primary_backward_weights(k, &p);
    primary_check(worst, &p);
}

/* ---- Timing: the transforms of one image's 256 channels ------------------- */

struct transform {
    float *spectrum, *pixels;
    struct patch patch;
};

enum { BENCH_CHANNELS = 256 };

static void call_forward(const struct kernels *k, void *argument)
{
    const struct transform *t = argument;
    for (size_t c = 0; c < BENCH_CHANNELS; c += KERNEL_PAD)
        k->dft_forward(t->spectrum + c, BENCH_CHANNELS, SPECTRUM_DATA, t->pixels + c, &t->patch, 1);
}

static void call_inverse(const struct kernels *k, void *argument)
{
    const struct transform *t = argument;
    for (size_t c = 0; c < BENCH_CHANNELS; c += KERNEL_PAD)
        k->dft_inverse(t->pixels + c, &t->patch, t->spectrum + c, BENCH_CHANNELS, 2, NULL, 0.01f);
}

static void bench_dft(const struct kernels *k)
{
    struct transform t = {
        guard_output(SPECTRUM3_PLANES * BENCH_CHANNELS, SIDE_START),
        guard_output(DFT_N * DFT_N * BENCH_CHANNELS, SIDE_START),
        {DFT_N, DFT_N, DFT_N * BENCH_CHANNELS, BENCH_CHANNELS},
    };
    memset(t.pixels, 0, DFT_N * DFT_N * BENCH_CHANNELS * sizeof(float));
    /* Bytes: what is read and what is written. */
    bench_print(k, "dft_forward 10x10", 4.0 * BENCH_CHANNELS * (100 + SPECTRUM3_PLANES), "GB/s",
                call_forward, &t);
    t.patch.rows = t.patch.cols = OUT;
    bench_print(k, "dft_inverse 6x6", 4.0 * BENCH_CHANNELS * (OUT * OUT + SPECTRUM2_PLANES),
                "GB/s", call_inverse, &t);
}

int main(void)
{
    static const struct check checks[] = {
        {"dft_forward", test_forward, bench_dft},
        {"dft_forward_bf16", test_forward_bf16, NULL},
        {"dft_inverse, _conj", test_inverse, NULL},
        {"inverse of forward", test_round_trip, NULL},
        {"PrimaryCaps by DFT", test_primary, NULL},
    };
    return check_main(checks, COUNT(checks));
}
