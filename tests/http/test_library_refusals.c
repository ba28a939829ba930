/*
 * test_library_refusals.c - what libmicrohttpd would refuse by itself, with HTML, with two
 * heads or without a word, gets one head and our JSON: over plain HTTP and over TLS, as the
 * first request of a connection and as the second.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/http/fixtures.h"
#include "tests/http/harness.h"
#include "tests/http/tls.h"

static struct server *server, *tls_server;

static int start(void **state)
{
    (void)state;
    char cert[300], key[300];
    snprintf(cert, sizeof cert, "%s/cert.pem", test_folder());
    snprintf(key, sizeof key, "%s/key.pem", test_folder());
    make_certificate(cert, key);
    server = server_start(NO_ARGS, NO_ARGS);
    tls_server = server_start_tls(cert, key);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    server_stop(server);
    server_stop(tls_server);
    return 0;
}

static const char GOOD[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

enum { ANSWERS = 40000 };

/* Sends text over TLS or not, behind a good request or not, and reads until the server
 * closes.  Returns what came, behind the answer to the good request. */
static const char *exchange(const char *text, int tls, int second, char answer[ANSWERS])
{
    char first[1000];
    size_t n = 0;
    const size_t text_nbytes = strlen(text);
    long got;
    if (tls) {
        struct tls_line *line = tls_connect(tls_server, 10000);
        if (second) assert_int_equal(tls_send(line, GOOD, strlen(GOOD)), 0);
        for (; second && !(n >= 2 && memcmp(first + n - 2, "ok", 2) == 0); n++)
            assert_int_equal(tls_read_all(line, first + n, 2), 1);
        tls_send(line, text, text_nbytes);
        got = tls_read_all(line, answer, ANSWERS);
        tls_close(line);
    } else {
        const int fd = raw_connect(server, 10000);
        if (second) assert_int_equal(raw_send(fd, GOOD, strlen(GOOD)), 0);
        for (; second && !(n >= 2 && memcmp(first + n - 2, "ok", 2) == 0); n++)
            assert_int_equal(raw_read_all(fd, first + n, 2), 1);
        raw_send(fd, text, text_nbytes);
        got = raw_read_all(fd, answer, ANSWERS);
        close(fd);
    }
    if (got < 0) fail_msg("neither answered nor closed after: %.200s", text);
    return answer;
}

/* The text has one answer, nothing before it and nothing behind: a head of that status,
 * JSON, and the fragment. */
static void expect_json(const char *text, const char *status, const char *fragment)
{
    static char answer[ANSWERS];
    for (int tls = 0; tls <= 1; tls++) {
        for (int second = 0; second <= 1; second++) {
            exchange(text, tls, second, answer);
            const char *body = strstr(answer, "\r\n\r\n");
            const char *length = strstr(answer, "Content-Length: ");
            if (strncmp(answer, "HTTP/1.1 ", 9) != 0 || strncmp(answer + 9, status, 3) != 0 ||
                !body || !length ||
                !strstr(answer, "Content-Type: application/json\r\n") ||
                !strstr(answer, "X-Request-Id: ") || !strstr(answer, "Connection: close\r\n") ||
                !strstr(body, fragment) || strlen(body + 4) != strtoul(length + 16, NULL, 10) ||
                body[4] != '{')
                fail_msg("%.300s (TLS %d, second %d) got %.1000s", text, tls, second, answer);
        }
    }
}

#define HOST "Host: x\r\n"
#define CHUNKED "POST /classify HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
#define IS(code) "\"code\": \"" code "\""

static void versions_are_refused(void **state)
{
    (void)state;
    static const char *const VERSIONS[] = {"HTTP/3.0", "HTTP/2.0", "HTTP/0.9", "HTTP/9.9"};
    char text[200];
    for (size_t i = 0; i < sizeof VERSIONS / sizeof *VERSIONS; i++) {
        snprintf(text, sizeof text, "GET / %s\r\n" HOST "\r\n", VERSIONS[i]);
        expect_json(text, "505", IS("unsupported_version"));
    }
    expect_json("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505", "HTTP/1.1 or HTTP/1.0");
}

static void lines_are_refused(void **state)
{
    (void)state;
    static const char *const LINES[] = {
        "GET / http/1.1", "GET / HTTP/1.1x", "GET / HTTP/11",  "GET /",  "GET ",
        "GET",            "hello",           " GET / HTTP/1.1", "GET / FTP/1.1", "\x80\xff\x01",
        "\x16\x03\x01\x02\x20 \x01\x02" /* as a client of TLS begins */};
    char text[200];
    for (size_t i = 0; i < sizeof LINES / sizeof *LINES; i++) {
        snprintf(text, sizeof text, "%s\r\n" HOST "\r\n", LINES[i]);
        expect_json(text, "400", "\"the request must begin with a line like");
    }
    expect_well(server);
}

/* One who closes his sending side behind the line is told, too. */
static void half_closed_lines_are_refused(void **state)
{
    (void)state;
    char answer[1000];
    const int fd = raw_connect(server, 10000);
    assert_int_equal(raw_send(fd, "hello\r\n", 7), 0);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    assert_true(raw_read_all(fd, answer, sizeof answer) > 0);
    assert_int_equal(strncmp(answer, "HTTP/1.1 400 ", 13), 0);
    close(fd);
}

static void headers_are_refused(void **state)
{
    (void)state;
    expect_json("GET /healthz HTTP/1.1\r\n" HOST "nonsense\r\n\r\n", "400", "each header must");
    expect_json("GET /healthz HTTP/1.1\r\nnonsense\r\n" HOST "\r\n", "400", "each header must");
    expect_json("POST /classify HTTP/1.1\r\n" HOST "Content-Length : 5\r\n\r\nhello", "400",
                "each header must");
    expect_json("GET /v2 HTTP/1.1\r\n" HOST "nonsense\r\n\r\n", "400",
                "{\"error\": \"each header must");
}

/* libmicrohttpd would send two heads. */
static void lengths_that_are_no_number_are_refused(void **state)
{
    (void)state;
    static const char *const LENGTHS[] = {"+5",  "abc", "-1", "5, 5", "99999999999999999999999",
                                          "0x5", "5 5", ""};
    static const char *const TARGETS[] = {"POST /classify", "GET /healthz",
                                          "POST /v2/models/x/infer"};
    static char text[300], answer[ANSWERS];
    for (size_t i = 0; i < sizeof LENGTHS / sizeof *LENGTHS; i++) {
        for (size_t k = 0; k < 3; k++) {
            snprintf(text, sizeof text,
                     "%s HTTP/1.1\r\n" HOST "X-Request-Id: mine-%zu\r\nContent-Length: %s"
                     "\r\n\r\nhello", TARGETS[k], i, LENGTHS[i]);
            expect_json(text, "400", k == 2 ? "{\"error\": \"the Content-Length must be"
                                            : "{\"error\": {\"code\": \"invalid_request\"");
            char id[40];
            snprintf(id, sizeof id, "X-Request-Id: mine-%zu\r\n", i);
            assert_non_null(strstr(exchange(text, i % 2 == 0, 0, answer), id));
        }
    }
    expect_well(server);
}

static void chunks_are_refused(void **state)
{
    (void)state;
    expect_json(CHUNKED "xyz\r\nhello\r\n0\r\n\r\n", "400", "the body must be chunked");
    expect_json(CHUNKED "5\r\nhelloXX\r\n0\r\n\r\n", "400", IS("invalid_request"));
    expect_json(CHUNKED "5\r\nhello\r\n0\r\nnonsense\r\n\r\n", "400", IS("invalid_request"));
    expect_json(CHUNKED "ffffffffffffffffffff\r\nhello", "413", IS("too_large"));
    expect_json("GET /healthz HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", "400",
                "the body must be chunked");
    /* What was refused before its body was looked at keeps that refusal. */
    expect_json("GET /nothing HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", "404",
                IS("not_found"));
}

/* More than libmicrohttpd has memory for: a line, a header, many of them, a query, cookies,
 * what stands before a chunk, trailers. */
static void heads_are_too_large(void **state)
{
    (void)state;
    enum { MANY = 100000 };
    static char text[MANY + 400];
    static const struct {
        const char *before, *repeated, *after;
        size_t nbytes;
        const char *status, *fragment;
    } CASES[] = {
        {"GET /", "a", " HTTP/1.1\r\n" HOST "\r\n", MANY, "431", IS("headers_too_large")},
        {"GET / HTTP/1.1\r\nA: ", "a", "\r\n" HOST "\r\n", MANY, "431", IS("headers_too_large")},
        {"GET / HTTP/1.1\r\n" HOST, "A: b\r\n", "\r\n", 40000, "431", IS("headers_too_large")},
        {"GET /classify?", "a=1&", " HTTP/1.1\r\n" HOST "\r\n", 12000, "431",
         IS("headers_too_large")},
        {"GET /healthz HTTP/1.1\r\n" HOST "Cookie: ", "a;", "\r\n\r\n", 8000, "431",
         IS("headers_too_large")},
        {CHUNKED "5;", "x", "\r\nhello\r\n0\r\n\r\n", MANY, "400", IS("invalid_request")},
        {CHUNKED "5\r\nhello\r\n0\r\na: ", "x", "\r\n\r\n", MANY, "431", "trailers"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        size_t n = strlen(strcpy(text, CASES[i].before));
        for (size_t k = 0; k < CASES[i].nbytes; k += strlen(CASES[i].repeated))
            n = (size_t)(stpcpy(text + n, CASES[i].repeated) - text);
        strcpy(text + n, CASES[i].after);
        expect_json(text, CASES[i].status, CASES[i].fragment);
    }
    expect_well(server);
}

static void plain_http_is_told_so(void **state)
{
    (void)state;
    static char answer[ANSWERS];
    raw_exchange(tls_server, GOOD, answer, sizeof answer);
    assert_int_equal(strncmp(answer, "HTTP/1.1 400 ", 13), 0);
    assert_non_null(strstr(answer, "this port speaks HTTPS, not HTTP"));
    assert_null(strstr(answer + 1, "HTTP/1.1"));
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

/* Each is counted and logged, also one of which nothing is known but its answer. */
static void they_are_counted_and_logged(void **state)
{
    (void)state;
    static char answer[ANSWERS];
    struct server *own = server_start(NO_ARGS, NO_ARGS);
    raw_exchange(own, "GET / HTTP/3.0\r\n\r\n", answer, sizeof answer);
    raw_exchange(own, "hello\r\n", answer, sizeof answer);
    raw_exchange(own, "GET /model HTTP/1.1\r\nnonsense\r\n\r\n", answer, sizeof answer);
    struct reply *reply = http_send(own, &(struct request){.path = "/metrics"});
    const char *const METRICS[] = {"{reason=\"unsupported_version\"} 1\n",
                                   "{reason=\"invalid_request\"} 2\n"};
    for (size_t i = 0; i < 2; i++)
        if (!strstr((char *)reply->body, METRICS[i]))
            fail_msg("no %s in %s", METRICS[i], reply->body);
    assert_non_null(strstr((char *)reply->body, "status=\"505\""));
    reply_free(reply);
    char *log = server_log(own);
    assert_non_null(strstr(log, " - - 505 "));
    assert_non_null(strstr(log, " - - 400 "));
    assert_non_null(strstr(log, " - /model 400 "));
    free(log);
    server_stop(own);
}

/* Waits until /metrics holds that text. */
static void await_metric(struct server *own, const char *text)
{
    int is_there = 0;
    for (const long until = now_ms() + stretch_ms(10000); !is_there && now_ms() < until;
         sleep_ms(10)) {
        struct reply *reply = http_send(own, &(struct request){.path = "/metrics"});
        is_there = strstr((char *)reply->body, text) != NULL;
        reply_free(reply);
    }
    if (!is_there)
        fail_msg("no \"%s\" in /metrics", text);
}

/* libmicrohttpd (0.9.75) keeps a connection that it has refused for its query, and then for
 * its headers, until its thread wakes.  How the bytes arrive decides; so, many. */
static void a_long_query_keeps_no_connection(void **state)
{
    (void)state;
    enum { MANY = 300 };
    static char text[13000], answer[ANSWERS];
    struct server *own = server_start(NO_ARGS, NO_ARGS);
    char *end = stpcpy(text, "GET /classify?");
    while (end < text + 12000)
        end = stpcpy(end, "a=1&");
    strcpy(end, " HTTP/1.1\r\n");
    for (int i = 0; i < MANY; i++) {
        const int fd = raw_connect(own, 10000);
        assert_int_equal(raw_send(fd, text, strlen(text)), 0);
        raw_send(fd, "nonsense\r\n\r\n", 12);
        assert_true(raw_read_all(fd, answer, sizeof answer) > 0);
        close(fd);
        if (!strstr(answer, "HTTP/1.1 4"))
            fail_msg("%.300s", answer);
    }
    await_metric(own, "\ncapsnetd_connections 1\n");
    server_stop(own);
}

/* Refused for its cookies, then for its length. */
static void one_refused_twice_is_counted_once(void **state)
{
    (void)state;
    static char text[9000], answer[ANSWERS];
    struct server *own = server_start(NO_ARGS, NO_ARGS);
    char *end = stpcpy(text, "GET /healthz HTTP/1.1\r\n" HOST "Content-Length: x\r\nCookie: ");
    while (end < text + 8100)
        end = stpcpy(end, "a;");
    strcpy(end, "\r\n\r\n");
    raw_exchange(own, text, answer, sizeof answer);
    assert_int_equal(strncmp(answer, "HTTP/1.1 431 ", 13), 0);
    await_metric(own, "{reason=\"headers_too_large\"} 1\n");
    server_stop(own);
}

/* So many parameters have no meaning anywhere, and are too many where a query has one. */
static void too_many_parameters_are_refused(void **state)
{
    (void)state;
    char text[400] = "GET /classify?a", answer[4000];
    for (int i = 0; i < 40; i++)
        strcat(text, "&a");
    strcat(text, " HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    raw_exchange(server, text, answer, sizeof answer);
    assert_non_null(strstr(answer, "HTTP/1.1 431 "));
    assert_non_null(strstr(answer, "the query has too many parameters"));
    memcpy(text, "GET /healthz?", 13);
    raw_exchange(server, text, answer, sizeof answer);
    assert_non_null(strstr(answer, "HTTP/1.1 200 "));
}

/* Keep-alive, closing, hanging up and saying nothing are no refusals. */
static void nothing_else_is_refused(void **state)
{
    (void)state;
    static char answer[ANSWERS];
    struct server *own = server_start(NO_ARGS, NO_ARGS);
    for (int i = 0; i < 20; i++) {
        raw_exchange(own, "GET /healthz HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", answer,
                     sizeof answer);
        assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\nok");
        int fd = raw_connect(own, 10000);
        if (i % 2 == 0) assert_int_equal(raw_send(fd, GOOD, strlen(GOOD)), 0);
        if (i % 4 == 0) assert_int_equal(raw_read_all(fd, answer, 2), 1);
        close(fd);
    }
    struct reply *reply = http_send(own, &(struct request){.path = "/metrics"});
    assert_null(strstr((char *)reply->body, "{reason=\"invalid_request\"} 1"));
    reply_free(reply);
    char *log = server_log(own);
    assert_null(strstr(log, " 400 "));
    free(log);
    server_stop(own);
}

/* A request that stops within its line, its headers or its body is told 408; a connection
 * that is only silent is told nothing. */
static void unfinished_requests_time_out(void **state)
{
    (void)state;
    static const char *const TEXTS[] = {
        "", "GET /he", "GET /healthz HTTP/1.1\r\nHos",
        "POST /classify HTTP/1.1\r\n" HOST "Content-Length: 100\r\n\r\nhello"};
    enum { N = 8 };
    static char answer[ANSWERS];
    struct server *silent = server_start(ARGS("--timeout-s", "1"), NO_ARGS);
    struct tls_line *lines[N];
    int fds[N];
    for (int i = 0; i < N; i++) {
        lines[i] = tls_connect(tls_server, i % 4 ? 60000 : 1500);
        fds[i] = raw_connect(silent, i % 4 ? 60000 : 1500);
        if (i >= N / 2) { /* behind a good request */
            assert_int_equal(tls_send(lines[i], GOOD, strlen(GOOD)), 0);
            assert_int_equal(raw_send(fds[i], GOOD, strlen(GOOD)), 0);
            sleep_ms(50);
        }
        const char *text = TEXTS[i % 4];
        if (*text) assert_int_equal(tls_send(lines[i], text, strlen(text)), 0);
        assert_int_equal(raw_send(fds[i], text, strlen(text)), 0);
    }
    for (int i = 0; i < N; i++) {
        for (int tls = 0; tls <= 1; tls++) {
            memset(answer, 0, sizeof answer);
            const long n = tls ? tls_read_all(lines[i], answer, ANSWERS)
                               : raw_read_all(fds[i], answer, ANSWERS);
            assert_true(n >= 0 || i % 4 == 0);
            const char *last = i < N / 2 ? answer : strstr(answer, "\r\n\r\nok") + 6;
            if (i % 4 == 0 ? *last != 0
                           : strncmp(last, "HTTP/1.1 408 ", 13) != 0 || !strstr(last, IS("timeout")))
                fail_msg("%d, TLS %d got %s", i, tls, answer);
        }
        tls_close(lines[i]);
        close(fds[i]);
    }
    server_stop(silent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_are_refused),
        cmocka_unit_test(lines_are_refused),
        cmocka_unit_test(half_closed_lines_are_refused),
        cmocka_unit_test(headers_are_refused),
        cmocka_unit_test(lengths_that_are_no_number_are_refused),
        cmocka_unit_test(chunks_are_refused),
        cmocka_unit_test(heads_are_too_large),
        cmocka_unit_test(plain_http_is_told_so),
        cmocka_unit_test(a_bad_length_is_its_senders),
        cmocka_unit_test(they_are_counted_and_logged),
        cmocka_unit_test(a_long_query_keeps_no_connection),
        cmocka_unit_test(one_refused_twice_is_counted_once),
        cmocka_unit_test(too_many_parameters_are_refused),
        cmocka_unit_test(nothing_else_is_refused),
        cmocka_unit_test(unfinished_requests_time_out),
    };
    int failed = cmocka_run_group_tests_name("library refusals", tests, start, stop);
    server_kill_leftovers(NULL);
    return failed;
}
