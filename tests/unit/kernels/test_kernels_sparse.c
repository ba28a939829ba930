/*
 * test_kernels_sparse.c - what list_words() lists, products through such lists, and the
 * convolution that leaves out zeros, of every CPU level, against double precision.
 *
 * Bounds as in test_kernels_gemm.c and test_kernels_narrow.c: of a float product a term is
 * rounded by its multiplication and by at most k additions, so
 * |error| <= (k + 4) u sum |a||b|; an 8-bit one is exact, and its conversion, its
 * scales and the bias round once each.
 */
#include <math.h>
#include <string.h>

#include "model/weights_file/float_formats.h"
#include "tests/common/kernel_check.h"
#include "tests/common/reference.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

enum kind { F32, F16, BF16, INT8, KINDS };
static const size_t values_per_word[KINDS] = {1, 1, 2, 4};

enum { MAX_PANELS = 2 * SPARSE_PANELS - 1 };

/* A left operand of few values, and some panels, one behind the other or beside each other. */
struct task {
    enum kind kind;
    size_t rows, words, k, n, panels, b_row, b_panel, b_words;
    int relu;
    double density;
    uint32_t *a, *b;            /* [rows][words], [b_words] */
    double *a_dense, *b_dense;  /* [rows][k], [k][n] */
    const struct sparse_word *list; /* against a guard page */
    size_t count;
};

static double value_of(enum kind kind, const uint32_t *word, size_t q, int is_left)
{
    if (kind == INT8)
        return is_left ? ((const uint8_t *)word)[q] : ((const int8_t *)word)[q];
    const uint32_t half = *word >> 16 * q << 16, bits = kind == BF16 ? half : *word;
    float x;
    memcpy(&x, &bits, sizeof x);
    return kind == BF16 && fabsf(x) < FLT_MIN ? 0 : (double)x;
}

static uint32_t random_word(struct random *random, enum kind kind, enum magnitude magnitude)
{
    float x[2];
    uint32_t bits[2], bytes = 0;
    random_fill(random, x, 2, magnitude);
    memcpy(bits, x, sizeof bits);
    for (size_t q = 0; q < 4; q++)
        bytes = bytes << 8 | (uint32_t)random_below(random, 256);
    return kind == INT8 ? bytes : kind == BF16 ? bits[0] >> 16 | (bits[1] & 0xffff0000) : bits[0];
}

/* An fp32 that is an fp16: any finite one. */
static uint32_t random_f16(struct random *random)
{
    const float x = safetensors_f32_from_f16((unsigned short)(random_below(random, 2) << 15 |
                                                              random_below(random, 0x7c00)));
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Lists `count` words of the rows from the first on; what lies behind them and behind their bits
 * is not read. */
static size_t list_part(const struct kernels *kernels, const struct task *t,
                        struct sparse_word *list, size_t first, size_t count, enum side side)
{
    const void *from[SPARSE_ROWS];
    const uint64_t *set[SPARSE_ROWS];
    const size_t bits = (count + 63) / 64;
    for (size_t i = 0; i < t->rows; i++) {
        const uint32_t *row = t->a + i * t->words + first;
        uint64_t *to = (uint64_t *)(void *)guard_output(2 * bits, side);
        from[i] = guard_input((const float *)(const void *)row, count, side);
        kernels->find_words(to, from[i], count);
        for (size_t w = 0; w < bits * 64; w++)
            assert_int_equal(to[w / 64] >> w % 64 & 1, w < count && row[w]);
        set[i] = to;
    }
    return kernels->list_words(list, t->rows, from, set, count, (uint32_t)first);
}

/* All that a list may have room for, and the same list behind it, or that of rows behind B: where
 * the product looks ahead. */
static void make_list(const struct kernels *kernels, struct task *t, enum side side)
{
    const size_t words = t->words + SPARSE_SLACK, floats = words * sizeof *t->list / sizeof(float);
    struct sparse_word *list = (struct sparse_word *)(void *)check_floats(floats);
    /* In two parts, as rows of a window are. */
    const size_t first = t->words / 3;
    t->count = list_part(kernels, t, list, 0, first, side);
    t->count += list_part(kernels, t, list + t->count, first, t->words - first, side);
    sparse_end(list + t->count, list, t->count, side == SIDE_START ? 0 : t->words);
    t->list = (const struct sparse_word *)(const void *)guard_input(
        (const float *)(const void *)list,
        (t->count + SPARSE_SLACK) * sizeof *list / sizeof(float), side);
}

static void check_list(const struct task *t)
{
    size_t next = 0;
    for (size_t w = 0; w < t->words; w++) {
        uint32_t any = 0;
        for (size_t i = 0; i < t->rows; i++)
            any |= t->a[i * t->words + w];
        if (!any)
            continue;
        assert_true(next < t->count);
        assert_int_equal(t->list[next].number, w);
        for (size_t i = 0; i < SPARSE_ROWS; i++)
            assert_int_equal(t->list[next].value[i], i < t->rows ? t->a[i * t->words + w] : 0);
        next++;
    }
    assert_int_equal(next, t->count);
}

static void random_task(struct task *t, struct random *random, enum magnitude magnitude)
{
    const size_t per_word = values_per_word[t->kind];
    t->k = t->words * per_word;
    t->a = (uint32_t *)(void *)check_floats(t->rows * t->words);
    t->b_words = (t->panels - 1) * t->b_panel + (t->words - 1) * t->b_row + KERNEL_PANEL;
    t->b = (uint32_t *)(void *)check_floats(t->b_words);
    for (size_t i = 0; i < t->rows * t->words; i++)
        t->a[i] = (random_real(random) + 1) / 2 < t->density ? random_word(random, t->kind, magnitude) : 0;
    for (size_t i = 0; i < t->b_words; i++)
        t->b[i] = t->kind == F16 ? random_f16(random) : random_word(random, t->kind, magnitude);
    t->a_dense = check_doubles(t->rows * t->k);
    t->b_dense = check_doubles(t->k * t->n);
    for (size_t i = 0; i < t->rows; i++)
        for (size_t p = 0; p < t->k; p++)
            t->a_dense[i * t->k + p] =
                value_of(t->kind, t->a + i * t->words + p / per_word, p % per_word, 1);
    for (size_t p = 0; p < t->k; p++)
        for (size_t j = 0; j < t->n; j++)
            t->b_dense[p * t->n + j] =
                value_of(t->kind, t->b + j / KERNEL_PANEL * t->b_panel + p / per_word * t->b_row +
                                      j % KERNEL_PANEL, p % per_word, 0);
}

/* B at a guard page; F16: stored as such. */
static const void *guard_panels(const struct task *t, enum side side)
{
    const size_t count = t->b_words;
    const float *b = (const float *)(const void *)t->b;
    if (t->kind != F16)
        return guard_input(b, count, side);
    float *floats = check_floats(count / 2);
    for (size_t i = 0; i < count; i++)
        ((uint16_t *)(void *)floats)[i] = safetensors_f16_from_f32(b[i]);
    return guard_input(floats, count / 2, side);
}

/* The product on both sides of guard pages. */
static const float *run(const struct kernels *kernels, struct task *t, const float *bias,
                        float row_scale, const float *scales, size_t stride)
{
    const size_t count = (t->rows - 1) * stride + t->n;
    float *sides[SIDES];
    for (enum side side = 0; side < SIDES; side++) {
        make_list(kernels, t, side);
        check_list(t);
        sides[side] = guard_output(count, side);
        struct sparse_product g = {
            .rows = t->rows,
            .count = t->count,
            .panels = t->panels,
            .words = t->list,
            .b = guard_panels(t, side),
            .b_row = t->b_row,
            .b_panel = t->b_panel,
            .relu = t->relu,
            .bias = guard_input(bias, t->n, side),
            .scales = t->kind == INT8 ? guard_input(scales, t->n, side) : NULL,
            .row_scale = row_scale,
            .c = sides[side],
            .c_stride = stride,
        };
        if (t->kind == F32)
            kernels->gemm_sparse(&g);
        else if (t->kind == F16)
            kernels->gemm_sparse_f16(&g);
        else if (t->kind == BF16)
            kernels->gemm_sparse_bf16(&g);
        else
            kernels->gemm_sparse_int8(&g);
        if (t->kind == F16) {
            g.b = t->b;
            g.c = check_floats(count);
            kernels->gemm_sparse(&g);
            for (size_t i = 0; i < t->rows; i++)
                check_bits(sides[side] + i * stride, g.c + i * stride, t->n,
                           "sparse product in fp32");
        }
    }
    for (size_t i = 0; i < t->rows; i++)
        check_bits(sides[0] + i * stride, sides[1] + i * stride, t->n, "sparse product");
    return sides[0];
}

static void one_case(const struct kernels *kernels, struct random *random, struct worst *worst,
                     struct task *t)
{
    const enum magnitude magnitude = random_below(random, 4) ? MAGNITUDE_ONE : MAGNITUDE_HOSTILE;
    const int is_beside = (int)random_below(random, 2);
    float bias[MAX_PANELS * KERNEL_PANEL], scales[MAX_PANELS * KERNEL_PANEL], row_scale;
    t->panels = 1 + random_below(random, MAX_PANELS);
    t->n = t->panels * KERNEL_PANEL;
    t->b_row = (is_beside ? t->n : KERNEL_PANEL) + KERNEL_PAD * random_below(random, 4);
    t->b_panel = is_beside ? KERNEL_PANEL : t->words * t->b_row;
    const size_t n = t->n, stride = n + KERNEL_PAD * random_below(random, 2);
    t->relu = (int)random_below(random, 2);
    random_task(t, random, magnitude);
    random_fill(random, bias, n, magnitude);
    random_fill(random, scales, n, MAGNITUDE_ONE);
    random_fill(random, &row_scale, 1, MAGNITUDE_ONE);
    const float *got = run(kernels, t, bias, row_scale, scales, stride);
    double *want = check_doubles(t->rows * n), *terms = check_doubles(t->rows * n);
    reference_product(want, terms, t->rows, n, t->k, t->a_dense, t->b_dense);
    for (size_t i = 0; i < t->rows; i++)
        for (size_t j = 0; j < n; j++) {
            const size_t at = i * n + j;
            const double by = t->kind == INT8 ? (double)row_scale * (double)scales[j] : 1;
            const double size = t->kind == INT8 ? fabs(want[at] * by) : terms[at];
            const double roundings = t->kind == INT8 ? 4 : (double)t->k + 4;
            const double sum = want[at] * by + (double)bias[j];
            check_value(worst, (double)got[i * stride + j], t->relu ? fmax(0, sum) : sum,
                        roundings * (ROUNDING * (size + fabs((double)bias[j])) + (double)FLT_MIN),
                        "%zu rows, %zu of %zu words, %zu panels: c[%zu][%zu]", t->rows, t->count,
                        t->words, t->panels, i, j);
        }
    check_release();
}

static void test_kind(const struct kernels *kernels, struct random *random, struct worst *worst,
                      enum kind kind)
{
    static const size_t words[] = {1, 2, 15, 16, 17, 63, 64, 65, 130, 700, 5000};
    static const double densities[] = {0, 0.02, 0.3, 1};
    const int has = kind == F32    ? 1
                    : kind == F16  ? kernels->gemm_sparse_f16 != NULL
                    : kind == BF16 ? kernels->gemm_sparse_bf16 != NULL
                                   : kernels->gemm_sparse_int8 != NULL;
    if (!has) {
        print_message("  skipped: level %s has no such instructions\n", kernels->level);
        return;
    }
    for (size_t rows = 1; rows <= SPARSE_ROWS; rows++)
        for (size_t w = 0; w < COUNT(words); w++)
            for (size_t d = 0; d < COUNT(densities); d++) {
                struct task t = {.kind = kind, .rows = rows, .words = words[w],
                                 .density = densities[d]};
                one_case(kernels, random, worst, &t);
            }
}

static void test_f32(const struct kernels *kernels, struct random *random, struct worst *worst)
{
    test_kind(kernels, random, worst, F32);
}

static void test_f16(const struct kernels *kernels, struct random *random, struct worst *worst)
{
    test_kind(kernels, random, worst, F16);
}

static void test_bf16(const struct kernels *kernels, struct random *random, struct worst *worst)
{
    test_kind(kernels, random, worst, BF16);
}

static void test_int8(const struct kernels *kernels, struct random *random, struct worst *worst)
{
    test_kind(kernels, random, worst, INT8);
}

/* ---- The convolution ------------------------------------------------------- */

struct image {
    enum kind kind;
    size_t rows, width, channels, kernel, n; /* as of struct convolution */
    size_t row, words, extent;               /* extent: the values that are read */
    size_t b_word, b_panel, b_words;
    int to_bf16;
    uint32_t *values, *b; /* [extent], [b_words] */
    float *bias, *scales, scale;
};

static size_t words_for(size_t bytes)
{
    return (bytes + 3) / 4;
}

static size_t value_bytes(enum kind kind)
{
    return 4 / values_per_word[kind];
}

static void random_pixel(struct random *random, const struct image *m, size_t i, double density,
                         enum magnitude magnitude)
{
    const uint32_t word =
        (random_real(random) + 1) / 2 < density ? random_word(random, m->kind, magnitude) : 0;
    const size_t bytes = value_bytes(m->kind);
    memcpy((char *)m->values + i * bytes, &word, bytes);
}

static void random_image(struct random *random, struct image *m, double density,
                         enum magnitude magnitude)
{
    const size_t per_word = values_per_word[m->kind], run = m->kernel * m->channels;
    m->words = (run + per_word - 1) / per_word;
    m->row = (m->width + m->kernel - 1) * m->channels;
    m->extent = (m->rows + m->kernel - 2) * m->row + (m->width - 1) * m->channels +
                m->words * per_word;
    /* Row by row as fp32 weights lie, or by panel. */
    const size_t words = m->kernel * m->words, panels = (m->n + KERNEL_PANEL - 1) / KERNEL_PANEL;
    const int is_row = m->kind == F32 || random_below(random, 2);
    m->b_word = is_row ? m->n + KERNEL_PAD * random_below(random, 2) : KERNEL_PANEL;
    m->b_panel = is_row ? KERNEL_PANEL : words * KERNEL_PANEL;
    m->b_words = is_row ? (words - 1) * m->b_word + m->n : panels * words * KERNEL_PANEL;
    m->values = (uint32_t *)(void *)check_floats(words_for(m->extent * value_bytes(m->kind)));
    m->b = (uint32_t *)(void *)check_floats(m->b_words);
    for (size_t i = 0; i < m->extent; i++)
        random_pixel(random, m, i, density, magnitude);
    for (size_t i = 0; i < m->b_words; i++)
        m->b[i] = random_word(random, m->kind, magnitude);
    /* Where a row's last word is longer than the row. */
    const uint32_t own = 0xffffffff >> 8 * (m->words * per_word - run) * value_bytes(m->kind);
    for (size_t ky = 1; ky <= m->kernel; ky++)
        for (size_t j = 0; j < m->n; j++)
            m->b[j / KERNEL_PANEL * m->b_panel + (ky * m->words - 1) * m->b_word + j % KERNEL_PANEL] &= own;
    m->bias = check_floats(m->n);
    m->scales = check_floats(m->n);
    random_fill(random, m->bias, m->n, magnitude);
    random_fill(random, m->scales, m->n, MAGNITUDE_ONE);
    random_fill(random, &m->scale, 1, MAGNITUDE_ONE);
}

/* A copy of bytes at a guard page, rounded up to floats at its end. */
static const void *guard_words(const void *src, size_t bytes, enum side side)
{
    const size_t floats = words_for(bytes), pad = side == SIDE_END ? 4 * floats - bytes : 0;
    float *copy = check_floats(floats);
    memcpy((char *)copy + pad, src, bytes);
    return (const char *)guard_input(copy, floats, side) + pad;
}

/* [rows * width][n], of both sides of guard pages the same. */
static float *convolve(const struct kernels *kernels, const struct image *m)
{
    const size_t count = m->rows * m->width * m->n, floats = m->to_bf16 ? count / 2 : count;
    const size_t scratch = convolution_scratch((m->rows + m->kernel - 1) * m->row, m->rows,
                                               m->width, m->kernel, m->words);
    float *sides[SIDES];
    for (enum side side = 0; side < SIDES; side++) {
        float *c = guard_output(floats, side);
        const struct convolution g = {
            .image = guard_words(m->values, m->extent * value_bytes(m->kind), side),
            .row = m->row, .pixel = m->channels, .rows = m->rows, .width = m->width,
            .kernel = m->kernel, .words = m->words, .n = m->n,
            .b = guard_words(m->b, 4 * m->b_words, side),
            .b_word = m->b_word, .b_panel = m->b_panel,
            .bias = guard_input(m->bias, m->n, side),
            .scale = m->scale,
            .scales = m->kind == INT8 ? guard_input(m->scales, m->n, side) : NULL,
            .c = m->to_bf16 ? NULL : c,
            .c16 = m->to_bf16 ? (uint16_t *)(void *)c : NULL,
            .c_stride = m->n,
            .scratch = (uint64_t *)(void *)guard_output(2 * scratch, side),
        };
        (m->kind == F32    ? kernels->conv_sparse
         : m->kind == BF16 ? kernels->conv_sparse_bf16
                           : kernels->conv_sparse_int8)(&g);
        sides[side] = check_floats(count);
        for (size_t i = 0; i < count; i++) {
            const uint32_t bits = m->to_bf16 ? (uint32_t)g.c16[i] << 16 : 0;
            memcpy(&sides[side][i], m->to_bf16 ? (const void *)&bits : c + i, sizeof(float));
        }
    }
    check_bits(sides[0], sides[1], count, "convolution");
    return sides[0];
}

static double image_value(const struct image *m, size_t i)
{
    uint32_t word = 0;
    memcpy(&word, (const char *)m->values + i * value_bytes(m->kind), value_bytes(m->kind));
    return value_of(m->kind, &word, 0, 1);
}

static void check_convolution(const struct image *m, const float *got, struct worst *worst)
{
    const size_t per_word = values_per_word[m->kind], run = m->words * per_word;
    for (size_t at = 0; at < m->rows * m->width; at++)
        for (size_t j = 0; j < m->n; j++) {
            double want = 0, terms = 0;
            const size_t first = at / m->width * m->row + at % m->width * m->channels;
            for (size_t p = 0; p < m->kernel * run; p++) {
                const uint32_t *w = m->b + j / KERNEL_PANEL * m->b_panel + p / per_word * m->b_word +
                                    j % KERNEL_PANEL;
                const double x = image_value(m, first + p / run * m->row + p % run) *
                                 value_of(m->kind, w, p % per_word, 0);
                want += x;
                terms += fabs(x);
            }
            const double by = m->kind == INT8 ? (double)m->scale * (double)m->scales[j] : 1;
            const double size = m->kind == INT8 ? fabs(want * by) : terms;
            const double roundings = m->kind == INT8 ? 4 : (double)(m->kernel * run) + 4;
            const double bias = (double)m->bias[j], x = fmax(0, want * by + bias);
            double bound = roundings * (ROUNDING * (size + fabs(bias)) + (double)FLT_MIN);
            if (m->to_bf16) /* 8 bits, and what is subnormal then */
                bound += fabs(x) / 256 + (double)FLT_MIN;
            check_value(worst, (double)got[at * m->n + j], x, bound,
                        "%zu x %zu windows of %zu x %zu words, n %zu: [%zu][%zu]", m->rows,
                        m->width, m->kernel, m->words, m->n, at, j);
        }
}

/* What the first window does not read changes no bit of it, though it changes which words are
 * left out beside it. */
static void check_first_window(const struct kernels *kernels, struct random *random,
                               const struct image *m, const float *got)
{
    const size_t run = m->kernel * m->channels;
    for (size_t i = 0; i < m->extent; i++)
        if (i / m->row >= m->kernel || i % m->row >= run)
            random_pixel(random, m, i, 0.7, MAGNITUDE_ONE);
    check_bits(convolve(kernels, m), got, m->n, "first window");
}

static void test_convolution(const struct kernels *kernels, struct random *random,
                             struct worst *worst, enum kind kind)
{
    static const size_t n_sizes[] = {16, 32, 48, 64, 128, 144, 256};
    static const double densities[] = {0, 0.1, 0.4, 1};
    const int has = kind == F32    ? 1
                    : kind == BF16 ? kernels->conv_sparse_bf16 != NULL
                                   : kernels->conv_sparse_int8 != NULL;
    if (!has) {
        print_message("  skipped: level %s has no such instructions\n", kernels->level);
        return;
    }
    for (size_t n = 0; n < COUNT(n_sizes); n++)
        for (size_t d = 0; d < COUNT(densities); d++)
            for (size_t kernel = 1; kernel <= 9; kernel += 2) {
                const enum magnitude magnitude =
                    random_below(random, 4) ? MAGNITUDE_ONE : MAGNITUDE_HOSTILE;
                struct image m = {.kind = kind, .rows = 1 + random_below(random, 3),
                                  .width = 1 + random_below(random, 12),
                                  .channels = 1 + random_below(random, 4), .kernel = kernel,
                                  .n = n_sizes[n],
                                  .to_bf16 = kind == BF16 && random_below(random, 2)};
                random_image(random, &m, densities[d], magnitude);
                const float *got = convolve(kernels, &m);
                check_convolution(&m, got, worst);
                check_first_window(kernels, random, &m, got);
                check_release();
            }
}

static void test_convolution_f32(const struct kernels *kernels, struct random *random,
                                 struct worst *worst)
{
    test_convolution(kernels, random, worst, F32);
}

static void test_convolution_bf16(const struct kernels *kernels, struct random *random,
                                  struct worst *worst)
{
    test_convolution(kernels, random, worst, BF16);
}

static void test_convolution_int8(const struct kernels *kernels, struct random *random,
                                  struct worst *worst)
{
    test_convolution(kernels, random, worst, INT8);
}

int main(void)
{
    static const struct check checks[] = {
        {"sparse f32", test_f32, NULL},
        {"sparse f16", test_f16, NULL},
        {"sparse bf16", test_bf16, NULL},
        {"sparse int8", test_int8, NULL},
        {"convolution f32", test_convolution_f32, NULL},
        {"convolution bf16", test_convolution_bf16, NULL},
        {"convolution int8", test_convolution_int8, NULL},
    };
    return check_main(checks, COUNT(checks));
}
