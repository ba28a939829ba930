/*
 * service.h - what every request needs to know: the options, the model, and
 * whether the server is ready.
 */
#ifndef CAPSNETD_SERVICE_H
#define CAPSNETD_SERVICE_H

#include <stdatomic.h>

#include "../model/capsnet.h"
#include "batcher.h"
#include "metrics.h"
#include "options.h"
#include "workers.h"

enum service_state { SERVICE_LOADING, SERVICE_READY, SERVICE_DRAINING };

/* Owned by main.c.  model, batcher and workers are set before the state
 * becomes READY, and stay until the HTTP side has stopped. */
struct service {
    const struct options *options;
    size_t threads; /* the options' count, made definite */
    struct capsnet_model *model;
    struct batcher *batcher;
    struct workers *workers;
    atomic_int state; /* enum service_state */
    atomic_size_t body_bytes; /* in memory, of all requests together */
    struct metrics metrics;
};

#endif
