/*
 * paper.c - see paper.h.
 *
 * The paper is found in two steps on a coarse grid of cell means.  A smooth
 * surface through the border says on which side of the paper the ink is; then
 * a morphological opening along that side follows shadows that no smooth
 * surface does, and steps over everything narrower than half the picture: the
 * strokes.
 */
#include "server/normalize/paper.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/normalize/levels.h"

enum {
    GRID = 32,  /* cells along either side, or the pixels there are */
    TERMS = 6,  /* of the surface: 1, x, y, xx, xy, yy */
    ROUNDS = 4, /* of weighing outliers down: enough to settle */
};

/* ---- Cells, and a surface through them ------------------------------------------- */

/* Cell means, the means of their surroundings, and the paper below them.  All:
 * [down][across]. */
struct grid {
    size_t wide, high; /* a cell's pixels along x and y */
    size_t across, down;
    double x[GRID], y[GRID]; /* of the cells' middles, from -1 to 1 */
    float mean[GRID * GRID], around[GRID * GRID], smooth[GRID * GRID], paper[GRID * GRID];
    double surface[TERMS]; /* of a quadratic surface through the cells */
    double usual;          /* half as much again as their median distance from it */
};

static void make_grid(struct grid *grid, const struct ink *ink)
{
    grid->wide = (ink->width + GRID - 1) / GRID;
    grid->high = (ink->height + GRID - 1) / GRID;
    grid->across = (ink->width + grid->wide - 1) / grid->wide;
    grid->down = (ink->height + grid->high - 1) / grid->high;
    for (size_t i = 0; i < grid->across; i++)
        grid->x[i] = (2.0 * (double)i + 1) / (double)grid->across - 1;
    for (size_t i = 0; i < grid->down; i++)
        grid->y[i] = (2.0 * (double)i + 1) / (double)grid->down - 1;
    for (size_t i = 0; i < grid->across * grid->down; i++)
        grid->mean[i] = ink_mean(ink->pixels, ink->width, ink->height, i % grid->across * grid->wide,
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
    const double x = grid->x[i % grid->across], y = grid->y[i / grid->across];
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

static double surface_at(const struct grid *grid, const double terms[TERMS])
{
    double value = 0;
    for (int j = 0; j < TERMS; j++)
        value += grid->surface[j] * terms[j];
    return value;
}

static double usual_of(const size_t histogram[LEVELS])
{
    return fmax(4, 1.5 * levels_quantile(histogram, 0.5));
}

/* Draws the surface of least squares anew through the border's cells or every
 * other of all, each weighed by how near it was to the last one: Tukey's
 * biweight.  The ridge keeps the curvature small where the cells say nothing of
 * it. */
static void refit_surface(struct grid *grid, int border_only)
{
    double a[TERMS][TERMS] = {{0}}, b[TERMS] = {0}, terms[TERMS];
    size_t histogram[LEVELS] = {0};

    for (size_t i = 0; i < grid->across * grid->down; i++) {
        if (border_only ? !is_border(grid, i) : (i + i / grid->across) % 2)
            continue;
        terms_at(terms, grid, i);
        const double distance = (double)grid->mean[i] - surface_at(grid, terms);
        histogram[level_of(fabs(distance))]++;
        const double off = distance / grid->usual / 3, near = 1 - off * off, weight = near * near;
        if (near <= 0)
            continue;
        for (int j = 0; j < TERMS; j++) {
            for (int k = j; k < TERMS; k++)
                a[j][k] += weight * terms[j] * terms[k];
            b[j] += weight * terms[j] * (double)grid->mean[i];
        }
    }
    for (int j = 0; j < TERMS; j++) {
        for (int k = 0; k < j; k++)
            a[j][k] = a[k][j];
        a[j][j] += 1e-6 + (j > 0 ? 0.02 : 0) * a[0][0];
    }
    solve(a, b);
    memcpy(grid->surface, b, sizeof b);
    grid->usual = usual_of(histogram);
}

/* Puts the surface into grid->paper after ROUNDS of drawing it. */
static void fit_surface(struct grid *grid, int border_only)
{
    double terms[TERMS];
    for (int round = 0; round < ROUNDS; round++)
        refit_surface(grid, border_only);
    for (size_t i = 0; i < grid->across * grid->down; i++) {
        terms_at(terms, grid, i);
        grid->paper[i] = (float)fmax(0, fmin(255, surface_at(grid, terms)));
    }
}

/* The surface through the border, where seldom is any ink; begins with its
 * median. */
static void fit_border(struct grid *grid)
{
    size_t levels[LEVELS] = {0}, distances[LEVELS] = {0};
    for (size_t i = 0; i < grid->across * grid->down; i++)
        if (is_border(grid, i))
            levels[level_of((double)grid->mean[i])]++;
    const double median = levels_quantile(levels, 0.5);
    for (size_t level = 0; level < LEVELS; level++)
        distances[level_of(fabs((double)level - median))] += levels[level];
    memset(grid->surface, 0, sizeof grid->surface);
    grid->surface[0] = median;
    grid->usual = usual_of(distances);
    fit_surface(grid, 1);
}

/* ---- From the cells to the pixels ------------------------------------------------ */

/* One row of the cells' values, pixel by pixel, linear between their middles. */
static void interpolate_row(float *row, const struct grid *grid, const float *values, size_t width,
                            size_t y)
{
    const float per_cell = 1 / (float)grid->wide;
    const float middle = ((float)y + 0.5f) / (float)grid->high - 0.5f;
    const float at_y = fmaxf(0, fminf(middle, (float)(grid->down - 1)));
    const size_t y0 = (size_t)at_y, y1 = y0 + 1 < grid->down ? y0 + 1 : y0;
    const float part_y = at_y - (float)y0;
    float cells[GRID + 2]; /* this row's, with the end cells repeated */

    for (size_t x = 0; x < grid->across; x++) {
        const float above = values[y0 * grid->across + x];
        cells[x + 1] = above + part_y * (values[y1 * grid->across + x] - above);
    }
    cells[0] = cells[1];
    cells[grid->across + 1] = cells[grid->across];
    /* From the middle before cell c to its own, and at last to the end. */
    for (size_t c = 0, x = 0; c <= grid->across; c++) {
        const size_t middle_x = c * grid->wide + grid->wide / 2;
        const size_t end = middle_x < width ? middle_x : width;
        const float slope = (cells[c + 1] - cells[c]) * per_cell;
        const float start = cells[c] + slope * (0.5f + (float)grid->wide * (0.5f - (float)c));
        for (; x < end; x++)
            row[x] = start + slope * (float)x;
    }
}

/* For what is told by many pixels, every fourth row of a large picture will do. */
static size_t row_step(const struct ink *ink)
{
    return ink->height > 4 * GRID ? 4 : 1;
}

/* ---- On which side the ink is ---------------------------------------------------- */

/* The mean of the cells within `reach` of each of n, step apart, cut off at the
 * ends. */
static void blur_line(float *values, size_t n, size_t step, size_t reach)
{
    float copy[GRID];
    for (size_t i = 0; i < n; i++)
        copy[i] = values[i * step];
    for (size_t i = 0; i < n; i++) {
        const size_t from = i > reach ? i - reach : 0;
        const size_t to = i + reach < n ? i + reach : n - 1;
        float sum = 0;
        for (size_t k = from; k <= to; k++)
            sum += copy[k];
        values[i * step] = sum / (float)(to - from + 1);
    }
}

/* A pixel's weight by its place among n: less in the outer tenth. */
static float rim_weight(size_t at, size_t n)
{
    const size_t rim = n / 10, from = at < n - 1 - at ? at : n - 1 - at;
    return from < rim ? (float)(from + 1) / (float)(rim + 1) : 1;
}

/* The skewness of the pixels' distances from their surroundings' mean.  Ink is
 * what takes up less room: so it strays further than paper does, and has the
 * sign, whatever light falls on both.  The picture's rim, where frames and dark
 * corners are, counts less.  grid->around and the rows [ink->width] are for
 * scratch. */
static double skewness(const struct ink *ink, struct grid *grid, float *row, float *weights)
{
    const size_t reach = GRID / 6;
    double sum = 0, squares = 0, cubes = 0, row_sum = 0;

    memcpy(grid->around, grid->mean, sizeof grid->around);
    for (size_t y = 0; y < grid->down; y++)
        blur_line(grid->around + y * grid->across, grid->across, 1, reach);
    for (size_t x = 0; x < grid->across; x++)
        blur_line(grid->around + x, grid->down, grid->across, reach);
    for (size_t x = 0; x < ink->width; x++) {
        weights[x] = rim_weight(x, ink->width);
        row_sum += (double)weights[x];
    }
    for (size_t y = 0; y < ink->height; y += row_step(ink)) {
        const uint8_t *pixels = ink->pixels + y * ink->width;
        const double weight = (double)rim_weight(y, ink->height);
        float row_squares = 0, row_cubes = 0;
        interpolate_row(row, grid, grid->around, ink->width, y);
        for (size_t x = 0; x < ink->width; x++) {
            const float off = (float)pixels[x] - row[x], square = weights[x] * off * off;
            row_squares += square;
            row_cubes += square * off;
        }
        sum += weight * row_sum;
        squares += weight * (double)row_squares;
        cubes += weight * (double)row_cubes;
    }
    const double variance = fmax(squares / sum, 1e-6);
    return cubes / sum / (variance * sqrt(variance));
}

/* On which side of the surface through the border the cells stray further, -1
 * (all are darker) to 1. */
static double border_side(const struct grid *grid)
{
    double dark = 1e-6, light = 1e-6;
    for (size_t i = 0; i < grid->across * grid->down; i++) {
        const double off = (double)(grid->mean[i] - grid->paper[i]);
        *(off < 0 ? &dark : &light) += off * off;
    }
    return (light - dark) / (light + dark);
}

/* ---- Shadows --------------------------------------------------------------------- */

/* Distance of a pixel from the paper in ink's direction.  Under dim light dark
 * ink differs less from the paper, in proportion: that is made good, up to
 * twice. */
static inline float distance(float pixel, float paper, int is_dark)
{
    const float gain = paper < 128 ? 2 : 255 / paper;
    return is_dark ? (paper - pixel) * gain : pixel - paper;
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
 * wider than twice `reach` pixels.  In ink's direction: an opening takes away
 * peaks, which are ink, and keeps plateaus, which are shadows. */
static void open_paper(struct grid *grid, int is_dark, size_t reach)
{
    const size_t n = grid->across * grid->down;
    const float sign = is_dark ? -1 : 1;

    for (size_t i = 0; i < n; i++)
        grid->around[i] = sign * (grid->mean[i] - grid->smooth[i]);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t y = 0; y < grid->down; y++)
            erode_line(grid->around + y * grid->across, grid->across, 1, reach / grid->wide,
                       pass ? -1 : 1);
        for (size_t x = 0; x < grid->across; x++)
            erode_line(grid->around + x, grid->down, grid->across, reach / grid->high,
                       pass ? -1 : 1);
    }
    for (size_t i = 0; i < n; i++)
        grid->paper[i] = grid->smooth[i] + sign * grid->around[i];
}

/* Counts distances from the paper. */
static void count_distances(size_t histogram[LEVELS], const struct ink *ink,
                            const struct grid *grid, float *row)
{
    memset(histogram, 0, LEVELS * sizeof *histogram);
    for (size_t y = 0; y < ink->height; y += row_step(ink)) {
        const uint8_t *pixels = ink->pixels + y * ink->width;
        interpolate_row(row, grid, grid->paper, ink->width, y);
        for (size_t x = 0; x < ink->width; x++) {
            const float off = distance((float)pixels[x], row[x], ink->is_dark);
            histogram[off > 255 ? 255 : off > 0 ? (uint8_t)off : 0]++;
        }
    }
}

static size_t count_above(const size_t histogram[LEVELS], size_t level)
{
    size_t count = 0;
    for (size_t i = level + 1; i < LEVELS; i++)
        count += histogram[i];
    return count;
}

/* The paper under all strokes: opened as little as leaves them whole, so that
 * it follows the edges of shadows closely.  Strokes are not as wide as half the
 * picture; whether less will do, the strong ink tells that is then left.  Without
 * shadows, which are fainter than ink and larger, there is no need. */
static void follow_shadows(const struct ink *ink, struct grid *grid, float *row)
{
    const size_t side = ink->width > ink->height ? ink->width : ink->height;
    size_t histogram[LEVELS], strong[LEVELS];

    memcpy(grid->smooth, grid->paper, sizeof grid->smooth);
    open_paper(grid, ink->is_dark, side / 4);
    count_distances(histogram, ink, grid, row);
    memcpy(strong, histogram, sizeof strong);
    memset(strong, 0, (levels_otsu(histogram) + 1) * sizeof *strong);
    const size_t limit = (size_t)(0.6 * levels_quantile(strong, 0.97));
    const size_t whole = count_above(histogram, limit);
    const size_t faint = count_above(histogram, limit / 4) - whole;
    for (size_t part = 16; part > 4 && faint > whole; part /= 2) {
        open_paper(grid, ink->is_dark, side / part);
        count_distances(histogram, ink, grid, row);
        if (20 * count_above(histogram, limit) >= 19 * whole)
            return;
    }
    open_paper(grid, ink->is_dark, side / 4);
}

/* Replaces brightness by its distance from the paper. */
static void subtract(struct ink *ink, const struct grid *grid, float *row)
{
    for (size_t y = 0; y < ink->height; y++) {
        uint8_t *pixels = ink->pixels + y * ink->width;
        interpolate_row(row, grid, grid->paper, ink->width, y);
        for (size_t x = 0; x < ink->width; x++) {
            const float value = distance((float)pixels[x], row[x], ink->is_dark);
            pixels[x] = value > 254.5f ? 255 : value > 0 ? (uint8_t)(value + 0.5f) : 0;
        }
    }
}

enum image_status paper_subtract(struct ink *ink)
{
    struct grid *grid = malloc(sizeof *grid);
    float *row = malloc(2 * ink->width * sizeof *row);
    enum image_status status = IMAGE_MEMORY;

    if (grid && row) {
        make_grid(grid, ink);
        fit_border(grid);
        /* Where strokes fill much of a close picture, skewness says little. */
        ink->is_dark = skewness(ink, grid, row, row + ink->width) + border_side(grid) / 2 < 0;
        fit_surface(grid, 0); /* all cells: strokes and shadows stray */
        follow_shadows(ink, grid, row);
        subtract(ink, grid, row);
        status = IMAGE_OK;
    }
    free(row);
    free(grid);
    return status;
}
