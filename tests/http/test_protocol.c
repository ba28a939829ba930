/*
 * test_protocol.c - the routes without images, and what HTTP itself asks:
 * methods, paths, headers, connections, bytes that are no HTTP at all.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/http/fixtures.h"
#include "tests/http/harness.h"
#include "tests/http/one_server.h"

/* ---- /healthz, /readyz, /model ---------------------------------------- */

static void health_and_readiness_say_ok(void **state)
{
    (void)state;
    static const char *const paths[] = {"/healthz", "/readyz"};
    for (int i = 0; i < 2; i++) {
        struct reply *reply = http_send(server, &(struct request){.path = paths[i]});
        assert_int_equal(reply->status, 200);
        char type[80] = "";
        assert_true(reply_header(reply, "Content-Type", type, sizeof type));
        assert_int_equal(strncmp(type, "text/plain", 10), 0);
        assert_int_equal(strncmp((const char *)reply->body, "ok", 2), 0);
        reply_free(reply);
    }
}

static void head_is_get_without_a_body(void **state)
{
    (void)state;
    static const char *const paths[] = {"/healthz", "/readyz", "/model"};
    for (int i = 0; i < 3; i++) {
        struct reply *get = http_send(server, &(struct request){.path = paths[i]});
        struct reply *head =
            http_send(server, &(struct request){.method = "HEAD", .path = paths[i]});
        assert_int_equal(head->status, 200);
        assert_int_equal(head->nbytes, 0);
        char a[80] = "", b[80] = "";
        assert_true(reply_header(get, "Content-Type", a, sizeof a));
        assert_true(reply_header(head, "Content-Type", b, sizeof b));
        assert_string_equal(a, b);
        assert_true(reply_header(get, "Content-Length", a, sizeof a));
        assert_true(reply_header(head, "Content-Length", b, sizeof b));
        assert_string_equal(a, b);
        reply_free(get);
        reply_free(head);
    }
}

static void model_describes_itself(void **state)
{
    (void)state;
    struct reply *reply = http_send(server, &(struct request){.path = "/model"});
    assert_int_equal(reply->status, 200);
    cJSON *json = reply_json(reply);
    assert_string_equal(json_string(json, "name"), "capsnet-test");
    assert_true(*json_string(json, "version") != 0);
    const cJSON *labels = json_array(json, "labels", TEST_CLASSES);
    assert_string_equal(cJSON_GetArrayItem(labels, 0)->valuestring, "0");
    assert_string_equal(cJSON_GetArrayItem(labels, 9)->valuestring, "nine");
    const cJSON *shape = json_object(json, "shape");
    assert_true(json_number(shape, "height") == 28);
    assert_true(json_number(shape, "width") == 28);
    assert_true(json_number(shape, "channels") == 1);
    assert_true(json_number(shape, "classes") == TEST_CLASSES);
    assert_true(json_number(shape, "pose_dims") == TEST_POSE_DIMS);
    assert_true(json_number(shape, "routing_iterations") == 3);
    assert_string_equal(json_string(json, "precision"), "f32");
    assert_true(*json_string(json, "cpu_level") != 0);
    cJSON_Delete(json);
    reply_free(reply);
}

/* ---- 404 and 405 ------------------------------------------------------ */

static void unknown_paths_are_not_found(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "/nothing", "/classify/", "/Classify", "/healthz/x", "//healthz", "/../etc/passwd",
        "/%2e%2e/etc/passwd", "/healthz%00", "/v1/classify", "/model%20",
    };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        expect_refused(server, &(struct request){.path = paths[i]}, 404, "not_found", NULL);
    /* With a body too, even a large one. */
    struct bytes png = draw_png(0);
    expect_refused(server,
                   &(struct request){.path = "/nothing", .body = png.data, .nbytes = png.nbytes},
                   404, "not_found", NULL);
    free(png.data);
}

static void wrong_methods_name_the_right_ones(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path, *allow;
    } cases[] = {
        {"GET", "/classify", "POST"},   {"PUT", "/classify", "POST"},
        {"DELETE", "/pose", "POST"},    {"GET", "/reconstruct", "POST"},
        {"HEAD", "/classify", "POST"},  {"TRACE", "/classify", "POST"},
        {"POST", "/model", "GET"},      {"POST", "/healthz", "GET"},
        {"PATCH", "/readyz", "GET"},    {"BREW", "/model", "GET"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct reply *reply = http_send(
            server, &(struct request){.method = cases[i].method, .path = cases[i].path});
        if (strcmp(cases[i].method, "HEAD") == 0)
            assert_int_equal(reply->status, 405);
        else
            assert_error(reply, 405, "method_not_allowed", NULL);
        char allow[80] = "";
        if (!reply_header(reply, "Allow", allow, sizeof allow) || !strstr(allow, cases[i].allow))
            fail_msg("%s %s: Allow is \"%s\"", cases[i].method, cases[i].path, allow);
        reply_free(reply);
        expect_well(server);
    }
}

/* ---- Headers ---------------------------------------------------------- */

/* Sends a request with this X-Request-Id line and copies the answer's id. */
static void ask_id(const char *line, char *id, size_t size)
{
    struct reply *reply =
        http_send(server, &(struct request){.path = "/healthz", .headers = {line}});
    assert_int_equal(reply->status, 200);
    if (!reply_header(reply, "X-Request-Id", id, size)) fail_msg("no X-Request-Id");
    assert_true(strlen(id) >= 8 || (line && strstr(line, id)));
    reply_free(reply);
}

static void request_ids_are_kept_or_replaced(void **state)
{
    (void)state;
    char first[300], second[300], id[300];
    ask_id(NULL, first, sizeof first);
    ask_id(NULL, second, sizeof second);
    assert_string_not_equal(first, second);

    ask_id("X-Request-Id: abc-DEF_123.4", id, sizeof id);
    assert_string_equal(id, "abc-DEF_123.4");
    ask_id("x-request-id: 6ba7b810-9dad-11d1-80b4-00c04fd430c8", id, sizeof id);
    assert_string_equal(id, "6ba7b810-9dad-11d1-80b4-00c04fd430c8");

    char longest[600] = "X-Request-Id: ";
    memset(longest + strlen(longest), 'a', 500);
    const char *const insane[] = {
        longest, "X-Request-Id: a b", "X-Request-Id: <script>", "X-Request-Id: \"quoted\"",
        "X-Request-Id: \x1b[31mred", "X-Request-Id: caf\xc3\xa9", "X-Request-Id;",
    };
    for (size_t i = 0; i < sizeof insane / sizeof *insane; i++) {
        ask_id(insane[i], id, sizeof id);
        if (strstr(insane[i], id)) fail_msg("\"%s\" was echoed", insane[i]);
    }
}

/* Every answer has an id and its timings, whatever its status. */
static void check_headers(struct reply *reply)
{
    char value[400] = "";
    if (!reply_header(reply, "X-Request-Id", value, sizeof value) || !*value)
        fail_msg("status %ld has no X-Request-Id", reply->status);
    if (!reply_header(reply, "Server-Timing", value, sizeof value))
        fail_msg("status %ld has no Server-Timing", reply->status);
    if (reply->status == 200) {
        static const char *const names[] = {"decode", "queue", "infer", "encode"};
        for (int i = 0; i < 4; i++) {
            const char *entry = strstr(value, names[i]);
            if (!entry) fail_msg("Server-Timing \"%s\" lacks %s", value, names[i]);
            double ms = -1;
            assert_int_equal(sscanf(entry + strlen(names[i]), ";dur=%lf", &ms), 1);
            assert_true(ms >= 0 && ms < 20000);
        }
    }
    char connection[40] = "";
    reply_header(reply, "Connection", connection, sizeof connection);
    if (reply->status == 200) assert_string_not_equal(connection, "close");
    reply_free(reply);
}

static void every_response_has_id_and_timing(void **state)
{
    (void)state;
    struct bytes png = draw_png(0);
    check_headers(http_send(server, &(struct request){.path = "/classify",
                                                      .body = png.data,
                                                      .nbytes = png.nbytes}));
    check_headers(http_send(server, &(struct request){.path = "/reconstruct?sweep=1",
                                                      .body = png.data,
                                                      .nbytes = png.nbytes}));
    check_headers(http_send(server, &(struct request){.path = "/classify?x=1",
                                                      .body = png.data,
                                                      .nbytes = png.nbytes}));
    check_headers(http_send(server, &(struct request){.path = "/nothing"}));
    check_headers(http_send(server, &(struct request){.path = "/classify"}));
    check_headers(
        http_send(server, &(struct request){.path = "/classify", .body = "x", .nbytes = 1}));
    free(png.data);
}

static void connections_are_kept(void **state)
{
    (void)state;
    struct bytes png = draw_png(0);
    CURL *curl = curl_easy_init();
    assert_non_null(curl);
    /* Refusals included: a client that errs need not connect anew. */
    const struct request requests[] = {
        {.path = "/classify", .body = png.data, .nbytes = png.nbytes},
        {.path = "/classify", .body = png.data, .nbytes = png.nbytes, .chunked = 1},
        {.path = "/model"},
        {.path = "/nothing"},
        {.method = "HEAD", .path = "/healthz"},
        {.path = "/classify", .body = png.data, .nbytes = 20},
        {.path = "/reconstruct", .body = png.data, .nbytes = png.nbytes},
    };
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        struct reply *reply = http_send_on(curl, server->url, &requests[i]);
        if (reply->status == 0) fail_msg("%s", reply->error);
        if (reply->connects != (i == 0)) fail_msg("request %zu: a new connection", i);
        reply_free(reply);
    }
    curl_easy_cleanup(curl);
    free(png.data);
}

static void the_log_has_one_clean_line_a_request(void **state)
{
    (void)state;
    struct server *other = server_start(NO_ARGS, NO_ARGS);
    char *before = server_log(other);
    size_t skip_bytes = strlen(before);
    free(before);
    struct bytes png = draw_png(0);
    reply_free(http_send(other, &(struct request){.path = "/classify",
                                                  .body = png.data,
                                                  .nbytes = png.nbytes,
                                                  .headers = {"X-Request-Id: in-the-log"}}));
    reply_free(http_send(other, &(struct request){.path = "/a%0a%1b[31mb"}));
    char answer[4000];
    raw_exchange(other, "GET /raw\x1b\x7f HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                 answer, sizeof answer);
    reply_free(http_send(other, &(struct request){.path = "/healthz"}));
    free(png.data);
    server_terminate(other);
    while (server_alive(other)) sleep_ms(5);
    char *log = server_log(other);
    const char *text = log + skip_bytes;
    int classify = 0, path = 0;
    for (const char *at = strstr(text, "/classify"); at; at = strstr(at + 1, "/classify"))
        classify++;
    for (const char *at = strstr(text, "/a"); at; at = strstr(at + 1, "/a")) path++;
    assert_int_equal(classify, 1);
    assert_int_equal(path, 1);
    assert_non_null(strstr(text, "in-the-log"));
    for (const char *at = text; *at; at++)
        if ((unsigned char)*at != '\n' && ((unsigned char)*at < 32 || (unsigned char)*at > 126))
            fail_msg("the log holds the byte 0x%02x: %s", (unsigned)(unsigned char)*at, text);
    free(log);
    server_finish(other);
}

/* ---- Bytes on the wire ------------------------------------------------ */

static void what_is_no_http_does_no_harm(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "\r\n\r\n\r\n", "nonsense\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n",
        "\x16\x03\x01\x02\x01\x01", "POST /classify HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: ten\r\n\r\n0123456789",
        "POST /classify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "POST /classify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        "fffffffffffffffff\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nno colon here\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        int fd = raw_connect(server, 10000);
        raw_send(fd, texts[i], strlen(texts[i]));
        char answer[4000];
        /* Half of these wait for more: end the request from our side. */
        close(fd);
        expect_well(server);
        if (i % 2) continue;
        fd = raw_connect(server, 300);
        raw_send(fd, texts[i], strlen(texts[i]));
        if (raw_read_all(fd, answer, sizeof answer) > 12 && strncmp(answer, "HTTP/1.1 5", 10) == 0)
            fail_msg("text %zu: %s", i, answer);
        close(fd);
    }
    expect_well(server);
}

static void clients_that_hang_up_do_no_harm(void **state)
{
    (void)state;
    struct bytes png = draw_png(0);
    char head[200];
    int n = snprintf(head, sizeof head,
                     "POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n",
                     png.nbytes);
    for (size_t cut = 1; cut < 6; cut++) {
        int fd = raw_connect(server, 1000); /* in the body */
        raw_send(fd, head, (size_t)n);
        raw_send(fd, png.data, png.nbytes * cut / 6);
        close(fd);
        fd = raw_connect(server, 1000); /* in the headers */
        raw_send(fd, head, (size_t)n * cut / 6);
        close(fd);
        fd = raw_connect(server, 1000); /* while the answer is made */
        raw_send(fd, head, (size_t)n);
        raw_send(fd, png.data, png.nbytes);
        close(fd);
    }
    expect_well(server);
    free(png.data);
}

static void pipelined_requests_get_their_answers_in_order(void **state)
{
    (void)state;
    char answer[8000];
    raw_exchange(server,
                 "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
                 "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
                 "GET /model HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                 answer, sizeof answer);
    const char *first = strstr(answer, "HTTP/1.1 200");
    assert_non_null(first);
    const char *second = strstr(first, "HTTP/1.1 404");
    assert_non_null(second);
    const char *third = strstr(second, "HTTP/1.1 200");
    assert_non_null(third);
    assert_non_null(strstr(third, "capsnet-test"));
}

/* Where a body ends must be beyond doubt, or a balancer's next request could begin
 * within it: 400 and the end of the connection, at once. */
static void doubtful_bodies_are_refused(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "POST /classify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        "POST /classify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "POST /classify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        "Content-Length: 5\r\n\r\n0\r\n\r\n",
        "POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "GET /model HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        char answer[4000];
        raw_exchange(server, heads[i], answer, sizeof answer);
        if (strncmp(answer, "HTTP/1.1 400 ", 13) != 0 || !strstr(answer, "one Content-Length") ||
            !strstr(answer, "\"invalid_request\"") ||
            strstr(answer + 1, "HTTP/1.1"))
            fail_msg("%s got %s", heads[i], answer);
    }
    char answer[8000];
    raw_exchange(server,
                 "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n"
                 "Connection: close\r\n\r\nhi",
                 answer, sizeof answer);
    assert_int_equal(strncmp(answer, "HTTP/1.1 200 ", 13), 0);
    expect_well(server);
}

static void expect_continue_is_answered(void **state)
{
    (void)state;
    struct bytes png = draw_png(0);
    char head[300], answer[8000];
    int n = snprintf(head, sizeof head,
                     "POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n"
                     "Expect: 100-continue\r\nConnection: close\r\n\r\n",
                     png.nbytes);
    int fd = raw_connect(server, 5000);
    assert_int_equal(raw_send(fd, head, (size_t)n), 0);
    assert_int_equal(raw_send(fd, png.data, png.nbytes), 0);
    assert_true(raw_read_all(fd, answer, sizeof answer) > 0);
    close(fd);
    assert_int_equal(strncmp(answer, "HTTP/1.1 100", 12), 0);
    assert_non_null(strstr(answer, "HTTP/1.1 200"));
    free(png.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(health_and_readiness_say_ok),
        cmocka_unit_test(head_is_get_without_a_body),
        cmocka_unit_test(model_describes_itself),
        cmocka_unit_test(unknown_paths_are_not_found),
        cmocka_unit_test(wrong_methods_name_the_right_ones),
        cmocka_unit_test(request_ids_are_kept_or_replaced),
        cmocka_unit_test(every_response_has_id_and_timing),
        cmocka_unit_test(connections_are_kept),
        cmocka_unit_test(the_log_has_one_clean_line_a_request),
        cmocka_unit_test(what_is_no_http_does_no_harm),
        cmocka_unit_test(clients_that_hang_up_do_no_harm),
        cmocka_unit_test(pipelined_requests_get_their_answers_in_order),
        cmocka_unit_test(doubtful_bodies_are_refused),
        cmocka_unit_test(expect_continue_is_answered),
    };
    int failed = cmocka_run_group_tests_name("protocol", tests, start, stop);
    server_kill_leftovers(NULL);
    return failed;
}
