/*
 * primary_backward.c - the gradients of primary_spectral.c: the transposes of its
 * steps, in the other order.  With g = dz,
 *   g^ = A g A^T,  da^ = g^ w^T,  dw^ = a^T g^,  da = B da^ B^T,  dw = G^T dw^ G,
 * the products over output channels and over images.  90 multiplications each,
 * for the direct 729; all points are real.
 */
#include <assert.h>
#include <string.h>

#include "model/layers/primary_spectral.h"

/* Item: dz of one image to its spectrum. */
static void gradient_input(void *context, size_t image, size_t thread)
{
    (void)thread;
    const struct pass *pass = context;
    struct capsnet_workspace *ws = pass->ws;
    const struct layout *at = &ws->model->at;
    for (size_t tile = 0; tile < at->tiles; tile++) {
        const struct patch patch = output_patch(at, tile);
        const float *src = ws->primary + output_offset(at, image, tile);
        float *dst = ws->dy_planes + (image * at->tiles + tile) * y_row(at);
        for (size_t o = 0; o < at->primary_row; o += KERNEL_PAD)
            ws->model->kernels->to_points(dst + o, &pass->y, OPERAND_LEFT,
                                          &ws->model->winograd.output, src + o, &patch);
    }
}

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

/* Item: one product.  dw^ reads a^; then da^ takes its place. */
static void gradient_product(void *context, size_t i, size_t thread)
{
    const struct pass *pass = context;
    struct capsnet_workspace *ws = pass->ws;
    const struct capsnet_model *model = ws->model;
    const struct layout *at = &model->at;
    const struct winograd_product *product = &model->winograd.product[i];
    const size_t rows = pass->n * at->tiles;
    const size_t at_w = product->x * model->spectrum_plane + product->column * KERNEL_PANEL;
    float *x = ws->x_planes + product->x * rows * x_row(at) + product->column;
    const float *dy = ws->dy_planes + product->y * rows * y_row(at);
    float *transposed = ws->scratch[thread].transposed;
    assert(!product->is_complex);
    if (product->k == 0)
        return;
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
        const size_t left = product->k - first, count = left < KERNEL_PANEL ? left : KERNEL_PANEL;
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

/* Item: one panel, one phase of the kernels' gradient. */
static void gradient_kernel(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct pass *pass = context;
    const struct capsnet_workspace *ws = pass->ws;
    const struct capsnet_model *model = ws->model;
    const struct layout *at = &model->at;
    const size_t panel = item / KERNEL_PHASES, phase = item % KERNEL_PHASES;
    const struct patch patch = kernel_patch(model, phase);
    float *dw = pass->grad + kernel_offset(model, panel, phase);
    const float *src = ws->dw_planes + panel * at->spectral_k * KERNEL_PANEL;
    struct planes planes;
    kernel_planes(&planes, model, phase);
    for (size_t i = 0; i < at->conv1_row * KERNEL_PANEL; i += KERNEL_PAD)
        model->kernels->from_points(dw + i, &patch, &model->winograd.kernel, src + i, &planes,
                                    NULL);
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
    struct pass pass;
    spectral_pass(&pass, ws, n);
    pass.grad = grad;
    pool_run(ws->pool, at->primary_row / KERNEL_PAD, gradient_bias, &pass);
    pool_run(ws->pool, n, gradient_input, &pass);
    phase_end(ws, PHASE_PRIMARY_DFT, &clock);
    pool_run(ws->pool, ws->model->winograd.products, gradient_product, &pass);
    phase_end(ws, PHASE_PRIMARY_BACK, &clock);
    pool_run(ws->pool, at->primary_row / KERNEL_PANEL * KERNEL_PHASES, gradient_kernel, &pass);
    phase_end(ws, PHASE_PRIMARY_GRAD, &clock);
}

/* Adds a 10x10x16 block to its place: tiles overlap by 4 phase pixels. */
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
    float block[POINT_VALUES * KERNEL_PAD] __attribute__((aligned(64)));
    memset(dconv1, 0, at->conv1_size * sizeof *dconv1);
    for (size_t phase = 0; phase < KERNEL_PHASES; phase++) {
        struct planes planes;
        winograd_operand(&planes, &model->winograd, phase, plane, 1);
        for (size_t tile = 0; tile < at->tiles; tile++) {
            const struct patch patch = input_patch(at, tile, phase);
            const struct patch packed = {patch.rows, patch.cols, POINTS * KERNEL_PAD, KERNEL_PAD};
            const float *src = ws->x_planes + (image * at->tiles + tile) * x_row(at);
            float *dst = dconv1 + input_offset(at, tile, phase);
            for (size_t c = 0; c < at->conv1_row; c += KERNEL_PAD) {
                model->kernels->from_points(block, &packed, &model->winograd.data, src + c,
                                            &planes, NULL);
                add_block(dst + c, &patch, block);
            }
        }
    }
}
