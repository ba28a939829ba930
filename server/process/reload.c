/* reload.c - see reload.h. */
#include "server/process/reload.h"

#include <stdio.h>
#include <string.h>

#include "server/basics/clock.h"
#include "server/basics/log.h"
#include "server/connection/tls_certificates.h"
#include "server/process/systemd_notify.h"

static void *load(void *argument)
{
    struct reload *reload = argument;
    struct service *service = reload->service;
    const char *memory = reload->step == RELOAD_LOW ? "low" : service->options->memory;
    if (engine_load(&reload->engine, service->options, memory, service->threads,
                    &service->metrics, &reload->error) != CAPSNET_OK)
        reload->engine = NULL;
    atomic_store(&reload->done, 1);
    return NULL;
}

/* Puts the result of a step into effect; engine NULL: there is none. */
static void conclude(struct reload *reload, struct engine *engine)
{
    if (engine && reload->step == RELOAD_LOW) {
        engines_replace(&reload->service->engines, engine);
        reload->step = RELOAD_LOW_SERVES;
        return;
    }
    struct service *service = reload->service;
    const char *weights = service->options->weights;
    struct metrics *metrics = &service->metrics;
    atomic_fetch_add(engine && !reload->is_bad ? &metrics->reloads : &metrics->failed_reloads, 1);
    if (engine) {
        log_event(LOG_LEVEL_INFO, "reloaded %s: %s", weights, capsnet_model_name(engine->model));
        engines_replace(&service->engines, engine);
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

/* Have two engines like the current one no room within the memory limit?  Half an engine is
 * for requests, and for what loading takes beside the weights. */
static int is_tight(const struct service *service)
{
    const struct engine *current = service->engines.current;
    const size_t limit = capsnet_memory_limit();
    return limit && strcmp(capsnet_model_memory(current->model), "full") == 0 &&
           engine_bytes(current) / 2 * 5 > limit;
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
    conclude(reload, reload->engine);
    reload->engine = NULL;
    if (reload->wanted && reload->step == RELOAD_AT_ONCE)
        reload_start(reload);
}

void reload_finish(struct reload *reload)
{
    if (!reload->running)
        return;
    pthread_join(reload->thread, NULL);
    reload->running = 0;
    engine_free(reload->engine);
}
