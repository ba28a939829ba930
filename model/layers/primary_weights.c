/*
 * primary_weights.c - PrimaryCaps' weights to the transform domain, w^ = G w G^T
 * (primary_spectral.c), in f32, in bf16 or in int8.
 */
#include <math.h>
#include <string.h>

#include "model/layers/primary_spectral.h"

static void prepare_f32(const struct capsnet_model *model, size_t panel, size_t phase)
{
    const struct layout *at = &model->at;
    const struct patch patch = kernel_patch(model, phase);
    const float *w = model->parameters + kernel_offset(model, panel, phase);
    float *dst = model->spectrum + panel * at->spectral_k * KERNEL_PANEL;
    struct planes planes;
    winograd_operand(&planes, &model->winograd, phase, model->spectrum_plane, KERNEL_PANEL);
    for (size_t i = 0; i < at->conv1_row * KERNEL_PANEL; i += KERNEL_PAD)
        model->kernels->to_points(dst + i, &planes, OPERAND_RIGHT, &model->winograd.kernel, w + i,
                                  &patch);
}

/* The same in bf16 words, two input channels to a word. */
static void prepare_bf16(const struct capsnet_model *model, size_t panel, size_t phase)
{
    const struct layout *at = &model->at;
    const struct packed *packed = &model->packed;
    const struct patch patch = kernel_patch(model, phase);
    const float *w = model->parameters + kernel_offset(model, panel, phase);
    struct planes to, near;
    /* A word is half a channel's. */
    winograd_operand(&to, &model->winograd, phase, packed->spectrum_plane, KERNEL_PANEL / 2);
    for (size_t p = 0; p < POINT_PLANES; p++)
        near.at[p] = p * 2 * KERNEL_PANEL;
    for (size_t c = 0; c < at->conv1_row; c += 2, w += 2 * KERNEL_PANEL) {
        float values[POINT_PLANES][2 * KERNEL_PANEL] __attribute__((aligned(64)));
        for (size_t i = 0; i < 2 * KERNEL_PANEL; i += KERNEL_PAD)
            model->kernels->to_points(values[0] + i, &near, OPERAND_RIGHT,
                                      &model->winograd.kernel, w + i, &patch);
        uint32_t *dst = packed->spectrum + (panel * at->spectral_k + c) / 2 * KERNEL_PANEL;
        for (size_t p = 0; p < model->winograd.operand_planes; p++)
            if (to.at[p] != NO_PLANE) /* 60 MB, which no cache keeps until they are read */
                model->kernels->stream_pair_bf16(dst + to.at[p], values[p]);
    }
}

/* ... and in words of four s8. */
enum { QUAD = 4 };

/* One panel's columns on their way there. */
struct panel_int8 {
    float values[POINT_PLANES][QUAD][KERNEL_PANEL]; /* of four input channels */
    float largest[POINT_PLANES][KERNEL_PANEL], factors[POINT_PLANES][KERNEL_PANEL];
} __attribute__((aligned(64)));

/* Four input channels' columns, from c on, to their points. */
static void quad_to_points(const struct capsnet_model *model, struct panel_int8 *p, size_t panel,
                           size_t phase, size_t c)
{
    const struct patch patch = kernel_patch(model, phase);
    const float *w = model->parameters + kernel_offset(model, panel, phase) + c * KERNEL_PANEL;
    float *values = (float *)(void *)p->values;
    struct planes near;
    for (size_t plane = 0; plane < POINT_PLANES; plane++)
        near.at[plane] = plane * QUAD * KERNEL_PANEL;
    for (size_t i = 0; i < QUAD * KERNEL_PANEL; i += KERNEL_PAD)
        model->kernels->to_points(values + i, &near, OPERAND_RIGHT,
                                  &model->winograd.kernel, w + i, &patch);
}

static void find_largest(struct panel_int8 *p, size_t plane)
{
    float *largest = p->largest[plane];
    for (size_t q = 0; q < QUAD; q++)
        for (size_t o = 0; o < KERNEL_PANEL; o++) {
            const float size = fabsf(p->values[plane][q][o]);
            largest[o] = size > largest[o] ? size : largest[o];
        }
}

/* Of one panel's columns, what sums of channels before the end of such a group begin with. */
static int32_t *starts_of(const struct capsnet_model *model, size_t panel, size_t group,
                          size_t plane)
{
    return model->packed.spectrum_starts +
           (group * model->winograd.operand_planes + plane) * model->at.primary_row +
           panel * KERNEL_PANEL;
}

static void put_words(const struct capsnet_model *model, struct panel_int8 *p, size_t plane,
                      uint32_t *dst, int32_t *sums)
{
    float (*v)[KERNEL_PANEL] = p->values[plane];
    const float *const rows[QUAD] = {v[0], v[1], v[2], v[3]};
    model->kernels->words_int8(dst, sums, rows, p->factors[plane], KERNEL_PANEL);
}

/* Two passes, of which the first finds the largest magnitudes: is_first. */
static void panel_pass(const struct capsnet_model *model, struct panel_int8 *p, size_t panel,
                       int is_first)
{
    const struct layout *at = &model->at;
    struct planes to;
    for (size_t phase = 0; phase < KERNEL_PHASES; phase++) {
        winograd_operand(&to, &model->winograd, phase, model->packed.spectrum_plane,
                         KERNEL_PANEL / QUAD);
        for (size_t c = 0; c < at->conv1_row; c += QUAD) {
            uint32_t *dst = model->packed.spectrum + (panel * at->spectral_k + c) / QUAD * KERNEL_PANEL;
            quad_to_points(model, p, panel, phase, c);
            for (size_t plane = 0; plane < model->winograd.operand_planes; plane++)
                if (to.at[plane] != NO_PLANE && is_first)
                    find_largest(p, plane);
                else if (to.at[plane] != NO_PLANE)
                    put_words(model, p, plane, dst + to.at[plane],
                              starts_of(model, panel, c / KERNEL_PAD, plane));
        }
    }
}

/* Item: one panel of 32 output channels. */
static void prepare_int8(void *context, size_t panel, size_t thread)
{
    (void)thread;
    const struct capsnet_model *model = context;
    const size_t planes = model->winograd.operand_planes;
    struct panel_int8 p;
    memset(p.largest, 0, sizeof p.largest);
    const size_t groups = model->at.conv1_row / KERNEL_PAD;
    for (size_t group = 0; group < groups; group++)
        for (size_t plane = 0; plane < planes; plane++)
            memset(starts_of(model, panel, group, plane), 0, KERNEL_PANEL * sizeof(int32_t));
    panel_pass(model, &p, panel, 1);
    for (size_t plane = 0; plane < planes; plane++)
        for (size_t o = 0; o < KERNEL_PANEL; o++) {
            const float largest = p.largest[plane][o];
            p.factors[plane][o] = largest >= 1e-30f ? 127 / largest : 0;
            model->packed.spectrum_scales[plane * model->at.primary_row + panel * KERNEL_PANEL + o] =
                largest >= 1e-30f ? largest / 127 : 0;
        }
    panel_pass(model, &p, panel, 0);
    for (size_t plane = 0; plane < planes; plane++)
        for (size_t o = 0; o < KERNEL_PANEL; o++) {
            int32_t sum = 0;
            for (size_t group = 0; group < groups; group++) {
                int32_t *start = starts_of(model, panel, group, plane) + o;
                sum += *start;
                *start = -128 * sum;
            }
        }
}

/* Item: one panel of 32 output channels, one phase. */
static void prepare_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct capsnet_model *model = context;
    if (model->products == PRECISION_BF16)
        prepare_bf16(model, item / KERNEL_PHASES, item % KERNEL_PHASES);
    else
        prepare_f32(model, item / KERNEL_PHASES, item % KERNEL_PHASES);
}

void primary_prepare(struct capsnet_model *model, struct pool *pool)
{
    const size_t panels = model->at.primary_row / KERNEL_PANEL;
    if (model->products == PRECISION_INT8)
        pool_run(pool, panels, prepare_int8, model);
    else
        pool_run(pool, panels * KERNEL_PHASES, prepare_item, model);
}
