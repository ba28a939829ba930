/* samples.c - see samples.h. */
#include "tests/soak/samples.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/draw/canvas.h"
#include "model/train/draw/picture_file.h"

enum { HELD = 3, STRETCHES = 24 };

/* ---- Reading ---------------------------------------------------------------- */

/* Entries of /proc/PID/NAME, less "." and ".."; -1 when it is not there. */
static double count_entries(pid_t pid, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    DIR *folder = opendir(path);
    double n = -2;
    if (!folder)
        return -1;
    while (readdir(folder))
        n++;
    closedir(folder);
    return n;
}

static double resident_mib(pid_t pid)
{
    char path[64];
    unsigned long size, resident;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *file = fopen(path, "r");
    const int n = file ? fscanf(file, "%lu %lu", &size, &resident) : 0;
    if (file)
        fclose(file);
    return n == 2 ? (double)resident * (double)sysconf(_SC_PAGESIZE) / (1 << 20) : -1;
}

int samples_take(struct samples *samples, pid_t pid, double minute)
{
    const struct sample sample = {
        minute, {resident_mib(pid), count_entries(pid, "fd"), count_entries(pid, "task")}};
    if (sample.held[MEMORY_MIB] <= 0 || sample.held[DESCRIPTORS] < 0 || sample.held[THREADS] < 0)
        return -1;
    if (samples->n == samples->room) {
        const size_t room = samples->room ? 2 * samples->room : 1024;
        struct sample *at = realloc(samples->at, room * sizeof *at);
        if (!at)
            return -1;
        samples->at = at;
        samples->room = room;
    }
    samples->at[samples->n++] = sample;
    return 0;
}

/* ---- Trend ------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, compare);
    return n ? values[n / 2] : NAN;
}

/* The first reading after that share of the time. */
static size_t index_at(const struct samples *samples, double share)
{
    return (size_t)(share * (double)samples->n);
}

double samples_median(const struct samples *samples, enum held held, double from, double to)
{
    const size_t first = index_at(samples, from), n = index_at(samples, to) - first;
    double *values = malloc((n + 1) * sizeof *values);
    if (!values)
        return NAN;
    for (size_t i = 0; i < n; i++)
        values[i] = samples->at[first + i].held[held];
    const double middle = median(values, n);
    free(values);
    return middle;
}

double samples_slope(const struct samples *samples, enum held held, double from)
{
    double medians[STRETCHES], slopes[STRETCHES * STRETCHES];
    const double step = (1 - from) / STRETCHES;
    const double hours = samples->at[samples->n - 1].minute / 60 * step;
    size_t n = 0;
    for (size_t i = 0; i < STRETCHES; i++) {
        medians[i] = samples_median(samples, held, from + step * (double)i,
                                    from + step * (double)(i + 1));
        for (size_t j = 0; j < i; j++)
            slopes[n++] = (medians[i] - medians[j]) / (hours * (double)(i - j));
    }
    return median(slopes, n);
}

/* ---- Chart ------------------------------------------------------------------- */

enum {
    WIDTH = 900,
    PANEL_HEIGHT = 170,
    LEFT = 90,
    RIGHT = 24,
    TOP = 50,
    SPACE = 44, /* between panels */
    HEIGHT = TOP + HELD * (PANEL_HEIGHT + SPACE),
    TEXT = 2,
    PAPER = 0xffffff,
    INK = 0x222222,
    GRID = 0xdddddd,
    CURVE = 0x1f5fa8,
    WARM = 0xd08020,
};

/* 1, 2 or 5 times a power of ten, so that about four of them make up the span. */
static double nice_step(double span)
{
    const double unit = pow(10, floor(log10(span / 4))), times = span / 4 / unit;
    return unit * (times < 1.5 ? 1 : times < 3.5 ? 2 : times < 7.5 ? 5 : 10);
}

static void draw_panel(struct image *picture, const struct samples *samples, enum held held,
                       double warm)
{
    static const char *const names[HELD] = {"resident memory, MiB", "descriptors", "threads"};
    const size_t top = TOP + (size_t)held * (PANEL_HEIGHT + SPACE), width = WIDTH - LEFT - RIGHT;
    const double minutes = fmax(samples->at[samples->n - 1].minute, 1e-3);
    double most = 1;
    char text[64];
    for (size_t i = 0; i < samples->n; i++)
        most = fmax(most, samples->at[i].held[held]);
    const double step = nice_step(most), high = ceil(most / step) * step;
    for (double value = 0; value <= high; value += step) {
        const size_t y = top + PANEL_HEIGHT - (size_t)(value / high * PANEL_HEIGHT);
        snprintf(text, sizeof text, "%g", value);
        canvas_fill(picture, LEFT, y, width, 1, GRID);
        canvas_text(picture, LEFT - 10 - canvas_text_width(text, TEXT), y - LETTER_HEIGHT, TEXT,
                     INK, text);
    }
    canvas_fill(picture, LEFT + (size_t)(warm * (double)width), top, 2, PANEL_HEIGHT, WARM);
    for (size_t i = 0; i < samples->n; i++) {
        const struct sample *a = &samples->at[i ? i - 1 : 0], *b = &samples->at[i];
        canvas_line(picture, LEFT + a->minute / minutes * (double)width,
                     (double)top + PANEL_HEIGHT * (1 - a->held[held] / high),
                     LEFT + b->minute / minutes * (double)width,
                     (double)top + PANEL_HEIGHT * (1 - b->held[held] / high), 1.2, CURVE);
    }
    snprintf(text, sizeof text, "%s", names[held]);
    canvas_text(picture, LEFT, top - 20, TEXT, INK, text);
    snprintf(text, sizeof text, "%.3g minutes", minutes);
    canvas_text(picture, WIDTH - RIGHT - canvas_text_width(text, TEXT), top + PANEL_HEIGHT + 6,
                 TEXT, INK, text);
}

int samples_draw(const struct samples *samples, double warm, const char *title, const char *path)
{
    struct capsnet_error error;
    struct image picture;
    if (canvas_create(&picture, WIDTH, HEIGHT, PAPER, &error) != CAPSNET_OK) {
        fprintf(stderr, "%s\n", error.text);
        return -1;
    }
    canvas_text(&picture, LEFT, 8, TEXT, INK, title);
    for (int held = 0; held < HELD; held++)
        draw_panel(&picture, samples, (enum held)held, warm);
    const enum capsnet_status status = picture_write(&picture, path, &error);
    image_free(&picture);
    if (status != CAPSNET_OK)
        fprintf(stderr, "%s\n", error.text);
    return status == CAPSNET_OK ? 0 : -1;
}
