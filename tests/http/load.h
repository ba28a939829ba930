/*
 * load.h - many clients in one thread: sends the same request over many
 * connections, at a given rate or as fast as the answers come, and tells the
 * answered from the refused and from the lost, which wrk cannot.
 */
#ifndef HTTP_LOAD_H
#define HTTP_LOAD_H

#include <stdatomic.h>
#include <stddef.h>

struct load_plan {
    unsigned port;         /* on 127.0.0.1 */
    const char *path;      /* POSTed to, with the query */
    const void *body;      /* a PNG */
    size_t nbytes;
    size_t connections;
    double rate;           /* requests a second, come what may; 0: each connection
                              asks again as soon as it has its answer */
    double seconds;
    const char *probe;     /* a path to GET every 5 ms on a connection of its own; or NULL */
    /* Set by another thread: the server has been told to stop.  A connection that
     * it closes between two requests is then not opened again. */
    atomic_int *is_ending; /* may be NULL */
};

/* Times in ms, from the moment a request was due to its answer's last byte. */
struct load_result {
    double seconds;     /* it took */
    double cpu_seconds; /* of processor time that this thread used */
    size_t sent;
    size_t answered;    /* with 200 */
    size_t refused;     /* with 503 */
    size_t other;       /* with any other status */
    size_t lost;        /* sent, and never answered */
    size_t unsent;      /* due while every connection waited for an answer */
    double answered_p50_ms, answered_p99_ms;
    double refused_p50_ms, refused_p99_ms, refused_max_ms;
    size_t probes;
    double probe_p99_ms, probe_max_ms;
    char problem[200];  /* the first lost request or other status; or empty */
};

/* Runs the plan.  Requests under way at its end are waited for, up to 10 s.
 * Any thread may call it.  Returns 0, or -1 when the means are short (memory,
 * descriptors): result->problem says which. */
int load_run(const struct load_plan *plan, struct load_result *result);

#endif
