/* engine.c - see engine.h. */
#include "server/compute/engine.h"

#include <stdlib.h>
#include <string.h>

enum capsnet_status engine_load(struct engine **engine, const struct options *options,
                                const char *memory, size_t threads, struct metrics *metrics,
                                struct capsnet_error *error)
{
    struct engine *e = calloc(1, sizeof *e);
    if (!e) {
        strcpy(error->text, "out of memory while loading the weights");
        return CAPSNET_ERR_MEMORY;
    }
    enum capsnet_status status =
        capsnet_model_load(&e->model, options->weights,
                           &(struct capsnet_options){options->cpu_level, options->precision,
                                                     memory},
                           error);
    if (status == CAPSNET_OK)
        status = batcher_create(&e->batcher, e->model, options->max_batch, threads,
                                options->queue, options->batch_delay_us, metrics, error);
    if (status != CAPSNET_OK) {
        engine_free(e);
        return status;
    }
    *engine = e;
    return CAPSNET_OK;
}

size_t engine_bytes(const struct engine *engine)
{
    return capsnet_model_bytes(engine->model) + batcher_bytes(engine->batcher);
}

void engine_free(struct engine *engine)
{
    if (!engine)
        return;
    batcher_free(engine->batcher);
    capsnet_model_free(engine->model);
    free(engine);
}

void engines_init(struct engines *engines)
{
    *engines = (struct engines){0};
    pthread_mutex_init(&engines->lock, NULL);
}

/* The lock makes looking and taking one step: an engine that is no longer
 * current gets no new users. */
struct engine *engines_acquire(struct engines *engines)
{
    pthread_mutex_lock(&engines->lock);
    struct engine *engine = engines->current;
    if (engine)
        atomic_fetch_add(&engine->users, 1);
    pthread_mutex_unlock(&engines->lock);
    return engine;
}

void engine_release(struct engine *engine)
{
    if (engine)
        atomic_fetch_sub(&engine->users, 1);
}

void engines_replace(struct engines *engines, struct engine *engine)
{
    pthread_mutex_lock(&engines->lock);
    struct engine *old = engines->current;
    engines->current = engine;
    pthread_mutex_unlock(&engines->lock);
    if (old) {
        old->next = engines->retired;
        engines->retired = old;
    }
}

void engines_sweep(struct engines *engines)
{
    for (struct engine **at = &engines->retired; *at;) {
        struct engine *engine = *at;
        if (atomic_load(&engine->users)) {
            at = &engine->next;
            continue;
        }
        *at = engine->next;
        engine_free(engine);
    }
}

void engines_destroy(struct engines *engines)
{
    engines_replace(engines, NULL);
    engines_sweep(engines);
    pthread_mutex_destroy(&engines->lock);
}
