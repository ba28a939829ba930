/* image.c - see image.h. */
#include "model/picture/image.h"

#include <stdlib.h>

void image_free(struct image *image)
{
    free(image->pixels);
    image->pixels = NULL;
}

static uint8_t byte_from_unit(float value)
{
    if (!(value > 0.0f)) /* NaN is black */
        return 0;
    return value < 1.0f ? (uint8_t)(value * 255.0f + 0.5f) : 255;
}

enum image_status image_from_digit(struct image *image, const float *digit, size_t height,
                                   size_t width, size_t channels, size_t scale)
{
    const size_t row_bytes = width * scale * channels;
    uint8_t *pixels = malloc(height * scale * row_bytes);
    if (!pixels)
        return IMAGE_MEMORY;
    for (size_t y = 0; y < height * scale; y++)
        for (size_t x = 0; x < width * scale; x++)
            for (size_t c = 0; c < channels; c++)
                pixels[y * row_bytes + x * channels + c] =
                    byte_from_unit(digit[(y / scale * width + x / scale) * channels + c]);
    *image = (struct image){width * scale, height * scale, channels, pixels};
    return IMAGE_OK;
}
