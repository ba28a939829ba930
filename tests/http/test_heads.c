/*
 * test_heads.c - what HTTP/1.1 asks of a request's line and headers, byte for byte: its
 * target's forms, its Host.  What libmicrohttpd would refuse by itself: test_library_refusals.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/http/fixtures.h"
#include "tests/http/harness.h"
#include "tests/http/one_server.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absolute_targets_are_taken),
        cmocka_unit_test(one_host_is_demanded),
        cmocka_unit_test(options_may_ask_about_the_whole_server),
    };
    int failed = cmocka_run_group_tests_name("heads", tests, start, stop);
    server_kill_leftovers(NULL);
    return failed;
}
