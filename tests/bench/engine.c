/*
 * engine.c - the engine that the server runs, without the server: images a
 * second in batches of BATCH, through model/capsnet.h alone.
 *
 *     engine WEIGHTS PRECISION                what runs, in words
 *     engine WEIGHTS PRECISION BATCH SECONDS  two numbers
 *
 * The first is its throughput: all images by all the time that they took on the wall, as
 * requests/s are, to which it compares.  The second is that of its median pass, of one
 * thread by its processor time: others on the machine change it less, and it compares to
 * medians.
 *
 * CAPSNETD_CPU_LEVEL and CAPSNETD_PLAN are obeyed as by the server.  Every image is the
 * picture that http.sh sends, the PNG of BENCH_PNG: an image's time depends on its ink.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "model/capsnet.h"
#include "model/picture/png.h"

enum { MAX_BATCH = 1024, MAX_PASSES = 100000 };

static double now(clockid_t clock)
{
    struct timespec at;
    clock_gettime(clock, &at);
    return (double)at.tv_sec + 1e-9 * (double)at.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* The picture in the middle of an image of that shape, or its middle part. */
static int read_picture(float *pixels, const struct capsnet_shape *shape)
{
    static uint8_t bytes[1 << 16];
    const char *path = getenv("BENCH_PNG") ? getenv("BENCH_PNG") : "tests/digits/digit-7.png";
    struct image image;
    struct image_message message;
    FILE *file = fopen(path, "rb");
    const size_t count = file ? fread(bytes, 1, sizeof bytes, file) : 0;
    if (file)
        fclose(file);
    if (png_decode(&image, bytes, count, 1024, 1, &message) != IMAGE_OK) {
        fprintf(stderr, "%s: %s\n", path, count ? message.text : "cannot be read");
        return 0;
    }
    for (size_t y = 0; y < shape->height; y++)
        for (size_t x = 0; x < shape->width; x++) {
            const size_t from_y = y + image.height / 2 - shape->height / 2;
            const size_t from_x = x + image.width / 2 - shape->width / 2;
            const int is_inside = from_y < image.height && from_x < image.width;
            for (size_t c = 0; c < shape->channels; c++)
                pixels[(y * shape->width + x) * shape->channels + c] =
                    is_inside ? (float)image.pixels[from_y * image.width + from_x] / 255 : 0;
        }
    image_free(&image);
    return 1;
}

struct buffers {
    float *images, *lengths, *poses, *pictures;
    size_t *classes;
};

/* A pass in seconds. */
struct pass {
    double mean, median;
};

/* Forward and decode as /classify does. */
static struct pass run(struct capsnet_workspace *ws, size_t n, size_t threads, double seconds,
                       const struct buffers *at)
{
    const clockid_t clock = threads == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
    static double times[MAX_PASSES];
    size_t passes = 0;
    capsnet_forward(ws, n, at->images, at->lengths, at->poses); /* to warm up */
    const double begin = now(CLOCK_MONOTONIC);
    double elapsed = 0;
    for (double pass = now(clock); elapsed < seconds && passes < MAX_PASSES;) {
        capsnet_forward(ws, n, at->images, at->lengths, at->poses);
        capsnet_decode(ws, n, at->poses, at->classes, at->pictures);
        const double end = now(clock);
        times[passes++] = end - pass;
        pass = end;
        elapsed = now(CLOCK_MONOTONIC) - begin;
    }
    qsort(times, passes, sizeof *times, compare);
    return (struct pass){elapsed / (double)passes, times[passes / 2]};
}

int main(int argc, char **argv)
{
    struct capsnet_model *model;
    struct capsnet_workspace *ws;
    struct capsnet_error error;
    const size_t threads = capsnet_cpu_count();
    const size_t n = argc == 5 ? strtoul(argv[3], NULL, 10) : 1;
    const double seconds = argc == 5 ? strtod(argv[4], NULL) : 0;
    if ((argc != 3 && argc != 5) || n < 1 || n > MAX_BATCH) {
        fputs("usage: engine WEIGHTS PRECISION [BATCH SECONDS]\n", stderr);
        return EXIT_FAILURE;
    }
    const struct capsnet_options options = {.cpu_level = getenv("CAPSNETD_CPU_LEVEL"),
                                            .precision = argv[2],
                                            .plan = getenv("CAPSNETD_PLAN")};
    if (capsnet_model_load(&model, argv[1], &options, &error) != CAPSNET_OK) {
        fprintf(stderr, "%s\n", error.text);
        return EXIT_FAILURE;
    }
    capsnet_model_measure(model, threads, 0.3);
    if (capsnet_workspace_create(&ws, model, n, threads, &error) != CAPSNET_OK) {
        fprintf(stderr, "%s\n", error.text);
        return EXIT_FAILURE;
    }
    if (argc == 3) {
        printf("%s, %s, %zu thread%s\n", capsnet_model_precision(model),
               capsnet_model_cpu_level(model), threads, threads == 1 ? "" : "s");
        return EXIT_SUCCESS;
    }
    const struct capsnet_shape *shape = capsnet_model_shape(model);
    const size_t pixels = shape->height * shape->width * shape->channels;
    struct buffers at = {
        .images = calloc(n * pixels, sizeof(float)),
        .pictures = calloc(n * pixels, sizeof(float)),
        .lengths = calloc(n * shape->classes, sizeof(float)),
        .poses = calloc(n * shape->classes * shape->pose_dims, sizeof(float)),
        .classes = calloc(n, sizeof(size_t)),
    };
    if (!at.images || !at.pictures || !at.lengths || !at.poses || !at.classes)
        return EXIT_FAILURE;
    if (!read_picture(at.images, shape))
        return EXIT_FAILURE;
    for (size_t i = 1; i < n; i++)
        memcpy(at.images + i * pixels, at.images, pixels * sizeof *at.images);
    const struct pass pass = run(ws, n, threads, seconds, &at);
    printf("%.1f %.1f\n", (double)n / pass.mean, (double)n / pass.median);
    free(at.images);
    free(at.pictures);
    free(at.lengths);
    free(at.poses);
    free(at.classes);
    capsnet_workspace_free(ws);
    capsnet_model_free(model);
    return EXIT_SUCCESS;
}
