/* scene.c - see scene.h: from scene to picture. */
#include "tests/accuracy/scene.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void draw_source(struct sheet *sheet, const struct source *source,
                        const struct scene *scene, struct chance *chance)
{
    struct place place = scene->place;
    if (source->type == SOURCE_STROKES) {
        draw_digit(sheet, source->digit, &place, chance);
    } else if (source->type == SOURCE_LETTER) {
        draw_letter(sheet, &place, chance);
    } else if (source->type == SOURCE_DOODLE) {
        draw_doodle(sheet, &place, chance);
    } else if (source->type == SOURCE_GARMENT) {
        draw_garment(sheet, &place, chance);
    } else if (source->type == SOURCE_MNIST) {
        place.left -= 0.1 * place.size; /* its box is square */
        draw_mnist(sheet, source->pixels, &place, scene->heavier);
    } else {
        draw_glyph(sheet, source->font, (char)('0' + source->digit), &place);
    }
}

/* How dark the rules make pixel (x, y), 0 to 1. */
static double rules_at(const struct scene *scene, size_t x, size_t y)
{
    if (scene->rule_pitch <= 0)
        return 0;
    double nearest = fabs(remainder((double)y + 0.5 - 7, scene->rule_pitch));
    if (scene->squared)
        nearest = fmin(nearest, fabs(remainder((double)x + 0.5 - 11, scene->rule_pitch)));
    return scene->rule_depth * fmax(0, fmin(1, scene->rule_pen / 2 - nearest + 0.5));
}

/* The light that falls on (x, y), 1 for all of it. */
static double light_at(const struct scene *scene, double angle, size_t x, size_t y)
{
    const double u = (double)x / (double)scene->width - 0.5;
    const double v = (double)y / (double)scene->height - 0.5;
    const double along = u * cos(angle) + v * sin(angle); /* -0.7 ... 0.7 */
    const double edge = fmax(0, fmin(1, (along - 0.1) * 25));
    return (1 - scene->slope * (along + 0.5)) * (1 - scene->vignette * 2 * (u * u + v * v)) *
           (1 - scene->shadow * edge);
}

/* How far (x, y) lies outside the frame, in pixels; negative: inside. */
static double outside_frame(const struct scene *scene, size_t x, size_t y)
{
    const double half_w = (double)scene->width / 2, half_h = (double)scene->height / 2;
    const double in = scene->inset + scene->corner;
    const double dx = fabs((double)x + 0.5 - half_w) - (half_w - in);
    const double dy = fabs((double)y + 0.5 - half_h) - (half_h - in);
    return hypot(fmax(dx, 0), fmax(dy, 0)) + fmin(fmax(dx, dy), 0) - scene->corner;
}

/* The frame's line, and what lies outside frame or paper, over a pixel. */
static void colour_around(float *rgb, const struct scene *scene, size_t x, size_t y)
{
    const double off = outside_frame(scene, x, y);
    const double edge = (double)x + 0.08 * ((double)y - (double)scene->height / 2);
    const int is_desk = scene->desk > 0 && edge < scene->desk * (double)scene->width;
    const double line = fmax(0, fmin(1, scene->frame_pen / 2 - fabs(off) + 0.5));
    const double out = is_desk ? 1 : fmax(0, fmin(1, off + 0.5));
    for (int c = 0; c < 3; c++) {
        const double value = (double)rgb[c] + out * (scene->outside[c] - (double)rgb[c]);
        rgb[c] = (float)(scene->frame_pen > 0 ? value + line * (scene->frame[c] - value) : value);
    }
}

static void colour_pixel(float *rgb, const struct scene *scene, double cover, double rule,
                         double light, struct chance *chance)
{
    static const double rule_colour[3] = {0.25, 0.35, 0.65};
    const double grain = scene->grain * chance_between(chance, 0, 1);
    const double noise = scene->noise * chance_normal(chance);
    const int is_salt = scene->salt > 0 && chance_between(chance, 0, 1) < scene->salt;
    const float speck = (float)chance_below(chance, 2);
    for (int c = 0; c < 3; c++) {
        const double paper = scene->paper[c] + rule * (rule_colour[c] - scene->paper[c]);
        const double value = paper + cover * (1 - grain) * (scene->ink[c] - paper);
        rgb[c] = is_salt ? speck : (float)(value * light + noise);
    }
}

/* Cuts the sheet off at its ink, on the scene's sides. */
static void cut_sheet(struct sheet *sheet, const struct scene *scene)
{
    size_t x0 = sheet->width, x1 = 0, y0 = sheet->height, y1 = 0;
    const size_t in = (size_t)scene->cut_in;

    for (size_t i = 0; i < sheet->width * sheet->height; i++) {
        const size_t x = i % sheet->width, y = i / sheet->width;
        if (sheet->cover[i] < 0.5f)
            continue;
        x0 = x < x0 ? x : x0;
        x1 = x + 1 > x1 ? x + 1 : x1;
        y0 = y < y0 ? y : y0;
        y1 = y + 1;
    }
    const size_t left = scene->cut & 1 ? x0 + in : 0, top = scene->cut & 4 ? y0 + in : 0;
    const size_t right = scene->cut & 2 ? x1 - in : sheet->width;
    const size_t bottom = scene->cut & 8 ? y1 - in : sheet->height;
    for (size_t y = top; y < bottom; y++)
        for (size_t x = left; x < right; x++)
            sheet->cover[(y - top) * (right - left) + x - left] =
                sheet->cover[y * sheet->width + x];
    sheet->width = right - left;
    sheet->height = bottom - top;
}

/* Is (x, y) ink, and all that is `reach` around it? */
static int is_amid_line(const struct sheet *sheet, double x, double y, double reach)
{
    for (int i = 0; i < 16; i++) {
        const double u = x + reach * cos(i * 0.3927), v = y + reach * sin(i * 0.3927);
        if (u < 0 || v < 0 || u >= (double)sheet->width || v >= (double)sheet->height ||
            sheet->cover[(size_t)v * sheet->width + (size_t)u] < 0.5f)
            return 0;
    }
    return 1;
}

/* Takes the ink off a few round places on the line, a little narrower than the
 * pen to a little wider. */
static void tear_sheet(struct sheet *sheet, const struct scene *scene, struct chance *chance)
{
    const double half = scene->place.pen / 2;
    for (size_t gap = 0; gap < scene->gaps; gap++) {
        double x, y, amid = 0.6 * half; /* the line may be thinner than it should be */
        do {
            x = chance_between(chance, 0, (double)sheet->width);
            y = chance_between(chance, 0, (double)sheet->height);
            amid *= 0.9999;
        } while (!is_amid_line(sheet, x, y, amid));
        const double reach = half * chance_between(chance, 0.8, 1.3);
        for (size_t i = 0; i < sheet->width * sheet->height; i++) {
            const double off = hypot((double)(i % sheet->width) - x, (double)(i / sheet->width) - y);
            sheet->cover[i] *= (float)fmax(0, fmin(1, off - reach + 0.5));
        }
    }
}

uint8_t *scene_draw(const struct scene *scene, const struct sheet *sheet, double angle,
                    struct chance *chance, size_t *png_nbytes)
{
    const size_t w = sheet->width, h = sheet->height;
    struct picture picture = picture_new(w, h, scene->transparent);
    for (size_t i = 0; i < w * h; i++) {
        const double soft = (double)sheet->cover[i];
        const double cover = scene->aliased ? soft > 0.5 : soft;
        const double light = light_at(scene, angle, i % w, i / w);
        colour_pixel(picture.rgb + 3 * i, scene, scene->transparent ? 1 : cover,
                     rules_at(scene, i % w, i / w), light, chance);
        if (scene->desk > 0 || scene->inset > 0 || scene->corner > 0)
            colour_around(picture.rgb + 3 * i, scene, i % w, i / w);
        if (scene->transparent)
            picture.alpha[i] = sheet->cover[i];
    }
    for (size_t i = 0; i < w * h * 3; i++) /* as a sensor does */
        picture.rgb[i] = fminf(fmaxf(picture.rgb[i], 0), 1);
    if (scene->blur > 0)
        picture_blur(&picture, scene->blur);
    if (scene->jpeg > 0)
        picture_jpeg(&picture, scene->jpeg);
    if (scene->orientation)
        picture_orient(&picture, scene->orientation);
    uint8_t *png = picture_png(&picture, scene->png, png_nbytes);
    picture_free(&picture);
    return png;
}

uint8_t *scene_png(const struct scene *scene, const struct source *source, struct chance *chance,
                   size_t *png_nbytes)
{
    const double angle = chance_between(chance, 0, 6.2832);
    struct sheet sheet = sheet_new(scene->width, scene->height);

    draw_source(&sheet, source, scene, chance);
    if (scene->cut)
        cut_sheet(&sheet, scene);
    tear_sheet(&sheet, scene, chance);
    uint8_t *png = scene_draw(scene, &sheet, angle, chance, png_nbytes);
    sheet_free(&sheet);
    return png;
}
