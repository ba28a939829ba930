/* routes.c - see routes.h. */
#include "routes.h"

#include <string.h>

#include "handlers.h"
#include "params.h"

static const struct route ROUTES[] = {
    {"/classify", "POST", PARAM_NORMALIZE | PARAM_POSES, 0, classify_begin, classify_finish},
    {"/pose", "POST", PARAM_NORMALIZE, 0, pose_begin, pose_finish},
    {"/reconstruct", "POST", PARAM_NORMALIZE | PARAM_CLASS | PARAM_SCALE | PARAM_SWEEP, 0,
     reconstruct_begin, reconstruct_finish},
    {"/model", "GET", 0, 0, model_answer, NULL},
    {"/healthz", "GET", 0, 1, healthz_answer, NULL},
    {"/readyz", "GET", 0, 0, readyz_answer, NULL},
    {"/", "GET", 0, 1, web_answer, NULL},
    {"/web/style.css", "GET", 0, 1, web_answer, NULL},
    {"/web/page.js", "GET", 0, 1, web_answer, NULL},
    {"/web/pad.js", "GET", 0, 1, web_answer, NULL},
    {"/web/client.js", "GET", 0, 1, web_answer, NULL},
    {"/web/plot.js", "GET", 0, 1, web_answer, NULL},
    {"/web/samples.js", "GET", 0, 1, web_answer, NULL},
};

static int serves(const struct route *route, const char *method)
{
    return strcmp(method, route->method) == 0 ||
           (strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0);
}

const struct route *route_find(const char *path, const char *method, const char **allow)
{
    *allow = NULL;
    for (size_t i = 0; i < sizeof ROUTES / sizeof *ROUTES; i++) {
        if (strcmp(path, ROUTES[i].path) != 0)
            continue;
        if (serves(&ROUTES[i], method))
            return &ROUTES[i];
        *allow = strcmp(ROUTES[i].method, "GET") == 0 ? "GET, HEAD" : ROUTES[i].method;
    }
    return NULL;
}
