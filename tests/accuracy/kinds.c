/*
 * kinds.c - see kinds.h.  A kind is a function that changes the plain scene (dark
 * on white, a usual pen, 240 pixels).
 */
#include "tests/accuracy/kinds.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/accuracy/scene.h"

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

/* Paper and ink that differ in colour but not in how bright they are. */
static void equal_luma(struct scene *scene, struct chance *chance)
{
    static const double weights[3] = {0.299, 0.587, 0.114};
    double luma, apart;
    do {
        luma = apart = 0;
        for (int c = 0; c < 3; c++) {
            scene->paper[c] = chance_between(chance, 0, 1);
            scene->ink[c] = chance_between(chance, 0, 1);
            luma += weights[c] * (scene->ink[c] - scene->paper[c]);
            apart += fabs(scene->ink[c] - scene->paper[c]);
        }
    } while (fabs(luma) > 0.02 || apart < 0.8);
    scene->png = PNG_RGB_8;
    scene->noise = chance_between(chance, 0, 0.01);
}

/* A phone's picture, held in any way, as its eXIf says. */
static void oriented(struct scene *scene, struct chance *chance)
{
    photo(scene, chance);
    scene->orientation = 1 + (unsigned)chance_below(chance, 8);
}

static void minute(struct scene *scene, struct chance *chance)
{
    scene->width = scene->height = 8 + chance_below(chance, 13);
    put_digit(scene, chance_between(chance, 0.75, 0.9), chance_between(chance, 0.07, 0.13), chance);
    if (chance_below(chance, 2))
        light_on_dark(scene, chance);
}

/* A signature pad of 100 to 1000 pixels, square or twice as wide, black on
 * transparent; the pen is 1 to 100 pixels wide, and `part` of the pad. */
static void signature_pad(struct scene *scene, double part, struct chance *chance)
{
    const double side = chance_between(chance, fmax(100, 1 / part), 1000);
    scene->height = (size_t)side;
    scene->width = scene->height * (1 + chance_below(chance, 2));
    put_digit(scene, chance_between(chance, 0.45, 0.75), 0, chance);
    scene->place.pen = fmin(100, part * side);
    scene->transparent = 1;
    scene->png = PNG_RGBA_8;
}

static const struct {
    const char *name;
    void (*change)(struct scene *scene, struct chance *chance);
    double pen; /* of a signature_pad() */
} kinds[] = {
    {"dark on white", NULL, 0}, {"light on dark", light_on_dark, 0}, {"canvas", canvas, 0},
    {"thin pen", thin, 0}, {"thick marker", thick, 0}, {"colour", colour, 0},
    {"ruled paper", ruled, 0}, {"squared paper", squared, 0}, {"uneven light", shaded, 0},
    {"shadow edge", shadow, 0}, {"transparent, dark ink", transparent_dark, 0},
    {"transparent, light ink", transparent_light, 0}, {"JPEG-like blocks", jpeg, 0},
    {"at the border", at_border, 0}, {"off centre", off_centre, 0},
    {"tiny in large", tiny_in_large, 0}, {"large in small", large_in_small, 0},
    {"16 bits", deep, 0}, {"palette", palette, 0}, {"1 bit", one_bit, 0},
    {"2000-pixel scan", scan, 0}, {"salt and pepper", salt, 0}, {"noise", noisy, 0},
    {"blurred", blurred, 0}, {"turned", turned, 0}, {"pencil", pencil, 0},
    {"some of everything", anything, 0}, {"framed canvas", framed, 0},
    {"rounded corners", rounded, 0}, {"desk beside paper", desk, 0},
    {"phone photo, biro", photo, 0}, {"marker on beige", beige, 0}, {"gaps in the line", gappy, 0},
    {"no antialiasing", aliased, 0}, {"thin line on canvas", thin_canvas, 0},
    {"coloured, same luma", equal_luma, 0}, {"photo turned by eXIf", oriented, 0},
    {"8 to 20 pixels", minute, 0},
    {"pen 1/500 of the pad", NULL, 1.0 / 500}, {"pen 1/200 of the pad", NULL, 1.0 / 200},
    {"pen 1/100 of the pad", NULL, 1.0 / 100}, {"pen 1/50 of the pad", NULL, 1.0 / 50},
    {"pen 1/25 of the pad", NULL, 1.0 / 25}, {"pen 1/16 of the pad", NULL, 1.0 / 16},
    {"pen 1/12 of the pad", NULL, 1.0 / 12}, {"pen 1/10 of the pad", NULL, 1.0 / 10},
    {"pen 1/8 of the pad", NULL, 1.0 / 8},
};

size_t kinds_count(void)
{
    return sizeof kinds / sizeof *kinds;
}

int kind_has_pen(size_t kind)
{
    return kinds[kind].pen > 0;
}

const char *kind_name(size_t kind)
{
    return kinds[kind].name;
}

uint8_t *kind_make(size_t kind, const struct source *source, struct chance *chance,
                   size_t *png_nbytes)
{
    struct scene scene;
    plain(&scene, chance);
    if (kinds[kind].change)
        kinds[kind].change(&scene, chance);
    if (kinds[kind].pen > 0)
        signature_pad(&scene, kinds[kind].pen, chance);
    return scene_png(&scene, source, chance, png_nbytes);
}
