/*
 * primary_spectral.c - PrimaryCaps' convolution: primary_kernel^2, stride 2, bias
 * (section 4 of the paper; 191 M of the network's 203 M multiply-adds).
 *
 *   z[y,x,o] = b[o] + sum_{ky,kx,c} a[2y+ky, 2x+kx, c] w[ky,kx,c,o]
 *
 * Here in the frequency domain; primary_direct.c has the plain way to the same numbers.
 *
 * The input is split into its 4 phases a_pq[i,j] = a[2i+p, 2j+q],
 * the kernel likewise, and each pair is correlated with stride 1:
 *   z[y,x] = sum_{p,q,c} sum_{i,j<5} a_pq[y+i, x+j] w_pq[i,j].
 * For a 6x6 tile of z that reads 10x10 values of a_pq, and since y+i <= 9 the
 * correlation is a circular one of length 10 without any wrap-around.  So, with
 * ^ a 10x10 DFT and W = conj(w^) / 100,
 *   z^ = sum_{p,q,c} a_pq^ W_pq:  at each of 52 frequencies one complex matrix
 * product [images*tiles] x [4 c] x [o], done with three real ones (gemm3).
 * 148 real multiplications per input channel, phase and output channel stand
 * for the direct 729.  Larger outputs are cut into 6x6 tiles (overlap-save).
 *
 * Backward, with g = dz padded to 10x10 (the transposes of the above):
 *   da^ = g^ conj(W),  dW = conj(a^) g^,  dw = IDFT(conj(dW)) / 100 on its
 * 5x5 support.  Worst relative error against double precision: tests/unit.
 *
 * Planes (kernels.h): a^ {re, im, re+im}; W {re, im-re, -(re+im)}; z^ and dW
 * {re, im}; g^ {re, im, re+im, im-re}.
 */
#include <string.h>

#include "model/layers/layers.h"

enum { TILE = 6 }; /* outputs a side that a DFT of 10 and a kernel of 5 give */

/* Row strides of the planes.  The extra 16 floats keep rows 4096 bytes apart
 * from falling into one set of the first-level cache. */
static size_t x_row(const struct layout *at)
{
    return at->spectral_k + KERNEL_PAD;
}
static size_t y_row(const struct layout *at)
{
    return at->primary_row + KERNEL_PAD;
}

/* ---- Weights to their spectrum ------------------------------------------- */

struct prepare {
    const struct capsnet_model *model;
    float *spectrum;
};

/* The taps of one phase of a kernel: rows 2i + p and columns 2j + q of it. */
static struct patch kernel_patch(const struct capsnet_model *model, size_t p, size_t q)
{
    const size_t kernel = model->shape.primary_kernel;
    const size_t tap = model->at.conv1_row * KERNEL_PANEL;
    return (struct patch){(kernel - p + 1) / 2, (kernel - q + 1) / 2, 2 * kernel * tap, 2 * tap};
}

/* Where that phase starts in an array shaped like primary_weight. */
static size_t kernel_offset(const struct capsnet_model *model, size_t panel, size_t p, size_t q)
{
    const size_t kernel = model->shape.primary_kernel;
    const size_t tap = model->at.conv1_row * KERNEL_PANEL;
    return model->at.primary_weight + (panel * kernel * kernel + p * kernel + q) * tap;
}

/* Item: one panel of 32 output channels, one phase. */
static void prepare_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct prepare *prepare = context;
    const struct capsnet_model *model = prepare->model;
    const struct layout *at = &model->at;
    const size_t panel = item / 4, phase = item % 4;
    const struct patch patch = kernel_patch(model, phase / 2, phase % 2);
    const float *w = model->parameters + kernel_offset(model, panel, phase / 2, phase % 2);
    float *dst = prepare->spectrum +
                 (panel * at->spectral_k + phase * at->conv1_row) * KERNEL_PANEL;
    for (size_t i = 0; i < at->conv1_row * KERNEL_PANEL; i += KERNEL_PAD)
        model->kernels->dft_forward(dst + i, model->spectrum_plane, SPECTRUM_WEIGHTS, w + i,
                                    &patch, 1.0f / (DFT_N * DFT_N));
}

void primary_prepare(const struct capsnet_model *model, float *spectrum, struct pool *pool)
{
    struct prepare prepare = {model, spectrum};
    pool_run(pool, model->at.primary_row / KERNEL_PANEL * 4, prepare_item, &prepare);
}

/* The same in bf16 words, two input channels to a word, for one panel. */
void primary_pack_spectrum(const struct capsnet_model *model, size_t panel)
{
    const struct layout *at = &model->at;
    const struct packed *packed = &model->packed;
    for (size_t phase = 0; phase < 4; phase++) {
        const struct patch patch = kernel_patch(model, phase / 2, phase % 2);
        const float *w = model->parameters + kernel_offset(model, panel, phase / 2, phase % 2);
        for (size_t c = 0; c < at->conv1_row; c += 2, w += 2 * KERNEL_PANEL) {
            float planes[SPECTRUM3_PLANES][2 * KERNEL_PANEL] __attribute__((aligned(64)));
            for (size_t i = 0; i < 2 * KERNEL_PANEL; i += KERNEL_PAD)
                model->kernels->dft_forward(planes[0] + i, 2 * KERNEL_PANEL, SPECTRUM_WEIGHTS,
                                            w + i, &patch, 1.0f / (DFT_N * DFT_N));
            const size_t word = (panel * at->spectral_k + phase * at->conv1_row + c) / 2;
            for (size_t p = 0; p < SPECTRUM3_PLANES; p++)
                model->kernels->pair_bf16(packed->spectrum + p * packed->spectrum_plane +
                                              word * KERNEL_PANEL,
                                          planes[p], planes[p] + KERNEL_PANEL, KERNEL_PANEL);
        }
    }
}

/* ---- Forward ------------------------------------------------------------- */

struct pass {
    struct capsnet_workspace *ws;
    size_t n;
    const float *images;
    float *grad;
};

/* The part of conv1's output that phase (p, q) of a tile reads. */
static struct patch input_patch(const struct layout *at, size_t ty, size_t tx, size_t p, size_t q)
{
    const size_t y = 2 * TILE * ty + p, x = 2 * TILE * tx + q;
    return (struct patch){smaller(DFT_N, (at->conv1_h - y + 1) / 2),
                          smaller(DFT_N, (at->conv1_w - x + 1) / 2),
                          2 * at->conv1_w * at->conv1_row, 2 * at->conv1_row};
}

static size_t input_offset(const struct layout *at, size_t ty, size_t tx, size_t p, size_t q)
{
    return ((2 * TILE * ty + p) * at->conv1_w + 2 * TILE * tx + q) * at->conv1_row;
}

/* The part of z that a tile writes. */
static struct patch output_patch(const struct layout *at, size_t ty, size_t tx)
{
    return (struct patch){smaller(TILE, at->primary_h - TILE * ty),
                          smaller(TILE, at->primary_w - TILE * tx),
                          at->primary_w * at->primary_row, at->primary_row};
}

static size_t output_offset(const struct layout *at, size_t image, size_t ty, size_t tx)
{
    return ((image * at->primary_h + TILE * ty) * at->primary_w + TILE * tx) * at->primary_row;
}

/* Item: one image through conv1 and the DFTs, while it is in the cache. */
static void spectral_input(void *context, size_t image, size_t thread)
{
    const struct pass *pass = context;
    struct capsnet_workspace *ws = pass->ws;
    const struct kernels *kernels = ws->model->kernels;
    const struct layout *at = &ws->model->at;
    const int is_bf16 = ws->model->packed.spectrum != NULL;
    const size_t plane = pass->n * at->tiles * x_row(at);
    float *a = ws->training ? ws->conv1 + image * at->conv1_size : ws->scratch[thread].conv1;
    if (is_bf16)
        conv1_rows_bf16(ws, pass->images + image * at->pixels, 0, at->conv1_h, thread, a, NULL);
    else
        conv1_rows(ws, pass->images + image * at->pixels, 0, at->conv1_h,
                   ws->scratch[thread].patches, a);
    for (size_t tile = 0; tile < at->tiles; tile++)
        for (size_t phase = 0; phase < 4; phase++) {
            size_t ty = tile / at->tiles_x, tx = tile % at->tiles_x, p = phase / 2, q = phase % 2;
            struct patch patch = input_patch(at, ty, tx, p, q);
            const float *src = a + input_offset(at, ty, tx, p, q);
            size_t to = (image * at->tiles + tile) * x_row(at) + phase * at->conv1_row;
            for (size_t c = 0; c < at->conv1_row; c += KERNEL_PAD)
                if (is_bf16)
                    kernels->dft_forward_bf16((uint16_t *)ws->x_planes + to + c, plane, src + c,
                                              &patch);
                else
                    kernels->dft_forward(ws->x_planes + to + c, plane, SPECTRUM_DATA, src + c,
                                         &patch, 1.0f);
        }
}

/* One frequency. */
static void product_bf16(struct capsnet_workspace *ws, size_t n, size_t f)
{
    const struct packed *packed = &ws->model->packed;
    const struct layout *at = &ws->model->at;
    const size_t rows = n * at->tiles, xp = rows * x_row(at), yp = rows * y_row(at);
    const int is_real = f >= DFT_COMPLEX;
    const size_t plane = is_real ? f + 2 * DFT_COMPLEX : 3 * f;
    const uint16_t *x = (const uint16_t *)ws->x_planes + plane * xp;
    const uint32_t *w = packed->spectrum + plane * packed->spectrum_plane;
    float *y = ws->y_planes + (is_real ? f + DFT_COMPLEX : 2 * f) * yp;
    const struct window a = {.data = x, .width = rows, .row = 2 * x_row(at)};
    if (is_real) {
        const struct narrow g = {.m = rows, .n = at->primary_row, .words = at->spectral_k / 2,
                                 .runs = 1, .a = a, .b = w,
                                 .b_panel = at->spectral_k / 2 * KERNEL_PANEL, .c = y,
                                 .c_stride = y_row(at)};
        ws->model->kernels->gemm_bf16(&g);
        return;
    }
    struct narrow3 g = {.m = rows, .n = at->primary_row, .words = at->spectral_k / 2,
                        .a = {a, a, a},
                        .b = {w, w + 2 * packed->spectrum_plane, w + packed->spectrum_plane},
                        .b_panel = at->spectral_k / 2 * KERNEL_PANEL, .re = y, .im = y + yp,
                        .c_stride = y_row(at)};
    g.a[0].data = x + 2 * xp;
    g.a[1].data = x + xp;
    ws->model->kernels->gemm3_bf16(&g);
}

/* Item: one frequency. */
static void spectral_product(void *context, size_t f, size_t thread)
{
    (void)thread;
    const struct pass *pass = context;
    struct capsnet_workspace *ws = pass->ws;
    if (ws->model->packed.spectrum) {
        product_bf16(ws, pass->n, f);
        return;
    }
    const struct capsnet_model *model = ws->model;
    const struct layout *at = &model->at;
    const size_t rows = pass->n * at->tiles, b_panel = at->spectral_k * KERNEL_PANEL;
    const size_t xp = rows * x_row(at), yp = rows * y_row(at), wp = model->spectrum_plane;
    if (f >= DFT_COMPLEX) {
        size_t r = f - DFT_COMPLEX;
        struct gemm g = {
            .m = rows,
            .n = at->primary_row,
            .k = at->spectral_k,
            .a = {ws->x_planes + (3 * DFT_COMPLEX + r) * xp, x_row(at), 1},
            .b = {model->spectrum + (3 * DFT_COMPLEX + r) * wp, KERNEL_PANEL, b_panel},
            .c = {ws->y_planes + (2 * DFT_COMPLEX + r) * yp, y_row(at), KERNEL_PANEL},
        };
        model->kernels->gemm(&g);
        return;
    }
    const float *x = ws->x_planes + 3 * f * xp, *w = model->spectrum + 3 * f * wp;
    float *y = ws->y_planes + 2 * f * yp;
    struct gemm3 g = {
        .m = rows,
        .n = at->primary_row,
        .k = at->spectral_k,
        .a = {{x + 2 * xp, x_row(at), 1}, {x + xp, x_row(at), 1}, {x, x_row(at), 1}},
        .b = {{w, KERNEL_PANEL, b_panel},
              {w + 2 * wp, KERNEL_PANEL, b_panel},
              {w + wp, KERNEL_PANEL, b_panel}},
        .re = {y, y_row(at), KERNEL_PANEL},
        .im = {y + yp, y_row(at), KERNEL_PANEL},
        .sign = 1,
    };
    model->kernels->gemm3(&g);
}

/* Item: one image back to space, with the bias. */
static void spectral_output(void *context, size_t image, size_t thread)
{
    (void)thread;
    const struct pass *pass = context;
    struct capsnet_workspace *ws = pass->ws;
    const struct capsnet_model *model = ws->model;
    const struct layout *at = &model->at;
    const size_t plane = pass->n * at->tiles * y_row(at);
    for (size_t tile = 0; tile < at->tiles; tile++) {
        size_t ty = tile / at->tiles_x, tx = tile % at->tiles_x;
        struct patch patch = output_patch(at, ty, tx);
        const float *src = ws->y_planes + (image * at->tiles + tile) * y_row(at);
        float *dst = ws->primary + output_offset(at, image, ty, tx);
        for (size_t o = 0; o < at->primary_row; o += KERNEL_PAD)
            model->kernels->dft_inverse(dst + o, &patch, src + o, plane, 2,
                                        model->parameters + at->primary_bias + o, 1.0f);
    }
}

void primary_spectral(struct capsnet_workspace *ws, size_t n, const float *images)
{
    uint64_t clock = phase_clock();
    struct pass pass = {.ws = ws, .n = n, .images = images};
    pool_run(ws->pool, n, spectral_input, &pass);
    phase_end(ws, PHASE_CONV1, &clock);
    pool_run(ws->pool, DFT_FREQUENCIES, spectral_product, &pass);
    phase_end(ws, PHASE_PRIMARY, &clock);
    pool_run(ws->pool, n, spectral_output, &pass);
    phase_end(ws, PHASE_PRIMARY_OUT, &clock);
}

/* ---- Backward ------------------------------------------------------------ */

/* Item: dz of one image to its spectrum. */
static void gradient_input(void *context, size_t image, size_t thread)
{
    (void)thread;
    const struct pass *pass = context;
    struct capsnet_workspace *ws = pass->ws;
    const struct layout *at = &ws->model->at;
    const size_t plane = pass->n * at->tiles * y_row(at);
    for (size_t tile = 0; tile < at->tiles; tile++) {
        size_t ty = tile / at->tiles_x, tx = tile % at->tiles_x;
        struct patch patch = output_patch(at, ty, tx);
        const float *src = ws->primary + output_offset(at, image, ty, tx);
        float *dst = ws->dy_planes + (image * at->tiles + tile) * y_row(at);
        for (size_t o = 0; o < at->primary_row; o += KERNEL_PAD)
            ws->model->kernels->dft_forward(dst + o, plane, SPECTRUM_GRADIENT, src + o, &patch,
                                            1.0f);
    }
}

/* One panel of 32 rows of W, transposed: dst [primary_row][32]. */
static void transpose_panel(const struct capsnet_model *model, float *dst, const float *w,
                            size_t panel)
{
    const struct layout *at = &model->at;
    for (size_t o = 0; o < at->primary_row; o += KERNEL_PANEL)
        model->kernels->transpose(dst + o * KERNEL_PANEL, KERNEL_PANEL,
                                  w + (o * at->spectral_k + panel * KERNEL_PANEL * KERNEL_PANEL),
                                  KERNEL_PANEL, KERNEL_PANEL, KERNEL_PANEL);
}

static void gradient_real(const struct pass *pass, size_t r, float *transposed)
{
    struct capsnet_workspace *ws = pass->ws;
    const struct capsnet_model *model = ws->model;
    const struct layout *at = &model->at;
    const size_t rows = pass->n * at->tiles, wp = model->spectrum_plane;
    float *x = ws->x_planes + (3 * DFT_COMPLEX + r) * rows * x_row(at);
    const float *dy = ws->dy_planes + (4 * DFT_COMPLEX + r) * rows * y_row(at);
    struct gemm dw = {
        .m = at->spectral_k,
        .n = at->primary_row,
        .k = rows,
        .a = {x, 1, x_row(at)},
        .b = {dy, y_row(at), KERNEL_PANEL},
        .c = {ws->dw_planes + (2 * DFT_COMPLEX + r) * wp, KERNEL_PANEL,
              at->spectral_k * KERNEL_PANEL},
    };
    model->kernels->gemm(&dw);
    for (size_t panel = 0; panel < at->spectral_k / KERNEL_PANEL; panel++) {
        transpose_panel(model, transposed, model->spectrum + (3 * DFT_COMPLEX + r) * wp, panel);
        struct gemm dx = {
            .m = rows,
            .n = KERNEL_PANEL,
            .k = at->primary_row,
            .a = {dy, y_row(at), 1},
            .b = {transposed, KERNEL_PANEL, KERNEL_PANEL},
            .c = {x + panel * KERNEL_PANEL, x_row(at), KERNEL_PANEL},
        };
        model->kernels->gemm(&dx);
    }
}

/* Item: one frequency.  dW reads a^; then da^ takes its place.  With a^ = a+ib
 * and g^ = c+id:
 *   dW = conj(a^) g^ = [T + b (d-c)] + i [-T + a (c+d)],  T = (a+b) c;
 *   da^ = g^ conj(W) = [T + d (Wi-Wr)] + i [T - c (Wr+Wi)], T = (c+d) Wr. */
static void gradient_product(void *context, size_t f, size_t thread)
{
    const struct pass *pass = context;
    struct capsnet_workspace *ws = pass->ws;
    const struct capsnet_model *model = ws->model;
    const struct layout *at = &model->at;
    float *transposed = ws->scratch[thread].transposed;
    if (f >= DFT_COMPLEX) {
        gradient_real(pass, f - DFT_COMPLEX, transposed);
        return;
    }
    const size_t rows = pass->n * at->tiles, wp = model->spectrum_plane;
    const size_t xp = rows * x_row(at), yp = rows * y_row(at);
    const size_t panel_size = at->primary_row * KERNEL_PANEL;
    float *x = ws->x_planes + 3 * f * xp, *dw = ws->dw_planes + 2 * f * wp;
    const float *dy = ws->dy_planes + 4 * f * yp, *w = model->spectrum + 3 * f * wp;
    struct gemm3 weights = {
        .m = at->spectral_k,
        .n = at->primary_row,
        .k = rows,
        .a = {{x + 2 * xp, 1, x_row(at)}, {x + xp, 1, x_row(at)}, {x, 1, x_row(at)}},
        .b = {{dy, y_row(at), KERNEL_PANEL},
              {dy + 3 * yp, y_row(at), KERNEL_PANEL},
              {dy + 2 * yp, y_row(at), KERNEL_PANEL}},
        .re = {dw, KERNEL_PANEL, at->spectral_k * KERNEL_PANEL},
        .im = {dw + wp, KERNEL_PANEL, at->spectral_k * KERNEL_PANEL},
        .sign = -1,
    };
    model->kernels->gemm3(&weights);
    for (size_t panel = 0; panel < at->spectral_k / KERNEL_PANEL; panel++) {
        for (size_t q = 0; q < 3; q++)
            transpose_panel(model, transposed + q * panel_size, w + q * wp, panel);
        struct gemm3 input = {
            .m = rows,
            .n = KERNEL_PANEL,
            .k = at->primary_row,
            .a = {{dy + 2 * yp, y_row(at), 1}, {dy + yp, y_row(at), 1}, {dy, y_row(at), 1}},
            .b = {{transposed, KERNEL_PANEL, KERNEL_PANEL},
                  {transposed + panel_size, KERNEL_PANEL, KERNEL_PANEL},
                  {transposed + 2 * panel_size, KERNEL_PANEL, KERNEL_PANEL}},
            .re = {x + panel * KERNEL_PANEL, x_row(at), KERNEL_PANEL},
            .im = {x + xp + panel * KERNEL_PANEL, x_row(at), KERNEL_PANEL},
            .sign = 1,
        };
        model->kernels->gemm3(&input);
    }
}

/* Item: one panel, one phase of the kernels' gradient. */
static void gradient_kernel(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct pass *pass = context;
    const struct capsnet_workspace *ws = pass->ws;
    const struct capsnet_model *model = ws->model;
    const struct layout *at = &model->at;
    const size_t panel = item / 4, phase = item % 4;
    const struct patch patch = kernel_patch(model, phase / 2, phase % 2);
    float *dw = pass->grad + kernel_offset(model, panel, phase / 2, phase % 2);
    const float *src = ws->dw_planes +
                       (panel * at->spectral_k + phase * at->conv1_row) * KERNEL_PANEL;
    for (size_t i = 0; i < at->conv1_row * KERNEL_PANEL; i += KERNEL_PAD)
        model->kernels->dft_inverse_conj(dw + i, &patch, src + i, model->spectrum_plane, 2, NULL,
                                         1.0f / (DFT_N * DFT_N));
}

/* Item: 16 output channels of the bias gradient, summed in one order. */
static void gradient_bias(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct pass *pass = context;
    const struct layout *at = &pass->ws->model->at;
    float sum[KERNEL_PAD] = {0};
    const float *dz = pass->ws->primary + item * KERNEL_PAD;
    for (size_t row = 0; row < pass->n * at->positions; row++, dz += at->primary_row)
        for (size_t o = 0; o < KERNEL_PAD; o++)
            sum[o] += dz[o];
    memcpy(pass->grad + at->primary_bias + item * KERNEL_PAD, sum, sizeof sum);
}

void primary_backward(struct capsnet_workspace *ws, size_t n, float *grad)
{
    const struct layout *at = &ws->model->at;
    uint64_t clock = phase_clock();
    struct pass pass = {.ws = ws, .n = n, .grad = grad};
    pool_run(ws->pool, at->primary_row / KERNEL_PAD, gradient_bias, &pass);
    pool_run(ws->pool, n, gradient_input, &pass);
    phase_end(ws, PHASE_PRIMARY_DFT, &clock);
    pool_run(ws->pool, DFT_FREQUENCIES, gradient_product, &pass);
    phase_end(ws, PHASE_PRIMARY_BACK, &clock);
    pool_run(ws->pool, at->primary_row / KERNEL_PANEL * 4, gradient_kernel, &pass);
    phase_end(ws, PHASE_PRIMARY_GRAD, &clock);
}

/* Adds a 10x10x16 block to its place: tiles overlap by 4 phase pixels. */
static void add_block(float *dst, const struct patch *patch, const float *block)
{
    for (size_t y = 0; y < patch->rows; y++)
        for (size_t x = 0; x < patch->cols; x++)
            for (size_t c = 0; c < KERNEL_PAD; c++)
                dst[y * patch->row_stride + x * patch->col_stride + c] +=
                    block[(y * DFT_N + x) * KERNEL_PAD + c];
}

void primary_input_gradient(const struct capsnet_workspace *ws, size_t n, size_t image,
                            float *dconv1)
{
    const struct capsnet_model *model = ws->model;
    const struct layout *at = &model->at;
    const size_t plane = n * at->tiles * x_row(at);
    float block[DFT_N * DFT_N * KERNEL_PAD] __attribute__((aligned(64)));
    memset(dconv1, 0, at->conv1_size * sizeof *dconv1);
    for (size_t tile = 0; tile < at->tiles; tile++)
        for (size_t phase = 0; phase < 4; phase++) {
            size_t ty = tile / at->tiles_x, tx = tile % at->tiles_x, p = phase / 2, q = phase % 2;
            const struct patch patch = input_patch(at, ty, tx, p, q);
            const struct patch packed = {patch.rows, patch.cols, DFT_N * KERNEL_PAD, KERNEL_PAD};
            const float *src = ws->x_planes + (image * at->tiles + tile) * x_row(at) +
                               phase * at->conv1_row;
            float *dst = dconv1 + input_offset(at, ty, tx, p, q);
            for (size_t c = 0; c < at->conv1_row; c += KERNEL_PAD) {
                model->kernels->dft_inverse(block, &packed, src + c, plane, 3, NULL, 1.0f);
                add_block(dst + c, &patch, block);
            }
        }
}
