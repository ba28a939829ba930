/*
 * bench.h - what the benchmarks share: a model of the paper's size, a training
 * step, the clock.
 *
 * Every figure is the median of several timings after one that warms up;
 * ratios are of timings that took turns within one run.
 */
#ifndef CAPSNET_BENCH_H
#define CAPSNET_BENCH_H

#include "model/weights_file/model_file.h"
#include "model/train/learn/adam.h"

enum { BENCH_BATCH = 128 };

/* Everything that a step reads and writes, filled with noise. */
struct bench {
    struct capsnet_model *model; /* of the default shape; CAPSNETD_CPU_LEVEL applies */
    struct capsnet_workspace *ws; /* the caller's, made and freed per measurement */
    float *images;                /* [BENCH_BATCH][pixels] */
    uint8_t labels[BENCH_BATCH];
    float *lengths, *poses, *pictures;
    float *grad; /* [layout.total] */
    struct adam adam;
};

/* Fills b, or says what failed and ends the program. */
void bench_open(struct bench *b);
void bench_close(struct bench *b);

/* workspace_create(), or a sentence and the end. */
void bench_workspace(struct bench *b, size_t threads, int training);

/* The loss's gradient, without the update; the loss. */
double bench_gradient(struct bench *b);

/* Median of n seconds, which are sorted. */
double bench_median(double *seconds, size_t n);

/* Seconds of one call. */
double bench_seconds(void (*run)(void *), void *context);

/* Median seconds of several calls, after one that warms up. */
double bench_time(void (*run)(void *), void *context);

/* count values between -size and size, always the same; huge_free() them. */
float *bench_noise(size_t count, float size);

/* The first n of MNIST's test images in that folder, [n][pixels], 0 to 1: what a pass takes
 * depends on their ink; huge_free() them. */
float *bench_test_images(const char *folder, const struct capsnet_model *model, size_t n);

/* Multiply-adds of one image, forward and decoder, all multiplied out. */
double bench_multiply_adds(const struct capsnet_model *model);

/* One thread, and the fastest kernels that the CPU can run: OpenBLAS takes its
 * oldest on a CPU newer than itself, so the program starts again with
 * OPENBLAS_CORETYPE set, which the programs it starts inherit.  A setting of the
 * user's stands. */
void bench_openblas(char **argv);

/* Says what went wrong and ends the program. */
_Noreturn void bench_die(const char *words);

#endif
