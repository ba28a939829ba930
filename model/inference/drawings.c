/*
 * drawings.c - images for what depends on how much of a picture is ink.
 */
#include <math.h>

#include "model/inference/inference.h"

static double fraction(double x)
{
    return x - floor(x);
}

void draw_rings(const struct capsnet_shape *shape, size_t n, float *images)
{
    const size_t h = shape->height, w = shape->width, channels = shape->channels;
    for (size_t i = 0; i < n; i++) {
        const double wide = 1.05 + 0.6 * fraction(0.618034 * (double)i);
        const double radius = 0.18 + 0.1 * fraction(0.754878 * (double)i);
        const double slant = fraction(0.56984 * (double)i) - 0.5;
        for (size_t p = 0; p < h * w; p++) {
            const double x = ((double)(p % w) + 0.5) / (double)w - 0.5;
            const double y = ((double)(p / w) + 0.5) / (double)h - 0.5;
            const double ring = fabs(hypot(wide * x + 0.3 * slant * y, y) - radius);
            const double bar = i % 2 ? fabs(x + slant * y) + fmax(0, fabs(y) - 0.3) : 1;
            const double ink = 1.5 - 25 * fmin(ring, bar);
            for (size_t c = 0; c < channels; c++)
                images[(i * h * w + p) * channels + c] = (float)fmin(1, fmax(0, ink));
        }
    }
}
