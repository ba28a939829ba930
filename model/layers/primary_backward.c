/*
 * primary_backward.c - the gradients of primary_spectral.c: the transposes of its
 * steps, in the other order.  With g = dz,
 *   g^ = A g A^T,  da^ = g^ w^T,  dw^ = a^T g^,  da = B da^ B^T,  dw = G^T dw^ G,
 * the products over output channels and over images.  90 multiplications each,
 * for the direct 729, in fp32; in bf16, where some points are complex, 107: there
 * w^ and a^ are conjugated, since a gradient is one of real and imaginary parts
 * apart.
 */
#include <assert.h>
#include <string.h>

#include "model/layers/primary_spectral.h"

struct gradient {
    struct pass pass;
    float *grad;
    struct planes dy[2]; /* where g^ of each side lies in dy_planes, in bf16 */
};

/* Item: dz of one image to its spectrum. */
static void gradient_input(void *context, size_t image, size_t thread)
{
    (void)thread;
    const struct gradient *gradient = context;
    struct capsnet_workspace *ws = gradient->pass.ws;
    const struct kernels *kernels = ws->model->kernels;
    const struct layout *at = &ws->model->at;
    const struct point_matrix *m = &ws->model->winograd.output;
    for (size_t tile = 0; tile < at->tiles; tile++) {
        const struct patch patch = output_patch(at, tile);
        const float *src = ws->primary + output_offset(at, image, tile);
        const size_t to = (image * at->tiles + tile) * y_row(at);
        for (size_t o = 0; o < at->primary_row; o += KERNEL_PAD)
            if (ws->model->products == PRECISION_BF16)
                for (enum operand_side side = OPERAND_LEFT; side <= OPERAND_RIGHT; side++)
                    kernels->to_points_bf16((uint16_t *)ws->dy_planes + to + o,
                                            &gradient->dy[side], side, m, src + o, &patch);
            else
                kernels->to_points(ws->dy_planes + to + o, &gradient->pass.y, OPERAND_LEFT, m,
                                   src + o, &patch);
    }
}

/* ---- The products in fp32 ------------------------------------------------- */

/* Columns [first, first + count) of w^T, packed: dst [primary_row][KERNEL_PANEL]. */
static void transpose_panel(const struct capsnet_model *model, float *dst, const float *w,
                            size_t first, size_t count)
{
    const struct layout *at = &model->at;
    for (size_t o = 0; o < at->primary_row; o += KERNEL_PANEL)
        model->kernels->transpose(dst + o * KERNEL_PANEL, KERNEL_PANEL,
                                  w + o * at->spectral_k + first * KERNEL_PANEL, KERNEL_PANEL,
                                  count, KERNEL_PANEL);
}

/* dw^ reads a^; then da^ takes its place. */
static void product_f32(const struct pass *pass, const struct winograd_product *product,
                        float *transposed)
{
    const struct capsnet_workspace *ws = pass->ws;
    const struct capsnet_model *model = ws->model;
    const struct layout *at = &model->at;
    const size_t rows = pass->n * at->tiles;
    const size_t at_w = product->x * model->spectrum_plane + product->column * KERNEL_PANEL;
    float *x = ws->x_planes + product->x * rows * x_row(at) + product->column;
    const float *dy = ws->dy_planes + product->y * rows * y_row(at);
    assert(!product->is_complex);
    const struct gemm dw = {
        .m = product->k,
        .n = at->primary_row,
        .k = rows,
        .a = {x, 1, x_row(at)},
        .b = {dy, y_row(at), KERNEL_PANEL},
        .c = {ws->dw_planes + at_w, KERNEL_PANEL, at->spectral_k * KERNEL_PANEL},
    };
    model->kernels->gemm(&dw);
    for (size_t first = 0; first < product->k; first += KERNEL_PANEL) {
        const size_t count = smaller(product->k - first, KERNEL_PANEL);
        transpose_panel(model, transposed, model->spectrum + at_w, first, count);
        const struct gemm dx = {
            .m = rows,
            .n = count,
            .k = at->primary_row,
            .a = {dy, y_row(at), 1},
            .b = {transposed, KERNEL_PANEL, KERNEL_PANEL},
            .c = {x + first, x_row(at), KERNEL_PANEL},
        };
        model->kernels->gemm(&dx);
    }
}

/* ---- The products in bf16 -------------------------------------------------
 * As kernels.h pairs values along k, operands that lie paired along another
 * direction, or not at all, are paired anew, in pieces that stay in the cache. */

/* Rows of a bf16 matrix, two by two, from a column on: dst [(rows + 1) / 2][count], with
 * dst_stride words from one to the next. */
static void pair_rows(const struct kernels *kernels, uint32_t *dst, size_t dst_stride,
                      const uint16_t *src, size_t stride, size_t rows, size_t count)
{
    for (size_t r = 0; r < rows; r += 2, dst += dst_stride, src += 2 * stride)
        kernels->zip_bf16(dst, src, r + 1 < rows ? src + stride : NULL, count);
}

/* One complex product of kernels.h, or a real one of its first operands: to c and, the
 * imaginary part, `plane` behind it. */
static void multiply(const struct kernels *kernels, int is_complex, struct narrow3 *g,
                     size_t plane)
{
    if (is_complex) {
        g->im = g->re + plane;
        kernels->gemm3_bf16(g);
        return;
    }
    const struct narrow real = {.m = g->m, .n = g->n, .words = g->words, .runs = 1, .a = g->a[0],
                                .b = g->b[0], .b_panel = g->b_panel, .c = g->re,
                                .c_stride = g->c_stride};
    kernels->gemm_bf16(&real);
}

/* Columns [first, first + KERNEL_PANEL) of w^T, packed: dst [primary_row / 2][KERNEL_PANEL]. */
static void pair_kernels(const struct capsnet_model *model, uint32_t *dst, const uint32_t *w,
                         size_t first)
{
    enum { WORDS = KERNEL_PANEL / 2 };
    const struct layout *at = &model->at;
    for (size_t o = 0; o < at->primary_row; o += KERNEL_PANEL) {
        const uint32_t *src = w + o * at->spectral_k / 2 + first / 2 * KERNEL_PANEL;
        for (size_t i = 0; i < WORDS * KERNEL_PANEL; i += KERNEL_PAD) /* the next columns' */
            __builtin_prefetch(src + WORDS * KERNEL_PANEL + i, 0, 2);
        model->kernels->transpose_bf16(dst + o / 2 * KERNEL_PANEL, src);
    }
}

/* da^ = g^ conj(w^)^T = T + g_im (w_im - w_re) - i g_re (w_re + w_im), with
 * T = (1 + i) (g_re + g_im) w_re: the planes that the forward pass has of w^. */
static void input_product(const struct pass *pass, const struct winograd_product *product,
                          uint32_t *words)
{
    const struct capsnet_workspace *ws = pass->ws;
    const struct capsnet_model *model = ws->model;
    const struct layout *at = &model->at;
    const size_t rows = pass->n * at->tiles, xp = rows * x_row(at), yp = rows * y_row(at);
    const size_t panel = at->primary_row / 2 * KERNEL_PANEL, wp = model->packed.spectrum_plane;
    const uint16_t *dy = (const uint16_t *)ws->dy_planes + product->dy * yp;
    const uint32_t *w = model->packed.spectrum + product->x * wp +
                        product->column / 2 * KERNEL_PANEL;
    const struct window a = {.data = dy, .width = rows, .row = 2 * y_row(at)};
    struct narrow3 g = {.m = rows, .words = at->primary_row / 2, .runs = 1, .a = {a, a, a},
                        .b = {words, words + panel, words + 2 * panel}, .b_panel = panel,
                        .c_stride = x_row(at)};
    if (product->is_complex) {
        g.a[0].data = dy + 2 * yp;
        g.a[1].data = dy + yp;
    }
    for (size_t first = 0; first < product->k; first += KERNEL_PANEL) {
        for (size_t part = 0; part < (product->is_complex ? 3 : 1); part++)
            pair_kernels(model, words + part * panel, w + part * wp, first);
        g.n = smaller(product->k - first, KERNEL_PANEL);
        g.re = ws->dx_planes + product->x * xp + product->column + first;
        multiply(model->kernels, product->is_complex, &g, xp);
    }
}

/* The conjugate of dw^ = conj(a^)^T g^, T + a_im (g_im - g_re) - i a_re (g_re + g_im) with
 * T = (1 + i) (a_re + a_im) g_re: the planes that the forward pass has of a^.  No three
 * such products give dw^ itself; kernel_gradient takes it as it is. */
static void kernel_product(const struct pass *pass, const struct winograd_product *product,
                           const struct scratch *scratch)
{
    /* Planes of the two operands, in the order in which they meet. */
    static const size_t dy_plane[3] = {0, 3, 4}, x_plane[3] = {2, 1, 0};
    const struct capsnet_workspace *ws = pass->ws;
    const struct capsnet_model *model = ws->model;
    const struct kernels *kernels = model->kernels;
    const struct layout *at = &model->at;
    const size_t rows = pass->n * at->tiles, pairs = (rows + 1) / 2;
    const size_t xp = rows * x_row(at), yp = rows * y_row(at), parts = product->is_complex ? 3 : 1;
    const uint16_t *dy = (const uint16_t *)ws->dy_planes + product->dy * yp;
    const uint16_t *x = (const uint16_t *)ws->x_planes + product->x * xp + product->column;
    float *dw = ws->dw_planes + product->x * model->spectrum_plane + product->column * KERNEL_PANEL;
    struct narrow3 g = {.n = KERNEL_PANEL, .words = pairs, .runs = 1, .b_panel = pairs * KERNEL_PANEL,
                        .c_stride = KERNEL_PANEL};
    for (size_t part = 0; part < parts; part++)
        for (size_t o = 0; o < at->primary_row; o += KERNEL_PANEL)
            pair_rows(kernels, scratch->dy_words + (part * at->primary_row + o) * pairs,
                      KERNEL_PANEL, dy + dy_plane[part] * yp + o, y_row(at), rows, KERNEL_PANEL);
    for (size_t first = 0; first < product->k; first += X_COLUMNS) {
        g.m = smaller(product->k - first, X_COLUMNS);
        for (size_t part = 0; part < parts; part++) {
            uint32_t *words = scratch->x_words + part * pairs * X_COLUMNS;
            pair_rows(kernels, words, X_COLUMNS, x + (parts == 3 ? x_plane[part] : 0) * xp + first,
                      x_row(at), rows, g.m);
            g.a[part] = (struct window){.data = words, .width = g.m, .row = sizeof *words,
                                        .gap = (X_COLUMNS - 1) * sizeof *words};
        }
        for (size_t o = 0; o < at->primary_row; o += KERNEL_PANEL) {
            for (size_t part = 0; part < parts; part++)
                g.b[part] = scratch->dy_words + (part * at->primary_row + o) * pairs;
            g.re = dw + o * at->spectral_k + first * KERNEL_PANEL;
            multiply(kernels, product->is_complex, &g, model->spectrum_plane);
        }
    }
}

/* ---- Item: one product, the complex ones first ---------------------------- */

static void gradient_product(void *context, size_t i, size_t thread)
{
    const struct gradient *gradient = context;
    const struct capsnet_workspace *ws = gradient->pass.ws;
    const struct winograd *w = &ws->model->winograd;
    const struct winograd_product *product = &w->product[w->products - 1 - i];
    const struct scratch *scratch = &ws->scratch[thread];
    if (product->k == 0)
        return;
    if (ws->model->products == PRECISION_F32) {
        product_f32(&gradient->pass, product, scratch->transposed);
        return;
    }
    input_product(&gradient->pass, product, scratch->w_words);
    kernel_product(&gradient->pass, product, scratch);
}

/* Item: one panel, one phase of the kernels' gradient. */
static void gradient_kernel(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct gradient *gradient = context;
    const struct capsnet_workspace *ws = gradient->pass.ws;
    const struct capsnet_model *model = ws->model;
    const struct layout *at = &model->at;
    const size_t panel = item / KERNEL_PHASES, phase = item % KERNEL_PHASES;
    const struct patch patch = kernel_patch(model, phase);
    float *dw = gradient->grad + kernel_offset(model, panel, phase);
    const float *src = ws->dw_planes + panel * at->spectral_k * KERNEL_PANEL;
    struct planes planes;
    winograd_operand_gradient(&planes, &model->winograd, phase, model->spectrum_plane,
                              KERNEL_PANEL);
    for (size_t i = 0; i < at->conv1_row * KERNEL_PANEL; i += KERNEL_PAD)
        model->kernels->from_points(dw + i, &patch, &model->winograd.kernel_gradient, src + i,
                                    &planes, NULL);
}

/* Item: 16 output channels of the bias gradient, summed in one order. */
static void gradient_bias(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct gradient *gradient = context;
    const struct pass *pass = &gradient->pass;
    const struct layout *at = &pass->ws->model->at;
    float sum[KERNEL_PAD] = {0};
    const float *dz = pass->ws->primary + item * KERNEL_PAD;
    for (size_t row = 0; row < pass->n * at->positions; row++, dz += at->primary_row)
        for (size_t o = 0; o < KERNEL_PAD; o++)
            sum[o] += dz[o];
    memcpy(gradient->grad + at->primary_bias + item * KERNEL_PAD, sum, sizeof sum);
}

void primary_backward(struct capsnet_workspace *ws, size_t n, float *grad)
{
    const struct layout *at = &ws->model->at;
    uint64_t clock = phase_clock();
    const struct winograd *w = &ws->model->winograd;
    struct gradient gradient = {.grad = grad};
    spectral_pass(&gradient.pass, ws, 0, n);
    for (enum operand_side side = OPERAND_LEFT; side <= OPERAND_RIGHT; side++)
        winograd_result_gradient(&gradient.dy[side], w, side, n * at->tiles * y_row(at));
    pool_run(ws->pool, at->primary_row / KERNEL_PAD, gradient_bias, &gradient);
    pool_run(ws->pool, n, gradient_input, &gradient);
    phase_end(ws, PHASE_PRIMARY_DFT, &clock);
    pool_run_longest_first(ws->pool, w->products, gradient_product, &gradient);
    phase_end(ws, PHASE_PRIMARY_BACK, &clock);
    pool_run(ws->pool, at->primary_row / KERNEL_PANEL * KERNEL_PHASES, gradient_kernel, &gradient);
    phase_end(ws, PHASE_PRIMARY_GRAD, &clock);
}

/* Adds a 10x10x16 block to its place: of several, tiles overlap by 4 phase pixels. */
static void add_block(float *dst, const struct patch *patch, const float *block)
{
    for (size_t y = 0; y < patch->rows; y++)
        for (size_t x = 0; x < patch->cols; x++)
            for (size_t c = 0; c < KERNEL_PAD; c++)
                dst[y * patch->row_stride + x * patch->col_stride + c] +=
                    block[(y * POINTS + x) * KERNEL_PAD + c];
}

void primary_input_gradient(const struct capsnet_workspace *ws, size_t n, size_t image,
                            float *dconv1)
{
    const struct capsnet_model *model = ws->model;
    const struct layout *at = &model->at;
    const size_t plane = n * at->tiles * x_row(at);
    const int is_one = at->tiles == 1;
    float block[POINT_VALUES * KERNEL_PAD] __attribute__((aligned(64)));
    if (!is_one || at->conv1_h > 2 * POINTS || at->conv1_w > 2 * POINTS)
        memset(dconv1, 0, at->conv1_size * sizeof *dconv1);
    for (size_t phase = 0; phase < KERNEL_PHASES; phase++) {
        struct planes planes;
        winograd_operand_gradient(&planes, &model->winograd, phase, plane, 1);
        for (size_t tile = 0; tile < at->tiles; tile++) {
            const struct patch patch = input_patch(at, tile, phase);
            const struct patch packed = {patch.rows, patch.cols, POINTS * KERNEL_PAD, KERNEL_PAD};
            const float *src = ws->dx_planes + (image * at->tiles + tile) * x_row(at);
            float *dst = dconv1 + input_offset(at, tile, phase);
            for (size_t c = 0; c < at->conv1_row; c += KERNEL_PAD) {
                model->kernels->from_points(is_one ? dst + c : block, is_one ? &patch : &packed,
                                            &model->winograd.data, src + c, &planes, NULL);
                if (!is_one)
                    add_block(dst + c, &patch, block);
            }
        }
    }
}
