/*
 * dft10.c - 10x10 DFTs of small patches, one channel per vector lane.
 *
 * A 10-point DFT is 2 x 5.  With w = exp(-2 pi i / 10) and
 *   e_n = x_n + x_(n+5),  o_n = (-1)^n (x_n - x_(n+5)),  n = 0..4,
 *   X_k = DFT5(e)[3k mod 5] for even k,  DFT5(o)[3k mod 5] for odd k,
 * because w^(nk) = (-1)^(nk) exp(-2 pi i 3nk / 5): no twiddle factors.
 *
 * Rows are transformed first: real, so 6 of 10 frequencies; then columns:
 * real again for kx = 0 and 5, complex for kx = 1..4.  That leaves 4 * 10
 * complex ones, 2 * 4 complex ones and 4 real ones, in this order.
 *
 * The inverse uses the same structure backwards and is not normalised.
 */
#include "model/kernels/vector.h"

#define COS1 0.309016994374947424f  /* cos(2 pi / 5) */
#define COS2 -0.809016994374947424f /* cos(4 pi / 5) */
#define SIN1 0.951056516295153572f  /* sin(2 pi / 5) */
#define SIN2 0.587785252292473129f  /* sin(4 pi / 5) */

struct cvec {
    vec re, im;
};

/* DFT5 of real y: Y[0] (real), Y[1], Y[2]; Y[3], Y[4] are their conjugates. */
ALWAYS_INLINE void dft5_real(struct cvec out[3], const vec y[5])
{
    vec t1 = y[1] + y[4], t2 = y[2] + y[3], t3 = y[1] - y[4], t4 = y[2] - y[3];
    out[0].re = y[0] + t1 + t2;
    out[0].im = vec_set(0);
    out[1].re = y[0] + COS1 * t1 + COS2 * t2;
    out[1].im = -(SIN1 * t3 + SIN2 * t4);
    out[2].re = y[0] + COS2 * t1 + COS1 * t2;
    out[2].im = -(SIN2 * t3 - SIN1 * t4);
}

ALWAYS_INLINE void dft5(struct cvec out[5], const struct cvec y[5])
{
    vec yr[5], yi[5];
    struct cvec a[3], b[3];
    for (int n = 0; n < 5; n++) {
        yr[n] = y[n].re;
        yi[n] = y[n].im;
    }
    dft5_real(a, yr);
    dft5_real(b, yi);
    /* DFT(yr + i yi) = A + i B, with A and B Hermitian. */
    out[0] = (struct cvec){a[0].re, b[0].re};
    for (int k = 1; k < 3; k++) {
        out[k] = (struct cvec){a[k].re - b[k].im, a[k].im + b[k].re};
        out[5 - k] = (struct cvec){a[k].re + b[k].im, b[k].re - a[k].im};
    }
}

/* Inverse DFT5 of a Hermitian sequence: Y[0] real, Y[1], Y[2] given. */
ALWAYS_INLINE void idft5_real(vec y[5], vec y0, struct cvec y1, struct cvec y2)
{
    vec a1 = y1.re + y1.re, a2 = y2.re + y2.re, b1 = y1.im + y1.im, b2 = y2.im + y2.im;
    vec p = y0 + COS1 * a1 + COS2 * a2, q = SIN1 * b1 + SIN2 * b2;
    vec r = y0 + COS2 * a1 + COS1 * a2, s = SIN2 * b1 - SIN1 * b2;
    y[0] = y0 + a1 + a2;
    y[1] = p - q;
    y[4] = p + q;
    y[2] = r - s;
    y[3] = r + s;
}

/* Real x[10] to X[0..5]; X[0] and X[5] are real. */
ALWAYS_INLINE void dft10_real(struct cvec out[6], const vec x[10])
{
    vec e[5], o[5];
    struct cvec even[3], odd[3];
    for (int n = 0; n < 5; n++) {
        e[n] = x[n] + x[n + 5];
        o[n] = n % 2 ? x[n + 5] - x[n] : x[n] - x[n + 5];
    }
    dft5_real(even, e);
    dft5_real(odd, o);
    out[0] = even[0];
    out[1] = (struct cvec){odd[2].re, -odd[2].im};
    out[2] = even[1];
    out[3] = (struct cvec){odd[1].re, -odd[1].im};
    out[4] = even[2];
    out[5] = odd[0];
}

ALWAYS_INLINE void dft10(struct cvec out[10], const struct cvec x[10])
{
    struct cvec e[5], o[5], even[5], odd[5];
    for (int n = 0; n < 5; n++) {
        struct cvec a = x[n], b = x[n + 5];
        e[n] = (struct cvec){a.re + b.re, a.im + b.im};
        o[n] = n % 2 ? (struct cvec){b.re - a.re, b.im - a.im}
                     : (struct cvec){a.re - b.re, a.im - b.im};
    }
    dft5(even, e);
    dft5(odd, o);
    for (int k = 0; k < 10; k++)
        out[k] = k % 2 ? odd[3 * k % 5] : even[3 * k % 5];
}

/* X[0..5] of a real sequence back to x[10]. */
ALWAYS_INLINE void idft10_real(vec x[10], const struct cvec in[6])
{
    vec p[5], q[5];
    struct cvec o1 = {in[3].re, -in[3].im}, o2 = {in[1].re, -in[1].im};
    idft5_real(p, in[0].re, in[2], in[4]);
    idft5_real(q, in[5].re, o1, o2);
    for (int n = 0; n < 5; n++) {
        vec s = n % 2 ? -q[n] : q[n];
        x[n] = p[n] + s;
        x[n + 5] = p[n] - s;
    }
}

/* Inverse complex: exchanging the parts of input and output of a forward one. */
ALWAYS_INLINE void idft10(struct cvec out[10], const struct cvec in[10])
{
    struct cvec swapped[10], result[10];
    for (int k = 0; k < 10; k++)
        swapped[k] = (struct cvec){in[k].im, in[k].re};
    dft10(result, swapped);
    for (int k = 0; k < 10; k++)
        out[k] = (struct cvec){result[k].im, result[k].re};
}

/* ---- Forward ------------------------------------------------------------ */

/* Where a forward transform stores its planes, and how: constants to the
 * compiler, but for dst and stride. */
struct sink {
    void *dst;
    size_t stride; /* values */
    enum spectrum_planes planes;
    int is_bf16;
};

ALWAYS_INLINE void put(const struct sink *sink, size_t plane, vec x)
{
#if defined(__AVX512BF16__)
    if (sink->is_bf16) {
        uint16_t *dst = sink->dst;
        _mm256_storeu_si256((__m256i *)(void *)(dst + plane * sink->stride),
                            (__m256i)_mm512_cvtneps_pbh((__m512)x));
        return;
    }
#endif
    vec_store((float *)sink->dst + plane * sink->stride, x);
}

ALWAYS_INLINE void put_complex(const struct sink *sink, size_t f, struct cvec x)
{
    if (sink->planes == SPECTRUM_DATA) {
        put(sink, 3 * f, x.re);
        put(sink, 3 * f + 1, x.im);
        put(sink, 3 * f + 2, x.re + x.im);
    } else if (sink->planes == SPECTRUM_WEIGHTS) { /* conjugated: im = -x.im */
        put(sink, 3 * f, x.re);
        put(sink, 3 * f + 1, -x.im - x.re);
        put(sink, 3 * f + 2, x.im - x.re);
    } else {
        put(sink, 4 * f, x.re);
        put(sink, 4 * f + 1, x.im);
        put(sink, 4 * f + 2, x.re + x.im);
        put(sink, 4 * f + 3, x.im - x.re);
    }
}

ALWAYS_INLINE void forward(const struct sink *sink, const float *src, const struct patch *patch,
                           float scale)
{
    struct cvec rows[10][6];
    for (size_t y = 0; y < 10; y++) {
        vec x[10];
        if (y >= patch->rows) {
            for (int k = 0; k < 6; k++)
                rows[y][k] = (struct cvec){vec_set(0), vec_set(0)};
            continue;
        }
        for (size_t n = 0; n < 10; n++)
            x[n] = n < patch->cols
                       ? scale * vec_load(src + y * patch->row_stride + n * patch->col_stride)
                       : vec_set(0);
        dft10_real(rows[y], x);
    }
    for (size_t kx = 1; kx < 5; kx++) {
        struct cvec column[10], out[10];
        for (int y = 0; y < 10; y++)
            column[y] = rows[y][kx];
        dft10(out, column);
        for (size_t ky = 0; ky < 10; ky++)
            put_complex(sink, (kx - 1) * 10 + ky, out[ky]);
    }
    const size_t real = DFT_COMPLEX * (sink->planes == SPECTRUM_GRADIENT ? 4 : 3);
    for (size_t edge = 0; edge < 2; edge++) {
        vec column[10];
        struct cvec out[6];
        for (int y = 0; y < 10; y++)
            column[y] = rows[y][5 * edge].re;
        dft10_real(out, column);
        for (size_t ky = 1; ky < 5; ky++)
            put_complex(sink, 39 + 4 * edge + ky, out[ky]);
        put(sink, real + 2 * edge, out[0].re);
        put(sink, real + 2 * edge + 1, out[5].re);
    }
}

void KERNEL(dft_forward)(float *dst, size_t plane_stride, enum spectrum_planes planes,
                         const float *src, const struct patch *patch, float scale)
{
    for (size_t i = 0; i < KERNEL_PAD; i += VEC) {
        const struct sink data = {dst + i, plane_stride, SPECTRUM_DATA, 0};
        const struct sink weights = {dst + i, plane_stride, SPECTRUM_WEIGHTS, 0};
        const struct sink gradient = {dst + i, plane_stride, SPECTRUM_GRADIENT, 0};
        if (planes == SPECTRUM_DATA)
            forward(&data, src + i, patch, scale);
        else if (planes == SPECTRUM_WEIGHTS)
            forward(&weights, src + i, patch, scale);
        else
            forward(&gradient, src + i, patch, scale);
    }
}

#if defined(__AVX512BF16__)
void KERNEL(dft_forward_bf16)(uint16_t *dst, size_t plane_stride, const float *src,
                              const struct patch *patch)
{
    const struct sink sink = {dst, plane_stride, SPECTRUM_DATA, 1};
    forward(&sink, src, patch, 1);
}
#endif

/* ---- Inverse ------------------------------------------------------------ */

ALWAYS_INLINE struct cvec get_complex(const float *src, size_t stride, size_t step, size_t f,
                                      int conjugate)
{
    src += step * f * stride;
    vec im = vec_load(src + stride);
    return (struct cvec){vec_load(src), conjugate ? -im : im};
}

ALWAYS_INLINE void inverse(float *dst, const struct patch *patch, const float *src,
                           size_t stride, size_t step, const float *bias, float scale,
                           int conjugate)
{
    struct cvec rows[10][6];
    for (size_t kx = 1; kx < 5; kx++) {
        struct cvec column[10], out[10];
        for (size_t ky = 0; ky < 10; ky++)
            column[ky] = get_complex(src, stride, step, (kx - 1) * 10 + ky, conjugate);
        idft10(out, column);
        for (int y = 0; y < 10; y++)
            rows[y][kx] = out[y];
    }
    const float *real = src + DFT_COMPLEX * stride * step;
    for (size_t edge = 0; edge < 2; edge++) {
        struct cvec column[6];
        vec out[10];
        for (size_t ky = 1; ky < 5; ky++)
            column[ky] = get_complex(src, stride, step, 39 + 4 * edge + ky, conjugate);
        column[0] = (struct cvec){vec_load(real + 2 * edge * stride), vec_set(0)};
        column[5] = (struct cvec){vec_load(real + (2 * edge + 1) * stride), vec_set(0)};
        idft10_real(out, column);
        for (int y = 0; y < 10; y++)
            rows[y][5 * edge] = (struct cvec){out[y], vec_set(0)};
    }
    vec shift = bias ? vec_load(bias) : vec_set(0);
    for (size_t y = 0; y < patch->rows; y++) {
        vec x[10];
        idft10_real(x, rows[y]);
        for (size_t n = 0; n < patch->cols; n++)
            vec_store(dst + y * patch->row_stride + n * patch->col_stride, scale * x[n] + shift);
    }
}

void KERNEL(dft_inverse)(float *dst, const struct patch *patch, const float *src,
                         size_t plane_stride, size_t step, const float *bias, float scale)
{
    for (size_t i = 0; i < KERNEL_PAD; i += VEC)
        inverse(dst + i, patch, src + i, plane_stride, step, bias ? bias + i : NULL, scale, 0);
}

void KERNEL(dft_inverse_conj)(float *dst, const struct patch *patch, const float *src,
                              size_t plane_stride, size_t step, const float *bias, float scale)
{
    for (size_t i = 0; i < KERNEL_PAD; i += VEC)
        inverse(dst + i, patch, src + i, plane_stride, step, bias ? bias + i : NULL, scale, 1);
}
