/*
 * test_kernels_gemm.c - gemm and transpose of every CPU level against
 * double precision.
 *
 * Bound of a product: each of its k multiplications and additions rounds once
 * at most, so |error| <= (k + 2) u sum_p |a||b| (Higham 2002, eq. 3.5, with 2
 * for the bias and the store), and as many smallest floats where it
 * underflows.
 */
#include <math.h>
#include <string.h>

#include "model/weights_file/float_formats.h"
#include "tests/common/kernel_check.h"
#include "tests/common/reference.h"

/* A left operand at some strides, with its gaps full of NaN. */
struct left {
    size_t row, col, count;
    float *data;
    double *dense; /* [m][k] */
};

/* A matrix in panels or rows; its columns n .. width-1 are zero padding. */
struct right {
    size_t stride, panel, count, rows, width;
    float *data;
    double *dense; /* [rows][n] */
};

static size_t at_column(const struct right *r, size_t row, size_t j)
{
    return j / KERNEL_PANEL * r->panel + row * r->stride + j % KERNEL_PANEL;
}

static struct left random_left(struct random *random, size_t m, size_t k, enum magnitude magnitude)
{
    struct left l = {0};
    switch (random_below(random, 5)) {
    case 0: l.row = k, l.col = 1; break;               /* dense rows */
    case 1: l.row = k + 7, l.col = 1; break;           /* rows with gaps */
    case 2: l.row = 1, l.col = m; break;               /* transposed */
    case 3: l.row = 5 * k + 3, l.col = 3; break;       /* strided both ways */
    default: l.row = 2, l.col = 1; break;              /* overlapping windows */
    }
    l.count = m && k ? (m - 1) * l.row + (k - 1) * l.col + 1 : 0;
    l.data = check_floats(l.count);
    l.dense = check_doubles(m * k);
    canary_fill(l.data, l.count);
    for (size_t i = 0; i < m; i++)
        for (size_t p = 0; p < k; p++)
            random_fill(random, l.data + i * l.row + p * l.col, 1, magnitude);
    for (size_t i = 0; i < m; i++)
        for (size_t p = 0; p < k; p++)
            l.dense[i * k + p] = (double)l.data[i * l.row + p * l.col];
    return l;
}

static struct right random_right(struct random *random, size_t rows, size_t n,
                                 enum magnitude magnitude)
{
    struct right r = {.rows = rows};
    r.width = (n + KERNEL_PAD - 1) / KERNEL_PAD * KERNEL_PAD;
    if (random_below(random, 2)) { /* rows, with or without a gap */
        r.stride = r.width + KERNEL_PAD * random_below(random, 2);
        r.panel = KERNEL_PANEL;
    } else { /* panels */
        r.stride = KERNEL_PANEL;
        r.panel = (rows + random_below(random, 2)) * KERNEL_PANEL;
    }
    r.count = rows && n ? at_column(&r, rows - 1, r.width - 1) + 1 : 0;
    r.data = check_floats(r.count);
    r.dense = check_doubles(rows * n);
    canary_fill(r.data, r.count);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < r.width; j++) {
            float *p = r.data + at_column(&r, i, j);
            *p = 0;
            if (j >= n)
                continue;
            random_fill(random, p, 1, magnitude);
            r.dense[i * n + j] = (double)*p;
        }
    return r;
}

/* Writes only its own elements: the gaps of c are as they were. */
static void check_gaps(const struct right *c, const float *data)
{
    float *seen = check_floats(c->count);
    for (size_t i = 0; i < c->rows; i++)
        for (size_t j = 0; j < c->width; j++)
            seen[at_column(c, i, j)] = 1;
    for (size_t at = 0; at < c->count; at++)
        if (seen[at] == 0 && !canary_intact(data + at))
            fail_msg("wrote to offset %zu, between the rows of its result", at);
}

static void check_padding(const struct right *c, const float *data, size_t n)
{
    for (size_t i = 0; i < c->rows; i++)
        for (size_t j = n; j < c->width; j++)
            if (data[at_column(c, i, j)] != 0.0f)
                fail_msg("padding column %zu of row %zu is not zero", j, i);
}

static const size_t m_sizes[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 17};
static const size_t n_sizes[] = {0, 1, 15, 16, 17, 31, 32, 33, 48, 65};
static const size_t k_sizes[] = {0, 1, 2, 3, 7, 8, 9, 33};

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void gemm_case(const struct kernels *kernels, struct random *random, struct worst *worst,
                      const size_t size[3], enum gemm_epilogue epilogue)
{
    const size_t m = size[0], n = size[1], k = size[2];
    const enum magnitude magnitude = random_below(random, 4) ? MAGNITUDE_ONE : MAGNITUDE_HOSTILE;
    const struct left a = random_left(random, m, k, magnitude);
    const struct right b = random_right(random, k, n, magnitude);
    const struct right c = random_right(random, m, n, magnitude);
    float *bias = check_floats(c.width);
    random_fill(random, bias, n, magnitude);
    float *result[SIDES];
    for (enum side side = 0; side < SIDES; side++) {
        struct gemm g = {
            m, n, k,
            {guard_input(a.data, a.count, side), a.row, a.col},
            {guard_input(b.data, b.count, side), b.stride, b.panel},
            {guard_update(c.data, c.count, side), c.stride, c.panel},
            epilogue,
            epilogue >= GEMM_BIAS ? guard_input(bias, c.width, side) : NULL, NULL, NULL,
        };
        result[side] = g.c.data;
        kernels->gemm(&g);
    }
    check_bits(result[0], result[1], c.count, "gemm");
    check_gaps(&c, result[0]);
    check_padding(&c, result[0], n);

    double *want = check_doubles(m * n), *terms = check_doubles(m * n);
    reference_product(want, terms, m, n, k, a.dense, b.dense);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double x = want[i * n + j], sum = terms[i * n + j];
            double start = epilogue == GEMM_ADD ? c.dense[i * n + j]
                           : epilogue >= GEMM_BIAS ? (double)bias[j] : 0;
            x += start;
            if (epilogue == GEMM_BIAS_RELU)
                x = fmax(x, 0);
            const double roundings = (double)k + 2;
            check_value(worst, (double)result[0][at_column(&c, i, j)], x,
                        roundings * (ROUNDING * (sum + fabs(start)) + (double)FLT_TRUE_MIN),
                        "m %zu n %zu k %zu epilogue %d: c[%zu][%zu]", m, n, k, (int)epilogue, i, j);
        }
    check_release();
}

static void test_gemm(const struct kernels *kernels, struct random *random, struct worst *worst)
{
    for (size_t i = 0; i < COUNT(m_sizes); i++)
        for (size_t j = 0; j < COUNT(n_sizes); j++)
            for (size_t p = 0; p < COUNT(k_sizes); p++)
                for (enum gemm_epilogue e = GEMM_STORE; e <= GEMM_BIAS_RELU; e++)
                    gemm_case(kernels, random, worst,
                              (size_t[]){m_sizes[i], n_sizes[j], k_sizes[p]}, e);
    gemm_case(kernels, random, worst, (size_t[]){9, 96, 1024}, GEMM_BIAS);
}

/* Rounds what b has to fp16, there and, with its gaps full of NaN, as such: half as many floats. */
static float *make_halves(const struct right *b)
{
    float *floats = check_floats(b->count / 2);
    uint16_t *halves = (uint16_t *)(void *)floats;
    for (size_t at = 0; at < b->count; at++) {
        halves[at] = canary_intact(b->data + at) ? 0x7e00 : safetensors_f16_from_f32(b->data[at]);
        if (halves[at] != 0x7e00)
            b->data[at] = safetensors_f32_from_f16(halves[at]);
    }
    return floats;
}

/* With B in fp16: the bits that gemm gives with the same numbers in fp32. */
static void halves_case(const struct kernels *kernels, struct random *random,
                        const size_t size[3], enum gemm_epilogue epilogue)
{
    const size_t m = size[0], n = size[1], k = size[2];
    const struct left a = random_left(random, m, k, MAGNITUDE_ONE);
    const struct right b = random_right(random, k, n, MAGNITUDE_ONE);
    const struct right c = random_right(random, m, n, MAGNITUDE_ONE);
    const float *halves = make_halves(&b);
    float *bias = check_floats(c.width);
    random_fill(random, bias, n, MAGNITUDE_ONE);
    for (enum side side = 0; side < SIDES; side++) {
        struct gemm g = {
            .m = m, .n = n, .k = k,
            .a = {guard_input(a.data, a.count, side), a.row, a.col},
            .b = {guard_input(b.data, b.count, side), b.stride, b.panel},
            .c = {guard_update(c.data, c.count, side), c.stride, c.panel},
            .epilogue = epilogue,
            .bias = epilogue >= GEMM_BIAS ? guard_input(bias, c.width, side) : NULL,
            .halves = (const uint16_t *)(const void *)guard_input(halves, b.count / 2, side),
        };
        const float *want = g.c.data;
        kernels->gemm(&g);
        g.b.data = NULL;
        g.c.data = guard_update(c.data, c.count, side);
        kernels->gemm_f16(&g);
        check_bits(g.c.data, want, c.count, "gemm of fp16");
    }
    check_release();
}

static void test_gemm_f16(const struct kernels *kernels, struct random *random,
                          struct worst *worst)
{
    if (!kernels->gemm_f16) {
        print_message("  skipped: level %s has no such instructions\n", kernels->level);
        return;
    }
    for (size_t i = 0; i < COUNT(m_sizes); i++)
        for (size_t j = 0; j < COUNT(n_sizes); j++)
            for (size_t p = 0; p < COUNT(k_sizes); p++, worst->values++)
                halves_case(kernels, random, (size_t[]){m_sizes[i], n_sizes[j], k_sizes[p]},
                            (enum gemm_epilogue)random_below(random, GEMM_BIAS_RELU + 1));
    halves_case(kernels, random, (size_t[]){9, 96, 1024}, GEMM_BIAS);
}

/* Operands of the row test. */
enum { ROWS_M = 19, ROWS_N = 48, ROWS_K = 37, ROWS_BAD = 6 };

struct rows {
    float *a, *b, *c, *bias, *result;
};

static void rows_run(const struct kernels *kernels, const struct rows *r, enum gemm_epilogue e,
                     size_t first, size_t rows)
{
    const struct gemm g = {
        rows, ROWS_N, ROWS_K,
        {r->a + first * ROWS_K, ROWS_K, 1},
        {r->b, ROWS_N, KERNEL_PANEL},
        {r->result, ROWS_N, KERNEL_PANEL},
        e, r->bias, NULL, NULL,
    };
    memcpy(r->result, r->c + first * ROWS_N, rows * ROWS_N * sizeof(float));
    kernels->gemm(&g);
}

/* A row's result is the same bits alone, in any block of rows, at any place,
 * and beside a row of NaN: an image's answer depends on that image alone. */
static void test_gemm_rows(const struct kernels *kernels, struct random *random,
                           struct worst *worst)
{
    const size_t n = ROWS_M * ROWS_N;
    const struct rows r = {check_floats(ROWS_M * ROWS_K), check_floats(ROWS_K * ROWS_N),
                           check_floats(n), check_floats(ROWS_N), check_floats(n)};
    float *alone = check_floats(n);
    (void)worst;
    random_fill(random, r.a, ROWS_M * ROWS_K, MAGNITUDE_ONE);
    random_fill(random, r.b, ROWS_K * ROWS_N, MAGNITUDE_ONE);
    random_fill(random, r.c, n, MAGNITUDE_ONE);
    random_fill(random, r.bias, ROWS_N, MAGNITUDE_ONE);
    canary_fill(r.a + ROWS_BAD * ROWS_K, ROWS_K);
    for (enum gemm_epilogue e = GEMM_STORE; e <= GEMM_BIAS_RELU; e++) {
        for (size_t i = 0; i < ROWS_M; i++) {
            rows_run(kernels, &r, e, i, 1);
            memcpy(alone + i * ROWS_N, r.result, ROWS_N * sizeof(float));
        }
        for (size_t rows = 2; rows <= ROWS_M; rows++)
            for (size_t first = 0; first + rows <= ROWS_M; first++) {
                rows_run(kernels, &r, e, first, rows);
                for (size_t i = 0; i < rows; i++)
                    if (first + i != ROWS_BAD)
                        check_bits(r.result + i * ROWS_N, alone + (first + i) * ROWS_N, ROWS_N,
                                   "a row of a product");
            }
    }
}

static void test_transpose(const struct kernels *kernels, struct random *random,
                           struct worst *worst)
{
    for (size_t rows = 0; rows <= 64; rows += KERNEL_PAD)
        for (size_t cols = 0; cols <= 64; cols += KERNEL_PAD) {
            const size_t from = cols + KERNEL_PAD * random_below(random, 3);
            const size_t to = rows + KERNEL_PAD * random_below(random, 3);
            const size_t n_src = rows && cols ? (rows - 1) * from + cols : 0;
            const size_t n_dst = rows && cols ? (cols - 1) * to + rows : 0;
            float *src = check_floats(n_src), *dst[SIDES];
            random_fill(random, src, n_src, MAGNITUDE_HOSTILE);
            for (enum side side = 0; side < SIDES; side++) {
                dst[side] = guard_output(n_dst, side);
                kernels->transpose(dst[side], to, guard_input(src, n_src, side), from, rows, cols);
            }
            check_bits(dst[0], dst[1], n_dst, "transpose");
            for (size_t at = 0; at < n_dst; at++) {
                const size_t j = at / to, i = at % to;
                if (i < rows)
                    check_value(worst, (double)dst[0][at], (double)src[i * from + j], 0,
                                "%zu x %zu: dst[%zu][%zu]", rows, cols, j, i);
                else if (!canary_intact(dst[0] + at))
                    fail_msg("transpose wrote between its rows");
            }
            check_release();
        }
}

/* ---- Timing: one product of PrimaryCaps, 64 images --------------------- */

enum { BENCH_M = 64, BENCH_N = 256, BENCH_K = 1024 };

static void call_gemm(const struct kernels *k, void *argument)
{
    k->gemm(argument);
}

static const float *bench_input(size_t n)
{
    struct random random = {n};
    float *p = guard_output(n, SIDE_START);
    random_fill(&random, p, n, MAGNITUDE_ONE);
    return p;
}

static struct const_matrix bench_panels(size_t rows)
{
    return (struct const_matrix){bench_input(rows * BENCH_N), KERNEL_PANEL, rows * KERNEL_PANEL};
}

static void bench_gemm(const struct kernels *k)
{
    struct gemm g = {
        BENCH_M, BENCH_N, BENCH_K,
        {bench_input(BENCH_M * BENCH_K), BENCH_K, 1},
        bench_panels(BENCH_K),
        {guard_output(BENCH_M * BENCH_N, SIDE_START), BENCH_N, KERNEL_PANEL},
        GEMM_STORE, NULL, NULL, NULL,
    };
    bench_print(k, "gemm 64x256x1024", 2.0 * BENCH_M * BENCH_N * BENCH_K, "GFLOP/s", call_gemm, &g);
    g.m = 1;
    bench_print(k, "gemm 1x256x1024", 2.0 * BENCH_N * BENCH_K, "GFLOP/s", call_gemm, &g);
}

struct copy {
    float *dst;
    const float *src;
};

/* A packed 1024 x 256 operand into the panels of its transpose, as PrimaryCaps
 * does with its weights. */
static void call_transpose(const struct kernels *k, void *argument)
{
    const struct copy *c = argument;
    for (size_t row = 0; row < BENCH_K; row += KERNEL_PANEL)
        for (size_t panel = 0; panel < BENCH_N; panel += KERNEL_PANEL)
            k->transpose(c->dst + row * BENCH_N + panel * KERNEL_PANEL, KERNEL_PANEL,
                         c->src + panel * BENCH_K + row * KERNEL_PANEL, KERNEL_PANEL,
                         KERNEL_PANEL, KERNEL_PANEL);
}

static void bench_transpose(const struct kernels *k)
{
    struct copy c = {guard_output(BENCH_N * BENCH_K, SIDE_START), bench_input(BENCH_N * BENCH_K)};
    bench_print(k, "transpose panels", 8.0 * BENCH_N * BENCH_K, "GB/s", call_transpose, &c);
}

int main(void)
{
    static const struct check checks[] = {
        {"gemm", test_gemm, bench_gemm},
        {"gemm of fp16", test_gemm_f16, NULL},
        {"gemm rows", test_gemm_rows, NULL},
        {"transpose", test_transpose, bench_transpose},
    };
    return check_main(checks, COUNT(checks));
}
