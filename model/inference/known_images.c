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

float capsnet_pixel_error(const struct capsnet_shape *shape, const float *a, const float *b)
{
    const size_t pixels = capsnet_pixels(shape);
    double sum = 0;
    for (size_t i = 0; i < pixels; i++) {
        double d = (double)a[i] - (double)b[i];
        sum += d * d;
    }
    return (float)(sum / (double)pixels);
}

float capsnet_ink(const struct capsnet_shape *shape, const float *image)
{
    const size_t pixels = capsnet_pixels(shape);
    double sum = 0;
    for (size_t i = 0; i < pixels; i++)
        sum += (double)image[i] * (double)image[i];
    return (float)(sum / (double)pixels);
}

int capsnet_is_known(const struct capsnet_known *known, float error, float length, float ink)
{
    const float allowed =
        known->error_threshold * powf(ink / known->typical_ink, known->ink_power);
    return error <= allowed && length >= known->length_threshold && error < ink;
}
