/* test_judge.c - what the request line and the headers are enough to refuse, and what
 * comes first when there is more than one reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "server/request/judge.h"

static struct options options = {.max_header_bytes = 100, .max_body_bytes = 1000};
static struct service service = {.options = &options};

/* One request: what is wrong with it, and what it is told. */
struct scene {
    enum service_state state;
    struct route route;
    int no_route, path_is_cut, is_misframed, has_keys;
    const char *method;
    struct request_head head;
    unsigned status;
    enum refusal refusal;
};

static void check(size_t i, const struct scene *scene)
{
    struct request *request = calloc(1, sizeof *request);
    struct request_head head = scene->head;
    assert_non_null(request);
    request->service = &service;
    request->route = scene->no_route ? NULL : &scene->route;
    request->path_is_cut = scene->path_is_cut;
    request->is_misframed = scene->is_misframed;
    strcpy(request->method, scene->method ? scene->method : "POST");
    head.path = "/there";
    options.api_key_file = scene->has_keys ? "keys" : NULL;
    atomic_store(&service.state, scene->state);
    unsigned status = judge_head(request, &head);
    if (status != scene->status || status != request->answer.status ||
        request->answer.refusal != scene->refusal)
        fail_msg("scene %zu: %u (%s), not %u (%s)", i, status,
                 refusal_code(request->answer.refusal), scene->status,
                 refusal_code(scene->refusal));
    if (status == 405 || status == 204)
        assert_string_equal(request->answer.allow, head.allow);
    request_free(request);
}

static void each_reason_is_told_in_its_turn(void **state)
{
    (void)state;
    const struct request_head long_head = {.nbytes = 101}, large = {.body_nbytes = 1001},
                              packed = {.content_encoding = "br"},
                              twice = {.content_encoding = "gzip, gzip"},
                              gzip = {.content_encoding = "GZIP"},
                              deflate = {.content_encoding = "deflate"},
                              plain = {.content_encoding = "Identity", .nbytes = 100,
                                       .body_nbytes = 1000},
                              other = {.allow = "GET, HEAD"}, modern = {.needs_host = 1},
                              hosted = {.needs_host = 1, .hosts = 1}, doubled = {.hosts = 2};
    const struct route always = {.always = 1}, open = {.is_open = 1};
    const struct scene SCENES[] = {
        {SERVICE_READY, .head = plain},
        {SERVICE_READY, .head = long_head, .is_misframed = 1, .status = 431,
         .refusal = REFUSED_HEADERS_TOO_LARGE},
        {SERVICE_READY, .is_misframed = 1, .has_keys = 1, .status = 400,
         .refusal = REFUSED_INVALID_REQUEST},
        {SERVICE_READY, .head = modern, .has_keys = 1, .status = 400,
         .refusal = REFUSED_INVALID_REQUEST},
        {SERVICE_READY, .head = doubled, .status = 400, .refusal = REFUSED_INVALID_REQUEST},
        {SERVICE_READY, .head = hosted},
        {SERVICE_READY, .method = "OPTIONS", .head = other, .no_route = 1, .has_keys = 1,
         .status = 204},
        {SERVICE_READY, .method = "OPTIONS", .no_route = 1, .has_keys = 1, .status = 401,
         .refusal = REFUSED_UNAUTHORIZED},
        {SERVICE_READY, .has_keys = 1, .status = 401, .refusal = REFUSED_UNAUTHORIZED},
        {SERVICE_READY, .has_keys = 1, .route = open},
        {SERVICE_READY, .no_route = 1, .has_keys = 1, .head = other, .status = 401,
         .refusal = REFUSED_UNAUTHORIZED},
        {SERVICE_READY, .no_route = 1, .status = 404, .refusal = REFUSED_NOT_FOUND},
        {SERVICE_READY, .no_route = 1, .path_is_cut = 1, .head = other, .status = 404,
         .refusal = REFUSED_NOT_FOUND},
        {SERVICE_LOADING, .no_route = 1, .head = other, .status = 405,
         .refusal = REFUSED_METHOD_NOT_ALLOWED},
        {SERVICE_LOADING, .head = large, .status = 503, .refusal = REFUSED_LOADING},
        {SERVICE_DRAINING, .head = large, .status = 503, .refusal = REFUSED_DRAINING},
        {SERVICE_LOADING, .route = always},
        {SERVICE_DRAINING, .route = always, .head = large, .status = 413,
         .refusal = REFUSED_TOO_LARGE},
        {SERVICE_READY, .head = gzip},
        {SERVICE_READY, .head = deflate},
        {SERVICE_READY, .head = twice, .status = 415, .refusal = REFUSED_UNSUPPORTED_MEDIA_TYPE},
        {SERVICE_READY, .head = packed, .status = 415, .refusal = REFUSED_UNSUPPORTED_MEDIA_TYPE},
    };
    for (size_t i = 0; i < sizeof SCENES / sizeof *SCENES; i++)
        check(i, &SCENES[i]);
}

static void parameters_end_where_they_say(void **state)
{
    (void)state;
    static const struct route route = {.params = PARAM_SCALE};
    struct request *request = calloc(1, sizeof *request);
    unsigned seen = 0;
    assert_non_null(request);
    request->service = &service;
    request->route = &route;
    assert_int_equal(judge_parameter(request, &seen, "scale", 5, "4", 1), 0);
    assert_int_equal(request->params.scale, 4);
    seen = 0;
    assert_int_equal(judge_parameter(request, &seen, "scale", 5, "4\0", 2), 400);
    seen = 0;
    assert_int_equal(judge_parameter(request, &seen, "scale\0", 6, "4", 1), 400);
    assert_int_equal(request->answer.refusal, REFUSED_INVALID_PARAMETER);
    assert_int_equal(judge_queue(request), 0); /* no step that computes */
    request_free(request);
}

static void a_route_may_ignore_its_query(void **state)
{
    (void)state;
    static const struct route route = {.ignores_query = 1};
    struct request *request = calloc(1, sizeof *request);
    unsigned seen = 0;
    assert_non_null(request);
    request->service = &service;
    request->route = &route;
    assert_int_equal(judge_parameter(request, &seen, "utm_source", 10, "x", 1), 0);
    assert_int_equal(judge_parameter(request, &seen, "utm_source", 10, NULL, 0), 0);
    assert_int_equal(judge_parameter(request, &seen, "\0", 1, "\0", 1), 0);
    request_free(request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_reason_is_told_in_its_turn),
        cmocka_unit_test(parameters_end_where_they_say),
        cmocka_unit_test(a_route_may_ignore_its_query),
    };
    engines_init(&service.engines);
    keys_init(&service.keys);
    return cmocka_run_group_tests_name("server judge", tests, NULL, NULL);
}
