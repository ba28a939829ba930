/* test_access.c - who may use the server: API keys, pages of other origins. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/http/fixtures.h"
#include "tests/http/harness.h"

#define KEY   "a-key-of-20-letters!"
#define OTHER "another-key-0123456789"

static char key_file[300];

static void write_keys(const char *text)
{
    snprintf(key_file, sizeof key_file, "%s/keys", test_folder());
    FILE *file = fopen(key_file, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void assert_header(const struct reply *reply, const char *name, const char *value)
{
    char got[300] = "";
    int has = reply_header(reply, name, got, sizeof got);
    if (has != (value != NULL) || (value && strcmp(got, value) != 0))
        fail_msg("%s is \"%s\", not \"%s\"", name, got, value ? value : "absent");
}

/* ---- API keys --------------------------------------------------------- */

static long status_of(struct server *server, const char *path, const char *authorization)
{
    struct bytes png = draw_png(0);
    struct request request = {.path = path, .headers = {authorization}};
    if (strcmp(path, "/classify") == 0) request.body = png.data, request.nbytes = png.nbytes;
    struct reply *reply = http_send(server, &request);
    long status = reply->status;
    if (status == 401) {
        if (strncmp(path, "/v2", 3) != 0) assert_error(reply, 401, "unauthorized", "Bearer");
        assert_header(reply, "WWW-Authenticate", "Bearer realm=\"capsnetd\"");
    }
    reply_free(reply);
    free(png.data);
    return status;
}

static void only_a_key_opens(void **state)
{
    (void)state;
    write_keys("# mine\n\n  " KEY "  \r\n" OTHER);
    struct server *server = server_start(ARGS("--api-key-file", key_file), NO_ARGS);
    static const char *const good[] = {"Authorization: Bearer " KEY, "Authorization: bearer  " KEY,
                                       "authorization: Bearer " OTHER};
    static const char *const bad[] = {
        NULL, "Authorization: Bearer", "Authorization: Bearer ", "Authorization: Basic " KEY,
        "Authorization: " KEY, "Authorization: Bearer a-key-of-20-letters",
        "Authorization: Bearer " KEY "x", "Authorization: Bearer A-key-of-20-letters!",
        "Authorization: Bearer # mine", "Authorization: Bearer " KEY "," OTHER,
        "Authorization: Bearer xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    };
    static const char *const closed[] = {"/classify", "/model", "/metrics", "/v2", "/nowhere"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(status_of(server, "/classify", good[i]), 200);
        assert_int_equal(status_of(server, "/nowhere", good[i]), 404);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        for (size_t k = 0; k < sizeof closed / sizeof *closed; k++)
            if (status_of(server, closed[k], bad[i]) != 401)
                fail_msg("%s is open to \"%s\"", closed[k], bad[i] ? bad[i] : "nobody");
    static const char *const open[] = {"/healthz", "/readyz", "/v2/health/live",
                                       "/v2/health/ready"};
    for (size_t i = 0; i < sizeof open / sizeof *open; i++)
        assert_int_equal(status_of(server, open[i], NULL), 200);
    char *log = server_log(server);
    assert_null(strstr(log, KEY));
    free(log);
    server_stop(server);
}

static void hang_up(struct server *server)
{
    assert_int_equal(kill(server->pid, SIGHUP), 0);
}

static void wait_for(struct server *server, const char *path, const char *authorization,
                     long status)
{
    for (long until = now_ms() + stretch_ms(20000);
         status_of(server, path, authorization) != status; sleep_ms(10))
        if (now_ms() > until) fail_msg("%s does not get %ld", authorization, status);
}

static void keys_are_reread(void **state)
{
    (void)state;
    write_keys(KEY "\n");
    struct server *server = server_start(ARGS("--api-key-file", key_file), NO_ARGS);
    assert_int_equal(status_of(server, "/model", "Authorization: Bearer " OTHER), 401);
    write_keys(OTHER "\n");
    hang_up(server);
    wait_for(server, "/model", "Authorization: Bearer " OTHER, 200);
    assert_int_equal(status_of(server, "/model", "Authorization: Bearer " KEY), 401);
    write_keys("short\n");
    hang_up(server);
    int said = 0;
    for (long until = now_ms() + stretch_ms(20000); !said && now_ms() < until; sleep_ms(10)) {
        char *log = server_log(server);
        said = strstr(log, "keeping the old API keys: ") != NULL;
        free(log);
    }
    assert_true(said);
    assert_int_equal(status_of(server, "/model", "Authorization: Bearer " OTHER), 200);
    server_stop(server);
}

static void bad_key_files_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *fragment;
    } CASES[] = {
        {"", "no key"}, {"# only a comment\n\n", "no key"}, {"short\n", "line 1"},
        {KEY "\n" KEY " two\n", "line 2"}, {KEY "\n\x01" KEY "\n", "line 2"},
    };
    static struct outcome outcome;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        write_keys(CASES[i].text);
        server_run(&outcome, ARGS("--api-key-file", key_file, "--weights", test_weights(),
                                  "--listen", "127.0.0.1:0"), NO_ARGS);
        assert_int_equal(outcome.exit_status, 1);
        if (!strstr(outcome.err, CASES[i].fragment) || strstr(outcome.err, KEY))
            fail_msg("\"%s\" does not say \"%s\"", outcome.err, CASES[i].fragment);
    }
    server_run(&outcome, ARGS("--api-key-file", "/nowhere"), NO_ARGS);
    assert_int_equal(outcome.exit_status, 1);
    assert_non_null(strstr(outcome.err, "/nowhere"));
}

/* ---- Other origins ---------------------------------------------------- */

static void options_name_the_methods(void **state)
{
    (void)state;
    write_keys(KEY "\n");
    struct server *server = server_start(ARGS("--api-key-file", key_file, "--cors-origin",
                                              "https://a.example, https://b.example"), NO_ARGS);
    struct reply *reply = http_send(
        server, &(struct request){.method = "OPTIONS", .path = "/classify",
                                  .headers = {"Origin: https://b.example",
                                              "Access-Control-Request-Method: POST"}});
    assert_int_equal(reply->status, 204);
    assert_int_equal(reply->nbytes, 0);
    assert_header(reply, "Allow", "POST");
    assert_header(reply, "Access-Control-Allow-Origin", "https://b.example");
    assert_header(reply, "Access-Control-Allow-Methods", "GET, HEAD, POST");
    assert_header(reply, "Access-Control-Max-Age", "600");
    assert_header(reply, "Vary", "Origin");
    char headers[200] = "";
    reply_header(reply, "Access-Control-Allow-Headers", headers, sizeof headers);
    assert_non_null(strstr(headers, "Authorization"));
    assert_non_null(strstr(headers, "Content-Encoding"));
    reply_free(reply);
    reply = http_send(server, &(struct request){.method = "OPTIONS", .path = "/nowhere",
                                                .headers = {"Authorization: Bearer " KEY}});
    assert_error(reply, 404, "not_found", NULL);
    reply_free(reply);
    server_stop(server);
}

static void origins_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *allowed, *origin, *answer;
    } CASES[] = {
        {NULL, "https://a.example", NULL},
        {"*", "https://a.example", "*"},
        {"*", NULL, "*"},
        {"https://a.example", "https://a.example", "https://a.example"},
        {"https://a.example", "https://a.example.evil", NULL},
        {"https://a.example", "https://a.exampl", NULL},
        {"https://a.example", "null", NULL},
        {"https://a.example,https://b.example", "https://b.example", "https://b.example"},
        {"https://a.example,https://b.example", "https://a.example,https://b.example", NULL},
        {"https://a.example", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        char variable[200] = "CAPSNETD_CORS_ORIGIN=", header[200] = "Origin: ";
        if (CASES[i].allowed) strcat(variable, CASES[i].allowed);
        if (CASES[i].origin) strcat(header, CASES[i].origin);
        struct server *server = server_start(NO_ARGS, ARGS(variable));
        static const char *const paths[] = {"/model", "/nowhere"};
        for (size_t k = 0; k < 2; k++) {
            struct reply *reply = http_send(
                server, &(struct request){.path = paths[k],
                                          .headers = {CASES[i].origin ? header : NULL}});
            assert_header(reply, "Access-Control-Allow-Origin", CASES[i].answer);
            reply_free(reply);
        }
        server_stop(server);
    }
}

/* ---- Expect: 100-continue --------------------------------------------- */

static void expect_continue(void **state)
{
    (void)state;
    struct server *server = server_start(ARGS("--max-body-bytes", "5000"), NO_ARGS);
    struct bytes png = draw_png(0);
    char head[300], answer[4000];
    snprintf(head, sizeof head,
             "POST /pose HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\n"
             "Content-Length: %zu\r\n\r\n", png.nbytes);
    int fd = raw_connect(server, 10000);
    assert_int_equal(raw_send(fd, head, strlen(head)), 0);
    static const char expected[] = "HTTP/1.1 100 Continue\r\n\r\n";
    size_t n = 0;
    while (n < sizeof expected - 1) {
        ssize_t got = recv(fd, answer + n, sizeof expected - 1 - n, 0);
        assert_true(got > 0);
        n += (size_t)got;
    }
    assert_memory_equal(answer, expected, n);
    assert_int_equal(raw_send(fd, png.data, png.nbytes), 0);
    assert_true(raw_read_all(fd, answer, sizeof answer) > 0);
    assert_non_null(strstr(answer, "HTTP/1.1 200 "));
    close(fd);
    free(png.data);

    /* What is refused by its headers gets its answer instead of "continue". */
    raw_exchange(server,
                 "POST /pose HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                 "Content-Length: 5001\r\n\r\n", answer, sizeof answer);
    assert_int_equal(strncmp(answer, "HTTP/1.1 413 ", 13), 0);
    server_stop(server);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, server_kill_leftovers)
    const struct CMUnitTest tests[] = {
        TEST(only_a_key_opens),
        TEST(keys_are_reread),
        TEST(bad_key_files_are_refused),
        TEST(options_name_the_methods),
        TEST(origins_are_told_apart),
        TEST(expect_continue),
    };
    return cmocka_run_group_tests_name("access", tests, NULL, NULL);
}
