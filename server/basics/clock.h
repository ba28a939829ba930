/* clock.h - the one clock that every time of the server is taken from. */
#ifndef CAPSNETD_CLOCK_H
#define CAPSNETD_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Nanoseconds since some moment; never jumps back. */
static inline int64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The same in microseconds. */
static inline int64_t clock_us(void)
{
    return clock_ns() / 1000;
}

#endif
