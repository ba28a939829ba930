/*
 * traffic.h - the soak's clients: those that ask well and wrongly, that hang up in
 * the middle, that close their sending side behind a request, that drip one byte
 * after the other.  Each is a thread of its own until traffic_stop().
 */
#ifndef SOAK_TRAFFIC_H
#define SOAK_TRAFFIC_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

/* How a client behaves. */
enum manner { ASKS, LEAVES, HALF_CLOSES, DRIPS, MANNERS };

/* What the clients of one manner met. */
struct traffic_counts {
    size_t deserved;   /* the answer that the request deserves; of LEAVES: hung up */
    size_t busy;       /* 503 */
    size_t unanswered; /* the connection ended without an answer: of HALF_CLOSES */
};

/* Starts clients[manner] of each towards a server on 127.0.0.1.  url lives until
 * the end. */
void traffic_start(const char *url, unsigned port, const size_t clients[MANNERS], uint64_t seed);

/* Has one of them got what it must not? */
int traffic_has_failed(void);

/* Waits for their end.  failure: one sentence when a client got what it must not,
 * else empty. */
void traffic_stop(struct traffic_counts counts[MANNERS], char failure[600]);

#endif
