/* send_answer.c - see send_answer.h. */
#include "server/connection/send_answer.h"

#include <stdio.h>
#include <string.h>

#include "server/connection/cors.h"
#include "server/connection/library_calls.h"

/* For pages of other origins, when the options allow any. */
static void add_cors(struct MHD_Response *response, const struct request *r)
{
    const char *allowed = r->service->options->cors_origin;
    const char *origin = cors_allow(
        allowed, MHD_lookup_connection_value(r->resumable.connection, MHD_HEADER_KIND, "Origin"));
    if (allowed && strcmp(allowed, "*") != 0)
        MHD_add_response_header(response, "Vary", "Origin");
    if (!origin)
        return;
    MHD_add_response_header(response, "Access-Control-Allow-Origin", origin);
    MHD_add_response_header(response, "Access-Control-Expose-Headers",
                            "X-Request-Id, Server-Timing, Retry-After, "
                            "Inference-Header-Content-Length");
    if (strcmp(r->method, "OPTIONS") != 0)
        return;
    MHD_add_response_header(response, "Access-Control-Allow-Methods", "GET, HEAD, POST");
    MHD_add_response_header(response, "Access-Control-Allow-Headers",
                            "Accept, Authorization, Content-Encoding, Content-Type, "
                            "Inference-Header-Content-Length, X-Request-Id");
    MHD_add_response_header(response, "Access-Control-Max-Age", "600");
}

static void add_headers(struct MHD_Response *response, const struct request *r)
{
    add_cors(response, r);
    if (r->answer.refusal == REFUSED_UNAUTHORIZED)
        MHD_add_response_header(response, "WWW-Authenticate", "Bearer realm=\"capsnetd\"");

    char timing[160];
    const struct job *job = &r->job;
#define MS(us) (long long)(us) / 1000, (int)((us) % 1000)
    snprintf(timing, sizeof timing,
             "decode;dur=%lld.%03d, queue;dur=%lld.%03d, infer;dur=%lld.%03d, "
             "encode;dur=%lld.%03d", MS(r->decode_us), MS(r->queue_us),
             MS(job->done_us - job->started_us), MS(r->encode_us));
#undef MS
    MHD_add_response_header(response, "Server-Timing", timing);
    MHD_add_response_header(response, "X-Request-Id", r->id);
    if (r->answer.content_type)
        MHD_add_response_header(response, "Content-Type", r->answer.content_type);
    if (r->answer.allow)
        MHD_add_response_header(response, "Allow", r->answer.allow);
    if (r->answer.etag[0])
        MHD_add_response_header(response, "ETag", r->answer.etag);
    for (const char *const *h = r->answer.headers; h && *h; h += 2)
        MHD_add_response_header(response, h[0], h[1]);
    if (r->answer.json_nbytes) {
        char length[24];
        snprintf(length, sizeof length, "%zu", r->answer.json_nbytes);
        MHD_add_response_header(response, "Inference-Header-Content-Length", length);
    }
    if (refusal_is_temporary(r->answer.refusal))
        MHD_add_response_header(response, "Retry-After", "1");
    if (atomic_load(&r->service->state) == SERVICE_DRAINING || r->is_misframed ||
        r->query_is_cut)
        MHD_add_response_header(response, "Connection", "close");
}

enum MHD_Result send_answer(struct request *r)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        r->answer.nbytes, r->answer.body,
        r->answer.is_owned_elsewhere ? MHD_RESPMEM_PERSISTENT : MHD_RESPMEM_MUST_FREE);
    if (!response)
        return MHD_NO;
    r->answer.is_owned_elsewhere = 1; /* by the response now, or a constant as before */
    add_headers(response, r);
    enum MHD_Result result =
        library_queue_response(r->resumable.connection, r->answer.status, response);
    MHD_destroy_response(response);
    return result;
}
