/*
 * kinds.c - see kinds.h.  A scene says all about a picture; a kind is a function
 * that changes the plain scene (dark on white, a usual pen, 240 pixels).
 */
#include "tests/accuracy/kinds.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct scene {
    size_t width, height;
    struct place place;
    double heavier;           /* of MNIST's strokes, see draw_mnist() */
    double paper[3], ink[3];
    double slope, vignette;   /* how much darker the far end and the corners are */
    double shadow;            /* how much darker behind a soft diagonal edge */
    double rule_pitch, rule_pen, rule_depth; /* pixels; how far from paper to dark blue */
    int squared;
    double noise, salt, grain; /* deviation; part of the pixels; pencil's paper grain */
    size_t blur;
    double jpeg;
    unsigned cut;             /* sides that are cut off at the ink: 1 left, 2 right, 4 top, 8 bottom */
    double cut_in;            /* pixels of it that are lost */
    double inset, corner, frame_pen; /* of a frame: from the edge, its corners' radius, its line */
    double frame[3], outside[3];     /* the colours of its line and of what lies around it */
    double desk;              /* the part that is beyond the paper's slanting edge */
    size_t gaps;              /* places where the pen left nothing */
    int aliased;              /* every pixel is ink or paper */
    int transparent;
    enum png_kind png;
};

/* Puts the digit somewhere in the picture: its height as a part of the
 * picture's, its pen as a part of its height. */
static void put_digit(struct scene *scene, double size, double pen, struct chance *chance)
{
    const double h = (double)scene->height, w = (double)scene->width, least = fmin(w, h);
    struct place *place = &scene->place;
    place->size = size * least;
    place->pen = fmax(pen * place->size, 1);
    const double room = fmax(0, least - place->size - place->pen) / 2 * 0.8;
    place->left = (w - 0.8 * place->size) / 2 + chance_between(chance, -room, room);
    place->top = (h - place->size) / 2 + chance_between(chance, -room, room);
    place->wobble = 0.02;
}

static void plain(struct scene *scene, struct chance *chance)
{
    *scene = (struct scene){.width = 240, .height = 240, .paper = {1, 1, 1}, .png = PNG_GRAY_8};
    put_digit(scene, chance_between(chance, 0.45, 0.75), chance_between(chance, 0.07, 0.13), chance);
}

static void set_gray(double colour[3], double value)
{
    colour[0] = colour[1] = colour[2] = value;
}

static void light_on_dark(struct scene *scene, struct chance *chance)
{
    set_gray(scene->paper, chance_between(chance, 0, 0.25));
    set_gray(scene->ink, chance_between(chance, 0.8, 1));
}

/* A drawing surface of a web page: a thick round pen, an unsteady hand. */
static void canvas(struct scene *scene, struct chance *chance)
{
    scene->width = scene->height = 280;
    put_digit(scene, chance_between(chance, 0.5, 0.85), chance_between(chance, 0.06, 0.14), chance);
    scene->place.wobble = 0.03;
    if (chance_below(chance, 2))
        light_on_dark(scene, chance);
}

static void thin(struct scene *scene, struct chance *chance)
{
    scene->width = scene->height = 200 + chance_below(chance, 400);
    put_digit(scene, chance_between(chance, 0.4, 0.8), 0, chance);
    scene->place.pen = chance_between(chance, 1, 3);
    scene->heavier = -0.25;
}

static void thick(struct scene *scene, struct chance *chance)
{
    put_digit(scene, chance_between(chance, 0.5, 0.75), chance_between(chance, 0.15, 0.21), chance);
    scene->heavier = 0.2;
}

static void colour(struct scene *scene, struct chance *chance)
{
    static const double papers[][3] = {
        {1, 0.95, 0.7}, {0.98, 0.8, 0.85}, {0.75, 0.9, 1}, {0.8, 0.95, 0.75}, {0.8, 0.65, 0.45}};
    static const double inks[][3] = {
        {0.1, 0.15, 0.6}, {0.7, 0.05, 0.1}, {0.05, 0.4, 0.1}, {0.3, 0.05, 0.4}, {0.1, 0.1, 0.1}};
    static const double chalks[][3] = {
        {0.05, 0.25, 0.15}, {0.1, 0.1, 0.35}, {0.15, 0.15, 0.15}, {0.35, 0.05, 0.1}};
    scene->png = PNG_RGB_8;
    memcpy(scene->paper, papers[chance_below(chance, 5)], sizeof scene->paper);
    memcpy(scene->ink, inks[chance_below(chance, 5)], sizeof scene->ink);
    if (chance_below(chance, 3) == 0) {
        memcpy(scene->ink, papers[chance_below(chance, 4)], sizeof scene->ink);
        memcpy(scene->paper, chalks[chance_below(chance, 4)], sizeof scene->paper);
    }
}

static void ruled(struct scene *scene, struct chance *chance)
{
    scene->png = PNG_RGB_8;
    scene->width = scene->height = 300;
    put_digit(scene, chance_between(chance, 0.45, 0.8), chance_between(chance, 0.05, 0.1), chance);
    set_gray(scene->ink, chance_between(chance, 0, 0.2));
    scene->rule_pitch = chance_between(chance, 30, 70);
    scene->rule_pen = chance_between(chance, 1, 2.5);
    scene->rule_depth = chance_between(chance, 0.25, 0.75);
}

static void squared(struct scene *scene, struct chance *chance)
{
    ruled(scene, chance);
    scene->rule_pitch = chance_between(chance, 20, 50);
    scene->squared = 1;
}

static void shaded(struct scene *scene, struct chance *chance)
{
    set_gray(scene->paper, chance_between(chance, 0.75, 1));
    set_gray(scene->ink, chance_between(chance, 0.05, 0.35));
    scene->slope = chance_between(chance, 0.2, 0.65);
    scene->vignette = chance_between(chance, 0, 0.4);
    scene->noise = 0.01;
}

static void shadow(struct scene *scene, struct chance *chance)
{
    set_gray(scene->paper, chance_between(chance, 0.8, 1));
    scene->slope = chance_between(chance, 0, 0.2);
    scene->shadow = chance_between(chance, 0.25, 0.5);
    scene->noise = 0.01;
}

static void transparent_dark(struct scene *scene, struct chance *chance)
{
    set_gray(scene->ink, chance_between(chance, 0, 0.3));
    scene->transparent = 1;
    scene->png = chance_below(chance, 2) ? PNG_RGBA_8 : PNG_GRAY_ALPHA_8;
}

static void transparent_light(struct scene *scene, struct chance *chance)
{
    set_gray(scene->ink, chance_between(chance, 0.7, 1));
    scene->transparent = 1;
    scene->png = chance_below(chance, 2) ? PNG_RGBA_8 : PNG_GRAY_ALPHA_8;
}

static void jpeg(struct scene *scene, struct chance *chance)
{
    colour(scene, chance);
    scene->jpeg = chance_between(chance, 1, 5);
}

/* One to four sides cut so close that up to a third of the pen is lost. */
static void at_border(struct scene *scene, struct chance *chance)
{
    scene->cut = 1 + (unsigned)chance_below(chance, 15);
    scene->cut_in = chance_between(chance, 0, 0.33) * scene->place.pen;
}

static void off_centre(struct scene *scene, struct chance *chance)
{
    scene->width = 300 + chance_below(chance, 300);
    put_digit(scene, chance_between(chance, 0.3, 0.5), chance_between(chance, 0.07, 0.12), chance);
    const double room = (double)scene->width - scene->place.size - 30;
    scene->place.left = 15 + (chance_below(chance, 2) ? room : chance_between(chance, 0, 0.2) * room);
}

static void tiny_in_large(struct scene *scene, struct chance *chance)
{
    scene->width = 800 + chance_below(chance, 600);
    scene->height = 600 + chance_below(chance, 600);
    put_digit(scene, chance_between(chance, 0.05, 0.12), chance_between(chance, 0.07, 0.12), chance);
}

static void large_in_small(struct scene *scene, struct chance *chance)
{
    scene->width = scene->height = 28 + chance_below(chance, 20);
    put_digit(scene, chance_between(chance, 0.8, 0.92), chance_between(chance, 0.06, 0.14), chance);
}

static void deep(struct scene *scene, struct chance *chance)
{
    set_gray(scene->paper, chance_between(chance, 0.5, 1));
    set_gray(scene->ink, chance_between(chance, 0, 0.25));
    scene->png = chance_below(chance, 2) ? PNG_GRAY_16 : PNG_RGB_16;
}

static void palette(struct scene *scene, struct chance *chance)
{
    colour(scene, chance);
    scene->png = PNG_PALETTE_8;
}

static void one_bit(struct scene *scene, struct chance *chance)
{
    scene->width = scene->height = 40 + chance_below(chance, 200);
    put_digit(scene, chance_between(chance, 0.5, 0.85), chance_between(chance, 0.05, 0.13), chance);
    scene->png = PNG_GRAY_1;
}

/* 2,000 pixels, uneven light, the paper's grain. */
static void scan(struct scene *scene, struct chance *chance)
{
    scene->width = scene->height = 2000;
    put_digit(scene, chance_between(chance, 0.15, 0.8), chance_between(chance, 0.02, 0.1), chance);
    set_gray(scene->paper, chance_between(chance, 0.8, 1));
    set_gray(scene->ink, chance_between(chance, 0.05, 0.35));
    scene->slope = chance_between(chance, 0.1, 0.5);
    scene->vignette = chance_between(chance, 0, 0.3);
    scene->noise = 0.02;
    scene->heavier = -0.1;
}

static void salt(struct scene *scene, struct chance *chance)
{
    scene->salt = chance_between(chance, 0.003, 0.04);
}

static void noisy(struct scene *scene, struct chance *chance)
{
    set_gray(scene->paper, chance_between(chance, 0.6, 0.9));
    set_gray(scene->ink, chance_between(chance, 0.1, 0.3));
    scene->noise = chance_between(chance, 0.03, 0.1);
}

static void blurred(struct scene *scene, struct chance *chance)
{
    scene->blur = 1 + chance_below(chance, 4);
}

static void turned(struct scene *scene, struct chance *chance)
{
    scene->place.turn = chance_between(chance, 0.1, 0.25) * (chance_below(chance, 2) ? 1 : -1);
}

/* Pale, with the paper's grain in the stroke. */
static void pencil(struct scene *scene, struct chance *chance)
{
    scene->width = scene->height = 300;
    put_digit(scene, chance_between(chance, 0.4, 0.75), chance_between(chance, 0.02, 0.05), chance);
    set_gray(scene->paper, chance_between(chance, 0.8, 1));
    set_gray(scene->ink, scene->paper[0] - chance_between(chance, 0.25, 0.5));
    scene->grain = 0.5;
    scene->noise = 0.01;
}

/* A drawing surface with a frame around, or the page around that. */
static void framed(struct scene *scene, struct chance *chance)
{
    canvas(scene, chance);
    const double dark = scene->ink[0] < scene->paper[0] ? 1 : -1;
    scene->png = PNG_RGB_8;
    scene->width = 240 + chance_below(chance, 200);
    scene->height = 240 + chance_below(chance, 200);
    put_digit(scene, chance_between(chance, 0.4, 0.65), chance_between(chance, 0.06, 0.12), chance);
    scene->frame_pen = chance_between(chance, 1, 5);
    scene->inset = chance_below(chance, 3) ? scene->frame_pen / 2 : chance_between(chance, 3, 20);
    scene->corner = chance_below(chance, 2) ? 0 : chance_between(chance, 4, 30);
    set_gray(scene->frame, scene->paper[0] - dark * chance_between(chance, 0.1, 0.75));
    if (chance_below(chance, 4) == 0)
        memcpy(scene->frame, scene->ink, sizeof scene->frame);
    set_gray(scene->outside, scene->paper[0] - dark * chance_between(chance, 0, 0.15));
}

/* A screenshot or an app's icon: rounded corners, transparent, black or grey. */
static void rounded(struct scene *scene, struct chance *chance)
{
    canvas(scene, chance);
    scene->png = PNG_RGB_8;
    scene->inset = chance_between(chance, 0, 2);
    scene->corner = chance_between(chance, 8, 50);
    set_gray(scene->outside, chance_below(chance, 2) ? 0 : chance_between(chance, 0, 1));
}

/* The desk shows at one side of the photographed sheet. */
static void desk(struct scene *scene, struct chance *chance)
{
    scene->width = scene->height = 300 + chance_below(chance, 200);
    put_digit(scene, chance_between(chance, 0.35, 0.55), chance_between(chance, 0.05, 0.12), chance);
    set_gray(scene->paper, chance_between(chance, 0.8, 0.95));
    set_gray(scene->ink, chance_between(chance, 0.05, 0.3));
    scene->desk = chance_between(chance, 0.02, 0.1);
    set_gray(scene->outside, chance_between(chance, 0.1, 0.5));
    scene->slope = chance_between(chance, 0, 0.2);
    scene->noise = 0.01;
}

/* A biro on lined or squared paper, photographed by lamplight. */
static void photo(struct scene *scene, struct chance *chance)
{
    static const double inks[][3] = {{0.1, 0.15, 0.5}, {0.1, 0.1, 0.15}, {0.15, 0.15, 0.2}};
    scene->png = PNG_RGB_8;
    scene->width = 300 + chance_below(chance, 500);
    scene->height = 300 + chance_below(chance, 500);
    put_digit(scene, chance_between(chance, 0.3, 0.7), chance_between(chance, 0.025, 0.07), chance);
    scene->place.wobble = 0.025;
    memcpy(scene->ink, inks[chance_below(chance, 3)], sizeof scene->ink);
    const double light = chance_between(chance, 0.75, 1);
    memcpy(scene->paper, (double[]){light, light * 0.97, light * chance_between(chance, 0.75, 1)},
           sizeof scene->paper);
    scene->rule_pitch = chance_between(chance, 0.06, 0.2) * (double)scene->height;
    scene->rule_pen = chance_between(chance, 1, 2.5);
    scene->rule_depth = chance_between(chance, 0.15, 0.5);
    scene->squared = (int)chance_below(chance, 2);
    scene->slope = chance_between(chance, 0.05, 0.45);
    scene->vignette = chance_between(chance, 0, 0.4);
    scene->shadow = chance_below(chance, 4) ? 0 : chance_between(chance, 0.15, 0.35);
    scene->noise = chance_between(chance, 0.005, 0.025);
    scene->blur = chance_below(chance, 2);
    scene->jpeg = chance_between(chance, 0.5, 2.5);
    scene->heavier = -0.15;
}

static void beige(struct scene *scene, struct chance *chance)
{
    scene->png = PNG_RGB_8;
    memcpy(scene->paper, (double[]){chance_between(chance, 0.8, 0.95), 0.8, 0.62},
           sizeof scene->paper);
    set_gray(scene->ink, chance_between(chance, 0.02, 0.15));
    put_digit(scene, chance_between(chance, 0.4, 0.8), chance_between(chance, 0.1, 0.18), chance);
    scene->noise = 0.02;
    scene->slope = chance_between(chance, 0, 0.3);
}

static void gappy(struct scene *scene, struct chance *chance)
{
    canvas(scene, chance);
    scene->gaps = 1 + chance_below(chance, 3);
}

/* A drawing program without antialiasing, light on dark in half of all. */
static void aliased(struct scene *scene, struct chance *chance)
{
    scene->width = scene->height = 60 + chance_below(chance, 300);
    put_digit(scene, chance_between(chance, 0.4, 0.85), chance_between(chance, 0.03, 0.14), chance);
    scene->aliased = 1;
    if (chance_below(chance, 2))
        light_on_dark(scene, chance);
}

/* A thin line on a large drawing surface. */
static void thin_canvas(struct scene *scene, struct chance *chance)
{
    canvas(scene, chance);
    scene->place.pen = chance_between(chance, 1, 5);
    scene->heavier = -0.2;
}

/* Some of everything, none of it extreme: what comes in practice. */
static void anything(struct scene *scene, struct chance *chance)
{
    scene->width = 100 + chance_below(chance, 500);
    scene->height = 100 + chance_below(chance, 500);
    put_digit(scene, chance_between(chance, 0.3, 0.9), chance_between(chance, 0.02, 0.16), chance);
    scene->place.wobble = chance_between(chance, 0.01, 0.035);
    scene->place.turn = chance_between(chance, -0.12, 0.12);
    scene->heavier = chance_between(chance, -0.2, 0.15);
    if (chance_below(chance, 3) == 0)
        colour(scene, chance);
    else if (chance_below(chance, 3) == 0)
        light_on_dark(scene, chance);
    if (chance_below(chance, 2)) {
        scene->slope = chance_between(chance, 0, 0.4);
        scene->vignette = chance_between(chance, 0, 0.2);
    }
    if (chance_below(chance, 4) == 0) {
        scene->rule_pitch = chance_between(chance, 25, 70);
        scene->rule_pen = chance_between(chance, 1, 2);
        scene->rule_depth = chance_between(chance, 0.2, 0.5);
        scene->squared = (int)chance_below(chance, 2);
    }
    scene->noise = chance_below(chance, 2) ? chance_between(chance, 0, 0.03) : 0;
    scene->salt = chance_below(chance, 4) ? 0 : chance_between(chance, 0, 0.005);
    scene->blur = chance_below(chance, 3) ? 0 : 1;
    scene->jpeg = chance_below(chance, 3) ? 0 : chance_between(chance, 0.5, 3);
}

static const struct {
    const char *name;
    void (*change)(struct scene *scene, struct chance *chance);
} kinds[] = {
    {"dark on white", NULL}, {"light on dark", light_on_dark}, {"canvas", canvas},
    {"thin pen", thin}, {"thick marker", thick}, {"colour", colour}, {"ruled paper", ruled},
    {"squared paper", squared}, {"uneven light", shaded}, {"shadow edge", shadow},
    {"transparent, dark ink", transparent_dark}, {"transparent, light ink", transparent_light},
    {"JPEG-like blocks", jpeg}, {"at the border", at_border}, {"off centre", off_centre},
    {"tiny in large", tiny_in_large}, {"large in small", large_in_small}, {"16 bits", deep},
    {"palette", palette}, {"1 bit", one_bit}, {"2000-pixel scan", scan},
    {"salt and pepper", salt}, {"noise", noisy}, {"blurred", blurred}, {"turned", turned},
    {"pencil", pencil}, {"some of everything", anything}, {"framed canvas", framed},
    {"rounded corners", rounded}, {"desk beside paper", desk}, {"phone photo, biro", photo},
    {"marker on beige", beige}, {"gaps in the line", gappy}, {"no antialiasing", aliased},
    {"thin line on canvas", thin_canvas},
};

size_t kinds_count(void)
{
    return sizeof kinds / sizeof *kinds;
}

const char *kind_name(size_t kind)
{
    return kinds[kind].name;
}

/* ---- From scene to picture ---------------------------------------------------------- */

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

uint8_t *kind_make(size_t kind, const struct source *source, struct chance *chance,
                   size_t *png_nbytes)
{
    struct scene scene;
    plain(&scene, chance);
    if (kinds[kind].change)
        kinds[kind].change(&scene, chance);
    const double angle = chance_between(chance, 0, 6.2832);
    struct sheet sheet = sheet_new(scene.width, scene.height);

    draw_source(&sheet, source, &scene, chance);
    if (scene.cut)
        cut_sheet(&sheet, &scene);
    tear_sheet(&sheet, &scene, chance);
    const size_t w = sheet.width, h = sheet.height;
    struct picture picture = picture_new(w, h, scene.transparent);
    for (size_t i = 0; i < w * h; i++) {
        const double soft = (double)sheet.cover[i];
        const double cover = scene.aliased ? soft > 0.5 : soft;
        const double light = light_at(&scene, angle, i % w, i / w);
        colour_pixel(picture.rgb + 3 * i, &scene, scene.transparent ? 1 : cover,
                     rules_at(&scene, i % w, i / w), light, chance);
        if (scene.desk > 0 || scene.inset > 0 || scene.corner > 0)
            colour_around(picture.rgb + 3 * i, &scene, i % w, i / w);
        if (scene.transparent)
            picture.alpha[i] = sheet.cover[i];
    }
    for (size_t i = 0; i < w * h * 3; i++) /* as a sensor does */
        picture.rgb[i] = fminf(fmaxf(picture.rgb[i], 0), 1);
    if (scene.blur > 0)
        picture_blur(&picture, scene.blur);
    if (scene.jpeg > 0)
        picture_jpeg(&picture, scene.jpeg);
    uint8_t *png = picture_png(&picture, scene.png, png_nbytes);
    picture_free(&picture);
    sheet_free(&sheet);
    return png;
}
