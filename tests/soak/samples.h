/*
 * samples.h - what a process holds, over time: memory, descriptors, threads; their
 * trend, and a chart of them.  One thread at a time.
 */
#ifndef SOAK_SAMPLES_H
#define SOAK_SAMPLES_H

#include <stddef.h>
#include <sys/types.h>

struct sample {
    double minute;   /* since the first one */
    double held[3];  /* by enum held */
};
enum held { MEMORY_MIB, DESCRIPTORS, THREADS };

/* Readings in the order of time. */
struct samples {
    struct sample *at; /* [n], owned; free() it */
    size_t n, room;
};

/* Reads /proc/PID and appends.  Returns 0, or -1 when the process has ended or
 * memory has run out. */
int samples_take(struct samples *samples, pid_t pid, double minute);

/* The median of what was held from one share of the time to another, 0 to 1. */
double samples_median(const struct samples *samples, enum held held, double from, double to);

/* How much more an hour is held, from that share of the time on: the median of the
 * slopes between the medians of 24 stretches of time, which no single reading and no
 * single stretch can sway. */
double samples_slope(const struct samples *samples, enum held held, double from);

/* Writes a PNG, one panel for each of enum held, with a line where warm-up ends.
 * Returns 0, or -1 after a sentence on stderr. */
int samples_draw(const struct samples *samples, double warm, const char *title, const char *path);

#endif
