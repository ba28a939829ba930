/*
 * answers.c - every precision and plan on MNIST's test images, held against the
 * whole network in double precision (yardstick.h): how many classes change, and
 * how far capsule lengths are off.  Fails when f32 changes any class or is off
 * by more than 1e-4, or when bf16 or int8 changes more than 2 classes in 10,000.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/train/data/dataset_load.h"
#include "tests/bench/bench.h"
#include "tests/bench/variants.h"
#include "tests/bench/yardstick.h"

enum { BATCH = 64, MOST_CHANGED = 2 }; /* of 10,000 */
static const double F32_TOLERANCE = 1e-4;

struct answers {
    float *lengths; /* [n][classes] */
    float *errors;  /* [n] mean squared pixel error of the longest capsule's picture */
};

struct buffers {
    float *images, *poses, *pictures;
};

static float *room(size_t count)
{
    float *memory = malloc(count * sizeof *memory);
    if (!memory)
        bench_die("not enough memory");
    return memory;
}

/* Images first .. first + n - 1 as the trainer and the server scale them. */
static void read_images(const struct dataset *data, size_t first, size_t n, float *images)
{
    const size_t pixels = data->height * data->width * data->channels;
    for (size_t p = 0; p < n * pixels; p++)
        images[p] = (float)data->pixels[first * pixels + p] / 255;
}

/* All images through one way: a variant, or, when that is NULL, the network in
 * double precision. */
static void answer(struct answers *out, const struct capsnet_shape *shape,
                   const struct dataset *data, const struct variant *variant,
                   struct capsnet_workspace *ws, struct yardstick_network *exact)
{
    const size_t pixels = data->height * data->width * data->channels;
    struct buffers b = {room(BATCH * pixels),
                        room(BATCH * shape->classes * shape->pose_dims), room(BATCH * pixels)};
    for (size_t first = 0; first < data->n; first += BATCH) {
        const size_t n = data->n - first < BATCH ? data->n - first : BATCH;
        float *lengths = out->lengths + first * shape->classes;
        read_images(data, first, n, b.images);
        if (variant)
            variant_run(variant, ws, n, b.images, lengths, b.poses, b.pictures);
        else
            yardstick_f64.run(exact, n, YARDSTICK_MAX_CHUNK, b.images, lengths, b.poses,
                              b.pictures);
        for (size_t i = 0; i < n; i++)
            out->errors[first + i] =
                capsnet_pixel_error(shape, b.images + i * pixels, b.pictures + i * pixels);
    }
    free(b.images);
    free(b.poses);
    free(b.pictures);
}

static double farthest(const float *a, const float *b, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = fabs((double)a[i] - (double)b[i]);
        worst = d > worst || isnan(d) ? d : worst;
    }
    return worst;
}

static size_t wrong(const struct answers *a, const struct capsnet_shape *shape,
                    const struct dataset *data)
{
    size_t count = 0;
    for (size_t i = 0; i < data->n; i++)
        count += capsnet_winner(shape, a->lengths + i * shape->classes) != data->labels[i];
    return count;
}

/* Prints a variant's line; 1 when it is as good as promised. */
static int compare(const char *name, int is_f32, const struct answers *a,
                   const struct answers *exact, const struct capsnet_shape *shape,
                   const struct dataset *data)
{
    size_t changed = 0;
    for (size_t i = 0; i < data->n; i++)
        changed += capsnet_winner(shape, a->lengths + i * shape->classes) !=
                   capsnet_winner(shape, exact->lengths + i * shape->classes);
    const double off = farthest(a->lengths, exact->lengths, data->n * shape->classes);
    const int good = is_f32 ? changed == 0 && off <= F32_TOLERANCE
                            : changed * 10000 <= MOST_CHANGED * data->n && !isnan(off);
    printf("  %-24s %7zu %9zu %14.1e %14.1e%s\n", name, wrong(a, shape, data), changed, off,
           farthest(a->errors, exact->errors, data->n), good ? "" : "   TOO MUCH");
    return good;
}

static struct answers answers_room(const struct dataset *data, const struct capsnet_shape *shape)
{
    return (struct answers){room(data->n * shape->classes), room(data->n)};
}

/* One line for each variant; how many were not as good as promised. */
static int compare_all(const struct variants *variants, const struct dataset *data,
                       const struct answers *exact, size_t threads)
{
    const struct capsnet_shape *shape = &variants->models[PRECISION_F32]->shape;
    struct answers own = answers_room(data, shape);
    struct capsnet_error error;
    int bad = 0;
    for (size_t k = 0; k < variants->n; k++) {
        const struct variant *variant = &variants->list[k];
        struct capsnet_workspace *ws;
        if (workspace_create(&ws, variant->model, BATCH, threads, 0, &error) != CAPSNET_OK)
            bench_die(error.text);
        answer(&own, shape, data, variant, ws, NULL);
        bad += !compare(variant->name, variant->model->precision == PRECISION_F32, &own, exact,
                        shape, data);
        capsnet_workspace_free(ws);
    }
    free(own.lengths);
    free(own.errors);
    return bad;
}

int main(int argc, char **argv)
{
    struct variants variants;
    struct dataset data;
    struct capsnet_error error;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc != 3)
        bench_die("usage: answers WEIGHTS DATA");
    variants_open(&variants, argv[1]);
    const struct capsnet_model *model = variants.models[PRECISION_F32];
    if (dataset_load(&data, argv[2], "t10k", model, &error) != CAPSNET_OK)
        bench_die(error.text);
    const size_t threads = capsnet_cpu_count();
    struct yardstick_network *network = yardstick_f64.open(argv[1], &model->shape, BATCH, threads);
    struct answers exact = answers_room(&data, &model->shape);
    printf("%zu test images, %s, against the network in double precision (%s)\n", data.n,
           capsnet_model_cpu_level(model), yardstick_f64.name);
    answer(&exact, &model->shape, &data, NULL, NULL, network);
    yardstick_f64.close(network);
    printf("  %-24s %7s %9s %14s %14s\n", "", "wrong", "changed", "lengths off", "pixels off");
    printf("  %-24s %7zu\n", "double precision", wrong(&exact, &model->shape, &data));
    const int bad = compare_all(&variants, &data, &exact, threads);
    free(exact.lengths);
    free(exact.errors);
    dataset_free(&data);
    variants_close(&variants);
    return bad ? EXIT_FAILURE : EXIT_SUCCESS;
}
