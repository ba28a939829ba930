/*
 * reload.h - SIGHUP: new API keys and certificates at once; new weights beside the old, then in
 * their place: those of all models, or none.  Folders are looked into anew.
 *
 * Loading and warming up take a second or more, so a thread of its own does
 * it; the old models serve meanwhile, and go on when one of the new ones fails.
 *
 * Where the memory limit has no room for twice the models whose weights are in the frequency
 * domain, the new weights come in two steps: first in the plan that needs little
 * ("low"), which takes the old ones' place; when those are freed, anew in full.
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
        RELOAD_AT_ONCE,   /* the new models beside the old */
        RELOAD_LOW,       /* low ones beside the old */
        RELOAD_LOW_SERVES, /* the old ones' last requests are waited for */
        RELOAD_FULL,      /* full ones beside the low */
    } step;
    int running; /* the thread is to be joined */
    int wanted;  /* once more, when it is done */
    int is_bad;  /* something beside the weights could not be reloaded */
    atomic_int done;
    struct generation *generation; /* the thread's result; NULL: see error */
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
