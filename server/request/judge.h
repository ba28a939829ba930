/*
 * judge.h - the policy of refusal: what the request line and the headers are enough
 * to refuse, before the body is kept.
 *
 * Called in this order, by a request's network thread; each returns 0 to go on, or
 * the status of the refusal (or of the answer to OPTIONS).
 */
#ifndef CAPSNETD_JUDGE_H
#define CAPSNETD_JUDGE_H

#include <stddef.h>
#include <stdint.h>

#include "server/request/request.h"

/* What the request line and the headers say, beside what the request has of them. */
struct request_head {
    const char *path;       /* decoded; "*" of an OPTIONS that asks about the whole server */
    const char *allow;      /* the path's methods when its route takes another; else NULL */
    size_t hosts;           /* how many Host headers there are */
    int needs_host;         /* its version of HTTP is one that demands a Host */
    int has_blank_name;     /* a header's name has a blank */
    size_t nbytes;          /* of the request line and the headers */
    uint64_t body_nbytes;   /* as Content-Length says; 0 when it says nothing */
    const char *authorization, *content_encoding; /* NULL when absent */
    struct segment model;   /* the query's first "model"; at NULL when there is none */
};

/* Everything but the query and the queue.  From 0 on the request has its engine: the
 * model that its path or its query names, or the default. */
unsigned judge_head(struct request *request, const struct request_head *head);

/* One parameter of the query.  name and value (NULL for a bare name) may hold 0 bytes
 * within their lengths.  seen: 0 to begin. */
unsigned judge_parameter(struct request *request, unsigned *seen, const char *name,
                         size_t name_n, const char *value, size_t value_n);

/* Is there room in the queue, as far as can be told yet? */
unsigned judge_queue(struct request *request);

#endif
