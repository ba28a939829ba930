/* known.h - is an image one of the model's kind: "in_distribution". */
#ifndef CAPSNETD_KNOWN_H
#define CAPSNETD_KNOWN_H

#include <stddef.h>

/* By the winning capsule:
 * - The longer it is, the more its reconstruction may err: the model's threshold
 *   at a length of 0.95, a fifth of it at 0.55, nothing below 0.45.  So of the
 *   two signs of a strange image either may outweigh the other.
 * - The reconstruction must account for half of the ink, in squares: a thin or
 *   small drawing has a small error whatever it is, and a blank one almost none.
 *
 * Both were chosen on MNIST's training images and drawn negatives, so that about
 * as many digits are refused as by the threshold alone, 5 %; `make accuracy`
 * prints what they catch (tests/normalize/README.md).
 *
 * error   mean squared difference of image and reconstruction
 * length  of the capsule
 * ink     mean square of the image's pixels, 0 to 1
 *
 * A threshold of NAN passes nothing. */
static inline int is_known(float threshold, float error, float length, float ink)
{
    return error <= threshold * (2 * length - 0.9f) && error < 0.5f * ink;
}

/* Mean square of n pixels. */
static inline float mean_square(const float *pixels, size_t n)
{
    float sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += pixels[i] * pixels[i];
    return sum / (float)n;
}

#endif
