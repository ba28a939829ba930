/*
 * metrics.h - what the server counts, and GET /metrics in Prometheus' text
 * format.
 *
 * Threads: any may count; each count is one relaxed atomic addition.  A reader
 * sees every number as it is at that moment, not all of them of one moment.
 */
#ifndef CAPSNETD_METRICS_H
#define CAPSNETD_METRICS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct request;

enum {
    METRICS_ROUTES = 64,  /* at least the routes of routes.c, and one for no route */
    METRICS_STATUSES = 24, /* at least the statuses of metrics.c */
    METRICS_REASONS = 32, /* at least the refusals of request.h */
    METRICS_BOUNDS = 16,  /* at least the bounds of any histogram, and one for the rest */
};

/* How often a value was at most bound i and above bound i - 1. */
struct histogram {
    atomic_ullong buckets[METRICS_BOUNDS];
    atomic_ullong sum; /* of the values: microseconds, or images */
};

/* Zeroed to begin, but for the start time. */
struct metrics {
    double start_s; /* Unix time */
    atomic_ullong requests[METRICS_ROUTES][METRICS_STATUSES];
    atomic_ullong rejected[METRICS_REASONS]; /* by enum refusal */
    atomic_ullong connections_accepted, connections_closed;
    atomic_ullong out_of_distribution; /* images */
    atomic_ullong reloads, failed_reloads;
    struct histogram request_us, queue_us, infer_us, batch_images;
};

/* Remembers the moment of the start. */
void metrics_init(struct metrics *metrics);

/* Counts a request that is over.  status: what was answered, 0 for nothing. */
void metrics_count_request(struct metrics *metrics, const struct request *request,
                           unsigned status);

/* Counts a batch of n images; metrics may be NULL. */
void metrics_count_batch(struct metrics *metrics, size_t n);

/* GET /metrics. */
unsigned metrics_answer(struct request *request);

#endif
