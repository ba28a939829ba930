/* routes.c - see routes.h. */
#include "server/answers/routes.h"

#include <string.h>

#include "server/answers/answers.h"
#include "server/basics/metrics.h"
#include "server/request/query_params.h"

static const struct route ROUTES[] = {
    {"/classify", "POST", PARAM_NORMALIZE | PARAM_POSES, 0, classify_begin, classify_finish},
    {"/pose", "POST", PARAM_NORMALIZE, 0, pose_begin, pose_finish},
    {"/reconstruct", "POST", PARAM_NORMALIZE | PARAM_CLASS | PARAM_SCALE | PARAM_SWEEP |
     PARAM_DEBUG, 0, reconstruct_begin, reconstruct_finish},
    {"/model", "GET", 0, 0, model_answer, NULL},
    {"/healthz", "GET", 0, 1, healthz_answer, NULL},
    {"/readyz", "GET", 0, 0, readyz_answer, NULL},
    {"/metrics", "GET", 0, 1, metrics_answer, NULL},
    {"/", "GET", 0, 1, web_answer, NULL},
    {"/openapi.json", "GET", 0, 1, web_answer, NULL},
    {"/web/style.css", "GET", 0, 1, web_answer, NULL},
    {"/web/page.js", "GET", 0, 1, web_answer, NULL},
    {"/web/pad.js", "GET", 0, 1, web_answer, NULL},
    {"/web/client.js", "GET", 0, 1, web_answer, NULL},
    {"/web/plot.js", "GET", 0, 1, web_answer, NULL},
    {"/web/samples.js", "GET", 0, 1, web_answer, NULL},
    {"/v2", "GET", 0, 1, oip_server_answer, NULL},
    {"/v2/health/live", "GET", 0, 1, oip_live_answer, NULL},
    {"/v2/health/ready", "GET", 0, 0, oip_ready_answer, NULL},
    {"/v2/models/{name}", "GET", 0, 0, oip_model_answer, NULL},
    {"/v2/models/{name}/ready", "GET", 0, 0, oip_model_ready_answer, NULL},
    {"/v2/models/{name}/versions/{version}", "GET", 0, 0, oip_model_answer, NULL},
    {"/v2/models/{name}/versions/{version}/ready", "GET", 0, 0, oip_model_ready_answer, NULL},
    {"/v2/models/{name}/infer", "POST", 0, 0, oip_infer_begin, oip_infer_finish},
    {"/v2/models/{name}/versions/{version}/infer", "POST", 0, 0, oip_infer_begin,
     oip_infer_finish},
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
    *allow = NULL;
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
