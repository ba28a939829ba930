/*
 * variants.c - see variants.h.
 */
#include "tests/bench/variants.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/bench.h"

static const char *const precision_names[PRECISIONS] = {"f32", "bf16", "int8"};
static const char *const plan_names[PLANS] = {"direct", "spectral"};

static const char *cpu_level(void)
{
    const char *level = getenv("CAPSNETD_CPU_LEVEL");
    return level && *level ? level : NULL;
}

void variants_open(struct variants *v, const char *weights)
{
    struct capsnet_error error;
    *v = (struct variants){0};
    for (size_t p = 0; p < PRECISIONS; p++) {
        const struct capsnet_options options = {cpu_level(), precision_names[p], "full", NULL};
        if (capsnet_model_load(&v->models[p], weights, &options, &error) != CAPSNET_OK) {
            if (p == PRECISION_F32)
                bench_die(error.text);
            printf("%s: SKIPPED: %s\n", precision_names[p], error.text);
            continue;
        }
        for (size_t plan = 0; plan < PLANS; plan++) {
            if (plan == PLAN_SPECTRAL && !v->models[p]->is_spectral)
                continue;
            struct variant *variant = &v->list[v->n++];
            snprintf(variant->name, sizeof variant->name, "%s %s", precision_names[p],
                     plan_names[plan]);
            variant->model = v->models[p];
            variant->plan = (enum plan)plan;
        }
    }
}

void variants_close(struct variants *v)
{
    for (size_t p = 0; p < PRECISIONS; p++)
        capsnet_model_free(v->models[p]);
}

void variant_run(const struct variant *variant, struct capsnet_workspace *ws, size_t n,
                 const float *images, float *lengths, float *poses, float *pictures)
{
    const struct capsnet_shape *shape = &variant->model->shape;
    size_t winners[BENCH_BATCH];
    float longest[BENCH_BATCH * 64];
    forward_by_plan(ws, variant->plan, n, images, lengths, poses, NULL);
    for (size_t i = 0; i < n; i++) {
        winners[i] = capsnet_winner(shape, lengths + i * shape->classes);
        memcpy(longest + i * shape->pose_dims,
               poses + (i * shape->classes + winners[i]) * shape->pose_dims,
               shape->pose_dims * sizeof *longest);
    }
    capsnet_decode(ws, n, longest, winners, pictures);
}

static void print_memory(const struct capsnet_model *model, size_t max_batch, size_t threads)
{
    struct capsnet_workspace *ws;
    struct capsnet_error error;
    size_t direct = 0;
    if (capsnet_workspace_create(&ws, model, max_batch, threads, &error) != CAPSNET_OK)
        bench_die(error.text);
    while (direct < max_batch && plan_for(model, direct + 1) == PLAN_DIRECT)
        direct++;
    printf("  %-5s %-5s %9.1f %10.1f   ", capsnet_model_precision(model),
           capsnet_model_memory(model), 1e-6 * (double)capsnet_model_bytes(model),
           1e-6 * (double)capsnet_workspace_bytes(ws));
    if (direct == max_batch)
        printf("direct\n");
    else
        printf("direct up to %zu images, then spectral\n", direct);
    capsnet_workspace_free(ws);
}

void variants_print_memory(const struct variants *v, const char *weights, size_t max_batch,
                           size_t threads)
{
    printf("\nmemory, MB: weights, and a workspace of %zu images and %zu thread%s; the plan\n",
           max_batch, threads, threads > 1 ? "s" : "");
    for (size_t p = 0; p < PRECISIONS; p++) {
        const struct capsnet_options low = {cpu_level(), precision_names[p], "low", NULL};
        struct capsnet_model *model;
        struct capsnet_error error;
        if (!v->models[p])
            continue;
        print_memory(v->models[p], max_batch, threads);
        if (strcmp(capsnet_model_memory(v->models[p]), "low") == 0)
            continue;
        if (capsnet_model_load(&model, weights, &low, &error) != CAPSNET_OK)
            bench_die(error.text);
        print_memory(model, max_batch, threads);
        capsnet_model_free(model);
    }
}
