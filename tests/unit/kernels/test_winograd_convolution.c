/*
 * test_winograd_convolution.c - PrimaryCaps as the spectral plan has it, at every CPU
 * level, against the direct convolution in double precision: transforms of images
 * and kernels, products, transforms back, and the two gradients.
 */
#include <math.h>

#include "tests/common/kernel_check.h"
#include "tests/common/reference.h"
#include "tests/common/winograd_reference.h"

enum {
    IMAGES = 3,
    CIN = 16,
    COUT = 32,
    SIZE = 20,
    KERNEL = 9,
    ROWS = KERNEL_PHASES * CIN, /* inner length of the products */
    N_X = SIZE * SIZE * CIN,
    N_Y = TILE * TILE * COUT,
    N_W = KERNEL * KERNEL * CIN * COUT,
};

/* Everything in the layouts that the engine may use: images and gradients
 * channels last, weights [c][9][9][o], planes one after the other. */
struct primary {
    struct winograd w;
    float *x, *weight, *dy, *y, *dx, *dweight;
    float *x_planes; /* [plane][image][ROWS] */
    float *w_planes; /* [plane][ROWS][COUT] */
    float *dy_planes, *y_planes; /* [plane][image][COUT] */
    float *dx_planes, *dw_planes;
};

static struct patch x_patch(size_t phase, size_t *offset)
{
    *offset = (phase / 2 * SIZE + phase % 2) * CIN;
    return (struct patch){POINTS, POINTS, 2 * SIZE * CIN, 2 * CIN};
}

static struct patch w_patch(size_t phase, size_t *offset)
{
    *offset = (phase / 2 * KERNEL + phase % 2) * COUT;
    return (struct patch){TAPS - phase / 2, TAPS - phase % 2, 2 * KERNEL * COUT, 2 * COUT};
}

static const struct patch y_patch = {TILE, TILE, TILE * COUT, COUT};

static void primary_there(const struct kernels *k, const struct primary *p)
{
    size_t offset;
    struct planes to;
    for (size_t phase = 0; phase < KERNEL_PHASES; phase++) {
        const struct patch x = x_patch(phase, &offset);
        winograd_operand(&to, &p->w, phase, IMAGES * ROWS, 1);
        for (size_t n = 0; n < IMAGES; n++)
            k->to_points(p->x_planes + n * ROWS, &to, OPERAND_LEFT, &p->w.data,
                         p->x + n * N_X + offset, &x);
        const struct patch w = w_patch(phase, &offset);
        winograd_operand(&to, &p->w, phase, ROWS * COUT, COUT);
        for (size_t c = 0; c < CIN; c++)
            for (size_t o = 0; o < COUT; o += KERNEL_PAD)
                k->to_points(p->w_planes + c * COUT + o, &to, OPERAND_RIGHT, &p->w.kernel,
                             p->weight + c * KERNEL * KERNEL * COUT + offset + o, &w);
    }
    winograd_result(&to, &p->w, IMAGES * COUT);
    for (size_t n = 0; n < IMAGES && p->w.data.reals == POINTS; n++)
        for (size_t o = 0; o < COUT; o += KERNEL_PAD)
            k->to_points(p->dy_planes + n * COUT + o, &to, OPERAND_LEFT, &p->w.output,
                         p->dy + n * N_Y + o, &y_patch);
}

/* A complex product as kernels.h has it, of whatever kernel. */
static void complex_product(const struct primary *p, const struct winograd_product *product)
{
    for (size_t n = 0; n < IMAGES; n++)
        for (size_t o = 0; o < COUT; o++) {
            double t = 0, re = 0, im = 0;
            for (size_t i = 0; i < product->k; i++) {
                const size_t at = product->column + i;
                const float *a = p->x_planes + (product->x * IMAGES + n) * ROWS + at;
                const float *b = p->w_planes + (product->x * ROWS + at) * COUT + o;
                t += (double)a[2 * IMAGES * ROWS] * (double)b[0];
                re += (double)a[IMAGES * ROWS] * (double)b[2 * ROWS * COUT];
                im += (double)a[0] * (double)b[ROWS * COUT];
            }
            float *y = p->y_planes + (product->y * IMAGES + n) * COUT + o;
            y[0] = (float)(t + re);
            y[IMAGES * COUT] = (float)(t + im);
        }
}

static void primary_forward(const struct kernels *k, const struct primary *p)
{
    struct planes from;
    for (size_t i = 0; i < p->w.products; i++) {
        const struct winograd_product *product = &p->w.product[i];
        const struct gemm g = {
            IMAGES, COUT, product->k,
            {p->x_planes + product->x * IMAGES * ROWS + product->column, ROWS, 1},
            {p->w_planes + (product->x * ROWS + product->column) * COUT, COUT, KERNEL_PANEL},
            {p->y_planes + product->y * IMAGES * COUT, COUT, KERNEL_PANEL},
            GEMM_STORE, NULL, NULL, NULL,
        };
        if (product->is_complex)
            complex_product(p, product);
        else
            k->gemm(&g);
    }
    winograd_result(&from, &p->w, IMAGES * COUT);
    for (size_t n = 0; n < IMAGES; n++)
        for (size_t o = 0; o < COUT; o += KERNEL_PAD)
            k->from_points(p->y + n * N_Y + o, &y_patch, &p->w.output, p->y_planes + n * COUT + o,
                           &from, NULL);
}

/* The transposes, of real points: dx^ = dy^ w^T and dw^ = x^T dy^. */
static void primary_backward(const struct kernels *k, const struct primary *p)
{
    float transposed[COUT * ROWS] __attribute__((aligned(64)));
    struct planes from;
    size_t offset;
    for (size_t i = 0; i < p->w.products; i++) {
        const struct winograd_product *product = &p->w.product[i];
        const size_t at_x = product->x * IMAGES * ROWS + product->column;
        const size_t at_w = (product->x * ROWS + product->column) * COUT;
        const float *dy = p->dy_planes + product->y * IMAGES * COUT;
        k->transpose(transposed, product->k, p->w_planes + at_w, COUT, product->k, COUT);
        const struct gemm dx = {
            IMAGES, product->k, COUT, {dy, COUT, 1}, {transposed, product->k, KERNEL_PANEL},
            {p->dx_planes + at_x, ROWS, KERNEL_PANEL}, GEMM_STORE, NULL, NULL, NULL,
        };
        const struct gemm dw = {
            product->k, COUT, IMAGES, {p->x_planes + at_x, 1, ROWS}, {dy, COUT, KERNEL_PANEL},
            {p->dw_planes + at_w, COUT, KERNEL_PANEL}, GEMM_STORE, NULL, NULL, NULL,
        };
        k->gemm(&dx);
        k->gemm(&dw);
    }
    for (size_t phase = 0; phase < KERNEL_PHASES; phase++) {
        const struct patch x = x_patch(phase, &offset);
        winograd_operand(&from, &p->w, phase, IMAGES * ROWS, 1);
        for (size_t n = 0; n < IMAGES; n++)
            k->from_points(p->dx + n * N_X + offset, &x, &p->w.data, p->dx_planes + n * ROWS, &from,
                           NULL);
        const struct patch w = w_patch(phase, &offset);
        winograd_operand(&from, &p->w, phase, ROWS * COUT, COUT);
        for (size_t c = 0; c < CIN; c++)
            for (size_t o = 0; o < COUT; o += KERNEL_PAD)
                k->from_points(p->dweight + c * KERNEL * KERNEL * COUT + offset + o, &w,
                               &p->w.kernel, p->dw_planes + c * COUT + o, &from, NULL);
    }
}

/* ---- Its errors ------------------------------------------------------------ */

/* |M| |X| |M|^T and |M|^T |V| |M|: what errors of transforms are measured by. */
static void size_there(double v[POINT_VALUES], const struct point_matrix *m, const float *src,
                       const struct patch *patch)
{
    for (size_t p = 0; p < POINTS; p++)
        for (size_t q = 0; q < POINTS; q++) {
            double sum = 0;
            for (size_t y = 0; y < patch->rows; y++)
                for (size_t x = 0; x < patch->cols; x++)
                    sum += line_size(m, p, y) * line_size(m, q, x) *
                           fabs((double)src[patch_at(patch, y, x)]);
            v[p * POINTS + q] = sum;
        }
}

static double size_back(const double v[POINT_VALUES], const struct point_matrix *m, size_t y,
                        size_t x)
{
    double sum = 0;
    for (size_t p = 0; p < POINTS; p++)
        for (size_t q = 0; q < POINTS; q++)
            sum += fabs(line_at(m, p, y) * line_at(m, q, x)) * v[p * POINTS + q];
    return sum;
}

/* Of every transform of every operand: [..][value]. */
struct primary_sizes {
    double x[IMAGES][ROWS][POINT_VALUES], w[ROWS][COUT][POINT_VALUES];
    double dy[IMAGES][COUT][POINT_VALUES];
};

static void primary_measure(struct primary_sizes *sizes, const struct primary *p)
{
    size_t offset;
    for (size_t row = 0; row < ROWS; row++) {
        const size_t phase = row / CIN, c = row % CIN;
        const struct patch x = x_patch(phase, &offset);
        for (size_t n = 0; n < IMAGES; n++)
            size_there(sizes->x[n][row], &p->w.data, p->x + n * N_X + offset + c, &x);
        const struct patch w = w_patch(phase, &offset);
        for (size_t o = 0; o < COUT; o++)
            size_there(sizes->w[row][o], &p->w.kernel,
                       p->weight + c * KERNEL * KERNEL * COUT + offset + o, &w);
    }
    for (size_t n = 0; n < IMAGES; n++)
        for (size_t o = 0; o < COUT; o++)
            size_there(sizes->dy[n][o], &p->w.output, p->dy + n * N_Y + o, &y_patch);
}

/* sum += a b, value by value. */
static void add_product(double *sum, const double *a, const double *b)
{
    for (size_t v = 0; v < POINT_VALUES; v++)
        sum[v] += a[v] * b[v];
}

/* Roundings of an output: of three transforms, their matrices, and the product,
 * whose inner length it is; twice for the three products of a complex one. */
static double primary_bound(size_t inner, double size)
{
    return 2 * ((double)inner + 3 * TRANSFORM_ROUNDINGS + 6) * ROUNDING * size;
}

/* Forward, also as a whole: of random data, y is a sum of 5 x 5 products a
 * channel and its error what A makes of both operands' roundings, which are
 * independent of each other. */
static void check_forward(struct worst *worst, const struct primary *p,
                          const struct primary_sizes *sizes, const double *weight, size_t set)
{
    static const struct reference_conv conv = {SIZE, SIZE, CIN, COUT, KERNEL, 2};
    double *y = check_doubles(N_Y), error = 0, size = 0;
    for (size_t n = 0; n < IMAGES; n++) {
        reference_conv(y, &conv, check_to_doubles(p->x + n * N_X, N_X), weight, NULL);
        for (size_t o = 0; o < COUT; o++) {
            double v[POINT_VALUES] = {0};
            for (size_t row = 0; row < ROWS; row++)
                add_product(v, sizes->x[n][row], sizes->w[row][o]);
            for (size_t at = o; at < N_Y; at += COUT) {
                const double got = (double)p->y[n * N_Y + at];
                check_value(worst, got, y[at],
                            primary_bound(ROWS, size_back(v, &p->w.output, at / COUT / TILE,
                                                          at / COUT % TILE)),
                            "%s, image %zu: y[%zu]", winograd_sets[set].name, n, at);
                error += (got - y[at]) * (got - y[at]);
                size += y[at] * y[at];
            }
        }
    }
    const double share = pow(winograd_sets[set].noise, 2) / TAPS;
    check_value(worst, sqrt(error / size), 0, share * sqrt(2 * TRANSFORM_ROUNDINGS) * ROUNDING,
                "%s points: root mean square error", winograd_sets[set].name);
}

static void check_backward(struct worst *worst, const struct primary *p,
                           const struct primary_sizes *sizes, const double *weight)
{
    static const struct reference_conv conv = {SIZE, SIZE, CIN, COUT, KERNEL, 2};
    double *dx = check_doubles(N_X), *dw = check_doubles(N_W);
    for (size_t n = 0; n < IMAGES; n++) {
        reference_conv_backward(dx, dw, &conv, check_to_doubles(p->x + n * N_X, N_X), weight,
                                check_to_doubles(p->dy + n * N_Y, N_Y));
        for (size_t row = 0; row < ROWS; row++) {
            double v[POINT_VALUES] = {0};
            size_t offset;
            const struct patch patch = x_patch(row / CIN, &offset);
            for (size_t o = 0; o < COUT; o++)
                add_product(v, sizes->dy[n][o], sizes->w[row][o]);
            for (size_t y = 0; y < POINTS; y++)
                for (size_t x = 0; x < POINTS; x++) {
                    const size_t at = offset + patch_at(&patch, y, x) + row % CIN;
                    check_value(worst, (double)p->dx[n * N_X + at], dx[at],
                                primary_bound(COUT, size_back(v, &p->w.data, y, x)),
                                "image %zu: dx[%zu]", n, at);
                }
        }
    }
    for (size_t row = 0; row < ROWS; row++)
        for (size_t o = 0; o < COUT; o++) {
            double v[POINT_VALUES] = {0};
            size_t offset;
            const struct patch patch = w_patch(row / CIN, &offset);
            for (size_t n = 0; n < IMAGES; n++)
                add_product(v, sizes->x[n][row], sizes->dy[n][o]);
            for (size_t y = 0; y < patch.rows; y++)
                for (size_t x = 0; x < patch.cols; x++) {
                    const size_t at = offset + patch_at(&patch, y, x) + o, c = row % CIN;
                    const double want = dw[(o * CIN + c) * KERNEL * KERNEL + at / COUT];
                    check_value(worst, (double)p->dweight[c * KERNEL * KERNEL * COUT + at], want,
                                primary_bound(IMAGES, size_back(v, &p->w.kernel, y, x)),
                                "dw[%zu][%zu][%zu]", o, c, at / COUT);
                }
        }
}

static void test_primary(const struct kernels *k, struct random *random, struct worst *worst)
{
    static struct primary_sizes sizes;
    for (size_t set = 0; set < WINOGRAD_SETS; set++) {
        struct primary p = {
            .x = check_floats(IMAGES * N_X), .weight = check_floats(N_W),
            .dy = check_floats(IMAGES * N_Y), .y = check_floats(IMAGES * N_Y),
            .dx = check_floats(IMAGES * N_X), .dweight = check_floats(N_W),
            .x_planes = check_floats(POINT_PLANES * IMAGES * ROWS),
            .w_planes = check_floats(POINT_PLANES * ROWS * COUT),
            .dy_planes = check_floats(POINT_PLANES * IMAGES * COUT),
            .y_planes = check_floats(POINT_PLANES * IMAGES * COUT),
            .dx_planes = check_floats(POINT_PLANES * IMAGES * ROWS),
            .dw_planes = check_floats(POINT_PLANES * ROWS * COUT),
        };
        double *weight = check_doubles(N_W);
        winograd_init(&p.w, winograd_sets[set].set, KERNEL, CIN);
        random_fill(random, p.x, IMAGES * N_X, MAGNITUDE_ONE);
        random_fill(random, p.weight, N_W, MAGNITUDE_ONE);
        random_fill(random, p.dy, IMAGES * N_Y, MAGNITUDE_ONE);
        for (size_t at = 0; at < N_W; at++) { /* to [o][c][9][9] */
            const size_t c = at / COUT / KERNEL / KERNEL, tap = at / COUT % (KERNEL * KERNEL);
            weight[(at % COUT * CIN + c) * KERNEL * KERNEL + tap] = (double)p.weight[at];
        }
        primary_there(k, &p);
        primary_measure(&sizes, &p);
        primary_forward(k, &p);
        check_forward(worst, &p, &sizes, weight, set);
        if (p.w.data.reals == POINTS) {
            primary_backward(k, &p);
            check_backward(worst, &p, &sizes, weight);
        }
        check_release();
    }
}

int main(void)
{
    static const struct check checks[] = {{"PrimaryCaps by points", test_primary, NULL}};
    return check_main(checks, 1);
}
