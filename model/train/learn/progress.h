/*
 * progress.h - what a person sees of a running epoch, on stderr: a bar on a
 * terminal, otherwise a line every two minutes.
 */
#ifndef CAPSNET_PROGRESS_H
#define CAPSNET_PROGRESS_H

#include <stddef.h>
#include <stdint.h>

struct progress {
    int is_shown, is_terminal;
    uint64_t start_ns, shown_ns;
    size_t before; /* images done by earlier runs */
};

/* done: images of the whole run that were finished before this start; is_shown:
 * whether this process is the one that shows anything. */
void progress_start(struct progress *p, size_t done, int is_shown);

/* Redraws the bar, at most ten times a second, or prints the line.  done and total: images of the
 * whole run; epoch_done and epoch_total: of this epoch; loss, error_percent:
 * the epoch's so far. */
void progress_show(struct progress *p, size_t epoch, size_t epochs, size_t epoch_done,
                   size_t epoch_total, size_t done, size_t total, double loss,
                   double error_percent);

/* Wipes the bar, so that a line can be printed. */
void progress_clear(const struct progress *p);

/* Seconds since the start; images a second since then. */
double progress_seconds(const struct progress *p);
double progress_rate(const struct progress *p, size_t done);

/* "1 h 05 min", "12 min", "48 s" */
const char *duration(char text[32], double seconds);

#endif
