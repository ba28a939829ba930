/*
 * pack_weights.c - the weights as inference reads them: digit.weight with capsules
 * side by side, and with bf16 and int8 everything in the kernels' words.
 *
 * int8 has one scale per output channel of conv1 and of PrimaryCaps, per output of the decoder's
 * second layer, and per capsule and class of DigitCaps.  In f32 PrimaryCaps, DigitCaps and the
 * decoder are read in fp16 where all of a layer's weights are fp16 numbers: a small batch
 * waits for them.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/inference/inference.h"
#include "model/layers/layers.h"
#include "model/layers/primary_direct.h"
#include "model/machine/huge_pages.h"

/* Rounded to nearest, ties to even.  Weights are finite. */
static uint32_t bf16_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

static uint32_t bf16_word(float lo, float hi)
{
    return bf16_of(lo) | bf16_of(hi) << 16;
}

enum { NO_F16 = 0x10000 };

/* The fp16 that is x, or NO_F16. */
static uint32_t f16_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t sign = bits >> 16 & 0x8000, significand = (bits & 0x7fffff) | 0x800000;
    const int exponent = (int)(bits >> 23 & 255) - 127;
    const int dropped = exponent >= -14 ? 13 : -1 - exponent; /* bits: more of a subnormal one */
    if ((bits & 0x7fffffff) == 0)
        return sign;
    if (exponent > 15 || exponent < -24 || significand & ((1U << dropped) - 1))
        return NO_F16;
    const uint32_t kept = significand >> dropped; /* a normal one's first bit adds 1 to the exponent */
    return sign + kept + (exponent >= -14 ? (uint32_t)(exponent + 14) << 10 : 0);
}

static int are_f16(const float *x, size_t n)
{
    size_t i = 0;
    while (i < n && f16_of(x[i]) != NO_F16)
        i++;
    return i == n;
}

/* A kernel row [run][cols] of fp32, `stride` floats from one k to the next, as
 * words [ceil(run / 2)][KERNEL_PANEL] of bf16. */
static void pack_run(uint32_t *dst, const float *src, size_t run, size_t cols, size_t stride)
{
    for (size_t k = 0; k < run; k += 2, dst += KERNEL_PANEL)
        for (size_t o = 0; o < KERNEL_PANEL; o++) {
            const float lo = o < cols ? src[k * stride + o] : 0;
            const float hi = o < cols && k + 1 < run ? src[(k + 1) * stride + o] : 0;
            dst[o] = bf16_word(lo, hi);
        }
}

static size_t panels(size_t columns)
{
    return (columns + KERNEL_PANEL - 1) / KERNEL_PANEL;
}

static size_t columns_left(size_t row, size_t panel)
{
    size_t left = row - panel * KERNEL_PANEL;
    return left < KERNEL_PANEL ? left : KERNEL_PANEL;
}

static void pack_conv1_bf16(struct capsnet_model *model)
{
    const struct layout *at = &model->at;
    const size_t kernel = model->shape.conv1_kernel, run = kernel * model->shape.channels;
    const size_t words = model->packed.conv1_words;
    uint32_t *dst = model->packed.conv1;
    for (size_t p = 0; p < panels(at->conv1_row); p++)
        for (size_t ky = 0; ky < kernel; ky++, dst += words * KERNEL_PANEL)
            pack_run(dst, model->parameters + at->conv1_weight + ky * run * at->conv1_weight_row +
                              p * KERNEL_PANEL,
                     run, columns_left(at->conv1_row, p), at->conv1_weight_row);
}

/* The value of a unit of k weights, stride floats apart, as s8: the largest over 127, or
 * more where 255 (sum / unit + k / 2), the most that u8 make of them, would not stay below
 * 2^31. */
static double unit_of(const float *w, size_t k, size_t stride)
{
    const double room = 2147483647.0 / 255 - 0.5 * (double)k;
    double largest = 0, sum = 0;
    for (size_t p = 0; p < k; p++) {
        const double size = fabs((double)w[p * stride]);
        largest = size > largest ? size : largest;
        sum += size;
    }
    return fmax(largest / 127, sum / room);
}

static int8_t in_units(float w, double unit)
{
    return unit > 0 ? (int8_t)lrint((double)w / unit) : 0;
}

static void pack_conv1_int8(struct capsnet_model *model)
{
    const struct layout *at = &model->at;
    const size_t kernel = model->shape.conv1_kernel, run = kernel * model->shape.channels;
    const size_t words = model->packed.conv1_words;
    for (size_t o = 0; o < at->conv1_row; o++) {
        const float *w = model->parameters + at->conv1_weight + o;
        const double unit = unit_of(w, at->conv1_taps, at->conv1_weight_row);
        model->packed.conv1_scales[o] = (float)unit;
        for (size_t i = 0; i < at->conv1_taps; i++) {
            const size_t ky = i / run, word = i % run / 4, panel = o / KERNEL_PANEL;
            uint32_t *to = model->packed.conv1 +
                           ((panel * kernel + ky) * words + word) * KERNEL_PANEL + o % KERNEL_PANEL;
            ((int8_t *)to)[i % run % 4] = in_units(w[i * at->conv1_weight_row], unit);
        }
    }
}

/* A panel [rows][KERNEL_PANEL] of fp16, of which `cols` columns are of the matrix. */
static void pack_panel_f16(uint16_t *dst, const float *src, size_t rows, size_t cols, size_t stride)
{
    for (size_t k = 0; k < rows; k++, dst += KERNEL_PANEL, src += stride)
        for (size_t o = 0; o < cols; o++)
            dst[o] = (uint16_t)f16_of(src[o]);
}

static void pack_decoder_int8(struct capsnet_model *model, size_t l)
{
    const struct layout *at = &model->at;
    const size_t in = at->in_row[l], row = at->out_row[l];
    uint32_t *words = model->packed.decoder[l];
    for (size_t o = 0; o < row; o++) {
        const float *w = model->parameters + at->decoder_weight[l] + o;
        const double unit = unit_of(w, in, row);
        model->packed.decoder_scales[l][o] = (float)unit;
        for (size_t k = 0; k < in; k++) {
            const size_t word = o / KERNEL_PANEL * in / 4 + k / 4;
            uint32_t *to = words + word * KERNEL_PANEL + o % KERNEL_PANEL;
            ((int8_t *)to)[k % 4] = in_units(w[k * row], unit);
        }
    }
}

static void pack_decoder(struct capsnet_model *model, size_t l)
{
    const struct layout *at = &model->at;
    const struct packed *to = &model->packed;
    const size_t in = at->in_row[l], row = at->out_row[l];
    const float *w = model->parameters + at->decoder_weight[l];
    if (to->decoder_form[l] == FORM_INT8)
        pack_decoder_int8(model, l);
    for (size_t p = 0; to->decoder_form[l] == FORM_F16 && p < panels(row); p++)
        pack_panel_f16((uint16_t *)to->decoder[l] + p * in * KERNEL_PANEL, w + p * KERNEL_PANEL, in,
                       columns_left(row, p), row);
    for (size_t p = 0; to->decoder_form[l] == FORM_BF16 && p < panels(row); p++)
        pack_run((uint32_t *)to->decoder[l] + p * in / 2 * KERNEL_PANEL, w + p * KERNEL_PANEL, in,
                 columns_left(row, p), row);
}

/* Values of DigitCaps' W in one of its words. */
static size_t digit_values(enum weight_form form)
{
    return form == FORM_INT8 ? 4 : form == FORM_BF16 ? 2 : 1;
}

/* A row of W, of one capsule and output, as words KERNEL_LANES apart; int8: in those units. */
static void pack_digit_row(void *words, size_t to, const float *w, size_t dims,
                           enum weight_form form, double unit)
{
    const size_t values = digit_values(form);
    for (size_t d = 0; d < dims; d += values, to += KERNEL_LANES)
        switch (form) {
        case FORM_F32: ((float *)words)[to] = w[d]; break;
        case FORM_F16: ((uint16_t *)words)[to] = (uint16_t)f16_of(w[d]); break;
        case FORM_BF16:
            ((uint32_t *)words)[to] = bf16_word(w[d], d + 1 < dims ? w[d + 1] : 0);
            break;
        case FORM_INT8:
            for (size_t q = 0; q < values && d + q < dims; q++)
                ((uint8_t *)words)[4 * to + q] = (uint8_t)(128 + in_units(w[d + q], unit));
            break;
        }
}

/* Capsule of lane `lane` of group g: groups go through them in order. */
static void pack_digit(struct capsnet_model *model)
{
    const struct layout *at = &model->at;
    const struct packed *packed = &model->packed;
    const size_t dims = model->shape.primary_dims, pose = model->shape.pose_dims;
    const size_t values = digit_values(packed->digit_form), step = (dims + values - 1) / values;
    const float *w = model->parameters + at->digit_weight;
    for (size_t i = 0; i < at->capsules; i++)
        for (size_t j = 0; j < model->shape.classes; j++) {
            const size_t at_class = i / KERNEL_LANES * model->shape.classes + j;
            const double unit = packed->digit_form == FORM_INT8 ? unit_of(w, pose * dims, 1) : 0;
            if (packed->digit_form == FORM_INT8)
                packed->digit_scales[at_class * KERNEL_LANES + i % KERNEL_LANES] = (float)unit;
            for (size_t e = 0; e < pose; e++, w += dims)
                pack_digit_row(packed->digit,
                               (at_class * pose + e) * step * KERNEL_LANES + i % KERNEL_LANES, w,
                               dims, packed->digit_form, unit);
        }
}

/* ---- PrimaryCaps, by panels ---------------------------------------------- */

/* One panel of 32 output channels in bf16's or in int8's words. */
static void pack_primary_words(const struct capsnet_model *model, size_t panel)
{
    const struct layout *at = &model->at;
    const struct word_order order = word_order_of(model);
    const size_t kernel = model->shape.primary_kernel, taps = at->primary_taps;
    const int is_int8 = model->precision == PRECISION_INT8;
    const float *w = model->parameters + at->primary_weight + panel * taps * KERNEL_PANEL;
    uint32_t *dst = (uint32_t *)model->packed.primary + panel * taps / order.values * KERNEL_PANEL;
    double units[KERNEL_PANEL];
    for (size_t o = 0; is_int8 && o < KERNEL_PANEL; o++) {
        units[o] = unit_of(w + o, taps, KERNEL_PANEL);
        model->packed.primary_scales[panel * KERNEL_PANEL + o] = (float)units[o];
    }
    for (size_t tap = 0; tap < kernel * kernel; tap++)
        for (size_t c = 0; c < at->conv1_row; c++, w += KERNEL_PANEL) {
            size_t value;
            uint32_t *to = dst + word_of(&order, tap / kernel, tap % kernel, c, &value) * KERNEL_PANEL;
            for (size_t o = 0; o < KERNEL_PANEL; o++)
                if (is_int8)
                    ((int8_t *)(to + o))[value] = in_units(w[o], units[o]);
                else
                    ((uint16_t *)(void *)(to + o))[value] = (uint16_t)bf16_of(w[o]);
        }
}

/* Item: one panel. */
static void pack_primary(void *context, size_t panel, size_t thread)
{
    (void)thread;
    const struct capsnet_model *model = context;
    const struct layout *at = &model->at;
    const size_t first = panel * at->primary_taps * KERNEL_PANEL;
    if (model->packed.primary_form == FORM_F16)
        pack_panel_f16((uint16_t *)model->packed.primary + first,
                       model->parameters + at->primary_weight + first, at->primary_taps,
                       KERNEL_PANEL, KERNEL_PANEL);
    else
        pack_primary_words(model, panel);
}

/* ---- The order of channels ----------------------------------------------- */

struct reach {
    float most;
    size_t channel;
};

static int by_reach(const void *a, const void *b)
{
    const struct reach *x = a, *y = b;
    if (x->most != y->most)
        return x->most > y->most ? -1 : 1;
    return x->channel < y->channel ? -1 : 1;
}

/* n channels of `run` values each, side by side, in the new order. */
static void reorder(float *values, size_t n, size_t run, const struct reach *order, float *room)
{
    for (size_t i = 0; i < n; i++)
        memcpy(room + i * run, values + order[i].channel * run, run * sizeof *room);
    memcpy(values, room, n * run * sizeof *values);
}

enum capsnet_status model_order_channels(struct capsnet_model *model, struct capsnet_error *error)
{
    const struct layout *at = &model->at;
    const size_t n = model->shape.conv1_channels, panels = at->primary_row / KERNEL_PANEL;
    const size_t kernel = model->shape.primary_kernel;
    float *weight = model->parameters + at->conv1_weight;
    float *bias = model->parameters + at->conv1_bias;
    struct reach *order = calloc(n, sizeof *order);
    float *room = calloc(n * KERNEL_PANEL, sizeof *room);
    if (!order || !room) {
        free(order);
        free(room);
        return model_no_memory(error);
    }
    for (size_t o = 0; o < n; o++) {
        order[o] = (struct reach){bias[o], o};
        for (size_t tap = 0; tap < at->conv1_taps; tap++)
            order[o].most += fmaxf(0, weight[tap * at->conv1_weight_row + o]);
    }
    qsort(order, n, sizeof *order, by_reach);
    reorder(bias, n, 1, order, room);
    for (size_t tap = 0; tap < at->conv1_taps; tap++)
        reorder(weight + tap * at->conv1_weight_row, n, 1, order, room);
    for (size_t i = 0; i < panels * kernel * kernel; i++)
        reorder(model->parameters + at->primary_weight + i * at->conv1_row * KERNEL_PANEL, n,
                KERNEL_PANEL, order, room);
    free(order);
    free(room);
    return CAPSNET_OK;
}

/* ---- All of it ----------------------------------------------------------- */

static void *take(struct packed *packed, size_t bytes)
{
    void *p = packed->memory ? (char *)packed->memory + packed->bytes : NULL;
    packed->bytes += (bytes + 63) / 64 * 64;
    return p;
}

/* What a layer with those n weights is stored as, if not in 8 bits. */
static enum weight_form form_of(const struct capsnet_model *model, size_t weight, size_t n)
{
    if (model->packed.has_bf16_layers)
        return FORM_BF16;
    if (model->kernels->gemm_sparse_f16 && are_f16(model->parameters + weight, n))
        return FORM_F16;
    return FORM_F32;
}

static void choose_forms(struct capsnet_model *model)
{
    const struct layout *at = &model->at;
    struct packed *p = &model->packed;
    const int is_int8 = model->precision == PRECISION_INT8;
    const size_t n = at->capsules * at->outputs * model->shape.primary_dims;
    p->has_bf16_layers = model->kernels->gemm_bf16 && model->precision != PRECISION_F32;
    p->primary_form = is_int8 ? FORM_INT8
                              : form_of(model, at->primary_weight,
                                        at->primary_taps * at->primary_row);
    p->digit_form = is_int8 && p->has_bf16_layers ? FORM_INT8 : form_of(model, at->digit_weight, n);
    for (size_t l = 0; l < 3; l++)
        p->decoder_form[l] = is_int8 && l == 1 ? FORM_INT8
                                               : form_of(model, at->decoder_weight[l],
                                                         at->in_row[l] * at->out_row[l]);
}

/* Called twice: to measure, and with the memory to deal it out. */
static void carve(struct capsnet_model *model)
{
    const struct layout *at = &model->at;
    const struct capsnet_shape *shape = &model->shape;
    struct packed *p = &model->packed;
    const size_t word = sizeof(uint32_t);
    const size_t values = digit_values(p->digit_form);
    const size_t words = (shape->primary_dims + values - 1) / values;
    p->bytes = 0;
    p->digit = take(p, at->groups * at->outputs * words * KERNEL_LANES *
                           (p->digit_form == FORM_F16 ? sizeof(uint16_t) : word));
    if (p->digit_form == FORM_INT8)
        p->digit_scales = take(p, at->groups * shape->classes * KERNEL_LANES * sizeof(float));
    if (p->primary_form != FORM_F32)
        p->primary = take(p, at->primary_taps * at->primary_row * form_bytes(p->primary_form));
    if (p->primary_form == FORM_INT8)
        p->primary_scales = take(p, at->primary_row * sizeof(float));
    if (model->precision != PRECISION_F32) {
        const size_t per_word = model->precision == PRECISION_BF16 ? 2 : 4;
        p->conv1_words = (shape->conv1_kernel * shape->channels + per_word - 1) / per_word;
        p->conv1 = take(p, panels(at->conv1_row) * shape->conv1_kernel * p->conv1_words *
                               KERNEL_PANEL * word);
    }
    if (model->precision == PRECISION_INT8)
        p->conv1_scales = take(p, at->conv1_row * sizeof(float));
    for (size_t l = 0; l < 3; l++) {
        const size_t count = at->in_row[l] * panels(at->out_row[l]) * KERNEL_PANEL;
        if (p->decoder_form[l] != FORM_F32)
            p->decoder[l] = take(p, p->decoder_form[l] == FORM_INT8 ? count : 2 * count);
        if (p->decoder_form[l] == FORM_INT8)
            p->decoder_scales[l] = take(p, at->out_row[l] * sizeof(float));
    }
    p->spectrum_plane = packed_spectrum_plane(at, model->products);
    if (model->products != PRECISION_F32 && model->is_spectral)
        p->spectrum = take(p, model->winograd.x_planes * p->spectrum_plane * word);
    if (model->products == PRECISION_INT8 && model->is_spectral) {
        const size_t columns = model->winograd.operand_planes * at->primary_row;
        p->spectrum_scales = take(p, columns * sizeof *p->spectrum_scales);
        p->spectrum_starts =
            take(p, at->conv1_row / KERNEL_PAD * columns * sizeof *p->spectrum_starts);
    }
}

enum capsnet_status model_pack(struct capsnet_model *model, struct capsnet_error *error)
{
    struct pool *pool = pool_create(capsnet_cpu_count());
    huge_free(model->packed.memory, model->packed.bytes);
    memset(&model->packed, 0, sizeof model->packed);
    choose_forms(model);
    carve(model);
    model->packed.memory = huge_alloc(model->packed.bytes);
    if (!pool || !model->packed.memory) {
        pool_free(pool);
        return model_no_memory(error);
    }
    carve(model);
    pack_digit(model);
    if (model->precision == PRECISION_BF16)
        pack_conv1_bf16(model);
    if (model->precision == PRECISION_INT8)
        pack_conv1_int8(model);
    for (size_t l = 0; l < 3; l++)
        pack_decoder(model, l);
    if (model->packed.primary_form != FORM_F32)
        pool_run(pool, model->at.primary_row / KERNEL_PANEL, pack_primary, model);
    if (model->is_spectral)
        primary_prepare(model, pool);
    pool_free(pool);
    return CAPSNET_OK;
}

static void release(struct capsnet_model *model, size_t offset, size_t floats)
{
    model->released_bytes +=
        huge_release(model->parameters + offset, floats * sizeof *model->parameters);
}

void model_release(struct capsnet_model *model)
{
    const struct layout *at = &model->at;
    release(model, at->digit_weight, at->capsules * at->outputs * model->shape.primary_dims);
    if (model->packed.primary_form != FORM_F32)
        release(model, at->primary_weight, at->primary_taps * at->primary_row);
    for (size_t l = 0; l < 3; l++)
        if (model->packed.decoder_form[l] != FORM_F32)
            release(model, at->decoder_weight[l], at->in_row[l] * at->out_row[l]);
}
