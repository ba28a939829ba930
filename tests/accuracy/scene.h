/*
 * scene.h - all about one picture of something drawn: its paper, its ink, its
 * light, what damaged it, and how it is stored.
 */
#ifndef NORMALIZE_SCENE_H
#define NORMALIZE_SCENE_H

#include "tests/accuracy/kinds.h"

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
    unsigned orientation;     /* of eXIf, 1 to 8; 0: none */
    enum png_kind png;
};

/* Draws the source into the scene, and returns the picture as a PNG; to be
 * freed. */
uint8_t *scene_png(const struct scene *scene, const struct source *source, struct chance *chance,
                   size_t *png_nbytes);

/* The same of what is drawn on a sheet of the scene's size already; angle: where the light
 * comes from, in radians. */
uint8_t *scene_draw(const struct scene *scene, const struct sheet *sheet, double angle,
                    struct chance *chance, size_t *png_nbytes);

#endif
