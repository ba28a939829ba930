/*
 * workspace.c - shapes, memory, and the way through the layers.
 */
#include "model/network/network.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

const char *const phase_names[PHASES] = {
    "weights to spectrum", "conv1 + DFT",       "PrimaryCaps",       "inverse DFT + squash",
    "routing",             "decoder",           "decoder back",      "routing back",
    "gradient DFT",        "PrimaryCaps back",  "kernel gradients",  "conv1 back",
    "Adam",
};

/* ---- Shapes -------------------------------------------------------------- */

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* One limit per field.  They keep every product below far under 2^63 and every
 * allocation within reason; a real network is nowhere near them. */
static const struct {
    const char *name;
    size_t offset, low, high;
} limits[] = {
#define FIELD(name, low, high) {#name, offsetof(struct capsnet_shape, name), low, high}
    FIELD(height, 9, 512),
    FIELD(width, 9, 512),
    FIELD(channels, 1, 4),
    FIELD(classes, 2, 256),
    FIELD(conv1_kernel, 1, 31),
    FIELD(conv1_channels, 1, 1024),
    FIELD(primary_kernel, 1, 10),
    FIELD(primary_stride, 2, 2),
    FIELD(primary_types, 1, 256),
    FIELD(primary_dims, 1, 64),
    FIELD(pose_dims, 1, 64),
    FIELD(routing_iterations, 1, 10),
    FIELD(decoder_hidden[0], 1, 8192),
    FIELD(decoder_hidden[1], 1, 8192),
#undef FIELD
};

static enum capsnet_status check_shape(const struct capsnet_shape *shape,
                                       struct capsnet_error *error)
{
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        size_t value;
        memcpy(&value, (const char *)shape + limits[i].offset, sizeof value);
        if (value < limits[i].low || value > limits[i].high) {
            snprintf(error->text, sizeof error->text, "%s is %zu, but must be %zu to %zu",
                     limits[i].name, value, limits[i].low, limits[i].high);
            return CAPSNET_ERR_SHAPE;
        }
    }
    size_t side = shape->height < shape->width ? shape->height : shape->width;
    if (side < shape->conv1_kernel + shape->primary_kernel - 1) {
        snprintf(error->text, sizeof error->text,
                 "images of %zu x %zu pixels are too small for kernels of %zu and %zu",
                 shape->height, shape->width, shape->conv1_kernel, shape->primary_kernel);
        return CAPSNET_ERR_SHAPE;
    }
    return CAPSNET_OK;
}

/* Reserves floats of the flat array, at a multiple of 16. */
static size_t reserve(struct layout *at, size_t floats)
{
    size_t offset = at->total;
    at->total += round_up(floats, KERNEL_PAD);
    return offset;
}

enum capsnet_status layout_of(struct layout *at, const struct capsnet_shape *shape,
                              struct capsnet_error *error)
{
    enum capsnet_status status = check_shape(shape, error);
    if (status != CAPSNET_OK)
        return status;
    memset(at, 0, sizeof *at);
    at->pixels = shape->height * shape->width * shape->channels;
    at->pixels_row = round_up(at->pixels, KERNEL_PAD);
    at->conv1_taps = shape->conv1_kernel * shape->conv1_kernel * shape->channels;
    at->conv1_h = shape->height - shape->conv1_kernel + 1;
    at->conv1_w = shape->width - shape->conv1_kernel + 1;
    at->conv1_row = round_up(shape->conv1_channels, KERNEL_PAD);
    at->conv1_size = at->conv1_h * at->conv1_w * at->conv1_row;
    at->primary_h = (at->conv1_h - shape->primary_kernel) / shape->primary_stride + 1;
    at->primary_w = (at->conv1_w - shape->primary_kernel) / shape->primary_stride + 1;
    at->positions = at->primary_h * at->primary_w;
    at->primary_channels = shape->primary_types * shape->primary_dims;
    at->primary_row = round_up(at->primary_channels, KERNEL_PANEL);
    at->capsules = shape->primary_types * at->positions;
    at->groups = (at->capsules + KERNEL_LANES - 1) / KERNEL_LANES;
    at->conv1_words = (shape->conv1_kernel * shape->channels + 1) / 2;
    at->outputs = shape->classes * shape->pose_dims;
    at->outputs_row = round_up(at->outputs, KERNEL_PAD);
    at->tiles_y = (at->primary_h + 5) / 6;
    at->tiles_x = (at->primary_w + 5) / 6;
    at->tiles = at->tiles_y * at->tiles_x;
    at->spectral_k = 4 * at->conv1_row;

    const size_t widths[4] = {at->outputs, shape->decoder_hidden[0], shape->decoder_hidden[1],
                              at->pixels};
    at->conv1_weight = reserve(at, at->conv1_taps * at->conv1_row);
    at->conv1_bias = reserve(at, at->conv1_row);
    at->primary_weight = reserve(
        at, shape->primary_kernel * shape->primary_kernel * at->conv1_row * at->primary_row);
    at->primary_bias = reserve(at, at->primary_row);
    at->digit_weight = reserve(at, at->capsules * at->outputs * shape->primary_dims);
    for (size_t l = 0; l < 3; l++) {
        at->in[l] = widths[l];
        at->out[l] = widths[l + 1];
        at->in_row[l] = round_up(at->in[l], KERNEL_PAD);
        at->out_row[l] = round_up(at->out[l], KERNEL_PAD);
        at->decoder_weight[l] = reserve(at, at->in_row[l] * at->out_row[l]);
        at->decoder_bias[l] = reserve(at, at->out_row[l]);
    }
    if (at->total > (size_t)1 << 28) {
        snprintf(error->text, sizeof error->text,
                 "the network has more than 268 million parameters");
        return CAPSNET_ERR_SHAPE;
    }
    return CAPSNET_OK;
}

/* ---- Memory -------------------------------------------------------------- */

void *huge_alloc(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    /* The spectral planes are walked with strides of a megabyte: with 4 kB
     * pages nearly every access would miss the TLB.  Only a hint. */
    (void)madvise(p, bytes, MADV_HUGEPAGE);
    return p;
}

void huge_free(void *memory, size_t bytes)
{
    if (memory)
        munmap(memory, bytes);
}

size_t huge_release(void *part, size_t bytes)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)part;
    const uintptr_t first = (at + page - 1) / page * page, end = (at + bytes) / page * page;
    if (end <= first || madvise((char *)part + (first - at), end - first, MADV_DONTNEED) != 0)
        return 0;
    return end - first;
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
    const size_t x = SPECTRUM3_PLANES * n * at->tiles * (at->spectral_k + KERNEL_PAD);
    ws->x_planes = carve(arena, ws->model->packed.spectrum ? (x + 1) / 2 : x);
    ws->y_planes = carve(arena, SPECTRUM2_PLANES * n * at->tiles * (at->primary_row + KERNEL_PAD));
}

/* What the direct plan and inference's routing and decoder need. */
static void carve_inference(struct capsnet_workspace *ws, struct arena *arena, size_t n)
{
    const struct layout *at = &ws->model->at;
    const int is_int8 = ws->model->precision == PRECISION_INT8;
    ws->wave = carve(arena, DIRECT_WAVE * at->conv1_size);
    if (is_int8) {
        ws->wave_u8 = (uint8_t *)carve(arena, DIRECT_WAVE * at->conv1_size / 4);
        ws->largest = carve(arena, DIRECT_WAVE * direct_bands(at));
    }
    ws->v = carve(arena, n * at->outputs);
    for (size_t l = 0; l < 3 && ws->model->packed.has_bf16_layers; l++)
        ws->decoder16[l] = (uint16_t *)carve(arena, n * at->in_row[l] / 2);
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
    ws->conv1 = carve(arena, n * at->conv1_size);
    ws->raw = carve(arena, capsules);
    ws->du = carve(arena, capsules);
    ws->ds = carve(arena, routed);
    ws->dv = carve(arena, routed);
    ws->coef = carve(arena, g * at->capsules * 2 * (shape->routing_iterations - 1) *
                                shape->classes * lanes);
    ws->uniform = carve(arena, shape->classes * lanes);
    ws->dy_planes = carve(arena, SPECTRUM4_PLANES * rows * (at->primary_row + KERNEL_PAD));
    ws->dw_planes = carve(arena, SPECTRUM2_PLANES * ws->model->spectrum_plane);
    ws->ddecoder[0] = carve(arena, n * at->in_row[0]);
    for (size_t l = 0; l < 3; l++)
        ws->ddecoder[l + 1] = carve(arena, n * at->out_row[l]);
    ws->conv1_partial = carve(arena, CONV1_CHUNKS * (at->conv1_taps + 1) * at->conv1_row);
}

static void carve_scratch(struct capsnet_workspace *ws, struct arena *arena, struct scratch *s)
{
    const struct layout *at = &ws->model->at;
    const size_t outputs = round_up(at->outputs, KERNEL_LANES);
    size_t longest = at->primary_row;
    for (size_t l = 0; l < 3; l++)
        if (at->out_row[l] > longest)
            longest = at->out_row[l];
    const size_t patches = at->conv1_h * at->conv1_w * conv1_patch_row(at);
    const size_t image = at->pixels + 2 * KERNEL_PAD;
    s->patches = carve(arena, patches > image ? patches : image);
    s->conv1 = carve(arena, at->conv1_size);
    if (ws->training) {
        s->u_hat = carve(arena, at->outputs * KERNEL_LANES);
        s->transposed = carve(arena, 3 * longest * KERNEL_PANEL);
        s->du_hat = carve(arena, ws->max_groups * at->outputs * KERNEL_LANES);
        return;
    }
    s->image = (uint16_t *)carve(arena, image / 2 + 1);
    s->u = carve(arena, 2 * at->groups * ws->model->shape.primary_dims * KERNEL_LANES);
    s->u_hat = carve(arena, 2 * at->groups * at->outputs * KERNEL_LANES);
    s->sums = carve(arena, 2 * outputs * KERNEL_LANES);
    s->s = carve(arena, 2 * outputs);
    s->vsum = carve(arena, 2 * outputs);
}

static void carve_all(struct capsnet_workspace *ws, struct arena *arena, size_t threads)
{
    const struct layout *at = &ws->model->at;
    const size_t n = ws->max_batch;
    if (ws->model->is_spectral)
        carve_spectral(ws, arena, n);
    ws->primary = carve(arena, n * at->positions * at->primary_row);
    ws->decoder[0] = carve(arena, n * at->in_row[0]);
    for (size_t l = 0; l < 3; l++)
        ws->decoder[l + 1] = carve(arena, n * at->out_row[l]);
    if (ws->training)
        carve_training(ws, arena, n, ws->max_groups);
    else
        carve_inference(ws, arena, n);
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

/* ---- The way through ----------------------------------------------------- */

/* Up to this many images the direct convolution is faster than the spectral
 * one, whose products have too few rows there (make bench). */
static const size_t direct_max_batch[PRECISIONS] = {
    [PRECISION_F32] = 2, [PRECISION_BF16] = 2, [PRECISION_INT8] = SIZE_MAX};

enum plan plan_for(const struct capsnet_model *model, size_t n)
{
    return !model->is_spectral || n <= direct_max_batch[model->precision] ? PLAN_DIRECT
                                                                          : PLAN_SPECTRAL;
}

const char *capsnet_model_plan(const struct capsnet_model *model, size_t n)
{
    return plan_for(model, n) == PLAN_DIRECT ? "direct" : "spectral";
}

void forward_by_plan(struct capsnet_workspace *ws, enum plan plan, size_t n, const float *images,
                     float *lengths, float *poses)
{
    if (plan == PLAN_DIRECT)
        primary_direct(ws, n, images);
    else
        primary_spectral(ws, n, images);
    digit_forward(ws, n);
    digit_read(ws, n, lengths, poses);
}

void capsnet_forward(struct capsnet_workspace *ws, size_t n, const float *images, float *lengths,
                     float *poses)
{
    /* The backward pass is spectral. */
    forward_by_plan(ws, ws->training ? PLAN_SPECTRAL : plan_for(ws->model, n), n, images, lengths,
                    poses);
}

void capsnet_decode(struct capsnet_workspace *ws, size_t n, const float *poses,
                    const size_t *classes, float *images)
{
    const struct layout *at = &ws->model->at;
    for (size_t i = 0; i < n; i++)
        decoder_input(ws, i, classes[i], poses + i * ws->model->shape.pose_dims);
    decoder_forward(ws, n);
    for (size_t i = 0; i < n; i++)
        memcpy(images + i * at->pixels, ws->decoder[3] + i * at->pixels_row,
               at->pixels * sizeof *images);
}

size_t capsnet_winner(const struct capsnet_shape *shape, const float *lengths)
{
    size_t best = 0;
    for (size_t j = 1; j < shape->classes; j++)
        if (lengths[j] > lengths[best])
            best = j;
    return best;
}

float capsnet_pixel_error(const struct capsnet_shape *shape, const float *a, const float *b)
{
    size_t pixels = shape->height * shape->width * shape->channels;
    double sum = 0;
    for (size_t i = 0; i < pixels; i++) {
        double d = (double)a[i] - (double)b[i];
        sum += d * d;
    }
    return (float)(sum / (double)pixels);
}

float capsnet_ink(const struct capsnet_shape *shape, const float *image)
{
    size_t pixels = shape->height * shape->width * shape->channels;
    double sum = 0;
    for (size_t i = 0; i < pixels; i++)
        sum += (double)image[i] * (double)image[i];
    return (float)(sum / (double)pixels);
}

int capsnet_is_known(const struct capsnet_known *known, float error, float length, float ink)
{
    const float allowed =
        known->error_threshold * powf(ink / known->typical_ink, known->ink_power);
    return error <= allowed && length >= known->length_threshold && error < ink;
}
