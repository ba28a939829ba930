/*
 * sheet.c - see sheet.h.
 */
#include "model/train/draw/sheet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/draw/label.h"

enum { WHITE = 0xffffff, INK = 0x333333, CLASS_SIDE = 56, MISTAKE_SIDE = 84, LONGEST_LABEL = 12 };
static const size_t max_pixels = (size_t)64 << 20;

size_t sheet_scale(const struct capsnet_shape *shape, size_t side)
{
    const size_t longest = shape->height > shape->width ? shape->height : shape->width;
    return longest < side ? side / longest : 1;
}

/* Where an image of the data goes. */
struct place {
    size_t x, y;
};

/* Draws n images of the data, each with its reconstruction dx and dy away. */
static enum capsnet_status put_pairs(struct image *picture, struct capsnet_workspace *ws,
                                     const struct dataset *data, const uint32_t *index,
                                     const struct place *places, size_t n, size_t scale, size_t dx,
                                     size_t dy, struct capsnet_error *error)
{
    const struct capsnet_shape *shape = &ws->model->shape;
    const size_t pixels = ws->model->at.pixels;
    struct evaluation e;
    float *image = malloc(pixels * sizeof *image);
    float *reconstructions = malloc((n + 1) * pixels * sizeof *reconstructions);
    enum capsnet_status status = CAPSNET_ERR_MEMORY;
    if (!image || !reconstructions) {
        snprintf(error->text, sizeof error->text, "not enough memory for %zu reconstructions", n);
        goto out;
    }
    status = evaluate_pictures(&e, reconstructions, ws, data, index, n, error);
    if (status != CAPSNET_OK)
        goto out;
    for (size_t i = 0; i < n; i++) {
        for (size_t p = 0; p < pixels; p++)
            image[p] = (float)data->pixels[index[i] * pixels + p] / 255;
        canvas_image(picture, places[i].x, places[i].y, scale, image, shape);
        canvas_image(picture, places[i].x + dx, places[i].y + dy, scale,
                      reconstructions + i * pixels, shape);
    }
    evaluation_free(&e);
out:
    free(image);
    free(reconstructions);
    return status;
}

/* Width of the widest label_of_class(). */
static size_t label_width(const struct capsnet_model *model)
{
    size_t widest = 0;
    for (size_t j = 0; j < model->shape.classes; j++) {
        char text[64];
        size_t width =
            canvas_text_width(label_of_class(text, model, j, LONGEST_LABEL), SHEET_LETTERS);
        widest = width > widest ? width : widest;
    }
    return widest;
}

/* "true>said" in at most so many letters: what is too long is cut on both sides of
 * the sign. */
static void mistake_text(char text[160], const struct capsnet_model *model, size_t label,
                         size_t answer, size_t most)
{
    char is[64], said[64];
    const size_t room = most - 1, half = room / 2;
    size_t left = strlen(label_of_class(is, model, label, 63));
    size_t right = strlen(label_of_class(said, model, answer, 63));
    if (left + right > room) {
        const size_t both = left + right - room; /* too many */
        const size_t from_left = right <= half ? both : left <= half ? 0 : left - half;
        left -= from_left;
        right -= both - from_left;
    }
    snprintf(text, 160, "%.*s>%.*s", (int)left, is, (int)right, said);
}

enum capsnet_status sheet_of_classes(struct image *picture, struct capsnet_workspace *ws,
                                     const struct dataset *data, const uint32_t *index, size_t n,
                                     struct capsnet_error *error)
{
    const struct capsnet_shape *shape = &ws->model->shape;
    const size_t scale = sheet_scale(shape, CLASS_SIDE), left = label_width(ws->model);
    const size_t width = shape->width * scale, height = shape->height * scale;
    const size_t row = 2 * height + SHEET_GAP + SHEET_SPACE;
    const size_t sheet_width = left + 2 * SHEET_SPACE + SHEET_COLUMNS * (width + SHEET_SPACE);
    size_t rows = (max_pixels / sheet_width - SHEET_SPACE) / row, count = 0;
    rows = rows < shape->classes ? rows : shape->classes;
    size_t had[DATASET_MAX_CLASSES] = {0};
    uint32_t *chosen = calloc(rows * SHEET_COLUMNS, sizeof *chosen);
    struct place *places = calloc(rows * SHEET_COLUMNS, sizeof *places);
    enum capsnet_status status = CAPSNET_ERR_MEMORY;
    if (!chosen || !places) {
        snprintf(error->text, sizeof error->text, "not enough memory for a sheet");
        goto out;
    }
    for (size_t i = 0; i < (index ? n : data->n); i++) {
        const uint32_t from = index ? index[i] : (uint32_t)i;
        const size_t class_index = data->labels[from];
        if (class_index >= rows || had[class_index] == SHEET_COLUMNS)
            continue;
        places[count].x = left + 2 * SHEET_SPACE + had[class_index]++ * (width + SHEET_SPACE);
        places[count].y = SHEET_SPACE + class_index * row;
        chosen[count++] = from;
    }
    status = canvas_create(picture, sheet_width, SHEET_SPACE + rows * row, WHITE, error);
    if (status != CAPSNET_OK)
        goto out;
    for (size_t j = 0; j < rows; j++) {
        char text[64];
        canvas_text(picture, SHEET_SPACE,
                     SHEET_SPACE + j * row + height + SHEET_GAP / 2 -
                         LETTER_HEIGHT * SHEET_LETTERS / 2,
                     SHEET_LETTERS, INK, label_of_class(text, ws->model, j, LONGEST_LABEL));
    }
    status = put_pairs(picture, ws, data, chosen, places, count, scale, 0, height + SHEET_GAP,
                       error);
    if (status != CAPSNET_OK)
        image_free(picture);
out:
    free(chosen);
    free(places);
    return status;
}

enum capsnet_status sheet_of_mistakes(struct image *picture, size_t *shown,
                                      struct capsnet_workspace *ws, const struct dataset *data,
                                      const struct evaluation *evaluation,
                                      struct capsnet_error *error)
{
    const struct capsnet_shape *shape = &ws->model->shape;
    const size_t scale = sheet_scale(shape, MISTAKE_SIDE);
    const size_t width = shape->width * scale, height = shape->height * scale;
    const size_t cell_width = 2 * width + SHEET_GAP + SHEET_SPACE;
    const size_t cell_height = height + LETTER_ROWS * SHEET_LETTERS + 4 + SHEET_SPACE;
    const size_t sheet_width = SHEET_SPACE + SHEET_MISTAKES * cell_width;
    const size_t most = max_pixels / sheet_width / cell_height * SHEET_MISTAKES;
    const size_t n = evaluation->wrong < most ? evaluation->wrong : most;
    const size_t rows = n ? (n + SHEET_MISTAKES - 1) / SHEET_MISTAKES : 1;
    uint32_t *chosen = calloc(n + 1, sizeof *chosen);
    struct place *places = calloc(n + 1, sizeof *places);
    enum capsnet_status status = CAPSNET_ERR_MEMORY;
    if (!chosen || !places) {
        snprintf(error->text, sizeof error->text, "not enough memory for a sheet");
        goto out;
    }
    status = canvas_create(picture, sheet_width, SHEET_SPACE + rows * cell_height, WHITE, error);
    if (status != CAPSNET_OK)
        goto out;
    if (n == 0)
        canvas_text(picture, SHEET_SPACE, SHEET_SPACE, SHEET_LETTERS, INK, "no mistakes");
    for (size_t i = 0, count = 0; i < evaluation->n && count < n; i++) {
        const size_t label = data->labels[i], answer = evaluation->answers[i];
        if (label == answer)
            continue;
        places[count].x = SHEET_SPACE + count % SHEET_MISTAKES * cell_width;
        places[count].y = SHEET_SPACE + count / SHEET_MISTAKES * cell_height;
        char text[160];
        mistake_text(text, ws->model, label, answer,
                     (cell_width - SHEET_SPACE) / (LETTER_STEP * SHEET_LETTERS));
        canvas_text(picture, places[count].x, places[count].y + height + 4, SHEET_LETTERS, INK,
                     text);
        chosen[count++] = (uint32_t)i;
    }
    status = put_pairs(picture, ws, data, chosen, places, n, scale, width + SHEET_GAP, 0, error);
    if (status != CAPSNET_OK)
        image_free(picture);
    *shown = n;
out:
    free(chosen);
    free(places);
    return status;
}
