/*
 * progress.c - see progress.h.
 */
#include "model/train/learn/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "model/network/workspace.h"

/* Nanoseconds between two bars, and between two lines. */
static const uint64_t bar_ns = 100000000, line_ns = 120000000000;

void progress_start(struct progress *p, size_t done, int is_shown)
{
    p->is_shown = is_shown;
    p->is_terminal = isatty(STDERR_FILENO);
    p->start_ns = phase_clock();
    p->shown_ns = p->is_terminal ? 0 : p->start_ns;
    p->before = done;
}

double progress_seconds(const struct progress *p)
{
    return (double)(phase_clock() - p->start_ns) * 1e-9;
}

double progress_rate(const struct progress *p, size_t done)
{
    double seconds = progress_seconds(p);
    return seconds > 0 ? (double)(done - p->before) / seconds : 0;
}

const char *duration(char text[32], double seconds)
{
    unsigned long s = seconds > 0 && seconds < 1e9 ? (unsigned long)(seconds + 0.5) : 0;
    if (!(seconds < 1e9))
        snprintf(text, 32, "?");
    else if (s < 90)
        snprintf(text, 32, "%lu s", s);
    else if (s < 5400)
        snprintf(text, 32, "%lu min", (s + 30) / 60);
    else
        snprintf(text, 32, "%lu h %02lu min", s / 3600, s % 3600 / 60);
    return text;
}

void progress_show(struct progress *p, size_t epoch, size_t epochs, size_t epoch_done,
                   size_t epoch_total, size_t done, size_t total, double loss,
                   double error_percent)
{
    uint64_t now = phase_clock();
    if (!p->is_shown || now - p->shown_ns < (p->is_terminal ? bar_ns : line_ns))
        return;
    p->shown_ns = now;
    enum { BAR = 24 };
    char bar[BAR + 1], left[32];
    size_t filled = epoch_done * BAR / epoch_total;
    for (size_t i = 0; i < BAR; i++)
        bar[i] = i < filled ? '#' : '.';
    bar[BAR] = 0;
    double rate = progress_rate(p, done);
    fprintf(stderr, "%sepoch %zu/%zu [%s] %3zu %%  %.0f images/s  loss %.4f  error %.2f %%  %s left%s",
            p->is_terminal ? "\r" : "", epoch, epochs, bar, epoch_done * 100 / epoch_total, rate,
            loss, error_percent, rate > 0 ? duration(left, (double)(total - done) / rate) : "?",
            p->is_terminal ? " \033[K" : "\n");
}

void progress_clear(const struct progress *p)
{
    if (p->is_shown && p->is_terminal)
        fputs("\r\033[K", stderr);
}
