/*
 * gemm_bf16_int8.c - products of bf16 and of 8-bit operands.
 *
 * Both instructions work on 4-byte words: VDPBF16PS multiplies two pairs of
 * bf16 and adds them to an fp32 sum, VPDPBUSD four u8 by four s8 and adds them
 * to a 32-bit integer.  So one register tile serves both, of 12 rows x 2
 * vectors: 24 sums, two vectors of B and one broadcast word of A.  At
 * one such instruction a cycle that asks for 14 loads in 24 cycles, and for a
 * panel of B at a rate that the third-level cache sustains.
 *
 * VDPBF16PS rounds each of its two additions to nearest and takes subnormal
 * operands for zero; VPDPBUSD is exact.
 */
#include "model/kernels/vector.h"

#if defined(__AVX512VNNI__)

enum { ROWS = 12, STEP = 2 * VEC };

_Static_assert((int)STEP == (int)KERNEL_PANEL, "a tile is a panel wide");

enum kind { KIND_BF16, KIND_INT8 };

/* Sums, of floats or of integers. */
struct sums {
    __m512i acc[ROWS][2];
};

ALWAYS_INLINE __m512i dot(enum kind kind, __m512i acc, __m512i a, __m512i b)
{
#if defined(__AVX512BF16__)
    if (kind == KIND_BF16)
        return _mm512_castps_si512(
            _mm512_dpbf16_ps(_mm512_castsi512_ps(acc), (__m512bh)a, (__m512bh)b));
#endif
    (void)kind;
    return _mm512_dpbusd_epi32(acc, a, b);
}

/* What is asked for at every step: two lines, `second` words apart; words from one step to
 * the next, and more from run to run. */
struct ahead {
    const uint32_t *at;
    size_t second, step, skip;
};

/* acc += A[rows] B[32 columns], over all runs, asking for a line of `ahead` at
 * every step.  rows is a constant to the compiler. */
ALWAYS_INLINE void tile_run(enum kind kind, struct sums *t, size_t rows,
                            const struct narrow *g, const struct window *a, size_t i0,
                            const uint32_t *b, struct ahead next)
{
    const uint32_t *ahead = next.at;
    const char *p[ROWS];
    __m512i acc[ROWS][2];
    size_t band = i0 / a->width, column = i0 % a->width;
    for (size_t i = 0; i < rows; i++) {
        p[i] = (const char *)a->data + band * a->band + column * a->row;
        if (++column == a->width) {
            column = 0;
            band++;
        }
        acc[i][0] = t->acc[i][0];
        acc[i][1] = t->acc[i][1];
    }
    const size_t step = 4 + a->gap;
    size_t at = 0;
    const size_t skip = a->skip - step * g->words, b_skip = g->b_skip * KERNEL_PANEL;
    for (size_t run = 0; run < g->runs; run++, at += skip, b += b_skip, ahead += next.skip)
        for (size_t w = 0; w < g->words; w++, at += step, b += KERNEL_PANEL, ahead += next.step) {
            __builtin_prefetch(ahead, 0, 2);
            __builtin_prefetch(ahead + next.second, 0, 2);
            const __m512i b0 = _mm512_loadu_si512(b), b1 = _mm512_loadu_si512(b + VEC);
#pragma GCC unroll 12
            for (size_t i = 0; i < rows; i++) {
                int32_t word;
                memcpy(&word, p[i] + at, sizeof word);
                const __m512i x = _mm512_set1_epi32(word);
                acc[i][0] = dot(kind, acc[i][0], x, b0);
                acc[i][1] = dot(kind, acc[i][1], x, b1);
            }
        }
    for (size_t i = 0; i < rows; i++) {
        t->acc[i][0] = acc[i][0];
        t->acc[i][1] = acc[i][1];
    }
}

/* The rows of the next tile, of those that are left: about the same for all, the smaller first,
 * but a tile of less than LEAST rows last (tests/bench/README.md). */
ALWAYS_INLINE size_t rows_from(size_t left)
{
    enum { LEAST = ROWS / 2 + 1 };
    const size_t tiles = (left + ROWS - 1) / ROWS, rows = left / tiles;
    return tiles > 1 && rows < LEAST ? LEAST : rows;
}

/* Expands f with the number of rows as a constant. */
#define WITH_ROWS(f, rows, ...)              \
    switch (rows) {                          \
    case 1: f(1, __VA_ARGS__); break;        \
    case 2: f(2, __VA_ARGS__); break;        \
    case 3: f(3, __VA_ARGS__); break;        \
    case 4: f(4, __VA_ARGS__); break;        \
    case 5: f(5, __VA_ARGS__); break;        \
    case 6: f(6, __VA_ARGS__); break;        \
    case 7: f(7, __VA_ARGS__); break;        \
    case 8: f(8, __VA_ARGS__); break;        \
    case 9: f(9, __VA_ARGS__); break;        \
    case 10: f(10, __VA_ARGS__); break;      \
    case 11: f(11, __VA_ARGS__); break;      \
    default: f(ROWS, __VA_ARGS__); break;    \
    }

/* A row's and 16 columns' scales. */
ALWAYS_INLINE __m512 scale_of(float row_scale, const float *scales)
{
    return _mm512_mul_ps(_mm512_set1_ps(row_scale), _mm512_loadu_ps(scales));
}

/* What the sums of columns j .. j + 2 VEC - 1, or half of them, begin with. */
ALWAYS_INLINE void begin(struct sums *t, size_t rows, const int32_t *start, size_t j, int both)
{
    const __m512i zero = _mm512_setzero_si512();
    const __m512i low = start ? _mm512_loadu_si512(start + j) : zero;
    const __m512i high = start && both ? _mm512_loadu_si512(start + j + VEC) : zero;
    for (size_t i = 0; i < rows; i++) {
        t->acc[i][0] = low;
        t->acc[i][1] = high;
    }
}

/* The same with C. */
ALWAYS_INLINE void begin_with(struct sums *t, size_t rows, const struct narrow *g, size_t i0,
                              size_t j)
{
    const __m512i zero = _mm512_setzero_si512();
    for (size_t i = 0; i < rows; i++) {
        const float *c = g->c + (i0 + i) * g->c_stride + j;
        t->acc[i][0] = _mm512_loadu_si512(c);
        t->acc[i][1] = g->n - j > VEC ? _mm512_loadu_si512(c + VEC) : zero;
    }
}

/* 16 results of row i, column j. */
ALWAYS_INLINE void put(enum kind kind, const struct narrow *g, size_t i, size_t j, __m512i sum)
{
    __m512 x = kind == KIND_INT8
                   ? _mm512_mul_ps(_mm512_cvtepi32_ps(sum),
                                   scale_of(g->row_scales[i * g->row_step], g->scales + j))
                   : _mm512_castsi512_ps(sum);
    if (g->bias)
        x = _mm512_add_ps(x, _mm512_loadu_ps(g->bias + j));
    if (g->relu)
        x = _mm512_max_ps(x, _mm512_setzero_ps());
#if defined(__AVX512BF16__)
    if (g->c16) {
        _mm256_storeu_si256((__m256i *)(void *)(g->c16 + i * g->c_stride + j),
                            (__m256i)_mm512_cvtneps_pbh(x));
        return;
    }
#endif
    _mm512_storeu_ps(g->c + i * g->c_stride + j, x);
}

/* B comes from memory, a panel once: while the last two tiles of rows use one the
 * next is fetched, half of each of its rows each.  The first panel's tiles fetch the next
 * one's rows of A instead.  Nobody fetches for a single tile, or the first: it asks for what
 * comes 64 steps later, which a whole panel was too far and too late for; where runs have
 * gaps between them a run later, for then what it asks for is what will be read.  A
 * convolution, whose rows are windows and whose n is 0 here, has A in the cache and panels
 * of any size. */
ALWAYS_INLINE struct ahead ahead_of(const uint32_t *b, const struct window *a, size_t m, size_t n,
                                    size_t words, size_t b_panel, size_t b_skip, size_t i0,
                                    size_t j, size_t rows)
{
    const size_t left = (m - i0 + ROWS - 1) / ROWS, skip = b_skip * KERNEL_PANEL;
    if (m <= ROWS || (i0 == 0 && (n == 0 || j == 0)))
        return (struct ahead){b + (skip ? words + b_skip : 64) * KERNEL_PANEL, VEC, KERNEL_PANEL,
                              skip};
    if (left <= 2 && j + STEP < n)
        return (struct ahead){b + b_panel + (2 - left) * VEC, 0, KERNEL_PANEL, skip};
    if (n > 0 && j == 0 && left > 1)
        return (struct ahead){
            (const uint32_t *)(const void *)((const char *)a->data + (i0 + rows) * a->row), 0, VEC, 0};
    return (struct ahead){b, 0, VEC, 0};
}

ALWAYS_INLINE void tile(size_t rows, enum kind kind, const struct narrow *g, size_t i0, size_t j)
{
    struct sums t;
    if (kind == KIND_BF16 && g->add)
        begin_with(&t, rows, g, i0, j);
    else
        begin(&t, rows, kind == KIND_INT8 ? g->start : NULL, j, g->n - j > VEC);
    const uint32_t *b = g->b + j / KERNEL_PANEL * g->b_panel;
    tile_run(kind, &t, rows, g, &g->a, i0, b,
             ahead_of(b, &g->a, g->m, g->a.width < g->m ? 0 : g->n, g->words, g->b_panel, g->b_skip,
                      i0, j, rows));
    for (size_t i = 0; i < rows; i++) {
        put(kind, g, i0 + i, j, t.acc[i][0]);
        if (g->n - j > VEC)
            put(kind, g, i0 + i, j + VEC, t.acc[i][1]);
    }
}

ALWAYS_INLINE void multiply(enum kind kind, const struct narrow *g)
{
    for (size_t j = 0; j < g->n; j += STEP)
        for (size_t i = 0, rows; i < g->m; i += rows) {
            rows = rows_from(g->m - i);
            WITH_ROWS(tile, rows, kind, g, i, j)
        }
}

void KERNEL(gemm_int8)(const struct narrow *g)
{
    multiply(KIND_INT8, g);
}

float KERNEL(largest)(const float *src, size_t n)
{
    __m512 top = _mm512_setzero_ps();
    for (size_t i = 0; i < n; i += VEC)
        top = _mm512_max_ps(top, _mm512_loadu_ps(src + i));
    return _mm512_reduce_max_ps(top);
}

void KERNEL(quantise)(uint8_t *dst, const float *src, size_t n, float factor)
{
    const __m512 by = _mm512_set1_ps(factor);
    for (size_t i = 0; i < n; i += VEC) {
        const __m512i x = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(src + i), by));
        _mm_storeu_si128((__m128i *)(void *)(dst + i), _mm512_cvtusepi32_epi8(x));
    }
}

/* Four rows of 64 to words: bytes and then halves are zipped within 128 bits, which are put in
 * order in the end. */
ALWAYS_INLINE void zip_64(uint32_t *dst, const uint8_t *src, size_t stride)
{
    __m512i x[4], y[4];
    for (size_t i = 0; i < 4; i++)
        x[i] = _mm512_loadu_si512(src + i * stride);
    y[0] = _mm512_unpacklo_epi8(x[0], x[1]);
    y[1] = _mm512_unpackhi_epi8(x[0], x[1]);
    y[2] = _mm512_unpacklo_epi8(x[2], x[3]);
    y[3] = _mm512_unpackhi_epi8(x[2], x[3]);
    for (size_t i = 0; i < 2; i++) {
        x[2 * i] = _mm512_unpacklo_epi16(y[i], y[i + 2]);
        x[2 * i + 1] = _mm512_unpackhi_epi16(y[i], y[i + 2]);
    }
    for (size_t i = 0; i < 4; i += 2) {
        y[i] = _mm512_shuffle_i64x2(x[i], x[i + 1], 0x44);
        y[i + 1] = _mm512_shuffle_i64x2(x[i], x[i + 1], 0xee);
    }
    for (size_t i = 0; i < 2; i++) {
        _mm512_storeu_si512(dst + 2 * i * VEC, _mm512_shuffle_i64x2(y[i], y[i + 2], 0x88));
        _mm512_storeu_si512(dst + (2 * i + 1) * VEC, _mm512_shuffle_i64x2(y[i], y[i + 2], 0xdd));
    }
}

void KERNEL(zip_u8)(uint32_t *dst, const uint8_t *src, size_t stride, size_t n)
{
    size_t i = 0;
    for (; i + 64 <= n; i += 64)
        zip_64(dst + i, src + i, stride);
    for (; i < n; i += VEC) {
        __m512i word = _mm512_setzero_si512();
        for (size_t row = 4; row-- > 0;)
            word = _mm512_or_si512(_mm512_slli_epi32(word, 8),
                                   _mm512_cvtepu8_epi32(_mm_loadu_si128(
                                       (const __m128i *)(const void *)(src + row * stride + i))));
        _mm512_storeu_si512(dst + i, word);
    }
}

float KERNEL(quantise_signed)(uint8_t *dst, const float *src, size_t n)
{
    __m512 top = _mm512_setzero_ps();
    for (size_t i = 0; i < n; i += VEC)
        top = _mm512_max_ps(top, _mm512_abs_ps(_mm512_loadu_ps(src + i)));
    const float largest = _mm512_reduce_max_ps(top);
    const __m512 by = _mm512_set1_ps(largest >= 1e-30f ? 127 / largest : 0);
    for (size_t i = 0; i < n; i += VEC) {
        const __m512i x = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(src + i), by));
        _mm_storeu_si128((__m128i *)(void *)(dst + i),
                         _mm_xor_si128(_mm512_cvtsepi32_epi8(x), _mm_set1_epi8(-128)));
    }
    return largest >= 1e-30f ? largest / 127 : 0;
}

void KERNEL(words_int8)(uint32_t *dst, int32_t *sums, const float *const rows[4],
                        const float *factors, size_t n)
{
    const __m512i most = _mm512_set1_epi32(127), least = _mm512_set1_epi32(-127);
    for (size_t i = 0; i < n; i += VEC) {
        __m512i word = _mm512_setzero_si512();
        for (size_t q = 4; q-- > 0;) {
            const __m512 x = _mm512_mul_ps(_mm512_loadu_ps(rows[q] + i),
                                           _mm512_loadu_ps(factors + i));
            const __m512i byte = _mm512_max_epi32(
                least, _mm512_min_epi32(most, _mm512_cvtps_epi32(x)));
            word = _mm512_or_si512(_mm512_slli_epi32(word, 8),
                                   _mm512_and_si512(byte, _mm512_set1_epi32(255)));
        }
        _mm512_storeu_si512(dst + i, word);
        _mm512_storeu_si512(sums + i, _mm512_dpbusd_epi32(_mm512_loadu_si512(sums + i),
                                                          _mm512_set1_epi8(1), word));
    }
}

/* Three sums of integers, each with its scales: floats when they are added up, by
 * one instruction that rounds once, whatever the number of rows. */
ALWAYS_INLINE void tile3_int8(size_t rows, const struct narrow3 *g, const struct narrow *one,
                              size_t i0, size_t j)
{
    __m512 first[ROWS][2];
    for (size_t q = 0; q < 3; q++) {
        struct sums t;
        float *c = q == 1 ? g->re : g->im;
        const uint32_t *b = g->b[q] + j / KERNEL_PANEL * g->b_panel;
        begin(&t, rows, g->start[q], j, 1);
        tile_run(KIND_INT8, &t, rows, one, &g->a[q], i0, b,
                 ahead_of(b, &g->a[q], g->m, g->n, g->words, g->b_panel, g->b_skip, i0, j,
                          rows));
        for (size_t i = 0; i < rows; i++)
            for (size_t v = 0; v < 2; v++) {
                const size_t at = j + v * VEC;
                const __m512 x = _mm512_cvtepi32_ps(t.acc[i][v]);
                const __m512 scale = scale_of(g->row_scales[q][i0 + i], g->scales[q] + at);
                if (q == 0)
                    first[i][v] = _mm512_mul_ps(x, scale);
                else
                    _mm512_storeu_ps(c + (i0 + i) * g->c_stride + at,
                                     _mm512_fmadd_ps(x, scale, first[i][v]));
            }
    }
}

void KERNEL(gemm3_int8)(const struct narrow3 *g)
{
    const struct narrow one = {.words = g->words, .runs = g->runs, .b_skip = g->b_skip};
    for (size_t j = 0; j < g->n; j += STEP)
        for (size_t i = 0, rows; i < g->m; i += rows) {
            rows = rows_from(g->m - i);
            WITH_ROWS(tile3_int8, rows, g, &one, i, j)
        }
}

#endif

#if defined(__AVX512BF16__)

void KERNEL(gemm_bf16)(const struct narrow *g)
{
    multiply(KIND_BF16, g);
}

ALWAYS_INLINE void tile3(size_t rows, const struct narrow3 *g, const struct narrow *one,
                         size_t i0, size_t j)
{
    struct sums t, first;
    const uint32_t *b[3];
    struct ahead ahead[3];
    for (size_t q = 0; q < 3; q++) {
        b[q] = g->b[q] + j / KERNEL_PANEL * g->b_panel;
        ahead[q] = ahead_of(b[q], &g->a[q], g->m, g->n, g->words, g->b_panel, g->b_skip, i0, j,
                            rows);
    }
    for (size_t i = 0; i < rows; i++)
        t.acc[i][0] = t.acc[i][1] = _mm512_setzero_si512();
    tile_run(KIND_BF16, &t, rows, one, &g->a[0], i0, b[0], ahead[0]);
    first = t;
    tile_run(KIND_BF16, &t, rows, one, &g->a[1], i0, b[1], ahead[1]);
    for (size_t i = 0; i < rows; i++)
        for (size_t v = 0; v < 2; v++)
            _mm512_storeu_si512(g->re + (i0 + i) * g->c_stride + j + v * VEC, t.acc[i][v]);
    tile_run(KIND_BF16, &first, rows, one, &g->a[2], i0, b[2], ahead[2]);
    for (size_t i = 0; i < rows; i++)
        for (size_t v = 0; v < 2; v++)
            _mm512_storeu_si512(g->im + (i0 + i) * g->c_stride + j + v * VEC, first.acc[i][v]);
}

void KERNEL(gemm3_bf16)(const struct narrow3 *g)
{
    const struct narrow one = {.words = g->words, .runs = g->runs, .b_skip = g->b_skip};
    for (size_t j = 0; j < g->n; j += STEP)
        for (size_t i = 0, rows; i < g->m; i += rows) {
            rows = rows_from(g->m - i);
            WITH_ROWS(tile3, rows, g, &one, i, j)
        }
}

void KERNEL(to_bf16)(uint16_t *dst, const float *src, size_t n)
{
    for (size_t i = 0; i < n; i += VEC)
        _mm256_storeu_si256((__m256i *)(void *)(dst + i),
                            (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(src + i)));
}

void KERNEL(pair_rows_bf16)(uint32_t *dst, size_t dst_stride, const float *src, size_t src_stride,
                            size_t pairs, size_t n)
{
    for (size_t p = 0; p < pairs; p++, src += 2 * src_stride, dst += dst_stride)
        for (size_t i = 0; i < n; i += VEC) {
            const __mmask16 in = (__mmask16)(n - i < VEC ? (1u << (n - i)) - 1 : 0xffff);
            const vec lo = (vec)_mm512_maskz_loadu_ps(in, src + i);
            const vec hi = (vec)_mm512_maskz_loadu_ps(in, src + src_stride + i);
            _mm512_mask_storeu_epi32(dst + i, in, words_of(lo, hi));
        }
}

void KERNEL(stream_pair_bf16)(uint32_t *dst, const float *src)
{
    for (size_t i = 0; i < KERNEL_PANEL; i += VEC)
        vec_stream((float *)(void *)(dst + i),
                   (vec)words_of(vec_load(src + i), vec_load(src + KERNEL_PANEL + i)));
}

/* Columns of `vectors` (a constant) words of bits, the first of which is j. */
ALWAYS_INLINE void relu_pairs(uint32_t *dst, const float *dx, const uint16_t *bits, float *db,
                              size_t lines, size_t width, size_t n, size_t j, size_t vectors)
{
    const size_t panel = lines * ((width + 1) / 2) * KERNEL_PANEL;
    __m512 sum[4];
    dst += j / KERNEL_PANEL * panel + j % KERNEL_PANEL;
    for (size_t v = 0; v < vectors; v++)
        sum[v] = _mm512_loadu_ps(db + j + v * VEC);
    for (size_t line = 0; line < lines; line++)
        for (size_t x = 0; x < width; x += 2, dst += KERNEL_PANEL) {
            const size_t row = line * width + x, has_two = x + 1 < width;
            for (size_t v = 0; v < vectors; v++) {
                const size_t at = row * n + j + v * VEC, next = at + n;
                const __m512 lo = _mm512_maskz_loadu_ps(bits[at / VEC], dx + at);
                const __m512 hi = has_two ? _mm512_maskz_loadu_ps(bits[next / VEC], dx + next)
                                          : _mm512_setzero_ps();
                sum[v] = _mm512_add_ps(_mm512_add_ps(sum[v], lo), hi);
                _mm512_storeu_si512(dst + v / 2 * panel + v % 2 * VEC, words_of((vec)lo, (vec)hi));
            }
        }
    for (size_t v = 0; v < vectors; v++)
        _mm512_storeu_ps(db + j + v * VEC, sum[v]);
}

void KERNEL(relu_backward_bf16)(uint32_t *dst, const float *dx, const uint16_t *bits, float *db,
                                size_t lines, size_t width, size_t n)
{
    size_t j = 0;
    for (; j + 4 * VEC <= n; j += 4 * VEC)
        relu_pairs(dst, dx, bits, db, lines, width, n, j, 4);
    for (; j < n; j += VEC)
        relu_pairs(dst, dx, bits, db, lines, width, n, j, 1);
}

void KERNEL(zip_bf16)(uint32_t *dst, const uint16_t *lo, const uint16_t *hi, size_t n)
{
    for (size_t i = 0; i < n; i += VEC) {
        const __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)(lo + i));
        const __m256i high = hi ? _mm256_loadu_si256((const __m256i *)(const void *)(hi + i))
                                : _mm256_setzero_si256();
        _mm512_storeu_si512(dst + i, _mm512_or_si512(_mm512_cvtepu16_epi32(low),
                                                     _mm512_slli_epi32(
                                                         _mm512_cvtepu16_epi32(high), 16)));
    }
}

/* Eight words' rows, 16 columns: two columns' words of a row beside each other are a
 * 64-bit value, and those are transposed. */
ALWAYS_INLINE void transpose_words(uint32_t *dst, const uint32_t *src)
{
    const __m512i pair = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15));
    __m512i x[8], y[8];
    for (size_t i = 0; i < 8; i++)
        x[i] = _mm512_shuffle_epi8(_mm512_loadu_si512(src + i * KERNEL_PANEL), pair);
    for (size_t i = 0; i < 8; i += 2) {
        y[i] = _mm512_unpacklo_epi64(x[i], x[i + 1]);
        y[i + 1] = _mm512_unpackhi_epi64(x[i], x[i + 1]);
    }
    for (size_t i = 0; i < 2; i++) { /* of y[i], y[i + 2], ..: columns i + 0, 2, 4, 6 */
        x[i] = _mm512_shuffle_i64x2(y[i], y[i + 2], 0x88);
        x[i + 2] = _mm512_shuffle_i64x2(y[i], y[i + 2], 0xdd);
        x[i + 4] = _mm512_shuffle_i64x2(y[i + 4], y[i + 6], 0x88);
        x[i + 6] = _mm512_shuffle_i64x2(y[i + 4], y[i + 6], 0xdd);
    }
    for (size_t i = 0; i < 4; i++) {
        _mm512_storeu_si512(dst + i * KERNEL_PANEL, _mm512_shuffle_i64x2(x[i], x[i + 4], 0x88));
        _mm512_storeu_si512(dst + (i + 4) * KERNEL_PANEL,
                            _mm512_shuffle_i64x2(x[i], x[i + 4], 0xdd));
    }
}

void KERNEL(transpose_bf16)(uint32_t *dst, const uint32_t *src)
{
    for (size_t i = 0; i < KERNEL_PANEL / 2; i += 8)
        for (size_t j = 0; j < KERNEL_PANEL; j += VEC)
            transpose_words(dst + j / 2 * KERNEL_PANEL + 2 * i, src + i * KERNEL_PANEL + j);
}

#endif
