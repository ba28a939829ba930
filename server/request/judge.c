/* judge.c - see judge.h. */
#include "server/request/judge.h"

#include <stdio.h>
#include <string.h>

#include "server/request/inflate_body.h"
#include "server/request/steps.h"

/* What probes ask carries no key, and the page is open, since it asks for the key. */
static int needs_key(const struct request *r)
{
    return r->service->options->api_key_file && !(r->route && r->route->is_open);
}

/* No route has that path and method. */
static unsigned refuse_route(struct request *r, const struct request_head *head)
{
    char quoted[48], quoted_path[48];
    quote_client(quoted_path, head->path);
    if (r->path_is_cut || !head->allow)
        return request_refuse(r, REFUSED_NOT_FOUND, "there is nothing at \"%s\"", quoted_path);
    request_refuse(r, REFUSED_METHOD_NOT_ALLOWED, "%s takes %s, not %s", quoted_path, head->allow,
                   quote_client(quoted, r->method));
    r->answer.allow = head->allow;
    return r->answer.status;
}

/* What belongs to one route, and comes with a body. */
static unsigned judge_body(struct request *r, const struct request_head *head)
{
    const struct service *service = r->service;
    const char *encoding = head->content_encoding;
    char quoted[48];
    int state = atomic_load(&service->state);
    if (state == SERVICE_LOADING && !r->route->always)
        return request_refuse(r, REFUSED_LOADING, "the model is being loaded; try again soon");
    if ((state == SERVICE_DRAINING && !r->route->always) ||
        (state == SERVICE_LEAVING && r->route->tells_readiness))
        return request_refuse(r, REFUSED_DRAINING, "the server is shutting down");
    if (head->body_nbytes > service->options->max_body_bytes)
        return request_refuse(r, REFUSED_TOO_LARGE, "the body has %llu bytes, more than %zu",
                              (unsigned long long)head->body_nbytes,
                              service->options->max_body_bytes);
    if (!content_coding(&r->coding, encoding))
        return request_refuse(r, REFUSED_UNSUPPORTED_MEDIA_TYPE,
                              "Content-Encoding: \"%s\" is not supported, only gzip and deflate",
                              quote_client(quoted, encoding));
    return 0;
}

static unsigned refuse_model(struct request *r, struct segment wanted)
{
    enum { ROOM = 300 }; /* a sentence has no more for the names */
    const struct generation *g = r->generation;
    char name[48], quoted[48];
    struct text names = {0};
    snprintf(name, sizeof name, "%.*s", (int)(wanted.n < 47 ? wanted.n : 47),
             memchr(wanted.at, 0, wanted.n) ? "?" : wanted.at); /* no 0 byte passes for the end */
    for (size_t i = 0; i < g->n; i++) {
        const char *own = capsnet_model_name(g->engines[i].model);
        if (i && names.n + strlen(own) > ROOM) {
            text_addf(&names, " and %zu more", g->n - i);
            break;
        }
        text_addf(&names, "%s\"%.200s\"", i == 0 ? "" : i + 1 < g->n ? ", " : " and ", own);
    }
    unsigned status = names.failed
                          ? request_refuse_no_memory(r)
                          : request_refuse(r, REFUSED_NOT_FOUND,
                                           "there is no model \"%s\" here, only %s",
                                           quote_client(quoted, name), names.bytes);
    text_free(&names);
    return status;
}

/* Takes the models of this moment, and of them the one that the request is about. */
static unsigned take_model(struct request *r, const struct request_head *head)
{
    struct segment wanted = r->segments[0]; /* {name} */
    if (!wanted.at && r->route->params & PARAM_MODEL)
        wanted = head->model;
    r->generation = engines_acquire(&r->service->engines);
    if (!r->generation)
        return 0; /* of those routes that do without */
    r->engine = wanted.at ? generation_find(r->generation, wanted.at, wanted.n)
                          : &r->generation->engines[0];
    return r->engine ? 0 : refuse_model(r, wanted);
}

unsigned judge_head(struct request *r, const struct request_head *head)
{
    const struct options *options = r->service->options;
    if (head->nbytes > options->max_header_bytes)
        return request_refuse(r, REFUSED_HEADERS_TOO_LARGE,
                              "the request line and headers have more than %zu bytes",
                              options->max_header_bytes);
    if (r->query_is_cut && !(r->route && r->route->ignores_query))
        return request_refuse(r, REFUSED_HEADERS_TOO_LARGE, "the query has too many parameters");
    if (head->hosts > 1 || (head->needs_host && head->hosts == 0))
        return request_refuse(r, REFUSED_INVALID_REQUEST,
                              "the request must have one Host header, and it has %s",
                              head->hosts ? "several" : "none");
    if (head->has_blank_name)
        return request_refuse(r, REFUSED_INVALID_REQUEST,
                              "each header must be a line with a name, a colon and a value");
    if (r->is_misframed)
        return request_refuse(r, REFUSED_INVALID_REQUEST,
                              "the body must have one Content-Length or Transfer-Encoding: "
                              "chunked");
    if (strcmp(r->method, "OPTIONS") == 0 && !r->path_is_cut && head->allow) {
        /* A browser's preflight carries no key. */
        r->answer = (struct answer){
            .status = 204, .allow = head->allow, .is_owned_elsewhere = 1};
        return 204;
    }
    if (needs_key(r) && !keys_admit(&r->service->keys, head->authorization))
        return request_refuse(r, REFUSED_UNAUTHORIZED,
                              "the request needs a valid API key: Authorization: Bearer KEY");
    unsigned status = r->route ? judge_body(r, head) : refuse_route(r, head);
    return status ? status : take_model(r, head);
}

unsigned judge_parameter(struct request *r, unsigned *seen, const char *name, size_t name_n,
                         const char *value, size_t value_n)
{
    if (r->route->ignores_query)
        return 0;
    char message[256];
    size_t classes = r->engine ? request_shape(r)->classes : 0;
    /* A 0 byte within must not pass for the end. */
    if (strlen(name) != name_n)
        name = "?";
    if (value && strlen(value) != value_n)
        value = "?";
    if (params_set(&r->params, r->route->params, seen, name, value, classes, message,
                   sizeof message) == 0)
        return 0;
    return request_refuse(r, REFUSED_INVALID_PARAMETER, "%s", message);
}

unsigned judge_queue(struct request *r)
{
    return r->route->finish ? steps_look_for_place(r) : 0;
}
