/*
 * conv1.c - conv1: kernels of conv1_kernel x conv1_kernel, stride 1, bias,
 * ReLU (section 4 of the paper).
 *
 *   out[y,x,o] = max(0, b[o] + sum_{ky,kx,c} image[y+ky, x+kx, c] w[ky,kx,c,o])
 *
 * 8.3 M multiply-adds an image, if all were done; where pixels are zero they are left out
 * (kernels/conv_sparse.c): for a digit 3 M are done.  In bf16 the sums are fp32, in int8 they are
 * exact.
 */
#include <string.h>

#include "model/layers/layers.h"

/* Pixels first .. first + count - 1 to bf16 or, in units of the image's largest over 255, to
 * u8; the unit.  Zeros follow the last. */
static float narrow_pixels(const struct capsnet_model *model, const float *image, size_t first,
                           size_t count, const struct scratch *scratch)
{
    const struct kernels *kernels = model->kernels;
    const size_t pixels = model->at.pixels, n = (count + 2 * KERNEL_PAD) / KERNEL_PAD * KERNEL_PAD;
    float *padded = scratch->patches;
    memcpy(padded, image, pixels * sizeof *padded);
    memset(padded + pixels, 0, 2 * KERNEL_PAD * sizeof *padded);
    if (model->precision == PRECISION_BF16) {
        kernels->to_bf16(scratch->image, padded + first, n);
        return 1;
    }
    const float largest = kernels->largest(padded, model->at.pixels_row);
    const int is_blank = largest < 1e-30f; /* so small a unit has no inverse */
    kernels->quantise((uint8_t *)scratch->image, padded + first, n, is_blank ? 0 : 255 / largest);
    return is_blank ? 0 : largest / 255;
}

void conv1_rows(const struct capsnet_workspace *ws, const float *image, size_t y0, size_t y1,
                size_t thread, float *out, uint16_t *out16)
{
    const struct capsnet_model *model = ws->model;
    const struct layout *at = &model->at;
    const struct kernels *kernels = model->kernels;
    const size_t kernel = model->shape.conv1_kernel, channels = model->shape.channels;
    const size_t row = model->shape.width * channels, to = y0 * at->conv1_w * at->conv1_row;
    struct convolution g = {
        .row = row,
        .pixel = channels,
        .rows = y1 - y0,
        .width = at->conv1_w,
        .kernel = kernel,
        .n = at->conv1_row,
        .bias = model->parameters + at->conv1_bias,
        .c = out ? out + to : NULL,
        .c16 = out16 ? out16 + to : NULL,
        .c_stride = at->conv1_row,
        .scratch = ws->scratch[thread].found,
    };
    if (model->precision == PRECISION_F32) {
        g.image = image + y0 * row;
        g.words = kernel * channels;
        g.b = (const uint32_t *)(const void *)(model->parameters + at->conv1_weight);
        g.b_word = at->conv1_weight_row;
        g.b_panel = KERNEL_PANEL;
        kernels->conv_sparse(&g);
        return;
    }
    g.scale = narrow_pixels(model, image, y0 * row, (y1 - y0 + kernel - 1) * row,
                            &ws->scratch[thread]);
    g.image = ws->scratch[thread].image;
    g.words = model->packed.conv1_words;
    g.b = model->packed.conv1;
    g.b_word = KERNEL_PANEL;
    g.b_panel = kernel * g.words * KERNEL_PANEL;
    g.scales = model->packed.conv1_scales;
    if (model->precision == PRECISION_BF16)
        kernels->conv_sparse_bf16(&g);
    else
        kernels->conv_sparse_int8(&g);
}

/* Windows as rows: [conv1_h * conv1_w][conv1_patch_row]. */
static void make_patches(const struct capsnet_model *model, const float *image, float *patches)
{
    const struct layout *at = &model->at;
    const size_t kernel = model->shape.conv1_kernel, channels = model->shape.channels;
    const size_t run = kernel * channels, image_row = model->shape.width * channels;
    for (size_t y = 0; y < at->conv1_h; y++)
        for (size_t x = 0; x < at->conv1_w; x++, patches += at->conv1_patch_row)
            for (size_t ky = 0; ky < kernel; ky++)
                memcpy(patches + ky * run, image + (y + ky) * image_row + x * channels,
                       run * sizeof *patches);
}

struct backward {
    struct capsnet_workspace *ws;
    size_t n;
    const float *images;
};

/* Adds one image's  dw[tap,o] = sum_positions patch[position,tap] dout[position,o]  and
 * db[o] = sum_positions dout[position,o]. */
static void add_gradient(const struct capsnet_model *model, const float *image,
                         const uint16_t *positive, const struct scratch *scratch, float *dw,
                         float *db)
{
    const struct layout *at = &model->at;
    const size_t positions = at->conv1_h * at->conv1_w;
    float *dout = scratch->conv1;
    model->kernels->relu_backward(dout, positive, db, positions, at->conv1_row);
    make_patches(model, image, scratch->patches);
    const struct gemm g = {
        .m = at->conv1_taps,
        .n = at->conv1_row,
        .k = positions,
        .a = {scratch->patches, 1, at->conv1_patch_row},
        .b = {dout, at->conv1_row, KERNEL_PANEL},
        .c = {dw, at->conv1_weight_row, KERNEL_PANEL},
        .epilogue = GEMM_ADD,
    };
    model->kernels->gemm(&g);
}

/* One channel of an image to bf16.  Zeros follow the last. */
static void channel_to_bf16(const struct capsnet_model *model, const float *image, size_t channel,
                            const struct scratch *scratch)
{
    const size_t channels = model->shape.channels, pixels = model->at.pixels / channels;
    float *plane = scratch->patches;
    for (size_t p = 0; p < pixels; p++)
        plane[p] = image[p * channels + channel];
    memset(plane + pixels, 0, 2 * KERNEL_PAD * sizeof *plane);
    model->kernels->to_bf16(scratch->image, plane, (pixels + 2 * KERNEL_PAD) / KERNEL_PAD * KERNEL_PAD);
}

/* The same in bf16, positions beside each other in a word: those of a tap's pixels lie so,
 * those of dout are paired. */
static void add_gradient_bf16(const struct capsnet_model *model, const float *image,
                              const uint16_t *positive, const struct scratch *scratch, float *dw,
                              float *db)
{
    const struct layout *at = &model->at;
    const size_t kernel = model->shape.conv1_kernel, channels = model->shape.channels;
    const size_t row = 2 * model->shape.width, words = (at->conv1_w + 1) / 2; /* row: bytes */
    model->kernels->relu_backward_bf16(scratch->dconv1_words, scratch->conv1, positive, db,
                                       at->conv1_h, at->conv1_w, at->conv1_row);
    for (size_t c = 0; c < channels; c++) {
        channel_to_bf16(model, image, c, scratch);
        const struct narrow g = {
            .m = kernel * kernel,
            .n = at->conv1_row,
            .words = words,
            .runs = at->conv1_h,
            .a = {scratch->image, kernel, 2, row, row, 0},
            .b = scratch->dconv1_words,
            .b_panel = at->conv1_h * words * KERNEL_PANEL,
            .add = 1,
            .c = dw + c * at->conv1_weight_row,
            .c_stride = channels * at->conv1_weight_row,
        };
        model->kernels->gemm_bf16(&g);
    }
}

/* The images of one chunk, in order, into the chunk's own sums. */
static void backward_chunk(void *context, size_t chunk, size_t thread)
{
    const struct backward *b = context;
    struct capsnet_workspace *ws = b->ws;
    const struct capsnet_model *model = ws->model;
    const struct layout *at = &model->at;
    const struct scratch *scratch = &ws->scratch[thread];
    float *dw = ws->conv1_partial + chunk * (at->conv1_taps + 1) * at->conv1_weight_row;
    float *db = dw + at->conv1_taps * at->conv1_weight_row;
    memset(dw, 0, (at->conv1_taps + 1) * at->conv1_weight_row * sizeof *dw);

    size_t first = chunk * b->n / CONV1_CHUNKS, last = (chunk + 1) * b->n / CONV1_CHUNKS;
    for (size_t i = first; i < last; i++) {
        const float *image = b->images + i * at->pixels;
        const uint16_t *positive = ws->conv1_positive + i * at->conv1_size / 16;
        primary_input_gradient(ws, b->n, i, scratch->conv1);
        if (model->products == PRECISION_BF16)
            add_gradient_bf16(model, image, positive, scratch, dw, db);
        else
            add_gradient(model, image, positive, scratch, dw, db);
    }
}

void conv1_backward(struct capsnet_workspace *ws, size_t n, const float *images, float *grad)
{
    const struct layout *at = &ws->model->at;
    const size_t weights = at->conv1_taps * at->conv1_weight_row;
    uint64_t clock = phase_clock();
    struct backward b = {ws, n, images};
    pool_run(ws->pool, CONV1_CHUNKS, backward_chunk, &b);

    float *dw = grad + at->conv1_weight, *db = grad + at->conv1_bias;
    memset(dw, 0, weights * sizeof *dw);
    memset(db, 0, at->conv1_row * sizeof *db);
    for (size_t chunk = 0; chunk < CONV1_CHUNKS; chunk++) {
        const float *partial = ws->conv1_partial + chunk * (weights + at->conv1_weight_row);
        for (size_t k = 0; k < weights; k++)
            dw[k] += partial[k];
        for (size_t o = 0; o < at->conv1_row; o++)
            db[o] += partial[weights + o];
    }
    phase_end(ws, PHASE_CONV1_BACK, &clock);
}
