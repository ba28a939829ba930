/* test_deadlines.c - who is silent or late is cut off, and nobody else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/basics/clock.h"
#include "server/connection/deadlines.h"

static void only_the_silent_are_cut_off(void **state)
{
    (void)state;
    struct deadlines deadlines;
    int pair[2];
    char text[1000] = "";
    deadlines_init(&deadlines, 1000000, INT64_MAX / 2);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    struct client *client = deadlines_open(&deadlines, pair[0], INT64_MAX);
    assert_non_null(client);
    assert_int_equal(deadlines_enter(&deadlines, client, CLIENT_WORKING, INT64_MAX, NULL), 0);
    deadlines_sweep(&deadlines, clock_us() + 2000000);
    assert_int_equal(recv(pair[1], text, sizeof text, 0), -1); /* it is not its turn */
    assert_int_equal(deadlines_receive(&deadlines, client, NULL), 0);
    const int64_t late = clock_us() + 1000000;
    while (clock_us() <= late - 1000000)
        continue;
    deadlines_hear(&deadlines, client);
    deadlines_sweep(&deadlines, late);
    assert_int_equal(recv(pair[1], text, sizeof text, 0), -1);
    deadlines_sweep(&deadlines, clock_us() + 1000000);
    assert_true(recv(pair[1], text, sizeof text - 1, 0) > 0);
    assert_int_equal(strncmp(text, "HTTP/1.1 408 ", 13), 0);
    deadlines_close(&deadlines, client);
    deadlines_destroy(&deadlines);
    close(pair[0]);
    close(pair[1]);
}

static void only_the_late_are_cut_off(void **state)
{
    (void)state;
    static const enum client_phase PHASES[] = {CLIENT_IDLE, CLIENT_RECEIVING, CLIENT_ANSWERING,
                                               CLIENT_RECEIVING};
    static const int64_t DUE[] = {10, 10, 10, 11};
    struct deadlines deadlines;
    struct client *clients[4];
    int pairs[4][2];
    deadlines_init(&deadlines, 1000000, INT64_MAX / 2);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pairs[i]), 0);
        clients[i] = deadlines_open(&deadlines, pairs[i][0], INT64_MAX);
        assert_non_null(clients[i]);
        assert_int_equal(deadlines_enter(&deadlines, clients[i], PHASES[i], DUE[i], "the-id"), 0);
    }
    deadlines_sweep(&deadlines, 9);
    char text[1000];
    for (int i = 0; i < 4; i++)
        assert_int_equal(recv(pairs[i][1], text, sizeof text, 0), -1);
    deadlines_sweep(&deadlines, 10);
    deadlines_sweep(&deadlines, 10); /* once is enough */
    for (int i = 0; i < 2; i++) {
        ssize_t n = recv(pairs[i][1], text, sizeof text - 1, 0);
        assert_true(n > 0);
        text[n] = 0;
        assert_int_equal(strncmp(text, "HTTP/1.1 408 ", 13), 0);
        assert_non_null(strstr(text, "X-Request-Id: the-id\r\n"));
        assert_non_null(strstr(text, "\"timeout\""));
        assert_null(strstr(text + 13, "HTTP/1.1"));
        assert_int_equal(recv(pairs[i][0], text, 1, 0), 0); /* reads as ended */
    }
    assert_int_equal(recv(pairs[2][1], text, sizeof text, 0), 0);
    assert_int_equal(recv(pairs[3][1], text, sizeof text, 0), -1);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(
            deadlines_enter(&deadlines, clients[i], CLIENT_WORKING, INT64_MAX, NULL),
            i == 3 ? 0 : -1);
        deadlines_close(&deadlines, clients[i]);
        close(pairs[i][0]);
        close(pairs[i][1]);
    }
    assert_null(deadlines.clients);
    deadlines_close(&deadlines, NULL);
    deadlines_destroy(&deadlines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_silent_are_cut_off),
        cmocka_unit_test(only_the_late_are_cut_off),
    };
    return cmocka_run_group_tests_name("server deadlines", tests, NULL, NULL);
}
