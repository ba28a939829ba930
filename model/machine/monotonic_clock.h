/*
 * monotonic_clock.h - the time that only goes forward, which nobody sets.
 */
#ifndef CAPSNET_MONOTONIC_CLOCK_H
#define CAPSNET_MONOTONIC_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Microseconds from some moment on. */
static inline int64_t monotonic_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

#endif
