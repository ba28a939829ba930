/* image.c - see image.h. */
#include "model/picture/image.h"

#include <stdlib.h>
#include <string.h>

void image_free(struct image *image)
{
    free(image->pixels);
    image->pixels = NULL;
}

enum image_status image_orient(struct image *image, unsigned orientation)
{
    /* By orientation less 1: is the row, and is the column, counted backwards? */
    static const uint8_t back_x[] = {0, 1, 1, 0, 0, 1, 1, 0}, back_y[] = {0, 0, 1, 1, 0, 0, 1, 1};
    const unsigned i = orientation - 1;
    const int is_across = orientation >= 5;
    const size_t width = is_across ? image->height : image->width;
    const size_t height = is_across ? image->width : image->height, n = image->channels;

    if (orientation == 1)
        return IMAGE_OK;
    uint8_t *pixels = malloc(width * height * n);
    if (!pixels)
        return IMAGE_MEMORY;
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++) {
            const size_t u = back_x[i] ? width - 1 - x : x, v = back_y[i] ? height - 1 - y : y;
            const size_t from = is_across ? u * image->width + v : v * image->width + u;
            memcpy(pixels + (y * width + x) * n, image->pixels + from * n, n);
        }
    image_free(image);
    *image = (struct image){width, height, n, pixels};
    return IMAGE_OK;
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
