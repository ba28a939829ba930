/*
 * test_timing.c - what a client, or a balancer, may rely on in time: that it is answered
 * when it has ended its side, that one deadline counts for the whole of a request, that a
 * server which is to end can first be seen to be not ready.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/http/fixtures.h"
#include "tests/http/harness.h"

/* A POST of a PNG as bytes: [*nbytes], free() them. */
static char *post_png(const char *path, size_t *nbytes)
{
    struct bytes png = draw_png(0);
    char *bytes = malloc(300 + png.nbytes);
    assert_non_null(bytes);
    const int n = snprintf(bytes, 300, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n",
                           path, png.nbytes);
    memcpy(bytes + n, png.data, png.nbytes);
    *nbytes = (size_t)n + png.nbytes;
    free(png.data);
    return bytes;
}

/* ---- The client ends its side -------------------------------------------------- */

static void expect_answer_behind_end(int fd)
{
    char answer[20000];
    assert_true(raw_read_all(fd, answer, sizeof answer) > 0);
    close(fd);
    if (strncmp(answer, "HTTP/1.1 200 ", 13) != 0)
        fail_msg("a client that had closed its sending side got: \"%.200s\"", answer);
}

/* As `nc -N` and many proxies do: the request, and right behind it the end. */
static void half_closing_clients_are_answered(void **state)
{
    (void)state;
    enum { AT_ONCE = 8, ROUNDS = 20 };
    struct server *server = server_start(ARGS("--batch-delay-us", "2000"), NO_ARGS);
    size_t nbytes;
    char *bytes = post_png("/classify", &nbytes);
    int fds[AT_ONCE];
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < AT_ONCE; i++) {
            fds[i] = raw_connect(server, stretch_ms(10000));
            assert_int_equal(raw_send(fds[i], bytes, nbytes), 0);
            if (round % 2) /* else while it is computed */
                assert_int_equal(shutdown(fds[i], SHUT_WR), 0);
        }
        for (int i = 0; i < AT_ONCE && round % 2 == 0; i++)
            assert_int_equal(shutdown(fds[i], SHUT_WR), 0);
        for (int i = 0; i < AT_ONCE; i++)
            expect_answer_behind_end(fds[i]);
    }
    for (int i = 0; i < AT_ONCE; i++) { /* what needs no computing */
        static const char text[] = "GET /model HTTP/1.1\r\nHost: x\r\n\r\n";
        int fd = raw_connect(server, stretch_ms(10000));
        assert_int_equal(raw_send(fd, text, strlen(text)), 0);
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        expect_answer_behind_end(fd);
    }
    free(bytes);
    expect_well(server);
    server_stop(server);
}

/* ---- One deadline ------------------------------------------------------------------ */

/* Sends in as many pieces of equal length, evenly over that time; stops when hung up
 * on.  Returns whether all of it went. */
static int send_slowly(int fd, const char *bytes, size_t nbytes, size_t pieces, long ms)
{
    for (size_t i = 0; i < pieces; i++) {
        const size_t from = nbytes * i / pieces, to = nbytes * (i + 1) / pieces;
        if (raw_send(fd, bytes + from, to - from) != 0)
            return 0;
        sleep_ms(ms / (long)pieces);
    }
    return 1;
}

/* Line, headers and body each within the deadline, together beyond it. */
static void one_deadline_counts_for_all_of_a_request(void **state)
{
    (void)state;
    enum { DEADLINE_MS = 3000, PART_MS = 2000 };
    struct server *server = server_start(ARGS("--request-deadline-s", "3"), NO_ARGS);
    size_t nbytes;
    char *bytes = post_png("/classify", &nbytes), answer[3000];
    const size_t line = (size_t)(strchr(bytes, '\n') + 1 - bytes);
    const size_t head = (size_t)(strstr(bytes, "\r\n\r\n") + 4 - bytes);
    int fd = raw_connect(server, stretch_ms(10000));
    sleep_ms(DEADLINE_MS / 2); /* before the first byte no deadline runs */
    if (send_slowly(fd, bytes, line, 10, PART_MS) &&
        send_slowly(fd, bytes + line, head - line, 10, PART_MS))
        (void)send_slowly(fd, bytes + head, nbytes - head, 10, PART_MS);
    assert_true(raw_read_all(fd, answer, sizeof answer) > 0);
    assert_int_equal(strncmp(answer, "HTTP/1.1 408 ", 13), 0);
    close(fd);

    /* The second request of a connection has the whole of it anew, and from its own
     * first byte. */
    fd = raw_connect(server, stretch_ms(10000));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(send_slowly(fd, bytes, nbytes, 10, PART_MS), 1);
        assert_true(recv(fd, answer, sizeof answer, 0) > 0);
        assert_int_equal(strncmp(answer, "HTTP/1.1 200 ", 13), 0);
        sleep_ms(i ? 0 : DEADLINE_MS / 2);
    }
    close(fd);

    /* A line that never ends. */
    fd = raw_connect(server, stretch_ms(10000));
    const long start = now_ms();
    (void)send_slowly(fd, bytes, line - 2, 10, PART_MS);
    assert_true(raw_read_all(fd, answer, sizeof answer) > 0);
    assert_int_equal(strncmp(answer, "HTTP/1.1 408 ", 13), 0);
    assert_true(now_ms() - start >= DEADLINE_MS && now_ms() - start < stretch_ms(DEADLINE_MS + 1500));
    close(fd);
    free(bytes);
    server_stop(server);
}

/* ---- The end is announced ------------------------------------------------------------- */

/* A new connection's answer. */
static void get(const struct server *server, const char *path, char *answer, size_t size)
{
    char text[200];
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path);
    raw_exchange(server, text, answer, size);
}

static void a_balancer_sees_the_end_coming(void **state)
{
    (void)state;
    static const char *const READINESS[] = {"/readyz", "/v2/health/ready",
                                            "/v2/models/capsnet-test/ready"};
    struct server *server = server_start(ARGS("--drain-delay-s", "2"), NO_ARGS);
    size_t nbytes;
    static char answer[40000];
    char *bytes = post_png("/classify", &nbytes);
    const long begin = now_ms();
    server_terminate(server);
    sleep_ms(300);
    for (size_t i = 0; i < sizeof READINESS / sizeof *READINESS; i++) {
        get(server, READINESS[i], answer, sizeof answer);
        if (strncmp(answer, "HTTP/1.1 503 ", 13) != 0)
            fail_msg("%s: %.100s", READINESS[i], answer);
    }
    get(server, "/healthz", answer, sizeof answer);
    assert_int_equal(strncmp(answer, "HTTP/1.1 200 ", 13), 0);
    get(server, "/metrics", answer, sizeof answer);
    assert_non_null(strstr(answer, "capsnetd_ready 0\n"));
    while (now_ms() - begin < 1500) { /* and all else goes on */
        int fd = raw_connect(server, stretch_ms(5000));
        assert_int_equal(raw_send(fd, bytes, nbytes), 0);
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        expect_answer_behind_end(fd);
    }
    free(bytes);
    server_finish(server);
    assert_true(now_ms() - begin >= 2000 && now_ms() - begin < stretch_ms(6000));
}

static void a_second_signal_cuts_the_delay_short(void **state)
{
    (void)state;
    struct server *server = server_start(ARGS("--drain-delay-s", "60"), NO_ARGS);
    const long begin = now_ms();
    server_terminate(server);
    sleep_ms(300);
    expect_well(server);
    server_terminate(server);
    server_finish(server);
    assert_true(now_ms() - begin < stretch_ms(6000));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, server_kill_leftovers)
    const struct CMUnitTest tests[] = {
        TEST(half_closing_clients_are_answered),
        TEST(one_deadline_counts_for_all_of_a_request),
        TEST(a_balancer_sees_the_end_coming),
        TEST(a_second_signal_cuts_the_delay_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
