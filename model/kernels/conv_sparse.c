/*
 * conv_sparse.c - a convolution with bias and ReLU, of an image that is mostly zero, as a
 * drawing is: under a window of conv1 three pixels in ten are not.
 *
 * Which values are not zero is a string of bits; of it and a few shifts of it come the words
 * that are not zero in all of some windows beside each other, and only those are multiplied,
 * by as many columns of B as there are registers for their sums.  What is left out would add
 * zero: to the bit for integers and for floats, whose other terms come in the same order.  The
 * fewer windows, the fewer words (of MNIST's fp32 values 36 in 100 for two, 45 for four), but
 * the fewer sums, which a few columns need more of.
 */
#include "model/kernels/words.h"

enum {
    WIDE = VEC == 16 ? 8 : 4, /* vectors of columns at a time, where there are so many; */
    FEW = 2, MANY = 4,        /* windows then, and else */
    BESIDE = VEC == 4 ? WIDE : KERNEL_PANEL / VEC, /* vectors that lie in one panel */
};

/* Words whose bits are looked at together; as in gemm.c, longer sums of floats would lose
 * precision. */
enum { RUN = 64 };

/* ---- What is not zero ------------------------------------------------------ */

/* Bit j: value j of 64 is not zero. */
ALWAYS_INLINE uint64_t find_64(enum kind kind, const void *x)
{
    uint64_t bits = 0;
#if defined(__AVX512BW__)
    if (kind == KIND_INT8) {
        const __m512i v = _mm512_loadu_si512(x);
        return _mm512_test_epi8_mask(v, v);
    }
    for (size_t j = 0; kind == KIND_BF16 && j < 64; j += 32) {
        const __m512i v = _mm512_loadu_si512((const uint16_t *)x + j);
        bits |= (uint64_t)_mm512_test_epi16_mask(v, v) << j;
    }
#endif
    for (size_t j = 0; kind == KIND_F32 && j < 64; j += VEC)
        bits |= lanes_set((ivec)vec_load((const float *)x + j)) << j;
    return bits;
}

/* Bit i: value i of n is not zero; n / 64 + 3 words, of which the last two are 0. */
ALWAYS_INLINE void find_values(enum kind kind, uint64_t *bits, const void *x, size_t n)
{
    const size_t value = 4 / values_of(kind), whole = n / 64;
    char rest[64 * sizeof(float)] = {0};
    for (size_t i = 0; i < whole; i++)
        bits[i] = find_64(kind, (const char *)x + i * 64 * value);
    memcpy(rest, (const char *)x + whole * 64 * value, n % 64 * value);
    bits[whole] = find_64(kind, rest);
    bits[whole + 1] = bits[whole + 2] = 0;
}

/* 64 bits from bit i on. */
ALWAYS_INLINE uint64_t bits_from(const uint64_t *bits, size_t i)
{
    return bits[i / 64] >> i % 64 | bits[i / 64 + 1] << 1 << (63 - i % 64);
}

/* Every second bit of x, from bit 0 on. */
ALWAYS_INLINE uint64_t every_second(uint64_t x)
{
    x &= 0x5555555555555555;
    x = (x | x >> 1) & 0x3333333333333333;
    x = (x | x >> 2) & 0x0f0f0f0f0f0f0f0f;
    x = (x | x >> 4) & 0x00ff00ff00ff00ff;
    x = (x | x >> 8) & 0x0000ffff0000ffff;
    return (x | x >> 16) & 0x00000000ffffffff;
}

/* Bit i of string r, of values_of(kind) strings of `length` words: the word that begins at value
 * i * values_of(kind) + r is not zero in all of the windows that begin there and, a pixel
 * further each, beside it. */
ALWAYS_INLINE void find_words(enum kind kind, uint64_t *strings, size_t length,
                              const uint64_t *bits, size_t n, size_t windows, size_t pixel)
{
    const size_t per_word = values_of(kind);
    memset(strings, 0, per_word * length * sizeof *strings);
    for (size_t i = 0; i < n; i += 64)
        for (size_t r = 0; r < per_word; r++) {
            const size_t at = i / per_word;
            uint64_t any = 0;
            for (size_t w = 0; w < windows; w++)
                for (size_t q = 0; q < per_word; q++)
                    any |= bits_from(bits, i + w * pixel + r + q);
            for (size_t q = 1; q < per_word; q *= 2)
                any = every_second(any);
            strings[r * length + at / 64] |= any << at % 64;
        }
}

/* Those bits of the words of windows, of which the first begins at value `first`: their rows
 * one behind the other. */
ALWAYS_INLINE void find_window(enum kind kind, const struct convolution *g,
                               const uint64_t *strings, size_t length, size_t first,
                               uint64_t *set)
{
    uint64_t bits = 0;
    size_t n = 0;
    for (size_t ky = 0; ky < g->kernel; ky++, first += g->row) {
        const uint64_t *string = strings + first % values_of(kind) * length;
        for (size_t w = 0; w < g->words; w += RUN) {
            const size_t words = g->words - w < RUN ? g->words - w : RUN;
            const uint64_t any = bits_from(string, first / values_of(kind) + w)
                                 << (RUN - words) >> (RUN - words);
            bits |= any << n;
            n += words;
            if (n >= RUN) {
                *set++ = bits;
                n -= RUN;
                bits = n ? any >> (words - n) : 0;
            }
        }
    }
    if (n)
        *set = bits;
}

/* ---- The product ----------------------------------------------------------- */

/* What is known of an image before it is multiplied. */
struct found {
    const uint64_t *set;     /* [windows side by side][length], of all rows */
    size_t length;
    const uint32_t *offsets; /* [words of a window] bytes from its first value */
};

ALWAYS_INLINE void put(const struct convolution *g, size_t at, size_t j, vec x)
{
    x = vec_max(x, vec_set(0));
#if defined(__AVX512BF16__)
    if (g->c16) {
        _mm256_storeu_si256((__m256i *)(void *)(g->c16 + at * g->c_stride + j),
                            (__m256i)_mm512_cvtneps_pbh((__m512)x));
        return;
    }
#endif
    vec_store(g->c + at * g->c_stride + j, x);
}

/* nv vectors, from column j on, of some windows, the first of which is number `at` and begins
 * at x.  Sums of floats begin with the bias, as in gemm.c.  windows and nv are constants to the
 * compiler. */
ALWAYS_INLINE void tile(enum kind kind, const struct convolution *g, const struct found *f,
                        const uint64_t *set, const char *x, size_t windows, size_t at, size_t j,
                        size_t nv)
{
    const size_t pixel = g->pixel * 4 / values_of(kind);
    const uint32_t *b[WIDE];
    sum t[MANY][WIDE];
    for (size_t v = 0; v < nv; v += BESIDE)
        b[v / BESIDE] = g->b + (j + v * VEC) / KERNEL_PANEL * g->b_panel + (j + v * VEC) % KERNEL_PANEL;
    for (size_t i = 0; i < windows; i++)
        for (size_t v = 0; v < nv; v++)
            t[i][v] = kind == KIND_INT8 ? (sum){0} : (sum)vec_load(g->bias + j + v * VEC);
    for (size_t k = 0; k < f->length; k++) {
        sum acc[MANY][WIDE];
        for (size_t i = 0; i < windows; i++)
            for (size_t v = 0; v < nv; v++)
                acc[i][v] = (sum){0};
        for (uint64_t left = set[k]; left; left &= left - 1) {
            const size_t w = k * RUN + (size_t)__builtin_ctzll(left);
            const char *word = x + f->offsets[w];
            const size_t from = w * g->b_word;
            sum bv[WIDE];
            for (size_t v = 0; v < nv; v++)
                bv[v] = load_words(kind, b[v / BESIDE] + from + v % BESIDE * VEC);
#pragma GCC unroll 4
            for (size_t i = 0; i < windows; i++)
                for (size_t v = 0; v < nv; v++) {
                    acc[i][v] = multiply_add(kind, acc[i][v], word + i * pixel, bv[v]);
                    IN_PLACE(acc[i][v]);
                }
        }
        for (size_t i = 0; i < windows; i++)
            for (size_t v = 0; v < nv; v++)
                t[i][v] = add(kind, t[i][v], acc[i][v]);
    }
    for (size_t i = 0; i < windows; i++)
        for (size_t v = 0; v < nv; v++) {
            const vec y = scaled(kind, t[i][v], g->scale, g->scales, j + v * VEC);
            put(g, at + i, j + v * VEC, kind == KIND_INT8 ? y + vec_load(g->bias + j + v * VEC) : y);
        }
}

/* nv vectors of columns, from j on, of all windows. */
ALWAYS_INLINE void columns(enum kind kind, const struct convolution *g, const struct found *f,
                           size_t windows, size_t j, size_t nv)
{
    const size_t value = 4 / values_of(kind);
    const uint64_t *set = f->set;
    for (size_t y = 0; y < g->rows; y++) {
        const char *x = (const char *)g->image + y * g->row * value;
        size_t at = y * g->width, left = g->width;
        for (; left >= windows; left -= windows, set += f->length) {
            tile(kind, g, f, set, x, windows, at, j, nv);
            at += windows;
            x += windows * g->pixel * value;
        }
        for (size_t i = 0; i < left; i++)
            tile(kind, g, f, set, x + i * g->pixel * value, 1, at + i, j, nv);
        set += left ? f->length : 0;
    }
}

/* All columns; windows is a constant to the compiler. */
ALWAYS_INLINE void all_columns(enum kind kind, const struct convolution *g, const struct found *f,
                               size_t windows)
{
    for (size_t j = 0, nv; j < g->n; j += nv * VEC) {
        const size_t left = (g->n - j) / VEC;
        nv = left >= WIDE && windows == FEW ? WIDE : left >= 4 ? 4 : left >= 2 ? 2 : 1;
        switch (nv) {
        case 1: columns(kind, g, f, windows, j, 1); break;
        case 2: columns(kind, g, f, windows, j, 2); break;
        case 4: columns(kind, g, f, windows, j, 4); break;
        default:
            if (windows == FEW)
                columns(kind, g, f, windows, j, WIDE);
        }
    }
}

ALWAYS_INLINE void convolve(enum kind kind, const struct convolution *given)
{
    const struct convolution copy = *given, *const g = &copy; /* which no store can change */
    const size_t n = (g->rows + g->kernel - 1) * g->row, string = n / 64 + 3;
    const size_t windows = g->n >= WIDE * VEC ? FEW : MANY, words = g->kernel * g->words;
    uint64_t *bits = g->scratch, *strings = bits + string;
    uint64_t *set = strings + values_of(kind) * string;
    uint32_t *offsets = (uint32_t *)set;
    set += (words + 1) / 2;
    const struct found f = {set, (words + RUN - 1) / RUN, offsets};
    for (size_t ky = 0, w = 0; ky < g->kernel; ky++)
        for (size_t i = 0; i < g->words; i++, w++)
            offsets[w] = (uint32_t)(ky * g->row * 4 / values_of(kind) + i * 4);
    find_values(kind, bits, g->image, n);
    find_words(kind, strings, string, bits, n, windows, g->pixel);
    for (size_t y = 0; y < g->rows; y++)
        for (size_t x = 0; x < g->width; x += windows, set += f.length)
            find_window(kind, g, strings, string, y * g->row + x * g->pixel, set);
    if (windows == FEW)
        all_columns(kind, g, &f, FEW);
    else
        all_columns(kind, g, &f, MANY);
}

void KERNEL(conv_sparse)(const struct convolution *g)
{
    convolve(KIND_F32, g);
}

#if defined(__AVX512VNNI__)
void KERNEL(conv_sparse_int8)(const struct convolution *g)
{
    convolve(KIND_INT8, g);
}
#endif

#if defined(__AVX512BF16__)
void KERNEL(conv_sparse_bf16)(const struct convolution *g)
{
    convolve(KIND_BF16, g);
}
#endif
