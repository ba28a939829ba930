/*
 * engine.h - a model and the batcher that runs it, replaceable while requests
 * are served.
 *
 * A request takes the current engine when its headers have arrived and keeps it
 * to its end, so that its shapes never change under it.  A new engine only
 * becomes current; the old one is freed when its last request has let go.
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
    atomic_size_t users;
    struct engine *next; /* of the retired ones */
};

/* Loads the options' weights and warms up.  memory: the plan, in place of the options'.
 * threads: that compute.  *engine is free of users; engine_free() it or let engines own
 * it. */
CAPSNET_MUST_CHECK enum capsnet_status engine_load(struct engine **engine,
                                                   const struct options *options,
                                                   const char *memory, size_t threads,
                                                   struct metrics *metrics,
                                                   struct capsnet_error *error);

/* Bytes of its weights, and of what its batches are computed in. */
size_t engine_bytes(const struct engine *engine);

/* Frees an engine without users; NULL is ignored. */
void engine_free(struct engine *engine);

/* The current engine and those before it. */
struct engines {
    pthread_mutex_t lock;
    struct engine *current; /* NULL while the first is being loaded */
    struct engine *retired; /* one thread's, who replaces and sweeps */
};

void engines_init(struct engines *engines);

/* Takes the current engine, or NULL; engine_release() it.  Thread-safe. */
struct engine *engines_acquire(struct engines *engines);
void engine_release(struct engine *engine); /* NULL is ignored */

/* Makes an engine the current one and retires the one before. */
void engines_replace(struct engines *engines, struct engine *engine);

/* Frees the retired engines that nobody uses any more. */
void engines_sweep(struct engines *engines);

/* Frees all; there must be no users. */
void engines_destroy(struct engines *engines);

#endif
