/*
 * augment.c - see augment.h.
 *
 * A whole-pixel shift is exact (the paper's only augmentation).  Everything
 * else is one resampling of the source: out[y,x] = in[A (y,x) + d(y,x)], with A
 * the rotation, zoom and shear about the middle and d a smooth displacement
 * field: random vectors on a coarse grid, interpolated by cubic
 * B-splines (Simard, Steinkraus, Platt, ICDAR 2003, smooth white noise with a
 * Gaussian; a spline over a grid is the same idea for less work).  It is cubic
 * (Keys, IEEE TASSP 29, 1981, a = -1/2): bilinear resampling blurs every stroke,
 * and a network that learns blurred digits only reads sharp ones worse the better
 * it learns.
 */
#include "model/train/data/augment.h"

#include <string.h>

enum { GRID = 7 }; /* control points a side: about one every 7 pixels of 28 */

struct warp {
    float a, b, c, d;   /* source = (a y + b x, c y + d x) about the middle */
    float dy, dx;       /* then moved */
    float grid[2][GRID][GRID]; /* displacements of y and x, pixels */
};

static void draw_warp(struct warp *w, const struct augmentation *g, struct random *r)
{
    float angle = random_uniform(r, -g->rotate, g->rotate) * 0.017453293f;
    float zoom_y = 1 / (1 + random_uniform(r, -g->zoom, g->zoom));
    float zoom_x = 1 / (1 + random_uniform(r, -g->zoom, g->zoom));
    float shear = random_uniform(r, -g->shear, g->shear);
    float cosine = cosf(angle), sine = sinf(angle);
    w->a = zoom_y * cosine;
    w->b = zoom_y * -sine;
    w->c = zoom_x * (sine + shear * cosine);
    w->d = zoom_x * (cosine - shear * sine);
    for (int q = 0; q < 2; q++)
        for (int y = 0; y < GRID; y++)
            for (int x = 0; x < GRID; x++)
                w->grid[q][y][x] = g->elastic * random_normal(r);
}

/* Uniform cubic B-spline weights at t in [0,1). */
static void spline(float t, float weight[4])
{
    float s = 1 - t;
    weight[0] = s * s * s / 6;
    weight[1] = (4 - 6 * t * t + 3 * t * t * t) / 6;
    weight[2] = (4 - 6 * s * s + 3 * s * s * s) / 6;
    weight[3] = t * t * t / 6;
}

/* Displacement at (y, x) in 0 .. 1 of the picture. */
static void displace(const struct warp *w, float y, float x, float *dy, float *dx)
{
    float wy[4], wx[4], gy = y * (GRID - 3), gx = x * (GRID - 3);
    int iy = (int)gy, ix = (int)gx;
    spline(gy - (float)iy, wy);
    spline(gx - (float)ix, wx);
    *dy = *dx = 0;
    for (int p = 0; p < 4; p++)
        for (int q = 0; q < 4; q++) {
            *dy += wy[p] * wx[q] * w->grid[0][iy + p][ix + q];
            *dx += wy[p] * wx[q] * w->grid[1][iy + p][ix + q];
        }
}

/* in[y][x][c], zero outside. */
static float pixel(const struct dataset *data, const uint8_t *image, long y, long x, size_t c)
{
    if (y < 0 || x < 0 || y >= (long)data->height || x >= (long)data->width)
        return 0;
    return image[((size_t)y * data->width + (size_t)x) * data->channels + c];
}

/* Keys' cubic convolution weights at t in [0,1), of pixels -1, 0, 1, 2. */
static void keys(float t, float weight[4])
{
    float t2 = t * t, t3 = t2 * t;
    weight[0] = t2 - (t3 + t) / 2;
    weight[1] = 1.5f * t3 - 2.5f * t2 + 1;
    weight[2] = 2 * t2 - 1.5f * t3 + t / 2;
    weight[3] = (t3 - t2) / 2;
}

/* Height and width of what an image becomes. */
struct size {
    size_t height, width;
};

static void resample(float *out, struct size size, const struct dataset *data,
                     const uint8_t *image, const struct warp *w, int elastic)
{
    const float middle_y = (float)(data->height - 1) / 2, middle_x = (float)(data->width - 1) / 2;
    for (size_t y = 0; y < size.height; y++)
        for (size_t x = 0; x < size.width; x++) {
            float v = (float)y - middle_y - w->dy, u = (float)x - middle_x - w->dx;
            float sy = w->a * v + w->b * u + middle_y, sx = w->c * v + w->d * u + middle_x;
            if (elastic) {
                float dy, dx;
                displace(w, (float)y / (float)size.height, (float)x / (float)size.width, &dy, &dx);
                sy += dy;
                sx += dx;
            }
            float fy = floorf(sy), fx = floorf(sx), wy[4], wx[4];
            keys(sy - fy, wy);
            keys(sx - fx, wx);
            for (size_t c = 0; c < data->channels; c++) {
                float sum = 0;
                for (int p = 0; p < 4; p++)
                    for (int q = 0; q < 4; q++)
                        sum += wy[p] * wx[q] *
                               pixel(data, image, (long)fy + p - 1, (long)fx + q - 1, c);
                *out++ = fminf(1, fmaxf(0, sum / 255)); /* the weights overshoot at edges */
            }
        }
}

static void shift(float *out, struct size size, const struct dataset *data, const uint8_t *image,
                  long dy, long dx)
{
    for (long y = 0; y < (long)size.height; y++)
        for (long x = 0; x < (long)size.width; x++)
            for (size_t c = 0; c < data->channels; c++)
                *out++ = pixel(data, image, y - dy, x - dx, c) / 255;
}

/* The largest (sign 1) or smallest (-1) of the pixel at p and its neighbours
 * above, below, left and right. */
static float extreme(const float *p, struct size size, size_t step, size_t y, size_t x, float sign)
{
    const size_t row = size.width * step;
    float most = sign * *p;
    if (y > 0)
        most = fmaxf(most, sign * *(p - row));
    if (y + 1 < size.height)
        most = fmaxf(most, sign * p[row]);
    if (x > 0)
        most = fmaxf(most, sign * *(p - step));
    if (x + 1 < size.width)
        most = fmaxf(most, sign * p[step]);
    return sign * most;
}

/* Thicker (share above 0) or thinner strokes: that share of the way to the
 * gray dilation or erosion of the image. */
static void stroke(float *out, const float *image, struct size size, size_t channels, float share)
{
    const float sign = share < 0 ? -1 : 1;
    for (size_t y = 0; y < size.height; y++)
        for (size_t x = 0; x < size.width; x++)
            for (size_t c = 0; c < channels; c++, image++)
                *out++ =
                    *image + fabsf(share) * (extreme(image, size, channels, y, x, sign) - *image);
}

void augment_overlay(float *out, const float *other, size_t n)
{
    for (size_t p = 0; p < n; p++)
        out[p] = fminf(1, out[p] + other[p]);
}

/* How far along one direction the image moves: at random. */
static long draw_offset(const struct augmentation *g, size_t image, struct random *r)
{
    if (g->canvas)
        return (long)random_below(r, g->canvas - image + 1);
    return (long)random_below(r, 2 * (uint64_t)g->shift + 1) - g->shift;
}

void augment_image(float *out, float *scratch, const struct dataset *data, size_t i,
                   const struct augmentation *g, struct random r)
{
    const uint8_t *image = data->pixels + i * data->height * data->width * data->channels;
    const struct size size = g->canvas ? (struct size){g->canvas, g->canvas}
                                       : (struct size){data->height, data->width};
    const long dy = draw_offset(g, data->height, &r), dx = draw_offset(g, data->width, &r);
    if (random_uniform(&r, 0, 1) >= g->distorted) {
        shift(out, size, data, image, dy, dx);
        return;
    }
    float *moved = g->stroke > 0 ? scratch : out;
    if (g->rotate <= 0 && g->zoom <= 0 && g->shear <= 0 && g->elastic <= 0) {
        shift(moved, size, data, image, dy, dx);
    } else {
        struct warp w = {.dy = (float)dy, .dx = (float)dx};
        draw_warp(&w, g, &r);
        resample(moved, size, data, image, &w, g->elastic > 0);
    }
    if (g->stroke > 0)
        stroke(out, moved, size, data->channels, random_uniform(&r, -g->stroke, g->stroke));
}
