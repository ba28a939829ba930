/*
 * winograd10.c - transforms to ten points a direction and back, 16 channels side
 * by side.
 *
 * First along the rows of a patch, whose values wait in 10 x 10 vectors, then
 * along the columns, straight to their planes.  A line of M and that of the
 * opposite point share even and odd halves: 50 multiply-adds for ten values of
 * ten pixels instead of 100.  The matrix is an argument; what is fixed for the
 * compiler is its shape, and each way of splitting in use has code of its own.
 */
#include "model/kernels/vector.h"

/* Constants to the compiler where it can be had. */
struct shape {
    size_t n, split, reals;
};

/* v = M x. */
ALWAYS_INLINE void apply(vec v[POINTS], const vec *x, const struct point_matrix *m,
                         struct shape s)
{
    const size_t is_full = s.n == POINTS, evens = (s.n + 1) / 2, odds = s.n / 2;
    v[0] = m->even[0][0] * x[0];
    v[1] = m->odd[0][0] * x[is_full ? 1 : s.n - 1];
    for (size_t j = 1; is_full && j < POINTS / 2; j++) {
        v[0] += m->even[0][j] * x[2 * j];
        v[1] += m->odd[0][j] * x[2 * j + 1];
    }
#pragma GCC unroll 4
    for (size_t k = 1; k < POINTS / 2; k++) {
        vec even = m->even[k][is_full] * x[2 * is_full], odd = m->odd[k][0] * x[1];
#pragma GCC unroll 4
        for (size_t j = 1 + is_full; j < evens; j++)
            even += m->even[k][j] * x[2 * j];
#pragma GCC unroll 4
        for (size_t j = 1; j < odds - is_full; j++)
            odd += m->odd[k][j] * x[2 * j + 1];
        v[2 * k] = k <= s.split ? even + odd : even;
        v[2 * k + 1] = k <= s.split ? even - odd : odd;
    }
}

/* x = M^T v. */
ALWAYS_INLINE void apply_transposed(vec *x, const vec v[POINTS], const struct point_matrix *m,
                                    struct shape s)
{
    const size_t is_full = s.n == POINTS, evens = (s.n + 1) / 2, odds = s.n / 2;
    vec even[POINTS / 2], odd[POINTS / 2];
#pragma GCC unroll 4
    for (size_t k = 1; k < POINTS / 2; k++) {
        even[k] = k <= s.split ? v[2 * k] + v[2 * k + 1] : v[2 * k];
        odd[k] = k <= s.split ? v[2 * k] - v[2 * k + 1] : v[2 * k + 1];
    }
#pragma GCC unroll 5
    for (size_t j = 0; j < evens; j++) {
        vec sum = is_full || j == 0 ? m->even[0][j] * v[0] : m->even[1][j] * even[1];
        for (size_t k = is_full || j == 0 ? 1 : 2; k < POINTS / 2; k++)
            if (!is_full || j > 0)
                sum += m->even[k][j] * even[k];
        x[2 * j] = sum;
    }
#pragma GCC unroll 5
    for (size_t j = 0; j < odds; j++) {
        vec sum = is_full ? m->odd[0][j] * v[1] : m->odd[1][j] * odd[1];
        for (size_t k = is_full ? 1 : 2; k < POINTS / 2; k++)
            if (!is_full || j + 1 < odds)
                sum += m->odd[k][j] * odd[k];
        x[2 * j + 1] = sum;
    }
    if (!is_full)
        x[s.n - 1] += m->odd[0][0] * v[1];
}

/* ---- There ---------------------------------------------------------------- */

/* Where values go and as what: constants to the compiler but for dst. */
struct sink {
    void *dst;
    const struct planes *planes;
    enum operand_side side;
    int is_bf16;
};

ALWAYS_INLINE void put(const struct sink *sink, size_t plane, vec x)
{
    const size_t at = sink->planes->at[plane];
    if (at == NO_PLANE)
        return;
#if defined(__AVX512BF16__)
    if (sink->is_bf16) { /* and the next channels' place, as in get() */
        __builtin_prefetch((uint16_t *)sink->dst + at + 2 * KERNEL_PAD, 1);
        _mm256_storeu_si256((__m256i *)(void *)((uint16_t *)sink->dst + at),
                            (__m256i)_mm512_cvtneps_pbh((__m512)x));
        return;
    }
#endif
    vec_store((float *)sink->dst + at, x);
}

ALWAYS_INLINE size_t put_complex(const struct sink *sink, size_t plane, vec re, vec im)
{
    const int is_left = sink->side == OPERAND_LEFT;
    put(sink, plane, re);
    put(sink, plane + 1, is_left ? im : im - re);
    put(sink, plane + 2, is_left ? re + im : -(re + im));
    return plane + 3;
}

/* The complex ones among values [x line][y line]. */
ALWAYS_INLINE void put_all_complex(const struct sink *sink, vec (*v)[POINTS],
                                   const struct point_matrix *m, size_t reals)
{
    size_t plane = reals * reals;
    for (size_t r = reals; r < POINTS; r++) {
        const size_t i = m->imaginary[r];
        if (!i)
            continue;
        for (size_t p = 0; p < reals; p++) {
            plane = put_complex(sink, plane, v[r][p], v[i][p]);
            plane = put_complex(sink, plane, v[p][r], v[p][i]);
        }
        for (size_t s = reals; s < POINTS; s++) {
            const size_t t = m->imaginary[s];
            if (!t)
                continue;
            /* (re_y + i im_y) (re_x +- i im_x) */
            plane = put_complex(sink, plane, v[r][s] - v[i][t], v[i][s] + v[r][t]);
            plane = put_complex(sink, plane, v[r][s] + v[i][t], v[r][t] - v[i][s]);
        }
    }
}

ALWAYS_INLINE void there(const struct sink *sink, const float *src, const struct patch *patch,
                         const struct point_matrix *m, struct shape s)
{
    vec values[POINTS][POINTS]; /* [x line][row], then [x line][y line] */
    for (size_t y = 0; y < s.n; y++) {
        vec x[POINTS], v[POINTS];
        if (y >= patch->rows) {
            for (size_t q = 0; q < POINTS; q++)
                values[q][y] = vec_set(0);
            continue;
        }
        const float *row = src + y * patch->row_stride;
        for (size_t n = 0; n < s.n; n++)
            x[n] = n < patch->cols ? vec_load(row + n * patch->col_stride) : vec_set(0);
        apply(v, x, m, s);
        for (size_t q = 0; q < POINTS; q++)
            values[q][y] = v[q];
    }
    for (size_t q = 0; q < POINTS; q++) {
        vec v[POINTS];
        apply(v, values[q], m, s);
        for (size_t p = 0; p < s.reals && q < s.reals; p++)
            put(sink, q * s.reals + p, v[p]);
        for (size_t p = 0; p < POINTS && s.reals < POINTS; p++)
            values[q][p] = v[p];
    }
    if (s.reals < POINTS)
        put_all_complex(sink, values, m, s.reals);
}

/* Expands f with the matrix's shape as a constant: all real, one imaginary pair,
 * eighth roots of unity or any, of n pixels. */
#define WITH_SPLIT(f, pixels, m, ...)                                    \
    if ((m)->reals == POINTS)                                            \
        f(__VA_ARGS__, m, ((struct shape){pixels, 4, POINTS}));          \
    else if ((m)->reals == POINTS - 2)                                   \
        f(__VA_ARGS__, m, ((struct shape){pixels, 3, POINTS - 2}));      \
    else if ((m)->reals == 4 && (m)->split == 3)                         \
        f(__VA_ARGS__, m, ((struct shape){pixels, 3, 4}));               \
    else                                                                 \
        f(__VA_ARGS__, m, ((struct shape){pixels, (m)->split, (m)->reals}));
#define WITH_SHAPE(f, m, ...)                                            \
    if ((m)->n == 10) {                                                  \
        WITH_SPLIT(f, 10, m, __VA_ARGS__)                                \
    } else if ((m)->n == 6) {                                            \
        WITH_SPLIT(f, 6, m, __VA_ARGS__)                                 \
    } else {                                                             \
        WITH_SPLIT(f, 5, m, __VA_ARGS__)                                 \
    }

void KERNEL(to_points)(float *dst, const struct planes *planes, enum operand_side side,
                       const struct point_matrix *m, const float *src,
                       const struct patch *patch)
{
    for (size_t i = 0; i < KERNEL_PAD; i += VEC) {
        const struct sink sink = {dst + i, planes, side, 0};
        WITH_SHAPE(there, m, &sink, src + i, patch)
    }
}

#if defined(__AVX512BF16__)
void KERNEL(to_points_bf16)(uint16_t *dst, const struct planes *planes, enum operand_side side,
                            const struct point_matrix *m, const float *src,
                            const struct patch *patch)
{
    const struct sink sink = {dst, planes, side, 1};
    WITH_SHAPE(there, m, &sink, src, patch)
}
#endif

/* ---- And back ------------------------------------------------------------- */

struct source {
    const float *src;
    const struct planes *planes;
};

ALWAYS_INLINE vec get(const struct source *source, size_t plane)
{
    const size_t at = source->planes->at[plane];
    if (at == NO_PLANE)
        return vec_set(0);
    /* Those of channels to come: so many places at once are too many for the CPU to see.
     * Into the second-level cache: the first takes fewer at a time. */
    __builtin_prefetch(source->src + at + 3 * KERNEL_PAD, 0, 2);
    return vec_load(source->src + at);
}

/* The complex planes as values of a real matrix on either side, [x line][y line]:
 * what put_all_complex() does, transposed.  Of (s, r) and (s, conj r) each value
 * gets half: the lines of M have the factor 2 of a pair and its conjugate twice. */
ALWAYS_INLINE void get_all_complex(const struct source *source, vec (*v)[POINTS],
                                   const struct point_matrix *m, size_t reals)
{
    size_t plane = reals * reals;
    for (size_t r = reals; r < POINTS; r++) {
        const size_t i = m->imaginary[r];
        if (!i)
            continue;
        for (size_t p = 0; p < reals; p++, plane += 4) {
            v[r][p] = get(source, plane);
            v[i][p] = get(source, plane + 1);
            v[p][r] = get(source, plane + 2);
            v[p][i] = get(source, plane + 3);
        }
        for (size_t s = reals; s < POINTS; s++) {
            const size_t t = m->imaginary[s];
            if (!t)
                continue;
            const vec re = 0.5f * get(source, plane), im = 0.5f * get(source, plane + 1);
            const vec re2 = 0.5f * get(source, plane + 2), im2 = 0.5f * get(source, plane + 3);
            v[r][s] = re2 + re;
            v[i][t] = re2 - re;
            v[i][s] = im - im2;
            v[r][t] = im + im2;
            plane += 4;
        }
    }
}

ALWAYS_INLINE void back(float *dst, const struct patch *patch, const struct source *source,
                        const float *bias, const struct point_matrix *m, struct shape s)
{
    vec values[POINTS][POINTS]; /* [x line][y line], then [row][x line] */
    vec rows[POINTS][POINTS];
    if (s.reals < POINTS)
        get_all_complex(source, values, m, s.reals);
    for (size_t q = 0; q < POINTS; q++) {
        vec x[POINTS], v[POINTS];
        for (size_t p = 0; p < POINTS; p++)
            v[p] = p < s.reals && q < s.reals ? get(source, q * s.reals + p) : values[q][p];
        apply_transposed(x, v, m, s);
        for (size_t y = 0; y < s.n; y++)
            rows[y][q] = x[y];
    }
    const vec shift = bias ? vec_load(bias) : vec_set(0);
    for (size_t y = 0; y < patch->rows; y++) {
        vec x[POINTS];
        apply_transposed(x, rows[y], m, s);
        for (size_t n = 0; n < s.n; n++)
            if (n < patch->cols) {
                float *to = dst + y * patch->row_stride + n * patch->col_stride;
                __builtin_prefetch(to + KERNEL_PAD, 1);
                vec_store(to, x[n] + shift);
            }
    }
}

void KERNEL(from_points)(float *dst, const struct patch *patch, const struct point_matrix *m,
                         const float *src, const struct planes *planes, const float *bias)
{
    for (size_t i = 0; i < KERNEL_PAD; i += VEC) {
        const struct source source = {src + i, planes};
        const float *shift = bias ? bias + i : NULL;
        WITH_SHAPE(back, m, dst + i, patch, &source, shift)
    }
}
