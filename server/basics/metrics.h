/*
 * metrics.h - what the server counts.  answers/metrics_page.c shows it.
 *
 * Threads: any may count; each count is one relaxed atomic addition.  A reader
 * sees every number as it is at that moment, not all of them of one moment.
 */
#ifndef CAPSNETD_METRICS_H
#define CAPSNETD_METRICS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum {
    METRICS_ROUTES = 64,   /* at least the routes there are, and one for no route */
    METRICS_STATUSES = 18,
    METRICS_REASONS = 32,  /* at least the reasons for a refusal */
    METRICS_BOUNDS = 16,   /* at least the bounds of any histogram, and one for the rest */
    METRICS_BATCH_MAX = 1024, /* images in a batch, as --max-batch has it */
};

/* The statuses that are told apart.  The last stands for any other; 0 for a client
 * that left before the answer. */
extern const unsigned METRICS_STATUS[METRICS_STATUSES];

/* How often a value was at most bound i and above bound i - 1. */
struct histogram {
    const double *bounds; /* [n_bounds] */
    size_t n_bounds;
    double unit; /* how many of what is counted make one of what the bounds are in */
    atomic_ullong buckets[METRICS_BOUNDS];
    atomic_ullong sum; /* of the values: microseconds, or images */
};

/* The batches of one size, and what they took: their images brought together, the forward
 * pass, its results dealt out. */
struct batch_metrics {
    atomic_ullong n, input_ns, infer_ns, output_ns;
};

/* Zeroed to begin, then metrics_init(). */
struct metrics {
    double start_s; /* Unix time */
    atomic_ullong requests[METRICS_ROUTES][METRICS_STATUSES];
    atomic_ullong rejected[METRICS_REASONS];
    atomic_ullong connections_accepted, connections_closed;
    atomic_ullong reloads, failed_reloads;
    struct model_metrics *models; /* of every name that there has been */
};

/* What concerns one model.  It goes by the model's name, and so over reloads. */
struct model_metrics {
    struct model_metrics *next;
    atomic_ullong out_of_distribution; /* images */
    atomic_ullong decode_us, encode_us;      /* of what request_us counts */
    atomic_ullong failures, failures_us;     /* requests to compute that were not answered so */
    atomic_ullong last_inference_ms;         /* Unix time; 0: none yet */
    struct histogram request_us, queue_us, infer_us, batch_images;
    struct batch_metrics batches[METRICS_BATCH_MAX + 1]; /* by their images */
    char name[];
};

/* Remembers the moment of the start. */
void metrics_init(struct metrics *metrics);

/* The metrics of a model's name, made when they are not there yet; NULL when memory is
 * short.  One thread at a time. */
struct model_metrics *metrics_of_model(struct metrics *metrics, const char *name);

/* Frees those of all models. */
void metrics_destroy(struct metrics *metrics);

/* Counts a request.
 *
 * route   below METRICS_ROUTES: the route's number
 * status  what was answered, 0 for nothing
 * reason  below METRICS_REASONS: why it was refused, 0 when it was not */
void metrics_count_answer(struct metrics *metrics, size_t route, unsigned status, size_t reason);

/* How long an answered inference request took in all, and of that how long it waited,
 * was read, was computed, and was written. */
struct request_times {
    int64_t request_us, queue_us, decode_us, infer_us, encode_us;
};

void metrics_count_times(struct model_metrics *metrics, const struct request_times *times);

/* Counts an inference request that was refused, or whose client left. */
void metrics_count_failure(struct model_metrics *metrics, int64_t request_us);

/* What a batch took. */
struct batch_times {
    int64_t input_ns, infer_ns, output_ns;
};

/* Counts a batch of n images, at most METRICS_BATCH_MAX; metrics may be NULL. */
void metrics_count_batch(struct model_metrics *metrics, size_t n,
                         const struct batch_times *times);

/* A count as it is now, how many values a histogram holds, and connections open. */
unsigned long long metrics_read(atomic_ullong *counter);
unsigned long long histogram_count(struct histogram *histogram);
unsigned long long metrics_connections(struct metrics *metrics);

#endif
