/*
 * order_channels.c - which of conv1's channels lie side by side.
 *
 * Of a word of two bf16 or four u8 channels the direct plan leaves out what is zero in all, so
 * those should share a word that are not zero at the same places.  Which those are, drawings
 * show: of 100 words of MNIST's digits 15.3 of four are left, and 9.3 of two, instead of 19.1
 * and 10.6 in the order of reach.
 *
 * What no stroke makes fire comes last, where the spectral plan leaves it out.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/inference/inference.h"
#include "model/layers/layers.h"

/* Rows of conv1's output that are looked at, from each drawing in turn, in so many
 * multiply-adds. */
enum { DRAWINGS = 16 };
static const size_t WORK = (size_t)1 << 28;

enum { PER_WORD = 4, BITS = 64 };

/* Channels that are to lie side by side, and the places where one of them is not zero. */
struct group {
    size_t size, channel[PER_WORD];
    float reach; /* at most, the bias with the sum of positive weights, as pixels are 0 to 1 */
    uint64_t *active;
};

static int by_reach(const void *a, const void *b)
{
    const struct group *x = a, *y = b;
    if (x->reach != y->reach)
        return x->reach > y->reach ? -1 : 1;
    return x->channel[0] < y->channel[0] ? -1 : 1;
}

/* ---- Where channels are not zero ------------------------------------------ */

struct survey {
    const struct capsnet_model *model;
    size_t rows, places, words; /* places: bits of `active`, of a row and of all; in words */
    float *images, *out;        /* [DRAWINGS]; a row [conv1_w][conv1_row] */
    uint64_t *scratch, *active; /* active: [channels][words] */
    struct group *groups, *joined; /* [count] */
    size_t count;
    uint32_t *both; /* [channels][channels]: places where both groups are active */
    float *room;    /* [channels][KERNEL_PANEL] */
};

static void look_at_row(const struct survey *s, const float *image, size_t y)
{
    const struct capsnet_model *model = s->model;
    const struct layout *at = &model->at;
    const size_t row = model->shape.width * model->shape.channels;
    const struct convolution g = {
        .image = image + y * row,
        .row = row,
        .pixel = model->shape.channels,
        .rows = 1,
        .width = at->conv1_w,
        .kernel = model->shape.conv1_kernel,
        .words = model->shape.conv1_kernel * model->shape.channels,
        .n = at->conv1_row,
        .b = (const uint32_t *)(const void *)(model->parameters + at->conv1_weight),
        .b_word = at->conv1_weight_row,
        .b_panel = KERNEL_PANEL,
        .bias = model->parameters + at->conv1_bias,
        .c = s->out,
        .c_stride = at->conv1_row,
        .scratch = s->scratch,
    };
    model->kernels->conv_sparse(&g);
}

/* A place is a column of the kernel for SPARSE_ROWS positions: they share a word of the list. */
static void note_row(const struct survey *s, size_t first)
{
    const struct layout *at = &s->model->at;
    const size_t kernel = s->model->shape.primary_kernel, stride = s->model->shape.primary_stride;
    for (size_t p = 0; p < s->places; p++) {
        const size_t x = p / kernel * SPARSE_ROWS, bit = first + p;
        for (size_t i = x; i < smaller(x + SPARSE_ROWS, at->primary_w); i++) {
            const float *a = s->out + (stride * i + p % kernel) * at->conv1_row;
            for (size_t c = 0; c < s->model->shape.conv1_channels; c++)
                s->active[c * s->words + bit / BITS] |= (uint64_t)(a[c] > 0) << bit % BITS;
        }
    }
}

static void look(const struct survey *s)
{
    const size_t deep = (s->rows + DRAWINGS - 1) / DRAWINGS; /* rows of a drawing */
    draw_rings(&s->model->shape, DRAWINGS, s->images);
    for (size_t i = 0; i < s->rows; i++) {
        const float *image = s->images + i % DRAWINGS * s->model->at.pixels;
        look_at_row(s, image, (2 * (i / DRAWINGS) + 1) * s->model->at.conv1_h / (2 * deep));
        note_row(s, i * s->places);
    }
}

/* ---- Who belongs together -------------------------------------------------- */

static uint32_t places_of_both(const struct group *x, const struct group *y, size_t words)
{
    uint32_t n = 0;
    for (size_t i = 0; i < words; i++)
        n += (uint32_t)__builtin_popcountll(x->active[i] & y->active[i]);
    return n;
}

static struct group joined(const struct group *x, const struct group *y, size_t words)
{
    struct group both = *x;
    memcpy(both.channel + both.size, y->channel, y->size * sizeof *y->channel);
    both.size += y->size;
    for (size_t i = 0; i < words; i++)
        both.active[i] |= y->active[i];
    return both;
}

/* Groups of `size` channels become groups of twice as many: of those that are left the two
 * that have most places in common, and of equal ones the first.  Others stay behind them, as
 * words begin at multiples of their size. */
static void pair_up(struct survey *s, size_t size)
{
    struct group *groups = s->groups;
    const size_t count = s->count;
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t j = i + 1; j < count; j++)
            s->both[i * count + j] = places_of_both(&groups[i], &groups[j], s->words);
    for (;; n++) {
        size_t first = 0, second = 0;
        for (size_t i = 0; i < count; i++)
            for (size_t j = i + 1; groups[i].size == size && j < count; j++)
                if (groups[j].size == size &&
                    (first == second || s->both[i * count + j] > s->both[first * count + second])) {
                    first = i;
                    second = j;
                }
        if (first == second)
            break;
        s->joined[n] = joined(&groups[first], &groups[second], s->words);
        groups[first].size = groups[second].size = 0;
    }
    for (size_t i = 0; i < count; i++)
        if (groups[i].size)
            s->joined[n++] = groups[i];
    memcpy(groups, s->joined, n * sizeof *groups);
    s->count = n;
}

/* ---- The new order --------------------------------------------------------- */

/* Channels of `run` values each, side by side, in the groups' order. */
static void reorder(const struct survey *s, float *values, size_t run)
{
    const size_t n = s->model->shape.conv1_channels;
    float *to = s->room;
    for (const struct group *group = s->groups; to < s->room + n * run; group++)
        for (size_t i = 0; i < group->size; i++, to += run)
            memcpy(to, values + group->channel[i] * run, run * sizeof *to);
    memcpy(values, s->room, n * run * sizeof *values);
}

static void order(struct survey *s, float *parameters)
{
    const struct layout *at = &s->model->at;
    const size_t kernel = s->model->shape.primary_kernel;
    float *weight = parameters + at->conv1_weight, *bias = parameters + at->conv1_bias;
    for (size_t o = 0; o < s->count; o++) {
        s->groups[o] = (struct group){1, {o}, bias[o], s->active + o * s->words};
        for (size_t tap = 0; tap < at->conv1_taps; tap++)
            s->groups[o].reach += fmaxf(0, weight[tap * at->conv1_weight_row + o]);
    }
    qsort(s->groups, s->count, sizeof *s->groups, by_reach);
    look(s);
    for (size_t size = 1; size < PER_WORD; size *= 2)
        pair_up(s, size);
    reorder(s, bias, 1);
    for (size_t tap = 0; tap < at->conv1_taps; tap++)
        reorder(s, weight + tap * at->conv1_weight_row, 1);
    for (size_t i = 0; i < at->primary_row / KERNEL_PANEL * kernel * kernel; i++)
        reorder(s, parameters + at->primary_weight + i * at->conv1_row * KERNEL_PANEL,
                KERNEL_PANEL);
}

enum capsnet_status model_order_channels(struct capsnet_model *model, struct capsnet_error *error)
{
    const struct layout *at = &model->at;
    const struct capsnet_shape *shape = &model->shape;
    const size_t n = shape->conv1_channels, row_work = at->conv1_w * at->conv1_taps * at->conv1_row;
    struct survey s = {.model = model, .count = n};
    s.places = at->strips_x * shape->primary_kernel;
    s.rows = smaller(WORK / row_work + 1, DRAWINGS * at->conv1_h);
    s.words = (s.rows * s.places + BITS - 1) / BITS;
    s.images = calloc(DRAWINGS * at->pixels, sizeof *s.images);
    s.out = calloc(at->conv1_w * at->conv1_row, sizeof *s.out);
    s.scratch = calloc(convolution_scratch(at->pixels, 1, at->conv1_w, shape->conv1_kernel,
                                           shape->conv1_kernel * shape->channels),
                       sizeof *s.scratch);
    s.active = calloc(n * s.words, sizeof *s.active);
    s.groups = calloc(n, sizeof *s.groups);
    s.joined = calloc(n, sizeof *s.joined);
    s.both = calloc(n * n, sizeof *s.both);
    s.room = calloc(n * KERNEL_PANEL, sizeof *s.room);
    const int has_room = s.images && s.out && s.scratch && s.active && s.groups && s.joined &&
                         s.both && s.room;
    if (has_room)
        order(&s, model->parameters);
    free(s.images);
    free(s.out);
    free(s.scratch);
    free(s.active);
    free(s.groups);
    free(s.joined);
    free(s.both);
    free(s.room);
    return has_room ? CAPSNET_OK : model_no_memory(error);
}
