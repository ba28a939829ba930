/*
 * test_heads.c - what HTTP/1.1 asks of a request's line and headers, byte for byte: its
 * target's forms, its Host, its Content-Length.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/http/fixtures.h"
#include "tests/http/harness.h"

static struct server *server;

static int start(void **state)
{
    (void)state;
    server = server_start(NO_ARGS, NO_ARGS);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    server_stop(server);
    return 0;
}

/* Sends a head, and checks how its only answer begins and what it holds. */
static void expect_head(const char *head, const char *status, const char *fragment)
{
    char answer[40000];
    raw_exchange(server, head, answer, sizeof answer);
    if (strncmp(answer, "HTTP/1.1 ", 9) != 0 || strncmp(answer + 9, status, 3) != 0 ||
        !strstr(answer, fragment) || strstr(answer + 1, "HTTP/1.1 "))
        fail_msg("%s got %.1000s", head, answer);
}

#define HOST_AND_CLOSE " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

/* As a client sends that takes this server for its proxy. */
static void absolute_targets_are_taken(void **state)
{
    (void)state;
    expect_head("GET http://any.example/healthz" HOST_AND_CLOSE, "200", "ok");
    expect_head("GET HTTP://any.example:8080/model?utm" HOST_AND_CLOSE, "400", "\"utm\\\"");
    expect_head("GET https://[::1]:1/model" HOST_AND_CLOSE, "200", "capsnet-test");
    expect_head("GET http://any.example" HOST_AND_CLOSE, "200", "<!doctype html>");
    expect_head("GET http://any.example/nothing" HOST_AND_CLOSE, "404", "at \\\"/nothing\\\"");
    expect_head("GET http://any.example//healthz" HOST_AND_CLOSE, "404", "not_found");
    expect_head("GET http://any.example/v2/nothing" HOST_AND_CLOSE, "404", "{\"error\": \"");
    expect_head("GET ftp://any.example/healthz" HOST_AND_CLOSE, "404", "not_found");
    struct bytes png = draw_png(0);
    char head[200], answer[8000];
    int n = snprintf(head, sizeof head,
                     "POST http://any.example/classify HTTP/1.1\r\nHost: any.example\r\n"
                     "Proxy-Connection: Keep-Alive\r\nConnection: close\r\n"
                     "Content-Length: %zu\r\n\r\n", png.nbytes);
    int fd = raw_connect(server, stretch_ms(5000));
    assert_int_equal(raw_send(fd, head, (size_t)n), 0);
    assert_int_equal(raw_send(fd, png.data, png.nbytes), 0);
    assert_true(raw_read_all(fd, answer, sizeof answer) > 0);
    close(fd);
    assert_int_equal(strncmp(answer, "HTTP/1.1 200 ", 13), 0);
    assert_non_null(strstr(answer, "\"predictions\""));
    free(png.data);
}

static void one_host_is_demanded(void **state)
{
    (void)state;
#define CLOSE "Connection: close\r\n\r\n"
    expect_head("GET /healthz HTTP/1.1\r\n" CLOSE, "400", "\"invalid_request\"");
    expect_head("GET /v2 HTTP/1.1\r\n" CLOSE, "400", "{\"error\": \"the request must have one Host");
    expect_head("GET http://any.example/ HTTP/1.1\r\n" CLOSE, "400", "\"invalid_request\"");
    expect_head("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: a\r\n" CLOSE, "400", "several");
    expect_head("GET /healthz HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", "400", "several");
    expect_head("GET /healthz HTTP/1.1\r\nHost:\r\n" CLOSE, "200", "ok");
    expect_head("GET /healthz HTTP/1.0\r\n\r\n", "200", "ok");
    expect_well(server);
}

static void options_may_ask_about_the_whole_server(void **state)
{
    (void)state;
    expect_head("OPTIONS *" HOST_AND_CLOSE, "204", "Allow: GET, HEAD, POST\r\n");
    expect_head("GET *" HOST_AND_CLOSE, "404", "not_found");
    expect_head("OPTIONS /nothing" HOST_AND_CLOSE, "404", "not_found");
}

/* libmicrohttpd answers these by itself, with two heads and HTML; see bad_lengths.h. */
static void lengths_that_are_no_number_are_refused(void **state)
{
    (void)state;
    static const char *const LENGTHS[] = {"+5",   "abc", "-1", "5, 5", "99999999999999999999999",
                                          "0x5", "5 5", ""};
    static const char *const TARGETS[] = {"POST /classify", "GET /healthz", "POST /v2/models/x/infer"};
    char head[300];
    for (size_t i = 0; i < sizeof LENGTHS / sizeof *LENGTHS; i++) {
        for (size_t k = 0; k < 3; k++) {
            snprintf(head, sizeof head,
                     "%s HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine-%zu\r\nContent-Length: %s"
                     "\r\n\r\nhello", TARGETS[k], i, LENGTHS[i]);
            char id[40];
            snprintf(id, sizeof id, "X-Request-Id: mine-%zu\r\n", i);
            expect_head(head, "400", id);
            expect_head(head, "400", "Content-Type: application/json\r\n");
            expect_head(head, "400", k == 2 ? "{\"error\": \"the Content-Length must be"
                                            : "{\"error\": {\"code\": \"invalid_request\"");
        }
    }
    expect_well(server);
}

/* Nobody else is told so: not one whose head is arriving too. */
static void a_bad_length_is_its_senders(void **state)
{
    (void)state;
    enum { N = 24 };
    static const char begin[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n";
    char answer[4000];
    int fds[N];
    for (size_t i = 0; i < N; i++) {
        fds[i] = raw_connect(server, stretch_ms(5000));
        assert_int_equal(raw_send(fds[i], begin, sizeof begin - 1), 0);
    }
    sleep_ms(50);
    for (size_t i = 0; i < N; i += 2) {
        static const char bad[] = "Content-Length: -1\r\n\r\n";
        assert_int_equal(raw_send(fds[i], bad, sizeof bad - 1), 0);
        assert_true(raw_read_all(fds[i], answer, sizeof answer) > 0);
        assert_int_equal(strncmp(answer, "HTTP/1.1 400 ", 13), 0);
        assert_non_null(strstr(answer, "\"invalid_request\""));
        assert_null(strstr(answer + 1, "HTTP/1.1"));
        close(fds[i]);
    }
    for (size_t i = 1; i < N; i += 2) {
        static const char good[] = "Content-Length: 0\r\nConnection: close\r\n\r\n";
        assert_int_equal(raw_send(fds[i], good, sizeof good - 1), 0);
        assert_true(raw_read_all(fds[i], answer, sizeof answer) > 0);
        assert_int_equal(strncmp(answer, "HTTP/1.1 200 ", 13), 0);
        close(fds[i]);
    }
    expect_well(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absolute_targets_are_taken),
        cmocka_unit_test(one_host_is_demanded),
        cmocka_unit_test(options_may_ask_about_the_whole_server),
        cmocka_unit_test(lengths_that_are_no_number_are_refused),
        cmocka_unit_test(a_bad_length_is_its_senders),
    };
    int failed = cmocka_run_group_tests_name("heads", tests, start, stop);
    server_kill_leftovers(NULL);
    return failed;
}
