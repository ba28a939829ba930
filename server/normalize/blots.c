/*
 * blots.c - which blots of ink are the digit: the main one, and what is near
 * and heavy enough to belong to it.  The rest is dirt, the edge of a shadow, or
 * something else on the paper.
 */
#include <stdlib.h>
#include <string.h>

#include "server/normalize/blots.h"

enum {
    SPECK = 32, /* a blot with less than 1/32 of the main one's ink is dirt */
    FRAME = 12, /* a frame keeps to the outer twelfth of its box on each side */
    RIM = 32,   /* ink above 1/32 of the peak still belongs to the digit's rim */
};

void box_widen(struct box *box, size_t x, size_t y)
{
    box->x0 = x < box->x0 ? x : box->x0;
    box->y0 = y < box->y0 ? y : box->y0;
    box->x1 = x + 1 > box->x1 ? x + 1 : box->x1;
    box->y1 = y + 1 > box->y1 ? y + 1 : box->y1;
}

/* Labels all ink above `low` that hangs together (8 neighbours) with a seed. */
static struct blot fill_blot(struct blots *blots, const struct ink *ink, size_t seed, uint8_t low)
{
    const size_t w = ink->width, h = ink->height;
    struct blot blot = {.box = {w, h, 0, 0}};
    const uint32_t label = (uint32_t)blots->n + 1;
    size_t n = 0;

    blots->label[seed] = label;
    blots->stack[n++] = (uint32_t)seed;
    while (n > 0) {
        const size_t at = blots->stack[--n], x = at % w, y = at / w;
        blot.mass += ink->pixels[at];
        blot.most = ink->pixels[at] > blot.most ? ink->pixels[at] : blot.most;
        blot.count++;
        blot.contact += x == 0 || y == 0 || x == w - 1 || y == h - 1;
        box_widen(&blot.box, x, y);
        for (size_t v = y > 0 ? y - 1 : 0; v <= y + 1 && v < h; v++)
            for (size_t u = x > 0 ? x - 1 : 0; u <= x + 1 && u < w; u++) {
                const size_t next = v * w + u;
                if (ink->pixels[next] <= low || blots->label[next])
                    continue;
                blots->label[next] = label; /* so that each enters the stack once */
                blots->stack[n++] = (uint32_t)next;
            }
    }
    return blot;
}

static enum image_status find_blots(struct blots *blots, const struct ink *ink)
{
    for (size_t i = 0; i < ink->width * ink->height; i++) {
        if (ink->pixels[i] <= blots->low || blots->label[i])
            continue;
        if (blots->n == blots->room) {
            const size_t room = 2 * blots->room + 64;
            struct blot *list = realloc(blots->list, room * sizeof *list);
            if (!list)
                return IMAGE_MEMORY;
            blots->list = list;
            blots->room = room;
        }
        const struct blot blot = fill_blot(blots, ink, i, blots->low);
        blots->list[blots->n++] = blot;
    }
    return IMAGE_OK;
}

static size_t gap(size_t a0, size_t a1, size_t b0, size_t b1)
{
    return a1 < b0 ? b0 - a1 : b1 < a0 ? a0 - b1 : 0;
}

/* Counts each large blot's pixels in the outer FRAME of its box. */
static void count_rims(struct blots *blots, const struct ink *ink)
{
    const size_t w = ink->width, h = ink->height;
    for (size_t i = 0; i < blots->n; i++) {
        struct blot *blot = &blots->list[i];
        const struct box *box = &blot->box;
        const size_t across = box->x1 - box->x0, down = box->y1 - box->y0;
        const size_t rim_x = across / FRAME, rim_y = down / FRAME;
        if (5 * across < 4 * w || 5 * down < 4 * h)
            continue;
        for (size_t y = box->y0; y < box->y1; y++)
            for (size_t x = box->x0; x < box->x1; x++) {
                const int is_inside = x >= box->x0 + rim_x && x < box->x1 - rim_x &&
                                      y >= box->y0 + rim_y && y < box->y1 - rim_y;
                blot->rim += !is_inside && blots->label[y * w + x] == i + 1;
            }
    }
}

/* What lies along the picture's edge, for more than a quarter of its box's
 * outline, is the corner of a shadow, a desk or the like; what keeps to the
 * sides of its box, almost as large as the picture, is a frame: a 0 leaves its
 * box's corners empty. */
static void mark_aliens(struct blots *blots)
{
    for (size_t i = 0; i < blots->n; i++) {
        struct blot *blot = &blots->list[i];
        const struct box *box = &blot->box;
        blot->is_alien = 2 * blot->contact > box->x1 - box->x0 + box->y1 - box->y0 ||
                         20 * blot->rim > 19 * blot->count;
    }
}

/* The main blot is the heaviest, where an alien counts a sixteenth and one at
 * the edge a half. */
static const struct blot *main_blot(const struct blots *blots)
{
    const struct blot *main = blots->list;
    size_t most = 0;
    for (size_t i = 0; i < blots->n; i++) {
        const struct blot *blot = &blots->list[i];
        const size_t mass = blot->mass * (blot->is_alien ? 1 : blot->contact ? 8 : 16);
        if (mass > most) {
            most = mass;
            main = blot;
        }
    }
    return main;
}

/* Keeps what is as strong as ink must be, no speck, not far from the main blot
 * unless a good part of its weight, and no alien when the main blot is none. */
static void choose(struct blots *blots)
{
    const struct blot *main = main_blot(blots);
    const size_t w = main->box.x1 - main->box.x0, h = main->box.y1 - main->box.y0;
    const size_t far = (w > h ? w : h) / 2;

    for (size_t i = 0; i < blots->n; i++) {
        struct blot *blot = &blots->list[i];
        const size_t dx = gap(main->box.x0, main->box.x1, blot->box.x0, blot->box.x1);
        const size_t dy = gap(main->box.y0, main->box.y1, blot->box.y0, blot->box.y1);
        blot->is_kept = blot == main ||
                        (blot->most > blots->high && blot->mass >= main->mass / SPECK &&
                         ((dx <= far && dy <= far) || blot->mass >= main->mass / 4) &&
                         (main->is_alien || !blot->is_alien));
    }
}

/* Adds the soft rim that lies below the limit, step by step outwards: a pixel
 * or two where strokes are antialiased, more in a blurred photograph, never
 * more than a twentieth of the digit.  kept: 1 for kept pixels. */
static void grow_rim(uint8_t *kept, uint32_t *queue, const struct ink *ink, size_t n, size_t steps)
{
    const size_t w = ink->width, h = ink->height;
    const uint8_t limit = ink->peak / RIM;
    size_t from = 0;
    for (size_t step = 0; step < steps; step++) {
        const size_t to = n;
        for (; from < to; from++) {
            const size_t x = queue[from] % w, y = queue[from] / w;
            for (size_t v = y > 0 ? y - 1 : 0; v <= y + 1 && v < h; v++)
                for (size_t u = x > 0 ? x - 1 : 0; u <= x + 1 && u < w; u++) {
                    if (kept[v * w + u] || ink->pixels[v * w + u] <= limit)
                        continue;
                    kept[v * w + u] = 1;
                    queue[n++] = (uint32_t)(v * w + u);
                }
        }
    }
}

static void clear_rest(struct ink *ink, struct blots *blots, uint8_t *kept, struct box *box)
{
    const size_t w = ink->width, count = w * ink->height;
    struct box strong = {w, ink->height, 0, 0};
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        kept[i] = blots->label[i] > 0 && blots->list[blots->label[i] - 1].is_kept;
        if (!kept[i])
            continue;
        blots->stack[n++] = (uint32_t)i;
        box_widen(&strong, i % w, i / w);
    }
    const size_t across = strong.x1 - strong.x0, down = strong.y1 - strong.y0;
    grow_rim(kept, blots->stack, ink, n, 1 + (across > down ? across : down) / 20);
    *box = (struct box){w, ink->height, 0, 0};
    for (size_t i = 0; i < count; i++) {
        if (kept[i])
            box_widen(box, i % w, i / w);
        else
            ink->pixels[i] = 0;
    }
}

enum image_status blots_find(struct blots *blots, const struct ink *ink)
{
    const size_t count = ink->width * ink->height;
    /* A stroke is followed down to a quarter of the peak, where a light hand or
     * one pixel of a thin pen leaves it; half the peak must be reached. */
    *blots = (struct blots){
        .label = calloc(count, sizeof *blots->label),
        .stack = malloc(count * sizeof *blots->stack),
        .low = ink->peak / 4 < ink->threshold ? ink->peak / 4 : ink->threshold,
        .high = ink->threshold > ink->peak / 2 ? ink->threshold : ink->peak / 2,
    };
    if (!blots->label || !blots->stack || find_blots(blots, ink) != IMAGE_OK)
        return IMAGE_MEMORY;
    count_rims(blots, ink);
    mark_aliens(blots);
    return IMAGE_OK;
}

void blots_free(struct blots *blots)
{
    free(blots->list);
    free(blots->label);
    free(blots->stack);
}

enum image_status ink_keep_digit(struct ink *ink, struct box *box)
{
    struct blots blots;
    uint8_t *kept = malloc(ink->width * ink->height);
    enum image_status status = blots_find(&blots, ink);
    if (status == IMAGE_OK && !kept)
        status = IMAGE_MEMORY;
    if (status == IMAGE_OK) {
        choose(&blots);
        clear_rest(ink, &blots, kept, box);
    }
    blots_free(&blots);
    free(kept);
    return status;
}
