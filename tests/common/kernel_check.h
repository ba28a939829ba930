/*
 * kernel_check.h - what the kernel tests share: a runner over the CPU levels,
 * repeatable random numbers, memory between guard pages, error bookkeeping,
 * and timing.
 *
 * Environment: SEED repeats a run; BENCH=1 times every kernel after its test.
 */
#ifndef KERNEL_CHECK_H
#define KERNEL_CHECK_H

#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/kernels/kernels.h"

/* Half an ulp of 1: the relative error of one rounding. */
#define ROUNDING (FLT_EPSILON / 2.0)

/* ---- Random numbers ----------------------------------------------------- */

struct random {
    uint64_t state;
};

size_t random_below(struct random *random, size_t n); /* 0 .. n-1; n > 0 */
double random_real(struct random *random);            /* -1 to 1 */

/* How large random values are. */
enum magnitude {
    MAGNITUDE_ONE,     /* -1 to 1 */
    MAGNITUDE_HOSTILE, /* each 0, -0, subnormal, tiny, 1 or 1e18, of any sign */
};
void random_fill(struct random *random, float *p, size_t n, enum magnitude magnitude);

/* ---- Memory ------------------------------------------------------------- */

/* Everything handed out below lives until check_release(), or the end of the
 * test. */

/* Zeroed heap memory, aligned as kernels want it. */
float *check_floats(size_t n);
double *check_doubles(size_t n);
double *check_to_doubles(const float *src, size_t n);

/* Where a buffer touches its guard page.  A test runs its kernel on both
 * sides and compares the bits, which also shows that equal calls give equal
 * results. */
enum side { SIDE_START, SIDE_END, SIDES };

/* A kernel's output between guard pages, filled with CANARY bits (a NaN, so
 * that what a kernel forgets to write fails every bound). */
float *guard_output(size_t n, enum side side);
/* The same holding a copy of src: what a kernel updates in place. */
float *guard_update(const float *src, size_t n, enum side side);
/* A read-only copy of src between guard pages. */
const float *guard_input(const float *src, size_t n, enum side side);

/* Fills with CANARY; tells whether p still is. */
void canary_fill(float *p, size_t n);
int canary_intact(const float *p);

/* Checks the slack between buffers and guard pages, and frees everything. */
void check_release(void);

/* ---- Checks ------------------------------------------------------------- */

/* The worst error of a kernel, in units of its bound. */
struct worst {
    double ratio;
    size_t values;
};

/* Fails unless |got - want| <= bound; the rest describes the place. */
__attribute__((format(printf, 5, 6))) void
check_value(struct worst *worst, double got, double want, double bound, const char *format, ...);

/* Fails unless the n floats are the same bits. */
void check_bits(const float *got, const float *want, size_t n, const char *what);
/* Fails unless lane `lane` of each of n rows of lanes is the same bits in both. */
void check_lane(const float *got, size_t got_lane, const float *want, size_t want_lane, size_t n,
                const char *what);

struct check {
    const char *name;
    void (*test)(const struct kernels *k, struct random *random, struct worst *worst);
    void (*bench)(const struct kernels *k); /* or NULL */
};

/* Runs the checks at every level; returns the number of failures. */
int check_main(const struct check *checks, size_t n);

/* ---- Timing ------------------------------------------------------------- */

/* Prints one line: how fast call(argument) does `work` (floating-point
 * operations or bytes) in units of 1e9 a second; best of several batches. */
void bench_print(const struct kernels *k, const char *name, double work, const char *unit,
                 void (*call)(const struct kernels *k, void *argument), void *argument);

#endif
