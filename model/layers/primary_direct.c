/*
 * primary_direct.c - PrimaryCaps as a plain convolution, for a few images, and
 * where there is no memory for weights in the transform domain:
 *
 *   z[y,x,o] = b[o] + sum_{ky,kx,c} a[2y+ky, 2x+kx, c] w[ky,kx,c,o],
 *
 * 191 M multiply-adds an image, if all were done.  But behind conv1's ReLU 97 of 100
 * values of a digit are zero: of the windows of SPARSE_ROWS positions beside each other,
 * a strip, what is not zero is listed once, and every panel of w is multiplied by the
 * lists (kernels/gemm_sparse.c): 5.5 % of the fp32 words, 8 % of those of two bf16 and 10.5 %
 * of those of four u8 (primary_direct.h says which those are).  A grid of squares takes one and
 * a half times as long, noise half.  Images are taken a few at a time (DIRECT_WAVE), so that
 * they share a panel.
 *
 * int8: a is not negative, so it becomes u8 with one scale an image, its
 * largest value over 255; the sums are exact.
 */
#include <string.h>

#include "model/layers/layers.h"
#include "model/layers/primary_direct.h"

struct pass {
    struct capsnet_workspace *ws;
    size_t first, n; /* images first .. first + n - 1 */
    const float *images;
};

/* What an image of the wave has behind conv1: its values [conv1_h][conv1_w][channels], and words
 * [conv1_h][pixels][channels], in fp32 of every pixel, which are the values, and else of every
 * second one, with those beside it.  In bytes: */
struct activations {
    char *values, *words;
    size_t pixel, row;       /* from a pixel to the next, of values, and from a row */
    size_t beside, word_row; /* from a position's words to those of the next, and from a row */
    size_t group;            /* from a group of columns to the next */
};

static struct activations activations_of(const struct capsnet_workspace *ws, size_t slot)
{
    const struct layout *at = &ws->model->at;
    const size_t values = values_per_word(ws->model->precision), word = at->conv1_row * 4;
    struct activations a = {.pixel = word / values, .row = at->conv1_w * word / values};
    a.beside = values == 1 ? 2 * word : word;
    a.word_row = values == 1 ? a.row : at->conv1_w / 2 * word;
    a.group = values == 4 ? 2 * word : word;
    a.values = ws->model->precision == PRECISION_INT8
                   ? (char *)(ws->wave_u8 + slot * 3 * at->conv1_size)
                   : (char *)(ws->wave + slot * at->conv1_size);
    a.words = values == 1 ? a.values : a.values + at->conv1_h * a.row;
    return a;
}

/* Words of rows y to y1 - 1 from their values. */
static void zip_rows(const struct capsnet_workspace *ws, size_t slot, size_t y, size_t y1)
{
    const struct kernels *kernels = ws->model->kernels;
    const struct layout *at = &ws->model->at;
    const struct activations a = activations_of(ws, slot);
    const size_t values = values_per_word(ws->model->precision);
    for (; y < y1; y++)
        for (size_t x = 0; x + values <= at->conv1_w; x += 2) {
            const char *from = a.values + y * a.row + x * a.pixel;
            uint32_t *to = (uint32_t *)(void *)(a.words + y * a.word_row + x / 2 * a.beside);
            if (ws->model->precision == PRECISION_BF16)
                kernels->zip_bf16(to, (const uint16_t *)(const void *)from,
                                  (const uint16_t *)(const void *)(from + a.pixel), at->conv1_row);
            else
                kernels->zip_u8(to, (const uint8_t *)from, a.pixel, at->conv1_row);
        }
}

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
    float *out = ws->wave + slot * at->conv1_size;
    if (model->precision == PRECISION_BF16) {
        conv1_rows(ws, image, y, y1, thread, NULL, (uint16_t *)(void *)out);
        zip_rows(ws, slot, y, y1);
        return;
    }
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
    const size_t y1 = smaller(y + CONV1_BAND, at->conv1_h), row = at->conv1_w * at->conv1_row;
    const float scale = scale_of(ws, slot);
    ws->model->kernels->quantise((uint8_t *)activations_of(ws, slot).values + y * row,
                                 ws->wave + slot * at->conv1_size + y * row, (y1 - y) * row,
                                 scale > 0 ? 1 / scale : 0);
    zip_rows(ws, slot, y, y1);
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

/* What of those words is not zero in all windows of a strip: `first` is the first window's word
 * of that number.  Returns where the list goes on. */
static struct sparse_word *list(const struct capsnet_workspace *ws, struct sparse_word *to,
                                size_t rows, const char *first, size_t beside, size_t words,
                                size_t number)
{
    const void *from[SPARSE_ROWS];
    for (size_t i = 0; i < rows; i++)
        from[i] = first + i * beside;
    return to + ws->model->kernels->list_words(to, rows, from, words, (uint32_t)number);
}

/* Item: what is not zero of the windows of a strip. */
static void list_strip(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct pass *pass = context;
    const struct capsnet_workspace *ws = pass->ws;
    const struct layout *at = &ws->model->at;
    const struct word_order order = word_order_of(ws->model);
    const struct activations a = activations_of(ws, item / at->strips);
    const struct strip strip = strip_of(at, item % at->strips);
    /* Words of groups that follow each other in memory are looked at together. */
    const size_t together = a.group == order.channels * 4 ? order.groups : 1;
    struct sparse_word *to = ws->lists + item * ws->list_words;
    for (size_t ky = 0; ky < ws->model->shape.primary_kernel; ky++) {
        const size_t y = 2 * strip.y + ky, x = 2 * strip.x + order.groups * order.values;
        const char *words = a.words + y * a.word_row + strip.x * a.beside;
        for (size_t g = 0; g < order.groups; g += together)
            to = list(ws, to, strip.rows, words + g * a.group, a.beside, together * order.channels,
                      ky * order.row + g * order.channels);
        if (order.left > 0)
            to = list(ws, to, strip.rows, a.values + y * a.row + x * a.pixel, 2 * a.pixel,
                      order.left * order.channels / order.values,
                      ky * order.row + order.groups * order.channels);
    }
    ws->list_counts[item] = (size_t)(to - (ws->lists + item * ws->list_words));
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
