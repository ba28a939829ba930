/*
 * reload.h - SIGHUP: new API keys and certificates at once; new weights beside the old, then in
 * their place.
 *
 * Loading and warming up take a second or more, so a thread of its own does
 * it; the old engine serves meanwhile, and goes on when the new one fails.
 *
 * Where the memory limit has no room for two engines whose weights are in the frequency
 * domain, the new weights come in two steps: first in the plan that needs little
 * ("low"), which takes the old engine's place; when that is freed, anew in full.
 * All functions belong to one thread, main's.
 */
#ifndef CAPSNETD_RELOAD_H
#define CAPSNETD_RELOAD_H

#include <pthread.h>
#include <stdatomic.h>

#include "server/compute/engine.h"
#include "server/request/service.h"

struct reload {
    struct service *service;
    pthread_t thread;
    enum reload_step {
        RELOAD_AT_ONCE,   /* the new engine beside the old */
        RELOAD_LOW,       /* a low one beside the old */
        RELOAD_LOW_SERVES, /* the old one's last requests are waited for */
        RELOAD_FULL,      /* a full one beside the low */
    } step;
    int running; /* the thread is to be joined */
    int wanted;  /* once more, when it is done */
    int is_bad;  /* something beside the weights could not be reloaded */
    atomic_int done;
    struct engine *engine; /* the thread's result; NULL: see error */
    struct capsnet_error error;
};

void reload_init(struct reload *reload, struct service *service);

/* Starts a reload; while one runs, another one after it. */
void reload_start(struct reload *reload);

/* Puts a finished reload into effect, logs and counts it.  Call it often. */
void reload_poll(struct reload *reload);

/* Waits for the thread and drops what it has loaded. */
void reload_finish(struct reload *reload);

#endif
