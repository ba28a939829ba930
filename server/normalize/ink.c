/* ink.c - see ink.h: from brightness to ink. */
#include "server/normalize/ink.h"

#include <stdlib.h>
#include <string.h>

#include "server/normalize/levels.h"
#include "server/normalize/paper.h"

enum {
    MIN_CONTRAST = 16,     /* of 255: less is paper and noise; pale pencil has about 40 */
    WORK_PIXELS = 1 << 20, /* of 4,096 x 4,096, four pixels make one: pens are wider */
};

float ink_mean(const uint8_t *pixels, size_t width, size_t height, size_t x0, size_t y0,
               size_t wide, size_t high)
{
    const size_t x1 = x0 + wide < width ? x0 + wide : width;
    const size_t y1 = y0 + high < height ? y0 + high : height;
    size_t sum = 0;
    for (size_t y = y0; y < y1; y++)
        for (size_t x = x0; x < x1; x++)
            sum += pixels[y * width + x];
    return (float)sum / (float)((x1 - x0) * (y1 - y0));
}

/* Copies the luma, reduced when it is large. */
static enum image_status reduce(struct ink *ink, const uint8_t *luma, size_t width, size_t height)
{
    size_t f = 1;

    while (width * height > WORK_PIXELS * f * f)
        f++;
    *ink = (struct ink){.factor = f, .width = (width + f - 1) / f, .height = (height + f - 1) / f};
    ink->pixels = malloc(ink->width * ink->height);
    if (!ink->pixels)
        return IMAGE_MEMORY;
    if (f == 1) {
        memcpy(ink->pixels, luma, width * height);
        return IMAGE_OK;
    }
    for (size_t y = 0; y < ink->height; y++)
        for (size_t x = 0; x < ink->width; x++)
            ink->pixels[y * ink->width + x] =
                (uint8_t)(ink_mean(luma, width, height, x * f, y * f, f, f) + 0.5f);
    return IMAGE_OK;
}

/* Takes the paper's noise off, finds peak and threshold, clips at the peak.
 * Returns 0 when nothing stands out: a blank picture. */
static int set_levels(struct ink *ink)
{
    size_t border[LEVELS], histogram[LEVELS] = {0};
    const size_t n = ink->width * ink->height;
    size_t n_paper = 0; /* counted aside: one bin for nearly all is slow */

    /* Half the noise is on the other side of the paper and reads 0: of the
     * rest, three medians are two standard deviations of normal noise.
     * Bounded, lest pale ink on uneven paper pass for noise. */
    levels_of_border(border, ink->pixels, ink->width, ink->height, 1);
    const int noise = 3 * levels_quantile(border, 0.75);
    ink->floor = (uint8_t)(noise < 2 * MIN_CONTRAST ? noise : 2 * MIN_CONTRAST);
    for (size_t i = 0; i < n; i++) {
        const uint8_t value = ink->pixels[i];
        ink->pixels[i] = value > ink->floor ? (uint8_t)(value - ink->floor) : 0;
        if (value > ink->floor)
            histogram[value - ink->floor]++;
        else
            n_paper++;
    }
    histogram[0] = n_paper;
    ink->threshold = levels_otsu(histogram);
    for (size_t i = 0; i <= ink->threshold; i++)
        histogram[i] = 0;
    ink->peak = levels_quantile(histogram, 0.95);
    for (size_t i = 0; i < n; i++)
        ink->pixels[i] = ink->pixels[i] < ink->peak ? ink->pixels[i] : ink->peak;
    return ink->peak >= MIN_CONTRAST;
}

enum image_status ink_extract(struct ink *ink, const uint8_t *luma, size_t width, size_t height)
{
    enum image_status status = reduce(ink, luma, width, height);

    if (status == IMAGE_OK)
        status = paper_subtract(ink);
    if (status != IMAGE_OK || !set_levels(ink)) {
        free(ink->pixels);
        ink->pixels = NULL;
    }
    return status;
}
