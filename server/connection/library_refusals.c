/* library_refusals.c - see library_refusals.h. */
#include "server/connection/library_refusals.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "server/answers/routes.h"
#include "server/basics/clock.h"
#include "server/connection/access_log.h"
#include "server/connection/direct_answer.h"
#include "server/connection/message_head.h"

/* How long a client that was refused may go on sending. */
enum { LINGER_US = 5000000 };

struct client *client_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

/* Why libmicrohttpd refuses with that status a request whose line it has understood. */
static void refuse(struct request *r, unsigned status)
{
    const int is_head = r->stage == REQUEST_BEGUN;
    const size_t max = r->service->options->max_header_bytes;
    if (status == MHD_HTTP_URI_TOO_LONG || status == MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE)
        request_refuse(r, REFUSED_HEADERS_TOO_LARGE,
                       "the %s too long or too many; they may have %zu bytes",
                       is_head ? "request line and headers are" : "trailers of the body are", max);
    else if (status == MHD_HTTP_CONTENT_TOO_LARGE && !is_head)
        request_refuse(r, REFUSED_TOO_LARGE, "a chunk of the body has more than %zu bytes",
                       r->service->options->max_body_bytes);
    else if (!is_head)
        request_refuse(r, REFUSED_INVALID_REQUEST,
                       "the body must be chunked as its Transfer-Encoding says");
    else if (header_nbytes(r->resumable.connection)) /* then the head is whole */
        request_refuse(r, REFUSED_INVALID_REQUEST, "the Content-Length must be a whole number");
    else
        request_refuse(r, REFUSED_INVALID_REQUEST,
                       "each header must be a line with a name, a colon and a value");
}

/* Of a client that speaks HTTP where TLS is spoken. */
enum { STATUS_NO_TLS = 0 };

/* The same of a request line. */
static void refuse_line(struct request *r, unsigned status)
{
    if (status == STATUS_NO_TLS)
        request_refuse(r, REFUSED_INVALID_REQUEST, "this port speaks HTTPS, not HTTP");
    else if (status == MHD_HTTP_HTTP_VERSION_NOT_SUPPORTED)
        request_refuse(r, REFUSED_UNSUPPORTED_VERSION,
                       "the request must be in HTTP/1.1 or HTTP/1.0");
    else if (status == MHD_HTTP_URI_TOO_LONG)
        refuse(r, status);
    else
        request_refuse(r, REFUSED_INVALID_REQUEST,
                       "the request must begin with a line like \"GET / HTTP/1.1\"");
}

static int send_refusal(struct library_refusals *refusals, struct client *client,
                        const struct answer *answer)
{
    lingering_add(refusals->lingering, client->fd, clock_us() + LINGER_US);
    const int is_sent = direct_answer_send(client, answer->status, answer->body, answer->nbytes);
    direct_answer_end(client);
    return is_sent;
}

/* The request that there would be if libmicrohttpd told of it; NULL without memory. */
static struct request *make_unheard(struct library_refusals *refusals)
{
    struct request *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->service = refusals->service;
    r->received_us = clock_us();
    request_make_id(r->service, r->id);
    strcpy(r->target, "-");
    return r;
}

/* Refuses one of which we were told nothing, and counts it. */
static void refuse_unheard(struct library_refusals *refusals, struct client *client,
                           unsigned status)
{
    struct request *r = make_unheard(refusals);
    if (!r)
        return;
    strcpy(client->request_id, r->id);
    refuse_line(r, status);
    if (send_refusal(refusals, client, &r->answer)) {
        metrics_count_answer(&r->service->metrics, route_number(NULL), r->answer.status,
                             r->answer.refusal);
        log_request(r, r->answer.status, 1);
    }
    request_free(r);
}

static void on_refusal(void *context, struct MHD_Connection *connection, unsigned status)
{
    struct library_refusals *refusals = context;
    struct client *client = client_of(connection);
    if (!client || deadlines_enter(refusals->deadlines, client, CLIENT_ANSWERING,
                                   clock_us() + LINGER_US, NULL) != 0)
        return;
    struct request *r = client->request;
    if (!r) {
        refuse_unheard(refusals, client, status);
        return;
    }
    message_take_id(connection, r->id);
    strcpy(client->request_id, r->id);
    if (!r->answer.status) /* else it was refused before */
        refuse(r, status);
    send_refusal(refusals, client, &r->answer);
}

static void see_end(struct library_refusals *refusals, struct client *client)
{
    if (deadlines_is_unheard(refusals->deadlines, client) &&
        atomic_load(&refusals->service->state) != SERVICE_DRAINING &&
        deadlines_enter(refusals->deadlines, client, CLIENT_ANSWERING, INT64_MAX, NULL) == 0)
        refuse_unheard(refusals, client, MHD_HTTP_BAD_REQUEST);
}

static void on_tls_end(void *context, struct MHD_Connection *connection)
{
    struct client *client = client_of(connection);
    if (client)
        see_end(context, client);
}

void library_refusals_close(struct library_refusals *refusals, struct client *client)
{
    see_end(refusals, client);
    shutdown(client->fd, SHUT_WR); /* one that lingers must see the end */
}

/* A client that should speak TLS speaks plain HTTP. */
static void on_plain(void *context)
{
    struct client *client = context;
    client->tls = NULL;
    refuse_unheard(client->refusals, client, STATUS_NO_TLS);
}

static void on_end(void *context)
{
    struct client *client = context;
    deadlines_tell_over_tls(client->refusals->deadlines, client);
}

void library_refusals_watch_tls(struct library_refusals *refusals, struct client *client)
{
    client->refusals = refusals;
    client->tls_watch = (struct tls_watch){client->fd, 0, on_plain, on_end, client};
    tls_session_watch(client->tls, &client->tls_watch);
}

int library_refusals_init(struct library_refusals *refusals)
{
    refusals->watch = (struct library_watch){refusals, on_refusal, on_tls_end};
    return library_calls_watch(&refusals->watch);
}
