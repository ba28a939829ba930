/*
 * cuts.c - see cuts.h.
 *
 * The blot is reduced to cells.  For places along it, a little apart, the
 * cheapest way from the topmost row to the lowest is found by dynamic programming:
 * each step goes down, straight or one cell aside, and costs the ink that it crosses, and
 * more where it comes from paper: between two digits there is one place to cut, through a
 * ring there are two.  The cheapest of all ways are the cuts.
 */
#include "server/split/cuts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CELLS = 32 }; /* to the usual height */

#define REACH 9      /* cells that a cut may stray from its place to either side */
#define STEP 2       /* cells from place to place */
#define APART 2      /* cells between two cuts, at least */
#define PAPER 0.01f  /* what a cell of paper costs, one of ink costing 1 */
#define ENTER 8.0f   /* what it costs to begin to cut a stroke, or a place where two touch */
#define ASIDE 0.03f  /* what a step aside costs */
#define STRAY 0.03f  /* what a cell off the place costs */
#define MOST_COST 10.0 /* strokes' widths */
#define MARGIN 0.15  /* of the usual height: no cut so near to a side */

/* The ink of one blot: cells [height][width], 0 to 1. */
struct cells {
    size_t width, height;
    double size; /* pixels */
    float *ink;
    float *left; /* [height][width + 1]: the ink before a cell in its row */
    double stroke; /* width, in cells */
};

static enum image_status make_cells(struct cells *cells, const struct blots *blots,
                                    const struct ink *ink, size_t i, double height)
{
    const struct box *box = &blots->list[i].box;
    const double rows = (double)(box->y1 - box->y0);
    cells->size = fmax(1, fmax(height / CELLS, rows / CUT_ROWS));
    cells->width = (size_t)((double)(box->x1 - box->x0 - 1) / cells->size) + 1;
    cells->height = (size_t)((rows - 1) / cells->size) + 1;
    cells->ink = calloc(cells->width * cells->height, sizeof *cells->ink);
    cells->left = calloc((cells->width + 1) * cells->height, sizeof *cells->left);
    if (!cells->ink || !cells->left)
        return IMAGE_MEMORY;
    const float full = (float)(1 / (cells->size * cells->size * ink->peak));
    for (size_t y = box->y0; y < box->y1; y++) {
        float *row = cells->ink + (size_t)((double)(y - box->y0) / cells->size) * cells->width;
        for (size_t x = box->x0; x < box->x1; x++)
            if (blots->label[y * ink->width + x] == i + 1)
                row[(size_t)((double)(x - box->x0) / cells->size)] +=
                    full * ink->pixels[y * ink->width + x];
    }
    return IMAGE_OK;
}

/* Sums to the left, and the strokes' width: twice their area by their outline, which as
 * steps between cells is 4 / pi too long. */
static void measure_cells(struct cells *cells)
{
    const size_t w = cells->width, h = cells->height;
    double area = 0;
    size_t outline = 0;
    for (size_t y = 0; y < h; y++) {
        float sum = 0;
        for (size_t x = 0; x <= w; x++) {
            const int is_ink = x < w && cells->ink[y * w + x] > 0.5f;
            outline += is_ink != (x > 0 && cells->ink[y * w + x - 1] > 0.5f);
            outline += x < w && is_ink != (y > 0 && cells->ink[(y - 1) * w + x] > 0.5f);
            outline += is_ink && y + 1 == h;
            area += is_ink;
            cells->left[y * (w + 1) + x] = sum;
            sum += x < w ? cells->ink[y * w + x] : 0;
        }
    }
    cells->stroke = outline > 0 ? fmax(1, 2 * area / (0.785398 * (double)outline)) : 1;
}

/* What it costs to go down into cell (x, y) from column x - aside. */
static float price(const struct cells *cells, size_t x, size_t y, int aside)
{
    const size_t w = cells->width, from = x - (size_t)aside;
    const float ink = cells->ink[y * w + x];
    const int enters =
        ink > 0.5f && (y == 0 || from >= w || cells->ink[(y - 1) * w + from] <= 0.5f);
    return ink + PAPER + (enters ? ENTER : 0) + (aside ? ASIDE : 0);
}

/* The cheapest way near x0, through rows of cells. */
static void find_way(struct cut *cut, const struct cells *cells, size_t x0)
{
    enum { SPAN = 2 * REACH + 1 };
    static const float NEVER = 1e9f;
    const size_t w = cells->width, h = cells->height;
    float cost[SPAN] = {0}, next[SPAN];
    int8_t from[CUT_ROWS][SPAN];
    for (size_t y = 0; y < h; y++) {
        for (int k = 0; k < SPAN; k++) {
            const size_t x = x0 + (size_t)k - REACH; /* wraps around left of 0 */
            next[k] = NEVER;
            from[y][k] = 0;
            for (int aside = -1; aside <= 1 && x < w; aside++) {
                if (k - aside < 0 || k - aside >= SPAN)
                    continue;
                const float sum = cost[k - aside] + price(cells, x, y, aside);
                if (sum < next[k]) {
                    next[k] = sum;
                    from[y][k] = (int8_t)-aside;
                }
            }
            next[k] += STRAY * (float)abs(k - REACH);
        }
        memcpy(cost, next, sizeof cost);
    }
    int k = 0;
    for (int other = 1; other < SPAN; other++)
        k = cost[other] < cost[k] ? other : k;
    double sum = 0, ink = 0;
    for (size_t y = h; y-- > 0;) {
        const size_t x = x0 + (size_t)k - REACH;
        cut->x[y] = (uint16_t)x;
        k += from[y][k];
        sum += (double)x;
        ink += (double)cells->ink[y * w + x];
        if (cells->ink[y * w + x] > 0.5f &&
            (y == 0 || cells->ink[(y - 1) * w + x0 + (size_t)k - REACH] <= 0.5f))
            ink += (double)ENTER;
    }
    cut->cost = ink / cells->stroke;
    cut->mean_x = sum / (double)h;
}

/* Ink left of a cut; left of all: NULL. */
static double ink_left_of(const struct cells *cells, const struct cut *cut)
{
    double sum = 0;
    for (size_t y = 0; cut && y < cells->height; y++)
        sum += (double)cells->left[y * (cells->width + 1) + cut->x[y]];
    return sum;
}

static double all_ink(const struct cells *cells)
{
    double sum = 0;
    for (size_t i = 0; i < cells->width * cells->height; i++)
        sum += (double)cells->ink[i];
    return sum;
}

static int by_cost(const void *a, const void *b)
{
    const double x = ((const struct cut *)a)->cost, y = ((const struct cut *)b)->cost;
    return (x > y) - (x < y);
}

/* Puts a cut among those that were taken, unless it is too near to one or crosses it,
 * or leaves hardly any ink on a side. */
static void take_cut(struct cuts *cuts, const struct cells *cells, const struct cut *cut,
                     double least, double all)
{
    size_t at = 0;
    while (at < cuts->n && cuts->list[at].mean_x < cut->mean_x)
        at++;
    const struct cut *left = at > 0 ? &cuts->list[at - 1] : NULL;
    const struct cut *right = at < cuts->n ? &cuts->list[at] : NULL;
    if ((left && cut->mean_x - left->mean_x < APART) ||
        (right && right->mean_x - cut->mean_x < APART))
        return;
    for (size_t y = 0; y < cells->height; y++)
        if ((left && left->x[y] > cut->x[y]) || (right && right->x[y] < cut->x[y]))
            return;
    const double ink = ink_left_of(cells, cut);
    if (ink - ink_left_of(cells, left) < least ||
        (right ? ink_left_of(cells, right) : all) - ink < least)
        return;
    memmove(&cuts->list[at + 1], &cuts->list[at], (cuts->n - at) * sizeof *cuts->list);
    cuts->list[at] = *cut;
    cuts->n++;
}

enum image_status cuts_find(struct cuts *cuts, const struct blots *blots, const struct ink *ink,
                            size_t i, double height)
{
    struct cells cells = {0};
    struct cut *ways = NULL;
    enum image_status status = make_cells(&cells, blots, ink, i, height);
    cuts->n = 0;
    cuts->cell = cells.size;
    if (status == IMAGE_OK) {
        const size_t margin = (size_t)(MARGIN * height / cells.size);
        const size_t places = cells.width > 2 * margin ? (cells.width - 2 * margin) / STEP + 1 : 0;
        measure_cells(&cells);
        ways = calloc(places + 1, sizeof *ways);
        for (size_t k = 0; ways && k < places; k++)
            find_way(&ways[k], &cells, margin + k * STEP);
        status = ways ? IMAGE_OK : IMAGE_MEMORY;
        if (ways)
            qsort(ways, places, sizeof *ways, by_cost);
        const double least = 0.2 * height / cells.size * cells.stroke, all = all_ink(&cells);
        const double wide = (double)cells.width * cells.size / height;
        const size_t most = (size_t)fmin(MOST_CUTS, 2 + 4 * wide);
        for (size_t k = 0; ways && k < places && cuts->n < most && ways[k].cost <= MOST_COST; k++)
            take_cut(cuts, &cells, &ways[k], least, all);
    }
    free(ways);
    free(cells.ink);
    free(cells.left);
    return status;
}

size_t cuts_left_of(const struct cuts *cuts, const struct box *box, size_t x, size_t y)
{
    const size_t row = (size_t)((double)(y - box->y0) / cuts->cell);
    const size_t column = (size_t)((double)(x - box->x0) / cuts->cell);
    size_t n = 0;
    while (n < cuts->n && cuts->list[n].x[row] <= column)
        n++;
    return n;
}
