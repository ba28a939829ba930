/* engine.c - see engine.h. */
#include "server/compute/engine.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/basics/clock.h"
#include "server/compute/weights_files.h"

/* How long measuring all models may keep a server from being ready; their last passes
 * end later. */
static const double MEASURE_S = 0.2;

/* ---- One model ----------------------------------------------------------------- */

/* What is left of MEASURE_S, and for how many models: what one does not need the others have. */
struct measuring {
    double left_s;
    size_t models;
};

static void measure(struct capsnet_model *model, size_t threads, struct measuring *measuring)
{
    const int64_t start = clock_us();
    capsnet_model_measure(model, threads, measuring->left_s / (double)measuring->models);
    measuring->left_s = fmax(0, measuring->left_s - 1e-6 * (double)(clock_us() - start));
}

/* before: the generation that this one is to follow, or NULL; a model of it is not timed
 * again. */
static enum capsnet_status load_engine(struct engine *engine, const char *path,
                                       const struct options *options,
                                       const struct capsnet_options *plan, size_t threads,
                                       struct measuring *measuring,
                                       const struct generation *before,
                                       struct capsnet_turns *turns, struct metrics *metrics,
                                       struct capsnet_error *error)
{
    enum capsnet_status status = capsnet_model_load(&engine->model, path, plan, error);
    if (status != CAPSNET_OK)
        return status;
    engine->metrics = metrics_of_model(metrics, capsnet_model_name(engine->model));
    if (!engine->metrics) {
        strcpy(error->text, "out of memory while loading the weights");
        return CAPSNET_ERR_MEMORY;
    }
    const char *name = capsnet_model_name(engine->model);
    const struct engine *old = before ? generation_find(before, name, strlen(name)) : NULL;
    if (!old || !capsnet_model_measured_as(engine->model, old->model))
        measure(engine->model, threads, measuring);
    if (strcmp(options->memory, "auto") == 0)
        capsnet_model_trim(engine->model, options->max_batch);
    return batcher_create(&engine->batcher, engine->model, options->max_batch, threads,
                          options->queue, options->batch_delay_us, turns, engine->metrics, error);
}

size_t engine_bytes(const struct engine *engine)
{
    return capsnet_model_bytes(engine->model) + batcher_bytes(engine->batcher);
}

/* ---- A generation -------------------------------------------------------------- */

/* What the other models are to have of the memory, where this one asks for what is left:
 * those before it have what they took, those behind it the plan that needs least. */
static size_t others_bytes(const struct generation *loaded, const struct capsnet_sizes *sizes,
                           size_t n, size_t i)
{
    size_t bytes = 0;
    for (size_t j = 0; j < n; j++) {
        if (j == i)
            continue;
        bytes += sizes[j].low;
        if (j < i && strcmp(capsnet_model_memory(loaded->engines[j].model), "full") == 0)
            bytes += sizes[j].transform;
    }
    return bytes;
}

/* Has an engine before the last one a model of the same name? */
static enum capsnet_status check_name(const struct generation *loaded,
                                      const struct weights_files *files,
                                      struct capsnet_error *error)
{
    const size_t last = loaded->n - 1;
    const char *name = capsnet_model_name(loaded->engines[last].model);
    for (size_t j = 0; j < last; j++) {
        if (strcmp(capsnet_model_name(loaded->engines[j].model), name) != 0)
            continue;
        snprintf(error->text, sizeof error->text,
                 "%.150s and %.150s both call their model \"%.60s\"; each model needs a name of "
                 "its own", files->paths[j], files->paths[last], name);
        return CAPSNET_ERR_ARGUMENT;
    }
    return CAPSNET_OK;
}

static enum capsnet_status load_all(struct generation *g, const struct weights_files *files,
                                    struct capsnet_sizes *sizes, struct engines *engines,
                                    const struct options *options, const char *memory,
                                    size_t threads, struct metrics *metrics,
                                    struct capsnet_error *error)
{
    const struct generation *before = engines->current;
    struct measuring measuring = {.left_s = MEASURE_S};
    /* A reload's first step of low memory is no matter of the options' plan. */
    const int is_step = strcmp(memory, "low") == 0 && strcmp(options->memory, "low") != 0;
    struct capsnet_options plan = {options->cpu_level, options->precision, memory,
                                   is_step ? "auto" : options->plan};
    const int is_auto = strcmp(memory, "auto") == 0 && strcmp(options->plan, "auto") == 0;
    if (before)
        plan.precision = capsnet_model_precision(before->engines[0].model);
    enum capsnet_status status = CAPSNET_OK;
    for (size_t i = 0; i < files->n && status == CAPSNET_OK; i++)
        status = capsnet_model_sizes(&sizes[i], files->paths[i], &plan, error);
    for (size_t i = 0; i < files->n && status == CAPSNET_OK; i++) {
        measuring.models = files->n - i;
        if (is_auto)
            plan.memory = capsnet_may_be_full(&sizes[i], others_bytes(g, sizes, files->n, i))
                              ? "full"
                              : "low";
        g->n = i + 1;
        status = load_engine(&g->engines[i], files->paths[i], options, &plan, threads,
                             &measuring, before, engines->turns, metrics, error);
        if (status != CAPSNET_OK)
            return status;
        status = check_name(g, files, error);
        plan.precision = capsnet_model_precision(g->engines[i].model); /* "auto" is one for all */
    }
    return status;
}

enum capsnet_status generation_load(struct generation **generation, struct engines *engines,
                                    const struct options *options, const char *memory,
                                    size_t threads, struct metrics *metrics,
                                    struct capsnet_error *error)
{
    struct weights_files files;
    enum capsnet_status status = weights_files_list(&files, &options->weights, error);
    if (status != CAPSNET_OK)
        return status;
    struct generation *g = calloc(1, sizeof *g + files.n * sizeof g->engines[0]);
    struct capsnet_sizes *sizes = calloc(files.n, sizeof *sizes);
    if (g && sizes) {
        status = load_all(g, &files, sizes, engines, options, memory, threads, metrics, error);
    } else {
        strcpy(error->text, "out of memory while loading the weights");
        status = CAPSNET_ERR_MEMORY;
    }
    free(sizes);
    weights_files_free(&files);
    if (status == CAPSNET_OK)
        *generation = g;
    else
        generation_free(g);
    return status;
}

const struct engine *generation_find(const struct generation *generation, const char *name,
                                     size_t n)
{
    for (size_t i = 0; i < generation->n; i++) {
        const char *own = capsnet_model_name(generation->engines[i].model);
        if (strlen(own) == n && memcmp(own, name, n) == 0)
            return &generation->engines[i];
    }
    return NULL;
}

int generation_is_mixed(const struct generation *generation, const struct engine *engine)
{
    enum { SECOND_US = 1000000 };
    for (size_t i = 0; i < generation->n; i++) {
        const struct engine *other = &generation->engines[i];
        const int64_t asked_us = other == engine ? 0 : batcher_asked_us(other->batcher);
        if (asked_us && clock_us() - asked_us < SECOND_US)
            return 1;
    }
    return 0;
}

size_t generation_bytes(const struct generation *generation)
{
    size_t bytes = 0;
    for (size_t i = 0; i < generation->n; i++)
        bytes += engine_bytes(&generation->engines[i]);
    return bytes;
}

void generation_free(struct generation *generation)
{
    if (!generation)
        return;
    for (size_t i = 0; i < generation->n; i++) {
        batcher_free(generation->engines[i].batcher);
        capsnet_model_free(generation->engines[i].model);
    }
    free(generation);
}

/* ---- The current one and those before ------------------------------------------ */

int engines_init(struct engines *engines)
{
    *engines = (struct engines){.turns = capsnet_turns_create()};
    pthread_mutex_init(&engines->lock, NULL);
    return engines->turns ? 0 : -1;
}

/* The lock makes looking and taking one step: a generation that is no longer
 * current gets no new users. */
struct generation *engines_acquire(struct engines *engines)
{
    pthread_mutex_lock(&engines->lock);
    struct generation *generation = engines->current;
    if (generation)
        atomic_fetch_add(&generation->users, 1);
    pthread_mutex_unlock(&engines->lock);
    return generation;
}

void generation_release(struct generation *generation)
{
    if (generation)
        atomic_fetch_sub(&generation->users, 1);
}

void engines_replace(struct engines *engines, struct generation *generation)
{
    pthread_mutex_lock(&engines->lock);
    struct generation *old = engines->current;
    engines->current = generation;
    pthread_mutex_unlock(&engines->lock);
    if (old) {
        old->next = engines->retired;
        engines->retired = old;
    }
}

void engines_sweep(struct engines *engines)
{
    for (struct generation **at = &engines->retired; *at;) {
        struct generation *generation = *at;
        if (atomic_load(&generation->users)) {
            at = &generation->next;
            continue;
        }
        *at = generation->next;
        generation_free(generation);
    }
}

void engines_destroy(struct engines *engines)
{
    engines_replace(engines, NULL);
    engines_sweep(engines);
    capsnet_turns_free(engines->turns);
    pthread_mutex_destroy(&engines->lock);
}
