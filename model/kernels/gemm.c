/*
 * gemm.c - matrix products.
 *
 * A register tile of GEMM_ROWS x 2 vectors runs down k with one broadcast of
 * A per row and two loads of B: 16 independent sums at AVX-512, enough to hide
 * the latency of two multiply-adds a cycle.  Columns are the outer loop, so
 * that a panel of B stays in the cache while the rows of A stream past.  A is
 * read where it lies, at any strides; nothing is packed here, because the
 * right operands are stored in panels by whoever makes them.
 */
#include "model/kernels/words.h"

/* Vectors beside each other in a tile of one row, whose sums are too few to
 * hide the latency otherwise; all of one panel. */
enum { WIDE = VEC == 16 ? 2 : 4 };

/* The rounding of a sum of k terms grows as sqrt(k): of 1024 it would be ten times
 * that of the operands.  Runs of this many have sums of their own, added up. */
enum { RUN = 64 };

struct tile {
    vec acc[GEMM_ROWS][WIDE];
};

/* What is asked for of B at every step: two lines, `second` bytes apart; bytes from one step to
 * the next. */
struct ahead {
    const char *at;
    size_t second, step;
};

/* acc += A[rows][k] B[k][nv vectors], b_step bytes from one k to the next, asking for what comes
 * ahead.  kind, rows and nv are constants to the compiler: every call site is expanded with its
 * own. */
ALWAYS_INLINE void tile_run(enum kind kind, struct tile *t, size_t rows, size_t nv, size_t k,
                            const struct operand *a, const char *b, size_t b_step,
                            struct ahead ahead)
{
    const float *p[GEMM_ROWS];
    for (size_t i = 0; i < rows; i++)
        p[i] = a->data + i * a->row;
    const size_t col = a->col;
    vec acc[GEMM_ROWS][WIDE];
    for (size_t i = 0; i < rows; i++)
        for (size_t v = 0; v < nv; v++)
            acc[i][v] = t->acc[i][v];
    for (; k > 0; k--) {
        vec bv[WIDE];
        for (size_t v = 0; v < nv; v++)
            bv[v] = (vec)load_words(kind, b + v * VEC * word_size(kind));
        b += b_step;
        __builtin_prefetch(ahead.at, 0, 2);
        __builtin_prefetch(ahead.at + ahead.second, 0, 2);
        ahead.at += ahead.step;
#pragma GCC unroll 8
        for (size_t i = 0; i < rows; i++) {
            vec x = vec_set(*p[i]);
            p[i] += col;
            for (size_t v = 0; v < nv; v++)
                acc[i][v] += x * bv[v];
        }
    }
    for (size_t i = 0; i < rows; i++)
        for (size_t v = 0; v < nv; v++)
            t->acc[i][v] = acc[i][v];
}

/* Expands f with the number of rows as a constant. */
#define WITH_ROWS(f, rows, ...)                \
    switch (rows) {                            \
    case 1: f(1, __VA_ARGS__); break;          \
    case 2: f(2, __VA_ARGS__); break;          \
    case 3: f(3, __VA_ARGS__); break;          \
    case 4: f(4, __VA_ARGS__); break;          \
    case 5: f(GEMM_ROWS > 4 ? 5 : 4, __VA_ARGS__); break; \
    case 6: f(GEMM_ROWS > 4 ? 6 : 4, __VA_ARGS__); break; \
    case 7: f(GEMM_ROWS > 6 ? 7 : 4, __VA_ARGS__); break; \
    default: f(GEMM_ROWS, __VA_ARGS__); break; \
    }

ALWAYS_INLINE void gemm_tile(size_t rows, enum kind kind, size_t nv, const struct gemm *g,
                             const float *a, const char *b, float *c, const float *bias,
                             struct ahead ahead)
{
    const size_t b_step = g->b.stride * word_size(kind);
    const struct operand left = {a, g->a.row, g->a.col};
    struct tile t;
    for (size_t i = 0; i < rows; i++)
        for (size_t v = 0; v < nv; v++) {
            if (g->epilogue == GEMM_ADD)
                t.acc[i][v] = vec_load(c + i * g->c.stride + v * VEC);
            else if (g->epilogue == GEMM_STORE)
                t.acc[i][v] = vec_set(0);
            else
                t.acc[i][v] = vec_load(bias + v * VEC);
        }
    for (size_t k = 0; k < g->k; k += RUN) {
        const size_t count = g->k - k < RUN ? g->k - k : RUN;
        const struct operand run = {left.data + k * left.col, left.row, left.col};
        struct tile part;
        for (size_t i = 0; i < rows; i++)
            for (size_t v = 0; v < nv; v++)
                part.acc[i][v] = vec_set(0);
        tile_run(kind, &part, rows, nv, count, &run, b + k * b_step, b_step,
                 (struct ahead){ahead.at + k * ahead.step, ahead.second, ahead.step});
        for (size_t i = 0; i < rows; i++)
            for (size_t v = 0; v < nv; v++)
                t.acc[i][v] += part.acc[i][v];
    }
    for (size_t i = 0; i < rows; i++)
        for (size_t v = 0; v < nv; v++) {
            vec x = t.acc[i][v];
            if (g->epilogue == GEMM_BIAS_RELU)
                x = vec_max(x, vec_set(0));
            vec_store(c + i * g->c.stride + v * VEC, x);
        }
}

/* Offset of column j in a matrix of panels. */
ALWAYS_INLINE size_t column(size_t j, size_t panel)
{
    return j / KERNEL_PANEL * panel + j % KERNEL_PANEL;
}

ALWAYS_INLINE size_t round_up(size_t n)
{
    return (n + KERNEL_PAD - 1) / KERNEL_PAD * KERNEL_PAD;
}

/* A panel of B of so many steps fills half of a first-level cache. */
enum { LONG = 128 };

/* A packed B comes from memory, a panel once: while the last two tiles of rows use
 * one the next is fetched, half of it each.  The first tile, for which nobody asked, asks for
 * what comes 64 steps later. */
ALWAYS_INLINE struct ahead ahead_of(enum kind kind, const struct gemm *g, size_t i, size_t j,
                                    const char *b)
{
    const size_t left = (g->m - i + GEMM_ROWS - 1) / GEMM_ROWS;
    const size_t size = word_size(kind), b_step = g->b.stride * size;
    const int is_packed = g->b.stride == KERNEL_PANEL;
    if (g->m <= GEMM_ROWS || (i == 0 && j == 0 && g->k >= LONG))
        return (struct ahead){b + 64 * b_step, LINE, b_step};
    if (!is_packed || left > 2 || j % KERNEL_PANEL != 0)
        return (struct ahead){b, 0, LINE};
    const char *next = j + KERNEL_PANEL < g->n ? b + g->b.panel * size : (const char *)g->then;
    if (!next)
        return (struct ahead){b, 0, LINE};
    return (struct ahead){next + (2 - left) * KERNEL_PANEL / 2 * g->k * size, 0, LINE};
}

/* The rows of the next tile, of those that are left: about the same for all, since a few
 * rows take as long as half a tile. */
ALWAYS_INLINE size_t rows_from(size_t left)
{
    const size_t tiles = (left + GEMM_ROWS - 1) / GEMM_ROWS;
    return (left + tiles - 1) / tiles;
}

/* Column j of B. */
ALWAYS_INLINE const char *right(enum kind kind, const struct gemm *g, size_t j)
{
    const char *b = kind == KIND_F16 ? (const char *)g->halves : (const char *)g->b.data;
    return b + column(j, g->b.panel) * word_size(kind);
}

/* One row, as of a single image: WIDE vectors at a time. */
ALWAYS_INLINE void multiply_row(enum kind kind, const struct gemm *g, size_t n)
{
    for (size_t j = 0; j < n; j += WIDE * VEC) {
        const char *b = right(kind, g, j);
        const float *bias = g->bias ? g->bias + j : NULL;
        float *c = g->c.data + column(j, g->c.panel);
        const struct ahead ahead = ahead_of(kind, g, 0, j, b);
        if (n - j >= WIDE * VEC)
            gemm_tile(1, kind, WIDE, g, g->a.data, b, c, bias, ahead);
        else
            gemm_tile(1, kind, KERNEL_PAD / VEC, g, g->a.data, b, c, bias, ahead);
    }
}

ALWAYS_INLINE void multiply(enum kind kind, const struct gemm *g)
{
    const size_t n = round_up(g->n);
    if (g->m == 1) {
        multiply_row(kind, g, n);
        return;
    }
    for (size_t j = 0; j < n; j += 2 * VEC) {
        const char *b = right(kind, g, j);
        const float *bias = g->bias ? g->bias + j : NULL;
        for (size_t i = 0, rows; i < g->m; i += rows) {
            const float *a = g->a.data + i * g->a.row;
            float *c = g->c.data + column(j, g->c.panel) + i * g->c.stride;
            rows = rows_from(g->m - i);
            const struct ahead ahead = ahead_of(kind, g, i, j, b);
            if (n - j >= 2 * VEC) {
                WITH_ROWS(gemm_tile, rows, kind, 2, g, a, b, c, bias, ahead)
            } else {
                WITH_ROWS(gemm_tile, rows, kind, 1, g, a, b, c, bias, ahead)
            }
        }
    }
}

void PRODUCT(gemm)(const struct gemm *g)
{
    multiply(KIND_F32, g);
}

#if HAS_F16
void KERNEL(gemm_f16)(const struct gemm *g)
{
    multiply(KIND_F16, g);
}
#endif

/* Lanes of a (index below VEC) and b (from VEC on). */
ALWAYS_INLINE vec shuffle(vec a, vec b, ivec index)
{
#if defined(__clang__) /* has no shuffle by a vector; it finds the constants itself */
    vec x = a;
    for (int l = 0; l < VEC; l++)
        x[l] = index[l] < VEC ? a[index[l]] : b[index[l] - VEC];
    return x;
#else
    return __builtin_shuffle(a, b, index);
#endif
}

/* Transposes a VEC x VEC block in log2(VEC) steps: at distance d, rows i and
 * i + d exchange the lanes whose index has bit d against those that lack it. */
ALWAYS_INLINE void transpose_block(float *dst, size_t dst_stride, const float *src,
                                   size_t src_stride)
{
    vec x[VEC];
    for (size_t i = 0; i < VEC; i++)
        x[i] = vec_load(src + i * src_stride);
    const ivec lane = LANE_NUMBERS;
#pragma GCC unroll 4
    for (int d = 1; d < VEC; d *= 2) {
        /* Lane numbers; those of the second row start at VEC.  Made of whole vectors: of
         * lanes GCC makes no constants. */
        const ivec is_second = (lane & d) != 0;
        const ivec low = lane + (is_second & (VEC - d)), high = low + d;
#pragma GCC unroll 16
        for (int i = 0; i < VEC; i++)
            if (!(i & d)) {
                vec a = x[i], b = x[i + d];
                x[i] = shuffle(a, b, low);
                x[i + d] = shuffle(a, b, high);
            }
    }
    for (size_t i = 0; i < VEC; i++)
        vec_store(dst + i * dst_stride, x[i]);
}

void KERNEL(transpose)(float *dst, size_t dst_stride, const float *src, size_t src_stride,
                       size_t rows, size_t cols)
{
    for (size_t i = 0; i < rows; i += VEC)
        for (size_t j = 0; j < cols; j += VEC)
            transpose_block(dst + j * dst_stride + i, dst_stride, src + i * src_stride + j,
                            src_stride);
}
