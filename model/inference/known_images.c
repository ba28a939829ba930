/*
 * known_images.c - what capsules and reconstructions say of an image: its class,
 * and whether it is one of the kind that the model knows.
 */
#include <math.h>

#include "model/capsnet.h"

size_t capsnet_winner(const struct capsnet_shape *shape, const float *lengths)
{
    size_t best = 0;
    for (size_t j = 1; j < shape->classes; j++)
        if (lengths[j] > lengths[best])
            best = j;
    return best;
}

/* Two sums, of every second pixel: an addition waits for the one before it. */
float capsnet_pixel_error(const struct capsnet_shape *shape, const float *a, const float *b)
{
    const size_t pixels = capsnet_pixels(shape);
    double even = 0, odd = 0;
    for (size_t i = 0; i < pixels / 2 * 2; i += 2) {
        const double first = (double)a[i] - (double)b[i];
        const double second = (double)a[i + 1] - (double)b[i + 1];
        even += first * first;
        odd += second * second;
    }
    if (pixels % 2) {
        const double last = (double)a[pixels - 1] - (double)b[pixels - 1];
        even += last * last;
    }
    return (float)((even + odd) / (double)pixels);
}

float capsnet_ink(const struct capsnet_shape *shape, const float *image)
{
    const size_t pixels = capsnet_pixels(shape);
    double even = 0, odd = 0;
    for (size_t i = 0; i < pixels / 2 * 2; i += 2) {
        even += (double)image[i] * (double)image[i];
        odd += (double)image[i + 1] * (double)image[i + 1];
    }
    if (pixels % 2)
        even += (double)image[pixels - 1] * (double)image[pixels - 1];
    return (float)((even + odd) / (double)pixels);
}

int capsnet_is_known(const struct capsnet_known *known, float error, float length, float ink)
{
    const float allowed =
        known->error_threshold * powf(ink / known->typical_ink, known->ink_power);
    return error <= allowed && length >= known->length_threshold && error < ink;
}
