/* metrics.c - see metrics.h. */
#include "server/basics/metrics.h"

#include <time.h>

const unsigned METRICS_STATUS[METRICS_STATUSES] = {200, 204, 304, 400, 401, 404, 405, 408, 413,
                                                   415, 417, 431, 500, 501, 503, 0,   999};

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
    struct histogram *const times[] = {&metrics->request_us, &metrics->queue_us,
                                       &metrics->infer_us};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        times[i]->bounds = SECONDS;
        times[i]->n_bounds = N_SECONDS;
        times[i]->unit = 1e6;
    }
    metrics->batch_images.bounds = IMAGES;
    metrics->batch_images.n_bounds = N_IMAGES;
    metrics->batch_images.unit = 1;
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

void metrics_count_times(struct metrics *metrics, int64_t request_us, int64_t queue_us,
                         int64_t infer_us)
{
    observe(&metrics->request_us, request_us);
    observe(&metrics->queue_us, queue_us);
    observe(&metrics->infer_us, infer_us);
}

void metrics_count_batch(struct metrics *metrics, size_t n)
{
    if (metrics)
        observe(&metrics->batch_images, (int64_t)n);
}
