/*
 * test_kernels_narrow.c - products of bf16 and of 8-bit operands, and the
 * conversions to both, of every CPU level that has them, against double
 * precision.
 *
 * Bound of a bf16 product: the product of two bf16 is exact in fp32, and each
 * of the k additions rounds once at most, so |error| <= (k + 2) u sum_p |a||b|
 * (Higham 2002, eq. 3.5, with 2 for the bias and the store).  The instruction
 * takes subnormal operands for zero, and so does the reference here; a
 * subnormal result becomes zero, at most one smallest normal float an
 * addition.  An 8-bit product is exact; its conversion, the product of its two
 * scales, the product with them and the bias round once each.
 */
#include <math.h>
#include <string.h>

#include "tests/common/kernel_check.h"
#include "tests/common/reference.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static float f32_of(uint32_t bf16)
{
    const uint32_t bits = bf16 << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static double without_subnormal(float x)
{
    return fabsf(x) < FLT_MIN ? 0 : (double)x;
}

/* A level without these instructions says so. */
static int lacks(const struct kernels *kernels, int has)
{
    if (!has)
        print_message("  skipped: level %s has no such instructions\n", kernels->level);
    return !has;
}

/* Bytes against the guard page of that side, at any alignment. */
static const void *guard_bytes(const void *src, size_t bytes, enum side side)
{
    const size_t n = (bytes + 3) / 4, pad = side == SIDE_END ? 4 * n - bytes : 0;
    float *room = check_floats(n);
    memcpy((char *)room + pad, src, bytes);
    return (const char *)guard_input(room, n, side) + pad;
}

/* ---- Operands ------------------------------------------------------------- */

enum kind { BF16, INT8 };

/* A product and its operands; values are what a word holds: 2 bf16, 4 bytes. */
struct task {
    enum kind kind;
    size_t m, n, words, runs, per_word, k;
    struct window window;
    size_t a_bytes, b_words, panels;
    size_t b_panel;
    size_t b_skip; /* words of 32 columns between two runs of B */
    void *a;
    uint32_t *b;
    double *a_dense, *b_dense; /* [m][k], [k][n] */
};

static uint16_t random_bf16(struct random *random, enum magnitude magnitude)
{
    float x;
    uint32_t bits;
    random_fill(random, &x, 1, magnitude);
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)(bits >> 16);
}

/* Matrices, windows that overlap, and rows and words with gaps. */
static void random_window(struct task *t, struct random *random)
{
    const size_t value = t->kind == BF16 ? 2 : 1;
    struct window *w = &t->window;
    w->gap = random_below(random, 2) ? value * random_below(random, 30) : 0;
    const size_t run = (4 + w->gap) * t->words;
    w->width = t->m ? t->m : 1;
    w->row = run * t->runs + value * random_below(random, 5);
    w->skip = run;
    if (random_below(random, 2)) {
        w->width = 1 + random_below(random, w->width);
        w->row = value * (1 + random_below(random, 4));
        w->band = value * random_below(random, 40);
        w->skip = value * random_below(random, 50);
    }
    t->a_bytes = 0;
    for (size_t i = 0; i < t->m; i++) {
        const size_t end = i / w->width * w->band + i % w->width * w->row +
                           (t->runs - 1) * w->skip + run;
        t->a_bytes = t->words && end > t->a_bytes ? end : t->a_bytes;
    }
}

static double a_value(const struct task *t, size_t i, size_t p)
{
    const size_t w = p / t->per_word, value = 4 / t->per_word;
    const size_t byte = i / t->window.width * t->window.band + i % t->window.width * t->window.row +
                        w / t->words * t->window.skip + w % t->words * (4 + t->window.gap) + p % t->per_word * value;
    const uint8_t *at = (const uint8_t *)t->a + byte;
    uint16_t bits;
    if (t->kind == INT8)
        return *at;
    memcpy(&bits, at, sizeof bits);
    return without_subnormal(f32_of(bits));
}

static double b_value(const struct task *t, size_t p, size_t j)
{
    const size_t w = p / t->per_word;
    const size_t row = w + w / t->words * t->b_skip;
    const uint32_t *word = t->b + j / KERNEL_PANEL * t->b_panel + row * KERNEL_PANEL +
                           j % KERNEL_PANEL;
    uint16_t halves[2];
    int8_t bytes[4];
    memcpy(halves, word, sizeof halves);
    memcpy(bytes, word, sizeof bytes);
    return t->kind == INT8 ? bytes[p % 4] : without_subnormal(f32_of(halves[p % 2]));
}

static void random_task(struct task *t, struct random *random, enum magnitude magnitude)
{
    t->per_word = t->kind == BF16 ? 2 : 4;
    t->k = t->words * t->runs * t->per_word;
    t->panels = (t->n + KERNEL_PANEL - 1) / KERNEL_PANEL;
    random_window(t, random);
    t->b_panel = t->runs * (t->words + t->b_skip) * KERNEL_PANEL;
    t->b_words = t->panels * t->b_panel;
    t->a = check_floats((t->a_bytes + 3) / 4);
    t->b = (uint32_t *)(void *)check_floats(t->b_words);
    for (size_t i = 0; i < t->a_bytes / 2 && t->kind == BF16; i++)
        ((uint16_t *)t->a)[i] = random_bf16(random, magnitude);
    for (size_t i = 0; i < t->a_bytes && t->kind == INT8; i++)
        ((uint8_t *)t->a)[i] = (uint8_t)random_below(random, 256);
    for (size_t i = 0; i < t->b_words; i++) {
        uint32_t word = random_bf16(random, magnitude);
        word |= (uint32_t)random_bf16(random, magnitude) << 16;
        for (size_t q = 0; q < 4 && t->kind == INT8; q++)
            ((int8_t *)&word)[q] = (int8_t)((int)random_below(random, 255) - 127);
        t->b[i] = word;
    }
    t->a_dense = check_doubles(t->m * t->k);
    t->b_dense = check_doubles(t->k * t->n);
    for (size_t i = 0; i < t->m; i++)
        for (size_t p = 0; p < t->k; p++)
            t->a_dense[i * t->k + p] = a_value(t, i, p);
    for (size_t p = 0; p < t->k; p++)
        for (size_t j = 0; j < t->n; j++)
            t->b_dense[p * t->n + j] = b_value(t, p, j);
}

static struct window guard_window(const struct task *t, enum side side)
{
    struct window w = t->window;
    w.data = guard_bytes(t->a, t->a_bytes, side);
    return w;
}

/* ---- gemm_bf16, gemm_int8 ------------------------------------------------- */

struct extras {
    float *row_scales, *scales, *bias; /* NULL: none */
    size_t row_step;
    int32_t *start; /* likewise */
    int relu, to_bf16;
    const float *add; /* what C holds before, of bf16; or NULL */
};

/* Runs the product on both sides of guard pages; its result as floats. */
static float *run_product(const struct kernels *kernels, const struct task *t,
                          const struct extras *e, size_t stride)
{
    const size_t count = t->m ? (t->m - 1) * stride + t->n : 0;
    float *out = check_floats(count), *sides[SIDES];
    for (enum side side = 0; side < SIDES; side++) {
        const size_t floats = e->to_bf16 ? (count + 1) / 2 : count;
        const size_t pad = e->to_bf16 && side == SIDE_END ? count % 2 : 0;
        float *c = e->add ? guard_update(e->add, floats, side) : guard_output(floats, side);
        struct narrow g = {
            .m = t->m, .n = t->n, .words = t->words, .runs = t->runs,
            .a = guard_window(t, side),
            .b = (const uint32_t *)guard_bytes(t->b, 4 * t->b_words, side),
            .b_panel = t->b_panel,
            .b_skip = t->b_skip,
            .row_scales = t->kind == INT8 ? guard_input(e->row_scales, e->row_step ? t->m : 1, side)
                                          : NULL,
            .row_step = e->row_step,
            .start = e->start ? guard_bytes(e->start, t->n * sizeof *e->start, side) : NULL,
            .scales = t->kind == INT8 ? guard_input(e->scales, t->n, side) : NULL,
            .bias = e->bias ? guard_input(e->bias, t->n, side) : NULL,
            .relu = e->relu,
            .add = e->add != NULL,
            .c = e->to_bf16 ? NULL : c,
            .c16 = e->to_bf16 ? (uint16_t *)(void *)c + pad : NULL,
            .c_stride = stride,
        };
        (t->kind == INT8 ? kernels->gemm_int8 : kernels->gemm_bf16)(&g);
        sides[side] = check_floats(count);
        for (size_t i = 0; i < count; i++)
            sides[side][i] = e->to_bf16 ? f32_of(g.c16[i]) : c[i];
    }
    for (size_t i = 0; i < t->m; i++)
        check_bits(sides[0] + i * stride, sides[1] + i * stride, t->n, "narrow product");
    memcpy(out, sides[0], count * sizeof *out);
    return out;
}

/* What 8-bit sums begin with. */
static int32_t *random_start(struct random *random, size_t n)
{
    int32_t *start = (int32_t *)(void *)check_floats(n);
    for (size_t j = 0; j < n; j++)
        start[j] = (int32_t)random_below(random, 40000000) - 20000000;
    return start;
}

static void product_case(const struct kernels *kernels, struct random *random, struct worst *worst,
                         struct task *t)
{
    const enum magnitude magnitude = random_below(random, 4) ? MAGNITUDE_ONE : MAGNITUDE_HOSTILE;
    t->b_skip = random_below(random, 3);
    random_task(t, random, magnitude);
    struct extras e = {.row_step = random_below(random, 2), .relu = (int)random_below(random, 2),
                       .to_bf16 = t->kind == BF16 && random_below(random, 2)};
    e.row_scales = check_floats(t->m + 1);
    random_fill(random, e.row_scales, t->m + 1, MAGNITUDE_ONE);
    if (t->kind == INT8 && random_below(random, 2))
        e.start = random_start(random, t->n);
    if (random_below(random, 2)) {
        e.bias = check_floats(t->n);
        random_fill(random, e.bias, t->n, magnitude);
    }
    e.scales = check_floats(t->n);
    random_fill(random, e.scales, t->n, MAGNITUDE_ONE);
    const size_t stride = t->n + KERNEL_PAD * random_below(random, 2);
    if (t->kind == BF16 && !e.to_bf16 && random_below(random, 2)) {
        float *add = check_floats(t->m * stride);
        random_fill(random, add, t->m * stride, magnitude);
        e.add = add;
    }
    const float *got = run_product(kernels, t, &e, stride);
    double *want = check_doubles(t->m * t->n), *terms = check_doubles(t->m * t->n);
    reference_product(want, terms, t->m, t->n, t->k, t->a_dense, t->b_dense);
    for (size_t i = 0; i < t->m; i++)
        for (size_t j = 0; j < t->n; j++) {
            const double bias = e.bias ? (double)e.bias[j] : 0;
            const double before = e.add ? (double)e.add[i * stride + j] : 0;
            const double by = t->kind == INT8
                                  ? (double)e.row_scales[i * e.row_step] * (double)e.scales[j]
                                  : 1;
            const double sum = want[i * t->n + j] + (e.start ? e.start[j] : before);
            double x = sum * by + bias;
            const double size = t->kind == INT8 ? fabs(sum * by) : terms[i * t->n + j] + fabs(before);
            const double roundings = t->kind == INT8 ? 4 : (double)t->k + 2;
            double bound = roundings * (ROUNDING * (size + fabs(bias)) + (double)FLT_MIN);
            x = e.relu ? fmax(x, 0) : x;
            if (e.to_bf16) /* 8 bits, and what is subnormal then */
                bound += fabs(x) / 256 + (double)FLT_MIN;
            check_value(worst, (double)got[i * stride + j], x, bound,
                        "m %zu n %zu %zu words %zu runs: c[%zu][%zu]", t->m, t->n, t->words,
                        t->runs, i, j);
        }
    check_release();
}

static const size_t m_sizes[] = {0, 1, 2, 3, 5, 7, 8, 11, 12, 13, 23, 25};
static const size_t n_sizes[] = {16, 32, 48, 96};
static const size_t word_sizes[] = {0, 1, 2, 5, 17};

static void test_products(const struct kernels *kernels, struct random *random,
                          struct worst *worst, enum kind kind)
{
    for (size_t i = 0; i < COUNT(m_sizes); i++)
        for (size_t j = 0; j < COUNT(n_sizes); j++)
            for (size_t w = 0; w < COUNT(word_sizes); w++)
                for (size_t runs = 1; runs <= 3; runs++) {
                    struct task t = {.kind = kind, .m = m_sizes[i], .n = n_sizes[j],
                                     .words = word_sizes[w], .runs = runs};
                    product_case(kernels, random, worst, &t);
                }
    struct task deep = {.kind = kind, .m = 13, .n = 64, .words = 600, .runs = 9};
    product_case(kernels, random, worst, &deep);
}

static void test_gemm_bf16(const struct kernels *kernels, struct random *random,
                           struct worst *worst)
{
    if (!lacks(kernels, kernels->gemm_bf16 != NULL))
        test_products(kernels, random, worst, BF16);
}

static void test_gemm_int8(const struct kernels *kernels, struct random *random,
                           struct worst *worst)
{
    if (!lacks(kernels, kernels->gemm_int8 != NULL))
        test_products(kernels, random, worst, INT8);
}

/* The largest sums that 32 bits hold, of both signs: nothing saturates. */
static void test_int8_range(const struct kernels *kernels, struct random *random,
                            struct worst *worst)
{
    enum { WORDS = 16500, N = 32 }; /* 4 * 16500 * 255 * 127 = 2,137,410,000 */
    (void)random;
    if (lacks(kernels, kernels->gemm_int8 != NULL))
        return;
    uint8_t *a = (uint8_t *)check_floats(WORDS);
    int8_t *b = (int8_t *)check_floats(WORDS * N);
    float c[N], scales[N];
    const float one = 1;
    memset(a, 255, 4 * WORDS);
    for (int sign = -1; sign <= 1; sign += 2) {
        memset(b, sign * 127, 4 * WORDS * N);
        for (size_t j = 0; j < N; j++)
            scales[j] = 1;
        const struct narrow g = {.m = 1, .n = N, .words = WORDS, .runs = 1, .a = {a, 1, 0, 0, 0},
                                 .b = (const uint32_t *)(const void *)b, .row_scales = &one,
                                 .scales = scales, .c = c, .c_stride = N};
        kernels->gemm_int8(&g);
        for (size_t j = 0; j < N; j++)
            check_value(worst, (double)c[j], sign * 4.0 * WORDS * 255 * 127,
                        ROUNDING * 2137410000.0, "column %zu", j);
    }
}

/* A row's result is the same bits alone, in any block of rows and at any place:
 * an image's answer depends on that image alone. */
static void test_rows(const struct kernels *kernels, struct random *random, struct worst *worst)
{
    enum { M = 27, N = 64, WORDS = 19 };
    (void)worst;
    for (enum kind kind = BF16; kind <= INT8; kind++) {
        if (lacks(kernels, kind == INT8 ? kernels->gemm_int8 != NULL : kernels->gemm_bf16 != NULL))
            continue;
        struct task t = {.kind = kind, .m = M, .n = N, .words = WORDS, .runs = 1};
        random_task(&t, random, MAGNITUDE_ONE);
        float all[M * N], scales[N], row_scales[M], one[M * N];
        random_fill(random, scales, N, MAGNITUDE_ONE);
        random_fill(random, row_scales, M, MAGNITUDE_ONE);
        struct narrow g = {.m = M, .n = N, .words = WORDS, .runs = 1, .b = t.b,
                           .b_panel = WORDS * KERNEL_PANEL, .row_scales = row_scales, .row_step = 1,
                           .scales = scales, .start = random_start(random, N), .c = all, .c_stride = N};
        t.a = check_floats(M * WORDS);
        for (size_t i = 0; i < 2 * M * WORDS; i++)
            ((uint16_t *)t.a)[i] = random_bf16(random, MAGNITUDE_ONE);
        g.a = (struct window){.data = t.a, .width = M, .row = 4 * WORDS};
        void (*multiply)(const struct narrow *) =
            kind == INT8 ? kernels->gemm_int8 : kernels->gemm_bf16;
        multiply(&g);
        g.c = one;
        for (size_t rows = 1; rows < M; rows++)
            for (size_t first = 0; first + rows <= M; first++) {
                g.m = g.a.width = rows;
                g.row_scales = row_scales + first;
                g.a.data = (const char *)t.a + first * 4 * WORDS;
                multiply(&g);
                check_bits(one, all + first * N, rows * N, "a block of rows");
            }
        check_release();
    }
}

/* ---- gemm3_bf16, gemm3_int8 ----------------------------------------------------------- */

/* One of the three real products, as doubles, and the size of its errors: bf16 sums
 * round once a term, 8-bit ones when they are scaled. */
struct third {
    struct task t;
    float *row_scales, *scales;
    int32_t *start;
    double *want, *size;
};

static void random_third(struct third *third, struct random *random)
{
    struct task *t = &third->t;
    const size_t count = t->m * t->n;
    random_task(t, random, MAGNITUDE_ONE);
    third->want = check_doubles(count);
    third->size = check_doubles(count);
    reference_product(third->want, third->size, t->m, t->n, t->k, t->a_dense, t->b_dense);
    third->row_scales = check_floats(t->m);
    third->scales = check_floats(t->n);
    random_fill(random, third->row_scales, t->m, MAGNITUDE_ONE);
    random_fill(random, third->scales, t->n, MAGNITUDE_ONE);
    third->start = random_start(random, t->n);
    for (size_t i = 0; i < count && t->kind == INT8; i++) {
        third->want[i] += third->start[i % t->n];
        third->want[i] *= (double)third->row_scales[i / t->n] * (double)third->scales[i % t->n];
        third->size[i] = fabs(third->want[i]);
    }
}

static void complex_case(const struct kernels *kernels, enum kind kind, struct random *random,
                         struct worst *worst, size_t m, size_t n, size_t words)
{
    const size_t runs = 1 + random_below(random, 3), b_skip = random_below(random, 3);
    struct third thirds[3];
    for (size_t q = 0; q < 3; q++) {
        thirds[q].t = (struct task){.kind = kind, .m = m, .n = n, .words = words, .runs = runs,
                                    .b_skip = b_skip};
        random_third(&thirds[q], random);
    }
    const size_t stride = n + KERNEL_PAD, count = m ? (m - 1) * stride + n : 0;
    float *result[SIDES][2];
    for (enum side side = 0; side < SIDES; side++) {
        struct narrow3 g = {.m = m, .n = n, .words = words, .runs = runs,
                            .b_panel = thirds[0].t.b_panel, .b_skip = b_skip, .c_stride = stride};
        for (size_t q = 0; q < 3; q++) {
            const struct third *third = &thirds[q];
            g.a[q] = guard_window(&third->t, side);
            g.b[q] = guard_bytes(third->t.b, 4 * third->t.b_words, side);
            g.row_scales[q] = guard_input(third->row_scales, m, side);
            g.scales[q] = guard_input(third->scales, n, side);
            g.start[q] = guard_bytes(third->start, n * sizeof *third->start, side);
        }
        g.re = result[side][0] = guard_output(count, side);
        g.im = result[side][1] = guard_output(count, side);
        (kind == INT8 ? kernels->gemm3_int8 : kernels->gemm3_bf16)(&g);
    }
    const double roundings = kind == INT8 ? 5 : 2 * (double)thirds[0].t.k + 2;
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++)
            for (size_t part = 0; part < 2; part++) {
                const size_t at = i * n + j, to = i * stride + j;
                const struct third *other = &thirds[1 + part];
                check_bits(&result[0][part][to], &result[1][part][to], 1, "complex product");
                check_value(worst, (double)result[0][part][to],
                            thirds[0].want[at] + other->want[at],
                            roundings * (ROUNDING * (thirds[0].size[at] + other->size[at]) +
                                         (double)FLT_MIN),
                            "m %zu n %zu %zu words %zu runs: %s[%zu][%zu]", m, n, words, runs, part ? "im" : "re",
                            i, j);
            }
    for (size_t i = 0; i + 1 < m; i++)
        for (size_t j = n; j < stride; j++)
            for (size_t part = 0; part < 2; part++)
                assert_true(canary_intact(&result[0][part][i * stride + j]));
    check_release();
}

/* As test_rows(), of a complex product. */
static void complex_rows(const struct kernels *kernels, enum kind kind, struct random *random)
{
    enum { M = 27, N = 32, WORDS = 19 };
    float re[M * N], im[M * N], re_block[M * N], im_block[M * N];
    struct narrow3 g = {.m = M, .n = N, .words = WORDS, .runs = 1, .re = re, .im = im, .c_stride = N};
    void (*multiply)(const struct narrow3 *) =
        kind == INT8 ? kernels->gemm3_int8 : kernels->gemm3_bf16;
    struct third thirds[3];
    for (size_t q = 0; q < 3; q++) {
        struct third *third = &thirds[q];
        third->t = (struct task){.kind = kind, .m = M, .n = N, .words = WORDS, .runs = 1};
        random_third(third, random);
        uint16_t *a = (uint16_t *)(void *)check_floats(M * WORDS);
        for (size_t i = 0; i < 2 * M * WORDS; i++)
            a[i] = random_bf16(random, MAGNITUDE_ONE);
        g.a[q] = (struct window){a, M, 4 * WORDS, 0, 0, 0};
        g.b[q] = third->t.b;
        g.row_scales[q] = third->row_scales;
        g.scales[q] = third->scales;
        g.start[q] = third->start;
    }
    multiply(&g);
    struct narrow3 block = g;
    block.re = re_block;
    block.im = im_block;
    for (block.m = 1; block.m < M; block.m++)
        for (size_t first = 0; first + block.m <= M; first++) {
            for (size_t q = 0; q < 3; q++) {
                block.a[q].data = (const char *)g.a[q].data + first * 4 * WORDS;
                block.a[q].width = block.m;
                block.row_scales[q] = g.row_scales[q] + first;
            }
            multiply(&block);
            check_bits(re_block, re + first * N, block.m * N, "a block of rows, re");
            check_bits(im_block, im + first * N, block.m * N, "a block of rows, im");
        }
    check_release();
}

static void test_complex(const struct kernels *kernels, enum kind kind, struct random *random,
                         struct worst *worst)
{
    for (size_t i = 0; i < COUNT(m_sizes); i++)
        for (size_t n = KERNEL_PANEL; n <= 96; n += KERNEL_PANEL)
            for (size_t w = 0; w < COUNT(word_sizes); w++)
                complex_case(kernels, kind, random, worst, m_sizes[i], n, word_sizes[w]);
    complex_case(kernels, kind, random, worst, 13, 64, 512);
    complex_rows(kernels, kind, random);
}

static void test_gemm3_bf16(const struct kernels *kernels, struct random *random,
                            struct worst *worst)
{
    if (!lacks(kernels, kernels->gemm3_bf16 != NULL))
        test_complex(kernels, BF16, random, worst);
}

static void test_gemm3_int8(const struct kernels *kernels, struct random *random,
                            struct worst *worst)
{
    if (!lacks(kernels, kernels->gemm3_int8 != NULL))
        test_complex(kernels, INT8, random, worst);
}

/* ---- Conversions ---------------------------------------------------------- */

/* To nearest, ties to even, by the definition: of the two bf16 around x the
 * nearer one. */
static uint32_t nearest_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t low = bits >> 16;
    const double below = (double)f32_of(low), above = (double)f32_of(low + 1);
    const double to_low = fabs((double)x - below), to_high = fabs(above - (double)x);
    if (fabsf(x) < FLT_MIN)
        return low & 0x8000; /* the instruction takes it for zero */
    return to_low < to_high || (to_low == to_high && low % 2 == 0) ? low : low + 1;
}

/* Every third value lies half-way between two bf16, to be rounded up or down. */
static void put_ties(struct random *random, float *values, size_t n)
{
    for (size_t i = 0; i < n; i += 3) {
        const uint32_t bits = 0x3f808000 + ((uint32_t)random_below(random, 1000) << 16);
        memcpy(values + i, &bits, sizeof bits);
    }
}

static void test_to_bf16(const struct kernels *kernels, struct random *random,
                         struct worst *worst)
{
    enum { N = 96 };
    float src[N];
    if (lacks(kernels, kernels->to_bf16 != NULL))
        return;
    for (size_t round = 0; round < 50; round++) {
        random_fill(random, src, N, round % 2 ? MAGNITUDE_ONE : MAGNITUDE_HOSTILE);
        put_ties(random, src, N);
        for (enum side side = 0; side < SIDES; side++) {
            uint16_t *one = (uint16_t *)(void *)guard_output(N / 2, side);
            kernels->to_bf16(one, guard_input(src, N, side), N);
            for (size_t i = 0; i < N; i++, worst->values++)
                assert_int_equal(one[i], nearest_bf16(src[i]));
        }
        check_release();
    }
}

/* Rows of every length up to two vectors and one more. */
static void test_pair_rows(const struct kernels *kernels, struct random *random,
                           struct worst *worst)
{
    enum { PAIRS = 3, LONGEST = 2 * KERNEL_PAD + 1, GAP = 5 };
    float src[2 * PAIRS * (LONGEST + GAP)];
    if (lacks(kernels, kernels->pair_rows_bf16 != NULL))
        return;
    for (size_t n = 1; n <= LONGEST; n++) {
        const size_t gap = n % 3 ? GAP : 0, row = n + gap, count = 2 * PAIRS * row - gap;
        random_fill(random, src, count, n % 2 ? MAGNITUDE_ONE : MAGNITUDE_HOSTILE);
        put_ties(random, src, count);
        for (enum side side = 0; side < SIDES; side++) {
            uint32_t *got = (uint32_t *)(void *)guard_output(PAIRS * row - gap, side);
            memset(got, 0x5a, (PAIRS * row - gap) * sizeof *got);
            kernels->pair_rows_bf16(got, row, guard_input(src, count, side), row, PAIRS, n);
            for (size_t i = 0; i < PAIRS * row - gap; i++, worst->values++) {
                const float *lo = src + i / row * 2 * row + i % row;
                assert_int_equal(got[i], i % row < n ? nearest_bf16(lo[0]) | nearest_bf16(lo[row]) << 16
                                                     : 0x5a5a5a5a);
            }
        }
        check_release();
    }
}

static void test_stream_pair(const struct kernels *kernels, struct random *random,
                             struct worst *worst)
{
    float src[2 * KERNEL_PANEL];
    if (lacks(kernels, kernels->stream_pair_bf16 != NULL))
        return;
    random_fill(random, src, 2 * KERNEL_PANEL, MAGNITUDE_HOSTILE);
    put_ties(random, src, 2 * KERNEL_PANEL);
    for (enum side side = 0; side < SIDES; side++) {
        uint32_t *got = (uint32_t *)(void *)guard_output(KERNEL_PANEL, side);
        kernels->stream_pair_bf16(got, guard_input(src, 2 * KERNEL_PANEL, side));
        for (size_t i = 0; i < KERNEL_PANEL; i++, worst->values++)
            assert_int_equal(got[i], nearest_bf16(src[i]) | nearest_bf16(src[KERNEL_PANEL + i]) << 16);
    }
    check_release();
}

static void test_transpose_bf16(const struct kernels *kernels, struct random *random,
                                struct worst *worst)
{
    enum { HALF = KERNEL_PANEL / 2, WORDS = HALF * KERNEL_PANEL };
    uint16_t square[KERNEL_PANEL][KERNEL_PANEL];
    uint32_t src[WORDS];
    if (lacks(kernels, kernels->transpose_bf16 != NULL))
        return;
    for (size_t i = 0; i < 2 * WORDS; i++)
        square[i / KERNEL_PANEL][i % KERNEL_PANEL] = (uint16_t)random_below(random, 1 << 16);
    for (size_t i = 0; i < WORDS; i++) {
        const size_t row = i / KERNEL_PANEL * 2, column = i % KERNEL_PANEL;
        src[i] = square[row][column] | (uint32_t)square[row + 1][column] << 16;
    }
    for (enum side side = 0; side < SIDES; side++) {
        uint32_t *got = (uint32_t *)(void *)guard_output(WORDS, side);
        kernels->transpose_bf16(got, guard_bytes(src, sizeof src, side));
        for (size_t i = 0; i < WORDS; i++, worst->values++) {
            const size_t column = i / KERNEL_PANEL * 2, row = i % KERNEL_PANEL;
            assert_int_equal(got[i], square[row][column] | (uint32_t)square[row][column + 1] << 16);
        }
    }
    check_release();
}

static void test_zip_bf16(const struct kernels *kernels, struct random *random,
                          struct worst *worst)
{
    enum { N = 80 };
    uint16_t src[2][N];
    if (lacks(kernels, kernels->zip_bf16 != NULL))
        return;
    for (size_t i = 0; i < 2 * N; i++)
        src[i / N][i % N] = (uint16_t)random_below(random, 1 << 16);
    for (enum side side = 0; side < SIDES; side++)
        for (int both = 0; both < 2; both++) {
            uint32_t *got = (uint32_t *)(void *)guard_output(N, side);
            const uint16_t *lo = guard_bytes(src[0], sizeof src[0], side);
            const uint16_t *hi = guard_bytes(src[1], sizeof src[1], side);
            kernels->zip_bf16(got, lo, both ? hi : NULL, N);
            for (size_t i = 0; i < N; i++, worst->values++)
                assert_int_equal(got[i], src[0][i] | (both ? (uint32_t)src[1][i] << 16 : 0));
        }
    check_release();
}

/* Rows further apart than they are long. */
static void test_zip_u8(const struct kernels *kernels, struct random *random, struct worst *worst)
{
    enum { N = 160, STRIDE = N + 7 };
    uint8_t src[3 * STRIDE + N];
    if (lacks(kernels, kernels->zip_u8 != NULL))
        return;
    for (size_t i = 0; i < sizeof src; i++)
        src[i] = (uint8_t)random_below(random, 1 << 8);
    for (size_t n = KERNEL_PAD; n <= N; n += KERNEL_PAD)
        for (enum side side = 0; side < SIDES; side++) {
            uint32_t *got = (uint32_t *)(void *)guard_output(n, side);
            kernels->zip_u8(got, guard_bytes(src, 3 * STRIDE + n, side), STRIDE, n);
            for (size_t i = 0; i < n; i++)
                for (size_t row = 0; row < 4; row++, worst->values++)
                    assert_int_equal(got[i] >> 8 * row & 255, src[row * STRIDE + i]);
        }
    check_release();
}

/* Lines of an odd and an even width; what is not above 0 gives nothing. */
static void relu_back_case(const struct kernels *kernels, struct random *random,
                           struct worst *worst, size_t lines, size_t width, size_t n)
{
    const size_t pairs = (width + 1) / 2, count = lines * width * n;
    const size_t words = lines * pairs * KERNEL_PANEL, panels = (n + KERNEL_PANEL - 1) / KERNEL_PANEL;
    float *dx = check_floats(count), *db = check_floats(n);
    uint16_t *bits = (uint16_t *)(void *)check_floats(count / 32 + 1);
    random_fill(random, dx, count, MAGNITUDE_ONE);
    random_fill(random, db, n, MAGNITUDE_ONE);
    for (size_t i = 0; i < count / 16; i++)
        bits[i] = (uint16_t)random_below(random, 1 << 16);
    for (enum side side = 0; side < SIDES; side++) {
        uint32_t *got = (uint32_t *)(void *)guard_output(panels * words, side);
        float *sums = guard_update(db, n, side);
        kernels->relu_backward_bf16(got, guard_input(dx, count, side),
                                    guard_bytes(bits, count / 8, side), sums, lines, width, n);
        for (size_t j = 0; j < n; j++) {
            double sum = (double)db[j], size = fabs(sum);
            for (size_t row = 0; row < lines * width; row++) {
                const size_t at = row * n + j, line = row / width, x = row % width;
                const float want = bits[at / 16] >> at % 16 & 1 ? dx[at] : 0;
                const uint32_t word = got[j / KERNEL_PANEL * words +
                                          (line * pairs + x / 2) * KERNEL_PANEL + j % KERNEL_PANEL];
                assert_int_equal(x % 2 ? word >> 16 : word & 0xffff, nearest_bf16(want));
                if (x + 1 == width && x % 2 == 0)
                    assert_int_equal(word >> 16, 0);
                sum += (double)want;
                size += fabs((double)want);
            }
            check_value(worst, (double)sums[j], sum, (double)(lines * width) * ROUNDING * size,
                        "db[%zu] of %zu lines of %zu", j, lines, width);
        }
    }
    check_release();
}

static void test_relu_backward_bf16(const struct kernels *kernels, struct random *random,
                                    struct worst *worst)
{
    if (lacks(kernels, kernels->relu_backward_bf16 != NULL))
        return;
    for (size_t n = KERNEL_PAD; n <= 7 * KERNEL_PAD; n += KERNEL_PAD)
        for (size_t width = 1; width <= 5; width++)
            relu_back_case(kernels, random, worst, 3, width, n);
}

/* ---- Timing: PrimaryCaps of one image, and one product of 64 ------------ */

static void call_int8(const struct kernels *k, void *g)
{
    k->gemm_int8(g);
}
static void call_bf16(const struct kernels *k, void *g)
{
    k->gemm_bf16(g);
}
static void call_gemm3(const struct kernels *k, void *g)
{
    k->gemm3_bf16(g);
}
static void call_gemm3_int8(const struct kernels *k, void *g)
{
    k->gemm3_int8(g);
}

static void bench_direct(const struct kernels *k, size_t value, const char *name,
                         void (*call)(const struct kernels *, void *))
{
    enum { POSITIONS = 36, N = 256, PIXEL = 256, KERNEL = 9, WIDTH = 20 };
    const size_t pixel = PIXEL * value, words = KERNEL * pixel / 4;
    struct narrow g = {
        .m = POSITIONS, .n = N, .words = words, .runs = KERNEL,
        .a = {guard_input(check_floats(WIDTH * WIDTH * pixel / 4), WIDTH * WIDTH * pixel / 4,
                          SIDE_START), 6, 2 * pixel, 2 * WIDTH * pixel, WIDTH * pixel, 0},
        .b = (const uint32_t *)(const void *)guard_input(check_floats(KERNEL * words * N),
                                                         KERNEL * words * N, SIDE_START),
        .b_panel = KERNEL * words * KERNEL_PANEL, .row_scales = check_floats(1),
        .scales = check_floats(N),
        .c = guard_output(POSITIONS * N, SIDE_START), .c_stride = N,
    };
    bench_print(k, name, 2.0 * POSITIONS * N * KERNEL * KERNEL * PIXEL, "Gop/s", call, &g);
}

static void bench_int8(const struct kernels *k)
{
    if (k->gemm_int8)
        bench_direct(k, 1, "int8 36x256x20736", call_int8);
}

static void bench_bf16(const struct kernels *k)
{
    if (k->gemm_bf16)
        bench_direct(k, 2, "bf16 36x256x20736", call_bf16);
}

/* One complex product of 64 rows and 1024 values. */
static void bench_complex(const struct kernels *k, size_t value, const char *name,
                          void (*call)(const struct kernels *, void *))
{
    enum { M = 64, N = 256, K = 1024 };
    const size_t words = K * value / 4;
    struct narrow3 g = {.m = M, .n = N, .words = words, .runs = 1, .b_panel = words * KERNEL_PANEL,
                        .re = guard_output(M * N, SIDE_START),
                        .im = guard_output(M * N, SIDE_START), .c_stride = N};
    for (size_t q = 0; q < 3; q++) {
        g.a[q] = (struct window){guard_input(check_floats(M * words), M * words, SIDE_START), M,
                                 4 * words, 0, 0, 0};
        g.b[q] = (const uint32_t *)(const void *)guard_input(check_floats(N * words), N * words,
                                                             SIDE_START);
        g.row_scales[q] = check_floats(M);
        g.scales[q] = check_floats(N);
        g.start[q] = (const int32_t *)(const void *)check_floats(N);
    }
    bench_print(k, name, 6.0 * M * N * K, "Gop/s", call, &g);
}

static void bench_gemm3(const struct kernels *k)
{
    if (k->gemm3_bf16)
        bench_complex(k, 2, "gemm3_bf16 64x256x1024", call_gemm3);
}

static void bench_gemm3_int8(const struct kernels *k)
{
    if (k->gemm3_int8)
        bench_complex(k, 1, "gemm3_int8 64x256x1024", call_gemm3_int8);
}

int main(void)
{
    static const struct check checks[] = {
        {"gemm_bf16", test_gemm_bf16, bench_bf16},
        {"gemm_int8", test_gemm_int8, bench_int8},
        {"gemm_int8 range", test_int8_range, NULL},
        {"narrow rows", test_rows, NULL},
        {"gemm3_bf16", test_gemm3_bf16, bench_gemm3},
        {"gemm3_int8", test_gemm3_int8, bench_gemm3_int8},
        {"to_bf16", test_to_bf16, NULL},
        {"pair_rows_bf16", test_pair_rows, NULL},
        {"stream_pair_bf16", test_stream_pair, NULL},
        {"transpose_bf16", test_transpose_bf16, NULL},
        {"zip_bf16", test_zip_bf16, NULL},
        {"zip_u8", test_zip_u8, NULL},
        {"relu_backward_bf16", test_relu_backward_bf16, NULL},
    };
    return check_main(checks, COUNT(checks));
}
