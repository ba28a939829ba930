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
    if (engine_load(&reload->engine, service->options, service->threads, &service->metrics,
                    &reload->error) != CAPSNET_OK)
        reload->engine = NULL;
    atomic_store(&reload->done, 1);
    return NULL;
}

/* Puts the result into effect; engine NULL: there is none. */
static void conclude(struct reload *reload, struct engine *engine)
{
    struct service *service = reload->service;
    const char *weights = service->options->weights;
    struct metrics *metrics = &service->metrics;
    atomic_fetch_add(engine && !reload->is_bad ? &metrics->reloads : &metrics->failed_reloads, 1);
    if (engine) {
        log_event(LOG_LEVEL_INFO, "reloaded %s: %s", weights, capsnet_model_name(engine->model));
        engines_replace(&service->engines, engine);
    } else {
        log_event(LOG_LEVEL_ERROR, "keeping the old weights: %s", reload->error.text);
    }
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

void reload_init(struct reload *reload, struct service *service)
{
    *reload = (struct reload){.service = service};
}

void reload_start(struct reload *reload)
{
    if (reload->running) {
        reload->wanted = 1;
        return;
    }
    char state[64];
    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)clock_us());
    notify_send(state);
    reload->wanted = 0;
    reload_files(reload);
    atomic_store(&reload->done, 0);
    reload->running = pthread_create(&reload->thread, NULL, load, reload) == 0;
    if (!reload->running) {
        strcpy(reload->error.text, "cannot start a thread to load the new ones");
        conclude(reload, NULL);
    }
}

void reload_poll(struct reload *reload)
{
    engines_sweep(&reload->service->engines);
    if (!reload->running || !atomic_load(&reload->done))
        return;
    pthread_join(reload->thread, NULL);
    reload->running = 0;
    conclude(reload, reload->engine);
    reload->engine = NULL;
    if (reload->wanted)
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
