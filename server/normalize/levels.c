/* levels.c - see levels.h. */
#include "server/normalize/levels.h"

#include <math.h>
#include <string.h>

void levels_of_border(size_t histogram[LEVELS], const uint8_t *pixels, size_t width, size_t height,
                      size_t step)
{
    memset(histogram, 0, LEVELS * sizeof *histogram);
    for (size_t y = 0; y < height; y++) {
        const int is_whole = y == 0 || y == height - 1 || width == 1;
        for (size_t x = 0; x < width; x += is_whole ? 1 : width - 1)
            histogram[pixels[(y * width + x) * step]]++;
    }
}

uint8_t levels_quantile(const size_t histogram[LEVELS], double fraction)
{
    size_t total = 0, below = 0;
    for (size_t i = 0; i < LEVELS; i++)
        total += histogram[i];
    const size_t enough = (size_t)fmax(1, ceil(fraction * (double)total));
    for (size_t i = 0; i < LEVELS; i++) {
        below += histogram[i];
        if (below >= enough)
            return (uint8_t)i;
    }
    return 0;
}

uint8_t levels_otsu(const size_t histogram[LEVELS])
{
    double total = 0, sum = 0, below = 0, sum_below = 0, best = -1;
    size_t threshold = 0;

    for (size_t i = 0; i < LEVELS; i++) {
        total += (double)histogram[i];
        sum += (double)i * (double)histogram[i];
    }
    for (size_t i = 0; i + 1 < LEVELS; i++) {
        below += (double)histogram[i];
        sum_below += (double)i * (double)histogram[i];
        const double above = total - below;
        if (below <= 0 || above <= 0)
            continue;
        const double distance = sum_below / below - (sum - sum_below) / above;
        if (below * above * distance * distance > best) {
            best = below * above * distance * distance;
            threshold = i;
        }
    }
    return (uint8_t)threshold;
}
