/*
 * primary_direct.c - PrimaryCaps as a plain convolution, for a few images, and
 * where there is no memory for weights in the transform domain:
 *
 *   z[y,x,o] = b[o] + sum_{ky,kx,c} a[2y+ky, 2x+kx, c] w[ky,kx,c,o],
 *
 * 191 M multiply-adds an image, as matrix products whose left operand is
 * conv1's output a, read in place.  Images are taken a few at a time (WAVE),
 * so that a stays in the cache.
 *
 * int8: a is not negative, so it becomes u8 with one scale an image, its
 * largest value over 255; the sums are exact.
 */
#include <string.h>

#include "model/layers/layers.h"

struct pass {
    struct capsnet_workspace *ws;
    size_t first, n; /* images first .. first + n - 1 */
    const float *images;
};

/* Item: a band of one image of the wave through conv1. */
static void conv1_band(void *context, size_t item, size_t thread)
{
    const struct pass *pass = context;
    struct capsnet_workspace *ws = pass->ws;
    const struct capsnet_model *model = ws->model;
    const struct layout *at = &model->at;
    const size_t bands = at->conv1_bands, slot = item / bands, y = item % bands * CONV1_BAND;
    const size_t y1 = smaller(y + CONV1_BAND, at->conv1_h), row = at->conv1_w * at->conv1_row;
    const float *image = pass->images + (pass->first + slot) * at->pixels;
    if (model->precision == PRECISION_BF16) {
        conv1_rows_narrow(ws, image, y, y1, thread, NULL,
                          (uint16_t *)ws->wave + slot * at->conv1_size);
        return;
    }
    float *out = ws->wave + slot * at->conv1_size;
    if (model->precision == PRECISION_F32) {
        conv1_rows(ws, image, y, y1, ws->scratch[thread].patches, out);
        return;
    }
    conv1_rows_narrow(ws, image, y, y1, thread, out, NULL);
    ws->largest[item] = model->kernels->largest(out + y * row, (y1 - y) * row);
}

/* ---- fp32 ---------------------------------------------------------------- */

/* A panel's kernel row (295 kB) stays in the second-level cache while all
 * output rows use it. */
static void panel_f32(const struct capsnet_model *model, const float *a, float *z, size_t panel)
{
    const struct layout *at = &model->at;
    const size_t kernel = model->shape.primary_kernel;
    for (size_t ky = 0; ky < kernel; ky++)
        for (size_t y = 0; y < at->primary_h; y++) {
            struct gemm g = {
                .m = at->primary_w,
                .n = KERNEL_PANEL,
                .k = kernel * at->conv1_row,
                .a = {a + (2 * y + ky) * at->conv1_w * at->conv1_row, 2 * at->conv1_row, 1},
                .b = {model->parameters + at->primary_weight +
                          (panel * kernel + ky) * kernel * at->conv1_row * KERNEL_PANEL,
                      KERNEL_PANEL, KERNEL_PANEL},
                .c = {z + y * at->primary_w * at->primary_row, at->primary_row, KERNEL_PANEL},
                .epilogue = ky == 0 ? GEMM_BIAS : GEMM_ADD,
                .bias = model->parameters + at->primary_bias + panel * KERNEL_PANEL,
            };
            model->kernels->gemm(&g);
        }
}

/* ---- bf16 and int8 ------------------------------------------------------- */

/* The value of an activation's unit.  Too small a one would have no inverse:
 * such an image counts as zero. */
static float scale_of(const struct capsnet_workspace *ws, size_t slot)
{
    const size_t bands = ws->model->at.conv1_bands;
    float largest = 0;
    for (size_t i = slot * bands; i < (slot + 1) * bands; i++)
        largest = ws->largest[i] > largest ? ws->largest[i] : largest;
    return largest > 1e-30f ? largest / 255 : 0;
}

/* Item: a band of one image to u8. */
static void quantise_band(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct pass *pass = context;
    struct capsnet_workspace *ws = pass->ws;
    const struct layout *at = &ws->model->at;
    const size_t bands = at->conv1_bands, slot = item / bands, y = item % bands * CONV1_BAND;
    const size_t row = at->conv1_w * at->conv1_row, first = slot * at->conv1_size + y * row;
    const size_t count = (smaller(y + CONV1_BAND, at->conv1_h) - y) * row;
    const float scale = scale_of(ws, slot);
    ws->model->kernels->quantise(ws->wave_u8 + first, ws->wave + first, count,
                                 scale > 0 ? 1 / scale : 0);
}

static void panel_narrow(const struct pass *pass, size_t slot, float *z, size_t panel)
{
    const struct capsnet_workspace *ws = pass->ws;
    const struct capsnet_model *model = ws->model;
    const struct layout *at = &model->at;
    const int is_int8 = model->precision == PRECISION_INT8;
    const size_t value = is_int8 ? 1 : 2, kernel = model->shape.primary_kernel; /* bytes */
    const size_t pixel = at->conv1_row * value, row = at->conv1_w * pixel;
    const size_t words = kernel * pixel / 4, o = panel * KERNEL_PANEL;
    const float scale = is_int8 ? scale_of(ws, slot) : 1;
    const char *a = is_int8 ? (const char *)ws->wave_u8 : (const char *)ws->wave;
    const struct narrow g = {
        .m = at->positions,
        .n = KERNEL_PANEL,
        .words = words,
        .runs = kernel,
        .a = {a + slot * at->conv1_size * value, at->primary_w, 2 * pixel, 2 * row, row},
        .b = model->packed.primary + panel * kernel * words * KERNEL_PANEL,
        .row_scales = &scale,
        .scales = is_int8 ? model->packed.primary_scales + o : NULL,
        .bias = model->parameters + at->primary_bias + o,
        .c = z,
        .c_stride = at->primary_row,
    };
    if (is_int8)
        model->kernels->gemm_int8(&g);
    else
        model->kernels->gemm_bf16(&g);
}

/* ---- The way through ----------------------------------------------------- */

/* Item: one panel of one image: panels outermost, so that images share it. */
static void panel_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct pass *pass = context;
    const struct capsnet_workspace *ws = pass->ws;
    const struct layout *at = &ws->model->at;
    const size_t slot = item % pass->n, panel = item / pass->n;
    float *z = ws->primary + (pass->first + slot) * at->positions * at->primary_row +
               panel * KERNEL_PANEL;
    if (ws->model->precision == PRECISION_F32)
        panel_f32(ws->model, ws->wave + slot * at->conv1_size, z, panel);
    else
        panel_narrow(pass, slot, z, panel);
}

void primary_direct(struct capsnet_workspace *ws, size_t n, const float *images)
{
    const struct layout *at = &ws->model->at;
    uint64_t clock = phase_clock();
    for (size_t first = 0; first < n; first += DIRECT_WAVE) {
        struct pass pass = {ws, first, smaller(DIRECT_WAVE, n - first), images};
        pool_run(ws->pool, pass.n * at->conv1_bands, conv1_band, &pass);
        if (ws->model->precision == PRECISION_INT8)
            pool_run(ws->pool, pass.n * at->conv1_bands, quantise_band, &pass);
        phase_end(ws, PHASE_CONV1, &clock);
        pool_run(ws->pool, pass.n * (at->primary_row / KERNEL_PANEL), panel_item, &pass);
        phase_end(ws, PHASE_PRIMARY, &clock);
    }
}
