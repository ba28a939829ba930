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

static double difference(const float *a, const float *b, size_t i)
{
    return (double)a[i] - (b ? (double)b[i] : 0);
}

/* The mean of (a - b)^2; b NULL: of a^2.  Two sums, of every second value, as an addition
 * waits for the one before it. */
static float mean_square(const float *a, const float *b, size_t n)
{
    double even = 0, odd = 0;
    size_t i = 0;
    for (; i + 1 < n; i += 2) {
        const double first = difference(a, b, i), second = difference(a, b, i + 1);
        even += first * first;
        odd += second * second;
    }
    if (i < n)
        even += difference(a, b, i) * difference(a, b, i);
    return (float)((even + odd) / (double)n);
}

float capsnet_pixel_error(const struct capsnet_shape *shape, const float *a, const float *b)
{
    return mean_square(a, b, capsnet_pixels(shape));
}

float capsnet_ink(const struct capsnet_shape *shape, const float *image)
{
    return mean_square(image, NULL, capsnet_pixels(shape));
}

int capsnet_is_known(const struct capsnet_known *known, float error, float length, float ink)
{
    const float allowed =
        known->error_threshold * powf(ink / known->typical_ink, known->ink_power);
    return error <= allowed && length >= known->length_threshold && error < ink;
}
