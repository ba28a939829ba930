/*
 * contender.c - our engine's turns beside other programs', through
 * model/capsnet.h alone; peers/turns.py tells the protocol.
 *
 *     contender PRECISION WEIGHTS IMAGES ANSWERS THREADS
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "model/capsnet.h"

enum { MAX_BATCH = 64 };
static const double LEAST_SECONDS = 0.03;

struct contender {
    struct capsnet_model *model;
    struct capsnet_workspace *ws;
    const struct capsnet_shape *shape;
    float *images, *lengths, *poses, *pictures; /* of n_images */
    size_t n_images, pixels, outputs;
    float *longest;  /* [MAX_BATCH][pose_dims] */
    size_t *winners; /* [MAX_BATCH] */
};

static _Noreturn void die(const char *words)
{
    fprintf(stderr, "contender: %s\n", words);
    exit(EXIT_FAILURE);
}

static double seconds_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *room(size_t floats)
{
    float *memory = calloc(floats, sizeof *memory);
    if (!memory)
        die("not enough memory");
    return memory;
}

/* Images first .. first + n - 1, forward and decoder, as the server does it. */
static void run(struct contender *c, size_t first, size_t n)
{
    const size_t classes = c->shape->classes, dims = c->shape->pose_dims;
    float *lengths = c->lengths + first * classes, *poses = c->poses + first * c->outputs;
    capsnet_forward(c->ws, n, c->images + first * c->pixels, lengths, poses);
    for (size_t i = 0; i < n; i++) {
        c->winners[i] = capsnet_winner(c->shape, lengths + i * classes);
        memcpy(c->longest + i * dims, poses + (i * classes + c->winners[i]) * dims,
               dims * sizeof *poses);
    }
    capsnet_decode(c->ws, n, c->longest, c->winners, c->pictures + first * c->pixels);
}

/* Batches of n, one after another of the images, so that no image's own cost counts. */
static void time_turn(struct contender *c, size_t n)
{
    const size_t batches = c->n_images / n;
    size_t passes = 0;
    double spent;
    if (n < 16)
        run(c, 0, n);
    const double wall = seconds_of(CLOCK_MONOTONIC), cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    do {
        run(c, passes % batches * n, n);
        passes++;
        spent = seconds_of(CLOCK_MONOTONIC) - wall;
    } while (spent < LEAST_SECONDS);
    printf("%.9f %.9f\n", spent / (double)passes,
           (seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu) / (double)passes);
}

static void write_answers(struct contender *c, const char *path, size_t count, size_t batch)
{
    for (size_t i = 0; i < count; i += batch)
        run(c, i, count - i < batch ? count - i : batch);
    FILE *file = fopen(path, "wb");
    const size_t lengths = count * c->shape->classes, poses = count * c->outputs;
    const size_t pictures = count * c->pixels;
    if (!file || fwrite(c->lengths, sizeof(float), lengths, file) != lengths ||
        fwrite(c->poses, sizeof(float), poses, file) != poses ||
        fwrite(c->pictures, sizeof(float), pictures, file) != pictures || fclose(file) != 0)
        die("cannot write the answers");
    puts("done");
}

static void open_contender(struct contender *c, char **argv)
{
    const struct capsnet_options options = {.precision = argv[1]};
    struct capsnet_error error;
    if (capsnet_model_load(&c->model, argv[2], &options, &error) != CAPSNET_OK) {
        printf("skipped %s\n", error.text);
        exit(EXIT_SUCCESS);
    }
    const size_t threads = strtoul(argv[5], NULL, 10);
    capsnet_model_measure(c->model, threads, 0.3);
    if (capsnet_workspace_create(&c->ws, c->model, MAX_BATCH, threads, &error) != CAPSNET_OK)
        die(error.text);
    c->shape = capsnet_model_shape(c->model);
    c->pixels = c->shape->height * c->shape->width * c->shape->channels;
    c->outputs = c->shape->classes * c->shape->pose_dims;
    FILE *file = fopen(argv[3], "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0)
        die("cannot read the images");
    c->n_images = (size_t)ftell(file) / sizeof(float) / c->pixels;
    rewind(file);
    c->images = room(c->n_images * c->pixels);
    if (fread(c->images, sizeof(float), c->n_images * c->pixels, file) != c->n_images * c->pixels)
        die("cannot read the images");
    fclose(file);
    c->lengths = room(c->n_images * c->shape->classes);
    c->poses = room(c->n_images * c->outputs);
    c->pictures = room(c->n_images * c->pixels);
    c->longest = room(MAX_BATCH * c->shape->pose_dims);
    c->winners = calloc(MAX_BATCH, sizeof *c->winners);
    if (!c->winners)
        die("not enough memory");
}

int main(int argc, char **argv)
{
    struct contender c = {0};
    char line[64];
    size_t n, count;
    if (argc != 6)
        die("usage: contender PRECISION WEIGHTS IMAGES ANSWERS THREADS");
    setvbuf(stdout, NULL, _IOLBF, 0);
    open_contender(&c, argv);
    printf("ready capsnetd %s (%s)\n", capsnet_model_precision(c.model),
           capsnet_model_cpu_level(c.model));
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "time %zu", &n) == 1 && n >= 1 && n <= MAX_BATCH && n <= c.n_images)
            time_turn(&c, n);
        else if (sscanf(line, "answers %zu %zu", &count, &n) == 2 && n >= 1 && n <= MAX_BATCH &&
                 count <= c.n_images)
            write_answers(&c, argv[4], count, n);
        else
            die("a question that it does not know");
    }
    capsnet_workspace_free(c.ws);
    capsnet_model_free(c.model);
    free(c.images);
    free(c.lengths);
    free(c.poses);
    free(c.pictures);
    free(c.longest);
    free(c.winners);
    return EXIT_SUCCESS;
}
