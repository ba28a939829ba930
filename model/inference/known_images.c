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

/* The mean of (a - b)^2; b NULL: of a^2.  Several sums, none of which waits for another's
 * addition. */
static float mean_square(const float *a, const float *b, size_t n)
{
    enum { SUMS = 8 };
    double sums[SUMS] = {0}, sum = 0;
    size_t i = 0;
    for (; i + SUMS <= n; i += SUMS)
        for (size_t k = 0; k < SUMS; k++) {
            const double d = (double)a[i + k] - (b ? (double)b[i + k] : 0);
            sums[k] += d * d;
        }
    for (; i < n; i++) {
        const double d = (double)a[i] - (b ? (double)b[i] : 0);
        sum += d * d;
    }
    for (size_t k = 0; k < SUMS; k++)
        sum += sums[k];
    return (float)(sum / (double)n);
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
