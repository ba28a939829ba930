/* test_operations.c - what runs the server: health checks from a container,
 * systemd's notifications. */
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/http/fixtures.h"
#include "tests/http/harness.h"

/* ---- capsnetd healthcheck --------------------------------------------- */

static void run_check(int exit_status, const char *fragment, const char *const *args,
                         const char *const *env)
{
    static struct outcome outcome;
    server_run(&outcome, args, env);
    if (outcome.exit_status != exit_status || !strstr(outcome.err, fragment))
        fail_msg("exit status %d and \"%s\" instead of %d and \"%s\"", outcome.exit_status,
                 outcome.err, exit_status, fragment);
    assert_string_equal(outcome.out, "");
    if (exit_status == 0) assert_string_equal(outcome.err, "");
}

static void healthcheck_asks_readyz(void **state)
{
    (void)state;
    struct server *server = server_start(ARGS("--listen", "0.0.0.0:0"), NO_ARGS);
    char listen[60], url[100];
    snprintf(listen, sizeof listen, "CAPSNETD_LISTEN=0.0.0.0:%u", server->port);
    run_check(0, "", ARGS("healthcheck"), ARGS(listen));
    snprintf(url, sizeof url, "http://127.0.0.1:%u", server->port);
    run_check(0, "", ARGS("healthcheck", "--url", url), NO_ARGS);
    snprintf(url, sizeof url, "--url=http://localhost:%u/healthz", server->port);
    run_check(0, "", ARGS("healthcheck", url), NO_ARGS);
    snprintf(url, sizeof url, "--url=http://localhost:%u/nothing", server->port);
    run_check(1, "404", ARGS("healthcheck", url), NO_ARGS);
    char *log = server_log(server);
    assert_non_null(strstr(log, "GET /readyz 200"));
    free(log);
    server_stop(server);
    run_check(1, "cannot connect", ARGS("healthcheck"), ARGS(listen));
}

static void healthcheck_names_bad_arguments(void **state)
{
    (void)state;
    static const char *const urls[] = {"", "http://", "ftp://127.0.0.1:1", "http://127.0.0.1",
                                       "http://127.0.0.1:1/a b", "127.0.0.1:1",
                                       "http://127.0.0.1:1/\r\nX: y"};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++)
        run_check(1, "usage", ARGS("healthcheck", "--url", urls[i]), NO_ARGS);
    run_check(1, "usage", ARGS("healthcheck", "--url"), NO_ARGS);
    run_check(1, "usage", ARGS("healthcheck", "me"), NO_ARGS);
    run_check(1, "CAPSNETD_QUEUE", ARGS("healthcheck"), ARGS("CAPSNETD_QUEUE=no"));
}

/* A server that accepts and never answers must not hold up the check. */
static void healthcheck_gives_up(void **state)
{
    (void)state;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_storage address;
    socklen_t n = sizeof address;
    assert_int_equal(listen(fd, 4), 0); /* binds to a free port itself */
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &n), 0);
    unsigned char port[2]; /* behind the family, most significant first */
    memcpy(port, (char *)&address + 2, 2);
    char url[100];
    snprintf(url, sizeof url, "http://127.0.0.1:%d", port[0] * 256 + port[1]);
    run_check(1, "in time", ARGS("healthcheck", "--url", url), NO_ARGS);
    close(fd);
}

/* ---- systemd ---------------------------------------------------------- */

static int bind_datagram(const char *name, int is_abstract)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t n = strlen(name);
    assert_true(n < sizeof address.sun_path);
    memcpy(address.sun_path, name, n);
    if (is_abstract) address.sun_path[0] = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)), 0);
    return fd;
}

static void expect_message(int fd, const char *expected)
{
    char message[200];
    struct pollfd ready = {fd, POLLIN, 0};
    assert_int_equal(poll(&ready, 1, (int)stretch_ms(20000)), 1);
    ssize_t n = recv(fd, message, sizeof message - 1, 0);
    assert_true(n >= 0);
    message[n] = 0;
    assert_string_equal(message, expected);
}

static void notify(const char *name, int is_abstract)
{
    char variable[200];
    int fd = bind_datagram(name, is_abstract);
    snprintf(variable, sizeof variable, "NOTIFY_SOCKET=%s", name);
    struct server *server = server_start(NO_ARGS, ARGS(variable));
    expect_message(fd, "READY=1");
    struct reply *reply = http_send(server, &(struct request){.path = "/readyz"});
    assert_int_equal(reply->status, 200);
    reply_free(reply);
    server_terminate(server);
    expect_message(fd, "STOPPING=1");
    server_finish(server);
    close(fd);
}

static void systemd_is_told(void **state)
{
    (void)state;
    char name[108];
    snprintf(name, sizeof name, "%.90s/notify", test_folder());
    notify(name, 0);
    snprintf(name, sizeof name, "@capsnetd-test-%d", (int)getpid());
    notify(name, 1);
}

static void a_bad_notify_socket_is_no_obstacle(void **state)
{
    (void)state;
    static const char *const variables[] = {"NOTIFY_SOCKET=", "NOTIFY_SOCKET=@",
                                            "NOTIFY_SOCKET=relative", "NOTIFY_SOCKET=/nowhere"};
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        struct server *server = server_start(NO_ARGS, ARGS(variables[i]));
        expect_well(server);
        server_stop(server);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, server_kill_leftovers)
    const struct CMUnitTest tests[] = {
        TEST(healthcheck_asks_readyz),
        TEST(healthcheck_names_bad_arguments),
        TEST(healthcheck_gives_up),
        TEST(systemd_is_told),
        TEST(a_bad_notify_socket_is_no_obstacle),
    };
    return cmocka_run_group_tests_name("operations", tests, NULL, NULL);
}
