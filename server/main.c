/*
 * main.c - capsnetd: start, serve until a signal, drain, stop.
 *
 * The address is bound first, so that one in use is found at once, and answers
 * "loading" until the models are there and warm.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/basics/clock.h"
#include "server/basics/listen_socket.h"
#include "server/basics/log.h"
#include "server/basics/options.h"
#include "server/compute/engine.h"
#include "server/compute/workers.h"
#include "server/connection/http.h"
#include "server/connection/tls_certificates.h"
#include "server/process/healthcheck_command.h"
#include "server/process/reload.h"
#include "server/process/sandbox.h"
#include "server/process/systemd_notify.h"
#include "server/request/service.h"
#include "server/request/steps.h"

enum { EXIT_BAD_OPTION = 2 };

/* How often the drain is looked at, and how many times in a row nothing must be
 * under way before it is over: a request may lie unread in a socket. */
enum { DRAIN_MS = 5, DRAIN_LOOKS = 10 };

/* Two at least, so that one large picture does not hold up all others. */
enum { MIN_WORKERS = 2, MAX_WORKERS = 16 };

/* The two ends of a pipe: the handler writes a signal's number, main reads. */
static int signal_pipe[2];

static void on_signal(int number)
{
    int error = errno;
    unsigned char byte = (unsigned char)number;
    (void)!write(signal_pipe[1], &byte, 1);
    errno = error;
}

/* A handler and a pipe: a signal reaches the process whichever thread takes it. */
static int catch_signals(void)
{
    if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) != 0)
        return -1;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    action.sa_handler = SIG_IGN;
    return sigaction(SIGPIPE, &action, NULL);
}

/* Waits up to timeout_ms for a signal; its number, or 0. */
static int wait_signal(int timeout_ms)
{
    struct pollfd ready = {.fd = signal_pipe[0], .events = POLLIN};
    unsigned char byte;
    if (poll(&ready, 1, timeout_ms) != 1 || read(signal_pipe[0], &byte, 1) != 1)
        return 0;
    return byte;
}

/* What a worker does before it sleeps, and for how long it looks for work before that. */
static int64_t resume_answered(void *context)
{
    struct service *service = context;
    resume_queue_flush(&service->resume_queue);
    return steps_look_us(service, 1);
}

/* Loads the models and makes everything that computes.  Returns 0, or the exit
 * status after one sentence. */
static int load(struct service *service)
{
    struct capsnet_error error;
    struct generation *generation;
    enum capsnet_status status =
        generation_load(&generation, &service->engines, service->options,
                        service->options->memory, service->threads, &service->metrics, &error);
    if (status != CAPSNET_OK) {
        log_event(LOG_LEVEL_ERROR, "%s", error.text);
        return status == CAPSNET_ERR_ARGUMENT ? EXIT_BAD_OPTION : EXIT_FAILURE;
    }
    engines_replace(&service->engines, generation);
    size_t n = service->threads < MIN_WORKERS   ? MIN_WORKERS
               : service->threads > MAX_WORKERS ? MAX_WORKERS
                                                : service->threads;
    service->workers = workers_create(n, resume_answered, service);
    if (!service->workers) {
        log_event(LOG_LEVEL_ERROR, "cannot start %zu worker threads", n);
        return EXIT_FAILURE;
    }
    return 0;
}

/* The plan of small batches, and from where on another is taken. */
static void plans_text(char *text, size_t size, const struct capsnet_model *model,
                       size_t max_batch)
{
    const char *first = capsnet_model_plan(model, 1);
    size_t n = 1;
    while (n < max_batch && strcmp(first, capsnet_model_plan(model, n + 1)) == 0)
        n++;
    if (n == max_batch)
        snprintf(text, size, "%s", first);
    else
        snprintf(text, size, "%s up to batches of %zu, then %s", first, n,
                 capsnet_model_plan(model, n + 1));
}

static void announce(const struct service *service, const char *url)
{
    const struct generation *g = service->engines.current;
    const size_t max_batch = service->options->max_batch;
    char openblas[96], plans[96];
    capsnet_openblas(openblas, sizeof openblas);
    printf("capsnetd %s: ", CAPSNET_VERSION);
    for (size_t i = 0; i < g->n; i++) {
        const struct capsnet_model *model = g->engines[i].model;
        plans_text(plans, sizeof plans, model, max_batch);
        printf("%s (%s%s, %s, %s memory: %.1f MB, %s), ", capsnet_model_name(model),
               capsnet_model_precision(model),
               capsnet_model_cost(model) > 1 ? ", which is slower than f32 on this CPU" : "",
               capsnet_model_cpu_level(model), capsnet_model_memory(model),
               (double)engine_bytes(&g->engines[i]) / 1e6, plans);
    }
    printf("%s, %zu thread%s on %s%s\n", openblas, service->threads,
           service->threads == 1 ? "" : "s", url,
           service->options->tls_cert && unix_path(url) ? ", https" : "");
    fflush(stdout);
}

/* Serves on for --drain-delay-s while /readyz says 503; a second SIGTERM cuts it short. */
static void leave(struct service *service, struct http *http)
{
    const int64_t until = clock_us() + (int64_t)service->options->drain_delay_s * 1000000;
    atomic_store(&service->state, SERVICE_LEAVING);
    while (clock_us() < until) {
        const int again = wait_signal(http_sweep(http));
        if (again && again != SIGHUP)
            return;
        engines_sweep(&service->engines);
    }
}

/* Returns when everything that was accepted is answered; ends the process when
 * that takes too long, or at a second SIGTERM. */
static void drain(const struct service *service, struct http *http)
{
    int64_t until = clock_us() + (int64_t)service->options->drain_s * 1000000;
    for (int quiet = 0; quiet < DRAIN_LOOKS; quiet++) {
        size_t active = http_active(http);
        if (active)
            quiet = -1;
        if (active && clock_us() >= until) {
            log_event(LOG_LEVEL_ERROR, "gave up %zu requests after %zu s of draining", active,
                      service->options->drain_s);
            _exit(EXIT_SUCCESS); /* told to stop, and nobody left to wait for */
        }
        int again = wait_signal(DRAIN_MS);
        if (again && again != SIGHUP)
            _exit(128 + again);
        http_sweep(http);
    }
}

/* Serves, reloads on SIGHUP, until SIGTERM or SIGINT; then finishes what was
 * accepted. */
static void serve(struct service *service, struct http *http, struct listener *listener)
{
    struct reload reload;
    reload_init(&reload, service);
    for (int got = 0; got == 0 || got == SIGHUP; got = wait_signal(http_sweep(http))) {
        if (got == SIGHUP)
            reload_start(&reload);
        reload_poll(&reload);
    }

    notify_send("STOPPING=1");
    leave(service, http);
    unix_remove(&listener->file);
    /* Before answers close their connections, whose clients would connect again.  Who waits on a
     * socket that others hold, too, is theirs. */
    http_stop_listening(http, !listener->is_shared);
    atomic_store(&service->state, SERVICE_DRAINING);
    drain(service, http);
    reload_finish(&reload);
}

static void enter_sandbox(const char *removable)
{
    static const char *const SANDBOXES[] = {
        [SANDBOX_FULL] = "no new privileges, files only to be read",
        [SANDBOX_NO_PRIVILEGES] = "no new privileges; this kernel cannot guard files",
        [SANDBOX_NONE] = "none",
    };
    log_event(LOG_LEVEL_DEBUG, "sandbox: %s", SANDBOXES[sandbox_enter(removable)]);
}

/* Takes over the socket that we were handed, or opens the one that the options name.
 * Returns 0, or the exit status after one sentence. */
static int open_listener(struct listener *listener, const struct options *options)
{
    const char *scheme = options->tls_cert ? "https" : "http";
    char message[512];
    enum listen_status status = listen_take_over(listener, scheme, message, sizeof message);
    if (status == LISTEN_NONE)
        status = listen_open(listener, options->listen, options_listen_mode(options), scheme,
                             message, sizeof message);
    if (status == LISTEN_OK)
        return 0;
    log_event(LOG_LEVEL_ERROR, "%s", message);
    return status == LISTEN_BAD_ADDRESS ? EXIT_BAD_OPTION : EXIT_FAILURE;
}

/* Reads the API keys and the certificate, where the options name them.  Returns 0, or
 * -1 after one sentence. */
static int load_secrets(struct service *service)
{
    const struct options *o = service->options;
    char message[512];
    if ((o->api_key_file &&
         keys_load(&service->keys, o->api_key_file, message, sizeof message) != 0) ||
        (o->tls_cert && tls_load(o->tls_cert, o->tls_key, message, sizeof message) != 0)) {
        log_event(LOG_LEVEL_ERROR, "%s", message);
        return -1;
    }
    return 0;
}

/* Returns the exit status. */
static int run_on(struct listener *listener, const struct options *options)
{
    struct service service = {.options = options};
    struct http *http = NULL;

    metrics_init(&service.metrics);
    if (engines_init(&service.engines) != 0) {
        log_event(LOG_LEVEL_ERROR, "out of memory at the start");
        return EXIT_FAILURE;
    }
    keys_init(&service.keys);
    resume_queue_init(&service.resume_queue);
    if (catch_signals() != 0) {
        log_event(LOG_LEVEL_ERROR, "cannot catch signals: %s", strerror(errno));
        return EXIT_FAILURE;
    }
    if (load_secrets(&service) != 0)
        return EXIT_FAILURE;
    service.threads = options->threads ? options->threads : capsnet_cpu_count();
    http = http_start(&service, listener->fd);
    if (!http) {
        log_event(LOG_LEVEL_ERROR, "cannot start the HTTP daemon");
        return EXIT_FAILURE;
    }
    const int exit_status = load(&service);
    if (exit_status == 0) {
        atomic_store(&service.state, SERVICE_READY);
        announce(&service, listener->url);
        notify_send("READY=1");
        serve(&service, http, listener);
    }
    /* The workers first: one may still be inside the call that resumed the
     * last connection. */
    workers_free(service.workers);
    http_free(http);
    resume_queue_destroy(&service.resume_queue);
    engines_destroy(&service.engines);
    metrics_destroy(&service.metrics);
    keys_destroy(&service.keys);
    tls_free();
    return exit_status;
}

static int run(const struct options *options)
{
    struct listener listener;
    int exit_status = open_listener(&listener, options);
    if (exit_status != 0)
        return exit_status;
    enter_sandbox(listener.file.path);
    exit_status = run_on(&listener, options);
    unix_remove(&listener.file);
    return exit_status;
}

/* Where stdin, stdout or stderr is closed, the next file or socket would be taken for it,
 * and the log written into it. */
static void keep_standard_descriptors(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    struct options options;
    char message[256];
    keep_standard_descriptors();
    if (argc > 1 && strcmp(argv[1], "healthcheck") == 0)
        return healthcheck(argc - 2, argv + 2);
    switch (server_options_parse(&options, argc, argv, message, sizeof message)) {
    case OPTIONS_HELP:
        server_options_print_help(stdout);
        return EXIT_SUCCESS;
    case OPTIONS_VERSION:
        printf("capsnetd %s\n", CAPSNET_VERSION);
        return EXIT_SUCCESS;
    case OPTIONS_BAD:
        log_event(LOG_LEVEL_ERROR, "%s", message);
        return EXIT_BAD_OPTION;
    case OPTIONS_RUN:
        break;
    }
    log_init(options.log_format, options.log_level);
    return run(&options);
}
