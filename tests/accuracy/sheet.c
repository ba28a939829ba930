/* sheet.c - see sheet.h. */
#include "tests/accuracy/sheet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

/* ---- Chance ----------------------------------------------------------------- */

uint64_t chance_bits(struct chance *chance)
{
    uint64_t z = chance->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

double chance_between(struct chance *chance, double low, double high)
{
    return low + (high - low) * ((double)(chance_bits(chance) >> 11) / 9007199254740992.0);
}

double chance_normal(struct chance *chance)
{
    double sum = 0; /* of twelve: close enough to normal for ink and paper */
    for (int i = 0; i < 12; i++)
        sum += chance_between(chance, -0.5, 0.5);
    return sum;
}

size_t chance_below(struct chance *chance, size_t n)
{
    return (size_t)(chance_bits(chance) % n);
}

/* ---- Ink -------------------------------------------------------------------- */

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (!memory) {
        fprintf(stderr, "no memory to draw\n");
        exit(1);
    }
    return memory;
}

struct sheet sheet_new(size_t width, size_t height)
{
    return (struct sheet){width, height, allocate(width * height, sizeof(float))};
}

void sheet_free(struct sheet *sheet)
{
    free(sheet->cover);
}

static size_t clip(double value, size_t limit)
{
    return value < 0 ? 0 : value > (double)limit ? limit : (size_t)value;
}

void sheet_line(struct sheet *sheet, double ax, double ay, double bx, double by, double pen)
{
    const double reach = pen / 2 + 1, dx = bx - ax, dy = by - ay;
    const double square = fmax(dx * dx + dy * dy, 1e-12);
    const size_t x1 = clip(fmax(ax, bx) + reach + 1, sheet->width);
    const size_t y1 = clip(fmax(ay, by) + reach + 1, sheet->height);

    for (size_t y = clip(fmin(ay, by) - reach, sheet->height); y < y1; y++) {
        for (size_t x = clip(fmin(ax, bx) - reach, sheet->width); x < x1; x++) {
            const double px = (double)x + 0.5 - ax, py = (double)y + 0.5 - ay;
            const double t = fmax(0, fmin(1, (px * dx + py * dy) / square));
            const double far = hypot(px - t * dx, py - t * dy);
            const float cover = (float)fmin(pen, fmax(0, fmin(1, pen / 2 - far + 0.5)));
            float *at = &sheet->cover[y * sheet->width + x];
            *at = cover > *at ? cover : *at;
        }
    }
}

/* ---- Pictures ----------------------------------------------------------------- */

struct picture picture_new(size_t width, size_t height, int with_alpha)
{
    return (struct picture){.width = width, .height = height,
                            .rgb = allocate(width * height * 3, sizeof(float)),
                            .alpha = with_alpha ? allocate(width * height, sizeof(float)) : NULL};
}

void picture_free(struct picture *picture)
{
    free(picture->rgb);
    free(picture->alpha);
}

void picture_orient(struct picture *picture, unsigned orientation)
{
    const size_t w = picture->width, h = picture->height;
    const int is_across = orientation > 4; /* columns are stored as rows */
    struct picture stored = picture_new(is_across ? h : w, is_across ? w : h, 0);
    for (size_t y = 0; y < h; y++)
        for (size_t x = 0; x < w; x++) {
            const size_t back_x = w - 1 - x, back_y = h - 1 - y;
            const size_t u[] = {x, back_x, back_x, x, y, y, back_y, back_y};
            const size_t v[] = {y, y, back_y, back_y, x, back_x, back_x, x};
            memcpy(stored.rgb + 3 * (v[orientation - 1] * stored.width + u[orientation - 1]),
                   picture->rgb + 3 * (y * w + x), 3 * sizeof(float));
        }
    stored.orientation = orientation;
    picture_free(picture);
    *picture = stored;
}

/* A running mean over 2 radius + 1 of n values, step apart, ends repeated. */
static void blur_line(float *values, size_t n, size_t step, size_t radius, float *copy)
{
    const size_t window = 2 * radius + 1;
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        copy[i] = values[i * step];
    for (size_t i = 0; i < window; i++)
        sum += (double)copy[i < radius ? 0 : i - radius < n ? i - radius : n - 1];
    for (size_t i = 0; i < n; i++) {
        values[i * step] = (float)(sum / (double)window);
        const size_t enters = i + radius + 1 < n ? i + radius + 1 : n - 1;
        sum += (double)copy[enters] - (double)copy[i < radius ? 0 : i - radius];
    }
}

void picture_blur(struct picture *picture, size_t radius)
{
    const size_t w = picture->width, h = picture->height;
    float *copy = allocate(w > h ? w : h, sizeof *copy);
    for (int pass = 0; pass < 3; pass++)
        for (size_t c = 0; c < 3; c++) {
            for (size_t y = 0; y < h; y++)
                blur_line(picture->rgb + y * w * 3 + c, w, 3, radius, copy);
            for (size_t x = 0; x < w; x++)
                blur_line(picture->rgb + x * 3 + c, h, w * 3, radius, copy);
        }
    free(copy);
}

/* block <- the 8-point cosine transform of its rows and columns, or back. */
static void transform_block(double block[8][8], int back)
{
    static double basis[8][8];
    double half[8][8];
    if (basis[0][0] == 0)
        for (int u = 0; u < 8; u++)
            for (int x = 0; x < 8; x++)
                basis[u][x] = (u ? 0.5 : sqrt(0.125)) * cos((2 * x + 1) * u * 3.14159265358979 / 16);
    for (int pass = 0; pass < 2; pass++) {
        for (int a = 0; a < 8; a++)
            for (int b = 0; b < 8; b++) {
                half[b][a] = 0; /* transposed, so that two passes do both ways */
                for (int k = 0; k < 8; k++)
                    half[b][a] += block[a][k] * (back ? basis[k][b] : basis[b][k]);
            }
        memcpy(block, half, sizeof half);
    }
}

/* One plane of the picture (luma, or a colour difference) in blocks. */
static void jpeg_plane(float *plane, size_t w, size_t h, double coarse)
{
    double block[8][8];
    for (size_t top = 0; top < h; top += 8)
        for (size_t left = 0; left < w; left += 8) {
            for (size_t i = 0; i < 64; i++) {
                const size_t y = top + i / 8 < h ? top + i / 8 : h - 1;
                const size_t x = left + i % 8 < w ? left + i % 8 : w - 1;
                block[i / 8][i % 8] = 255 * (double)plane[y * w + x];
            }
            transform_block(block, 0);
            for (int i = 0; i < 64; i++) {
                const double step = coarse * (8 + 4 * (i / 8 + i % 8));
                block[i / 8][i % 8] = step * round(block[i / 8][i % 8] / step);
            }
            transform_block(block, 1);
            for (size_t i = 0; i < 64; i++)
                if (top + i / 8 < h && left + i % 8 < w)
                    plane[(top + i / 8) * w + left + i % 8] = (float)(block[i / 8][i % 8] / 255);
        }
}

void picture_jpeg(struct picture *picture, double coarse)
{
    const size_t count = picture->width * picture->height;
    float *planes = allocate(3 * count, sizeof *planes);
    for (size_t i = 0; i < count; i++) {
        const float *p = picture->rgb + 3 * i;
        const float luma = 0.299f * p[0] + 0.587f * p[1] + 0.114f * p[2];
        planes[i] = luma;
        planes[count + i] = p[0] - luma;
        planes[2 * count + i] = p[2] - luma;
    }
    for (size_t c = 0; c < 3; c++)
        jpeg_plane(planes + c * count, picture->width, picture->height, c ? 2 * coarse : coarse);
    for (size_t i = 0; i < count; i++) {
        float *p = picture->rgb + 3 * i;
        const float luma = planes[i];
        p[0] = luma + planes[count + i];
        p[2] = luma + planes[2 * count + i];
        p[1] = (luma - 0.299f * p[0] - 0.114f * p[2]) / 0.587f;
    }
    free(planes);
}

/* ---- PNG ------------------------------------------------------------------------ */

static unsigned levels_of(float value, unsigned most)
{
    const float clipped = value < 0 ? 0 : value > 1 ? 1 : value;
    return (unsigned)lrintf(clipped * (float)most);
}

static float luma_of_rgb(const float *p)
{
    return 0.299f * p[0] + 0.587f * p[1] + 0.114f * p[2];
}

/* Writes one pixel's samples (not of one bit) and returns the byte after. */
static uint8_t *put_pixel(uint8_t *to, const struct picture *picture, size_t i, enum png_kind kind)
{
    const float *p = picture->rgb + 3 * i;
    const float gray = luma_of_rgb(p), alpha = picture->alpha ? picture->alpha[i] : 1;
    const size_t samples = kind == PNG_RGB_8 || kind == PNG_RGB_16 || kind == PNG_RGBA_8 ? 3 : 1;

    if (kind == PNG_PALETTE_8) {
        *to++ = (uint8_t)((levels_of(p[0], 5) * 7 + levels_of(p[1], 6)) * 6 + levels_of(p[2], 5));
        return to;
    }
    for (size_t c = 0; c < samples; c++) {
        const float value = samples == 1 ? gray : p[c];
        if (kind == PNG_GRAY_16 || kind == PNG_RGB_16) {
            const unsigned deep = levels_of(value, 65535);
            *to++ = (uint8_t)(deep >> 8);
            *to++ = (uint8_t)deep;
        } else {
            *to++ = (uint8_t)levels_of(value, 255);
        }
    }
    if (kind == PNG_RGBA_8 || kind == PNG_GRAY_ALPHA_8)
        *to++ = (uint8_t)levels_of(alpha, 255);
    return to;
}

/* All rows, each after its filter byte (none).  Returns their length. */
static size_t put_rows(uint8_t *raw, const struct picture *picture, enum png_kind kind)
{
    uint8_t *to = raw;
    for (size_t y = 0; y < picture->height; y++) {
        *to++ = 0;
        for (size_t x = 0; x < picture->width; x++) {
            const size_t i = y * picture->width + x;
            if (kind != PNG_GRAY_1) {
                to = put_pixel(to, picture, i, kind);
            } else {
                to += x > 0 && x % 8 == 0;
                *to = (uint8_t)((x % 8 ? *to : 0) |
                                levels_of(luma_of_rgb(picture->rgb + 3 * i), 1) << (7 - x % 8));
            }
        }
        to += kind == PNG_GRAY_1;
    }
    return (size_t)(to - raw);
}

static uint8_t *put_u32(uint8_t *to, size_t value)
{
    for (int i = 0; i < 4; i++)
        *to++ = (uint8_t)(value >> (24 - 8 * i));
    return to;
}

static uint8_t *put_chunk(uint8_t *to, const char *type, const uint8_t *data, size_t nbytes)
{
    uint8_t *from = put_u32(to, nbytes);
    memcpy(from, type, 4);
    if (nbytes > 0)
        memmove(from + 4, data, nbytes);
    return put_u32(from + 4 + nbytes, crc32(0, from, (uInt)(nbytes + 4)));
}

static uint8_t *put_palette(uint8_t *to)
{
    uint8_t colours[252 * 3];
    for (size_t i = 0; i < 252; i++) {
        colours[3 * i] = (uint8_t)(i / 42 * 51);
        colours[3 * i + 1] = (uint8_t)(i / 6 % 7 * 255 / 6);
        colours[3 * i + 2] = (uint8_t)(i % 6 * 51);
    }
    return put_chunk(to, "PLTE", colours, sizeof colours);
}

static uint8_t *put_exif(uint8_t *to, unsigned orientation)
{
    uint8_t tiff[] = "MM\0*\0\0\0\10\0\1\1\22\0\3\0\0\0\1\0?\0\0\0\0\0";
    tiff[19] = (uint8_t)orientation;
    return put_chunk(to, "eXIf", tiff, sizeof tiff);
}

uint8_t *picture_png(const struct picture *picture, enum png_kind kind, size_t *nbytes)
{
    static const struct { uint8_t depth, colour; } types[] = {
        [PNG_GRAY_1] = {1, 0}, [PNG_GRAY_8] = {8, 0}, [PNG_GRAY_16] = {16, 0},
        [PNG_PALETTE_8] = {8, 3}, [PNG_RGB_8] = {8, 2}, [PNG_RGB_16] = {16, 2},
        [PNG_RGBA_8] = {8, 6}, [PNG_GRAY_ALPHA_8] = {8, 4}};
    uint8_t *raw = allocate((picture->width * 6 + 2) * picture->height, 1);
    const size_t raw_bytes = put_rows(raw, picture, kind);
    uLongf packed = compressBound(raw_bytes);
    uint8_t *png = allocate(packed + 2000, 1), *to = png, header[13];

    memcpy(to, "\x89PNG\r\n\x1a\n", 8);
    put_u32(put_u32(header, picture->width), picture->height);
    memcpy(header + 8, (uint8_t[]){types[kind].depth, types[kind].colour, 0, 0, 0}, 5);
    to = put_chunk(to + 8, "IHDR", header, sizeof header);
    if (picture->orientation)
        to = put_exif(to, picture->orientation);
    if (kind == PNG_PALETTE_8)
        to = put_palette(to);
    if (compress2(to + 8, &packed, raw, raw_bytes, 1) != Z_OK) {
        fprintf(stderr, "zlib cannot pack a picture\n");
        exit(1);
    }
    to = put_chunk(to, "IDAT", to + 8, packed);
    to = put_chunk(to, "IEND", NULL, 0);
    free(raw);
    *nbytes = (size_t)(to - png);
    return png;
}
