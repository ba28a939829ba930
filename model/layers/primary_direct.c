/*
 * primary_direct.c - PrimaryCaps as a plain convolution, for as many images as that is
 * faster, and where there is no memory for weights in the transform domain:
 *
 *   z[y,x,o] = b[o] + sum_{ky,kx,c} a[2y+ky, 2x+kx, c] w[ky,kx,c,o],
 *
 * 191 M multiply-adds an image, if all were done.  But behind conv1's ReLU 97 of 100
 * values of a digit are zero: of the windows of SPARSE_ROWS positions beside each other,
 * a strip, what is not zero is listed once, and every panel of w is multiplied by the
 * lists (kernels/gemm_sparse.c): 5.5 % of the fp32 words, 8 % of those of two bf16 and 10.5 %
 * of those of four u8 (primary_direct.h says which those are).  A grid of squares takes one and
 * a half times as long, noise half.
 *
 * A thread takes a few images at a time all the way, so that they share a panel, and no
 * thread waits for another or reads what it wrote.  Images that do not come out even, one for
 * each, are taken together, in bands, strips and panels.
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
    size_t slot; /* where the first one's activations and lists are, the others' behind it */
    size_t size; /* of a group, where they are taken in groups */
    size_t panels; /* at a time: panels_at_once() */
};

/* What an image in work has behind conv1: its values [conv1_h][conv1_w][channels]; words
 * [conv1_h][pixels][channels], in fp32 of every pixel, which are the values, and else of every
 * second one, with those beside it; and which of the words, and of the values as words, are not
 * zero.  How far apart they are, in bytes, or in uint64_t: */
struct activations {
    char *values, *words;
    uint64_t *value_set, *word_set;
    size_t step;                       /* pixels from words to the next */
    size_t pixel, row, word, word_row; /* of values and of words */
    size_t value_bits, word_bits;      /* of a pixel */
};

static struct activations activations_of(const struct capsnet_workspace *ws, size_t slot)
{
    const struct layout *at = &ws->model->at;
    const size_t values = values_per_word(ws->model->precision);
    struct activations a = {.step = values > 1 ? 2 : 1, .word = at->conv1_row * 4};
    a.pixel = a.word / values;
    a.row = at->conv1_w * a.pixel;
    a.word_row = at->conv1_w / a.step * a.word;
    a.values = ws->model->precision == PRECISION_INT8
                   ? (char *)(ws->conv1_u8 + slot * 3 * at->conv1_size)
                   : (char *)(ws->conv1 + slot * at->conv1_size);
    a.words = values > 1 ? a.values + at->conv1_h * a.row : a.values;
    a.word_bits = at->conv1_bits;
    a.value_bits = (at->conv1_row / values + 63) / 64;
    a.word_set = ws->set + slot * 2 * at->conv1_h * at->conv1_w * at->conv1_bits;
    a.value_set = a.word_set + at->conv1_h * at->conv1_w * at->conv1_bits;
    return a;
}

/* Words of rows y to y1 - 1 from their values, and what of them is not zero. */
static void find_rows(const struct capsnet_workspace *ws, size_t slot, size_t y, size_t y1)
{
    const struct kernels *kernels = ws->model->kernels;
    const struct layout *at = &ws->model->at;
    const struct activations a = activations_of(ws, slot);
    const struct word_order order = word_order_of(ws->model);
    for (; y < y1; y++) {
        const char *values = a.values + y * a.row;
        for (size_t x = 0; order.groups > 0 && x + order.values <= at->conv1_w; x += a.step) {
            const char *from = values + x * a.pixel;
            uint32_t *to = (uint32_t *)(void *)(a.words + y * a.word_row + x / a.step * a.word);
            if (order.values == 2)
                kernels->zip_bf16(to, (const uint16_t *)(const void *)from,
                                  (const uint16_t *)(const void *)(from + a.pixel), at->conv1_row);
            else if (order.values == 4)
                kernels->zip_u8(to, (const uint8_t *)from, a.pixel, at->conv1_row);
            kernels->find_words(a.word_set + (y * at->conv1_w + x) * a.word_bits, to,
                                at->conv1_row);
        }
        /* Of values only columns left over are read as words. */
        for (size_t x = order.groups * order.values; order.left > 0 && x < at->conv1_w; x++)
            kernels->find_words(a.value_set + (y * at->conv1_w + x) * a.value_bits,
                                values + x * a.pixel, at->conv1_row / order.values);
    }
}

/* Item: a band of one image through conv1. */
static void conv1_band(void *context, size_t item, size_t thread)
{
    const struct pass *pass = context;
    struct capsnet_workspace *ws = pass->ws;
    const struct capsnet_model *model = ws->model;
    const struct layout *at = &model->at;
    const size_t bands = at->conv1_bands, i = item / bands, slot = pass->slot + i;
    const size_t band = item % bands, y = band * CONV1_BAND;
    const size_t y1 = smaller(y + CONV1_BAND, at->conv1_h), row = at->conv1_w * at->conv1_row;
    const float *image = pass->images + (pass->first + i) * at->pixels;
    float *out = ws->conv1 + slot * at->conv1_size;
    if (model->precision == PRECISION_BF16) {
        conv1_rows(ws, image, y, y1, thread, NULL, (uint16_t *)(void *)out);
        find_rows(ws, slot, y, y1);
        return;
    }
    conv1_rows(ws, image, y, y1, thread, out, NULL);
    if (model->precision == PRECISION_INT8)
        ws->largest[slot * bands + band] =
            model->kernels->largest(out + y * row, (y1 - y) * row);
    else
        find_rows(ws, slot, y, y1);
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
    const size_t bands = at->conv1_bands, slot = pass->slot + item / bands;
    const size_t y = item % bands * CONV1_BAND;
    const size_t y1 = smaller(y + CONV1_BAND, at->conv1_h), row = at->conv1_w * at->conv1_row;
    const float scale = scale_of(ws, slot);
    ws->model->kernels->quantise((uint8_t *)activations_of(ws, slot).values + y * row,
                                 ws->conv1 + slot * at->conv1_size + y * row, (y1 - y) * row,
                                 scale > 0 ? 1 / scale : 0);
    find_rows(ws, slot, y, y1);
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

/* Words of the windows of a strip, the first one's and from each to the next, and what of them is
 * not zero. */
struct window_words {
    const char *first;
    const uint64_t *set;
    size_t beside, set_beside;
};

/* Lists `count` of them, of which the first is word `number`.  Returns where the list goes on. */
static struct sparse_word *list(const struct kernels *kernels, struct sparse_word *to, size_t rows,
                                const struct window_words *words, size_t count, size_t number)
{
    const void *from[SPARSE_ROWS];
    const uint64_t *set[SPARSE_ROWS];
    for (size_t i = 0; i < rows; i++) {
        from[i] = words->first + i * words->beside;
        set[i] = words->set + i * words->set_beside;
    }
    return to + kernels->list_words(to, rows, from, set, count, (uint32_t)number);
}

/* Item: what is not zero of the windows of a strip. */
static void list_strip(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct pass *pass = context;
    const struct capsnet_workspace *ws = pass->ws;
    const struct kernels *kernels = ws->model->kernels;
    const struct layout *at = &ws->model->at;
    const struct word_order order = word_order_of(ws->model);
    const struct activations a = activations_of(ws, pass->slot + item / at->strips);
    const struct strip strip = strip_of(at, item % at->strips);
    const size_t number = pass->slot * at->strips + item;
    struct sparse_word *to = ws->lists + number * ws->list_words;
    for (size_t ky = 0; ky < ws->model->shape.primary_kernel; ky++) {
        const size_t y = 2 * strip.y + ky;
        for (size_t g = 0; g < order.groups; g++) {
            const size_t x = 2 * strip.x + g * order.values;
            const struct window_words words = {
                a.words + y * a.word_row + x / a.step * a.word,
                a.word_set + (y * at->conv1_w + x) * a.word_bits, 2 / a.step * a.word,
                2 * a.word_bits};
            to = list(kernels, to, strip.rows, &words, order.channels,
                      ky * order.row + g * order.channels);
        }
        for (size_t kx = 0; kx < order.left; kx++) {
            const size_t x = 2 * strip.x + order.groups * order.values + kx;
            const struct window_words words = {
                a.values + y * a.row + x * a.pixel,
                a.value_set + (y * at->conv1_w + x) * a.value_bits, 2 * a.pixel, 2 * a.value_bits};
            const size_t count = order.channels / order.values;
            to = list(kernels, to, strip.rows, &words, count,
                      ky * order.row + order.groups * order.channels + kx * count);
        }
    }
    ws->list_counts[number] = (size_t)(to - (ws->lists + number * ws->list_words));
}

/* Ends the lists of a pass: behind each comes the next one, and behind the last the first, of the
 * next panels. */
static void end_lists(const struct pass *pass)
{
    const struct capsnet_workspace *ws = pass->ws;
    const struct layout *at = &ws->model->at;
    const size_t lists = pass->n * at->strips, first = pass->slot * at->strips;
    const size_t rows = at->primary_taps / values_per_word(ws->model->precision);
    for (size_t i = 0; i < lists; i++) {
        const size_t number = first + i, next = i + 1 < lists ? number + 1 : first;
        sparse_end(ws->lists + number * ws->list_words + ws->list_counts[number],
                   ws->lists + next * ws->list_words, ws->list_counts[next],
                   i + 1 < lists ? 0 : pass->panels * rows);
    }
}

/* Item: some panels of one image; all images share them. */
static void panels_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct pass *pass = context;
    const struct capsnet_workspace *ws = pass->ws;
    const struct capsnet_model *model = ws->model;
    const struct kernels *kernels = model->kernels;
    const struct layout *at = &model->at;
    const size_t panel = item / pass->n * pass->panels, i = item % pass->n, slot = pass->slot + i;
    const size_t o = panel * KERNEL_PANEL;
    const enum weight_form form = model->packed.primary_form;
    const void *weights = form == FORM_F32 ? model->parameters + at->primary_weight
                                           : model->packed.primary;
    void (*const multiply[])(const struct sparse_product *) = {
        [FORM_F32] = kernels->gemm_sparse,
        [FORM_F16] = kernels->gemm_sparse_f16,
        [FORM_BF16] = kernels->gemm_sparse_bf16,
        [FORM_INT8] = kernels->gemm_sparse_int8,
    };
    struct sparse_product g = {
        .panels = smaller(pass->panels, at->primary_row / KERNEL_PANEL - panel),
        .b = (const char *)weights + o * at->primary_taps * form_bytes(form),
        .b_row = KERNEL_PANEL,
        .b_panel = at->primary_taps / values_per_word(model->precision) * KERNEL_PANEL,
        .bias = model->parameters + at->primary_bias + o,
        .c_stride = at->primary_row,
    };
    if (form == FORM_INT8) {
        g.row_scale = scale_of(ws, slot);
        g.scales = model->packed.primary_scales + o;
    }
    float *z = ws->primary + (pass->first + i) * at->positions * at->primary_row + o;
    for (size_t k = 0; k < at->strips; k++) {
        const struct strip strip = strip_of(at, k);
        const size_t list = slot * at->strips + k;
        g.rows = strip.rows;
        g.words = ws->lists + list * ws->list_words;
        g.count = ws->list_counts[list];
        g.c = z + (strip.y * at->primary_w + strip.x) * at->primary_row;
        multiply[form](&g);
    }
}

/* In fp16 what an image reads of two panels stays in the second-level cache, in no other form. */
static size_t panels_at_once(const struct capsnet_model *model)
{
    return model->packed.primary_form == FORM_F16 ? SPARSE_PANELS : 1;
}

static size_t panel_items(const struct pass *pass)
{
    const size_t panels = pass->ws->model->at.primary_row / KERNEL_PANEL;
    return (panels + pass->panels - 1) / pass->panels * pass->n;
}

/* Panels that the thread with most items has, where all threads take them. */
static size_t most_panels(const struct pass *pass)
{
    const size_t threads = pool_threads(pass->ws->pool);
    return (panel_items(pass) + threads - 1) / threads * pass->panels;
}

/* One image as far as its lists. */
static void list_image(struct pass *pass, size_t i, size_t thread)
{
    const struct layout *at = &pass->ws->model->at;
    const size_t bands = at->conv1_bands;
    for (size_t band = i * bands; band < (i + 1) * bands; band++)
        conv1_band(pass, band, thread);
    if (pass->ws->model->precision == PRECISION_INT8)
        for (size_t band = i * bands; band < (i + 1) * bands; band++)
            quantise_band(pass, band, thread);
    for (size_t strip = i * at->strips; strip < (i + 1) * at->strips; strip++)
        list_strip(pass, strip, thread);
}

/* Item: a group, all the way.  Its time counts where it is the caller's. */
static void group_item(void *context, size_t item, size_t thread)
{
    const struct pass *all = context;
    struct capsnet_workspace *ws = all->ws;
    struct pass group = {.ws = ws, .first = all->first + item * all->size, .n = all->size,
                         .images = all->images, .slot = thread * all->size,
                         .panels = panels_at_once(ws->model)};
    uint64_t clock = phase_clock();
    for (size_t i = 0; i < group.n; i++) {
        turns_pause(pool_party(ws->pool));
        list_image(&group, i, thread);
    }
    end_lists(&group);
    if (thread == 0)
        phase_end(ws, PHASE_CONV1, &clock);
    for (size_t i = 0; i < panel_items(&group); i++) {
        turns_pause(pool_party(ws->pool));
        panels_item(&group, i, thread);
    }
    if (thread == 0)
        phase_end(ws, PHASE_PRIMARY, &clock);
}

/* Images that all threads take together. */
static void run_together(struct pass *pass)
{
    struct capsnet_workspace *ws = pass->ws;
    const struct layout *at = &ws->model->at;
    uint64_t clock = phase_clock();
    pool_run(ws->pool, pass->n * at->conv1_bands, conv1_band, pass);
    if (ws->model->precision == PRECISION_INT8)
        pool_run(ws->pool, pass->n * at->conv1_bands, quantise_band, pass);
    pool_run(ws->pool, pass->n * at->strips, list_strip, pass);
    pass->panels = 1;
    const size_t least = most_panels(pass);
    pass->panels = panels_at_once(ws->model);
    if (most_panels(pass) > least)
        pass->panels = 1;
    end_lists(pass);
    phase_end(ws, PHASE_CONV1, &clock);
    pool_run(ws->pool, panel_items(pass), panels_item, pass);
    phase_end(ws, PHASE_PRIMARY, &clock);
}

void primary_direct(struct capsnet_workspace *ws, size_t n, const float *images)
{
    const size_t threads = pool_threads(ws->pool);
    struct pass pass = {.ws = ws, .images = images};
    for (; pass.first < n; pass.first += pass.n) {
        const size_t left = n - pass.first;
        pass.size = smaller(left / threads, DIRECT_OWN);
        if (left < threads || (pass.size == 1 && left % threads)) {
            pass.n = left;
            run_together(&pass);
        } else {
            pass.n = left - left % (threads * pass.size);
            pool_run(ws->pool, pass.n / pass.size, group_item, &pass);
        }
    }
}
