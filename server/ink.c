/*
 * ink.c - from brightness to ink: what is paper, under whatever light, and how
 * far does each pixel stand out from it?
 *
 * The paper is found in two steps on a coarse grid of cell means.  A smooth
 * surface through the border says on which side of the paper the ink is; then
 * a morphological opening along that side follows shadows that no smooth
 * surface does, and steps over everything narrower than half the picture: the
 * strokes.
 */
#include "ink.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MIN_CONTRAST = 16, /* of 255: less is paper and noise; pale pencil has about 40 */
    WORK_PIXELS = 1 << 20, /* of 4,096 x 4,096, four pixels make one: pens are wider */
    GRID = 32,         /* cells along either side, or the pixels there are */
    TERMS = 6,         /* of the surface: 1, x, y, xx, xy, yy */
    ROUNDS = 5,        /* of weighing outliers down: enough to settle */
};

/* ---- Histograms --------------------------------------------------------------- */

uint8_t levels_quantile(const size_t histogram[LEVELS], double fraction)
{
    size_t total = 0, below = 0;
    for (size_t i = 0; i < LEVELS; i++)
        total += histogram[i];
    for (size_t i = 0; i < LEVELS; i++) {
        below += histogram[i];
        if (below > 0 && (double)below >= fraction * (double)total)
            return (uint8_t)i;
    }
    return 0;
}

/* The level that splits the values into two groups, up to it and above it,
 * with the greatest variance between them. */
uint8_t levels_otsu(const size_t histogram[LEVELS])
{
    double total = 0, sum = 0, below = 0, sum_below = 0, best = -1;
    size_t threshold = 0;

    for (size_t i = 0; i < LEVELS; i++) {
        total += (double)histogram[i];
        sum += (double)i * (double)histogram[i];
    }
    for (size_t i = 0; i + 1 < LEVELS; i++) {
        below += (double)histogram[i];
        sum_below += (double)i * (double)histogram[i];
        const double above = total - below;
        if (below <= 0 || above <= 0)
            continue;
        const double distance = sum_below / below - (sum - sum_below) / above;
        if (below * above * distance * distance > best) {
            best = below * above * distance * distance;
            threshold = i;
        }
    }
    return (uint8_t)threshold;
}

/* ---- Smaller -------------------------------------------------------------------- */

/* The mean of the picture's pixels in a rectangle, cut off at its edges. */
static float mean_of(const uint8_t *pixels, size_t width, size_t height, size_t x0, size_t y0,
                     size_t wide, size_t high)
{
    const size_t x1 = x0 + wide < width ? x0 + wide : width;
    const size_t y1 = y0 + high < height ? y0 + high : height;
    size_t sum = 0;
    for (size_t y = y0; y < y1; y++)
        for (size_t x = x0; x < x1; x++)
            sum += pixels[y * width + x];
    return (float)sum / (float)((x1 - x0) * (y1 - y0));
}

/* Copies the luma, reduced when it is large. */
static enum image_status reduce(struct ink *ink, const uint8_t *luma, size_t width, size_t height)
{
    size_t f = 1;

    while (width * height > WORK_PIXELS * f * f)
        f++;
    *ink = (struct ink){.factor = f, .width = (width + f - 1) / f, .height = (height + f - 1) / f};
    ink->pixels = malloc(ink->width * ink->height);
    if (!ink->pixels)
        return IMAGE_MEMORY;
    if (f == 1) {
        memcpy(ink->pixels, luma, width * height);
        return IMAGE_OK;
    }
    for (size_t y = 0; y < ink->height; y++)
        for (size_t x = 0; x < ink->width; x++)
            ink->pixels[y * ink->width + x] =
                (uint8_t)(mean_of(luma, width, height, x * f, y * f, f, f) + 0.5f);
    return IMAGE_OK;
}

/* ---- The paper -------------------------------------------------------------------- */

/* Cell means and, later, the paper below them.  All: [down][across]. */
struct grid {
    size_t wide, high; /* a cell's pixels along x and y */
    size_t across, down;
    float mean[GRID * GRID], paper[GRID * GRID];
};

static void make_grid(struct grid *grid, const struct ink *ink)
{
    grid->wide = (ink->width + GRID - 1) / GRID;
    grid->high = (ink->height + GRID - 1) / GRID;
    grid->across = (ink->width + grid->wide - 1) / grid->wide;
    grid->down = (ink->height + grid->high - 1) / grid->high;
    for (size_t i = 0; i < grid->across * grid->down; i++)
        grid->mean[i] = mean_of(ink->pixels, ink->width, ink->height, i % grid->across * grid->wide,
                                i / grid->across * grid->high, grid->wide, grid->high);
}

static int is_border(const struct grid *grid, size_t i)
{
    const size_t x = i % grid->across, y = i / grid->across;
    return x == 0 || y == 0 || x == grid->across - 1 || y == grid->down - 1;
}

/* The surface's terms at cell i, x and y from -1 to 1. */
static void terms_at(double terms[TERMS], const struct grid *grid, size_t i)
{
    const double x = (2.0 * (double)(i % grid->across) + 1) / (double)grid->across - 1;
    const double y = (2.0 * (double)(i / grid->across) + 1) / (double)grid->down - 1;
    memcpy(terms, (double[]){1, x, y, x * x, x * y, y * y}, TERMS * sizeof *terms);
}

/* Solves a symmetric positive definite system in place; b becomes the answer. */
static void solve(double a[TERMS][TERMS], double b[TERMS])
{
    for (int k = 0; k < TERMS; k++)
        for (int i = k + 1; i < TERMS; i++) {
            const double part = a[i][k] / a[k][k];
            for (int j = k; j < TERMS; j++)
                a[i][j] -= part * a[k][j];
            b[i] -= part * b[k];
        }
    for (int i = TERMS - 1; i >= 0; i--) {
        for (int j = i + 1; j < TERMS; j++)
            b[i] -= a[i][j] * b[j];
        b[i] /= a[i][i];
    }
}

static uint8_t level_of(double value)
{
    return value < 0 ? 0 : value > LEVELS - 1 ? LEVELS - 1 : (uint8_t)lrint(value);
}

/* Fits a quadratic surface to the border's cells by least squares, weighing
 * down what strays (a digit that touches the border), and puts it into
 * grid->paper.  Begins at the border's median.  The ridge keeps the curvature
 * small where the border says nothing of it. */
static void fit_surface(struct grid *grid)
{
    const size_t n = grid->across * grid->down;
    size_t histogram[LEVELS] = {0};

    for (size_t i = 0; i < n; i++)
        if (is_border(grid, i))
            histogram[level_of((double)grid->mean[i])]++;
    const uint8_t median = levels_quantile(histogram, 0.5);
    for (size_t i = 0; i < n; i++)
        grid->paper[i] = (float)median;

    for (int round = 0; round < ROUNDS; round++) {
        double a[TERMS][TERMS] = {{0}}, b[TERMS] = {0}, terms[TERMS];
        memset(histogram, 0, sizeof histogram);
        for (size_t i = 0; i < n; i++)
            if (is_border(grid, i))
                histogram[level_of(fabs((double)(grid->mean[i] - grid->paper[i])))]++;
        const double usual = fmax(4, 1.5 * levels_quantile(histogram, 0.5));
        for (size_t i = 0; i < n; i++) {
            if (!is_border(grid, i))
                continue;
            const double off = (double)(grid->mean[i] - grid->paper[i]) / usual;
            const double weight = 1 / ((1 + off * off) * (1 + off * off));
            terms_at(terms, grid, i);
            for (int j = 0; j < TERMS; j++) {
                for (int k = 0; k < TERMS; k++)
                    a[j][k] += weight * terms[j] * terms[k];
                b[j] += weight * terms[j] * (double)grid->mean[i];
            }
        }
        for (int j = 0; j < TERMS; j++)
            a[j][j] += 1e-6 + (j > 0 ? 0.02 : 0) * a[0][0];
        solve(a, b);
        for (size_t i = 0; i < n; i++) {
            double value = 0;
            if (round + 1 < ROUNDS && !is_border(grid, i))
                continue;
            terms_at(terms, grid, i);
            for (int j = 0; j < TERMS; j++)
                value += b[j] * terms[j];
            grid->paper[i] = (float)fmax(0, fmin(255, value));
        }
    }
}

/* The least (sign 1) or greatest (sign -1) of n values, step apart, within
 * `reach` of each; cut off at the ends. */
static void erode_line(float *values, size_t n, size_t step, size_t reach, float sign)
{
    float copy[GRID];
    for (size_t i = 0; i < n; i++)
        copy[i] = sign * values[i * step];
    for (size_t i = 0; i < n; i++) {
        const size_t from = i > reach ? i - reach : 0;
        const size_t to = i + reach < n ? i + reach : n - 1;
        float least = copy[from];
        for (size_t k = from + 1; k <= to; k++)
            least = copy[k] < least ? copy[k] : least;
        values[i * step] = sign * least;
    }
}

/* Raises the paper from the surface to where the cells really lie, over areas
 * wider than half the picture's longer side.  In ink's direction: an opening
 * takes away peaks, which are ink, and keeps plateaus, which are shadows. */
static void follow_shadows(struct grid *grid, int is_dark)
{
    const size_t n = grid->across * grid->down;
    const size_t w = grid->across * grid->wide, h = grid->down * grid->high;
    const size_t reach = (w > h ? w : h) / 4; /* pixels */
    const float sign = is_dark ? -1 : 1;
    float rest[GRID * GRID];

    for (size_t i = 0; i < n; i++)
        rest[i] = sign * (grid->mean[i] - grid->paper[i]);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t y = 0; y < grid->down; y++)
            erode_line(rest + y * grid->across, grid->across, 1, reach / grid->wide, pass ? -1 : 1);
        for (size_t x = 0; x < grid->across; x++)
            erode_line(rest + x, grid->down, grid->across, reach / grid->high, pass ? -1 : 1);
    }
    for (size_t i = 0; i < n; i++)
        grid->paper[i] += sign * rest[i];
}

/* One row of the paper, pixel by pixel, linear between the cells' middles. */
static void paper_row(float *row, const struct grid *grid, size_t width, size_t y)
{
    const float per_cell = 1 / (float)grid->wide;
    const float middle = ((float)y + 0.5f) / (float)grid->high - 0.5f;
    const float at_y = fmaxf(0, fminf(middle, (float)(grid->down - 1)));
    const size_t y0 = (size_t)at_y, y1 = y0 + 1 < grid->down ? y0 + 1 : y0;
    const float part_y = at_y - (float)y0;
    float cells[GRID + 2]; /* this row's, with the end cells repeated */

    for (size_t x = 0; x < grid->across; x++) {
        const float above = grid->paper[y0 * grid->across + x];
        cells[x + 1] = above + part_y * (grid->paper[y1 * grid->across + x] - above);
    }
    cells[0] = cells[1];
    cells[grid->across + 1] = cells[grid->across];
    for (size_t x = 0; x < width; x++) {
        const float at = ((float)x + 0.5f) * per_cell + 0.5f;
        const int cell = (int)at;
        row[x] = cells[cell] + (at - (float)cell) * (cells[cell + 1] - cells[cell]);
    }
}

/* Is the ink darker than the paper?  The ink is on the side of the surface
 * where pixels stray further.  Squares, so that a little of strong ink
 * outweighs much of weak shading.  row: [ink->width], for scratch. */
static int ink_is_dark(const struct ink *ink, const struct grid *grid, float *row)
{
    double dark = 0, light = 0;
    for (size_t y = 0; y < ink->height; y++) {
        float dark_row = 0, light_row = 0;
        paper_row(row, grid, ink->width, y);
        for (size_t x = 0; x < ink->width; x++) {
            const float off = (float)ink->pixels[y * ink->width + x] - row[x];
            const float darker = off < 0 ? off : 0, lighter = off < 0 ? 0 : off;
            dark_row += darker * darker;
            light_row += lighter * lighter;
        }
        dark += (double)dark_row;
        light += (double)light_row;
    }
    return dark > light;
}

/* ---- The ink ------------------------------------------------------------------------ */

/* Replaces brightness by its distance from the paper, in ink's direction.
 * Under dim light dark ink differs less from the paper, in proportion: that is
 * made good, up to twice. */
static void subtract_paper(struct ink *ink, const struct grid *grid, float *row)
{
    for (size_t y = 0; y < ink->height; y++) {
        uint8_t *pixels = ink->pixels + y * ink->width;
        paper_row(row, grid, ink->width, y);
        for (size_t x = 0; x < ink->width; x++) {
            const float off = (float)pixels[x] - row[x];
            const float gain = row[x] < 128 ? 2 : 255 / row[x];
            const float value = ink->is_dark ? -off * gain : off;
            pixels[x] = value > 254.5f ? 255 : value > 0 ? (uint8_t)(value + 0.5f) : 0;
        }
    }
}

static void count_border(size_t histogram[LEVELS], const struct ink *ink)
{
    memset(histogram, 0, LEVELS * sizeof *histogram);
    for (size_t y = 0; y < ink->height; y++) {
        const size_t step =
            y == 0 || y == ink->height - 1 || ink->width == 1 ? 1 : ink->width - 1;
        for (size_t x = 0; x < ink->width; x += step)
            histogram[ink->pixels[y * ink->width + x]]++;
    }
}

/* Takes the paper's noise off, finds peak and threshold, clips at the peak.
 * Returns 0 when nothing stands out: a blank picture. */
static int set_levels(struct ink *ink)
{
    size_t border[LEVELS], histogram[LEVELS] = {0};
    const size_t n = ink->width * ink->height;
    size_t n_paper = 0; /* counted aside: one bin for nearly all is slow */

    /* Half the noise is on the other side of the paper and reads 0: of the
     * rest, three medians are two standard deviations of normal noise.
     * Bounded, lest pale ink on uneven paper pass for noise. */
    count_border(border, ink);
    const int noise = 3 * levels_quantile(border, 0.75);
    ink->floor = (uint8_t)(noise < 2 * MIN_CONTRAST ? noise : 2 * MIN_CONTRAST);
    for (size_t i = 0; i < n; i++) {
        const uint8_t value = ink->pixels[i];
        ink->pixels[i] = value > ink->floor ? (uint8_t)(value - ink->floor) : 0;
        if (value > ink->floor)
            histogram[value - ink->floor]++;
        else
            n_paper++;
    }
    histogram[0] = n_paper;
    ink->threshold = levels_otsu(histogram);
    for (size_t i = 0; i <= ink->threshold; i++)
        histogram[i] = 0;
    ink->peak = levels_quantile(histogram, 0.95);
    for (size_t i = 0; i < n; i++)
        ink->pixels[i] = ink->pixels[i] < ink->peak ? ink->pixels[i] : ink->peak;
    return ink->peak >= MIN_CONTRAST;
}

enum image_status ink_extract(struct ink *ink, const uint8_t *luma, size_t width, size_t height)
{
    struct grid *grid = malloc(sizeof *grid);
    float *row = malloc(width * sizeof *row);
    enum image_status status = grid && row ? reduce(ink, luma, width, height) : IMAGE_MEMORY;

    if (status == IMAGE_OK) {
        make_grid(grid, ink);
        fit_surface(grid);
        ink->is_dark = ink_is_dark(ink, grid, row);
        follow_shadows(grid, ink->is_dark);
        subtract_paper(ink, grid, row);
        if (!set_levels(ink)) {
            free(ink->pixels);
            ink->pixels = NULL;
        }
    }
    free(row);
    free(grid);
    return status;
}
