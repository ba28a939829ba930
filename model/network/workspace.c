/*
 * workspace.c - see workspace.h.
 */
#include "model/network/workspace.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "model/machine/huge_pages.h"

const char *const phase_names[PHASES] = {
    "weights to spectrum", "conv1 + transform", "PrimaryCaps",       "transform + squash",
    "routing",             "decoder",           "decoder back",      "routing back",
    "gradient transform",  "PrimaryCaps back",  "kernel gradients",  "conv1 back",
    "Adam",
};

/* ---- Memory -------------------------------------------------------------- */

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* A block is carved twice by the same code: first with base NULL to measure
 * it, then for real. */
struct arena {
    char *base;
    size_t used;
};

static float *carve(struct arena *arena, size_t floats)
{
    size_t offset = arena->used;
    arena->used += round_up(floats * sizeof(float), 64);
    return arena->base ? (float *)(void *)(arena->base + offset) : NULL;
}

static void carve_spectral(struct capsnet_workspace *ws, struct arena *arena, size_t n)
{
    const struct layout *at = &ws->model->at;
    const size_t x = ws->model->winograd.x_planes * n * at->tiles * (at->spectral_k + KERNEL_PAD);
    const size_t per_word = values_per_word(ws->model->products);
    ws->used = (size_t *)(void *)carve(arena, n * sizeof *ws->used / sizeof(float));
    ws->x_planes = carve(arena, (x + per_word - 1) / per_word);
    if (ws->model->products == PRECISION_INT8)
        ws->x_scales = carve(arena, ws->model->winograd.operand_planes * n * at->tiles);
    ws->y_planes = carve(arena, ws->model->winograd.y_planes * n * at->tiles *
                                    (at->primary_row + KERNEL_PAD));
}

/* Room for lists of which every word is there. */
static void carve_lists(struct capsnet_workspace *ws, struct arena *arena)
{
    const struct layout *at = &ws->model->at;
    const size_t lists = ws->slots * at->strips;
    const size_t words = at->primary_taps / values_per_word(ws->model->precision) + SPARSE_SLACK;
    ws->lists = (struct sparse_word *)(void *)carve(
        arena, lists * words * sizeof *ws->lists / sizeof(float));
    if (ws->lists)
        huge_avoid(ws->lists, lists * words * sizeof *ws->lists);
    ws->list_counts = (size_t *)(void *)carve(arena, lists * sizeof *ws->list_counts / sizeof(float));
    ws->list_words = words;
}

/* The longest row of the decoder's layers, in or out. */
static size_t decoder_row(const struct layout *at)
{
    size_t longest = at->in_row[0];
    for (size_t l = 0; l < 3; l++)
        longest = at->out_row[l] > longest ? at->out_row[l] : longest;
    return longest;
}

static void carve_decoder_lists(struct capsnet_workspace *ws, struct arena *arena)
{
    const size_t words = decoder_row(&ws->model->at) + SPARSE_SLACK;
    ws->decoder_list_words = words;
    ws->decoder_lists = (struct sparse_word *)(void *)carve(
        arena, DECODER_LISTS * words * sizeof *ws->decoder_lists / sizeof(float));
    ws->decoder_set = (uint64_t *)(void *)carve(arena, 2 * ((words + 63) / 64));
}

/* What the direct plan and inference's routing and decoder need. */
static void carve_inference(struct capsnet_workspace *ws, struct arena *arena, size_t n)
{
    const struct layout *at = &ws->model->at;
    const int is_int8 = ws->model->precision == PRECISION_INT8;
    ws->conv1 = carve(arena, ws->slots * at->conv1_size);
    ws->set = (uint64_t *)(void *)carve(arena, ws->slots * 4 * at->conv1_h * at->conv1_w *
                                                   at->conv1_bits);
    if (is_int8) {
        ws->conv1_u8 = (uint8_t *)carve(arena, 3 * ws->slots * at->conv1_size / 4);
        ws->largest = carve(arena, ws->slots * at->conv1_bands);
    }
    carve_lists(ws, arena);
    ws->v = carve(arena, n * at->outputs);
    for (size_t l = 0; l < 3 && ws->model->packed.has_bf16_layers; l++)
        ws->decoder16[l] = (uint16_t *)carve(arena, n * at->in_row[l] / 2);
    if (is_int8) {
        ws->decoder8 = (uint8_t *)carve(arena, n * at->in_row[1] / 4);
        ws->decoder_scales = carve(arena, n);
    }
    if (!ws->model->packed.has_bf16_layers)
        carve_decoder_lists(ws, arena);
}

/* Its operands in bf16, of n rows. */
static void carve_decoder_bf16(struct capsnet_workspace *ws, struct arena *arena, size_t n)
{
    const struct layout *at = &ws->model->at;
    const size_t pairs = (n + 1) / 2, row = decoder_row(at);
    for (size_t l = 0; l < 3; l++)
        ws->decoder16[l] = (uint16_t *)carve(arena, n * at->in_row[l] / 2);
    for (size_t l = 0; l < 3; l++)
        ws->decoder_words[l] = (uint32_t *)carve(
            arena, (at->in_row[l] + KERNEL_PAD) / 2 * round_up(at->out_row[l], KERNEL_PANEL));
    ws->dy16 = (uint16_t *)carve(arena, n * row / 2);
    ws->dy_pairs = (uint32_t *)carve(arena, pairs * round_up(row, KERNEL_PANEL));
    ws->x_pairs = (uint32_t *)carve(arena, pairs * row);
}

static void carve_training(struct capsnet_workspace *ws, struct arena *arena, size_t n, size_t g)
{
    const struct capsnet_shape *shape = &ws->model->shape;
    const struct layout *at = &ws->model->at;
    const size_t lanes = KERNEL_LANES, rows = n * at->tiles;
    const size_t routed = g * shape->routing_iterations * at->outputs * lanes;
    const size_t capsules = g * at->capsules * shape->primary_dims * lanes;
    ws->capsules = carve(arena, capsules);
    ws->s = carve(arena, routed);
    ws->v = carve(arena, routed);
    ws->vsum = carve(arena, routed);
    ws->conv1_positive = (uint16_t *)carve(arena, (n * at->conv1_size + 31) / 32);
    if (ws->model->products == PRECISION_BF16 && shape->primary_dims % 2 == 0 &&
        at->outputs % 2 == 0) {
        const size_t words = at->capsules * at->outputs * shape->primary_dims / 2;
        ws->dim_words = (uint32_t *)carve(arena, words);
        ws->output_words = (uint32_t *)carve(arena, words);
    }
    ws->raw = carve(arena, capsules);
    ws->du = carve(arena, capsules);
    ws->ds = carve(arena, routed);
    ws->dv = carve(arena, routed);
    ws->coef = carve(arena, g * at->capsules * 2 * (shape->routing_iterations - 1) *
                                shape->classes * lanes);
    ws->uniform = carve(arena, shape->classes * lanes);
    const struct winograd *w = &ws->model->winograd;
    const size_t x = rows * (at->spectral_k + KERNEL_PAD), y = rows * (at->primary_row + KERNEL_PAD);
    const int is_bf16 = ws->model->products == PRECISION_BF16;
    ws->dx_planes = is_bf16 ? carve(arena, w->x_planes * x) : ws->x_planes;
    ws->dy_planes = carve(arena, is_bf16 ? (w->dy_planes * y + 1) / 2 : w->y_planes * y);
    ws->dw_planes = carve(arena, ws->model->winograd.x_planes * ws->model->spectrum_plane);
    ws->ddecoder[0] = carve(arena, 2 * n * at->in_row[0]);
    for (size_t l = 0; l < 3; l++)
        ws->ddecoder[l + 1] = carve(arena, 2 * n * at->out_row[l]);
    if (is_bf16)
        carve_decoder_bf16(ws, arena, 2 * n);
    ws->conv1_partial = carve(arena, CONV1_CHUNKS * (at->conv1_taps + 1) * at->conv1_weight_row);
}

static void carve_words(struct capsnet_workspace *ws, struct arena *arena, struct scratch *s)
{
    const struct layout *at = &ws->model->at;
    const size_t pairs = (ws->max_batch * at->tiles + 1) / 2;
    if (ws->model->products != PRECISION_BF16)
        return;
    s->w_words = (uint32_t *)carve(arena, 3 * at->primary_row / 2 * KERNEL_PANEL);
    s->dy_words = (uint32_t *)carve(arena, 3 * pairs * at->primary_row);
    s->x_words = (uint32_t *)carve(arena, 3 * pairs * X_COLUMNS);
    s->decoder_words =
        (uint32_t *)carve(arena, round_up(decoder_row(at), KERNEL_PANEL) / 2 * KERNEL_PANEL);
    s->dconv1_words = (uint32_t *)carve(arena, at->conv1_h * ((at->conv1_w + 1) / 2) *
                                                   round_up(at->conv1_row, KERNEL_PANEL));
    s->image = (uint16_t *)carve(arena, at->pixels / 2 + KERNEL_PAD);
    s->u_words = (uint32_t *)carve(arena, (ws->max_groups + 1) / 2 *
                                              ws->model->shape.primary_dims * KERNEL_LANES);
}

static void carve_routing(struct capsnet_workspace *ws, struct arena *arena,
                          struct routing_scratch *r)
{
    const struct layout *at = &ws->model->at;
    const size_t outputs = round_up(at->outputs, KERNEL_LANES);
    r->u = carve(arena, ROUTED_AT_ONCE * at->groups * ws->model->shape.primary_dims * KERNEL_LANES);
    r->u_hat = carve(arena, ROUTED_AT_ONCE * prediction_size(ws->model));
    r->s = carve(arena, ROUTING_PARTS * ROUTED_AT_ONCE * outputs);
    r->vsum = carve(arena, ROUTED_AT_ONCE * outputs);
}

static void carve_scratch(struct capsnet_workspace *ws, struct arena *arena, struct scratch *s)
{
    const struct layout *at = &ws->model->at;
    const size_t row = decoder_row(at), longest = row > at->primary_row ? row : at->primary_row;
    const size_t patches = ws->training ? at->conv1_h * at->conv1_w * at->conv1_patch_row : 0;
    const size_t image = at->pixels + 2 * KERNEL_PAD, kernel = ws->model->shape.conv1_kernel;
    s->patches = carve(arena, patches > image ? patches : image);
    s->found = (uint64_t *)(void *)carve(
        arena, 2 * convolution_scratch(at->pixels, at->conv1_h, at->conv1_w, kernel,
                                       kernel * ws->model->shape.channels));
    s->conv1 = carve(arena, at->conv1_size);
    if (ws->training) {
        s->u_hat = carve(arena, 2 * at->outputs * KERNEL_LANES);
        s->transposed = carve(arena, longest * KERNEL_PANEL);
        carve_words(ws, arena, s);
        s->du_hat =
            carve(arena, GRADIENT_CAPSULES * ws->max_groups * at->outputs * KERNEL_LANES);
        return;
    }
    s->image = (uint16_t *)carve(arena, image / 2 + 1);
    if (ws->model->is_spectral && ws->model->products == PRECISION_INT8)
        s->operands = carve(arena, ws->model->winograd.x_planes * (at->spectral_k + KERNEL_PAD));
    s->sums = carve(arena, ROUTED_AT_ONCE * round_up(at->outputs, KERNEL_LANES) * KERNEL_LANES);
    carve_routing(ws, arena, &s->routing);
}

static void carve_all(struct capsnet_workspace *ws, struct arena *arena, size_t threads)
{
    const struct layout *at = &ws->model->at;
    const size_t n = ws->max_batch, drawn = ws->training ? 2 * n : n;
    if (ws->model->is_spectral)
        carve_spectral(ws, arena, n);
    ws->primary = carve(arena, n * at->positions * at->primary_row);
    ws->decoder[0] = carve(arena, drawn * at->in_row[0]);
    for (size_t l = 0; l < 3; l++)
        ws->decoder[l + 1] = carve(arena, drawn * at->out_row[l]);
    if (ws->training)
        carve_training(ws, arena, n, ws->max_groups);
    else
        carve_inference(ws, arena, n);
    if (!ws->training && threads > 1)
        carve_routing(ws, arena, &ws->routing);
    for (size_t t = 0; t < threads; t++)
        carve_scratch(ws, arena, &ws->scratch[t]);
}

enum capsnet_status workspace_create(struct capsnet_workspace **workspace,
                                     const struct capsnet_model *model, size_t max_batch,
                                     size_t threads, int training, struct capsnet_error *error)
{
    if (max_batch < 1 || max_batch > 4096 || threads < 1 || threads > 1024) {
        snprintf(error->text, sizeof error->text,
                 "a workspace takes 1 to 4096 images and 1 to 1024 threads, not %zu and %zu",
                 max_batch, threads);
        return CAPSNET_ERR_ARGUMENT;
    }
    struct capsnet_workspace *ws = calloc(1, sizeof *ws);
    struct arena arena = {0};
    if (!ws)
        goto no_memory;
    ws->model = model;
    ws->max_batch = max_batch;
    ws->max_groups = (max_batch + KERNEL_LANES - 1) / KERNEL_LANES;
    ws->training = training;
    ws->slots = DIRECT_OWN * threads < max_batch ? DIRECT_OWN * threads : max_batch;
    ws->pool = pool_create(threads);
    ws->scratch = calloc(threads, sizeof *ws->scratch);
    if (!ws->pool || !ws->scratch)
        goto no_memory;
    carve_all(ws, &arena, threads);
    ws->memory_bytes = arena.used;
    ws->memory = huge_alloc(arena.used);
    if (!ws->memory)
        goto no_memory;
    arena = (struct arena){ws->memory, 0};
    carve_all(ws, &arena, threads);
    if (training)
        for (size_t i = 0; i < model->shape.classes * KERNEL_LANES; i++)
            ws->uniform[i] = 1.0f / (float)model->shape.classes;
    *workspace = ws;
    return CAPSNET_OK;

no_memory:
    snprintf(error->text, sizeof error->text,
             "not enough memory (%zu MB) or threads (%zu) for batches of %zu images",
             arena.used >> 20, threads, max_batch);
    capsnet_workspace_free(ws);
    return CAPSNET_ERR_MEMORY;
}

enum capsnet_status capsnet_workspace_create(struct capsnet_workspace **workspace,
                                             const struct capsnet_model *model, size_t max_batch,
                                             size_t threads, struct capsnet_error *error)
{
    return workspace_create(workspace, model, max_batch, threads, 0, error);
}

void capsnet_workspace_free(struct capsnet_workspace *ws)
{
    if (!ws)
        return;
    pool_free(ws->pool);
    huge_free(ws->memory, ws->memory_bytes);
    free(ws->scratch);
    free(ws);
}

void capsnet_workspace_share(struct capsnet_workspace *ws, struct capsnet_turns *turns,
                             int is_beside)
{
    pool_share(ws->pool, turns, is_beside);
}

void capsnet_turn_take(struct capsnet_workspace *ws)
{
    turns_take(pool_party(ws->pool));
}

void capsnet_turn_give(struct capsnet_workspace *ws)
{
    pool_rest(ws->pool);
    turns_give(pool_party(ws->pool));
}

size_t capsnet_workspace_bytes(const struct capsnet_workspace *ws)
{
    return ws->memory_bytes;
}

/* ---- Time ---------------------------------------------------------------- */

uint64_t phase_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void phase_end(struct capsnet_workspace *ws, enum phase phase, uint64_t *since_ns)
{
    uint64_t now = phase_clock();
    ws->phase_ns[phase] += now - *since_ns;
    *since_ns = now;
}
