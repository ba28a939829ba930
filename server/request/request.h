/*
 * request.h - one request on its way: bytes -> pictures -> digits -> batch ->
 * capsules -> JSON or PNG.
 *
 * Threads: a request belongs to one thread at a time.  A network thread
 * reads it; a small picture it computes itself (gathering.h), all else it hands to a
 * worker, the worker to the batcher, the batcher to a worker again, and that one back to its
 * network thread (steps.c).
 */
#ifndef CAPSNETD_REQUEST_H
#define CAPSNETD_REQUEST_H

#include <stdint.h>

#include "server/basics/text.h"
#include "server/compute/batcher.h"
#include "server/compute/workers.h"
#include "server/request/query_params.h"
#include "server/request/refusal.h"
#include "server/request/resume_queue.h"
#include "server/request/route.h"
#include "server/request/service.h"
#include "server/split/split.h"

struct oip_infer;

enum { REQUEST_ID_SIZE = 65 }; /* 64 characters and a 0 */

enum { ETAG_SIZE = 19 }; /* a quoted 64-bit number and a 0 */

/* Where a request is on its way.  Whoever has the request sets it: the network
 * thread, but for ANSWERED, which the step sets that hands the request back. */
enum request_stage {
    REQUEST_BEGUN = 0, /* its request line has come */
    REQUEST_ARRIVING,  /* its headers have come and are good; its body may follow */
    REQUEST_WHOLE,     /* all of it has come; its next turn takes it up */
    REQUEST_REFUSED,   /* it has its answer before it is whole: what follows is dropped */
    REQUEST_GATHERED,  /* whole, and a small picture: its network thread is to compute it */
    REQUEST_WORKING,   /* whole, and suspended: a worker's, the batcher's, a worker's */
    REQUEST_ANSWERED,  /* it has its answer, which the network thread sends */
};

/* What the body is compressed by (inflate_body.h). */
enum content_coding { CODING_IDENTITY = 0, CODING_GZIP, CODING_DEFLATE };

/* What is answered. */
struct answer {
    unsigned status; /* 0 until there is one */
    enum refusal refusal;
    const char *content_type, *allow;
    const char *const *headers; /* name, value, ..., NULL; constant; or NULL */
    char etag[ETAG_SIZE];       /* empty: none */
    char *body;
    size_t nbytes;
    size_t json_nbytes;     /* of a body that goes on in binary tensors; else 0 */
    int is_owned_elsewhere; /* body is a constant, or the response's by now; else malloc'd */
};

struct request {
    enum request_stage stage;
    struct service *service;
    /* From its headers to its end; NULL while loading, or when refused. */
    struct generation *generation; /* the models of this moment, */
    const struct engine *engine;   /* and of them the one asked for, or the default */
    const struct route *route;
    struct resumable resumable; /* its connection */

    /* What its request line and headers say.  Pointers are the connection's, NULL
     * when absent. */
    char id[REQUEST_ID_SIZE];
    char method[16];
    char target[256]; /* as sent, clipped: for the log */
    const char *content_type, *accept, *if_none_match;
    char *accept_lines;      /* malloc'd: accept, when there are several */
    const char *json_length; /* Inference-Header-Content-Length */
    struct segment segments[ROUTE_SEGMENTS];
    int path_is_cut;  /* the path holds a 0 byte */
    int query_is_cut; /* it had too many parameters, or bytes */
    int is_counted;   /* in the metrics */
    int is_misframed; /* where its body ends is not known for sure */
    int is_oip;       /* below /v2, where errors have another form */
    struct params params;

    struct text body;
    enum content_coding coding; /* of the body */
    uint64_t received_bytes; /* of the body, kept or dropped */
    size_t body_counted;     /* what of service->body_bytes is this body's */

    /* What the route makes of the body, and the memory of its job. */
    struct job job;
    float *digits;         /* [job.n_images][height][width][channels] */
    struct split *splits;  /* [n_splits], one a picture, with params.split; then digits are
                            * the candidates of all */
    size_t n_splits;
    float *pose;           /* [pose_dims], of a body that is a pose, not images; else NULL */
    size_t pose_class;     /* the class that the body states beside the pose */
    float *results;        /* lengths and poses */
    float *decoder;        /* picture_poses and pictures */
    struct capsnet_routing *routing; /* [job.n_images], and what they point to; or NULL */
    struct oip_infer *oip; /* what an inference request asks for; malloc'd */

    struct request *next_gathered;
    struct task task;
    struct answer answer;
    int64_t received_us;          /* when its first line had arrived; clock_us() */
    int64_t complete_us;          /* when all of it had */
    int64_t begun_us;             /* when a worker took it */
    int64_t decode_us, encode_us; /* how long these took */
    int64_t queue_us;             /* how long it waited, for a worker and for a batch */
};

/* The shape of the model that computes the request. */
const struct capsnet_shape *request_shape(const struct request *request);

/* Makes an id that no other request of the service has, hard to guess the neighbours of. */
void request_make_id(struct service *service, char id[REQUEST_ID_SIZE]);

/* Refuses a request with one sentence, and returns the HTTP status.  An
 * earlier answer is replaced. */
__attribute__((format(printf, 3, 4))) unsigned request_refuse(struct request *request,
                                                              enum refusal refusal,
                                                              const char *format, ...);

/* The same when memory is short. */
unsigned request_refuse_no_memory(struct request *request);

/* Answers 200 with what was written; takes the text's memory.  Returns the
 * status: 200, or 503 when the text ran out of memory. */
unsigned request_answer(struct request *request, const char *content_type, struct text *text);

/* Answers 200 with bytes that the request then owns. */
unsigned request_answer_bytes(struct request *request, const char *content_type, uint8_t *bytes,
                              size_t nbytes);

/* Makes the memory of the request's job: results for job.n_images, and room for
 * n_pictures to be decoded.  Returns 0, or 503 when memory is short. */
unsigned request_make_job(struct request *request, size_t n_pictures);

/* Makes the memory for how the job's images are routed: each round's lengths, coupling and
 * votes, or the last round's couplings, [n_images][capsules][classes] in one piece from
 * routing[0].couplings on.  Returns 0, or 503 when memory is short. */
unsigned request_ask_rounds(struct request *request);
unsigned request_ask_couplings(struct request *request);

/* Adds to the body, and to the service's count.  Returns 0, or 503 when memory is
 * short or the bodies of all requests together have too much of it. */
unsigned request_add_body(struct request *request, const char *bytes, size_t nbytes);

/* Frees the body and takes it off the service's count. */
void request_drop_body(struct request *request);

/* Frees all that the request holds, and the request. */
void request_free(struct request *request);

#endif
