/*
 * gemm_sparse.c - products whose left operand is mostly zero, as a layer behind ReLU
 * is: of conv1's output for a digit 97 of 100 values are.
 *
 * A few rows are taken together, and only those words of theirs that are not zero in
 * all of them: list_words() writes the words side by side, with their numbers, and the
 * product goes through that list, reading the rows of B that it names.  What is left
 * out would add zero: to the bit for integers, and for floats but for the order of the
 * additions.  The fewer the rows, the fewer words (of the digits' fp32 values 5.5 in
 * 100 for three rows, 10 for six), but the more often B is read: three are fastest.
 */
#include "model/kernels/words.h"

/* The vectors of a panel that are worked on at a time, and as many panels as there are registers
 * for their sums, so that a word is taken from the list once for both. */
enum { WIDTH = VEC == 4 ? 4 : KERNEL_PANEL / VEC, PANELS = VEC == 16 ? SPARSE_PANELS : 1 };

/* Words of the list that are worked on at a time. */
enum { SETS = VEC == 16 ? 2 : 1 };

/* As in gemm.c: longer sums of floats would lose precision. */
enum { RUN = 64 };

/* Words whose rows of B are asked for ahead of those in work: into the first-level cache, but for
 * those of fp32, with which a Zen 4 is slower so. */
enum { AHEAD = 64 };
_Static_assert((int)AHEAD + (int)SETS <= (int)SPARSE_SLACK, "what is read past a list is there");

/* ---- The list ------------------------------------------------------------- */

enum { BITS = 64 }; /* words that are looked at together */

void KERNEL(find_words)(uint64_t *set, const void *words, size_t n)
{
    const uint32_t *from = words;
    for (size_t first = 0; first < n; first += BITS) {
        const size_t end = n - first < BITS ? n : first + BITS;
        uint64_t bits = 0;
        size_t w = first;
        for (; w + VEC <= end; w += VEC)
            bits |= lanes_set((ivec)load_words(KIND_F32, from + w)) << (w - first);
        for (; w < end; w++)
            bits |= (uint64_t)(from[w] != 0) << (w - first);
        *set++ = bits;
    }
}

ALWAYS_INLINE size_t list_rows(struct sparse_word *to, size_t rows, const void *const *from,
                               const uint64_t *const *set, size_t words, uint32_t number)
{
    struct sparse_word *const begin = to;
    for (size_t k = 0; k < words; k += BITS) {
        uint64_t bits = set[0][k / BITS];
        for (size_t i = 1; i < rows; i++)
            bits |= set[i][k / BITS];
        for (; bits; bits &= bits - 1, to++) {
            const size_t w = k + (size_t)__builtin_ctzll(bits);
            for (size_t i = 0; i < SPARSE_ROWS; i++)
                to->value[i] = i < rows ? ((const uint32_t *)from[i])[w] : 0;
            to->number = number + (uint32_t)w;
        }
    }
    return (size_t)(to - begin);
}

size_t KERNEL(list_words)(struct sparse_word *to, size_t rows, const void *const from[SPARSE_ROWS],
                          const uint64_t *const set[SPARSE_ROWS], size_t words, uint32_t number)
{
    switch (rows) {
    case 1: return list_rows(to, 1, from, set, words, number);
    case 2: return list_rows(to, 2, from, set, words, number);
    default: return list_rows(to, SPARSE_ROWS, from, set, words, number);
    }
}

size_t KERNEL(used_columns)(const float *x, size_t rows, size_t n)
{
    const size_t row = n;
    for (; n > 0; n -= KERNEL_PAD) {
        ivec any = {0};
        for (size_t i = 0; i < rows; i++)
            for (size_t v = 0; v < KERNEL_PAD; v += VEC)
                any |= (ivec)(vec_load(x + i * row + n - KERNEL_PAD + v) != 0);
        if (lanes_set(any))
            break;
    }
    return n;
}

/* ---- The product ---------------------------------------------------------- */

struct sums {
    sum acc[SPARSE_ROWS][PANELS * WIDTH];
};

/* t = the product of count words.  Every second one has sums of its own, so that none
 * waits for the one before.  rows and panels are constants to the compiler. */
ALWAYS_INLINE void multiply_run(enum kind kind, struct sums *t, size_t rows, size_t panels,
                                const struct sparse_product *g, const struct sparse_word *word,
                                const char *b, size_t count)
{
    const size_t b_row = g->b_row * word_size(kind), b_panel = g->b_panel * word_size(kind);
    sum acc[SETS][SPARSE_ROWS][PANELS * WIDTH];
    for (size_t q = 0; q < SETS; q++)
        for (size_t i = 0; i < rows; i++)
            for (size_t v = 0; v < panels * WIDTH; v++)
                acc[q][i][v] = (sum){0};
    for (const struct sparse_word *end = word + count; word < end; word += SETS) {
#pragma GCC unroll 2
        for (size_t q = 0; q < SETS; q++) {
            const char *at = b + word[q].number * b_row;
            const char *ahead = b + word[q + AHEAD].number * b_row;
            for (size_t p = 0; p < panels; p++)
                for (size_t line = 0; line < KERNEL_PANEL * word_size(kind); line += LINE)
                    if (kind == KIND_F32)
                        __builtin_prefetch(ahead + p * b_panel + line, 0, 2);
                    else
                        __builtin_prefetch(ahead + p * b_panel + line, 0, 3);
            sum bv[PANELS * WIDTH];
            for (size_t v = 0; v < panels * WIDTH; v++)
                bv[v] = load_words(kind, at + v / WIDTH * b_panel +
                                             v % WIDTH * VEC * word_size(kind));
#pragma GCC unroll 3
            for (size_t i = 0; i < rows; i++)
                for (size_t v = 0; v < panels * WIDTH; v++) {
                    acc[q][i][v] = multiply_add(kind, acc[q][i][v], &word[q].value[i], bv[v]);
                    IN_PLACE(acc[q][i][v]);
                }
        }
    }
    for (size_t i = 0; i < rows; i++)
        for (size_t v = 0; v < panels * WIDTH; v++)
            t->acc[i][v] = SETS == 2 ? add(kind, acc[0][i][v], acc[SETS - 1][i][v]) : acc[0][i][v];
}

/* WIDTH vectors of each of some panels, of all rows, from column j of the first one on. */
ALWAYS_INLINE void columns(enum kind kind, size_t rows, size_t panels,
                           const struct sparse_product *g, size_t panel, size_t j)
{
    const char *b = (const char *)g->b + (panel * g->b_panel + j) * word_size(kind);
    struct sums t, part;
    for (size_t i = 0; i < rows; i++)
        for (size_t v = 0; v < panels * WIDTH; v++)
            t.acc[i][v] = (sum){0};
    for (size_t k = 0; k < g->count; k += RUN) {
        multiply_run(kind, &part, rows, panels, g, g->words + k, b,
                     g->count - k < RUN ? g->count - k : RUN);
        for (size_t i = 0; i < rows; i++)
            for (size_t v = 0; v < panels * WIDTH; v++)
                t.acc[i][v] = add(kind, t.acc[i][v], part.acc[i][v]);
    }
    for (size_t i = 0; i < rows; i++)
        for (size_t v = 0; v < panels * WIDTH; v++) {
            const size_t at = (panel + v / WIDTH) * KERNEL_PANEL + j + v % WIDTH * VEC;
            const vec x = scaled(kind, t.acc[i][v], g->row_scale, g->scales, at) +
                          vec_load(g->bias + at);
            vec_store(g->c + i * g->c_stride + at, g->relu ? vec_max(x, vec_set(0)) : x);
        }
}

ALWAYS_INLINE void multiply_panels(enum kind kind, size_t panels, const struct sparse_product *g,
                                   size_t panel)
{
    for (size_t j = 0; j < KERNEL_PANEL; j += WIDTH * VEC)
        switch (g->rows) {
        case 1: columns(kind, 1, panels, g, panel, j); break;
        case 2: columns(kind, 2, panels, g, panel, j); break;
        default: columns(kind, SPARSE_ROWS, panels, g, panel, j); break;
        }
}

ALWAYS_INLINE void multiply(enum kind kind, const struct sparse_product *g)
{
    size_t panel = 0;
    for (; panel + PANELS <= g->panels; panel += PANELS)
        multiply_panels(kind, PANELS, g, panel);
    for (; panel < g->panels; panel++)
        multiply_panels(kind, 1, g, panel);
}

void KERNEL(gemm_sparse)(const struct sparse_product *g)
{
    multiply(KIND_F32, g);
}

#if HAS_F16
void KERNEL(gemm_sparse_f16)(const struct sparse_product *g)
{
    multiply(KIND_F16, g);
}
#endif

#if defined(__AVX512VNNI__)
void KERNEL(gemm_sparse_int8)(const struct sparse_product *g)
{
    multiply(KIND_INT8, g);
}
#endif

#if defined(__AVX512BF16__)
void KERNEL(gemm_sparse_bf16)(const struct sparse_product *g)
{
    multiply(KIND_BF16, g);
}
#endif
