/*
 * test_openapi.c - /openapi.json against the server that serves it: every
 * route and query parameter is in it and no other, and every answer, good or
 * bad, has the status, the headers, the content type and the fields that it
 * declares.  A keyword that the checker does not know fails the test.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* The server's struct request is another than the harness's. */
#define request server_request
#include "server/request/query_params.h"
#include "server/answers/routes.h"
#undef request

#include "tests/http/fixtures.h"
#include "tests/http/harness.h"

enum { MAX_BODY = 20000, MAX_OPERATIONS = 64 };

static struct server *server;
static cJSON *document;

static const cJSON *member(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

static int start(void **state)
{
    (void)state;
    server = server_start(ARGS("--max-body-bytes", "20000", "--request-deadline-s", "1"), NO_ARGS);
    struct reply *reply = http_send(server, &(struct request){.path = "/openapi.json"});
    document = reply_json(reply);
    reply_free(reply);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    cJSON_Delete(document);
    server_stop(server);
    return 0;
}

/* ---- The document ------------------------------------------------------- */

/* What a "$ref" leads to, or the item itself. */
static const cJSON *resolve(const cJSON *item)
{
    const cJSON *ref = member(item, "$ref");
    if (!ref)
        return item;
    char pointer[200];
    snprintf(pointer, sizeof pointer, "%s", ref->valuestring);
    assert_int_equal(strncmp(pointer, "#/", 2), 0);
    const cJSON *at = document;
    char *rest = NULL;
    for (char *key = strtok_r(pointer + 2, "/", &rest); key; key = strtok_r(NULL, "/", &rest))
        at = member(at, key);
    if (!at)
        fail_msg("%s leads nowhere", ref->valuestring);
    return resolve(at);
}

/* Does a path fit the document's template?  {x} fits one segment. */
static int fits(const char *template, const char *path)
{
    while (*template) {
        if (*template == '{') {
            template += strcspn(template, "}") + 1;
            path += strcspn(path, "/?");
        } else if (*template++ != *path++) {
            return 0;
        }
    }
    return *path == 0 || *path == '?';
}

/* The operation for a method ("get", "post") and a path; NULL: none. */
static const cJSON *operation(const char *method, const char *path)
{
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, json_object(document, "paths")) if (fits(item->string, path) &&
                                                                 member(item, method))
        return member(item, method);
    return NULL;
}

/* ---- A checker of JSON Schema, as much of it as the document uses -------- */

static int check(const cJSON *schema, const cJSON *value, char *why, size_t size);

static int is_type(const cJSON *value, const char *type)
{
    return strcmp(type, "object") == 0    ? cJSON_IsObject(value)
           : strcmp(type, "array") == 0   ? cJSON_IsArray(value)
           : strcmp(type, "string") == 0  ? cJSON_IsString(value)
           : strcmp(type, "boolean") == 0 ? cJSON_IsBool(value)
           : strcmp(type, "null") == 0    ? cJSON_IsNull(value)
           : strcmp(type, "number") == 0  ? cJSON_IsNumber(value)
                                          : strcmp(type, "integer") == 0 && cJSON_IsNumber(value) &&
                                               value->valuedouble == floor(value->valuedouble);
}

static int check_type(const cJSON *types, const cJSON *value)
{
    if (cJSON_IsString(types))
        return is_type(value, types->valuestring);
    const cJSON *type = NULL;
    cJSON_ArrayForEach(type, types) if (is_type(value, type->valuestring)) return 1;
    return 0;
}

static int check_enum(const cJSON *values, const cJSON *value)
{
    const cJSON *one = NULL;
    cJSON_ArrayForEach(one, values) if (cJSON_Compare(one, value, 1)) return 1;
    return 0;
}

/* Every member of the value is declared (or fits additionalProperties), and
 * every required one is there. */
static int check_members(const cJSON *schema, const cJSON *value, char *why, size_t size)
{
    const cJSON *item = NULL, *others = member(schema, "additionalProperties");
    cJSON_ArrayForEach(item, value)
    {
        const cJSON *declared = member(member(schema, "properties"), item->string);
        if (!declared && !cJSON_IsObject(others)) {
            snprintf(why, size, "\"%s\" is not declared", item->string);
            return 0;
        }
        if (!check(declared ? declared : others, item, why, size))
            return 0;
    }
    cJSON_ArrayForEach(item, member(schema, "required")) if (!member(value, item->valuestring))
    {
        snprintf(why, size, "\"%s\" is missing", item->valuestring);
        return 0;
    }
    return 1;
}

static int check_keyword(const cJSON *keyword, const cJSON *value)
{
    static const char *const NOTES[] = {"description",     "default",  "contentEncoding",
                                        "contentMediaType", "format", "properties", "required",
                                        "additionalProperties", "items",
                                        "oneOf" /* check() */};
    const char *name = keyword->string;
    double number = cJSON_IsNumber(value) ? value->valuedouble : 0;
    if (strcmp(name, "type") == 0)
        return check_type(keyword, value);
    if (strcmp(name, "enum") == 0)
        return check_enum(keyword, value);
    if (strcmp(name, "const") == 0)
        return cJSON_Compare(keyword, value, 1);
    if (strcmp(name, "minimum") == 0)
        return number >= keyword->valuedouble;
    if (strcmp(name, "maximum") == 0)
        return number <= keyword->valuedouble;
    if (strcmp(name, "minItems") == 0)
        return cJSON_GetArraySize(value) >= keyword->valueint;
    if (strcmp(name, "maxItems") == 0)
        return cJSON_GetArraySize(value) <= keyword->valueint;
    for (size_t i = 0; i < sizeof NOTES / sizeof *NOTES; i++)
        if (strcmp(name, NOTES[i]) == 0)
            return 1;
    fail_msg("the checker does not know the keyword \"%s\"", name);
    return 0;
}

/* Exactly one of the schemas fits. */
static int check_one_of(const cJSON *schemas, const cJSON *value, char *why, size_t size)
{
    const cJSON *one = NULL;
    int fitting = 0;
    cJSON_ArrayForEach(one, schemas) fitting += check(one, value, why, size);
    return fitting == 1;
}

/* Does the value fit the schema?  why: [size], set when not. */
static int check(const cJSON *schema, const cJSON *value, char *why, size_t size)
{
    schema = resolve(schema);
    const cJSON *keyword = NULL, *item = NULL;
    cJSON_ArrayForEach(keyword, schema) if (!check_keyword(keyword, value))
    {
        char *text = cJSON_PrintUnformatted(value);
        snprintf(why, size, "%s: %.100s violates \"%s\"", value->string ? value->string : "",
                 text, keyword->string);
        free(text);
        return 0;
    }
    if (member(schema, "oneOf") && !check_one_of(member(schema, "oneOf"), value, why, size))
        return 0;
    if (cJSON_IsObject(value) && (member(schema, "properties") || member(schema, "required") ||
                                  member(schema, "additionalProperties")))
        return check_members(schema, value, why, size);
    if (member(schema, "items"))
        cJSON_ArrayForEach(item, value) if (!check(member(schema, "items"), item, why, size))
            return 0;
    return 1;
}

/* ---- Answers against it --------------------------------------------------- */

/* Statuses seen, by operation: to know in the end what was never tried. */
static struct {
    const cJSON *operation;
    unsigned n_statuses;
    int statuses[12];
} seen[MAX_OPERATIONS];

static void note(const cJSON *op, int status)
{
    size_t i = 0;
    while (seen[i].operation && seen[i].operation != op)
        i++;
    assert_in_range(i, 0, MAX_OPERATIONS - 1);
    seen[i].operation = op;
    for (unsigned k = 0; k < seen[i].n_statuses; k++)
        if (seen[i].statuses[k] == status)
            return;
    assert_in_range(seen[i].n_statuses, 0, 11);
    seen[i].statuses[seen[i].n_statuses++] = status;
}

static void check_headers(const char *what, const cJSON *response, const struct reply *reply)
{
    const cJSON *item = NULL;
    char value[600];
    cJSON_ArrayForEach(item, member(response, "headers"))
    {
        int is_there = reply_header(reply, item->string, value, sizeof value);
        if (cJSON_IsTrue(member(resolve(item), "required")) && !is_there)
            fail_msg("%s: the header %s is missing", what, item->string);
    }
}

static void check_body(const char *what, const cJSON *response, const struct reply *reply)
{
    char type[100] = "", length[40], why[400];
    reply_header(reply, "Content-Type", type, sizeof type);
    type[strcspn(type, ";")] = 0;
    const cJSON *content = member(member(response, "content"), type);
    if (!content && (reply->nbytes || *type) && member(response, "content"))
        fail_msg("%s: the content type \"%s\" is not declared", what, type);
    if (!content)
        return;
    int is_mixed = reply_header(reply, "Inference-Header-Content-Length", length, sizeof length);
    if (is_mixed)
        content = member(member(response, "content"), "application/json");
    cJSON *value = strcmp(type, "application/json") == 0 || is_mixed
                       ? cJSON_ParseWithLength((const char *)reply->body,
                                               is_mixed ? strtoul(length, NULL, 10) : reply->nbytes)
                       : cJSON_CreateString((const char *)reply->body);
    if (!value)
        fail_msg("%s: this is no JSON: %.200s", what, (const char *)reply->body);
    if (!check(member(content, "schema"), value, why, sizeof why))
        fail_msg("%s: %s", what, why);
    cJSON_Delete(value);
}

/* Sends a request and checks its answer against what is declared for it. */
static void expect_on(CURL *curl, const struct request *request, int status)
{
    const char *method = request->method ? request->method
                         : request->body || request->parts ? "POST" : "GET";
    const cJSON *op = operation(strcmp(method, "POST") == 0 ? "post" : "get", request->path);
    char what[300], code[12];
    snprintf(what, sizeof what, "%s %s -> %d", method, request->path, status);
    if (!op)
        fail_msg("%s: no such operation", what);
    struct reply *reply = http_send_on(curl, server->url, request);
    if (reply->status != status)
        fail_msg("%s: it was %ld: %.300s", what, reply->status, (const char *)reply->body);
    snprintf(code, sizeof code, "%d", status);
    const cJSON *response = resolve(member(member(op, "responses"), code));
    if (!response)
        fail_msg("%s: the status is not declared", what);
    check_headers(what, response, reply);
    check_body(what, response, reply);
    note(op, status);
    reply_free(reply);
}

static void expect(const struct request *request, int status)
{
    expect_on(server->curl, request, status);
}

#define OIP "/v2/models/capsnet-test"
#define TENSOR "{\"id\":\"x\",\"inputs\":[{\"name\":\"image\",\"datatype\":\"BYTES\",\"shape\":[1],\"data\":"

/* Paths of all operations, as a client fills them in. */
static const struct {
    const char *method, *path;
} OPERATIONS[] = {
    {"POST", "/classify"},
    {"POST", "/pose"},
    {"POST", "/reconstruct"},
    {"GET", "/model"},
    {"GET", "/models"},
    {"GET", "/healthz"},
    {"GET", "/readyz"},
    {"GET", "/metrics"},
    {"GET", "/openapi.json"},
    {"GET", "/"},
    {"GET", "/web/style.css"},
    {"GET", "/v2"},
    {"GET", "/v2/health/live"},
    {"GET", "/v2/health/ready"},
    {"GET", OIP},
    {"GET", OIP "/ready"},
    {"GET", "/v2/models/stats"},
    {"GET", OIP "/stats"},
    {"GET", OIP "/versions/1/stats"},
    {"GET", OIP "/config"},
    {"GET", OIP "/versions/1/config"},
    {"POST", "/v2/repository/index"},
    {"POST", OIP "/infer"},
    {"GET", OIP "/versions/1"},
    {"GET", OIP "/versions/1/ready"},
    {"POST", OIP "/versions/1/infer"},
};
enum { N_OPERATIONS = sizeof OPERATIONS / sizeof *OPERATIONS };

static void good_answers_are_as_declared(void **state)
{
    (void)state;
    struct bytes png = draw_png(1);
    char *images = images_json(&png, 1), json[5000], pose[400] = "{\"class\":1,\"pose\":[0";
    static const char *const PATHS[] = {"/classify", "/classify?poses=1&normalize=fit",
                                        "/classify?routing=1", "/classify?split=1", "/pose",
                                        "/reconstruct", "/reconstruct?class=2&scale=2&sweep=1",
                                        "/reconstruct?class=detected"};
    for (size_t i = 0; i < sizeof PATHS / sizeof *PATHS; i++) {
        expect(&(struct request){.path = PATHS[i], .body = png.data, .nbytes = png.nbytes}, 200);
        expect(&(struct request){.path = PATHS[i], .body = images, .nbytes = strlen(images),
                                 .headers = {"Content-Type: application/json",
                                             "Accept: application/json"}}, 200);
        expect(&(struct request){.path = PATHS[i], .n_parts = 1,
                                 .parts = (struct part[]){{"image", "a.png", png.data,
                                                           png.nbytes}}}, 200);
    }
    for (int i = 1; i < TEST_POSE_DIMS; i++)
        strcat(pose, ",0.1");
    strcat(pose, "]}");
    expect(&(struct request){.path = "/reconstruct", .body = pose, .nbytes = strlen(pose),
                             .headers = {"Content-Type: application/json",
                                         "Accept: application/json"}}, 200);
    expect(&(struct request){.path = "/classify?routing=1", .body = png.data, .nbytes = png.nbytes,
                             .headers = {"Accept: image/png"}}, 200);
    for (int binary = 0; binary < 2; binary++) {
        snprintf(json, sizeof json, TENSOR "%.*s}],\"outputs\":[{\"name\":\"coupling\","
                 "\"parameters\":{\"binary_data\":%s}}]}",
                 (int)strlen(strchr(images, '[')) - 1, strchr(images, '['),
                 binary ? "true" : "false");
        expect(&(struct request){.path = OIP "/infer", .body = json, .nbytes = strlen(json)}, 200);
        snprintf(json, sizeof json, TENSOR "%.*s}],\"parameters\":{\"binary_data_output\":%s}}",
                 (int)strlen(strchr(images, '[')) - 1, strchr(images, '['),
                 binary ? "true" : "false");
        expect(&(struct request){.path = OIP "/infer", .body = json, .nbytes = strlen(json)}, 200);
        expect(&(struct request){.path = OIP "/versions/1/infer", .body = json,
                                 .nbytes = strlen(json)}, 200);
    }
    expect(&(struct request){.path = "/v2/repository/index", .body = "{\"ready\": true}",
                             .nbytes = 15}, 200);
    for (size_t i = 0; i < N_OPERATIONS; i++)
        if (strcmp(OPERATIONS[i].method, "GET") == 0)
            expect(&(struct request){.path = OPERATIONS[i].path}, 200);
    static const char *const CACHED[] = {"/", "/openapi.json", "/web/style.css"};
    for (size_t i = 0; i < 3; i++) {
        struct reply *reply = http_send(server, &(struct request){.path = CACHED[i]});
        char etag[40], header[80];
        assert_true(reply_header(reply, "ETag", etag, sizeof etag));
        reply_free(reply);
        snprintf(header, sizeof header, "If-None-Match: %s", etag);
        expect(&(struct request){.path = CACHED[i], .headers = {header}}, 304);
    }
    free(images);
    free(png.data);
}

/* Every operation's refusals. */
static void bad_answers_are_as_declared(void **state)
{
    (void)state;
    char *large = calloc(MAX_BODY + 1, 1);
    assert_non_null(large);
    for (size_t i = 0; i < N_OPERATIONS; i++) {
        const char *method = OPERATIONS[i].method;
        char path[200];
        snprintf(path, sizeof path, "%s?unheard=of", OPERATIONS[i].path);
        const char *allow;
        struct segment segments[ROUTE_SEGMENTS];
        const struct route *route = route_find(OPERATIONS[i].path, method, &allow, segments);
        expect(&(struct request){.method = method, .path = path, .body = "x", .nbytes = 1},
               route->ignores_query ? 200 : 400);
        expect(&(struct request){.method = method, .path = OPERATIONS[i].path,
                                 .body = "x", .nbytes = 1, .headers = {"Host:"}}, 400);
        expect(&(struct request){.method = method, .path = OPERATIONS[i].path, .body = "x",
                                 .nbytes = 1, .headers = {"Content-Encoding: br"}}, 415);
        expect(&(struct request){.method = method, .path = OPERATIONS[i].path, .body = large,
                                 .nbytes = MAX_BODY + 1}, 413);
        if (strncmp(OPERATIONS[i].path, OIP, strlen(OIP)) != 0)
            continue;
        snprintf(path, sizeof path, "/v2/models/other%s", OPERATIONS[i].path + strlen(OIP));
        expect(&(struct request){.method = method, .path = path,
                                 .body = strcmp(method, "POST") == 0 ? "{}" : NULL, .nbytes = 2},
               404);
    }
    expect(&(struct request){.path = "/web/nothing.js"}, 404);
    static const char *const MODELS[] = {"/classify", "/pose", "/reconstruct", "/model"};
    for (size_t i = 0; i < sizeof MODELS / sizeof *MODELS; i++) {
        char path[60];
        snprintf(path, sizeof path, "%s?model=other", MODELS[i]);
        expect(&(struct request){.path = path, .body = i < 3 ? "x" : NULL, .nbytes = i < 3}, 404);
    }
    free(large);
}

/* 408: a body that never ends, to every operation at once. */
static void late_requests_are_told_as_declared(void **state)
{
    (void)state;
    int fds[N_OPERATIONS];
    for (size_t i = 0; i < N_OPERATIONS; i++) {
        char head[300];
        snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx",
                 OPERATIONS[i].method, OPERATIONS[i].path);
        fds[i] = raw_connect(server, stretch_ms(10000));
        assert_int_equal(raw_send(fds[i], head, strlen(head)), 0);
    }
    for (size_t i = 0; i < N_OPERATIONS; i++) {
        char answer[2000];
        assert_true(raw_read_all(fds[i], answer, sizeof answer) > 0);
        close(fds[i]);
        char *body = strstr(answer, "\r\n\r\n");
        assert_non_null(body);
        assert_int_equal(strncmp(answer, "HTTP/1.1 408 ", 13), 0);
        body[2] = 0;
        body += 4;
        const cJSON *op = operation(*OPERATIONS[i].method == 'P' ? "post" : "get",
                                    OPERATIONS[i].path);
        const cJSON *response = resolve(member(member(op, "responses"), "408"));
        assert_non_null(response);
        struct reply reply = {.status = 408, .headers = strchr(answer, '\n') + 1,
                              .body = (uint8_t *)body, .nbytes = strlen(body)};
        check_headers(OPERATIONS[i].path, response, &reply);
        check_body(OPERATIONS[i].path, response, &reply);
        note(op, 408);
    }
}

/* 503: a server that finishes one slow request before it ends has others on
 * connections that were there before. */
static void refusals_of_a_draining_server_are_as_declared(void **state)
{
    (void)state;
    struct server *mine = server;
    server = server_start(ARGS("--batch-delay-us", "2000000"), NO_ARGS);
    CURL *curls[N_OPERATIONS];
    for (size_t i = 0; i < N_OPERATIONS; i++) {
        curls[i] = curl_easy_init();
        assert_non_null(curls[i]);
        expect_on(curls[i], &(struct request){.path = "/healthz"}, 200);
    }
    struct bytes png = draw_png(0);
    struct request request = {.path = "/classify", .body = png.data, .nbytes = png.nbytes};
    struct reply *slow = NULL;
    struct flight *flight = http_launch(server, &request, 1);
    sleep_ms(stretch_ms(300));
    server_terminate(server);
    sleep_ms(stretch_ms(100));
    for (size_t i = 0; i < N_OPERATIONS; i++) {
        const char *allow;
        struct segment segments[ROUTE_SEGMENTS];
        const struct route *route =
            route_find(OPERATIONS[i].path, OPERATIONS[i].method, &allow, segments);
        assert_non_null(route);
        expect_on(curls[i], &(struct request){.method = OPERATIONS[i].method,
                                              .path = OPERATIONS[i].path},
                  route->always ? 200 : 503);
        curl_easy_cleanup(curls[i]);
    }
    http_land(flight, &slow);
    assert_int_equal(slow->status, 200);
    reply_free(slow);
    server_finish(server);
    server = mine;
    free(png.data);
}

/* ---- The document against the table of routes ----------------------------- */

static void every_route_is_declared(void **state)
{
    (void)state;
    size_t routes = 0, operations = 0;
    for (const struct route *route; (route = route_at(routes)); routes++) {
        const cJSON *op = operation(strcmp(route->method, "POST") == 0 ? "post" : "get",
                                    route->path);
        if (!op)
            fail_msg("%s %s is not in the document", route->method, route->path);
        if (strncmp(route->path, "/web/", 5) == 0) {
            cJSON *file = cJSON_CreateString(route->path + 5);
            const cJSON *declared = member(member(json_object(document, "components"),
                                                  "parameters"), "file");
            assert_true(check_enum(member(member(declared, "schema"), "enum"), file));
            cJSON_Delete(file);
        }
    }
    const cJSON *path = NULL, *op = NULL;
    cJSON_ArrayForEach(path, json_object(document, "paths")) cJSON_ArrayForEach(op, path)
    {
        int is_served = 0;
        for (size_t i = 0; i < routes; i++)
            is_served |= strcasecmp(route_at(i)->method, op->string) == 0 &&
                         fits(path->string, route_at(i)->path);
        if (!is_served)
            fail_msg("%s %s is in the document only", op->string, path->string);
        operations++;
    }
    assert_int_equal(operations, N_OPERATIONS); /* each is tried above */
}

/* A route takes the query parameters that are declared for it, and no other
 * that is declared for any. */
static void query_parameters_are_declared(void **state)
{
    (void)state;
    const cJSON *all = member(json_object(document, "components"), "parameters"), *one = NULL;
    for (size_t i = 0; route_at(i); i++) {
        const struct route *route = route_at(i);
        const cJSON *op = operation(strcmp(route->method, "POST") == 0 ? "post" : "get",
                                    route->path);
        unsigned flags = 0;
        cJSON_ArrayForEach(one, all)
        {
            if (strcmp(json_string(one, "in"), "query") != 0)
                continue;
            int is_declared = 0;
            const cJSON *ref = NULL;
            cJSON_ArrayForEach(ref, member(op, "parameters")) is_declared |= resolve(ref) == one;
            struct params params = {0};
            unsigned before = flags;
            char message[256], value[40];
            const cJSON *values = member(member(one, "schema"), "enum");
            int is_text = values && cJSON_IsString(values->child);
            snprintf(value, sizeof value, "%s", is_text ? values->child->valuestring : "1");
            int taken = params_set(&params, route->params, &flags, json_string(one, "name"), value,
                                   10, message, sizeof message) == 0;
            if (taken != is_declared)
                fail_msg("%s takes %s: %d, declared: %d", route->path, json_string(one, "name"),
                         taken, is_declared);
            assert_int_equal(flags != before, taken);
        }
        assert_int_equal(flags, route->params); /* none is left that is not declared */
    }
}

static void the_version_is_the_servers(void **state)
{
    (void)state;
    struct reply *reply = http_send(server, &(struct request){.path = "/model"});
    cJSON *model = reply_json(reply);
    assert_string_equal(json_string(json_object(document, "info"), "version"),
                        json_string(model, "version"));
    cJSON_Delete(model);
    reply_free(reply);
}

/* Does an operation's route answer while draining? */
static int is_always(const cJSON *op)
{
    for (size_t i = 0; i < N_OPERATIONS; i++) {
        const char *allow;
        struct segment segments[ROUTE_SEGMENTS];
        const struct route *route =
            route_find(OPERATIONS[i].path, OPERATIONS[i].method, &allow, segments);
        if (route && operation(*OPERATIONS[i].method == 'P' ? "post" : "get",
                               OPERATIONS[i].path) == op)
            return route->always;
    }
    return 0;
}

/* The last test: every declared status was met above.  What answers while the
 * server drains is refused with 503 only when memory is short: not tried. */
static void every_declared_status_was_met(void **state)
{
    (void)state;
    const cJSON *response = NULL;
    for (size_t i = 0; i < MAX_OPERATIONS && seen[i].operation; i++)
        cJSON_ArrayForEach(response, member(seen[i].operation, "responses"))
        {
            int status = atoi(response->string), is_met = 0;
            for (unsigned k = 0; k < seen[i].n_statuses; k++)
                is_met |= seen[i].statuses[k] == status;
            if (!is_met && !(status == 503 && is_always(seen[i].operation)))
                fail_msg("%s: %d was never met", json_string(seen[i].operation, "operationId"),
                         status);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_is_declared),
        cmocka_unit_test(query_parameters_are_declared),
        cmocka_unit_test(the_version_is_the_servers),
        cmocka_unit_test(good_answers_are_as_declared),
        cmocka_unit_test(bad_answers_are_as_declared),
        cmocka_unit_test(late_requests_are_told_as_declared),
        cmocka_unit_test(refusals_of_a_draining_server_are_as_declared),
        cmocka_unit_test(every_declared_status_was_met),
    };
    int failed = cmocka_run_group_tests_name("openapi", tests, start, stop);
    server_kill_leftovers(NULL);
    return failed;
}
