/*
 * sheet.h - what the measuring program draws with: seeded chance, sheets of
 * ink, pictures in colour, and PNGs of every kind.
 */
#ifndef NORMALIZE_SHEET_H
#define NORMALIZE_SHEET_H

#include <stddef.h>
#include <stdint.h>

/* ---- Chance: splitmix64, so that a seed gives the same set everywhere ----- */

struct chance {
    uint64_t state;
};
uint64_t chance_bits(struct chance *chance);
double chance_between(struct chance *chance, double low, double high);
double chance_normal(struct chance *chance); /* mean 0, deviation 1 */
size_t chance_below(struct chance *chance, size_t n);

/* ---- Ink ------------------------------------------------------------------ */

/* How much of each pixel is ink, 0 to 1.  cover: [height][width], owned. */
struct sheet {
    size_t width, height;
    float *cover;
};
struct sheet sheet_new(size_t width, size_t height); /* blank; exits without memory */
void sheet_free(struct sheet *sheet);

/* A stroke of a round pen from a to b; pen: its width in pixels. */
void sheet_line(struct sheet *sheet, double ax, double ay, double bx, double by, double pen);

/* ---- Pictures ------------------------------------------------------------- */

/* rgb: [height][width][3], 0 to 1; alpha: [height][width] or NULL.  Owned. */
struct picture {
    size_t width, height;
    unsigned orientation; /* as eXIf has it, 1 to 8; 0: nothing said */
    float *rgb, *alpha;
};
struct picture picture_new(size_t width, size_t height, int with_alpha);
void picture_free(struct picture *picture);

/* Turns and mirrors the pixels so that the orientation, which is then stated,
 * undoes it. */
void picture_orient(struct picture *picture, unsigned orientation);

/* Gaussian-like blur: three boxes of that radius in pixels. */
void picture_blur(struct picture *picture, size_t radius);

/* What JPEG does around strokes: 8 x 8 blocks of luma and colour through the
 * cosine transform, coefficients rounded to multiples that grow with the
 * frequency; coarse: 1 good ... 8 awful. */
void picture_jpeg(struct picture *picture, double coarse);

enum png_kind { PNG_GRAY_1, PNG_GRAY_8, PNG_GRAY_16, PNG_PALETTE_8, PNG_RGB_8, PNG_RGB_16,
                PNG_RGBA_8, PNG_GRAY_ALPHA_8 };

/* The picture as a PNG; *nbytes is set; to be freed.  The palette is 6 x 7 x 6
 * colours; one bit is black and white. */
uint8_t *picture_png(const struct picture *picture, enum png_kind kind, size_t *nbytes);

#endif
