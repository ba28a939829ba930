/*
 * metrics_page.c - GET /metrics: the counts, and what is true just now, in
 * Prometheus' text format.  Names follow its conventions: base units, _total for
 * what only grows.
 */
#include "server/answers/answers.h"

#include <dirent.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "server/answers/routes.h"

static void add_head(struct text *text, const char *name, const char *type, const char *help)
{
    text_addf(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void add_number(struct text *text, const char *name, const char *type, const char *help,
                       double value)
{
    add_head(text, name, type, help);
    text_addf(text, "%s %.15g\n", name, value);
}

/* ,name="value", escaped as the format wants it. */
static void add_label(struct text *text, const char *separator, const char *name,
                      const char *value)
{
    text_addf(text, "%s%s=\"", separator, name);
    for (; *value; value++) {
        if (*value == '\n')
            text_add(text, "\\n");
        else
            text_addf(text, *value == '\\' || *value == '"' ? "\\%c" : "%c", *value);
    }
    text_add(text, "\"");
}

/* name_suffix{model="..." */
static void begin_sample(struct text *text, const char *name, const char *suffix,
                         const struct engine *engine)
{
    text_addf(text, "%s%s{", name, suffix);
    add_label(text, "", "model", capsnet_model_name(engine->model));
}

static void add_histogram(struct text *text, const char *name, const struct engine *engine,
                          struct histogram *histogram)
{
    unsigned long long below = 0;
    for (size_t i = 0; i < histogram->n_bounds; i++) {
        below += metrics_read(&histogram->buckets[i]);
        begin_sample(text, name, "_bucket", engine);
        text_addf(text, ",le=\"%g\"} %llu\n", histogram->bounds[i], below);
    }
    below += metrics_read(&histogram->buckets[histogram->n_bounds]);
    begin_sample(text, name, "_bucket", engine);
    text_addf(text, ",le=\"+Inf\"} %llu\n", below);
    begin_sample(text, name, "_sum", engine);
    text_addf(text, "} %.15g\n", (double)metrics_read(&histogram->sum) / histogram->unit);
    begin_sample(text, name, "_count", engine);
    text_addf(text, "} %llu\n", below);
}

static void add_requests(struct text *text, struct metrics *metrics)
{
    add_head(text, "capsnetd_requests_total", "counter",
             "Requests by route and HTTP status; status \"none\": the client left before.");
    for (size_t row = 0; row < METRICS_ROUTES; row++) {
        const struct route *route = route_at(row);
        for (size_t s = 0; s < METRICS_STATUSES; s++) {
            unsigned long long n = metrics_read(&metrics->requests[row][s]);
            if (n == 0)
                continue;
            text_add(text, "capsnetd_requests_total{");
            add_label(text, "", "route", route ? route->path : "none");
            add_label(text, ",", "method", route ? route->method : "any");
            if (METRICS_STATUS[s] == 0 || s + 1 == METRICS_STATUSES)
                add_label(text, ",", "status", METRICS_STATUS[s] ? "other" : "none");
            else
                text_addf(text, ",status=\"%u\"", METRICS_STATUS[s]);
            text_addf(text, "} %llu\n", n);
        }
        if (!route)
            break;
    }
    add_head(text, "capsnetd_rejected_total", "counter", "Requests refused, by reason.");
    for (size_t i = REFUSED_NOT + 1; i < N_REFUSALS; i++)
        text_addf(text, "capsnetd_rejected_total{reason=\"%s\"} %llu\n",
                  refusal_code((enum refusal)i), metrics_read(&metrics->rejected[i]));
}

/* ---- What concerns a model: a sample each ------------------------------------ */

static double images(const struct engine *engine)
{
    return (double)metrics_read(&engine->metrics->batch_images.sum);
}

static double batches(const struct engine *engine)
{
    return (double)histogram_count(&engine->metrics->batch_images);
}

static double out_of_distribution(const struct engine *engine)
{
    return (double)metrics_read(&engine->metrics->out_of_distribution);
}

static double waiting(const struct engine *engine)
{
    return (double)batcher_waiting(engine->batcher);
}

static double weights_bytes(const struct engine *engine)
{
    return (double)capsnet_model_bytes(engine->model);
}

static double parameters(const struct engine *engine)
{
    return (double)capsnet_model_parameters(engine->model);
}

static void add_model_numbers(struct text *text, const struct generation *g)
{
    static const struct {
        const char *name, *type, *help;
        double (*value)(const struct engine *engine);
    } NUMBERS[] = {
        {"capsnetd_images_total", "counter", "Images computed.", images},
        {"capsnetd_batches_total", "counter", "Forward passes.", batches},
        {"capsnetd_out_of_distribution_images_total", "counter",
         "Images of /classify that were answered with in_distribution false.",
         out_of_distribution},
        {"capsnetd_queue_images", "gauge", "Images that wait for a batch.", waiting},
        {"capsnetd_model_weights_bytes", "gauge", "Memory that the weights take.", weights_bytes},
        {"capsnetd_model_parameters", "gauge", "Trained parameters of the model.", parameters},
    };
    for (size_t k = 0; k < sizeof NUMBERS / sizeof *NUMBERS; k++) {
        add_head(text, NUMBERS[k].name, NUMBERS[k].type, NUMBERS[k].help);
        for (size_t i = 0; i < g->n; i++) {
            begin_sample(text, NUMBERS[k].name, "", &g->engines[i]);
            text_addf(text, "} %.15g\n", NUMBERS[k].value(&g->engines[i]));
        }
    }
}

static void add_model_histograms(struct text *text, const struct generation *g)
{
    static const struct {
        const char *name, *help;
        size_t offset;
    } HISTOGRAMS[] = {
        {"capsnetd_batch_images", "Images of a forward pass.",
         offsetof(struct model_metrics, batch_images)},
        {"capsnetd_request_duration_seconds",
         "Answered inference requests, from their first line until their answer goes out.",
         offsetof(struct model_metrics, request_us)},
        {"capsnetd_queue_duration_seconds", "Of that, the wait for a worker and for a batch.",
         offsetof(struct model_metrics, queue_us)},
        {"capsnetd_inference_duration_seconds",
         "Of that, the batches that the request's images were in.",
         offsetof(struct model_metrics, infer_us)},
    };
    for (size_t k = 0; k < sizeof HISTOGRAMS / sizeof *HISTOGRAMS; k++) {
        add_head(text, HISTOGRAMS[k].name, "histogram", HISTOGRAMS[k].help);
        for (size_t i = 0; i < g->n; i++)
            add_histogram(text, HISTOGRAMS[k].name, &g->engines[i],
                          (void *)((char *)g->engines[i].metrics + HISTOGRAMS[k].offset));
    }
}

static void add_model_info(struct text *text, const struct generation *g)
{
    static const char name[] = "capsnetd_model_info";
    add_head(text, name, "gauge", "The models that are served; always 1.");
    for (size_t i = 0; i < g->n; i++) {
        const struct capsnet_model *model = g->engines[i].model;
        begin_sample(text, name, "", &g->engines[i]);
        add_label(text, ",", "precision", capsnet_model_precision(model));
        add_label(text, ",", "stored_dtype", capsnet_model_stored_dtype(model));
        add_label(text, ",", "cpu_level", capsnet_model_cpu_level(model));
        add_label(text, ",", "memory", capsnet_model_memory(model));
        add_label(text, ",", "default", i ? "false" : "true");
        text_add(text, "} 1\n");
    }
}

/* ---- The server --------------------------------------------------------------- */

static void add_server(struct text *text, const struct service *service)
{
    int state = atomic_load(&service->state);
    add_head(text, "capsnetd_build_info", "gauge", "The program's version; always 1.");
    text_add(text, "capsnetd_build_info{version=\"" CAPSNET_VERSION "\"} 1\n");
    add_number(text, "capsnetd_ready", "gauge", "1 when the server takes requests.",
               state == SERVICE_READY);
    add_number(text, "capsnetd_threads", "gauge", "Threads that compute.",
               (double)service->threads);
    add_number(text, "capsnetd_queue_limit_images", "gauge", "Images that may wait for each model (--queue).",
               (double)service->options->queue);
    add_number(text, "capsnetd_memory_limit_bytes", "gauge",
               "Memory this process may use: the cgroup's limit, or the machine's memory.",
               (double)capsnet_memory_limit());
}

/* ---- The process: the names that every Prometheus client library has ---------- */

static size_t open_descriptors(void)
{
    size_t n = 0;
    DIR *folder = opendir("/proc/self/fd");
    if (!folder)
        return 0;
    for (const struct dirent *entry; (entry = readdir(folder));)
        n += entry->d_name[0] != '.';
    closedir(folder);
    return n - 1; /* the folder's own */
}

static void add_process(struct text *text, const struct metrics *metrics)
{
    struct rusage used = {0};
    struct rlimit limit = {0};
    unsigned long long virtual_pages = 0, resident_pages = 0;
    const double page = (double)sysconf(_SC_PAGESIZE);
    getrusage(RUSAGE_SELF, &used);
    getrlimit(RLIMIT_NOFILE, &limit);
    FILE *statm = fopen("/proc/self/statm", "re");
    int known = statm && fscanf(statm, "%llu %llu", &virtual_pages, &resident_pages) == 2;
    if (statm)
        fclose(statm);
    add_number(text, "process_cpu_seconds_total", "counter", "CPU time, user and system.",
               (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                   (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
    if (known) {
        add_number(text, "process_resident_memory_bytes", "gauge", "Resident memory.",
                   (double)resident_pages * page);
        add_number(text, "process_virtual_memory_bytes", "gauge", "Virtual memory.",
                   (double)virtual_pages * page);
    }
    add_number(text, "process_open_fds", "gauge", "Open file descriptors.",
               (double)open_descriptors());
    add_number(text, "process_max_fds", "gauge", "Most file descriptors that may be open.",
               (double)limit.rlim_cur);
    add_number(text, "process_start_time_seconds", "gauge", "Start, in seconds of Unix time.",
               metrics->start_s);
}

unsigned metrics_answer(struct request *request)
{
    struct service *service = request->service;
    struct metrics *metrics = &service->metrics;
    struct text text = {0};
    add_requests(&text, metrics);
    add_number(&text, "capsnetd_connections_total", "counter", "Connections accepted.",
               (double)metrics_read(&metrics->connections_accepted));
    add_number(&text, "capsnetd_connections", "gauge", "Connections open.",
               (double)metrics_connections(metrics));
    add_head(&text, "capsnetd_reloads_total", "counter", "Reloads of the weights (SIGHUP).");
    text_addf(&text,
              "capsnetd_reloads_total{result=\"ok\"} %llu\n"
              "capsnetd_reloads_total{result=\"failed\"} %llu\n",
              metrics_read(&metrics->reloads), metrics_read(&metrics->failed_reloads));
    add_server(&text, service);
    if (request->generation) { /* loaded by now */
        add_model_info(&text, request->generation);
        add_model_numbers(&text, request->generation);
        add_model_histograms(&text, request->generation);
    }
    add_process(&text, metrics);
    return request_answer(request, "text/plain; version=0.0.4; charset=utf-8", &text);
}
