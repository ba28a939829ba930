/*
 * strokes.c - see strokes.h.
 *
 * All is done on a copy of the digit's box, reduced or enlarged by a whole factor
 * to about the same size, whatever the picture's: cells.
 */
#include "server/normalize/strokes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    CELLS = 160, /* along the longer side; at least half as many */
    SMALL = 28,  /* a digit of so few pixels, as MNIST's, is left as it is */
};

/* Strokes get at least and at most this part of the longer side: of MNIST's
 * training digits a tenth have thinner ones, a quarter broader. */
#define LEAST_WIDTH (1.0 / 9)
#define MOST_WIDTH (1.0 / 6)

/* Whole pixels to a cell, or cells to a pixel along a side. */
struct grain {
    size_t reduce, enlarge;
    size_t width, height; /* of the box, in cells */
};

static struct grain grain_of(const struct box *box)
{
    const size_t w = box->x1 - box->x0, h = box->y1 - box->y0, side = w > h ? w : h;
    struct grain grain = {.reduce = (side + CELLS - 1) / CELLS, .enlarge = 1};
    if (side < CELLS)
        grain.enlarge = CELLS / side;
    grain.width = (w * grain.enlarge + grain.reduce - 1) / grain.reduce;
    grain.height = (h * grain.enlarge + grain.reduce - 1) / grain.reduce;
    return grain;
}

static size_t longer_side(const struct grain *grain)
{
    return grain->width > grain->height ? grain->width : grain->height;
}

/* The mean ink of one cell: of its pixels, cut off at the box. */
static uint8_t cell_at(const struct channel *channel, const struct grain *grain, size_t x, size_t y)
{
    const struct box *box = &channel->box;
    const size_t x0 = box->x0 + x * grain->reduce / grain->enlarge;
    const size_t y0 = box->y0 + y * grain->reduce / grain->enlarge;
    const size_t x1 = x0 + grain->reduce < box->x1 ? x0 + grain->reduce : box->x1;
    const size_t y1 = y0 + grain->reduce < box->y1 ? y0 + grain->reduce : box->y1;
    size_t sum = 0;
    for (size_t v = y0; v < y1; v++) {
        const uint8_t *row = channel->pixels + v * channel->width * channel->step;
        for (size_t u = x0; u < x1; u++)
            sum += channel->table[row[u * channel->step]];
    }
    return (uint8_t)(sum / ((x1 - x0) * (y1 - y0)));
}

/* The box in cells, with `margin` cells of paper around. */
static enum image_status copy_box(struct image *cells, const struct channel *channel, size_t margin)
{
    const struct grain grain = grain_of(&channel->box);
    *cells = (struct image){.width = grain.width + 2 * margin, .height = grain.height + 2 * margin,
                            .channels = 1};
    cells->pixels = calloc(cells->width * cells->height, 1);
    if (!cells->pixels)
        return IMAGE_MEMORY;
    for (size_t y = 0; y < grain.height; y++)
        for (size_t x = 0; x < grain.width; x++)
            cells->pixels[(y + margin) * cells->width + x + margin] =
                cell_at(channel, &grain, x, y);
    return IMAGE_OK;
}

/* The width of the strokes: twice their area by their outline.  A cell counts by
 * its ink, where the mean weighed by itself is full: so hairlines have some width
 * though no cell is full, and grain takes nothing off.  The outline runs between
 * cells above and below half of that; as steps it is 4 / pi too long. */
static double width_of(const struct image *cells)
{
    const size_t w = cells->width, h = cells->height;
    double sum = 0, squares = 0;
    size_t outline = 0;

    for (size_t i = 0; i < w * h; i++) {
        sum += cells->pixels[i];
        squares += (double)cells->pixels[i] * cells->pixels[i];
    }
    if (sum <= 0)
        return 0;
    const uint8_t half = (uint8_t)(squares / sum / 2);
    for (size_t y = 0; y <= h; y++)
        for (size_t x = 0; x <= w; x++) {
            const uint8_t *at = cells->pixels + y * w + x;
            const int is_ink = y < h && x < w && *at > half;
            outline += is_ink != (y < h && x > 0 && at[-1] > half);
            outline += is_ink != (x < w && y > 0 && *(at - w) > half);
        }
    return 2 * sum * sum / squares / (0.785398 * (double)outline);
}

/* Gives each cell the most of all that lie within the radius: a dilation by a
 * disc.  Each of its rows reaches k to either side; the fewer, the farther off.
 * spread: [height][width], zero before; row: [width]. */
static void spread_ink(uint8_t *spread, uint8_t *row, const struct image *cells, size_t radius)
{
    const size_t w = cells->width, h = cells->height, limit = radius * radius + radius;
    for (size_t y = 0; y < h; y++) {
        const uint8_t *own = cells->pixels + y * w;
        size_t k = 0;
        memcpy(row, own, w);
        for (size_t off = radius + 1; off-- > 0;) {
            while (off * off + (k + 1) * (k + 1) <= limit) {
                k++;
                for (size_t x = 0; x + k < w; x++) {
                    row[x] = row[x] > own[x + k] ? row[x] : own[x + k];
                    row[x + k] = row[x + k] > own[x] ? row[x + k] : own[x];
                }
            }
            for (int below = 0; below < (off > 0 ? 2 : 1); below++) {
                if (below ? y + off >= h : y < off)
                    continue;
                uint8_t *to = spread + (below ? y + off : y - off) * w;
                for (size_t x = 0; x < w; x++)
                    to[x] = to[x] > row[x] ? to[x] : row[x];
            }
        }
    }
}

static void invert(struct image *cells)
{
    for (size_t i = 0; i < cells->width * cells->height; i++)
        cells->pixels[i] = (uint8_t)(255 - cells->pixels[i]);
}

/* Cuts `margin` cells off all around. */
static void cut(struct image *cells, size_t margin)
{
    const size_t w = cells->width;
    cells->width -= 2 * margin;
    cells->height -= 2 * margin;
    for (size_t y = 0; y < cells->height; y++)
        memmove(cells->pixels + y * cells->width, cells->pixels + (margin + y) * w + margin,
                cells->width);
}

enum image_status strokes_copy(struct image *copy, const struct channel *channel, double change)
{
    const struct grain grain = grain_of(&channel->box);
    const size_t shorter = grain.width < grain.height ? grain.width : grain.height;
    size_t radius = (size_t)lrint(fabs(change) * (double)longer_side(&grain));
    if (change < 0 && 2 * radius >= shorter)
        radius = (shorter - 1) / 2;
    enum image_status status = copy_box(copy, channel, radius);
    if (status != IMAGE_OK)
        return status;
    uint8_t *spread = calloc(copy->width * copy->height, 1), *row = malloc(copy->width);
    if (!spread || !row) {
        free(spread);
        free(row);
        image_free(copy);
        return IMAGE_MEMORY;
    }
    if (change < 0)
        invert(copy); /* paper grows as ink does */
    spread_ink(spread, row, copy, radius);
    free(row);
    free(copy->pixels);
    copy->pixels = spread;
    if (change < 0) {
        invert(copy);
        cut(copy, 2 * radius);
    }
    return IMAGE_OK;
}

static double sum_of(const struct image *cells)
{
    double sum = 0;
    for (size_t i = 0; i < cells->width * cells->height; i++)
        sum += cells->pixels[i];
    return sum;
}

/* Is some of the ink, of that sum, in strokes nearly as broad as they should be at
 * least, which is that part of the longer side?  Then it is the digit, and what else is there a hairline or a frame. */
static int is_partly_broad(const struct channel *channel, double sum, double least)
{
    const struct grain grain = grain_of(&channel->box);
    const size_t shorter = grain.width < grain.height ? grain.width : grain.height;
    struct image core;
    if ((double)shorter < least * (double)longer_side(&grain)) /* one straight line */
        return 0;
    if (strokes_copy(&core, channel, -0.4 * least) != IMAGE_OK)
        return 0;
    const double left = sum_of(&core);
    image_free(&core);
    return left > 0.05 * sum;
}

double strokes_change(const struct channel *channel, double share)
{
    const double least = share * LEAST_WIDTH, most = share * MOST_WIDTH;
    const struct box *box = &channel->box;
    struct image cells;
    if ((box->x1 - box->x0 <= SMALL && box->y1 - box->y0 <= SMALL) ||
        copy_box(&cells, channel, 0) != IMAGE_OK)
        return 0;
    const struct grain grain = grain_of(box);
    const double width = width_of(&cells) / (double)longer_side(&grain), sum = sum_of(&cells);
    image_free(&cells);
    if (width < least && is_partly_broad(channel, sum, least))
        return 0;
    /* The digit grows with its strokes: (width + 2 c) / (1 + 2 c) = wanted. */
    const double wanted = fmin(fmax(width, least), most);
    return (wanted - width) / (2 * (1 - wanted));
}
