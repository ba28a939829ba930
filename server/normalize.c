/*
 * normalize.c - any picture of a digit to the form that MNIST has: light on
 * dark, 20 pixels along its longer side, centre of mass in the middle of 28.
 *
 * One function per step.  Brightness travels as bytes and is turned into ink
 * (0 background ... 255) by a table of 256 entries, so that a picture of 4096 x
 * 4096 needs no second copy of itself.
 */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image.h"
#include "luma.h"

enum {
    LEVELS = 256,
    MIN_CONTRAST = 16, /* of 255: less is paper and noise; pale pencil has about 40 */
    GRID = 256,        /* cells along a side when looking for specks */
    SPECK = 32,        /* a blot with less than 1/32 of the largest one's ink is dirt */
    RIM = 32,          /* ink above 1/32 of the darkest still belongs to the digit's rim */
};

/* Luma of a picture: [height][width]. */
struct plane {
    const uint8_t *pixels;
    size_t width, height;
};

/* x0 <= x < x1, y0 <= y < y1 */
struct box {
    size_t x0, y0, x1, y1;
};

/* How brightness becomes ink. */
struct levels {
    int dark_ink;       /* dark on light? */
    uint8_t background; /* brightness of the paper */
    uint8_t floor;      /* differences up to this are the paper's noise */
    uint8_t peak;       /* ink is clipped here: the brightest twentieth of it */
    uint8_t threshold;  /* ink above this is certainly ink (Otsu) */
};

/* ---- Brightness ------------------------------------------------------------- */

/* The luma of an image: its own pixels when gray, else a copy to be freed. */
static enum image_status make_luma(struct plane *luma, uint8_t **owned, const struct image *image)
{
    const size_t count = image->width * image->height;
    *owned = NULL;
    *luma = (struct plane){image->pixels, image->width, image->height};
    if (image->channels == 1)
        return IMAGE_OK;
    uint8_t *pixels = malloc(count);
    if (!pixels)
        return IMAGE_MEMORY;
    for (size_t i = 0; i < count; i++)
        pixels[i] = luma_of(image->pixels + i * image->channels);
    luma->pixels = *owned = pixels;
    return IMAGE_OK;
}

static void count_all(size_t histogram[LEVELS], const struct plane *luma)
{
    memset(histogram, 0, LEVELS * sizeof *histogram);
    for (size_t i = 0; i < luma->width * luma->height; i++)
        histogram[luma->pixels[i]]++;
}

/* Counts one channel of the outermost pixels; pixels: [height][width][channels]. */
static void count_border(size_t histogram[LEVELS], const uint8_t *pixels, size_t width,
                         size_t height, size_t channels)
{
    memset(histogram, 0, LEVELS * sizeof *histogram);
    for (size_t y = 0; y < height; y++) {
        const size_t step = y == 0 || y == height - 1 || width == 1 ? 1 : width - 1;
        for (size_t x = 0; x < width; x += step)
            histogram[pixels[(y * width + x) * channels]]++;
    }
}

/* The level that a fraction of all values does not exceed: 0.5 is the median.
 * 0 when there are no values. */
static uint8_t quantile(const size_t histogram[LEVELS], double fraction)
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

/* Otsu's threshold: the level that splits the values into two groups, up to
 * it and above it, with the greatest variance between them. */
static uint8_t otsu(const size_t histogram[LEVELS])
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

/* Ink of every brightness, for a channel whose paper is at `background`. */
static void make_table(uint8_t table[LEVELS], const struct levels *levels, uint8_t background)
{
    for (int i = 0; i < LEVELS; i++) {
        int ink = (levels->dark_ink ? background - i : i - background) - levels->floor;
        if (ink > levels->peak)
            ink = levels->peak;
        table[i] = (uint8_t)(ink > 0 ? ink : 0);
    }
}

/* Is the ink darker than the paper?  The paper is what most of the border is;
 * the ink is on the side of it where the rest strays further.  Squares, so
 * that a little of strong ink outweighs much of weak shading. */
static int ink_is_dark(const size_t histogram[LEVELS], int background)
{
    double dark = 0, light = 0;
    for (int i = 0; i < LEVELS; i++) {
        const double square = (double)((i - background) * (i - background));
        *(i < background ? &dark : &light) += square * (double)histogram[i];
    }
    return dark > light;
}

/* Finds paper and ink.  Returns 0 when there is no contrast: a blank picture. */
static int measure_levels(struct levels *levels, const struct plane *luma)
{
    size_t all[LEVELS], border[LEVELS], spread[LEVELS] = {0}, ink[LEVELS] = {0};
    uint8_t table[LEVELS];

    count_all(all, luma);
    count_border(border, luma->pixels, luma->width, luma->height, 1);
    levels->background = quantile(border, 0.5);
    levels->dark_ink = ink_is_dark(all, levels->background);

    /* Three median deviations are two standard deviations of normal noise.
     * Bounded, lest pale ink on unevenly lit paper pass for noise. */
    for (int i = 0; i < LEVELS; i++)
        spread[abs(i - levels->background)] += border[i];
    const int noise = 3 * quantile(spread, 0.5);
    levels->floor = (uint8_t)(noise < 2 * MIN_CONTRAST ? noise : 2 * MIN_CONTRAST);

    levels->peak = LEVELS - 1;
    make_table(table, levels, levels->background);
    for (size_t i = 0; i < LEVELS; i++)
        ink[table[i]] += all[i];
    levels->threshold = otsu(ink);
    for (size_t i = 0; i <= levels->threshold; i++)
        ink[i] = 0;
    levels->peak = quantile(ink, 0.95);
    return levels->peak >= MIN_CONTRAST;
}

/* ---- Where the digit is ------------------------------------------------------- */

/* Ink pixels in a square of the picture, or in a whole blot of such squares. */
struct cell {
    size_t count;
    struct box box;
};

static void join(struct cell *to, const struct cell *from)
{
    if (to->count == 0) {
        *to = *from;
        return;
    }
    to->count += from->count;
    to->box.x0 = from->box.x0 < to->box.x0 ? from->box.x0 : to->box.x0;
    to->box.y0 = from->box.y0 < to->box.y0 ? from->box.y0 : to->box.y0;
    to->box.x1 = from->box.x1 > to->box.x1 ? from->box.x1 : to->box.x1;
    to->box.y1 = from->box.y1 > to->box.y1 ? from->box.y1 : to->box.y1;
}

static void fill_cells(struct cell *cells, size_t across, size_t side, const struct plane *luma,
                       const uint8_t table[LEVELS], uint8_t threshold)
{
    const uint8_t *pixel = luma->pixels;
    for (size_t y = 0; y < luma->height; y++)
        for (size_t x = 0; x < luma->width; x++)
            if (table[*pixel++] > threshold)
                join(&cells[y / side * across + x / side],
                     &(struct cell){1, {x, y, x + 1, y + 1}});
}

/* Gathers the blot (8-connected cells) of a seed into the seed's cell and
 * empties the others.  stack: one entry per cell of the grid. */
static void gather_blot(struct cell *cells, size_t across, size_t down, size_t seed, size_t *stack)
{
    struct cell blot = cells[seed];
    size_t n = 0;

    cells[seed].count = 0;
    stack[n++] = seed;
    while (n > 0) {
        const size_t at = stack[--n], x = at % across, y = at / across;
        for (size_t v = y > 0 ? y - 1 : 0; v <= y + 1 && v < down; v++) {
            for (size_t u = x > 0 ? x - 1 : 0; u <= x + 1 && u < across; u++) {
                struct cell *next = &cells[v * across + u];
                if (next->count == 0)
                    continue;
                join(&blot, next);
                next->count = 0; /* so that each cell enters the stack once */
                stack[n++] = v * across + u;
            }
        }
    }
    cells[seed] = blot;
}

/* The box around all blots but specks.  There is ink above the threshold. */
static enum image_status find_blots(struct box *box, const struct plane *luma,
                                    const uint8_t table[LEVELS], uint8_t threshold)
{
    const size_t longer = luma->width > luma->height ? luma->width : luma->height;
    const size_t side = (longer + GRID - 1) / GRID;
    const size_t across = (luma->width + side - 1) / side, down = (luma->height + side - 1) / side;
    struct cell *cells = calloc(across * down, sizeof *cells);
    size_t *stack = malloc(across * down * sizeof *stack);
    enum image_status status = IMAGE_MEMORY;
    struct cell digit = {0};
    size_t largest = 0;

    if (!cells || !stack)
        goto out;
    fill_cells(cells, across, side, luma, table, threshold);
    for (size_t i = 0; i < across * down; i++) {
        if (cells[i].count == 0)
            continue;
        gather_blot(cells, across, down, i, stack);
        largest = cells[i].count > largest ? cells[i].count : largest;
    }
    for (size_t i = 0; i < across * down; i++)
        if (cells[i].count > 0 && cells[i].count >= largest / SPECK)
            join(&digit, &cells[i]);
    *box = digit.box;
    status = IMAGE_OK;
out:
    free(stack);
    free(cells);
    return status;
}

/* Is there ink above the limit among n pixels from (x, y) on, step apart? */
static int line_has_ink(const struct plane *luma, const uint8_t table[LEVELS], size_t x, size_t y,
                        size_t step, size_t n, int limit)
{
    const uint8_t *pixel = luma->pixels + y * luma->width + x;
    for (size_t i = 0; i < n; i++)
        if (table[pixel[i * step]] > limit)
            return 1;
    return 0;
}

/* Widens the box by the soft rim that lies below the threshold: a pixel or
 * two where strokes are antialiased, never more than a twentieth of the box. */
static void grow_to_rim(struct box *box, const struct plane *luma, const uint8_t table[LEVELS],
                        int limit)
{
    const size_t w = box->x1 - box->x0, h = box->y1 - box->y0;
    const size_t most = 1 + (w > h ? w : h) / 20;

    for (size_t i = 0; i < most && box->y0 > 0 &&
                       line_has_ink(luma, table, box->x0, box->y0 - 1, 1, w, limit); i++)
        box->y0--;
    for (size_t i = 0; i < most && box->y1 < luma->height &&
                       line_has_ink(luma, table, box->x0, box->y1, 1, w, limit); i++)
        box->y1++;
    for (size_t i = 0; i < most && box->x0 > 0 &&
                       line_has_ink(luma, table, box->x0 - 1, box->y0, luma->width,
                                    box->y1 - box->y0, limit); i++)
        box->x0--;
    for (size_t i = 0; i < most && box->x1 < luma->width &&
                       line_has_ink(luma, table, box->x1, box->y0, luma->width,
                                    box->y1 - box->y0, limit); i++)
        box->x1++;
}

/* ---- Into the frame ------------------------------------------------------------- */

/* Mean ink of a row over from <= x < to, where the end pixels count by the
 * part of them that is covered.  row: [..][channels], one channel. */
static double mean_over(const uint8_t *row, size_t channels, const uint8_t table[LEVELS],
                        double from, double to)
{
    double sum = 0;
    for (size_t x = (size_t)from; (double)x < to; x++) {
        const double start = (double)x > from ? (double)x : from;
        const double end = (double)(x + 1) < to ? (double)(x + 1) : to;
        sum += (end - start) * table[row[x * channels]];
    }
    return sum / (to - from);
}

/* Scales one channel of the box to [height][width] by averaging over areas;
 * out: that channel of [..][stride][channels] floats, zero before. */
static void scale_area(float *out, size_t stride, size_t width, size_t height,
                       const struct image *image, size_t channel, const struct box *box,
                       const uint8_t table[LEVELS])
{
    const size_t w = box->x1 - box->x0, h = box->y1 - box->y0, channels = image->channels;

    for (size_t oy = 0; oy < height; oy++) {
        const double from = (double)(oy * h) / (double)height;
        const double to = (double)((oy + 1) * h) / (double)height;
        for (size_t y = (size_t)from; (double)y < to; y++) {
            const double start = (double)y > from ? (double)y : from;
            const double end = (double)(y + 1) < to ? (double)(y + 1) : to;
            const double weight = (end - start) / (to - from);
            const uint8_t *row =
                image->pixels + ((box->y0 + y) * image->width + box->x0) * channels + channel;
            for (size_t ox = 0; ox < width; ox++)
                out[(oy * stride + ox) * channels + channel] +=
                    (float)(weight * mean_over(row, channels, table,
                                               (double)(ox * w) / (double)width,
                                               (double)((ox + 1) * w) / (double)width));
        }
    }
}

/* The size of the box's picture: the longer side takes 20/28 of the frame. */
static void fit_size(size_t *width, size_t *height, const struct box *box, size_t frame_width,
                     size_t frame_height)
{
    const double w = (double)(box->x1 - box->x0), h = (double)(box->y1 - box->y0);
    const double most_w = round((double)frame_width * 20 / 28);
    const double most_h = round((double)frame_height * 20 / 28);
    const double scale = fmin(most_w / w, most_h / h);

    *width = (size_t)fmax(1, fmin(round(w * scale), most_w));
    *height = (size_t)fmax(1, fmin(round(h * scale), most_h));
}

/* Where the digit must start so that its centre of mass comes to the frame's
 * middle.  MNIST puts it at 13.5 <= x < 14.5, counted in pixel indices (which
 * is 14 in 28): measured on its 60,000 training images. */
static size_t start_for(double centre, size_t size, size_t frame)
{
    const double start = ceil((double)frame / 2 - 0.5 - centre);
    return (size_t)fmax(0, fmin(start, (double)(frame - size)));
}

/* Moves the picture [height][width] from the frame's corner to its place. */
static void centre_by_mass(float *digit, size_t frame_height, size_t frame_width, size_t channels,
                           size_t height, size_t width)
{
    double mass = 0, mass_x = 0, mass_y = 0;

    for (size_t y = 0; y < height; y++) {
        for (size_t x = 0; x < width; x++) {
            for (size_t c = 0; c < channels; c++) {
                const double value = (double)digit[(y * frame_width + x) * channels + c];
                mass += value;
                mass_x += value * (double)x;
                mass_y += value * (double)y;
            }
        }
    }
    if (mass <= 0)
        return;
    const size_t left = start_for(mass_x / mass, width, frame_width);
    const size_t top = start_for(mass_y / mass, height, frame_height);
    const size_t row = width * channels;
    for (size_t y = height; y-- > 0;) { /* from below: the places overlap */
        float *from = digit + y * frame_width * channels;
        float *to = digit + ((y + top) * frame_width + left) * channels;
        memmove(to, from, row * sizeof *to);
        if (top > 0)
            memset(from, 0, row * sizeof *from);
        else
            memset(from, 0, left * channels * sizeof *from);
    }
}

/* The brightest ink becomes 1, as in every image of MNIST: thin strokes fade
 * when a large picture is made small. */
static void stretch(float *digit, size_t count)
{
    float most = 0;
    for (size_t i = 0; i < count; i++)
        most = digit[i] > most ? digit[i] : most;
    for (size_t i = 0; i < count && most > 0; i++)
        digit[i] /= most;
}

static enum image_status fit(float *digit, size_t height, size_t width, const struct image *image,
                             const struct plane *luma)
{
    const size_t channels = image->channels;
    struct levels levels;
    struct box box;
    uint8_t table[LEVELS];
    size_t w, h, border[LEVELS];

    memset(digit, 0, height * width * channels * sizeof *digit);
    if (!measure_levels(&levels, luma))
        return IMAGE_OK;
    make_table(table, &levels, levels.background);
    if (find_blots(&box, luma, table, levels.threshold) != IMAGE_OK)
        return IMAGE_MEMORY;
    grow_to_rim(&box, luma, table, levels.peak / RIM);

    fit_size(&w, &h, &box, width, height);
    for (size_t c = 0; c < channels; c++) {
        if (channels > 1) {
            count_border(border, image->pixels + c, image->width, image->height, channels);
            make_table(table, &levels, quantile(border, 0.5));
        }
        scale_area(digit, width, w, h, image, c, &box, table);
    }
    stretch(digit, height * width * channels);
    centre_by_mass(digit, height, width, channels, h, w);
    return IMAGE_OK;
}

/* ---- Which way -------------------------------------------------------------------- */

static void copy_pixels(float *digit, const struct image *image)
{
    for (size_t i = 0; i < image->width * image->height * image->channels; i++)
        digit[i] = (float)image->pixels[i] / 255.0f;
}

/* Does a picture of the model's size already look as MNIST's do?  Light on
 * dark at full contrast, ink along at least half and at most three quarters of
 * the frame (MNIST: 20 of 28), its centre of mass within 3/28 of the middle
 * (MNIST: 1; training shifts by 2 more): so it has a margin.  Every one of
 * MNIST's 70,000 images does. */
static int is_normal(const struct plane *luma)
{
    enum { FULL = 200, DARK = 16, INK = 32 };
    const double w = (double)luma->width, h = (double)luma->height;
    size_t all[LEVELS], border[LEVELS];
    double mass = 0, mass_x = 0, mass_y = 0;
    struct cell ink = {0};

    count_all(all, luma);
    count_border(border, luma->pixels, luma->width, luma->height, 1);
    if (quantile(all, 1.0) < FULL || quantile(border, 0.5) > DARK)
        return 0;
    for (size_t y = 0; y < luma->height; y++) {
        for (size_t x = 0; x < luma->width; x++) {
            const uint8_t value = luma->pixels[y * luma->width + x];
            mass += value;
            mass_x += value * ((double)x + 0.5);
            mass_y += value * ((double)y + 0.5);
            if (value > INK)
                join(&ink, &(struct cell){1, {x, y, x + 1, y + 1}});
        }
    }
    const double side = fmax((double)(ink.box.x1 - ink.box.x0) / w,
                             (double)(ink.box.y1 - ink.box.y0) / h);
    return side >= 0.5 && side <= 0.75 && fabs(mass_x / mass / w - 0.5) <= 3.0 / 28 &&
           fabs(mass_y / mass / h - 0.5) <= 3.0 / 28;
}

enum image_status normalize_image(float *digit, size_t height, size_t width, size_t channels,
                                  const struct image *image, enum normalize_mode mode,
                                  struct image_message *message)
{
    const int same_size = image->width == width && image->height == height;
    enum image_status status;
    struct plane luma;
    uint8_t *owned;

    assert(image->channels == channels);
    if (mode == NORMALIZE_NONE && !same_size) {
        snprintf(message->text, sizeof message->text,
                 "the image is %zu x %zu pixels, and without normalisation it must be %zu x %zu",
                 image->width, image->height, width, height);
        return IMAGE_INVALID;
    }
    if (mode == NORMALIZE_NONE) {
        copy_pixels(digit, image);
        return IMAGE_OK;
    }
    status = make_luma(&luma, &owned, image);
    if (status != IMAGE_OK)
        return status;
    if (mode == NORMALIZE_AUTO && same_size && is_normal(&luma))
        copy_pixels(digit, image);
    else
        status = fit(digit, height, width, image, &luma);
    free(owned);
    return status;
}
