/* routes.c - see routes.h. */
#include "server/answers/routes.h"

#include <string.h>

#include "server/answers/answers.h"
#include "server/answers/web_page.h"
#include "server/basics/metrics.h"
#include "server/input/body_images.h"
#include "server/request/query_params.h"

enum { READY, READINESS, ALWAYS };
enum { KEYED = 0, OPEN = 1 };
enum { STRICT = 0, LENIENT = 1 };

/* Path, method and parameters; when it answers, to whom, and whether it minds
 * parameters that it does not know; with what. */
#define GET_ANY(path, when, whom, query, answer) \
    {path, "GET", 0, when == ALWAYS, when == READINESS, whom, query, answer, NULL, NULL, NULL}
#define GET(path, when, whom, answer) GET_ANY(path, when, whom, STRICT, answer)
#define ASK(path, answer) {path, "POST", 0, 0, 0, KEYED, STRICT, answer, NULL, NULL, NULL}
#define WEB(path, query, file) {path, "GET", 0, 1, 0, OPEN, query, web_answer, NULL, NULL, file}
#define POST(path, params, steps, is_small) \
    {path, "POST", params, 0, 0, KEYED, STRICT, steps##_begin, steps##_finish, is_small, NULL}

static const struct route ROUTES[] = {
    POST("/classify", PARAM_MODEL | PARAM_NORMALIZE | PARAM_POSES | PARAM_ROUTING | PARAM_SPLIT,
         classify, body_is_small),
    POST("/pose", PARAM_MODEL | PARAM_NORMALIZE, pose, body_is_small),
    POST("/reconstruct",
         PARAM_MODEL | PARAM_NORMALIZE | PARAM_CLASS | PARAM_SCALE | PARAM_SWEEP | PARAM_DEBUG,
         reconstruct, body_is_small),
    {"/model", "GET", PARAM_MODEL, 0, 0, KEYED, STRICT, model_answer, NULL, NULL, NULL},
    GET("/models", READY, KEYED, models_answer),
    GET_ANY("/healthz", ALWAYS, OPEN, LENIENT, healthz_answer),
    GET_ANY("/readyz", READINESS, OPEN, LENIENT, readyz_answer),
    GET_ANY("/metrics", ALWAYS, KEYED, LENIENT, metrics_answer),
    WEB("/", LENIENT, &web_index),
    WEB("/openapi.json", STRICT, &web_openapi),
    WEB("/web/style.css", LENIENT, &web_style),
    WEB("/web/panels.css", LENIENT, &web_panels),
    WEB("/web/page.js", LENIENT, &web_page),
    WEB("/web/pad.js", LENIENT, &web_pad),
    WEB("/web/client.js", LENIENT, &web_client),
    WEB("/web/plot.js", LENIENT, &web_plot),
    WEB("/web/samples.js", LENIENT, &web_samples),
    WEB("/web/dom.js", LENIENT, &web_dom),
    WEB("/web/link.js", LENIENT, &web_link),
    WEB("/web/number.js", LENIENT, &web_number),
    WEB("/web/nudge.js", LENIENT, &web_nudge),
    WEB("/web/pair.js", LENIENT, &web_pair),
    WEB("/web/parts.js", LENIENT, &web_parts),
    WEB("/web/save.js", LENIENT, &web_save),
    WEB("/web/state.js", LENIENT, &web_state),
    WEB("/web/turn.js", LENIENT, &web_turn),
    WEB("/web/votes.js", LENIENT, &web_votes),
    GET("/v2", ALWAYS, KEYED, oip_server_answer),
    GET("/v2/health/live", ALWAYS, OPEN, oip_live_answer),
    GET("/v2/health/ready", READINESS, OPEN, oip_ready_answer),
    GET("/v2/models/stats", READY, KEYED, oip_statistics_answer),
    GET("/v2/models/{name}", READY, KEYED, oip_model_answer),
    GET("/v2/models/{name}/ready", READINESS, KEYED, oip_model_ready_answer),
    GET("/v2/models/{name}/versions/{version}", READY, KEYED, oip_model_answer),
    GET("/v2/models/{name}/versions/{version}/ready", READINESS, KEYED, oip_model_ready_answer),
    GET("/v2/models/{name}/config", READY, KEYED, oip_config_answer),
    GET("/v2/models/{name}/versions/{version}/config", READY, KEYED, oip_config_answer),
    GET("/v2/models/{name}/stats", READY, KEYED, oip_statistics_answer),
    GET("/v2/models/{name}/versions/{version}/stats", READY, KEYED, oip_statistics_answer),
    ASK("/v2/repository/index", oip_index_answer),
    POST("/v2/models/{name}/infer", 0, oip_infer, NULL),
    POST("/v2/models/{name}/versions/{version}/infer", 0, oip_infer, NULL),
};
enum { N_ROUTES = sizeof ROUTES / sizeof *ROUTES };
_Static_assert((int)N_ROUTES < METRICS_ROUTES, "every route, and none, is counted");

static int serves(const struct route *route, const char *method)
{
    return strcmp(method, route->method) == 0 ||
           (strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0);
}

/* Does the path fit the pattern?  Notes what stood for each {name}. */
static int fits(const char *pattern, const char *path, struct segment segments[ROUTE_SEGMENTS])
{
    memset(segments, 0, ROUTE_SEGMENTS * sizeof *segments);
    while (*pattern) {
        if (*pattern != '{') {
            if (*pattern++ != *path++)
                return 0;
            continue;
        }
        *segments = (struct segment){path, strcspn(path, "/")};
        if (segments->n == 0)
            return 0;
        path += segments++->n;
        pattern += strcspn(pattern, "}") + 1;
    }
    return *path == 0;
}

const struct route *route_find(const char *path, const char *method, const char **allow,
                               struct segment segments[ROUTE_SEGMENTS])
{
    *allow = strcmp(method, "OPTIONS") == 0 && strcmp(path, "*") == 0 ? "GET, HEAD, POST" : NULL;
    for (size_t i = 0; i < N_ROUTES; i++) {
        if (!fits(ROUTES[i].path, path, segments))
            continue;
        if (serves(&ROUTES[i], method))
            return &ROUTES[i];
        *allow = strcmp(ROUTES[i].method, "GET") == 0 ? "GET, HEAD" : ROUTES[i].method;
    }
    return NULL;
}

size_t route_number(const struct route *route)
{
    return route ? (size_t)(route - ROUTES) : N_ROUTES;
}

const struct route *route_at(size_t i)
{
    return i < N_ROUTES ? &ROUTES[i] : NULL;
}
