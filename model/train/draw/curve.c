/*
 * curve.c - see curve.h.
 */
#include "model/train/draw/curve.h"

#include <math.h>
#include <stdio.h>

enum {
    TEXT = 2, /* the scale of letters */
    LEFT = 90,
    RIGHT = 24,
    PANEL_STEP = CURVE_HEIGHT / 2,
    PANEL_TOP = 54, /* the legend lies above */
    PANEL_HEIGHT = PANEL_STEP - PANEL_TOP - 40,
    PANEL_WIDTH = CURVE_WIDTH - LEFT - RIGHT,
    MOST_TICKS = 9,
};

enum { WHITE = 0xffffff, INK = 0x333333, GRID = 0xdddddd, BLUE = 0x1f5fbf, ORANGE = 0xd9690f };

/* One line of a panel: a member of every epoch's figures. */
struct series {
    const char *name;
    size_t offset;
    uint32_t colour;
};

struct panel {
    struct image *picture;
    const struct epoch_figures *epochs;
    size_t n, y;     /* y: of the plot's upper edge */
    double low, high; /* the axis, low > 0 */
};

static double value_at(const struct panel *p, const struct series *s, size_t epoch)
{
    return *(const double *)(const void *)((const char *)&p->epochs[epoch] + s->offset);
}

static double x_of(const struct panel *p, size_t epoch)
{
    const double share = p->n > 1 ? (double)epoch / (double)(p->n - 1) : 0.5;
    return LEFT + share * (PANEL_WIDTH - 1);
}

/* What is not above 0 (no error at all) lies on the axis's lower end. */
static double y_of(const struct panel *p, double value)
{
    double share = log(fmax(value, p->low) / p->low) / log(p->high / p->low);
    return (double)p->y + (1 - share) * (PANEL_HEIGHT - 1);
}

/* The next of ..., 0.5, 1, 2, 5, 10, ... that is not below (or above) value. */
static double round_axis(double value, int up)
{
    static const double steps[] = {1, 2, 5, 10};
    const double power = pow(10, floor(log10(value)));
    double best = up ? 10 : 1;
    for (size_t i = 0; i < 4; i++) {
        if (up && steps[i] * power >= value * (1 - 1e-9) && steps[i] < best)
            best = steps[i];
        if (!up && steps[i] * power <= value * (1 + 1e-9) && steps[i] > best)
            best = steps[i];
    }
    return best * power;
}

static void find_range(struct panel *p, const struct series *series, size_t n_series)
{
    double low = INFINITY, high = 0;
    int zero = 0;
    for (size_t s = 0; s < n_series; s++)
        for (size_t i = 0; i < p->n; i++) {
            double value = value_at(p, &series[s], i);
            zero |= value <= 0;
            if (value > 0) {
                low = fmin(low, value);
                high = fmax(high, value);
            }
        }
    if (!(high > 0))
        low = high = 1;
    p->low = round_axis(zero ? low / 2 : low, 0);
    p->high = round_axis(high, 1);
    if (p->high < 2 * p->low) { /* a flat line lies in the middle */
        p->low = round_axis(p->low * 0.9, 0);
        p->high = round_axis(p->high * 1.1, 1);
    }
}

/* A grid line and its number at 1, 2 and 5 times every power of ten, or at the
 * powers alone when those are many. */
static void draw_values(const struct panel *p)
{
    static const double steps[] = {1, 2, 5};
    const double decades = log10(p->high / p->low);
    const int first = (int)floor(log10(p->low)) - 1, last = (int)ceil(log10(p->high));
    for (int power = first; power <= last; power++)
        for (size_t i = 0; i < (3 * decades > MOST_TICKS ? 1 : 3); i++) {
            const double value = steps[i] * pow(10, power);
            if (value < p->low * (1 - 1e-9) || value > p->high * (1 + 1e-9))
                continue;
            char text[32];
            snprintf(text, sizeof text, "%g", value);
            const size_t width = canvas_text_width(text, TEXT), y = (size_t)lround(y_of(p, value));
            canvas_fill(p->picture, LEFT, y, PANEL_WIDTH, 1, GRID);
            canvas_text(p->picture, LEFT - 10 - width, y - LETTER_HEIGHT * TEXT / 2, TEXT, INK,
                         text);
        }
}

static void draw_epochs(const struct panel *p)
{
    size_t every = 1;
    while ((p->n - 1) / every > MOST_TICKS)
        every = (size_t)round_axis((double)every + 1, 1);
    for (size_t epoch = 1; epoch <= p->n; epoch++) {
        if (epoch % every != 0 && epoch != 1)
            continue;
        char text[32];
        snprintf(text, sizeof text, "%zu", epoch);
        const size_t x = (size_t)lround(x_of(p, epoch - 1)), y = p->y + PANEL_HEIGHT;
        canvas_fill(p->picture, x, p->y, 1, PANEL_HEIGHT + 5, GRID);
        canvas_text(p->picture, x - canvas_text_width(text, TEXT) / 2, y + 9, TEXT, INK, text);
    }
}

static void draw_series(const struct panel *p, const struct series *s)
{
    for (size_t i = 0; i < p->n; i++) {
        const double x = x_of(p, i) + 0.5, y = y_of(p, value_at(p, s, i)) + 0.5;
        if (i > 0)
            canvas_line(p->picture, x_of(p, i - 1) + 0.5, y_of(p, value_at(p, s, i - 1)) + 0.5, x,
                         y, 2.5, s->colour);
        if (p->n <= 100)
            canvas_line(p->picture, x, y, x, y, 7, s->colour);
    }
}

static void draw_panel(struct panel *p, const char *title, const struct series *series,
                       size_t n_series)
{
    find_range(p, series, n_series);
    draw_values(p);
    draw_epochs(p);
    canvas_fill(p->picture, LEFT, p->y, 2, PANEL_HEIGHT, INK);
    canvas_fill(p->picture, LEFT, p->y + PANEL_HEIGHT - 1, PANEL_WIDTH, 2, INK);
    const size_t y = p->y - 40;
    canvas_text(p->picture, 12, y, TEXT, INK, title);
    size_t x = LEFT + PANEL_WIDTH;
    for (size_t s = n_series; s > 0; s--) { /* from the right */
        x -= canvas_text_width(series[s - 1].name, TEXT);
        canvas_text(p->picture, x, y, TEXT, INK, series[s - 1].name);
        canvas_fill(p->picture, x - 32, y + 5, 24, 4, series[s - 1].colour);
        x -= 56;
        draw_series(p, &series[s - 1]);
    }
}

enum capsnet_status curve_draw(struct image *picture, const struct epoch_figures *epochs, size_t n,
                               struct capsnet_error *error)
{
    static const struct series losses[] = {
        {"training loss", offsetof(struct epoch_figures, loss), BLUE}};
    static const struct series errors[] = {
        {"training", offsetof(struct epoch_figures, training_error), BLUE},
        {"held out", offsetof(struct epoch_figures, held_out_error), ORANGE}};
    enum capsnet_status status =
        canvas_create(picture, CURVE_WIDTH, CURVE_HEIGHT, WHITE, error);
    if (status != CAPSNET_OK)
        return status;
    struct panel panel = {picture, epochs, n, PANEL_TOP, 0, 0};
    draw_panel(&panel, "loss by epoch", losses, 1);
    panel.y += PANEL_STEP;
    draw_panel(&panel, "error by epoch, %", errors, isnan(epochs[0].held_out_error) ? 1 : 2);
    return CAPSNET_OK;
}
