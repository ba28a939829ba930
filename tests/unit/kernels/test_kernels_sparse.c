/*
 * test_kernels_sparse.c - what list_words() lists, and products through such lists, of
 * every CPU level, against double precision.
 *
 * Bounds as in test_kernels_gemm.c and test_kernels_narrow.c: of a float product a term is
 * rounded by its multiplication and by at most k additions, so
 * |error| <= (k + 4) u sum |a||b|; an 8-bit one is exact, and its conversion, its
 * scales and the bias round once each.
 */
#include <math.h>
#include <string.h>

#include "tests/common/kernel_check.h"
#include "tests/common/reference.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

enum kind { F32, BF16, INT8, KINDS };
static const size_t values_per_word[KINDS] = {1, 2, 4};

/* A left operand of few values, and a panel. */
struct task {
    enum kind kind;
    size_t rows, words, k;
    double density;
    uint32_t *a, *b;            /* [rows][words], [words][KERNEL_PANEL] */
    double *a_dense, *b_dense;  /* [rows][k], [k][KERNEL_PANEL] */
    const struct sparse_word *list; /* against a guard page */
    size_t count;
};

static double value_of(enum kind kind, const uint32_t *word, size_t q, int is_left)
{
    const uint32_t half = *word >> 16 * q << 16, bits = kind == F32 ? *word : half;
    float x;
    memcpy(&x, &bits, sizeof x);
    if (kind == INT8)
        return is_left ? ((const uint8_t *)word)[q] : ((const int8_t *)word)[q];
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
    return kind == F32 ? bits[0] : kind == BF16 ? bits[0] >> 16 | (bits[1] & 0xffff0000) : bytes;
}

/* All that a list may have room for, and zeros behind it: where the product looks ahead. */
static void make_list(const struct kernels *kernels, struct task *t, enum side side)
{
    const size_t words = t->words + SPARSE_SLACK, floats = words * sizeof *t->list / sizeof(float);
    struct sparse_word *list = (struct sparse_word *)(void *)check_floats(floats);
    const void *from[SPARSE_ROWS];
    for (size_t i = 0; i < t->rows; i++)
        from[i] = guard_input((const float *)(const void *)(t->a + i * t->words), t->words, side);
    /* In two parts, as rows of a window are. */
    const size_t first = t->words / 3;
    t->count = kernels->list_words(list, t->rows, from, first, 0);
    for (size_t i = 0; i < t->rows; i++)
        from[i] = (const uint32_t *)from[i] + first;
    t->count += kernels->list_words(list + t->count, t->rows, from, t->words - first, (uint32_t)first);
    memset(list + t->count, 0, SPARSE_SLACK * sizeof *list);
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
    t->b = (uint32_t *)(void *)check_floats(t->words * KERNEL_PANEL);
    for (size_t i = 0; i < t->rows * t->words; i++)
        t->a[i] = (random_real(random) + 1) / 2 < t->density ? random_word(random, t->kind, magnitude) : 0;
    for (size_t i = 0; i < t->words * KERNEL_PANEL; i++)
        t->b[i] = random_word(random, t->kind, magnitude);
    t->a_dense = check_doubles(t->rows * t->k);
    t->b_dense = check_doubles(t->k * KERNEL_PANEL);
    for (size_t i = 0; i < t->rows; i++)
        for (size_t p = 0; p < t->k; p++)
            t->a_dense[i * t->k + p] =
                value_of(t->kind, t->a + i * t->words + p / per_word, p % per_word, 1);
    for (size_t p = 0; p < t->k; p++)
        for (size_t j = 0; j < KERNEL_PANEL; j++)
            t->b_dense[p * KERNEL_PANEL + j] =
                value_of(t->kind, t->b + p / per_word * KERNEL_PANEL + j, p % per_word, 0);
}

/* The product on both sides of guard pages. */
static const float *run(const struct kernels *kernels, struct task *t, const float *bias,
                        float row_scale, const float *scales, size_t stride)
{
    const size_t count = (t->rows - 1) * stride + KERNEL_PANEL;
    float *sides[SIDES];
    for (enum side side = 0; side < SIDES; side++) {
        make_list(kernels, t, side);
        check_list(t);
        sides[side] = guard_output(count, side);
        const struct sparse_product g = {
            .rows = t->rows,
            .count = t->count,
            .words = t->list,
            .b = (const uint32_t *)(const void *)guard_input(
                (const float *)(const void *)t->b, t->words * KERNEL_PANEL, side),
            .bias = guard_input(bias, KERNEL_PANEL, side),
            .scales = t->kind == INT8 ? guard_input(scales, KERNEL_PANEL, side) : NULL,
            .row_scale = row_scale,
            .c = sides[side],
            .c_stride = stride,
        };
        if (t->kind == F32)
            kernels->gemm_sparse(&g);
        else if (t->kind == BF16)
            kernels->gemm_sparse_bf16(&g);
        else
            kernels->gemm_sparse_int8(&g);
    }
    for (size_t i = 0; i < t->rows; i++)
        check_bits(sides[0] + i * stride, sides[1] + i * stride, KERNEL_PANEL, "sparse product");
    return sides[0];
}

static void one_case(const struct kernels *kernels, struct random *random, struct worst *worst,
                     struct task *t)
{
    const enum magnitude magnitude = random_below(random, 4) ? MAGNITUDE_ONE : MAGNITUDE_HOSTILE;
    const size_t stride = KERNEL_PANEL + KERNEL_PAD * random_below(random, 2);
    float bias[KERNEL_PANEL], scales[KERNEL_PANEL], row_scale;
    random_task(t, random, magnitude);
    random_fill(random, bias, KERNEL_PANEL, magnitude);
    random_fill(random, scales, KERNEL_PANEL, MAGNITUDE_ONE);
    random_fill(random, &row_scale, 1, MAGNITUDE_ONE);
    const float *got = run(kernels, t, bias, row_scale, scales, stride);
    double *want = check_doubles(t->rows * KERNEL_PANEL), *terms = check_doubles(t->rows * KERNEL_PANEL);
    reference_product(want, terms, t->rows, KERNEL_PANEL, t->k, t->a_dense, t->b_dense);
    for (size_t i = 0; i < t->rows; i++)
        for (size_t j = 0; j < KERNEL_PANEL; j++) {
            const size_t at = i * KERNEL_PANEL + j;
            const double by = t->kind == INT8 ? (double)row_scale * (double)scales[j] : 1;
            const double size = t->kind == INT8 ? fabs(want[at] * by) : terms[at];
            const double roundings = t->kind == INT8 ? 4 : (double)t->k + 4;
            check_value(worst, (double)got[i * stride + j], want[at] * by + (double)bias[j],
                        roundings * (ROUNDING * (size + fabs((double)bias[j])) + (double)FLT_MIN),
                        "%zu rows, %zu of %zu words: c[%zu][%zu]", t->rows, t->count, t->words, i, j);
        }
    check_release();
}

static void test_kind(const struct kernels *kernels, struct random *random, struct worst *worst,
                      enum kind kind)
{
    static const size_t words[] = {1, 2, 15, 16, 17, 63, 64, 65, 130, 700, 5000};
    static const double densities[] = {0, 0.02, 0.3, 1};
    const int has = kind == F32    ? 1
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

static void test_bf16(const struct kernels *kernels, struct random *random, struct worst *worst)
{
    test_kind(kernels, random, worst, BF16);
}

static void test_int8(const struct kernels *kernels, struct random *random, struct worst *worst)
{
    test_kind(kernels, random, worst, INT8);
}

int main(void)
{
    static const struct check checks[] = {
        {"sparse f32", test_f32, NULL},
        {"sparse bf16", test_bf16, NULL},
        {"sparse int8", test_int8, NULL},
    };
    return check_main(checks, COUNT(checks));
}
