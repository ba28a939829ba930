/*
 * pairs.c - see pairs.h.
 */
#include "model/train/data/pairs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t pairs_canvas(const struct dataset *data)
{
    const size_t side = data->height > data->width ? data->height : data->width;
    return side + 2 * PAIRS_SHIFT;
}

/* Image i of those that an index names, or of all. */
static uint32_t image_at(const uint32_t *index, size_t i)
{
    return index ? index[i] : (uint32_t)i;
}

uint32_t pairs_partner(const struct dataset *data, const uint32_t *index, size_t n, uint32_t from,
                       struct random *r)
{
    for (;;) {
        const uint32_t partner = image_at(index, random_below(r, n));
        if (data->labels[partner] != data->labels[from])
            return partner;
    }
}

static int has_two_classes(const struct dataset *data, const uint32_t *index, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (data->labels[image_at(index, i)] != data->labels[image_at(index, 0)])
            return 1;
    return 0;
}

static enum capsnet_status no_memory(struct capsnet_error *error, size_t n)
{
    snprintf(error->text, sizeof error->text, "not enough memory for %zu pictures", n);
    return CAPSNET_ERR_MEMORY;
}

enum capsnet_status pairs_draw(struct pair **pairs, const struct dataset *data,
                               const uint32_t *index, size_t n, size_t partners, size_t canvas,
                               uint64_t seed, struct capsnet_error *error)
{
    const size_t each = partners ? partners : 1;
    if (data->height > canvas || data->width > canvas) {
        snprintf(error->text, sizeof error->text,
                 "images of %zu x %zu pixels do not fit on a canvas of %zu x %zu", data->height,
                 data->width, canvas, canvas);
        return CAPSNET_ERR_SHAPE;
    }
    if (partners && !has_two_classes(data, index, n)) {
        snprintf(error->text, sizeof error->text,
                 "pairs need images of two classes; these %zu are of one", n);
        return CAPSNET_ERR_ARGUMENT;
    }
    struct pair *made = malloc((n * each + 1) * sizeof *made);
    if (!made)
        return no_memory(error, n * each);
    for (size_t i = 0; i < n * each; i++) {
        const uint32_t first = image_at(index, i / each);
        struct random r = random_stream(seed, RANDOM_MEASURED_PAIR, partners > 0, i);
        const uint32_t second = partners ? pairs_partner(data, index, n, first, &r) : first;
        made[i] = (struct pair){.image = {first, second}};
        for (size_t k = 0; k < 2; k++) {
            made[i].y[k] = (uint16_t)random_below(&r, canvas - data->height + 1);
            made[i].x[k] = (uint16_t)random_below(&r, canvas - data->width + 1);
        }
    }
    *pairs = made;
    return CAPSNET_OK;
}

void pair_picture(uint8_t *out, const struct dataset *data, const struct pair *pair, size_t which,
                  size_t canvas)
{
    const size_t row = data->width * data->channels, out_row = canvas * data->channels;
    const uint8_t *from = data->pixels + pair->image[which] * data->height * row;
    memset(out, 0, canvas * out_row);
    out += pair->y[which] * out_row + pair->x[which] * data->channels;
    for (size_t y = 0; y < data->height; y++)
        memcpy(out + y * out_row, from + y * row, row);
}

void pair_overlay(uint8_t *out, const uint8_t *a, const uint8_t *b, size_t n)
{
    for (size_t p = 0; p < n; p++) {
        const unsigned sum = (unsigned)a[p] + b[p];
        out[p] = (uint8_t)(sum < 255 ? sum : 255);
    }
}

enum capsnet_status pairs_single(struct dataset *out, const struct dataset *data,
                                 const uint32_t *index, size_t n, size_t canvas, uint64_t seed,
                                 struct capsnet_error *error)
{
    const size_t pixels = canvas * canvas * data->channels;
    struct dataset made = {.n = n, .height = canvas, .width = canvas, .channels = data->channels,
                           .classes = data->classes};
    struct pair *places;
    enum capsnet_status status = pairs_draw(&places, data, index, n, 0, canvas, seed, error);
    if (status != CAPSNET_OK)
        return status;
    made.pixels = malloc(n * pixels + 1);
    made.labels = malloc(n + 1);
    if (made.pixels && made.labels) {
        for (size_t i = 0; i < n; i++) {
            pair_picture(made.pixels + i * pixels, data, &places[i], 0, canvas);
            made.labels[i] = data->labels[image_at(index, i)];
        }
        *out = made;
    } else {
        dataset_free(&made);
        status = no_memory(error, n);
    }
    free(places);
    return status;
}
