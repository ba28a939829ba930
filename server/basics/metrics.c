/* metrics.c - see metrics.h. */
#include "server/basics/metrics.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

const unsigned METRICS_STATUS[METRICS_STATUSES] = {200, 204, 304, 400, 401, 404, 405, 408, 413,
                                                   415, 417, 431, 500, 501, 503, 505, 0,   999};

/* From a tenth of the fastest answer to the longest that anyone waits. */
static const double SECONDS[] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                 0.1,    0.25,  0.5,    1,     2.5,  5,     10};
static const double IMAGES[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512};
enum {
    N_SECONDS = sizeof SECONDS / sizeof *SECONDS,
    N_IMAGES = sizeof IMAGES / sizeof *IMAGES,
};
_Static_assert((int)N_SECONDS < METRICS_BOUNDS && (int)N_IMAGES < METRICS_BOUNDS,
               "room for the rest");

void metrics_init(struct metrics *metrics)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    metrics->start_s = (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

struct model_metrics *metrics_of_model(struct metrics *metrics, const char *name)
{
    for (struct model_metrics *m = metrics->models; m; m = m->next)
        if (strcmp(m->name, name) == 0)
            return m;
    struct model_metrics *m = calloc(1, sizeof *m + strlen(name) + 1);
    if (!m)
        return NULL;
    strcpy(m->name, name);
    struct histogram *const times[] = {&m->request_us, &m->queue_us, &m->infer_us};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        times[i]->bounds = SECONDS;
        times[i]->n_bounds = N_SECONDS;
        times[i]->unit = 1e6;
    }
    m->batch_images.bounds = IMAGES;
    m->batch_images.n_bounds = N_IMAGES;
    m->batch_images.unit = 1;
    m->next = metrics->models;
    metrics->models = m;
    return m;
}

void metrics_destroy(struct metrics *metrics)
{
    while (metrics->models) {
        struct model_metrics *m = metrics->models;
        metrics->models = m->next;
        free(m);
    }
}

static void count(atomic_ullong *counter, unsigned long long n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static void observe(struct histogram *histogram, int64_t value)
{
    size_t i = 0;
    if (value < 0)
        value = 0;
    while (i < histogram->n_bounds && (double)value > histogram->bounds[i] * histogram->unit)
        i++;
    count(&histogram->buckets[i], 1);
    count(&histogram->sum, (unsigned long long)value);
}

void metrics_count_answer(struct metrics *metrics, size_t route, unsigned status, size_t reason)
{
    size_t s = 0;
    while (s + 1 < METRICS_STATUSES && METRICS_STATUS[s] != status)
        s++;
    count(&metrics->requests[route][s], 1);
    if (reason)
        count(&metrics->rejected[reason], 1);
}

void metrics_count_times(struct model_metrics *metrics, const struct request_times *times)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    observe(&metrics->request_us, times->request_us);
    observe(&metrics->queue_us, times->queue_us);
    observe(&metrics->infer_us, times->infer_us);
    count(&metrics->decode_us, (unsigned long long)times->decode_us);
    count(&metrics->encode_us, (unsigned long long)times->encode_us);
    atomic_store_explicit(&metrics->last_inference_ms,
                          (unsigned long long)now.tv_sec * 1000 +
                              (unsigned long long)now.tv_nsec / 1000000,
                          memory_order_relaxed);
}

void metrics_count_failure(struct model_metrics *metrics, int64_t request_us)
{
    count(&metrics->failures, 1);
    count(&metrics->failures_us, (unsigned long long)request_us);
}

void metrics_count_batch(struct model_metrics *metrics, size_t n,
                         const struct batch_times *times)
{
    if (!metrics)
        return;
    struct batch_metrics *batch = &metrics->batches[n];
    observe(&metrics->batch_images, (int64_t)n);
    count(&batch->n, 1);
    count(&batch->input_ns, (unsigned long long)times->input_ns);
    count(&batch->infer_ns, (unsigned long long)times->infer_ns);
    count(&batch->output_ns, (unsigned long long)times->output_ns);
}

unsigned long long metrics_read(atomic_ullong *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

unsigned long long histogram_count(struct histogram *histogram)
{
    unsigned long long n = 0;
    for (size_t i = 0; i <= histogram->n_bounds; i++)
        n += metrics_read(&histogram->buckets[i]);
    return n;
}

unsigned long long metrics_connections(struct metrics *metrics)
{
    /* In this order none is closed that was not accepted. */
    const unsigned long long closed = metrics_read(&metrics->connections_closed);
    return metrics_read(&metrics->connections_accepted) - closed;
}
