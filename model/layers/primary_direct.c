/*
 * primary_direct.c - PrimaryCaps as a plain convolution, for a few images, and
 * where there is no memory for weights in the transform domain:
 *
 *   z[y,x,o] = b[o] + sum_{ky,kx,c} a[2y+ky, 2x+kx, c] w[ky,kx,c,o],
 *
 * 191 M multiply-adds an image, if all were done.  But behind conv1's ReLU 97 of 100
 * values of a digit are zero: of the windows of SPARSE_ROWS positions beside each other,
 * a strip, what is not zero is listed once, and every panel of w is multiplied by the
 * lists (kernels/gemm_sparse.c): 5.5 % of the fp32 words, 15 % of those of four u8, which are
 * of channels that go together (inference/order_channels.c).  A grid of squares takes one and
 * a half times as long, noise half.  Images are taken a few at a time (DIRECT_WAVE), so that
 * they share a panel.
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
        conv1_rows(ws, image, y, y1, thread, NULL, (uint16_t *)ws->wave + slot * at->conv1_size);
        return;
    }
    float *out = ws->wave + slot * at->conv1_size;
    conv1_rows(ws, image, y, y1, thread, out, NULL);
    if (model->precision == PRECISION_INT8)
        ws->largest[item] = model->kernels->largest(out + y * row, (y1 - y) * row);
}

/* ---- int8 ----------------------------------------------------------------- */

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

/* ---- The way through ----------------------------------------------------- */

/* Up to SPARSE_ROWS positions from (y, x) on. */
struct strip {
    size_t y, x, rows;
};

static struct strip strip_of(const struct layout *at, size_t i)
{
    const size_t x = i % at->strips_x * SPARSE_ROWS;
    return (struct strip){i / at->strips_x, x, smaller(SPARSE_ROWS, at->primary_w - x)};
}

/* Item: what is not zero of the windows of a strip. */
static void list_strip(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct pass *pass = context;
    const struct capsnet_workspace *ws = pass->ws;
    const struct capsnet_model *model = ws->model;
    const struct layout *at = &model->at;
    const size_t slot = item / at->strips;
    const struct strip strip = strip_of(at, item % at->strips);
    const size_t value = 4 / values_per_word(model->precision); /* bytes */
    const size_t pixel = at->conv1_row * value, row = at->conv1_w * pixel;
    const size_t kernel = model->shape.primary_kernel, words = kernel * pixel / 4;
    const char *a = value == 1 ? (const char *)ws->wave_u8 : (const char *)ws->wave;
    struct sparse_word *list = ws->lists + item * ws->list_words, *to = list;
    for (size_t ky = 0; ky < kernel; ky++) {
        const void *from[SPARSE_ROWS];
        for (size_t i = 0; i < strip.rows; i++)
            from[i] = a + slot * at->conv1_size * value + (2 * strip.y + ky) * row +
                      2 * (strip.x + i) * pixel;
        to += model->kernels->list_words(to, strip.rows, from, words, (uint32_t)(ky * words));
    }
    ws->list_counts[item] = (size_t)(to - list);
    memset(to, 0, SPARSE_SLACK * sizeof *to);
}

/* So many images of a pass are taken through all panels before the next ones: a thread's own,
 * so that it multiplies the lists that it wrote.  Lines that another CPU has read cost more to
 * write again than the listing itself, where the two have no cache in common.  fp32's weights
 * cost more than that: there all images share a panel. */
static size_t group_size(const struct pass *pass)
{
    const size_t threads = pool_threads(pass->ws->pool);
    return pass->ws->model->precision == PRECISION_F32 || pass->n % threads ? pass->n
                                                                            : pass->n / threads;
}

/* Item: one panel of one image; the images of a group share a panel. */
static void panel_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct pass *pass = context;
    const struct capsnet_workspace *ws = pass->ws;
    const struct capsnet_model *model = ws->model;
    const struct kernels *kernels = model->kernels;
    const struct layout *at = &model->at;
    const size_t panels = at->primary_row / KERNEL_PANEL, size = group_size(pass);
    const size_t slot = item / (panels * size) * size + item % size;
    const size_t panel = item / size % panels;
    const size_t o = panel * KERNEL_PANEL;
    const size_t weights = o * at->primary_taps / values_per_word(model->precision);
    void (*const multiply[PRECISIONS])(const struct sparse_product *) = {
        kernels->gemm_sparse, kernels->gemm_sparse_bf16, kernels->gemm_sparse_int8};
    struct sparse_product g = {
        .bias = model->parameters + at->primary_bias + o,
        .c_stride = at->primary_row,
    };
    if (model->precision == PRECISION_F32)
        g.b = (const uint32_t *)(const void *)(model->parameters + at->primary_weight + weights);
    else
        g.b = model->packed.primary + weights;
    if (model->precision == PRECISION_INT8) {
        g.row_scale = scale_of(ws, slot);
        g.scales = model->packed.primary_scales + o;
    }
    float *z = ws->primary + (pass->first + slot) * at->positions * at->primary_row + o;
    for (size_t i = 0; i < at->strips; i++) {
        const struct strip strip = strip_of(at, i);
        const size_t list = slot * at->strips + i;
        g.rows = strip.rows;
        g.words = ws->lists + list * ws->list_words;
        g.count = ws->list_counts[list];
        g.c = z + (strip.y * at->primary_w + strip.x) * at->primary_row;
        multiply[model->precision](&g);
    }
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
        pool_run(ws->pool, pass.n * at->strips, list_strip, &pass);
        phase_end(ws, PHASE_CONV1, &clock);
        pool_run(ws->pool, pass.n * (at->primary_row / KERNEL_PANEL), panel_item, &pass);
        phase_end(ws, PHASE_PRIMARY, &clock);
    }
}
