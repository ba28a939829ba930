/*
 * test_unix_socket.c - served over a Unix socket: made, shared with a proxy, left behind and
 * removed; or handed over by systemd.
 */
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/http/fixtures.h"
#include "tests/http/harness.h"
#include "tests/http/tls.h"

/* "unix:PATH" of a socket in the test's folder. */
static const char *address(void)
{
    static char text[200];
    snprintf(text, sizeof text, "unix:%s/s", test_folder());
    return text;
}

static int file_mode(void)
{
    struct stat status;
    return lstat(address() + 5, &status) == 0 && S_ISSOCK(status.st_mode)
               ? (int)(status.st_mode & 07777)
               : -1;
}

static void requests_are_answered(void **state)
{
    (void)state;
    struct server *server =
        server_start(ARGS("--listen", address(), "--max-connections-per-ip", "1", "--log-level",
                          "debug"), NO_ARGS);
    char answer[4000];
    assert_non_null(strstr(server->line, address()));
    assert_int_equal(file_mode(), 0660);
    expect_well(server);
    struct reply *reply = http_send(server, &(struct request){.path = "/"});
    assert_int_equal(reply->status, 200);
    reply_free(reply);
    /* A proxy is no client with an address: its connections are not counted by one. */
    struct request requests[8];
    struct reply *replies[8];
    struct bytes png = draw_png(3);
    for (int i = 0; i < 8; i++)
        requests[i] = (struct request){.path = "/classify", .body = png.data, .nbytes = png.nbytes};
    http_land(http_launch(server, requests, 8), replies);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(replies[i]->status, 200);
        reply_free(replies[i]);
    }
    free(png.data);
    raw_exchange(server, "GET / HTTP/3.0\r\n\r\n", answer, sizeof answer);
    assert_int_equal(strncmp(answer, "HTTP/1.1 505 ", 13), 0);
    raw_exchange(server, "hello\r\n", answer, sizeof answer);
    assert_int_equal(strncmp(answer, "HTTP/1.1 400 ", 13), 0);
    char who[100];
    snprintf(who, sizeof who, "process %d of user %u connected", (int)getpid(),
             (unsigned)getuid());
    char *log = server_log(server);
    assert_non_null(strstr(log, who));
    free(log);
    server_stop(server);
    assert_int_equal(file_mode(), -1); /* removed */
}

static void a_slow_request_is_told(void **state)
{
    (void)state;
    static const char *const TEXTS[] = {
        "GET /he", "POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhello"};
    char answer[4000];
    struct server *server =
        server_start(ARGS("--listen", address(), "--request-deadline-s", "1"), NO_ARGS);
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        raw_exchange(server, TEXTS[i], answer, sizeof answer);
        assert_int_equal(strncmp(answer, "HTTP/1.1 408 ", 13), 0);
    }
    server_stop(server);
}

/* A line that libmicrohttpd makes nothing of, and tells nobody of, behind a good request. */
static void a_later_line_is_refused(void **state)
{
    (void)state;
    char answer[4000];
    struct server *server = server_start(ARGS("--listen", address()), NO_ARGS);
    const int fd = raw_connect(server, 10000);
    static const char GET[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_int_equal(raw_send(fd, GET, sizeof GET - 1), 0);
    sleep_ms(50); /* in one packet with the request it would not be seen */
    assert_int_equal(raw_send(fd, "hello\r\n", 7), 0);
    assert_true(raw_read_all(fd, answer, sizeof answer) > 0);
    assert_non_null(strstr(answer, "\r\n\r\nokHTTP/1.1 400 "));
    close(fd);
    server_stop(server);
}

static void one_left_behind_is_taken_over(void **state)
{
    (void)state;
    struct server *server =
        server_start(ARGS("--listen", address(), "--listen-mode", "600"), NO_ARGS);
    assert_int_equal(file_mode(), 0600);
    static struct outcome outcome;
    server_run(&outcome, ARGS("--weights", test_weights(), "--listen", address()), NO_ARGS);
    assert_int_equal(outcome.exit_status, 1);
    assert_non_null(strstr(outcome.err, "in use"));
    expect_well(server);
    assert_int_equal(kill(server->pid, SIGKILL), 0);
    while (server_alive(server)) sleep_ms(5);
    server_kill_leftovers(NULL);
    assert_int_equal(file_mode(), 0600); /* nobody was left to remove it */
    server = server_start(ARGS("--listen", address()), NO_ARGS);
    expect_well(server);
    server_stop(server);
    assert_int_equal(file_mode(), -1);
}

/* A server that does not come to serve leaves nothing behind either. */
static void failures_are_told(void **state)
{
    (void)state;
    static struct outcome outcome;
    server_run(&outcome, ARGS("--weights", "/nowhere", "--listen", address()), NO_ARGS);
    assert_int_equal(outcome.exit_status, 1);
    assert_int_equal(file_mode(), -1);
    static const char *const CASES[][3] = {
        {"--listen", "unix:/nowhere/s", "/nowhere/s"}, {"--listen", "unix:", "1 to 107 bytes"},
        {"--listen-mode", "rw", "--listen-mode"},      {"--listen-mode", "1777", "--listen-mode"},
        {"--listen-mode", "66", "--listen-mode"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        server_run(&outcome, ARGS("--weights", test_weights(), CASES[i][0], CASES[i][1]), NO_ARGS);
        assert_int_equal(outcome.exit_status, i ? 2 : 1);
        assert_non_null(strstr(outcome.err, CASES[i][2]));
    }
}

static void healthcheck_asks_the_socket(void **state)
{
    (void)state;
    static struct outcome outcome;
    char variable[300];
    snprintf(variable, sizeof variable, "CAPSNETD_LISTEN=%s", address());
    struct server *server = server_start(NO_ARGS, ARGS(variable));
    server_run(&outcome, ARGS("healthcheck"), ARGS(variable));
    assert_string_equal(outcome.err, "");
    assert_int_equal(outcome.exit_status, 0);
    server_run(&outcome, ARGS("healthcheck", "--url", address()), NO_ARGS);
    assert_int_equal(outcome.exit_status, 0);
    server_stop(server);
    server_run(&outcome, ARGS("healthcheck"), ARGS(variable));
    assert_int_equal(outcome.exit_status, 1);
    assert_non_null(strstr(outcome.err, address()));
}

static void tls_is_spoken_too(void **state)
{
    (void)state;
    char cert[300], key[300], answer[4000];
    snprintf(cert, sizeof cert, "%s/cert.pem", test_folder());
    snprintf(key, sizeof key, "%s/key.pem", test_folder());
    make_certificate(cert, key);
    struct server *server = server_spawn(ARGS("--listen", address(), "--tls-cert", cert,
                                              "--tls-key", key), NO_ARGS);
    size_t n = 0;
    while (n + 1 < sizeof server->line && read(server->stdout_fd, server->line + n, 1) == 1 &&
           server->line[n] != '\n')
        n++;
    server->line[n] = 0;
    assert_non_null(strstr(server->line, ", https"));
    snprintf(server->url, sizeof server->url, "%.150s", address());
    struct tls_line *line = tls_connect(server, 10000);
    static const char GET[] = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_int_equal(tls_send(line, GET, sizeof GET - 1), 0);
    assert_true(tls_read_all(line, answer, sizeof answer) > 0);
    assert_int_equal(strncmp(answer, "HTTP/1.1 200 ", 13), 0);
    tls_close(line);
    server_stop(server);
}

/* ---- Handed over ------------------------------------------------------------ */

static int listen_inet(void)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in loopback = {.sin_family = AF_INET,
                                   .sin_addr = {htonl(INADDR_LOOPBACK)}};
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&loopback, sizeof loopback), 0);
    assert_int_equal(listen(fd, 100), 0);
    return fd;
}

/* A socket of systemd's serves one server after the other; who connects between them
 * waits and is answered. */
static void a_socket_outlives_its_server(void **state)
{
    (void)state;
    const int fd = listen_inet();
    char answer[4000];
    struct server *server = server_spawn_on(fd, 1, ARGS("--listen", "203.0.113.1:1"), NO_ARGS);
    server_wait_ready(server);
    expect_well(server);
    const struct server before = *server;
    server_stop(server);
    const int waiting = raw_connect(&before, 60000);
    static const char GET[] = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_int_equal(raw_send(waiting, GET, sizeof GET - 1), 0);
    server = server_spawn_on(fd, 1, NO_ARGS, NO_ARGS);
    server_wait_ready(server);
    assert_int_equal(server->port, before.port);
    assert_true(raw_read_all(waiting, answer, sizeof answer) > 0);
    assert_int_equal(strncmp(answer, "HTTP/1.1 200 ", 13), 0);
    close(waiting);
    expect_well(server);
    server_stop(server);
    close(fd);
}

static void what_is_no_socket_is_refused(void **state)
{
    (void)state;
    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    const int listening = listen_inet();
    const struct {
        int fd, n;
        const char *fragment;
    } CASES[] = {{pipe_fds[0], 1, "no stream socket that listens"}, {listening, 2, "takes one"}};
    for (size_t i = 0; i < 2; i++) {
        struct server *server = server_spawn_on(CASES[i].fd, CASES[i].n, NO_ARGS, NO_ARGS);
        while (server_alive(server)) sleep_ms(5);
        char *log = server_log(server);
        assert_non_null(strstr(log, CASES[i].fragment));
        free(log);
        server_kill_leftovers(NULL);
    }
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    close(listening);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, server_kill_leftovers)
    const struct CMUnitTest tests[] = {
        TEST(requests_are_answered),
        TEST(a_slow_request_is_told),
        TEST(a_later_line_is_refused),
        TEST(one_left_behind_is_taken_over),
        TEST(failures_are_told),
        TEST(healthcheck_asks_the_socket),
        TEST(tls_is_spoken_too),
        TEST(a_socket_outlives_its_server),
        TEST(what_is_no_socket_is_refused),
    };
    return cmocka_run_group_tests_name("unix socket", tests, NULL, NULL);
}
