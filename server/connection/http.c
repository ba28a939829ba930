/*
 * http.c - libmicrohttpd's side of a request's life.
 *
 * The network threads (libmicrohttpd's), each with its own connections, read,
 * write and answer what needs no computing; they never decode a picture, so that
 * health checks never wait.  A request that is complete is suspended and handed
 * to the workers, which decode it and submit it to the batcher; when its job is
 * done a worker writes the answer and resumes the connection, and its network
 * thread sends it.  Only network threads call the functions marked (net).
 *
 * What its headers are enough to refuse is refused before its body is kept.  A
 * small body is dropped as it comes, so that the connection can go on: under
 * overload a new connection would cost more than the refusal.  One that is large,
 * of unknown size, or still waits for "100 Continue" is not read; libmicrohttpd
 * then closes the connection.
 */
#include "server/connection/http.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <microhttpd.h>

#include "server/basics/clock.h"
#include "server/basics/container_of.h"
#include "server/connection/access_log.h"
#include "server/connection/cors.h"
#include "server/connection/deadlines.h"
#include "server/connection/lingering_close.h"
#include "server/answers/answers.h"
#include "server/basics/log.h"
#include "server/request/query_params.h"
#include "server/request/request.h"
#include "server/answers/routes.h"
#include "server/connection/tls_certificates.h"

/* While some are busy with a burst of requests, a probe meets another: with one
 * thread the longest wait for /healthz under overload was about twice as long
 * (make bench-http).  More throughput they do not give. */
enum { NETWORK_THREADS = 4 };

/* A refused body up to this size is read and dropped to keep the connection. */
enum { SWALLOW_BYTES = 65536 };

/* libmicrohttpd may close in silence only who was not told 408 by then. */
enum { TIMEOUT_SLACK_S = 2 };

/* How soon the deadlines, and sockets that linger, are looked at again. */
enum { SWEEP_MS = 100, FAREWELL_SWEEP_MS = 2 };

/* How long a body that was refused unread may go on arriving. */
enum { FAREWELL_S = 5 };

/* libmicrohttpd's memory for a connection, beside twice the headers: as they
 * came, and parsed.  It is zeroed for every request. */
#define CONNECTION_BYTES ((size_t)8192)

/* What browsers and tools of the last ten years speak. */
static char TLS_PRIORITIES[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";

/* The bodies of all requests together may fill this many largest bodies. */
enum { BODIES_IN_MEMORY = 16 };

struct http {
    struct service *service;
    struct MHD_Daemon *daemon;
    struct deadlines deadlines;
    struct farewell farewell;
    atomic_size_t active;
    atomic_ullong next_id;
};

/* ---- Small things ---------------------------------------------------------- */

static int64_t seconds_from_now(size_t seconds)
{
    return clock_us() + (int64_t)seconds * 1000000;
}

static struct client *client_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static const char *header(const struct request *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

/* A number that no other request has, hard to guess the neighbours of
 * (splitmix64's finisher over a random start). */
static void make_id(struct http *http, char id[REQUEST_ID_SIZE])
{
    uint64_t x = atomic_fetch_add(&http->next_id, 0x9e3779b97f4a7c15u);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    snprintf(id, REQUEST_ID_SIZE, "%016llx", (unsigned long long)(x ^ (x >> 31)));
}

/* A sane id may stand in a header and in a log line as it is. */
static int is_sane_id(const char *id)
{
    size_t n = strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:");
    return n > 0 && n < REQUEST_ID_SIZE && id[n] == 0;
}

/* ---- The answer (net) ------------------------------------------------------ */

/* For pages of other origins, when the options allow any. */
static void add_cors(struct MHD_Response *response, const struct request *r)
{
    const char *allowed = r->service->options->cors_origin;
    const char *origin = cors_allow(allowed, header(r, "Origin"));
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
                            "Accept, Authorization, Content-Type, Inference-Header-Content-Length, "
                            "X-Request-Id");
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
    if (atomic_load(&r->service->state) == SERVICE_DRAINING || r->is_misframed)
        MHD_add_response_header(response, "Connection", "close");
}

static enum MHD_Result send_answer(struct http *http, struct request *r)
{
    const struct options *o = http->service->options;
    if (deadlines_enter(&http->deadlines, client_of(r->connection), CLIENT_ANSWERING,
                        seconds_from_now(o->timeout_s + o->request_deadline_s), NULL) != 0)
        return MHD_NO;
    struct MHD_Response *response = MHD_create_response_from_buffer(
        r->answer.nbytes, r->answer.body,
        r->answer.is_constant ? MHD_RESPMEM_PERSISTENT : MHD_RESPMEM_MUST_FREE);
    if (!response)
        return MHD_NO;
    r->answer.is_constant = 1; /* the response owns the body now */
    add_headers(response, r);
    enum MHD_Result result = MHD_queue_response(r->connection, r->answer.status, response);
    MHD_destroy_response(response);
    return result;
}

/* ---- Workers and batcher --------------------------------------------------- */

static void resume(struct request *r)
{
    r->is_done = 1;
    outbox_add(&r->service->outbox, r);
}

/* It has waited for longer than it may. */
static void refuse_expired(struct request *r)
{
    request_refuse(r, REFUSED_OVERLOADED, "the request waited for more than %zu ms; try again soon",
                   r->service->options->queue_deadline_ms);
}

static void run_finish(struct task *task)
{
    struct request *r = container_of(task, struct request, task);
    int64_t start = clock_us();
    if (r->job.is_expired)
        refuse_expired(r);
    else
        r->route->finish(r);
    r->decode_us = r->job.queued_us - r->begun_us;
    r->queue_us += r->job.started_us - r->job.queued_us;
    r->encode_us = clock_us() - start;
    resume(r);
}

/* With nothing else to compute, the answer is sooner written than a worker is
 * woken to write it. */
static void on_job_done(struct job *job)
{
    struct request *r = container_of(job, struct request, job);
    struct service *service = r->service; /* r may be gone after run_finish() */
    r->task.run = run_finish;
    if (!job->is_alone) {
        workers_submit(service->workers, &r->task);
        return;
    }
    run_finish(&r->task);
    outbox_flush(&service->outbox);
}

static void run_begin(struct task *task)
{
    struct request *r = container_of(task, struct request, task);
    r->begun_us = clock_us();
    r->queue_us = r->begun_us - r->complete_us;
    if (r->begun_us >= r->job.expires_us)
        refuse_expired(r);
    else if (r->route->begin(r) == 0)
        return; /* the batcher's now, or further still */
    r->decode_us = clock_us() - r->begun_us;
    batcher_withdraw(r->engine->batcher);
    resume(r);
}

/* ---- A request arrives (net) ----------------------------------------------- */

struct query {
    struct request *request;
    unsigned seen;
};

static enum MHD_Result take_parameter(void *context, enum MHD_ValueKind kind, const char *name,
                                      size_t name_n, const char *value, size_t value_n)
{
    (void)kind;
    struct query *query = context;
    struct request *r = query->request;
    char message[256];
    size_t classes = r->engine ? capsnet_model_shape(r->engine->model)->classes : 0;
    /* A 0 byte within must not pass for the end. */
    if (strlen(name) != name_n)
        name = "?";
    if (value && strlen(value) != value_n)
        value = "?";
    if (params_set(&r->params, r->route->params, &query->seen, name, value, classes, message,
                   sizeof message) == 0)
        return MHD_YES;
    request_refuse(r, REFUSED_INVALID_PARAMETER, "%s", message);
    return MHD_NO;
}

/* The bytes of the request line and the headers. */
static size_t header_nbytes(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    return info ? info->header_size : 0;
}

/* What probes ask carries no key; nor does a browser's preflight.  The page is
 * open, since it asks for the key. */
static int needs_key(const struct request *r, const char *path)
{
    static const char *const OPEN[] = {"/healthz", "/readyz", "/v2/health/live",
                                       "/v2/health/ready"};
    for (size_t i = 0; i < sizeof OPEN / sizeof *OPEN; i++)
        if (strcmp(path, OPEN[i]) == 0)
            return 0;
    if (r->route && r->route->begin == web_answer)
        return 0;
    return r->service->options->api_key_file != NULL;
}

/* What the Content-Lengths of a request say. */
struct framing {
    const char *length;
    int differ;
};

static enum MHD_Result take_length(void *context, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    (void)kind;
    struct framing *framing = context;
    if (strcasecmp(name, "Content-Length") != 0 || !value)
        return MHD_YES;
    framing->differ |= framing->length && strcmp(framing->length, value) != 0;
    framing->length = value;
    return MHD_YES;
}

/* Another program before this one may see another end of the body, and take what
 * follows for a request of its own or not (RFC 9112, sections 6.3 and 11.2). */
static int is_misframed(const struct request *r)
{
    struct framing framing = {0};
    const char *coding = header(r, "Transfer-Encoding");
    MHD_get_connection_values(r->connection, MHD_HEADER_KIND, take_length, &framing);
    return framing.differ || (coding && (framing.length || strcasecmp(coding, "chunked") != 0));
}

/* Refuses what the request line and the headers are enough to refuse.  Returns
 * the status, 0 to go on. */
static unsigned judge(struct request *r, const char *path, uint64_t body_nbytes)
{
    const struct service *service = r->service;
    const char *allow = NULL;
    char quoted[48], quoted_path[48];
    r->route = r->path_is_cut ? NULL : route_find(path, r->method, &allow, r->segments);
    if (header_nbytes(r->connection) > service->options->max_header_bytes)
        return request_refuse(r, REFUSED_HEADERS_TOO_LARGE,
                              "the request line and headers have more than %zu bytes",
                              service->options->max_header_bytes);
    if (r->is_misframed)
        return request_refuse(r, REFUSED_INVALID_PARAMETER,
                              "the body must have one Content-Length or Transfer-Encoding: chunked");
    if (strcmp(r->method, "OPTIONS") == 0 && !r->path_is_cut && allow) {
        r->answer = (struct answer){.status = 204, .allow = allow, .is_constant = 1};
        return 204;
    }
    if (needs_key(r, path) && !keys_admit(&r->service->keys, header(r, "Authorization")))
        return request_refuse(r, REFUSED_UNAUTHORIZED,
                              "the request needs a valid API key: Authorization: Bearer KEY");
    if (!r->route && (r->path_is_cut || !allow))
        return request_refuse(r, REFUSED_NOT_FOUND, "there is nothing at \"%s\"",
                              quote_client(quoted, path));
    if (!r->route) {
        request_refuse(r, REFUSED_METHOD_NOT_ALLOWED, "%s takes %s, not %s",
                       quote_client(quoted_path, path), allow, quote_client(quoted, r->method));
        r->answer.allow = allow;
        return r->answer.status;
    }
    int state = atomic_load(&service->state);
    if (state == SERVICE_LOADING && !r->route->always)
        return request_refuse(r, REFUSED_LOADING, "the model is being loaded; try again soon");
    if (state == SERVICE_DRAINING && !r->route->always)
        return request_refuse(r, REFUSED_DRAINING, "the server is shutting down");
    if (body_nbytes > service->options->max_body_bytes)
        return request_refuse(r, REFUSED_TOO_LARGE, "the body has %llu bytes, more than %zu",
                              (unsigned long long)body_nbytes, service->options->max_body_bytes);
    const char *encoding = header(r, "Content-Encoding");
    if (encoding && strcasecmp(encoding, "identity") != 0)
        return request_refuse(r, REFUSED_UNSUPPORTED_MEDIA_TYPE,
                              "Content-Encoding: \"%s\" is not supported",
                              quote_client(quoted, encoding));
    r->engine = engines_acquire(&r->service->engines);
    struct query query = {r, 0};
    MHD_get_connection_values_n(r->connection, MHD_GET_ARGUMENT_KIND, take_parameter, &query);
    if (r->answer.status)
        return r->answer.status;
    if (r->route->finish && batcher_is_full(r->engine->batcher))
        return request_refuse(r, REFUSED_OVERLOADED, "the queue is full; try again soon");
    return 0;
}

static enum MHD_Result on_headers(struct http *http, struct request *r, const char *path,
                                  const char *method)
{
    r->headers_seen = 1;
    atomic_fetch_add(&http->active, 1);
    snprintf(r->method, sizeof r->method, "%s", method);
    const char *id = header(r, "X-Request-Id");
    if (id && is_sane_id(id))
        strcpy(r->id, id);
    r->content_type = header(r, "Content-Type");
    r->accept = header(r, "Accept");
    r->if_none_match = header(r, "If-None-Match");
    r->json_length = header(r, "Inference-Header-Content-Length");
    const char *length = header(r, "Content-Length");
    uint64_t body_nbytes = length ? strtoull(length, NULL, 10) : 0;
    int is_chunked = header(r, "Transfer-Encoding") != NULL;
    if (deadlines_enter(&http->deadlines, client_of(r->connection), CLIENT_RECEIVING,
                        seconds_from_now(http->service->options->request_deadline_s), r->id) != 0)
        return MHD_NO;

    r->is_misframed = is_misframed(r);
    unsigned status = judge(r, path, body_nbytes);
    /* libmicrohttpd closes the connection after so early an answer only for
     * these two methods; for others the rest of the body would be taken for
     * the next request. */
    int closes = strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0;
    int is_small = !is_chunked && !r->is_misframed && body_nbytes <= SWALLOW_BYTES &&
                   !header(r, "Expect");
    if (!status || !closes || is_small)
        return MHD_YES;
    farewell_add(&http->farewell, client_of(r->connection)->fd, seconds_from_now(FAREWELL_S));
    return send_answer(http, r);
}

/* Adds to the body, or, once the request is refused, drops. */
static enum MHD_Result on_body(struct http *http, struct request *r, const char *bytes, size_t n)
{
    struct service *service = r->service;
    const size_t max = service->options->max_body_bytes;
    deadlines_hear(&http->deadlines, client_of(r->connection));
    r->received_bytes += n;
    if (r->answer.status)
        return MHD_YES; /* dropped, until it ends or its deadline comes */
    if (r->received_bytes > max) {
        request_refuse(r, REFUSED_TOO_LARGE, "the body has more than %zu bytes", max);
    } else if (!r->route->finish) {
        return MHD_YES; /* a GET's body means nothing */
    } else {
        r->body_counted += n;
        size_t all = atomic_fetch_add(&service->body_bytes, n) + n;
        text_add_bytes(&r->body, bytes, n);
        if (all > BODIES_IN_MEMORY * max || r->body.failed)
            request_refuse(r, REFUSED_OVERLOADED,
                           "the bodies of other requests fill the memory; try again soon");
    }
    if (r->answer.status)
        request_drop_body(r);
    return MHD_YES;
}

/* The request has arrived whole. */
static enum MHD_Result on_complete(struct http *http, struct request *r)
{
    if (!r->answer.status && !r->route->finish)
        r->route->begin(r);
    if (!r->answer.status && !batcher_admit(r->engine->batcher))
        request_refuse(r, REFUSED_OVERLOADED, "the queue is full; try again soon");
    if (r->answer.status)
        return send_answer(http, r);
    if (deadlines_enter(&http->deadlines, client_of(r->connection), CLIENT_WORKING, INT64_MAX,
                        NULL) != 0) {
        batcher_withdraw(r->engine->batcher);
        return MHD_NO;
    }
    r->complete_us = clock_us();
    r->job.expires_us =
        r->complete_us + (int64_t)http->service->options->queue_deadline_ms * 1000;
    MHD_suspend_connection(r->connection);
    r->task.run = run_begin;
    r->job.done = on_job_done;
    workers_submit(http->service->workers, &r->task);
    return MHD_YES;
}

/* ---- libmicrohttpd's callbacks (net) --------------------------------------- */

/* Called once for the headers, for each piece of the body, at its end, and
 * again after a connection was resumed. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *bytes, size_t *n, void **slot)
{
    struct http *http = context;
    struct request *r = *slot;
    (void)connection;
    (void)version;
    if (!r)
        return MHD_NO; /* no memory for it */
    if (!r->headers_seen)
        return on_headers(http, r, path, method);
    if (r->is_done)
        return send_answer(http, r);
    if (*n == 0)
        return on_complete(http, r);
    enum MHD_Result result = on_body(http, r, bytes, *n);
    *n = 0;
    return result;
}

/* The request line has arrived. */
static void *on_target(void *context, const char *target, struct MHD_Connection *connection)
{
    struct http *http = context;
    const struct options *o = http->service->options;
    struct request *r = calloc(1, sizeof *r);
    struct client *client = client_of(connection);
    if (!r || !client) {
        free(r);
        return NULL;
    }
    r->service = http->service;
    r->connection = connection;
    r->received_us = clock_us();
    r->params.scale = 1;
    snprintf(r->target, sizeof r->target, "%s", target);
    /* Decoded, such a path would end at its 0 byte and name another. */
    const char *zero = strstr(target, "%00");
    r->path_is_cut = zero && zero < target + strcspn(target, "?");
    make_id(http, r->id);
    r->is_oip = strncmp(target, "/v2", 3) == 0 && (!target[3] || strchr("/?", target[3]));
    deadlines_set_form(&http->deadlines, client, r->is_oip);
    deadlines_enter(&http->deadlines, client, CLIENT_RECEIVING,
                    seconds_from_now(o->request_deadline_s), r->id);
    return r;
}

_Static_assert((int)N_REFUSALS <= METRICS_REASONS, "every refusal is counted");

/* Counts a request that is over.  status: what was answered, 0 for nothing. */
static void count_request(const struct request *r, unsigned status)
{
    struct metrics *metrics = &r->service->metrics;
    const enum refusal refusal = r->answer.status ? r->answer.refusal
                                 : status == 408  ? REFUSED_TIMEOUT
                                                  : REFUSED_NOT;
    metrics_count_answer(metrics, route_number(r->route), status, refusal);
    if (status == 200 && r->route && r->route->finish)
        metrics_count_times(metrics, clock_us() - r->received_us, r->queue_us,
                            r->job.done_us - r->job.started_us);
}

static void on_request_over(void *context, struct MHD_Connection *connection, void **slot,
                            enum MHD_RequestTerminationCode why)
{
    struct http *http = context;
    struct request *r = *slot;
    const struct options *o = http->service->options;
    if (!r)
        return;
    struct client *client = client_of(connection);
    int expired = client && deadlines_enter(&http->deadlines, client, CLIENT_IDLE,
                                            seconds_from_now(o->timeout_s + o->request_deadline_s),
                                            NULL) != 0;
    unsigned status = r->answer.status ? r->answer.status : expired ? 408 : 0;
    count_request(r, status);
    log_request(r, status, why == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    if (r->headers_seen)
        atomic_fetch_sub(&http->active, 1);
    request_free(r);
    *slot = NULL;
}

static void log_connection(struct MHD_Connection *connection, const char *what)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    char host[NI_MAXHOST] = "?", port[NI_MAXSERV] = "?";
    if (!log_wants(LOG_LEVEL_DEBUG) || !info || !info->client_addr)
        return;
    socklen_t n = info->client_addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                           : sizeof(struct sockaddr_in);
    getnameinfo(info->client_addr, n, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
    log_event(LOG_LEVEL_DEBUG, "%s port %s %s", host, port, what);
}

static void on_connection(void *context, struct MHD_Connection *connection, void **slot,
                          enum MHD_ConnectionNotificationCode what)
{
    struct http *http = context;
    const struct options *o = http->service->options;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        log_connection(connection, "disconnected");
        atomic_fetch_add(&http->service->metrics.connections_closed, 1);
        deadlines_close(&http->deadlines, *slot);
        *slot = NULL;
        return;
    }
    log_connection(connection, "connected");
    atomic_fetch_add(&http->service->metrics.connections_accepted, 1);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    char id[REQUEST_ID_SIZE];
    make_id(http, id);
    struct client *client =
        info ? deadlines_open(&http->deadlines, info->connect_fd, INT64_MAX) : NULL;
    if (client)
        deadlines_enter(&http->deadlines, client, CLIENT_IDLE,
                        seconds_from_now(o->timeout_s + o->request_deadline_s), id);
    *slot = client;
}

/* ---- Start and stop --------------------------------------------------------- */

struct http *http_start(struct service *service, int listen_fd)
{
    const struct options *o = service->options;
    struct http *http = calloc(1, sizeof *http);
    if (!http)
        return NULL;
    http->service = service;
    unsigned long long first;
    if (getrandom(&first, sizeof first, GRND_NONBLOCK) < 0)
        first = (unsigned long long)clock_us();
    atomic_init(&http->next_id, first);
    deadlines_init(&http->deadlines, (int64_t)o->timeout_s * 1000000);
    http->deadlines.is_tls = o->tls_cert != NULL;
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, tls_callback()},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, TLS_PRIORITIES},
        {MHD_OPTION_END, 0, NULL},
    };
    farewell_init(&http->farewell);
    /* epoll: what a wake-up costs must not grow with the connections, and unlike
     * poll() it needs no memory, for want of which answers would lie about. */
    http->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | (o->tls_cert ? MHD_USE_TLS : 0),
        0, NULL, NULL, on_request, http,
        MHD_OPTION_LISTEN_SOCKET, listen_fd,
        MHD_OPTION_THREAD_POOL_SIZE, (unsigned)NETWORK_THREADS,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)o->max_connections,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)o->max_connections_per_ip,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, 2 * o->max_header_bytes + CONNECTION_BYTES,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)o->timeout_s + TIMEOUT_SLACK_S,
        MHD_OPTION_URI_LOG_CALLBACK, on_target, http,
        MHD_OPTION_NOTIFY_COMPLETED, on_request_over, http,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, http,
        MHD_OPTION_ARRAY, o->tls_cert ? tls : tls + 2, MHD_OPTION_END);
    if (!http->daemon) {
        farewell_destroy(&http->farewell);
        deadlines_destroy(&http->deadlines);
        free(http);
        return NULL;
    }
    return http;
}

int http_sweep(struct http *http)
{
    int64_t now = clock_us();
    deadlines_sweep(&http->deadlines, now);
    return farewell_sweep(&http->farewell, now) ? FAREWELL_SWEEP_MS : SWEEP_MS;
}

void http_stop_listening(struct http *http)
{
    int fd = MHD_quiesce_daemon(http->daemon);
    if (fd >= 0)
        close(fd);
}

size_t http_active(struct http *http)
{
    return atomic_load(&http->active);
}

void http_free(struct http *http)
{
    if (!http)
        return;
    MHD_stop_daemon(http->daemon);
    farewell_destroy(&http->farewell);
    deadlines_destroy(&http->deadlines);
    free(http);
}
