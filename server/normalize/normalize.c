/*
 * normalize.c - any picture of a digit to the form that MNIST has: light on
 * dark, 20 pixels along its longer side, centre of mass in the middle of 28.
 *
 * The steps, each a function: brightness (colour.c); ink, freed of paper and light (ink.c), of
 * ruled lines (ruled_lines.c), of all that is not the digit (blots.c); into the
 * frame (here).
 */
#include "server/normalize/normalize.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/picture/luma.h"
#include "server/normalize/colour.h"
#include "server/normalize/ink.h"
#include "server/normalize/levels.h"
#include "server/normalize/strokes.h"

/* The brightness of a picture: [height][width]. */
struct plane {
    const uint8_t *pixels;
    size_t width, height;
};

/* ---- Colour ------------------------------------------------------------------- */

/* Ink of every brightness of one channel, by its paper: the border's median. */
static void make_table(uint8_t table[LEVELS], const struct ink *ink, const struct image *image,
                       size_t channel)
{
    size_t border[LEVELS];
    levels_of_border(border, image->pixels + channel, image->width, image->height,
                     image->channels);
    const int paper = levels_quantile(border, 0.5);
    for (int i = 0; i < LEVELS; i++) {
        const int value = (ink->is_dark ? paper - i : i - paper) - ink->floor;
        table[i] = (uint8_t)(value < 0 ? 0 : value > ink->peak ? ink->peak : value);
    }
}

/* The box in the picture's own pixels. */
static struct box enlarge_box(const struct box *box, const struct ink *ink,
                              const struct image *image)
{
    const struct box large = {box->x0 * ink->factor, box->y0 * ink->factor,
                              box->x1 * ink->factor, box->y1 * ink->factor};
    return (struct box){large.x0, large.y0, large.x1 < image->width ? large.x1 : image->width,
                        large.y1 < image->height ? large.y1 : image->height};
}

/* ---- Into the frame ------------------------------------------------------------- */

/* Mean ink of a row over from <= x < to, where the end pixels count by the
 * part of them that is covered. */
static double mean_over(const uint8_t *row, const struct channel *channel, double from, double to)
{
    double sum = 0;
    for (size_t x = (size_t)from; (double)x < to; x++) {
        const double start = (double)x > from ? (double)x : from;
        const double end = (double)(x + 1) < to ? (double)(x + 1) : to;
        sum += (end - start) * channel->table[row[x * channel->step]];
    }
    return sum / (to - from);
}

/* Scales the channel's box to [height][width] by averaging over areas; out:
 * [..][stride][step] floats, of which one channel is written, zero before. */
static void scale_area(float *out, size_t stride, size_t step, size_t width, size_t height,
                       const struct channel *channel)
{
    const struct box *box = &channel->box;
    const size_t w = box->x1 - box->x0, h = box->y1 - box->y0;

    for (size_t oy = 0; oy < height; oy++) {
        const double from = (double)(oy * h) / (double)height;
        const double to = (double)((oy + 1) * h) / (double)height;
        for (size_t y = (size_t)from; (double)y < to; y++) {
            const double start = (double)y > from ? (double)y : from;
            const double end = (double)(y + 1) < to ? (double)(y + 1) : to;
            const double weight = (end - start) / (to - from);
            const uint8_t *row = channel->pixels +
                                 ((box->y0 + y) * channel->width + box->x0) * channel->step;
            for (size_t ox = 0; ox < width; ox++)
                out[(oy * stride + ox) * step] +=
                    (float)(weight * mean_over(row, channel, (double)(ox * w) / (double)width,
                                               (double)((ox + 1) * w) / (double)width));
        }
    }
}

/* Of what size the frame of a picture's ink is: of one digit, or, where there may be two,
 * shifted, between that and what the canvas lets them take. */
static double fit_frame(size_t frame, size_t canvas, size_t objects)
{
    return objects > 1 ? (double)(frame + canvas) / 2 : (double)frame;
}

/* The size of the box's picture: the longer side takes 20/28 of the frame. */
static void fit_size(size_t *width, size_t *height, const struct box *box,
                     const struct normalize_form *form)
{
    const double w = (double)(box->x1 - box->x0), h = (double)(box->y1 - box->y0);
    const double most_w =
        round(fit_frame(form->frame_width, form->width, form->objects) * 20 / 28);
    const double most_h =
        round(fit_frame(form->frame_height, form->height, form->objects) * 20 / 28);
    const double scale = fmin(most_w / w, most_h / h);

    *width = (size_t)fmax(1, fmin(round(w * scale), most_w));
    *height = (size_t)fmax(1, fmin(round(h * scale), most_h));
}

/* Where the digit must start so that its centre of mass comes to the frame's
 * middle.  MNIST puts it at 13.5 <= x < 14.5, counted in pixel indices (which
 * is 14 in 28): measured on its 60,000 training images. */
static size_t start_for(double centre, size_t size, size_t frame)
{
    const double start = ceil((double)frame / 2 - 0.5 - centre);
    return (size_t)fmax(0, fmin(start, (double)(frame - size)));
}

/* Moves the picture [height][width] from the frame's corner to its place. */
static void centre_by_mass(float *digit, size_t frame_height, size_t frame_width, size_t channels,
                           size_t height, size_t width)
{
    double mass = 0, mass_x = 0, mass_y = 0;

    for (size_t y = 0; y < height; y++) {
        for (size_t x = 0; x < width; x++) {
            for (size_t c = 0; c < channels; c++) {
                const double value = (double)digit[(y * frame_width + x) * channels + c];
                mass += value;
                mass_x += value * (double)x;
                mass_y += value * (double)y;
            }
        }
    }
    if (mass <= 0)
        return;
    const size_t left = start_for(mass_x / mass, width, frame_width);
    const size_t top = start_for(mass_y / mass, height, frame_height);
    const size_t row = width * channels;
    for (size_t y = height; y-- > 0;) { /* from below: the places overlap */
        float *from = digit + y * frame_width * channels;
        float *to = digit + ((y + top) * frame_width + left) * channels;
        memmove(to, from, row * sizeof *to);
        if (top > 0)
            memset(from, 0, row * sizeof *from);
        else
            memset(from, 0, left * channels * sizeof *from);
    }
}

/* The brightest ink becomes 1, as in every image of MNIST: thin strokes fade
 * when a large picture is made small. */
static void stretch(float *digit, size_t count)
{
    float most = 0;
    for (size_t i = 0; i < count; i++)
        most = digit[i] > most ? digit[i] : most;
    for (size_t i = 0; i < count && most > 0; i++)
        digit[i] /= most;
}

/* A thin pen leaves grey lines, and hairlines beside thick strokes all but
 * nothing, when a large picture is made small; MNIST's strokes are two pixels
 * and wider, and bright.  So where a fifth of the ink is in pixels paler than
 * PALE, all become brighter by as much, clipped at full ink.  One of a hundred
 * of MNIST's training images is that pale.  Strokes in effect get wider, since
 * their rims brighten too. */
static void strengthen(float *digit, size_t count)
{
    enum { BINS = 256 };
    const float pale = 0.5f, most = 2.5f;
    double ink[BINS] = {0}, total = 0, sum = 0;
    size_t bin = 0;

    for (size_t i = 0; i < count; i++) {
        ink[(size_t)(digit[i] * (BINS - 1))] += (double)digit[i];
        total += (double)digit[i];
    }
    for (; bin < BINS - 1 && sum + ink[bin] < 0.2 * total; bin++)
        sum += ink[bin];
    const float gain = fminf(most, pale * (BINS - 1) / ((float)bin + 1));
    for (size_t i = 0; i < count && gain > 1; i++)
        digit[i] = fminf(1, gain * digit[i]);
}

/* The digit's box in the ink. */
static void see_ink(struct channel *channel, const struct ink *ink, const struct box *box)
{
    *channel = (struct channel){.pixels = ink->pixels, .width = ink->width, .step = 1, .box = *box};
    for (size_t i = 0; i < LEVELS; i++)
        channel->table[i] = (uint8_t)i;
}

/* The digit's box in one channel of a picture in colour: its own distance from the
 * paper. */
static void see_channel(struct channel *channel, const struct image *image, const struct ink *ink,
                        const struct box *box, size_t c)
{
    channel->pixels = image->pixels + c;
    channel->width = image->width;
    channel->step = image->channels;
    channel->box = enlarge_box(box, ink, image);
    make_table(channel->table, ink, image, c);
}

/* Scales the box, or a copy with other strokes, into the frame's corner, and
 * moves it to its place. */
static enum image_status fill_frame(float *digit, const struct normalize_form *form,
                                    const struct image *image, const struct ink *ink,
                                    const struct box *box)
{
    const size_t channels = form->channels, count = form->height * form->width * channels;
    /* How much of the ink's box one digit takes. */
    const double share =
        (double)form->frame_height / fit_frame(form->frame_height, form->height, form->objects);
    struct channel channel;
    size_t w = 0, h = 0;

    see_ink(&channel, ink, box);
    const double change = strokes_change(&channel, share);
    for (size_t c = 0; c < channels; c++) {
        struct image copy = {.pixels = NULL};
        if (channels > 1)
            see_channel(&channel, image, ink, box, c);
        if (change != 0) {
            if (strokes_copy(&copy, &channel, change) != IMAGE_OK)
                return IMAGE_MEMORY;
            channel.pixels = copy.pixels;
            channel.width = copy.width;
            channel.step = 1;
            channel.box = (struct box){0, 0, copy.width, copy.height};
            for (size_t i = 0; i < LEVELS; i++)
                channel.table[i] = (uint8_t)i;
        }
        fit_size(&w, &h, &channel.box, form);
        scale_area(digit + c, form->width, channels, w, h, &channel);
        image_free(&copy);
    }
    stretch(digit, count);
    strengthen(digit, count);
    centre_by_mass(digit, form->height, form->width, channels, h, w);
    return IMAGE_OK;
}

/* The ink of a picture, freed of paper and ruled lines; ink->pixels is NULL when it is
 * blank, or memory is short. */
static enum image_status find_ink(struct ink *ink, const struct plane *plane)
{
    enum image_status status = ink_extract(ink, plane->pixels, plane->width, plane->height);
    if (status == IMAGE_OK && ink->pixels)
        status = ink_remove_rules(ink);
    if (status != IMAGE_OK) {
        free(ink->pixels);
        ink->pixels = NULL;
    }
    return status;
}

static enum image_status fit(float *digit, const struct normalize_form *form,
                             const struct image *image, const struct plane *plane)
{
    struct ink ink = {0};
    struct box box;
    enum image_status status = find_ink(&ink, plane);

    memset(digit, 0, form->height * form->width * form->channels * sizeof *digit);
    if (ink.pixels) {
        status = ink_keep_digit(&ink, &box);
        if (status == IMAGE_OK)
            status = fill_frame(digit, form, image, &ink, &box);
    }
    free(ink.pixels);
    return status;
}

/* The brightness of a picture: its own pixels, or *flat, to be freed. */
static enum image_status see_plane(struct plane *plane, uint8_t **flat, const struct image *image)
{
    *plane = (struct plane){image->pixels, image->width, image->height};
    *flat = NULL;
    if (image->channels == 1)
        return IMAGE_OK;
    *flat = malloc(image->width * image->height);
    if (!*flat)
        return IMAGE_MEMORY;
    colour_luma(*flat, image);
    plane->pixels = *flat;
    return IMAGE_OK;
}

/* ---- Which way -------------------------------------------------------------------- */

/* The picture's own pixels, in the middle of what the network reads. */
static void copy_pixels(float *digit, const struct normalize_form *form, const struct image *image)
{
    const size_t channels = form->channels, row = image->width * channels;
    const int is_luma = channels < image->channels;
    memset(digit, 0, form->height * form->width * channels * sizeof *digit);
    digit += ((form->height - image->height) / 2 * form->width + (form->width - image->width) / 2) *
             channels;
    for (size_t y = 0; y < image->height; y++, digit += form->width * channels)
        for (size_t i = 0; i < row; i++) {
            const size_t at = y * row + i;
            const uint8_t value = is_luma ? luma_of(image->pixels + 3 * at) : image->pixels[at];
            digit[i] = (float)value / 255.0f;
        }
}

/* Does a direction's ink of that extent, with its mean there, look as MNIST's does?  See
 * is_normal().  slack: by how much the picture is larger than a frame.  Two digits are
 * together as much larger as they are shifted apart, and as their frames' middles, which
 * are centres of mass, differ from those of their boxes: a seventh of 28 at most. */
static int is_within(double extent, double mean, size_t frame, size_t slack, size_t objects)
{
    const double unit = (double)frame / 28, half = (double)slack / 2;
    const double most = 21 * unit + (objects > 1 ? (double)slack + 4 * unit : 0);
    return extent <= most && fabs(mean - (14 * unit + half)) <= unit + fmax(2 * unit, half);
}

/* Does a picture, of the model's size or of a frame's, already look as MNIST's do?  Light on
 * dark at full contrast, ink along at least half and at most three quarters of
 * the frame (MNIST: 20 of 28), its centre of mass within 3/28 of the middle
 * (MNIST: 1; training shifts by 2 more): so it has a margin.  Every one of
 * MNIST's 70,000 images does.  A picture larger than a frame lets it lie anywhere, and two
 * digits extend so much farther. */
static int is_normal(const struct plane *luma, const struct normalize_form *form)
{
    enum { FULL = 200, DARK = 16, INK = 32 };
    const size_t w = luma->width, h = luma->height;
    size_t border[LEVELS];
    uint64_t mass = 0, twice_x = 0, twice_y = 0; /* twice: the middle of pixel x is x + 0.5 */
    struct box box = {w, h, 0, 0};
    uint8_t most = 0;

    for (size_t y = 0; y < h; y++) {
        const uint8_t *row = luma->pixels + y * w;
        uint64_t row_mass = 0;
        for (size_t x = 0; x < w; x++) {
            const uint8_t value = row[x];
            most = value > most ? value : most;
            row_mass += value;
            twice_x += value * (2 * x + 1);
            if (value > INK) {
                box.x0 = x < box.x0 ? x : box.x0;
                box.x1 = x + 1 > box.x1 ? x + 1 : box.x1;
                box.y0 = y < box.y0 ? y : box.y0;
                box.y1 = y + 1;
            }
        }
        mass += row_mass;
        twice_y += row_mass * (2 * y + 1);
    }
    levels_of_border(border, luma->pixels, w, h, 1);
    if (most < FULL || levels_quantile(border, 0.5) > DARK)
        return 0;
    const double wide = (double)(box.x1 - box.x0), high = (double)(box.y1 - box.y0);
    const double middle_x = (double)twice_x / (double)(2 * mass);
    const double middle_y = (double)twice_y / (double)(2 * mass);
    const size_t frame_w = form->frame_width, frame_h = form->frame_height;
    return fmax(wide / (double)frame_w, high / (double)frame_h) >= 0.5 &&
           is_within(wide, middle_x, frame_w, w - frame_w, form->objects) &&
           is_within(high, middle_y, frame_h, h - frame_h, form->objects);
}

/* Has a picture the model's size, or a frame's? */
static int is_sized(const struct image *image, const struct normalize_form *form)
{
    return (image->height == form->height && image->width == form->width) ||
           (image->height == form->frame_height && image->width == form->frame_width);
}

enum image_status normalize_image(float *digit, const struct normalize_form *form,
                                  const struct image *image, enum normalize_mode mode,
                                  struct image_message *message)
{
    enum image_status status = IMAGE_OK;
    struct plane plane;
    uint8_t *flat;

    assert(image->channels == form->channels || form->channels == 1);
    if (mode == NORMALIZE_NONE && (image->height != form->height || image->width != form->width)) {
        snprintf(message->text, sizeof message->text,
                 "the image is %zu x %zu pixels, and without normalisation it must be %zu x %zu",
                 image->width, image->height, form->width, form->height);
        return IMAGE_INVALID;
    }
    if (mode == NORMALIZE_NONE) {
        copy_pixels(digit, form, image);
        return IMAGE_OK;
    }
    status = see_plane(&plane, &flat, image);
    if (status != IMAGE_OK)
        return status;
    if (mode == NORMALIZE_AUTO && is_sized(image, form) && is_normal(&plane, form)) {
        copy_pixels(digit, form, image);
    } else {
        if (flat)
            colour_contrast(flat, image);
        status = fit(digit, form, image, &plane);
    }
    free(flat);
    return status;
}

enum image_status normalize_find_ink(struct ink *ink, const struct image *image)
{
    struct plane plane;
    uint8_t *flat;
    enum image_status status = see_plane(&plane, &flat, image);
    *ink = (struct ink){.pixels = NULL};
    if (flat)
        colour_contrast(flat, image);
    if (status == IMAGE_OK)
        status = find_ink(ink, &plane);
    free(flat);
    return status;
}

enum image_status normalize_ink(float *digit, const struct normalize_form *form,
                                const struct ink *ink, const struct box *box)
{
    assert(form->channels == 1);
    memset(digit, 0, form->height * form->width * sizeof *digit);
    return fill_frame(digit, form, NULL, ink, box);
}

/* ---- Is it a drawing? ------------------------------------------------------------- */

/* The most ink of any channel. */
static float ink_at(const float *digit, size_t channels, size_t pixel)
{
    float most = 0;
    for (size_t c = 0; c < channels; c++) {
        const float ink = digit[pixel * channels + c];
        most = ink > most ? ink : most; /* fmaxf() is a call */
    }
    return most;
}

int normalize_has_strokes(const float *digit, size_t height, size_t width, size_t channels)
{
    const float half = 0.5f;
    struct box box = {width, height, 0, 0};

    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++) {
            if (ink_at(digit, channels, y * width + x) <= half)
                continue;
            box.x0 = x < box.x0 ? x : box.x0;
            box.x1 = x + 1 > box.x1 ? x + 1 : box.x1;
            box.y0 = y < box.y0 ? y : box.y0;
            box.y1 = y + 1;
        }
    if (box.y1 == 0)
        return 0;
    const size_t w = box.x1 - box.x0, h = box.y1 - box.y0;
    const size_t side = (size_t)ceil(0.55 * (double)(w > h ? w : h));
    for (size_t x0 = box.x0; x0 + side <= box.x1; x0++)
        for (size_t y = box.y0, rows = 0; y < box.y1; y++) {
            size_t x = x0;
            while (x < x0 + side && ink_at(digit, channels, y * width + x) > half)
                x++;
            rows = x == x0 + side ? rows + 1 : 0;
            if (rows == side)
                return 0;
        }
    return 1;
}
