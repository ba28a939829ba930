/*
 * fonts.c - glyphs of TrueType fonts: just the tables that outlines need
 * (head, cmap format 4, loca, glyf without composites), filled by the nonzero
 * rule, since some fonts' contours overlap.  For fonts installed from packages,
 * not for hostile files; still no read leaves the file.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/accuracy/shapes.h"

struct font {
    uint8_t *bytes;
    size_t nbytes;
    size_t cmap, loca, glyf; /* where the tables begin */
    int long_loca;
};

static unsigned u16_at(const struct font *font, size_t at)
{
    return at + 2 <= font->nbytes ? (unsigned)font->bytes[at] << 8 | font->bytes[at + 1] : 0;
}

static int i16_at(const struct font *font, size_t at)
{
    return (int16_t)u16_at(font, at);
}

static size_t u32_at(const struct font *font, size_t at)
{
    return (size_t)u16_at(font, at) << 16 | u16_at(font, at + 2);
}

static size_t find_table(const struct font *font, const char *tag)
{
    const size_t n = u16_at(font, 4);
    for (size_t i = 0; i < n && 12 + 16 * (i + 1) <= font->nbytes; i++)
        if (memcmp(font->bytes + 12 + 16 * i, tag, 4) == 0)
            return u32_at(font, 12 + 16 * i + 8);
    return 0;
}

/* The format 4 subtable: Unicode's first plane. */
static size_t find_map(const struct font *font, size_t cmap)
{
    const size_t n = u16_at(font, cmap + 2);
    for (size_t i = 0; i < n; i++) {
        const size_t at = cmap + u32_at(font, cmap + 4 + 8 * i + 4);
        if (u16_at(font, at) == 4)
            return at;
    }
    return 0;
}

static size_t glyph_of(const struct font *font, unsigned character)
{
    const size_t twice = u16_at(font, font->cmap + 6), ends = font->cmap + 14;
    const size_t starts = ends + twice + 2, deltas = starts + twice, offsets = deltas + twice;
    for (size_t i = 0; i < twice; i += 2) {
        if (u16_at(font, ends + i) < character)
            continue;
        const unsigned start = u16_at(font, starts + i), offset = u16_at(font, offsets + i);
        if (start > character)
            return 0;
        unsigned glyph = character;
        if (offset)
            glyph = u16_at(font, offsets + i + offset + 2 * (character - start));
        return glyph ? (glyph + u16_at(font, deltas + i)) & 0xffff : 0;
    }
    return 0;
}

/* ---- Outlines ------------------------------------------------------------------- */

enum { MOST_POINTS = 2000, MOST_EDGES = 16000, CURVE_STEPS = 6, FINE = 4 };

struct outline {
    size_t n;
    int x[MOST_POINTS], y[MOST_POINTS];
    uint8_t on[MOST_POINTS], last[MOST_POINTS]; /* on the curve; ends its contour */
    size_t n_edges;
    float edges[MOST_EDGES][4];
};

/* One coordinate of all points, in the format's packing.  Returns where it ends. */
static size_t read_axis(const struct font *font, size_t at, const uint8_t *flags, size_t n,
                        int small, int same, int *values)
{
    int value = 0;
    for (size_t i = 0; i < n; i++) {
        if (flags[i] & small) {
            const int step = at < font->nbytes ? font->bytes[at] : 0;
            value += flags[i] & same ? step : -step;
            at++;
        } else if (!(flags[i] & same)) {
            value += i16_at(font, at);
            at += 2;
        }
        values[i] = value;
    }
    return at;
}

/* Reads a simple glyph's points.  Returns 0 when it has none. */
static int read_outline(struct outline *outline, const struct font *font, unsigned character)
{
    const size_t glyph = glyph_of(font, character);
    const size_t from = font->long_loca ? u32_at(font, font->loca + 4 * glyph)
                                        : 2 * (size_t)u16_at(font, font->loca + 2 * glyph);
    const size_t at = font->glyf + from;
    const int contours = i16_at(font, at);
    uint8_t flags[MOST_POINTS];

    if (glyph == 0 || contours <= 0 || contours > 50)
        return 0;
    const size_t ends = at + 10, n = u16_at(font, ends + 2 * (size_t)contours - 2) + 1u;
    size_t next = ends + 2 * (size_t)contours;
    next += 2u + u16_at(font, next);
    if (n > MOST_POINTS)
        return 0;
    for (size_t i = 0; i < n;) {
        const uint8_t flag = next < font->nbytes ? font->bytes[next] : 0;
        next++;
        flags[i++] = flag;
        if (flag & 8) {
            const unsigned repeats = next < font->nbytes ? font->bytes[next] : 0;
            for (unsigned k = 0; k < repeats && i < n; k++)
                flags[i++] = flag;
            next++;
        }
    }
    next = read_axis(font, next, flags, n, 2, 16, outline->x);
    read_axis(font, next, flags, n, 4, 32, outline->y);
    memset(outline->last, 0, sizeof outline->last);
    for (size_t i = 0; i < n; i++)
        outline->on[i] = flags[i] & 1;
    for (size_t i = 0; i < (size_t)contours; i++)
        if (u16_at(font, ends + 2 * i) < n)
            outline->last[u16_at(font, ends + 2 * i)] = 1;
    outline->n = n;
    return 1;
}

static void add_edge(struct outline *outline, float ax, float ay, float bx, float by)
{
    if (outline->n_edges < MOST_EDGES)
        memcpy(outline->edges[outline->n_edges++], (float[]){ax, ay, bx, by}, 4 * sizeof(float));
}

/* A quadratic curve from a over b to c. */
static void add_curve(struct outline *outline, const float a[2], const float b[2], const float c[2])
{
    float x0 = a[0], y0 = a[1];
    for (int i = 1; i <= CURVE_STEPS; i++) {
        const float t = (float)i / CURVE_STEPS, s = 1 - t;
        const float x1 = s * s * a[0] + 2 * s * t * b[0] + t * t * c[0];
        const float y1 = s * s * a[1] + 2 * s * t * b[1] + t * t * c[1];
        add_edge(outline, x0, y0, x1, y1);
        x0 = x1, y0 = y1;
    }
}

/* The edges of the contour of points first .. last.  Between two points off the
 * curve lies one on it, in their middle. */
static void add_contour(struct outline *outline, size_t first, size_t last)
{
    const size_t n = last - first + 1;
    float on[2] = {0}, off[2] = {0};
    int have_on = 0, have_off = 0;
    for (size_t i = 0; i <= 2 * n; i++) { /* twice around: the first may be off the curve */
        const size_t k = first + i % n;
        const float at[2] = {(float)outline->x[k], (float)outline->y[k]};
        const float middle[2] = {(off[0] + at[0]) / 2, (off[1] + at[1]) / 2};
        if (outline->on[k] || have_off) {
            const float *to = outline->on[k] ? at : middle;
            if (have_on && i > n)
                add_curve(outline, on, have_off ? off : on, to);
            memcpy(on, to, sizeof on);
            have_on = 1;
            have_off = 0;
        }
        if (!outline->on[k]) {
            memcpy(off, at, sizeof off);
            have_off = 1;
        }
    }
}

/* Adds one fine row's share to the pixels of row [width]: every edge that
 * crosses it changes the winding of all that lies to its right. */
static void fill_row(float *row, size_t width, int *turns, const struct outline *outline,
                     float fy, float left, float scale, float origin)
{
    const size_t n = width * FINE;
    memset(turns, 0, n * sizeof *turns);
    for (size_t i = 0; i < outline->n_edges; i++) {
        const float *e = outline->edges[i];
        if ((e[1] > fy) == (e[3] > fy))
            continue;
        const float x = e[0] + (e[2] - e[0]) * (fy - e[1]) / (e[3] - e[1]);
        const float at = ((x - origin) / scale + left) * FINE - 0.5f;
        if (at < (float)n)
            turns[at > 0 ? (size_t)at : 0] += e[1] > fy ? 1 : -1;
    }
    int winding = 0;
    for (size_t i = 0; i < n; i++) {
        winding += turns[i];
        row[i / FINE] += winding ? 1.0f / (FINE * FINE) : 0;
    }
}

void draw_glyph(struct sheet *sheet, const struct font *font, char character,
                const struct place *place)
{
    struct outline *outline = calloc(1, sizeof *outline);
    float low[2] = {1e9f, 1e9f}, high[2] = {-1e9f, -1e9f};
    if (!outline || !read_outline(outline, font, (unsigned char)character)) {
        free(outline);
        return;
    }
    for (size_t i = 0, first = 0; i < outline->n; i++)
        if (outline->last[i]) {
            add_contour(outline, first, i);
            first = i + 1;
        }
    for (size_t i = 0; i < outline->n_edges; i++)
        for (int k = 0; k < 2; k++) {
            const float value = outline->edges[i][k];
            low[k] = value < low[k] ? value : low[k];
            high[k] = value > high[k] ? value : high[k];
        }
    const float scale = (high[1] - low[1]) / (float)place->size;
    int *turns = malloc(sheet->width * FINE * sizeof *turns);
    for (size_t i = 0; turns && i < sheet->height * FINE; i++)
        fill_row(sheet->cover + i / FINE * sheet->width, sheet->width, turns, outline,
                 high[1] - (((float)i + 0.5f) / FINE - (float)place->top) * scale,
                 (float)place->left, scale, low[0]);
    free(turns);
    free(outline);
}

/* ---- Files -------------------------------------------------------------------------- */

void font_close(struct font *font)
{
    if (font)
        free(font->bytes);
    free(font);
}

static int has_digits(const struct font *font)
{
    struct outline *outline = calloc(1, sizeof *outline);
    int has = outline != NULL;
    for (char c = '0'; c <= '9' && has; c++)
        has = read_outline(outline, font, (unsigned char)c);
    free(outline);
    return has;
}

struct font *font_open(const char *path)
{
    struct font *font = calloc(1, sizeof *font);
    FILE *file = fopen(path, "rb");
    enum { MOST_BYTES = 20 << 20 };

    if (font && file && (font->bytes = malloc(MOST_BYTES)) != NULL) {
        font->nbytes = fread(font->bytes, 1, MOST_BYTES, file);
        font->cmap = find_map(font, find_table(font, "cmap"));
        font->loca = find_table(font, "loca");
        font->glyf = find_table(font, "glyf");
        font->long_loca = i16_at(font, find_table(font, "head") + 50) != 0;
    }
    if (file)
        fclose(file);
    if (font && font->cmap && font->loca && font->glyf && has_digits(font))
        return font;
    font_close(font);
    return NULL;
}
