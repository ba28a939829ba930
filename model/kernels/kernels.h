/*
 * kernels.h - the inner loops, one table of them per CPU level.
 *
 * A source file of this folder is compiled once per level with that level's own
 * flags, as GCC vector code whose width is the level's.  Level `ref` is the same
 * source with the compiler's baseline: it runs everywhere, and is what the other
 * levels are held against.  Level `openblas` is `ref` with its products by
 * cblas_sgemm (gemm_cblas.c): what runs where the CPU has no level of its own
 * below.  Compiled once are dispatch.c, openblas.c and gemm_cblas.c.
 * tests/unit/kernels/ hold each kernel of each level against a plain
 * double-precision loop.
 *
 * Rows of matrices are padded to multiples of KERNEL_PAD floats and padding
 * is zero, so that no kernel needs a tail along a row.  Pointers are aligned
 * to 64 bytes unless said otherwise.
 */
#ifndef CAPSNET_KERNELS_H
#define CAPSNET_KERNELS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    KERNEL_PAD = 16,   /* floats; rows are multiples of it */
    KERNEL_PANEL = 32, /* columns of a packed panel */
    KERNEL_LANES = 16, /* images that routing works on side by side */
    KERNEL_MAX_CLASSES = 256, /* that routing has room for, */
    KERNEL_MAX_DIMS = 64,     /* and of a capsule */
};

/* Columns j of a matrix in panels: element (row, j) lies at
 * [(j / 32) * panel + row * stride + j % 32].  A row-major matrix of row
 * stride s is { data, s, KERNEL_PANEL }; a packed one of r rows is
 * { data, KERNEL_PANEL, r * KERNEL_PANEL }. */
struct matrix {
    float *data;
    size_t stride, panel;
};
struct const_matrix {
    const float *data;
    size_t stride, panel;
};

/* A left operand, any two strides: element (i, p) lies at [i*row + p*col].
 * Needs no alignment. */
struct operand {
    const float *data;
    size_t row, col;
};

/* What is done to a product before it is stored. */
enum gemm_epilogue {
    GEMM_STORE,      /* C  = A B */
    GEMM_ADD,        /* C += A B */
    GEMM_BIAS,       /* C  = A B + bias */
    GEMM_BIAS_RELU,  /* C  = max(0, A B + bias) */
};

struct gemm {
    size_t m, n, k; /* n is rounded up to KERNEL_PAD */
    struct operand a;
    struct const_matrix b;
    struct matrix c;
    enum gemm_epilogue epilogue;
    const float *bias; /* [n rounded up to KERNEL_PAD], for the BIAS epilogues */
    const float *then; /* the first panel of the next product's B, to be asked for, or NULL */
    const uint16_t *halves; /* gemm_f16: instead of b.data */
};

/* ---- bf16 and 8-bit operands --------------------------------------------
 * A word is 4 bytes that lie side by side along k: two bf16 or four 8-bit
 * values.  Right operands are packed in panels of 32 columns: word w of column
 * j lies at [(j / 32) * panel + w * 32 + j % 32].  Left operands are read in
 * place and need no alignment. */

/* Rows of a left operand: of a matrix, or the windows of a convolution.  All
 * strides are bytes.  Word w of row i lies at
 *   (i / width) * band + (i % width) * row + (w / words) * skip + (w % words) * (4 + gap)
 * with the product's words per run.  A plain matrix has width m and one run. */
struct window {
    const void *data;
    size_t width, row, band, skip;
    size_t gap; /* 0 where words lie side by side */
};

/* C = epilogue(A B): with t the sum over runs * words words,
 *   x = t  (bf16)  or  (t + start[j]) * row_scales[i * row_step] * scales[j]  (8 bits);
 *   x += bias[j], unless bias is NULL;  x = max(0, x) if relu.
 * With add t begins with what C holds. */
struct narrow {
    size_t m, n;        /* n a multiple of KERNEL_PAD */
    size_t words, runs;
    struct window a;    /* bf16, or u8 */
    const uint32_t *b;  /* bf16, or s8 */
    size_t b_panel;     /* words */
    size_t b_skip;      /* words of 32 columns that B has between two runs */
    const float *row_scales, *scales; /* 8 bits; row_step 0: all rows have one; [n] */
    size_t row_step;
    const int32_t *start; /* 8 bits: [n], or NULL for zeros */
    const float *bias;  /* [n] */
    int relu;
    int add;            /* to c of bf16 */
    float *c;           /* [m] rows of n, c_stride apart */
    uint16_t *c16;      /* instead of c: rounded to bf16 */
    size_t c_stride;
};

/* A complex product by three real ones (Gauss):
 *   T = a[0] b[0];  re = T + a[1] b[1];  im = T + a[2] b[2].
 * n is a multiple of KERNEL_PANEL.  Of 8 bits each has its own scales, as above, and
 * what its sums begin with. */
struct narrow3 {
    size_t m, n, words, runs;
    struct window a[3];
    const uint32_t *b[3];
    size_t b_panel, b_skip;
    const float *row_scales[3], *scales[3]; /* 8 bits: [m], [n] */
    const int32_t *start[3];                /* [n] */
    float *re, *im; /* [m] rows of n, c_stride apart */
    size_t c_stride;
};

/* ---- Left operands that are mostly zero ------------------------------------ */

enum {
    SPARSE_ROWS = 3,   /* at most, taken together */
    SPARSE_PANELS = 2, /* that a product takes at a time, where it can */
    SPARSE_SLACK = 72, /* words that follow a list */
};

/* One word (one fp32, two bf16, four u8) of each of up to SPARSE_ROWS rows, not zero in
 * all of them, and which word of a row it is. */
struct sparse_word {
    uint32_t value[SPARSE_ROWS], number;
};

/* Ends a list with words of zeros, whose rows of B are asked for while the list's last ones are in
 * work: those of the `count` words that are multiplied next, `rows` further on.  The first may be
 * read, too. */
static inline void sparse_end(struct sparse_word *end, const struct sparse_word *next, size_t count,
                              size_t rows)
{
    memset(end, 0, SPARSE_SLACK * sizeof *end);
    for (size_t i = 1; i < SPARSE_SLACK && i < count; i++)
        end[i].number = next[i].number + (uint32_t)rows;
}

/* C = A B + bias, of some panels of B: row w of panel p lies at [p * b_panel + w * b_row], in fp32
 * or fp16, or words of bf16 or s8.  8 bits: the sum times row_scale * scales[j] before the bias. */
struct sparse_product {
    size_t rows, count, panels;
    const struct sparse_word *words; /* [count], and what sparse_end() writes */
    const void *b;
    size_t b_row, b_panel;
    int relu; /* C = max(0, that) */
    const float *bias, *scales; /* [panels * KERNEL_PANEL] */
    float row_scale;
    float *c; /* [rows] of panels * KERNEL_PANEL, c_stride apart */
    size_t c_stride;
};

/* C = max(0, A B + bias): A's rows are the windows of an image, n columns of B are kernels.
 * A window's word w lies `row` values times w / words behind its first value, and 4 bytes
 * times w % words: `words` words, not all of whose values need belong to the window, where
 * B is zero, of each of `kernel` rows of pixels. */
struct convolution {
    const void *image;   /* fp32, bf16 or u8: [rows + kernel - 1][row], and what the last
                          * window's last word reads beyond */
    size_t row, pixel;   /* values from a row of pixels, and from a pixel, to the next; pixel
                          * at most 16 */
    size_t rows, width;  /* of windows */
    size_t kernel, words;
    size_t n;            /* a multiple of KERNEL_PAD */
    const uint32_t *b;   /* fp32, or words of bf16 or s8: word w of column j lies at
                          * [j / KERNEL_PANEL * b_panel + w * b_word + j % KERNEL_PANEL] */
    size_t b_word, b_panel;
    const float *bias;   /* [n] */
    float scale;         /* 8 bits: of what the image holds, and [n] of B's columns */
    const float *scales;
    float *c;            /* [rows * width] rows of n, c_stride apart */
    uint16_t *c16;       /* of bf16, instead of c: rounded to bf16 */
    size_t c_stride;
    uint64_t *scratch;   /* [convolution_scratch()] */
};

/* Words of scratch for an image of n values or less, rows of windows, and width in each. */
static inline size_t convolution_scratch(size_t n, size_t rows, size_t width, size_t kernel,
                                         size_t words)
{
    return 5 * (n / 64 + 3) + (kernel * words + 1) / 2 +
           rows * ((width + 1) / 2) * ((kernel * words + 63) / 64);
}

/* ---- Transforms to ten points a direction ---------------------------------
 * Of a rectangle of n x n pixels, n at most 10, to 10 x 10 values, V = M X M^T,
 * and back, X = M^T V M.  network/winograd.h says what for. */
enum {
    POINTS = 10,
    POINT_VALUES = POINTS * POINTS,
    POINT_PLANES = 150, /* at most: three for each of 50 complex values */
};

/* M, of ten lines and n columns, by halves: with
 *   E_k = sum_j even[k][j] x[2j],  O_k = sum_j odd[k][j] x[2j+1]
 * lines 2k and 2k+1 are E_k + O_k and E_k - O_k for k = 1..split, then E_k and
 * O_k.  Lines 0 and 1 are E_0 and O_0 where n is 10, else even[0][0] x[0] and
 * odd[0][0] x[n-1].  even[k][0] and odd[k][4] are zero where k > 0 and n is 10.
 * n is 10, 6 or 5. */
struct point_matrix {
    size_t n, split;
    /* The first lines are real; of the others, imaginary[r] is the line of the
     * imaginary part where r is a real part, else 0. */
    size_t reals;
    unsigned char imaginary[POINTS];
    float even[POINTS / 2][POINTS / 2], odd[POINTS / 2][POINTS / 2];
};

/* Where each plane of a transform lies, in values from the first pixel's place.
 * Planes come in this order, q and r lines along x, p and s along y:
 *   the real (p, q), p innermost: [q * reals + p];
 *   for each complex r: for each real p, (p, r) and (r, p);
 *                       for each complex s, (s, r) and (s, conj r).
 * A real one has one plane.  A complex one has three on the way there,
 *   an operand of a product from the left: re, im, re+im,
 *   from the right: re, im-re, -(re+im),
 * and two on the way back: re, im. */
struct planes {
    size_t at[POINT_PLANES];
};
#define NO_PLANE ((size_t)-1) /* not stored; zero when read */

enum operand_side { OPERAND_LEFT, OPERAND_RIGHT };

/* A rectangle of pixels, channels innermost. */
struct patch {
    size_t rows, cols;
    size_t row_stride, col_stride; /* floats */
};

/* A window of routing: one group of KERNEL_LANES images, [..][lanes]
 * innermost.  W is digit.weight, [capsules][classes * pose][dims]. */
struct routing {
    size_t capsules, classes, pose, dims;
    const float *weight; /* [capsules][classes*pose][dims], 4-byte aligned */
    /* The same in bf16 (AVX-512 BF16), as words of two dims, and of two outputs: what is
     * multiplied where they are there, by operands so rounded.  dims and classes*pose are
     * even then; else both are NULL. */
    const uint32_t *dim_words;    /* [capsules][classes*pose][dims/2]: u_hat */
    const uint32_t *output_words; /* [capsules][classes*pose/2][dims]: du */
};

/* A term of the gradient of u_hat, for capsules whose coef [classes][lanes] lie
 * stride floats apart; vec [classes*pose][lanes] is all capsules'. */
struct routing_term {
    const float *coef;
    size_t stride;
    const float *vec;
};

/* Routing of one image: KERNEL_LANES capsules side by side, in groups, of which a call is
 * about `count` from `first` on.  Lanes past the last capsule have zero u and zero weights. */
struct image_routing {
    size_t groups, first, count, classes, pose, dims;
    const void *weight; /* [groups][classes*pose][dims][lanes] fp32 or fp16, or, for bf16,
                         * [groups][classes*pose][ceil(dims/2)][lanes] words of two dims, or,
                         * for int8, [ceil(dims/4)] of four, each plus 128 as u8 */
    const float *scales; /* int8: [groups][classes][lanes] value of a unit of W */
};

/* Words of a capsule's prediction vectors in bf16, [classes][ceil(pose/2)]: two values each, of
 * which the last one's second is zero if pose is odd. */
static inline size_t prediction_words(size_t classes, size_t pose)
{
    return classes * ((pose + 1) / 2);
}

struct kernels {
    const char *level;

    void (*gemm)(const struct gemm *g);

    /* Bit i % 64 of set[i / 64]: word i of n is not zero; the last one's other bits are 0. */
    void (*find_words)(uint64_t *set, const void *words, size_t n);

    /* Lists those words of rows, at from[i], that by set[i] are not zero in all; the first is
     * word `number`.  How many. */
    size_t (*list_words)(struct sparse_word *to, size_t rows, const void *const from[SPARSE_ROWS],
                         const uint64_t *const set[SPARSE_ROWS], size_t words, uint32_t number);

    void (*gemm_sparse)(const struct sparse_product *g);

    /* What an image's zeros would add is left out. */
    void (*conv_sparse)(const struct convolution *g);

    /* How many columns of x [rows][n], a multiple of KERNEL_PAD, go as far as the last that
     * has a value other than zero; n a multiple of KERNEL_PAD. */
    size_t (*used_columns)(const float *x, size_t rows, size_t n);

    /* Transposes rows x cols floats: dst[j*dst_stride + i] = src[i*src_stride + j].
     * rows and cols are multiples of KERNEL_PAD. */
    void (*transpose)(float *dst, size_t dst_stride, const float *src, size_t src_stride,
                      size_t rows, size_t cols);

    /* V = M X M^T of each of KERNEL_PAD channels.  src: the patch's first pixel;
     * pixels beyond its rows x cols, at most n x n, are zero. */
    void (*to_points)(float *dst, const struct planes *planes, enum operand_side side,
                      const struct point_matrix *m, const float *src, const struct patch *patch);

    /* X = M^T V M.  dst receives the patch's rows x cols corner of X, plus bias[16]
     * when bias is not NULL. */
    void (*from_points)(float *dst, const struct patch *patch, const struct point_matrix *m,
                        const float *src, const struct planes *planes, const float *bias);

    /* One pass over all capsules of a group (section 2 of the paper, with
     * b_ij = u_hat_ij . vsum_j, vsum being the sum of all v so far):
     *   u_hat = W u;  c = softmax_j(u_hat . vsum);  s = sum_i c u_hat.
     * vsum NULL stands for zero: c = 1 / classes.
     * u [capsules][dims][lanes], vsum and s [classes*pose][lanes]; scratch
     * [2][classes*pose][lanes]. */
    void (*route)(const struct routing *r, const float *u, const float *vsum, float *s,
                  float *scratch);

    /* The backward pass of one such iteration.  Given ds, recomputes u_hat
     * and c, and
     *   dc = u_hat . ds;  gb = c (dc - sum_k c_k dc_k);
     *   dvsum = sum_i gb u_hat.
     * c_out and gb_out: [classes][lanes] per capsule, capsule_stride floats
     * apart. */
    void (*route_backward)(const struct routing *r, const float *u, const float *vsum,
                           const float *ds, float *dvsum, float *c_out, float *gb_out,
                           size_t capsule_stride, float *scratch);

    /* Capsule i of groups groups, all images: given du_hat
     * [groups][classes*pose][lanes] and u [groups] (group_stride floats
     * apart) [dims][lanes]:
     *   du[d] = sum_je W[je][d] du_hat[je];  dW[je][d] = sum over images.
     * du has u's layout; dw [classes*pose][dims] is overwritten; scratch
     * [ceil(groups/2)][dims][lanes], in bf16 only. */
    void (*predict_backward)(const struct routing *r, size_t capsule, size_t groups,
                             const float *du_hat, const float *u, float *du,
                             size_t group_stride, float *dw, uint32_t *scratch);

    /* du_hat[je] = sum_t coef_t[j] * vec_t[je], over terms t, of some capsules;
     * their du_hat [classes*pose][lanes] lie du_hat_stride floats apart. */
    void (*combine)(const struct routing *r, size_t capsules, float *du_hat,
                    size_t du_hat_stride, size_t n_terms, const struct routing_term *terms);

    /* KERNEL_LANES capsules side by side: u[d][lane] = from[lane][d], d < dims. */
    void (*gather_capsules)(float *u, const float *const from[KERNEL_LANES], size_t dims);

    /* The first iteration of one or two images, c = 1 / classes, which leaves
     * the prediction vectors for the others, as far as those groups go:
     *   u_hat = W u;  s = sum_i u_hat / classes.
     * u [images][groups][dims][lanes], u_hat
     * [images][groups][classes*pose][lanes], s
     * [images][classes*pose rounded up to KERNEL_LANES]; scratch sums: as many
     * rows of lanes.  An image's result is the same bits alone and in two. */
    void (*predict_images)(const struct image_routing *r, size_t images, const float *u,
                            float *u_hat, float *s, float *sums);

    /* A further one of one image: c = softmax_j(u_hat . vsum);  s = sum_i c u_hat.
     * vsum [classes*pose], the rest as above. */
    void (*route_image)(const struct image_routing *r, const float *u_hat, const float *vsum,
                        float *s, float *sums);

    /* v = s |s| / (1 + |s|^2) over vectors of dims rows of lanes: s, v
     * [count][dims][lanes].  In place is allowed. */
    void (*squash)(float *v, const float *s, size_t count, size_t dims);

    /* Gradient of squash: ds from s and dv; ds may be dv. */
    void (*squash_backward)(float *ds, const float *s, const float *dv, size_t count,
                            size_t dims);

    /* One Adam step (Kingma & Ba 2014, algorithm 1) over n floats, with the
     * bias corrections folded into rate and epsilon, and an exponential
     * moving average of the parameters when ema is not NULL:
     *   m += (1-beta1)(g-m);  v += (1-beta2)(g^2-v);  w -= rate m/(sqrt v+eps)
     *   ema += (1-decay)(w-ema). */
    void (*adam)(size_t n, float *w, const float *g, float *m, float *v, float *ema, float rate,
                 float beta1, float beta2, float epsilon, float ema_decay);

    /* Which of n values are above 0: bit i % 16 of word i / 16; n a multiple of
     * KERNEL_PAD. */
    void (*positive)(uint16_t *bits, const float *x, size_t n);

    /* Back through a ReLU and its bias: dx = its output was positive ? dx : 0, and
     * db += the sum of dx's rows.  dx: [rows][n], packed; bits: [rows][n / 16], as
     * positive() made them; db [n]; n a multiple of KERNEL_PAD. */
    void (*relu_backward)(float *dx, const uint16_t *bits, float *db, size_t rows, size_t n);

    /* y = 1 / (1 + exp(-y)), n a multiple of KERNEL_PAD. */
    void (*sigmoid)(float *y, size_t n);

    /* From here on NULL at levels whose instructions they need: F16C or AVX-512.  As those
     * of fp32, to the bit, with a B or a W of fp16. */
    void (*gemm_f16)(const struct gemm *g);
    void (*gemm_sparse_f16)(const struct sparse_product *g);
    void (*predict_images_f16)(const struct image_routing *r, size_t images, const float *u,
                               float *u_hat, float *s, float *sums);

    /* AVX-512 VNNI. */
    void (*gemm_int8)(const struct narrow *g);
    void (*gemm_sparse_int8)(const struct sparse_product *g);
    void (*conv_sparse_int8)(const struct convolution *g);

    /* The largest of n values and 0; n a multiple of KERNEL_PAD. */
    float (*largest)(const float *src, size_t n);

    /* dst = src * factor rounded to nearest, ties to even, and at most 255;
     * src * factor is at least 0; n a multiple of KERNEL_PAD. */
    void (*quantise)(uint8_t *dst, const float *src, size_t n, float factor);

    void (*gemm3_int8)(const struct narrow3 *g);

    /* Values of either sign: dst = 128 + src / scale rounded to nearest, ties to even,
     * with the scale returned, the largest magnitude over 127; if that is below 1e-30
     * the scale is 0 and dst 128; n a multiple of KERNEL_PAD. */
    float (*quantise_signed)(uint8_t *dst, const float *src, size_t n);

    /* dst[i] = the word of src[i], src[stride + i], src[2 stride + i] and src[3 stride + i]; n a
     * multiple of KERNEL_PAD. */
    void (*zip_u8)(uint32_t *dst, const uint8_t *src, size_t stride, size_t n);

    /* dst[i] = the word of rows[0..3][i] * factors[i], each rounded to nearest, ties to
     * even, and -127 to 127; sums[i] += the four; n a multiple of KERNEL_PAD. */
    void (*words_int8)(uint32_t *dst, int32_t *sums, const float *const rows[4],
                       const float *factors, size_t n);

    /* AVX-512 BF16. */
    void (*gemm_bf16)(const struct narrow *g);
    void (*gemm_sparse_bf16)(const struct sparse_product *g);
    void (*conv_sparse_bf16)(const struct convolution *g);
    void (*gemm3_bf16)(const struct narrow3 *g);

    /* Rounds to nearest, ties to even; n a multiple of KERNEL_PAD. */
    void (*to_bf16)(uint16_t *dst, const float *src, size_t n);

    /* dst[i][j] = the word of src[2i][j] and src[2i+1][j], so rounded; i < pairs, j < n, any
     * n; rows lie so many values apart. */
    void (*pair_rows_bf16)(uint32_t *dst, size_t dst_stride, const float *src, size_t src_stride,
                           size_t pairs, size_t n);

    /* One pair of rows of KERNEL_PANEL values, past the caches. */
    void (*stream_pair_bf16)(uint32_t *dst, const float *src);

    /* As relu_backward, of lines of width rows, to words of bf16 instead of in place:
     * words of rows 2i and 2i + 1 of a line, or of its last one and zeros, as a right
     * operand [panel][lines][(width + 1) / 2][KERNEL_PANEL]. */
    void (*relu_backward_bf16)(uint32_t *dst, const float *dx, const uint16_t *bits, float *db,
                               size_t lines, size_t width, size_t n);

    /* As predict_images and route_image: u and then u_hat rounded to bf16, W stored as
     * such, or u and W to 8 bits, u with a scale for each capsule.  u_hat
     * [groups][prediction_words()][lanes]. */
    void (*predict_images_bf16)(const struct image_routing *r, size_t images, const float *u,
                                uint32_t *u_hat, float *s, float *sums);
    void (*predict_images_int8)(const struct image_routing *r, size_t images, const float *u,
                                uint32_t *u_hat, float *s, float *sums);
    void (*route_image_bf16)(const struct image_routing *r, const uint32_t *u_hat,
                             const float *vsum, float *s, float *sums);

    /* dst[i] = the word of lo[i] and hi[i]; hi NULL stands for zeros; n a multiple
     * of KERNEL_PAD. */
    void (*zip_bf16)(uint32_t *dst, const uint16_t *lo, const uint16_t *hi, size_t n);

    /* A square of KERNEL_PANEL bf16 a side, in words of two rows each, to words of two
     * columns: src [KERNEL_PANEL / 2][KERNEL_PANEL], dst likewise of the transpose. */
    void (*transpose_bf16)(uint32_t *dst, const uint32_t *src);

    /* As to_points, rounded to bf16. */
    void (*to_points_bf16)(uint16_t *dst, const struct planes *planes, enum operand_side side,
                           const struct point_matrix *m, const float *src,
                           const struct patch *patch);
};

/* The table of a level by name, or of the best that this CPU and operating
 * system have when name is NULL (not `openblas` where `ref` is faster).  NULL when the name is unknown or the CPU
 * lacks it. */
const struct kernels *kernels_find(const char *name);

/* Level i of those compiled in, from `ref` upward; NULL past the end.
 * *usable tells whether this CPU has it. */
const struct kernels *kernels_at(size_t i, int *usable);

#endif
