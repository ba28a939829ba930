/*
 * gemm_cblas.c - level `openblas`: the products by cblas_sgemm.
 *
 * A row's result must be the same bits whatever rows stand beside it: an
 * image's answer depends on that image alone.  sgemm does not promise that.
 * Some of OpenBLAS's kernels add up a block's last rows in another order than
 * the others, and which rows those are depends on the height of the product;
 * some take another way altogether for a small one.  So every call is one block
 * of a few rows times one panel of columns and at most DEPTH steps of k, and at
 * the start equal rows are multiplied in blocks of each height, to learn which
 * heights give every row the same bits.  Rows are then cut into blocks of those
 * heights, the last padded with zeros.  Nearly all of OpenBLAS's kernels agree
 * at all heights, or at all even ones; Haswell's and Zen's at 4 and 8 alone,
 * which costs them a quarter of their speed.
 *
 * A panel at a time, nothing needs a copy of the weights in another layout, and
 * a block's sums stand in a tile on the stack until the epilogue.
 */
#include "model/kernels/gemm_cblas.h"

#include <cblas.h>

#include "model/kernels/vector.h"

enum {
    TALLEST = 48,
    DEPTH = 64, /* of k at a time: as in gemm.c, long sums are sums of short ones, whose rounding is less */
};

/* From tall to low; the last is followed by 0.  Written by gemm_cblas_start() alone. */
static size_t heights[] = {TALLEST, 32, 24, 16, 12, 8, 6, 4, 2, 1, 0};
enum { HEIGHTS = sizeof heights / sizeof *heights - 1 };

/* One block: height rows x one panel. */
struct tile {
    float sum[TALLEST * KERNEL_PANEL] __attribute__((aligned(64)));
};

/* Rows `rows` of a left operand, steps `depth`, dense and padded with rows of zeros. */
static void pack(float *dst, size_t height, size_t rows, size_t depth, const struct operand *a)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t p = 0; p < depth; p++)
            dst[i * depth + p] = a->data[i * a->row + p * a->col];
    memset(dst + rows * depth, 0, (height - rows) * depth * sizeof *dst);
}

/* t->sum = A B of rows rows in a block of the given height. */
static void tile_product(struct tile *t, size_t height, size_t rows, size_t k, struct operand a,
                         const float *b, size_t b_stride, size_t columns)
{
    float packed[TALLEST * DEPTH] __attribute__((aligned(64)));
    if (k == 0)
        memset(t->sum, 0, height * KERNEL_PANEL * sizeof *t->sum);
    for (size_t p = 0; p < k; p += DEPTH) {
        const size_t depth = k - p < DEPTH ? k - p : DEPTH;
        struct operand left = {a.data + p * a.col, a.row, a.col};
        /* Of a single transposed row, kernels for Cortex-A53 read a value too far. */
        const int is_transposed = rows == height && height > 1 && a.row == 1 && a.col >= height;
        if (!is_transposed && (rows < height || a.col != 1 || a.row < depth)) {
            pack(packed, height, rows, depth, &left);
            left = (struct operand){packed, depth, 1};
        }
        cblas_sgemm(CblasRowMajor, is_transposed ? CblasTrans : CblasNoTrans, CblasNoTrans,
                    (int)height, (int)columns, (int)depth, 1, left.data,
                    (int)(is_transposed ? left.col : left.row), b + p * b_stride, (int)b_stride,
                    p ? 1 : 0, t->sum, KERNEL_PANEL);
    }
}

/* ---- Heights --------------------------------------------------------------- */

enum { PROBE_K = 97 }; /* long enough for any other order to show */

/* Two products of equal rows in a block of that height, a whole panel and half
 * of one; whether all rows are `want`, which the first call sets. */
static int rows_agree(size_t height, int is_first, float want[2][KERNEL_PANEL])
{
    float a[PROBE_K], b[PROBE_K * KERNEL_PANEL], rows[TALLEST * PROBE_K];
    uint32_t noise = 1;
    for (size_t p = 0; p < PROBE_K * KERNEL_PANEL; p++) {
        noise = noise * 1664525u + 1013904223u; /* Numerical Recipes' generator */
        b[p] = (float)(noise >> 8) * 0x1p-23f - 1;
        if (p < PROBE_K)
            a[p] = b[p];
    }
    int agree = 1;
    for (int is_transposed = 0; is_transposed < 2; is_transposed++)
        for (size_t half = 0; half < 2; half++) {
            const size_t columns = half ? KERNEL_PAD : KERNEL_PANEL;
            const struct operand left = {rows, is_transposed ? 1 : PROBE_K,
                                         is_transposed ? height : 1};
            for (size_t i = 0; i < height; i++)
                for (size_t p = 0; p < PROBE_K; p++)
                    rows[i * left.row + p * left.col] = a[p];
            struct tile t;
            tile_product(&t, height, height, PROBE_K, left, b, KERNEL_PANEL, columns);
            if (is_first && !is_transposed)
                memcpy(want[half], t.sum, columns * sizeof(float));
            for (size_t i = 0; i < height; i++)
                agree &= memcmp(t.sum + i * KERNEL_PANEL, want[half], columns * sizeof(float)) == 0;
        }
    return agree;
}

/* Keeps the tallest height whose own rows agree and those that agree with it.
 * A block of one row always does. */
void gemm_cblas_start(void)
{
    float want[2][KERNEL_PANEL];
    size_t kept = 0;
    for (size_t h = 0; h < HEIGHTS; h++)
        if (rows_agree(heights[h], kept == 0, want))
            heights[kept++] = heights[h];
    heights[kept] = 0;
}

/* The tallest block that rows fill, or the lowest there is. */
static size_t block_height(size_t rows)
{
    size_t h = 0;
    while (heights[h] > rows && heights[h + 1])
        h++;
    return heights[h];
}

/* ---- Products -------------------------------------------------------------- */

/* Offset of column j in a matrix of panels. */
static size_t column(size_t j, size_t panel)
{
    return j / KERNEL_PANEL * panel;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Columns of the panel at j: the last may be half a one. */
static size_t columns_at(size_t n, size_t j)
{
    return n - j > KERNEL_PAD ? KERNEL_PANEL : KERNEL_PAD;
}

static void finish(const struct gemm *g, const struct tile *t, size_t rows, size_t columns,
                   float *c, const float *bias)
{
    for (size_t i = 0; i < rows; i++, c += g->c.stride)
        for (size_t v = 0; v < columns; v += VEC) {
            vec x = vec_load(t->sum + i * KERNEL_PANEL + v);
            if (g->epilogue == GEMM_ADD)
                x += vec_load(c + v);
            else if (g->epilogue != GEMM_STORE)
                x += vec_load(bias + v);
            if (g->epilogue == GEMM_BIAS_RELU)
                x = vec_max(x, vec_set(0));
            vec_store(c + v, x);
        }
}

void PRODUCT(gemm)(const struct gemm *g)
{
    struct tile t;
    for (size_t j = 0; j < g->n; j += KERNEL_PANEL) {
        const size_t columns = columns_at(g->n, j);
        for (size_t i = 0, height; i < g->m; i += height) {
            height = block_height(g->m - i);
            const size_t rows = smaller(height, g->m - i);
            tile_product(&t, height, rows, g->k,
                         (struct operand){g->a.data + i * g->a.row, g->a.row, g->a.col},
                         g->b.data + column(j, g->b.panel), g->b.stride, columns);
            finish(g, &t, rows, columns, g->c.data + column(j, g->c.panel) + i * g->c.stride,
                   g->bias ? g->bias + j : NULL);
        }
    }
}
