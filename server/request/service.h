/*
 * service.h - what every request needs to know: the options, the engines, and
 * whether the server is ready.
 */
#ifndef CAPSNETD_SERVICE_H
#define CAPSNETD_SERVICE_H

#include <stdatomic.h>

#include "server/basics/metrics.h"
#include "server/basics/options.h"
#include "server/compute/engine.h"
#include "server/compute/workers.h"
#include "server/request/api_keys.h"
#include "server/request/resume_queue.h"

enum service_state {
    SERVICE_LOADING,
    SERVICE_READY,
    SERVICE_LEAVING,  /* told to end: serves on, but says that it is not ready */
    SERVICE_DRAINING, /* takes nothing new */
};

/* Owned by main.c.  The first engines and the workers are there before the state
 * becomes READY.  A request uses its own engine, not a current one. */
struct service {
    const struct options *options;
    size_t threads; /* the options' count, made definite */
    struct engines engines;
    struct keys keys; /* of the options' api_key_file, when that is set */
    struct workers *workers;
    struct resume_queue resume_queue;
    atomic_int state; /* enum service_state */
    atomic_size_t body_bytes; /* in memory, of all requests together */
    atomic_ullong next_id;    /* request_make_id()'s; random to begin */
    struct metrics metrics;
};

#endif
