/* reload.c - see reload.h. */
#include "server/process/reload.h"

#include <stdio.h>
#include <string.h>

#include "server/basics/clock.h"
#include "server/basics/log.h"
#include "server/basics/text.h"
#include "server/connection/tls_certificates.h"
#include "server/process/systemd_notify.h"

static void *load(void *argument)
{
    struct reload *reload = argument;
    struct service *service = reload->service;
    const char *memory = reload->step == RELOAD_LOW ? "low" : service->options->memory;
    if (generation_load(&reload->generation, &service->engines, service->options, memory,
                        service->threads, &service->metrics, &reload->error) != CAPSNET_OK)
        reload->generation = NULL;
    atomic_store(&reload->done, 1);
    return NULL;
}

static void log_success(const struct generation *g)
{
    struct text names = {0};
    for (size_t i = 0; i < g->n; i++)
        text_addf(&names, "%s%s", i ? ", " : "", capsnet_model_name(g->engines[i].model));
    log_event(LOG_LEVEL_INFO, "reloaded the weights: %s", names.failed ? "all" : names.bytes);
    text_free(&names);
}

/* Puts the result of a step into effect; generation NULL: there is none. */
static void conclude(struct reload *reload, struct generation *generation)
{
    if (generation && reload->step == RELOAD_LOW) {
        engines_replace(&reload->service->engines, generation);
        reload->step = RELOAD_LOW_SERVES;
        return;
    }
    struct service *service = reload->service;
    struct metrics *metrics = &service->metrics;
    atomic_fetch_add(generation && !reload->is_bad ? &metrics->reloads : &metrics->failed_reloads,
                     1);
    if (generation) {
        log_success(generation);
        engines_replace(&service->engines, generation);
    } else {
        log_event(LOG_LEVEL_ERROR, "%s: %s",
                  reload->step == RELOAD_FULL ? "the new weights stay in the plan of low memory"
                                              : "keeping the old weights",
                  reload->error.text);
    }
    reload->step = RELOAD_AT_ONCE;
    notify_send("READY=1");
}

/* Rereads what is small.  Of each, what is no good leaves the old in place. */
static void reload_files(struct reload *reload)
{
    struct service *service = reload->service;
    const struct options *o = service->options;
    char message[512];
    reload->is_bad = 0;
    if (o->api_key_file &&
        keys_load(&service->keys, o->api_key_file, message, sizeof message) != 0) {
        log_event(LOG_LEVEL_ERROR, "keeping the old API keys: %s", message);
        reload->is_bad = 1;
    }
    if (o->tls_cert && tls_load(o->tls_cert, o->tls_key, message, sizeof message) != 0) {
        log_event(LOG_LEVEL_ERROR, "keeping the old TLS certificate: %s", message);
        reload->is_bad = 1;
    }
}

/* Has twice what is loaded no room within the memory limit?  Beside it stands what memory
 * "auto" counts for batches, requests and loading: 64 MiB, and 32 for each model. */
static int is_tight(const struct service *service)
{
    const struct generation *current = service->engines.current;
    const size_t limit = capsnet_memory_limit();
    int is_full = 0;
    for (size_t i = 0; i < current->n; i++)
        is_full |= strcmp(capsnet_model_memory(current->engines[i].model), "full") == 0;
    const size_t beside = (64 + 32 * current->n) << 20;
    return limit && is_full && 2 * generation_bytes(current) + beside > limit;
}

static void start_step(struct reload *reload, enum reload_step step)
{
    reload->step = step;
    atomic_store(&reload->done, 0);
    reload->running = pthread_create(&reload->thread, NULL, load, reload) == 0;
    if (!reload->running) {
        strcpy(reload->error.text, "cannot start a thread to load the new ones");
        conclude(reload, NULL);
    }
}

void reload_init(struct reload *reload, struct service *service)
{
    *reload = (struct reload){.service = service};
}

void reload_start(struct reload *reload)
{
    if (reload->running || reload->step == RELOAD_LOW_SERVES) {
        reload->wanted = 1;
        return;
    }
    char state[64];
    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)clock_us());
    notify_send(state);
    reload->wanted = 0;
    reload_files(reload);
    start_step(reload, is_tight(reload->service) ? RELOAD_LOW : RELOAD_AT_ONCE);
}

void reload_poll(struct reload *reload)
{
    engines_sweep(&reload->service->engines);
    if (reload->step == RELOAD_LOW_SERVES && !reload->service->engines.retired)
        start_step(reload, RELOAD_FULL);
    if (!reload->running || !atomic_load(&reload->done))
        return;
    pthread_join(reload->thread, NULL);
    reload->running = 0;
    conclude(reload, reload->generation);
    reload->generation = NULL;
    if (reload->wanted && reload->step == RELOAD_AT_ONCE)
        reload_start(reload);
}

void reload_finish(struct reload *reload)
{
    if (!reload->running)
        return;
    pthread_join(reload->thread, NULL);
    reload->running = 0;
    generation_free(reload->generation);
}
