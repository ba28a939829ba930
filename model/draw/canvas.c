/*
 * canvas.c - see canvas.h.
 */
#include "model/draw/canvas.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ASCII from the space on, twelve letters a group. */
enum { GROUP = 12, FIRST = ' ', OTHER = 0x7f };
static const char *const letters[96 / GROUP][LETTER_ROWS] = {
    { /*  !"#$%&'()*+ */
     "..... ..#.. .#.#. .#.#. ..#.. ##..# .##.. ..#.. ...#. .#... ..... .....",
     "..... ..#.. .#.#. .#.#. .#### ##..# #..#. ..#.. ..#.. ..#.. ..#.. ..#..",
     "..... ..#.. .#.#. ##### #.#.. ...#. #.#.. ..#.. .#... ...#. #.#.# ..#..",
     "..... ..#.. ..... .#.#. .###. ..#.. .#... ..... .#... ...#. .###. #####",
     "..... ..#.. ..... ##### ..#.# .#... #.#.# ..... .#... ...#. #.#.# ..#..",
     "..... ..... ..... .#.#. ####. #..## #..#. ..... ..#.. ..#.. ..#.. ..#..",
     "..... ..#.. ..... .#.#. ..#.. #..## .##.# ..... ...#. .#... ..... .....",
     "..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .....",
     "..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ....."},
    { /* ,-./01234567 */
     "..... ..... ..... ....# .###. ..#.. .###. ##### ...#. ##### ..##. #####",
     "..... ..... ..... ....# #...# .##.. #...# ...#. ..##. #.... .#... ....#",
     "..... ..... ..... ...#. #..## ..#.. ....# ..#.. .#.#. ####. #.... ...#.",
     "..... ##### ..... ..#.. #.#.# ..#.. ...#. ...#. #..#. ....# ####. ..#..",
     "..... ..... ..... .#... ##..# ..#.. ..#.. ....# ##### ....# #...# .#...",
     "..##. ..... .##.. #.... #...# ..#.. .#... #...# ...#. #...# #...# .#...",
     "..##. ..... .##.. #.... .###. .###. ##### .###. ...#. .###. .###. .#...",
     "..#.. ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .....",
     ".#... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ....."},
    { /* 89:;<=>?@ABC */
     ".###. .###. ..... ..... ...#. ..... .#... .###. .###. .###. ####. .###.",
     "#...# #...# .##.. ..... ..#.. ..... ..#.. #...# #...# #...# #...# #...#",
     "#...# #...# .##.. ..##. .#... ##### ...#. ....# #.### #...# #...# #....",
     ".###. .#### ..... ..##. #.... ..... ....# ...#. #.#.# ##### ####. #....",
     "#...# ....# .##.. ..... .#... ##### ...#. ..#.. #.### #...# #...# #....",
     "#...# ...#. .##.. ..##. ..#.. ..... ..#.. ..... #.... #...# #...# #...#",
     ".###. .##.. ..... ..##. ...#. ..... .#... ..#.. .#### #...# ####. .###.",
     "..... ..... ..... ..#.. ..... ..... ..... ..... ..... ..... ..... .....",
     "..... ..... ..... .#... ..... ..... ..... ..... ..... ..... ..... ....."},
    { /* DEFGHIJKLMNO */
     "####. ##### ##### .###. #...# .###. ..### #...# #.... #...# #...# .###.",
     "#...# #.... #.... #...# #...# ..#.. ...#. #..#. #.... ##.## ##..# #...#",
     "#...# #.... #.... #.... #...# ..#.. ...#. #.#.. #.... #.#.# ##..# #...#",
     "#...# ####. ####. #.### ##### ..#.. ...#. ##... #.... #.#.# #.#.# #...#",
     "#...# #.... #.... #...# #...# ..#.. ...#. #.#.. #.... #...# #..## #...#",
     "#...# #.... #.... #...# #...# ..#.. #..#. #..#. #.... #...# #..## #...#",
     "####. ##### #.... .###. #...# .###. .##.. #...# ##### #...# #...# .###.",
     "..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .....",
     "..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ....."},
    { /* PQRSTUVWXYZ[ */
     "####. .###. ####. .#### ##### #...# #...# #...# #...# #...# ##### .###.",
     "#...# #...# #...# #.... ..#.. #...# #...# #...# #...# #...# ....# .#...",
     "#...# #...# #...# #.... ..#.. #...# #...# #...# .#.#. .#.#. ...#. .#...",
     "####. #...# ####. .###. ..#.. #...# #...# #.#.# ..#.. ..#.. ..#.. .#...",
     "#.... #.#.# #.#.. ....# ..#.. #...# #...# #.#.# .#.#. ..#.. .#... .#...",
     "#.... #..#. #..#. ....# ..#.. #...# .#.#. ##.## #...# ..#.. #.... .#...",
     "#.... .##.# #...# ####. ..#.. .###. ..#.. #...# #...# ..#.. ##### .###.",
     "..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .....",
     "..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ....."},
    { /* \]^_`abcdefg */
     "#.... .###. ..#.. ..... .#... ..... #.... ..... ....# ..... ..##. .....",
     "#.... ...#. .#.#. ..... ..#.. ..... #.... ..... ....# ..... .#... .....",
     ".#... ...#. #...# ..... ..... .###. ####. .#### .#### .###. ####. .####",
     "..#.. ...#. ..... ..... ..... ....# #...# #.... #...# #...# .#... #...#",
     "...#. ...#. ..... ..... ..... .#### #...# #.... #...# ##### .#... #...#",
     "....# ...#. ..... ..... ..... #...# #...# #.... #...# #.... .#... #...#",
     "....# .###. ..... ##### ..... .#### ####. .#### .#### .#### .#... .####",
     "..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ....#",
     "..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .###."},
    { /* hijklmnopqrs */
     "#.... ..#.. ...#. .#... .##.. ..... ..... ..... ..... ..... ..... .....",
     "#.... ..... ..... .#... ..#.. ..... ..... ..... ..... ..... ..... .....",
     "####. .##.. ..##. .#..# ..#.. ##.#. ####. .###. ####. .#### #.##. .####",
     "#...# ..#.. ...#. .#.#. ..#.. #.#.# #...# #...# #...# #...# ##..# #....",
     "#...# ..#.. ...#. .##.. ..#.. #.#.# #...# #...# #...# #...# #.... .###.",
     "#...# ..#.. ...#. .#.#. ..#.. #.#.# #...# #...# #...# #...# #.... ....#",
     "#...# .###. ...#. .#..# .###. #.#.# #...# .###. ####. .#### #.... ####.",
     "..... ..... #..#. ..... ..... ..... ..... ..... #.... ....# ..... .....",
     "..... ..... .##.. ..... ..... ..... ..... ..... #.... ....# ..... ....."},
    { /* tuvwxyz{|}~ and any other */
     ".#... ..... ..... ..... ..... ..... ..... ...## ..#.. ##... ..... #####",
     ".#... ..... ..... ..... ..... ..... ..... ..#.. ..#.. ..#.. ..... #...#",
     "####. #...# #...# #...# #...# #...# ##### ..#.. ..#.. ..#.. .#... #...#",
     ".#... #...# #...# #.#.# .#.#. #...# ...#. .#... ..#.. ...#. #.#.# #...#",
     ".#... #...# #...# #.#.# ..#.. #...# ..#.. ..#.. ..#.. ..#.. ...#. #...#",
     ".#..# #..## .#.#. #.#.# .#.#. #...# .#... ..#.. ..#.. ..#.. ..... #...#",
     "..##. .##.# ..#.. .#.#. #...# .#### ##### ...## ..#.. ##... ..... #####",
     "..... ..... ..... ..... ..... ....# ..... ..... ..... ..... ..... .....",
     "..... ..... ..... ..... ..... .###. ..... ..... ..... ..... ..... ....."},
};

enum capsnet_status canvas_create(struct image *picture, size_t width, size_t height,
                                   uint32_t colour, struct capsnet_error *error)
{
    *picture = (struct image){width, height, 3, malloc(width * height * 3)};
    if (!picture->pixels) {
        snprintf(error->text, sizeof error->text,
                 "not enough memory for a picture of %zu x %zu pixels", width, height);
        return CAPSNET_ERR_MEMORY;
    }
    canvas_fill(picture, 0, 0, width, height, colour);
    return CAPSNET_OK;
}

/* Lays a colour over a pixel; share: 0 leaves it, 1 replaces it. */
static void blend(struct image *picture, size_t x, size_t y, uint32_t colour, double share)
{
    if (x >= picture->width || y >= picture->height)
        return;
    uint8_t *pixel = picture->pixels + (y * picture->width + x) * 3;
    for (size_t c = 0; c < 3; c++) {
        double to = (double)(colour >> (16 - 8 * c) & 255);
        pixel[c] = (uint8_t)lround(pixel[c] + share * (to - pixel[c]));
    }
}

void canvas_fill(struct image *picture, size_t x, size_t y, size_t width, size_t height,
                  uint32_t colour)
{
    const uint8_t bytes[3] = {colour >> 16 & 255, colour >> 8 & 255, colour & 255};
    for (size_t i = y; i < y + height && i < picture->height; i++)
        for (size_t j = x; j < x + width && j < picture->width; j++)
            memcpy(picture->pixels + (i * picture->width + j) * 3, bytes, 3);
}

/* Each pixel near the line is covered by how far it is from it. */
void canvas_line(struct image *picture, double x0, double y0, double x1, double y1,
                  double thickness, uint32_t colour)
{
    const double dx = x1 - x0, dy = y1 - y0, length2 = dx * dx + dy * dy, r = thickness / 2;
    const size_t left = (size_t)fmax(0, fmin(x0, x1) - r - 1);
    const size_t top = (size_t)fmax(0, fmin(y0, y1) - r - 1);
    for (size_t y = top; (double)y <= fmax(y0, y1) + r + 1; y++)
        for (size_t x = left; (double)x <= fmax(x0, x1) + r + 1; x++) {
            double px = (double)x + 0.5 - x0, py = (double)y + 0.5 - y0;
            double along = length2 > 0 ? fmin(1, fmax(0, (px * dx + py * dy) / length2)) : 0;
            double distance = hypot(px - along * dx, py - along * dy);
            blend(picture, x, y, colour, fmin(1, fmax(0, r + 0.5 - distance)));
        }
}

/* The letter to draw for the character at text, and the next character. */
static unsigned next_letter(const char **text)
{
    unsigned letter = (unsigned char)*(*text)++;
    if (letter >= 0x80)
        while (((unsigned char)**text & 0xc0) == 0x80)
            (*text)++;
    return letter >= FIRST && letter < OTHER ? letter : OTHER;
}

size_t canvas_text_width(const char *text, size_t scale)
{
    size_t n = 0;
    for (; *text; n++)
        (void)next_letter(&text);
    return n ? (n * LETTER_STEP - 1) * scale : 0;
}

void canvas_text(struct image *picture, size_t x, size_t y, size_t scale, uint32_t colour,
                  const char *text)
{
    for (; *text; x += LETTER_STEP * scale) {
        const unsigned letter = next_letter(&text) - FIRST;
        for (size_t i = 0; i < LETTER_ROWS; i++) {
            const char *row = letters[letter / GROUP][i] + letter % GROUP * LETTER_STEP;
            for (size_t j = 0; j < LETTER_WIDTH; j++)
                if (row[j] == '#')
                    canvas_fill(picture, x + j * scale, y + i * scale, scale, scale, colour);
        }
    }
}

void canvas_image(struct image *picture, size_t x, size_t y, size_t scale, const float *pixels,
                   const struct capsnet_shape *shape)
{
    for (size_t i = 0; i < shape->height; i++)
        for (size_t j = 0; j < shape->width; j++) {
            uint32_t colour = 0;
            for (size_t c = 0; c < 3; c++) {
                size_t from = shape->channels == 3 ? c : 0;
                float value = pixels[(i * shape->width + j) * shape->channels + from];
                colour = colour << 8 | (uint32_t)(fminf(1, fmaxf(0, value)) * 255 + 0.5f);
            }
            canvas_fill(picture, x + j * scale, y + i * scale, scale, scale, colour);
        }
}
