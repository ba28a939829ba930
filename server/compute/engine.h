/*
 * engine.h - models and the batchers that run them, replaceable while requests are
 * served.
 *
 * What is loaded together, by the start or by a reload, is one generation.  A request
 * takes the current generation when its headers have arrived and keeps it to its end, so
 * that its models never change under it.  A new generation only becomes current; the old
 * one is freed when its last request has let go.
 */
#ifndef CAPSNETD_ENGINE_H
#define CAPSNETD_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>

#include "model/capsnet.h"
#include "server/basics/metrics.h"
#include "server/basics/options.h"
#include "server/compute/batcher.h"

struct engine {
    struct capsnet_model *model;
    struct batcher *batcher;
    struct model_metrics *metrics; /* of the model's name, whatever the generation */
};

struct generation {
    atomic_size_t users;
    struct generation *next; /* of the retired ones */
    size_t n;                /* at least 1 */
    struct engine engines[]; /* [n], in the order given: the first is the default */
};

/* The current generation and those before it, and the CPUs that all compute on. */
struct engines {
    pthread_mutex_t lock;
    struct generation *current; /* NULL while the first is being loaded */
    struct generation *retired; /* one thread's, who replaces and sweeps */
    struct capsnet_turns *turns;
};

/* 0, or -1 when memory is short. */
int engines_init(struct engines *engines);

/* Loads all the options' weights, the default first, and warms up.
 *
 * engines  whose turns they share; it does not become the current one yet
 * memory   the plan, in place of the options'; with "auto", the default has the room
 *          first, then the next
 * threads  that compute
 *
 * *generation is free of users; generation_free() it or let engines own it.  Nothing is
 * left of it where one of its models is not good, or where two have the same name
 * (CAPSNET_ERR_ARGUMENT).  One thread at a time. */
CAPSNET_MUST_CHECK enum capsnet_status
generation_load(struct generation **generation, struct engines *engines,
                const struct options *options, const char *memory, size_t threads,
                struct metrics *metrics, struct capsnet_error *error);

/* The engine whose model has the name [n]; NULL when none has. */
const struct engine *generation_find(const struct generation *generation, const char *name,
                                     size_t n);

/* Is another model than the engine's asked, too, as far as the last second tells? */
int generation_is_mixed(const struct generation *generation, const struct engine *engine);

/* Bytes of an engine's weights, and of what its batches are computed in; of all. */
size_t engine_bytes(const struct engine *engine);
size_t generation_bytes(const struct generation *generation);

/* Frees a generation without users; NULL is ignored. */
void generation_free(struct generation *generation);

/* Takes the current generation, or NULL; generation_release() it.  Thread-safe. */
struct generation *engines_acquire(struct engines *engines);
void generation_release(struct generation *generation); /* NULL is ignored */

/* Makes a generation the current one and retires the one before. */
void engines_replace(struct engines *engines, struct generation *generation);

/* Frees the retired generations that nobody uses any more. */
void engines_sweep(struct engines *engines);

/* Frees all; there must be no users. */
void engines_destroy(struct engines *engines);

#endif
