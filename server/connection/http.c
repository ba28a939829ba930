/*
 * http.c - libmicrohttpd's side: connections, and requests as they arrive.
 *
 * The network threads, each with its own connections (network_thread.h), read,
 * write, answer what needs no computing and compute small pictures (request/gathering.h); they
 * never decode a large one, so that health checks do not wait for long.  Any other request that
 * is complete is suspended and handed over (request/steps.h); when it has its answer its
 * connection is resumed, and its network thread sends it.  Only network threads call the
 * functions marked (net).
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
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "server/answers/routes.h"
#include "server/basics/clock.h"
#include "server/basics/log.h"
#include "server/connection/acceptor.h"
#include "server/connection/access_log.h"
#include "server/connection/deadlines.h"
#include "server/connection/library_refusals.h"
#include "server/connection/library_waits.h"
#include "server/connection/lingering_close.h"
#include "server/connection/message_head.h"
#include "server/connection/network_thread.h"
#include "server/connection/send_answer.h"
#include "server/connection/tls_certificates.h"
#include "server/request/judge.h"
#include "server/request/steps.h"

/* A refused body up to this size is read and dropped to keep the connection. */
enum { SWALLOW_BYTES = 65536 };

/* libmicrohttpd may close in silence only who was not told 408 by then. */
enum { TIMEOUT_SLACK_S = 2 };

/* How soon the deadlines, and sockets that linger, are looked at again. */
enum { SWEEP_MS = 100, LINGER_SWEEP_MS = 2 };

/* How long a body that was refused unread may go on arriving. */
enum { LINGER_S = 5 };

/* libmicrohttpd's memory for a connection, beside twice the headers: as they
 * came, and parsed.  It is zeroed for every request. */
#define CONNECTION_BYTES ((size_t)8192)

/* What browsers and tools of the last ten years speak. */
static char TLS_PRIORITIES[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";

struct http {
    struct service *service;
    struct acceptor acceptor;
    struct network_thread *threads; /* [n_threads] */
    size_t n_threads;
    struct deadlines deadlines;
    struct lingering lingering;
    struct library_refusals refusals;
    struct library_wait_watch waits;
    atomic_size_t active;
};

/* ---- Small things ---------------------------------------------------------- */

static int64_t seconds_from_now(size_t seconds)
{
    return clock_us() + (int64_t)seconds * 1000000;
}

static const char *header(const struct request *r, const char *name)
{
    return MHD_lookup_connection_value(r->resumable.connection, MHD_HEADER_KIND, name);
}

/* ---- The answer (net) ------------------------------------------------------ */

_Static_assert((int)N_REFUSALS <= METRICS_REASONS, "every refusal is counted");

/* Counts a request, once: before its answer can reach the client, who may look for it among
 * the metrics, by another connection and so another network thread.  status: what it is
 * answered with, 0 for nothing. */
static void count_request(struct request *r, unsigned status)
{
    if (r->is_counted)
        return;
    r->is_counted = 1;
    struct metrics *metrics = &r->service->metrics;
    const enum refusal refusal = r->answer.status ? r->answer.refusal
                                 : status == 408  ? REFUSED_TIMEOUT
                                                  : REFUSED_NOT;
    metrics_count_answer(metrics, route_number(r->route), status, refusal);
    if (!r->route || !r->route->finish || !r->engine)
        return;
    const struct request_times times = {.request_us = clock_us() - r->received_us,
                                        .queue_us = r->queue_us,
                                        .decode_us = r->decode_us,
                                        .infer_us = r->job.done_us - r->job.started_us,
                                        .encode_us = r->encode_us};
    if (status == 200)
        metrics_count_times(r->engine->metrics, &times);
    else
        metrics_count_failure(r->engine->metrics, times.request_us);
}

static enum MHD_Result answer(struct http *http, struct request *r)
{
    const struct options *o = http->service->options;
    if (deadlines_enter(&http->deadlines, client_of(r->resumable.connection), CLIENT_ANSWERING,
                        seconds_from_now(o->timeout_s + o->request_deadline_s), NULL) != 0)
        return MHD_NO;
    const enum MHD_Result result = send_answer(r); /* goes out when we have returned */
    if (result == MHD_YES)
        count_request(r, r->answer.status);
    return result;
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
    return judge_parameter(query->request, &query->seen, name, name_n, value, value_n) ? MHD_NO
                                                                                       : MHD_YES;
}

/* Finds the route, and has the head judged.  Returns the status of the refusal, 0 to go
 * on. */
static unsigned take_head(struct request *r, const char *path, const char *version,
                          uint64_t body_nbytes)
{
    struct MHD_Connection *connection = r->resumable.connection;
    const struct framing framing = message_framing(connection);
    struct request_head head = {
        .path = path,
        .hosts = framing.hosts,
        .has_blank_name = framing.has_blank_name,
        .needs_host = strcmp(version, MHD_HTTP_VERSION_1_0) != 0,
        .nbytes = header_nbytes(connection),
        .body_nbytes = body_nbytes,
        .authorization = header(r, "Authorization"),
        .content_encoding = header(r, "Content-Encoding"),
    };
    MHD_lookup_connection_value_n(connection, MHD_GET_ARGUMENT_KIND, "model", strlen("model"),
                                  &head.model.at, &head.model.n);
    if (!r->path_is_cut)
        r->route = route_find(path, r->method, &head.allow, r->segments);
    r->is_misframed = framing.is_doubtful || framing.has_blank_name;
    unsigned status = judge_head(r, &head);
    if (status)
        return status;
    struct query query = {r, 0};
    MHD_get_connection_values_n(connection, MHD_GET_ARGUMENT_KIND, take_parameter, &query);
    return r->answer.status ? r->answer.status : judge_queue(r);
}

static enum MHD_Result on_headers(struct http *http, struct request *r, const char *path,
                                  const char *method, const char *version)
{
    snprintf(r->method, sizeof r->method, "%s", method);
    message_take_id(r->resumable.connection, r->id);
    r->content_type = header(r, "Content-Type");
    r->accept = message_list(r->resumable.connection, "Accept", &r->accept_lines);
    r->if_none_match = header(r, "If-None-Match");
    r->json_length = header(r, "Inference-Header-Content-Length");
    const char *length = header(r, "Content-Length");
    uint64_t body_nbytes = length ? strtoull(length, NULL, 10) : 0;
    int is_chunked = header(r, "Transfer-Encoding") != NULL;
    if (deadlines_receive(&http->deadlines, client_of(r->resumable.connection), r->id) != 0)
        return MHD_NO;

    r->stage = take_head(r, path, version, body_nbytes) ? REQUEST_REFUSED : REQUEST_ARRIVING;
    atomic_fetch_add(&http->active, 1); /* until on_request_over() */
    /* libmicrohttpd closes the connection after so early an answer only for
     * these two methods; for others the rest of the body would be taken for
     * the next request. */
    int closes = strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0;
    int is_small = !is_chunked && !r->is_misframed && body_nbytes <= SWALLOW_BYTES &&
                   !header(r, "Expect");
    if (r->stage == REQUEST_ARRIVING || !closes || is_small)
        return MHD_YES;
    lingering_add(&http->lingering, client_of(r->resumable.connection)->fd,
                  seconds_from_now(LINGER_S));
    return answer(http, r);
}

/* Adds to the body, or, once the request is refused, drops. */
static void on_body(struct http *http, struct request *r, const char *bytes, size_t n)
{
    const size_t max = r->service->options->max_body_bytes;
    unsigned status = 0;
    deadlines_hear(&http->deadlines, client_of(r->resumable.connection));
    r->received_bytes += n;
    if (r->stage == REQUEST_REFUSED)
        return; /* dropped, until it ends or its deadline comes */
    if (r->received_bytes > max)
        status = request_refuse(r, REFUSED_TOO_LARGE, "the body has more than %zu bytes", max);
    else if (r->route->finish) /* a GET's body means nothing */
        status = request_add_body(r, bytes, n);
    if (status) {
        r->stage = REQUEST_REFUSED;
        request_drop_body(r);
    }
}

/* It is the network thread's own from here on, or a worker's; its client is not to blame for
 * what it takes.  Returns -1 when he was too slow already. */
static int enter_work(struct http *http, struct request *r)
{
    return deadlines_enter(&http->deadlines, client_of(r->resumable.connection), CLIENT_WORKING,
                           INT64_MAX, NULL);
}

/* The request has arrived whole: it is answered, gathered, or handed to the workers.
 *
 * The latter in the next turn of the network thread's loop: a connection that is
 * suspended in the turn in which it was read from is read from first when it is resumed,
 * and where a client has closed its sending side behind the request libmicrohttpd
 * (0.9.75) then takes it for gone and drops the answer. */
static enum MHD_Result on_complete(struct network_thread *thread, struct request *r)
{
    struct http *http = thread->http;
    struct MHD_Connection *connection = r->resumable.connection;
    if (r->stage == REQUEST_ARRIVING && r->route->finish) {
        const int is_small = thread->is_seen && r->route->is_small && r->route->is_small(r);
        if (is_small && gathering_add(&thread->gathering, r))
            return enter_work(http, r) == 0 ? MHD_YES : MHD_NO;
        r->stage = REQUEST_WHOLE;
        return MHD_YES;
    }
    if (r->stage == REQUEST_WHOLE) {
        if (enter_work(http, r) != 0)
            return MHD_NO;
        if (steps_take_place(r) == 0) {
            MHD_suspend_connection(connection);
            steps_start(r);
            return MHD_YES;
        }
    } else if (r->stage == REQUEST_ARRIVING) {
        steps_answer(r);
    }
    r->stage = REQUEST_ANSWERED;
    return answer(http, r);
}

/* ---- libmicrohttpd's callbacks (net) --------------------------------------- */

/* Called once for the headers, for each piece of the body, at its end, and
 * again after a connection was resumed. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *bytes, size_t *n, void **slot)
{
    struct network_thread *thread = context;
    struct http *http = thread->http;
    struct request *r = *slot;
    (void)connection;
    if (!r)
        return MHD_NO; /* no memory for it */
    if (r->stage == REQUEST_GATHERED)
        return MHD_YES; /* its answer comes between two turns of the loop */
    thread->has_moved = 1;
    if (r->stage == REQUEST_BEGUN)
        return on_headers(http, r, target_without_host(path), method, version);
    if (r->stage == REQUEST_ANSWERED)
        return answer(http, r);
    if (*n == 0)
        return on_complete(thread, r);
    on_body(http, r, bytes, *n);
    *n = 0;
    return MHD_YES;
}

/* Leaves out a query that libmicrohttpd (0.9.75) may have no memory for: it would refuse it,
 * go on to the headers, and keep a connection that is to be closed until something else
 * wakes its thread.  Up to these limits there is room, whatever came behind the line.
 * Returns 1 where something was left out. */
static int cut_query(const char *target, size_t max_nbytes)
{
    enum { MAX_PARAMETERS = 40 };
    const char *query = strchr(target, '?');
    if (!query)
        return 0;
    size_t n = 1;
    for (const char *at = query; (at = strchr(at, '&')); at++)
        n++;
    if (n <= MAX_PARAMETERS && strlen(target) <= max_nbytes)
        return 0;
    ((char *)query)[1] = 0; /* the connection's own buffer, which it cuts up itself */
    return 1;
}

/* The request line has arrived. */
static void *on_target(void *context, const char *target, struct MHD_Connection *connection)
{
    struct network_thread *thread = context;
    struct http *http = thread->http;
    struct request *r = calloc(1, sizeof *r);
    struct client *client = client_of(connection);
    if (!r || !client) {
        free(r);
        return NULL;
    }
    r->service = http->service;
    r->resumable.connection = connection;
    r->received_us = clock_us();
    r->params.scale = 1;
    snprintf(r->target, sizeof r->target, "%s", target);
    r->query_is_cut = cut_query(target, http->service->options->max_header_bytes);
    /* Decoded, such a path would end at its 0 byte and name another. */
    const char *zero = strstr(target, "%00");
    r->path_is_cut = zero && zero < target + strcspn(target, "?");
    request_make_id(http->service, r->id);
    const char *path = target_without_host(target);
    r->is_oip = strncmp(path, "/v2", 3) == 0 && (!path[3] || strchr("/?", path[3]));
    deadlines_set_form(&http->deadlines, client, r->is_oip);
    deadlines_receive(&http->deadlines, client, r->id);
    client->request = r;
    return r;
}

/* The client's request is over: its answer taken to the end, or not. */
static void end_request(struct network_thread *thread, struct client *client, int is_complete)
{
    struct http *http = thread->http;
    struct request *r = client->request;
    if (r->stage == REQUEST_GATHERED)
        gathering_remove(&thread->gathering, r);
    const struct options *o = http->service->options;
    const int expired =
        deadlines_enter(&http->deadlines, client, CLIENT_IDLE,
                        seconds_from_now(o->timeout_s + o->request_deadline_s), NULL) != 0;
    client->request = NULL;
    unsigned status = r->answer.status ? r->answer.status : expired ? 408 : 0;
    count_request(r, status);
    log_request(r, status, is_complete);
    if (r->stage != REQUEST_BEGUN)
        atomic_fetch_sub(&http->active, 1);
    request_free(r);
}

static void on_request_over(void *context, struct MHD_Connection *connection, void **slot,
                            enum MHD_RequestTerminationCode why)
{
    struct client *client = client_of(connection);
    *slot = NULL;
    if (client && client->request)
        end_request(context, client, why == MHD_REQUEST_TERMINATED_COMPLETED_OK);
}

/* On a Unix socket there is no address, but the kernel knows who it is. */
static void log_connection(struct MHD_Connection *connection, int fd, const char *what)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    char host[NI_MAXHOST] = "?", port[NI_MAXSERV] = "?";
    struct ucred peer;
    socklen_t peer_n = sizeof peer;
    if (!log_wants(LOG_LEVEL_DEBUG) || !info || !info->client_addr)
        return;
    const sa_family_t family = info->client_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) {
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_n) == 0)
            log_event(LOG_LEVEL_DEBUG, "process %d of user %u %s", (int)peer.pid,
                      (unsigned)peer.uid, what);
        return;
    }
    socklen_t n = family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    getnameinfo(info->client_addr, n, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
    log_event(LOG_LEVEL_DEBUG, "%s port %s %s", host, port, what);
}

static void on_connection(void *context, struct MHD_Connection *connection, void **slot,
                          enum MHD_ConnectionNotificationCode what)
{
    struct network_thread *thread = context;
    struct http *http = thread->http;
    const struct options *o = http->service->options;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    const int fd = info ? info->connect_fd : -1;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        log_connection(connection, fd, "disconnected");
        atomic_fetch_add(&http->service->metrics.connections_closed, 1);
        struct client *gone = *slot;
        if (gone && !o->tls_cert)
            library_refusals_close(&http->refusals, gone);
        /* A request ends with its connection, whatever libmicrohttpd (0.9.75) said: of one
         * that it refuses for its query and then for its headers, which cut_query() keeps
         * from it, nothing. */
        if (gone && gone->request)
            end_request(thread, gone, 0);
        deadlines_close(&http->deadlines, gone);
        *slot = NULL;
        atomic_fetch_sub(&thread->connections, 1);
        acceptor_forget(&http->acceptor,
                        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS)
                            ->client_addr);
        return;
    }
    log_connection(connection, fd, "connected");
    atomic_fetch_add(&http->service->metrics.connections_accepted, 1);
    char id[REQUEST_ID_SIZE];
    request_make_id(http->service, id);
    struct client *client =
        fd >= 0 ? deadlines_open(&http->deadlines, fd, INT64_MAX) : NULL;
    *slot = client;
    if (!client)
        return;
    const union MHD_ConnectionInfo *tls =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    client->tls = tls ? tls->tls_session : NULL;
    if (client->tls)
        library_refusals_watch_tls(&http->refusals, client);
    deadlines_enter(&http->deadlines, client, CLIENT_IDLE,
                    seconds_from_now(o->timeout_s + o->request_deadline_s), id);
}

/* ---- Start and stop --------------------------------------------------------- */

static struct MHD_Daemon *start_daemon(struct network_thread *thread)
{
    const struct options *o = thread->service->options;
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, tls_callback()},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, TLS_PRIORITIES},
        {MHD_OPTION_END, 0, NULL},
    };
    /* epoll: what a wake-up costs must not grow with the connections, and unlike
     * poll() it needs no memory, for want of which answers would lie about.
     * Turbo: a connection without TLS that is closed can be sent to until we are told so,
     * as library_refusals_close() wants it. */
    return MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME |
            (o->tls_cert ? MHD_USE_TLS : MHD_USE_TURBO),
        0, NULL, NULL, on_request, thread,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)o->max_connections,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, 2 * o->max_header_bytes + CONNECTION_BYTES,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)o->timeout_s + TIMEOUT_SLACK_S,
        MHD_OPTION_URI_LOG_CALLBACK, on_target, thread,
        MHD_OPTION_NOTIFY_COMPLETED, on_request_over, thread,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, thread,
        MHD_OPTION_ARRAY, o->tls_cert ? tls : tls + 2, MHD_OPTION_END);
}

/* A new connection goes to the thread that has fewest. */
static void hand_over(void *context, int fd, const struct sockaddr *address,
                      socklen_t address_nbytes)
{
    struct http *http = context;
    struct network_thread *thread = &http->threads[0];
    for (size_t i = 1; i < http->n_threads; i++)
        if (atomic_load(&http->threads[i].connections) < atomic_load(&thread->connections))
            thread = &http->threads[i];
    atomic_fetch_add(&thread->connections, 1);
    if (MHD_add_connection(thread->daemon, fd, address, address_nbytes) == MHD_YES)
        return; /* its thread's, which calls on_connection() */
    atomic_fetch_sub(&thread->connections, 1);
    acceptor_forget(&http->acceptor, address);
}

static int on_wait(void *context, int epoll_fd, int timeout_ms)
{
    struct http *http = context;
    for (size_t i = 0; i < http->n_threads; i++) {
        struct network_thread *thread = &http->threads[i];
        if (atomic_load(&thread->is_up) && thread->epoll_fd == epoll_fd)
            return network_thread_on_wait(thread, epoll_fd, timeout_ms);
    }
    return timeout_ms;
}

/* Returns 0, or -1. */
static int start_threads(struct http *http)
{
    http->threads = calloc(http->n_threads, sizeof *http->threads);
    if (!http->threads)
        return -1;
    http->waits = (struct library_wait_watch){http, on_wait};
    library_waits_watch(&http->waits);
    for (size_t i = 0; i < http->n_threads; i++) {
        struct network_thread *thread = &http->threads[i];
        thread->http = http;
        thread->service = http->service;
        gathering_init(&thread->gathering, i);
        thread->daemon = start_daemon(thread);
        if (!thread->daemon)
            return -1;
        thread->epoll_fd =
            MHD_get_daemon_info(thread->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
        atomic_store(&thread->is_up, 1);
    }
    return 0;
}

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
    atomic_init(&service->next_id, first);
    deadlines_init(&http->deadlines, (int64_t)o->timeout_s * 1000000,
                   (int64_t)o->request_deadline_s * 1000000);
    lingering_init(&http->lingering);
    acceptor_init(&http->acceptor, o->max_connections, o->max_connections_per_ip, hand_over, http);
    http->refusals = (struct library_refusals){
        .service = service, .deadlines = &http->deadlines, .lingering = &http->lingering};
    http->n_threads = batcher_lanes(service->threads);
    if (library_refusals_init(&http->refusals) == 0 && start_threads(http) == 0 &&
        acceptor_start(&http->acceptor, listen_fd) == 0)
        return http;
    http_free(http);
    return NULL;
}

int http_sweep(struct http *http)
{
    int64_t now = clock_us();
    deadlines_sweep(&http->deadlines, now);
    return lingering_sweep(&http->lingering, now) ? LINGER_SWEEP_MS : SWEEP_MS;
}

void http_stop_listening(struct http *http, int takes_last)
{
    acceptor_stop(&http->acceptor, takes_last);
}

size_t http_active(struct http *http)
{
    return atomic_load(&http->active);
}

void http_free(struct http *http)
{
    if (!http)
        return;
    acceptor_stop(&http->acceptor, 0);
    for (size_t i = 0; i < http->n_threads && http->threads; i++)
        if (http->threads[i].daemon)
            MHD_stop_daemon(http->threads[i].daemon);
    library_waits_watch(NULL);
    free(http->threads);
    acceptor_destroy(&http->acceptor);
    lingering_destroy(&http->lingering);
    deadlines_destroy(&http->deadlines);
    free(http);
}
