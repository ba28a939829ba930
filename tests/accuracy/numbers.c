/*
 * numbers.c - pictures of several digits, and whether the whole text is read right.
 *
 * A number is made of digits side by side, each with its ink's box.  What is between
 * them is a matter of the layout: a gap, hardly one, or the ink of both overlaps.
 */
#include "tests/accuracy/numbers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Gaps between the ink of neighbours, by the digits' size; negative: they overlap. */
struct layout {
    const char *name;
    double least_gap, most_gap;
    double touching; /* how many of the neighbours touch */
    double slope;    /* at most, up or down */
    size_t lines;
    double wanted;   /* percent that must be right; 0: nothing said */
};

static const struct layout LAYOUTS[] = {
    {"one digit alone", 0.2, 0.6, 0, 0, 1, 0},
    {"spaced", 0.2, 0.6, 0, 0, 1, 95},
    {"tight", 0.04, 0.1, 0, 0, 1, 90},
    {"one in ten touches", 0.04, 0.1, 0.1, 0, 1, 75},
    {"all touch", 0.04, 0.1, 1, 0, 1, 0},
    {"slanting, spaced", 0.2, 0.5, 0, 0.3, 1, 0},
    {"slanting, tight", 0.04, 0.1, 0, 0.3, 1, 0},
    {"two lines", 0.2, 0.5, 0, 0.1, 2, 0},
};
enum { N_LAYOUTS = sizeof LAYOUTS / sizeof *LAYOUTS };

size_t numbers_layouts(void)
{
    return N_LAYOUTS;
}

const char *numbers_layout_name(size_t layout)
{
    return LAYOUTS[layout].name;
}

double numbers_wanted(size_t layout)
{
    return LAYOUTS[layout].wanted;
}

/* ---- One digit -------------------------------------------------------------------- */

static int is_ink(const struct sheet *sheet, size_t x, size_t y)
{
    return sheet->cover[y * sheet->width + x] > 0.3f;
}

/* Cuts a sheet off at its ink. */
static void trim(struct sheet *sheet)
{
    size_t x0 = sheet->width, x1 = 0, y0 = sheet->height, y1 = 0;
    for (size_t y = 0; y < sheet->height; y++)
        for (size_t x = 0; x < sheet->width; x++) {
            if (!is_ink(sheet, x, y))
                continue;
            x0 = x < x0 ? x : x0;
            x1 = x + 1 > x1 ? x + 1 : x1;
            y0 = y < y0 ? y : y0;
            y1 = y + 1;
        }
    struct sheet own = sheet_new(x1 - x0, y1 - y0);
    for (size_t y = 0; y < own.height; y++)
        for (size_t x = 0; x < own.width; x++)
            own.cover[y * own.width + x] = sheet->cover[(y + y0) * sheet->width + x + x0];
    sheet_free(sheet);
    *sheet = own;
}

static struct sheet draw_one(const struct numbers *numbers, size_t *digit, double size, double pen,
                             struct chance *chance)
{
    const struct place place = {.left = 0.4 * size, .top = 0.4 * size, .size = size, .pen = pen,
                                .wobble = 0.02};
    struct sheet sheet = sheet_new((size_t)(2 * size), (size_t)(2 * size));
    if (numbers->mnist) {
        const size_t at = chance_below(chance, numbers->mnist->n);
        *digit = numbers->mnist->labels[at];
        draw_mnist(&sheet, numbers->mnist->pixels + at * 28 * 28, &place, 0);
        for (size_t i = 0; i < sheet.width * sheet.height; i++) /* its paper is not quite white */
            sheet.cover[i] = fmaxf(0, (sheet.cover[i] - 0.08f) / 0.92f);
    } else {
        *digit = chance_below(chance, 10);
        draw_digit(&sheet, *digit, &place, chance);
    }
    trim(&sheet);
    return sheet;
}

/* ---- A line of them ----------------------------------------------------------------- */

/* How far right of the sheet's corner a digit, `down` below it, may begin so that in no row
 * is its ink nearer to what is there than `gap`; negative: so far do they overlap in the row
 * where they do most.  But no digit begins before the middle of the last one. */
static double place_after(const struct sheet *sheet, double last, double last_wide,
                          const struct sheet *own, size_t down, double gap)
{
    double at = last + last_wide / 2;
    for (size_t y = 0; y < own->height; y++) {
        size_t left = 0, right = 0;
        while (left < own->width && !is_ink(own, left, y))
            left++;
        /* The rows beside it too: strokes must not meet at a corner. */
        for (size_t v = down + y > 2 ? down + y - 2 : 0; v <= down + y + 2 && v < sheet->height; v++)
            for (size_t x = sheet->width; x-- > right;)
                if (is_ink(sheet, x, v))
                    right = x + 1;
        if (left < own->width && right > 0)
            at = fmax(at, (double)right + gap - (double)left);
    }
    return at;
}

static void put_ink(struct sheet *sheet, const struct sheet *own, size_t left, size_t top)
{
    for (size_t y = 0; y < own->height && y + top < sheet->height; y++)
        for (size_t x = 0; x < own->width && x + left < sheet->width; x++) {
            float *to = &sheet->cover[(y + top) * sheet->width + x + left];
            *to = fmaxf(*to, own->cover[y * own->width + x]);
        }
}

/* Writes n digits from `left`, the first one's middle at `middle`. */
static void write_line(struct sheet *sheet, const struct numbers *numbers, size_t n, double left,
                       double middle, double slope, double size, double pen, char *text,
                       struct numbers_box *boxes, struct chance *chance)
{
    const struct layout *layout = &LAYOUTS[numbers->layout];
    struct sheet line = sheet_new(sheet->width, sheet->height);
    double last = left, last_wide = 0;
    for (size_t i = 0; i < n; i++) {
        size_t digit;
        struct sheet own = draw_one(numbers, &digit, size * chance_between(chance, 0.85, 1.15), pen,
                                    chance);
        const double y = middle + slope * (last + last_wide - left) - (double)own.height / 2 +
                         size * chance_between(chance, -0.04, 0.04);
        const size_t top = y > 0 ? (size_t)y : 0;
        const int touches = chance_between(chance, 0, 1) < layout->touching;
        const double gap = touches ? -size * chance_between(chance, 0.02, 0.06)
                                   : fmax(2, size * chance_between(chance, layout->least_gap,
                                                                   layout->most_gap));
        const double x = i == 0 ? left : place_after(&line, last, last_wide, &own, top, gap);
        put_ink(&line, &own, (size_t)x, top);
        text[i] = (char)('0' + digit);
        boxes[i] = (struct numbers_box){(size_t)x, top, (size_t)x + own.width, top + own.height};
        last = x;
        last_wide = (double)own.width;
        sheet_free(&own);
    }
    put_ink(sheet, &line, 0, 0);
    sheet_free(&line);
}

/* ---- The picture ------------------------------------------------------------------ */

/* Plain paper; as MNIST's own pictures are, small and light on dark; or a phone's photo. */
static void set_scene(struct scene *scene, size_t kind, struct chance *chance)
{
    *scene = (struct scene){.paper = {1, 1, 1}, .png = PNG_GRAY_8};
    if (kind == 1) {
        memset(scene->paper, 0, sizeof scene->paper);
        scene->ink[0] = scene->ink[1] = scene->ink[2] = 1;
    } else if (kind == 2) {
        for (int c = 0; c < 3; c++) {
            scene->paper[c] = 0.82 - 0.03 * c;
            scene->ink[c] = 0.15 + 0.05 * c;
        }
        scene->slope = chance_between(chance, 0, 0.35);
        scene->vignette = chance_between(chance, 0, 0.25);
        scene->noise = chance_between(chance, 0.005, 0.025);
        scene->blur = 1;
        scene->jpeg = chance_between(chance, 0.5, 2);
        scene->png = PNG_RGB_8;
    }
}

uint8_t *numbers_make(struct numbers *numbers, struct chance *chance, size_t *png_nbytes)
{
    const struct layout *layout = &LAYOUTS[numbers->layout];
    const size_t kind = chance_below(chance, 3);
    const double size = kind == 1 ? 20 : chance_between(chance, 40, 100);
    const double pen = size * chance_between(chance, 0.07, 0.13);
    const double slope = chance_between(chance, -layout->slope, layout->slope);
    const size_t longest = layout->lines > 1 ? 5 : 8;
    struct scene scene;
    size_t counts[2], most = 0, n = 0;
    for (size_t k = 0; k < layout->lines; k++) {
        counts[k] = numbers->layout == 0 ? 1 : 1 + chance_below(chance, longest);
        most = counts[k] > most ? counts[k] : most;
    }
    set_scene(&scene, kind, chance);
    const double across = (double)most * (1.2 + layout->most_gap) * size;
    const double between = size * chance_between(chance, 1.35, 1.8), rise = fabs(slope) * across;
    const double margin = size * chance_between(chance, 0.2, 0.8);
    struct sheet sheet = sheet_new((size_t)(across + 2 * margin),
                                   (size_t)(2 * margin + 1.2 * size + rise +
                                            between * (double)(layout->lines - 1)));
    double middle = margin + 0.6 * size + (slope < 0 ? rise : 0);
    for (size_t k = 0; k < layout->lines; k++, middle += between) {
        if (k > 0)
            numbers->text[n++] = '\n';
        write_line(&sheet, numbers, counts[k], margin, middle, slope, size, pen, numbers->text + n,
                   numbers->boxes + n, chance);
        n += counts[k];
    }
    numbers->text[n] = 0;
    scene.width = sheet.width, scene.height = sheet.height;
    uint8_t *png = scene_draw(&scene, &sheet, chance_between(chance, 0, 6.2832), chance, png_nbytes);
    sheet_free(&sheet);
    return png;
}
