/*
 * primary_spectral.c - PrimaryCaps' convolution: primary_kernel^2, stride 2, bias
 * (section 4 of the paper; 191 M of the network's 203 M multiply-adds).
 *
 *   z[y,x,o] = b[o] + sum_{ky,kx,c} a[2y+ky, 2x+kx, c] w[ky,kx,c,o]
 *
 * Here by Winograd's minimal filtering; primary_direct.c has the plain way to the
 * same numbers, primary_backward.c the way back.
 *
 * The input is split into its 4 phases a_pq[i,j] = a[2i+p, 2j+q],
 * the kernel likewise, and each pair is correlated with stride 1:
 *   z[y,x] = sum_{p,q,c} sum_{i,j<5} a_pq[y+i, x+j] w_pq[i,j].
 * For a 6x6 tile of z that reads 10x10 values of a_pq.  With ten points a
 * direction (network/winograd.h has the matrices A, B, G),
 *   a^ = B^T a B,  w^ = G w G^T,  z^ = sum_{p,q,c} a^ w^,  z = A^T z^ A:
 * for each two points one matrix product [images*tiles] x [up to 4 c] x [o].
 * In fp32 all points are real: 90 multiplications per input channel, phase and
 * output channel stand for the direct 729.  For precision's sake one pair is
 * imaginary in bf16: 107, with three for a complex product; and in int8 all but 0,
 * 1, -1 and infinity are complex: 129.  Larger outputs are cut into 6x6 tiles
 * (overlap-save).
 *
 * Behind conv1's ReLU many channels are zero in all of an image, about a quarter of them in
 * all of a batch of digits.  model_pack() puts those that can reach the least last, and
 * here those behind the last that is used are left out: the same sums, to the bit.
 *
 * Threads share a batch's images and products; in fp32, where it is large enough for each to
 * have PART of them, every thread computes its own images instead.
 *
 * int8: of every product each row of a^, a tile's, and each column of w^ has a
 * scale, its largest magnitude over 127; of a complex one each of the three.  a^ is
 * stored as u8, 128 for 0, and sums begin with what that adds: they are exact.
 *
 * Planes as in kernels.h; a^ are left operands, w^ right ones.  Errors against
 * double precision: tests/unit/kernels/test_winograd_convolution.c.
 */
#include "model/layers/primary_spectral.h"

#include <assert.h>
#include <string.h>

/* ---- What transforms read ------------------------------------------------- */

struct patch kernel_patch(const struct capsnet_model *model, size_t phase)
{
    const size_t kernel = model->shape.primary_kernel, p = phase / 2, q = phase % 2;
    const size_t tap = model->at.conv1_row * KERNEL_PANEL;
    return (struct patch){(kernel - p + 1) / 2, (kernel - q + 1) / 2, 2 * kernel * tap, 2 * tap};
}

size_t kernel_offset(const struct capsnet_model *model, size_t panel, size_t phase)
{
    const size_t kernel = model->shape.primary_kernel;
    const size_t tap = model->at.conv1_row * KERNEL_PANEL;
    return model->at.primary_weight +
           (panel * kernel * kernel + phase / 2 * kernel + phase % 2) * tap;
}

struct patch input_patch(const struct layout *at, size_t tile, size_t phase)
{
    const size_t y = 2 * TILE * (tile / at->tiles_x) + phase / 2;
    const size_t x = 2 * TILE * (tile % at->tiles_x) + phase % 2;
    return (struct patch){smaller(POINTS, (at->conv1_h - y + 1) / 2),
                          smaller(POINTS, (at->conv1_w - x + 1) / 2),
                          2 * at->conv1_w * at->conv1_row, 2 * at->conv1_row};
}

size_t input_offset(const struct layout *at, size_t tile, size_t phase)
{
    const size_t y = 2 * TILE * (tile / at->tiles_x) + phase / 2;
    const size_t x = 2 * TILE * (tile % at->tiles_x) + phase % 2;
    return (y * at->conv1_w + x) * at->conv1_row;
}

struct patch output_patch(const struct layout *at, size_t tile)
{
    return (struct patch){smaller(TILE, at->primary_h - TILE * (tile / at->tiles_x)),
                          smaller(TILE, at->primary_w - TILE * (tile % at->tiles_x)),
                          at->primary_w * at->primary_row, at->primary_row};
}

size_t output_offset(const struct layout *at, size_t image, size_t tile)
{
    const size_t y = TILE * (tile / at->tiles_x), x = TILE * (tile % at->tiles_x);
    return ((image * at->primary_h + y) * at->primary_w + x) * at->primary_row;
}

void spectral_pass(struct pass *pass, struct capsnet_workspace *ws, size_t first, size_t n)
{
    const struct winograd *w = &ws->model->winograd;
    const struct layout *at = &ws->model->at;
    const size_t before = first * at->tiles, rows = n * at->tiles;
    const size_t plane = (ws->model->products == PRECISION_INT8 ? 1 : rows) * x_row(at);
    const size_t value = sizeof(float) / values_per_word(ws->model->products);
    *pass = (struct pass){
        .ws = ws,
        .n = n,
        .x_planes = ws->x_planes + before * w->x_planes * x_row(at) * value / sizeof(float),
        .x_scales = ws->x_scales ? ws->x_scales + before * w->operand_planes : NULL,
        .y_planes = ws->y_planes + before * w->y_planes * y_row(at),
        .primary = ws->primary + first * at->positions * at->primary_row,
        .used_of = ws->used + first,
        .threads = pool_threads(ws->pool),
    };
    for (size_t phase = 0; phase < KERNEL_PHASES; phase++)
        winograd_operand(&pass->x[phase], w, phase, plane, 1);
    winograd_result(&pass->y, w, rows * y_row(at));
}

/* As many images are as fast by themselves as any more in fp32: a thread that has them to
 * itself need not wait for what others make, nor fetch it from their caches.  In bf16 and
 * int8, whose weights are read faster than they come, it takes more than a batch has. */
enum { PART = 32 };

/* ---- Forward ------------------------------------------------------------- */

/* One tile's operands, a row of every product, to u8. */
static void quantise_tile(const struct pass *pass, size_t row, const float *operands)
{
    const struct capsnet_workspace *ws = pass->ws;
    const struct winograd *w = &ws->model->winograd;
    const size_t width = x_row(&ws->model->at), rows = pass->n * ws->model->at.tiles;
    for (size_t i = 0; i < w->products; i++) {
        const struct winograd_product *p = &w->product[i];
        for (size_t part = 0; part < (p->is_complex ? 3 : 1); part++) {
            uint8_t *dst = (uint8_t *)pass->x_planes +
                           ((p->x + part) * rows + row) * width + p->column;
            pass->x_scales[(p->operand + part) * rows + row] = ws->model->kernels->quantise_signed(
                dst, operands + (p->x + part) * width + p->column, p->k);
        }
    }
}

/* Where the transform of a tile writes its first channel, for pass->x. */
static float *operands_of(const struct pass *pass, size_t row, size_t thread)
{
    const struct capsnet_workspace *ws = pass->ws;
    return ws->model->products == PRECISION_INT8 ? ws->scratch[thread].operands
                                                 : pass->x_planes + row * x_row(&ws->model->at);
}

/* What zeros become at the points: n values of each plane, from its place for dst on. */
static void zero_operands(const struct pass *pass, size_t phase, void *dst, size_t value, size_t n)
{
    const struct planes *planes = &pass->x[phase];
    for (size_t p = 0; n > 0 && p < pass->ws->model->winograd.operand_planes; p++)
        if (planes->at[p] != NO_PLANE)
            memset((char *)dst + planes->at[p] * value, 0, n * value);
}

/* Item: one image through conv1 and the transforms, while it is in the cache. */
static void spectral_input(void *context, size_t image, size_t thread)
{
    const struct pass *pass = context;
    struct capsnet_workspace *ws = pass->ws;
    const struct kernels *kernels = ws->model->kernels;
    const struct layout *at = &ws->model->at;
    const struct point_matrix *m = &ws->model->winograd.data;
    const int is_bf16 = ws->model->products == PRECISION_BF16;
    float *a = ws->scratch[thread].conv1;
    conv1_rows(ws, pass->images + image * at->pixels, 0, at->conv1_h, thread, a, NULL);
    if (ws->training)
        kernels->positive(ws->conv1_positive + image * at->conv1_size / 16, a, at->conv1_size);
    const size_t positions = at->conv1_h * at->conv1_w;
    const size_t used =
        ws->training ? at->conv1_row : kernels->used_columns(a, positions, at->conv1_row);
    pass->used_of[image] = used;
    for (size_t tile = 0; tile < at->tiles; tile++) {
        const size_t row = image * at->tiles + tile;
        float *to = operands_of(pass, row, thread);
        for (size_t phase = 0; phase < KERNEL_PHASES; phase++) {
            const struct patch patch = input_patch(at, tile, phase);
            const float *src = a + input_offset(at, tile, phase);
            if (is_bf16)
                zero_operands(pass, phase, (uint16_t *)pass->x_planes + row * x_row(at) + used,
                              sizeof(uint16_t), at->conv1_row - used);
            else
                zero_operands(pass, phase, to + used, sizeof(float), at->conv1_row - used);
            for (size_t c = 0; c < used; c += KERNEL_PAD)
                if (is_bf16)
                    kernels->to_points_bf16((uint16_t *)pass->x_planes + row * x_row(at) + c,
                                            &pass->x[phase], OPERAND_LEFT, m, src + c, &patch);
                else
                    kernels->to_points(to + c, &pass->x[phase], OPERAND_LEFT, m, src + c, &patch);
        }
        if (ws->model->products == PRECISION_INT8)
            quantise_tile(pass, row, to);
    }
}

/* Where w^ of a product begins, in fp32. */
static const float *spectrum_of(const struct capsnet_model *model,
                                const struct winograd_product *product)
{
    return model->spectrum + product->x * model->spectrum_plane + product->column * KERNEL_PANEL;
}

static void product_f32(struct capsnet_workspace *ws, const struct pass *pass,
                        const struct winograd_product *product)
{
    const struct capsnet_model *model = ws->model;
    const struct layout *at = &model->at;
    const size_t rows = pass->n * at->tiles;
    struct gemm g = {
        .m = rows,
        .n = at->primary_row,
        .k = pass->used,
        .a = {pass->x_planes + product->x * rows * x_row(at) + product->column, x_row(at), 1},
        .b = {spectrum_of(model, product), KERNEL_PANEL, at->spectral_k * KERNEL_PANEL},
        .c = {pass->y_planes + product->y * rows * y_row(at), y_row(at), KERNEL_PANEL},
    };
    /* This thread's next, while it has products of its own. */
    const size_t i = (size_t)(product - model->winograd.product), threads = pass->threads;
    const float *then = i >= threads ? spectrum_of(model, product - threads) : NULL;
    assert(!product->is_complex); /* points_real */
    if (ws->training) {
        g.k = product->k;
        g.then = then;
        model->kernels->gemm(&g);
        return;
    }
    /* Phase by phase whatever is used, so that sums come in one order: what others in the
     * batch use changes no bit of an image. */
    for (size_t k = 0; k < product->k; k += at->conv1_row) {
        g.then = k + at->conv1_row < product->k ? g.b.data + at->conv1_row * KERNEL_PANEL : then;
        model->kernels->gemm(&g);
        g.a.data += at->conv1_row;
        g.b.data += at->conv1_row * KERNEL_PANEL;
        g.epilogue = GEMM_ADD;
    }
}

static void product_bf16(struct capsnet_workspace *ws, const struct pass *pass,
                         const struct winograd_product *product)
{
    const struct packed *packed = &ws->model->packed;
    const struct layout *at = &ws->model->at;
    const size_t rows = pass->n * at->tiles, xp = rows * x_row(at), yp = rows * y_row(at);
    const size_t wp = packed->spectrum_plane, b_panel = at->spectral_k / 2 * KERNEL_PANEL;
    const uint16_t *x = (const uint16_t *)pass->x_planes + product->x * xp + product->column;
    const uint32_t *w =
        packed->spectrum + product->x * wp + product->column / 2 * KERNEL_PANEL;
    float *y = pass->y_planes + product->y * yp;
    const struct window a = {.data = x, .width = rows, .row = 2 * x_row(at),
                             .skip = 2 * at->conv1_row};
    if (!product->is_complex) {
        const struct narrow g = {.m = rows, .n = at->primary_row, .words = pass->used / 2,
                                 .runs = product->k / at->conv1_row, .a = a, .b = w,
                                 .b_panel = b_panel, .b_skip = (at->conv1_row - pass->used) / 2,
                                 .c = y, .c_stride = y_row(at)};
        ws->model->kernels->gemm_bf16(&g);
        return;
    }
    struct narrow3 g = {.m = rows, .n = at->primary_row, .words = pass->used / 2,
                        .runs = product->k / at->conv1_row,
                        .b_skip = (at->conv1_row - pass->used) / 2,
                        .a = {a, a, a}, .b = {w, w + 2 * wp, w + wp}, .b_panel = b_panel,
                        .re = y, .im = y + yp, .c_stride = y_row(at)};
    g.a[0].data = x + 2 * xp;
    g.a[1].data = x + xp;
    ws->model->kernels->gemm3_bf16(&g);
}

static void product_int8(struct capsnet_workspace *ws, const struct pass *pass,
                         const struct winograd_product *product)
{
    const struct packed *packed = &ws->model->packed;
    const struct layout *at = &ws->model->at;
    const size_t rows = pass->n * at->tiles, xp = rows * x_row(at), yp = rows * y_row(at);
    const size_t wp = packed->spectrum_plane, b_panel = at->spectral_k / 4 * KERNEL_PANEL;
    const uint8_t *x = (const uint8_t *)pass->x_planes + product->x * xp + product->column;
    const uint32_t *w = packed->spectrum + product->x * wp + product->column / 4 * KERNEL_PANEL;
    const float *row_scales = pass->x_scales + product->operand * rows;
    const float *scales = packed->spectrum_scales + product->operand * at->primary_row;
    const size_t group = pass->used / KERNEL_PAD - 1;
    const int32_t *start =
        packed->spectrum_starts +
        (group * ws->model->winograd.operand_planes + product->operand) * at->primary_row;
    float *y = pass->y_planes + product->y * yp;
    const struct window a = {.data = x, .width = rows, .row = x_row(at),
                             .skip = at->conv1_row};
    if (!product->is_complex) {
        const struct narrow g = {.m = rows, .n = at->primary_row, .words = pass->used / 4,
                                 .runs = product->k / at->conv1_row, .a = a, .b = w,
                                 .b_panel = b_panel, .b_skip = (at->conv1_row - pass->used) / 4,
                                 .row_scales = row_scales, .row_step = 1, .scales = scales,
                                 .start = start, .c = y, .c_stride = y_row(at)};
        ws->model->kernels->gemm_int8(&g);
        return;
    }
    struct narrow3 g = {.m = rows, .n = at->primary_row, .words = pass->used / 4,
                        .runs = product->k / at->conv1_row,
                        .b_skip = (at->conv1_row - pass->used) / 4,
                        .b_panel = b_panel, .re = y, .im = y + yp, .c_stride = y_row(at)};
    /* (re + im) re,  im (-(re + im)),  re (im - re): parts of the left and right operand. */
    static const size_t left[3] = {2, 1, 0}, right[3] = {0, 2, 1};
    for (size_t q = 0; q < 3; q++) {
        g.a[q] = a;
        g.a[q].data = x + left[q] * xp;
        g.b[q] = w + right[q] * wp;
        g.row_scales[q] = row_scales + left[q] * rows;
        g.scales[q] = scales + right[q] * at->primary_row;
        g.start[q] = start + right[q] * at->primary_row;
    }
    ws->model->kernels->gemm3_int8(&g);
}

/* Item: one product, the complex ones, which take three times as long, first: no thread is
 * left with one at the end. */
static void spectral_product(void *context, size_t i, size_t thread)
{
    (void)thread;
    static void (*const product[PRECISIONS])(struct capsnet_workspace *, const struct pass *,
                                             const struct winograd_product *) = {
        product_f32, product_bf16, product_int8};
    const struct pass *pass = context;
    const struct capsnet_model *model = pass->ws->model;
    product[model->products](pass->ws, pass,
                             &model->winograd.product[model->winograd.products - 1 - i]);
}

/* Item: one image back to space, with the bias. */
static void spectral_output(void *context, size_t image, size_t thread)
{
    (void)thread;
    const struct pass *pass = context;
    struct capsnet_workspace *ws = pass->ws;
    const struct capsnet_model *model = ws->model;
    const struct layout *at = &model->at;
    for (size_t tile = 0; tile < at->tiles; tile++) {
        const struct patch patch = output_patch(at, tile);
        const float *src = pass->y_planes + (image * at->tiles + tile) * y_row(at);
        float *dst = pass->primary + output_offset(at, image, tile);
        for (size_t o = 0; o < at->primary_row; o += KERNEL_PAD)
            model->kernels->from_points(dst + o, &patch, &model->winograd.output, src + o,
                                        &pass->y, model->parameters + at->primary_bias + o);
    }
}

static void find_used(struct pass *pass)
{
    pass->used = KERNEL_PAD;
    for (size_t i = 0; i < pass->n; i++)
        pass->used = pass->used_of[i] > pass->used ? pass->used_of[i] : pass->used;
}

/* What a batch is that every thread computes a part of, by itself. */
struct split {
    struct capsnet_workspace *ws;
    const float *images;
    size_t n, parts;
};

/* Item: a part of the images, all the way. */
static void spectral_part(void *context, size_t part, size_t thread)
{
    const struct split *split = context;
    struct turns_party *party = pool_party(split->ws->pool);
    const size_t first = part * split->n / split->parts;
    struct pass pass;
    spectral_pass(&pass, split->ws, first, (part + 1) * split->n / split->parts - first);
    pass.images = split->images + first * split->ws->model->at.pixels;
    pass.threads = 1;
    for (size_t i = 0; i < pass.n; i++, turns_pause(party))
        spectral_input(&pass, i, thread);
    find_used(&pass);
    for (size_t i = 0; i < split->ws->model->winograd.products; i++, turns_pause(party))
        spectral_product(&pass, i, thread);
    for (size_t i = 0; i < pass.n; i++, turns_pause(party))
        spectral_output(&pass, i, thread);
}

void primary_spectral(struct capsnet_workspace *ws, size_t n, const float *images)
{
    const size_t threads = pool_threads(ws->pool);
    uint64_t clock = phase_clock();
    if (threads > 1 && n >= PART * threads && ws->model->products == PRECISION_F32 &&
        !ws->training) {
        struct split split = {ws, images, n, threads};
        pool_run(ws->pool, threads, spectral_part, &split);
        phase_end(ws, PHASE_PRIMARY, &clock);
        return;
    }
    struct pass pass;
    spectral_pass(&pass, ws, 0, n);
    pass.images = images;
    pool_run(ws->pool, n, spectral_input, &pass);
    find_used(&pass);
    phase_end(ws, PHASE_CONV1, &clock);
    pool_run_longest_first(ws->pool, ws->model->winograd.products, spectral_product, &pass);
    phase_end(ws, PHASE_PRIMARY, &clock);
    pool_run(ws->pool, n, spectral_output, &pass);
    phase_end(ws, PHASE_PRIMARY_OUT, &clock);
}
