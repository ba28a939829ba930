/*
 * engine.c - the engine that the server runs, without the server: images a
 * second in batches of 64 and one by one, through model/capsnet.h alone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../../model/capsnet.h"

enum { BATCH = 64, SECONDS = 4 };

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + 1e-9 * (double)at.tv_nsec;
}

/* Forward and decode as /classify does; the mean time in seconds. */
static double run(struct capsnet_workspace *ws, size_t n, const float *images, float *lengths,
                  float *poses, float *pictures)
{
    static const size_t classes[BATCH];
    size_t passes = 0;
    double begin = 0;
    for (int is_warm = 0; is_warm < 2; is_warm++) {
        begin = now();
        passes = 0;
        do {
            capsnet_forward(ws, n, images, lengths, poses);
            capsnet_decode(ws, n, poses, classes, pictures);
            passes++;
        } while (now() - begin < (is_warm ? SECONDS : 0.5));
    }
    return (now() - begin) / (double)passes;
}

int main(int argc, char **argv)
{
    struct capsnet_model *model;
    struct capsnet_workspace *ws;
    struct capsnet_error error;
    const size_t threads = capsnet_cpu_count();
    if (argc != 2 || capsnet_model_load(&model, argv[1], NULL, &error) != CAPSNET_OK ||
        capsnet_workspace_create(&ws, model, BATCH, threads, &error) != CAPSNET_OK) {
        fprintf(stderr, "%s\n", argc == 2 ? error.text : "usage: engine WEIGHTS");
        return EXIT_FAILURE;
    }
    const struct capsnet_shape *shape = capsnet_model_shape(model);
    const size_t pixels = shape->height * shape->width * shape->channels;
    float *images = calloc(BATCH * pixels, sizeof *images);
    float *pictures = calloc(BATCH * pixels, sizeof *pictures);
    float *lengths = calloc(BATCH * shape->classes, sizeof *lengths);
    float *poses = calloc(BATCH * shape->classes * shape->pose_dims, sizeof *poses);
    if (!images || !pictures || !lengths || !poses)
        return EXIT_FAILURE;
    for (size_t i = 0; i < BATCH * pixels; i++)
        images[i] = (float)(i * 7919 % 101) / 100;
    double many = run(ws, BATCH, images, lengths, poses, pictures);
    double one = run(ws, 1, images, lengths, poses, pictures);
    printf("%s, %s, %zu thread%s: batch %d: %.0f images/s; batch 1: %.2f ms, %.0f images/s\n",
           capsnet_model_precision(model), capsnet_model_cpu_level(model), threads,
           threads == 1 ? "" : "s", BATCH, BATCH / many, one * 1e3, 1 / one);
    free(images);
    free(pictures);
    free(lengths);
    free(poses);
    capsnet_workspace_free(ws);
    capsnet_model_free(model);
    return EXIT_SUCCESS;
}
