/*
 * test_limits.c - how the server says no: too much, too slow, too many at
 * once, not yet, not any more.
 */
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/http/fixtures.h"
#include "tests/http/harness.h"

/* A request for /classify with this PNG. */
static struct request classify(const struct bytes *png)
{
    return (struct request){.path = "/classify", .body = png->data, .nbytes = png->nbytes};
}

/* ---- 413 -------------------------------------------------------------- */

static void too_many_bytes(void **state)
{
    (void)state;
    enum { LIMIT = 5000 };
    struct server *server = server_start(ARGS("--max-body-bytes", "5000"), NO_ARGS);
    char *body = calloc(1, LIMIT * 20);
    assert_non_null(body);
    for (int chunked = 0; chunked <= 1; chunked++) {
        expect_refused(server,
                       &(struct request){.path = "/classify",
                                         .body = body,
                                         .nbytes = LIMIT + 1,
                                         .chunked = chunked},
                       413, "too_large", "5000");
        expect_refused(server,
                       &(struct request){.path = "/pose",
                                         .body = body,
                                         .nbytes = LIMIT * 20,
                                         .chunked = chunked},
                       413, "too_large", "5000");
        /* One byte fewer is read, and found to be no image. */
        struct reply *reply =
            http_send(server, &(struct request){.path = "/classify",
                                                .body = body,
                                                .nbytes = LIMIT,
                                                .chunked = chunked,
                                                .headers = {"Content-Type: image/png"}});
        assert_error(reply, 400, "invalid_png", NULL);
        reply_free(reply);
    }
    free(body);
    server_stop(server);
}

static void a_stated_length_is_refused_before_the_body(void **state)
{
    (void)state;
    struct server *server = server_start(NO_ARGS, NO_ARGS);
    char answer[4000];
    static const char *const lengths[] = {"16777217", "9223372036854775807"};
    for (int i = 0; i < 2; i++) {
        char text[300];
        snprintf(text, sizeof text,
                 "POST /classify HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                 "Content-Length: %s\r\n\r\n",
                 lengths[i]);
        raw_exchange(server, text, answer, sizeof answer);
        assert_int_equal(strncmp(answer, "HTTP/1.1 413", 12), 0);
        assert_non_null(strstr(answer, "too_large"));
    }
    expect_well(server);
    server_stop(server);
}

static void too_many_images(void **state)
{
    (void)state;
    struct server *server = server_start(ARGS("--max-images=3"), NO_ARGS);
    struct bytes pngs[4];
    struct part parts[4];
    for (unsigned i = 0; i < 4; i++) {
        pngs[i] = draw_png(i);
        parts[i] = (struct part){"image", "digit.png", pngs[i].data, pngs[i].nbytes};
    }
    char *body = images_json(pngs, 4);
    expect_refused(server,
                   &(struct request){.path = "/classify",
                                     .body = body,
                                     .nbytes = strlen(body),
                                     .headers = {"Content-Type: application/json"}},
                   413, "too_large", "3");
    expect_refused(server, &(struct request){.path = "/classify", .parts = parts, .n_parts = 4},
                   413, "too_large", "3");
    free(body);
    body = images_json(pngs, 3);
    cJSON *json = post_json(server, "/classify", body, strlen(body));
    json_array(json, "predictions", 3);
    cJSON_Delete(json);
    free(body);
    for (int i = 0; i < 4; i++) free(pngs[i].data);
    server_stop(server);
}

static void too_many_pixels(void **state)
{
    (void)state;
    struct server *server = server_start(ARGS("--max-side", "100"), NO_ARGS);
    static const size_t sides[][2] = {{101, 1}, {1, 101}, {101, 101}};
    for (int i = 0; i < 3; i++) {
        struct bytes png = blank_png(sides[i][0], sides[i][1], 0);
        struct request request = classify(&png);
        expect_refused(server, &request, 413, "too_large", "100");
        free(png.data);
    }
    struct bytes png = blank_png(100, 100, 0);
    cJSON_Delete(post_json(server, "/classify", png.data, png.nbytes));
    free(png.data);
    server_stop(server);
}

/* ---- 408 -------------------------------------------------------------- */

/* Sends text a byte at a time, every pause_ms, until the server closes; returns
 * the milliseconds that it took. */
static long drip(const struct server *server, const char *head, long pause_ms, char *answer,
                 size_t size)
{
    long start = now_ms(), limit = stretch_ms(8000);
    int fd = raw_connect(server, pause_ms);
    raw_send(fd, head, strlen(head));
    while (raw_send(fd, "x", 1) == 0) {
        if (raw_read_all(fd, answer, size) >= 0) break;
        if (now_ms() - start > limit) fail_msg("a dripping client was never cut off");
    }
    close(fd);
    return now_ms() - start;
}

static void a_dripping_upload_is_cut_off(void **state)
{
    (void)state;
    struct server *server = server_start(ARGS("--request-deadline-s", "1"), NO_ARGS);
    char answer[4000] = "";
    long ms = drip(server,
                   "POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
                   "Content-Length: 100000\r\n\r\n",
                   100, answer, sizeof answer);
    if (strncmp(answer, "HTTP/1.1 408", 12) != 0 || !strstr(answer, "\"timeout\""))
        fail_msg("not a 408: %s", answer);
    assert_in_range(ms, 900, stretch_ms(5000));
    expect_well(server);

    /* There an answer is not owed.  One whose bytes come so fast that there is always one to
     * read shows no end of its own. */
    for (long pause_ms = 1; pause_ms <= 100; pause_ms *= 10) {
        ms = drip(server, "POST /classify HTTP/1.1\r\nHost: x\r\nX-Long: ", pause_ms, answer,
                  sizeof answer);
        assert_in_range(ms, 0, stretch_ms(5000));
    }
    expect_well(server);
    server_stop(server);
}

static void a_stalled_upload_is_cut_off(void **state)
{
    (void)state;
    struct server *server = server_start(ARGS("--request-deadline-s=1"), NO_ARGS);
    char answer[4000] = "";
    raw_exchange(server,
                 "POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nhello",
                 answer, sizeof answer);
    assert_int_equal(strncmp(answer, "HTTP/1.1 408", 12), 0);
    expect_well(server);
    server_stop(server);
}

/* Silence is told 408 too, whichever limit is reached first. */
static void silence_within_a_request_is_told(void **state)
{
    (void)state;
    enum { N = 20 };
    static const char *const texts[] = {
        "POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nhello",
        "GET /model HTTP/1.1\r\nHost: x\r\nX-Long: "};
    static const char *const deadlines[] = {"--request-deadline-s=1", "--request-deadline-s=20"};
    for (size_t d = 0; d < 2; d++) {
        struct server *server = server_start(ARGS("--timeout-s=1", deadlines[d]), NO_ARGS);
        int fds[N];
        for (int i = 0; i < N; i++) {
            fds[i] = raw_connect(server, 8000);
            assert_int_equal(raw_send(fds[i], texts[i % 2], strlen(texts[i % 2])), 0);
        }
        for (int i = 0; i < N; i++) {
            char answer[4000] = "";
            assert_true(raw_read_all(fds[i], answer, sizeof answer) >= 0);
            if (strncmp(answer, "HTTP/1.1 408", 12) != 0)
                fail_msg("connection %d, %s: not a 408 but \"%s\"", i, deadlines[d], answer);
            close(fds[i]);
        }
        expect_well(server);
        server_stop(server);
    }
}

/* The value of a gauge or counter. */
static double metric(struct server *server, const char *sample)
{
    struct reply *reply = http_send(server, &(struct request){.path = "/metrics"});
    const char *at = strstr((const char *)reply->body, sample);
    assert_non_null(at);
    double value = strtod(at + strlen(sample), NULL);
    reply_free(reply);
    return value;
}

/* A part of a request and the end of the connection, in one packet or nearly. */
static void a_hangup_in_the_middle_frees_the_connection(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "POST /cla", "POST /classify HTTP/1.1\r\nHost: x\r\n",
        "POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nhello"};
    struct server *server = server_start(NO_ARGS, NO_ARGS);
    for (int i = 0; i < 60; i++) {
        int fd = raw_connect(server, 1000);
        assert_int_equal(raw_send(fd, texts[i % 3], strlen(texts[i % 3])), 0);
        close(fd);
    }
    long until = now_ms() + stretch_ms(2000);
    double open;
    while ((open = metric(server, "\ncapsnetd_connections ")) > 1 && now_ms() < until) sleep_ms(20);
    assert_true(open <= 1); /* the one that asks */
    expect_well(server);
    server_stop(server);
}

static void a_silent_connection_is_closed(void **state)
{
    (void)state;
    struct server *server = server_start(ARGS("--timeout-s=1"), NO_ARGS);
    char answer[4000];
    int fd = raw_connect(server, 6000);
    long start = now_ms();
    assert_int_equal(raw_read_all(fd, answer, sizeof answer), 0);
    assert_in_range(now_ms() - start, 500, stretch_ms(5000));
    close(fd);
    expect_well(server);
    server_stop(server);
}

/* ---- 503 -------------------------------------------------------------- */

static void a_full_queue_refuses(void **state)
{
    (void)state;
    enum { N = 8 };
    struct server *server =
        server_start(ARGS("--queue", "2", "--batch-delay-us", "1000000"), NO_ARGS);
    struct bytes png = draw_png(0);
    struct request requests[N];
    struct reply *replies[N];
    for (int i = 0; i < N; i++) requests[i] = classify(&png);
    struct flight *flight = http_launch(server, requests, N);
    sleep_ms(300);
    /* Neither health nor the model's description waits for the queue. */
    static const char *const paths[] = {"/healthz", "/readyz", "/model"};
    for (int i = 0; i < 3; i++) {
        struct reply *reply = http_send(server, &(struct request){.path = paths[i]});
        assert_int_equal(reply->status, 200);
        assert_true(reply->ms < stretch_ms(500));
        reply_free(reply);
    }
    http_land(flight, replies);
    int answered = 0, refused = 0;
    for (int i = 0; i < N; i++) {
        if (replies[i]->status == 200) {
            answered++;
        } else {
            assert_error(replies[i], 503, "overloaded", NULL);
            assert_true(replies[i]->ms < stretch_ms(900)); /* at once, not after its turn */
            refused++;
        }
        reply_free(replies[i]);
    }
    assert_true(answered >= 2);
    assert_true(refused >= 2);
    expect_well(server);
    free(png.data);
    server_stop(server);
}

/* A port that was free a moment ago. */
static unsigned free_port(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static void a_loading_server_says_so(void **state)
{
    (void)state;
    /* The shipped weights: the tests' own load too fast. */
    char listen[40], url[64];
    unsigned port = free_port();
    snprintf(listen, sizeof listen, "127.0.0.1:%u", port);
    snprintf(url, sizeof url, "http://127.0.0.1:%u", port);
    struct server *server = server_spawn(
        ARGS("--listen", listen, "--weights", shipped_weights(), "--cpu-level", "ref"), NO_ARGS);
    struct bytes png = draw_png(0);
    struct request request = classify(&png);
    int loading = 0;
    for (long deadline = now_ms() + stretch_ms(20000); now_ms() < deadline; sleep_ms(1)) {
        struct reply *reply =
            http_send_on(server->curl, url, &(struct request){.path = "/readyz"});
        long status = reply->status;
        if (status == 503) assert_error(reply, 503, "loading", NULL);
        reply_free(reply);
        if (status == 200) break;
        if (status != 503 || loading) continue;
        reply = http_send_on(server->curl, url, &(struct request){.path = "/healthz"});
        assert_true(reply->status == 200 || reply->status == 503); /* openapi.json has both */
        reply_free(reply);
        reply = http_send_on(server->curl, url, &request);
        if (reply->status != 200) {
            assert_error(reply, 503, "loading", NULL);
            loading = 1;
        }
        reply_free(reply);
    }
    assert_true(loading);
    server_wait_ready(server);
    expect_well(server);
    free(png.data);
    server_stop(server);
}

/* ---- The end ---------------------------------------------------------- */

static void requests_in_flight_are_answered(void **state)
{
    (void)state;
    enum { N = 6 };
    struct server *server = server_start(ARGS("--batch-delay-us", "1000000"), NO_ARGS);
    struct bytes png = draw_png(0);
    struct request requests[N];
    struct reply *replies[N];
    for (int i = 0; i < N; i++) requests[i] = classify(&png);
    requests[0].path = "/reconstruct?sweep=1";
    struct flight *flight = http_launch(server, requests, N);
    sleep_ms(300);
    server_terminate(server);
    sleep_ms(100);
    /* On the connection that the start opened. */
    struct reply *reply = http_send(server, &(struct request){.path = "/readyz"});
    assert_int_equal(reply->connects, 0);
    assert_error(reply, 503, "draining", NULL);
    reply_free(reply);
    http_land(flight, replies);
    for (int i = 0; i < N; i++) {
        if (replies[i]->status != 200)
            fail_msg("in flight: %ld %s %s", replies[i]->status, replies[i]->error,
                     (const char *)replies[i]->body);
        reply_free(replies[i]);
    }
    server_finish(server);
    free(png.data);
}

static void a_draining_server_takes_nothing_new(void **state)
{
    (void)state;
    struct server *server = server_start(ARGS("--batch-delay-us", "1000000"), NO_ARGS);
    struct bytes png = draw_png(0);
    struct request request = classify(&png);
    struct reply *slow = NULL;
    struct flight *flight = http_launch(server, &request, 1);
    sleep_ms(300);
    server_terminate(server);
    sleep_ms(100);
    struct reply *reply = http_send_on(server->curl, server->url, &request);
    assert_int_equal(reply->connects, 0);
    assert_error(reply, 503, "draining", NULL);
    reply_free(reply);
    http_land(flight, &slow);
    assert_int_equal(slow->status, 200);
    reply_free(slow);
    server_finish(server);
    free(png.data);
}

static void a_stalled_client_does_not_stop_the_end(void **state)
{
    (void)state;
    struct server *server = server_start(ARGS("--drain-s", "1"), NO_ARGS);
    int fds[3];
    for (int i = 0; i < 3; i++) fds[i] = raw_connect(server, 1000);
    static const char text[] = "POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\nx";
    raw_send(fds[0], text, strlen(text));
    raw_send(fds[1], text, 20); /* fds[2] says nothing */
    sleep_ms(100);
    long start = now_ms();
    server_terminate(server);
    server_finish(server);
    assert_true(now_ms() - start < stretch_ms(4000));
    for (int i = 0; i < 3; i++) close(fds[i]);
}

static void an_interrupt_ends_it_too(void **state)
{
    (void)state;
    struct server *server = server_start(NO_ARGS, NO_ARGS);
    long start = now_ms();
    assert_int_equal(kill(server->pid, SIGINT), 0);
    server_finish(server);
    assert_true(now_ms() - start < stretch_ms(3000)); /* nothing to wait for */
}

static void a_hangup_before_the_answer_is_harmless_at_the_end(void **state)
{
    (void)state;
    struct server *server = server_start(ARGS("--batch-delay-us", "500000"), NO_ARGS);
    struct bytes png = draw_png(0);
    char head[200];
    int n = snprintf(head, sizeof head,
                     "POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n",
                     png.nbytes);
    int fd = raw_connect(server, 1000);
    raw_send(fd, head, (size_t)n);
    raw_send(fd, png.data, png.nbytes);
    sleep_ms(100);
    close(fd);
    server_stop(server);
    free(png.data);
}

/* ---- Queue deadline, headers, addresses ------------------------------- */

static void a_long_wait_is_refused(void **state)
{
    (void)state;
    /* A batch that is not full starts after 4 s: twice what an image may wait. */
    struct server *server = server_start(
        ARGS("--queue-deadline-ms", "2000", "--batch-delay-us", "4000000", "--max-batch", "2"),
        NO_ARGS);
    struct bytes pngs[2] = {draw_png(0), draw_png(1)};
    const struct request request = classify(&pngs[0]);
    struct reply *reply = http_send(server, &request);
    assert_error(reply, 503, "overloaded", "2000 ms");
    reply_free(reply);
    char *body = images_json(pngs, 2); /* a full batch, at once */
    cJSON_Delete(post_json(server, "/classify", body, strlen(body)));
    free(body);
    free(pngs[0].data);
    free(pngs[1].data);
    server_stop(server);
}

static void large_headers_are_refused(void **state)
{
    (void)state;
    struct server *server = server_start(ARGS("--max-header-bytes", "1000"), NO_ARGS);
    static char large[1100] = "X-Filler: ", path[1100] = "/model?";
    memset(large + 10, 'x', 1000);
    memset(path + 7, 'x', 1000);
    struct bytes png = draw_png(0);
    expect_refused(server, &(struct request){.path = "/model", .headers = {large}}, 431,
                   "headers_too_large", "1000");
    expect_refused(server, &(struct request){.path = path}, 431, "headers_too_large", "1000");
    path[2] = 'x'; /* nor is a path too long for that one that is not there */
    expect_refused(server, &(struct request){.path = path}, 431, "headers_too_large", "1000");
    expect_refused(server,
                   &(struct request){.path = "/classify", .body = png.data, .nbytes = png.nbytes,
                                     .headers = {large}}, 431, "headers_too_large", "1000");
    large[700] = 0;
    struct reply *reply = http_send(server, &(struct request){.path = "/model",
                                                              .headers = {large}});
    assert_int_equal(reply->status, 200);
    reply_free(reply);
    free(png.data);
    server_stop(server);
}

static void an_address_has_only_so_many_connections(void **state)
{
    (void)state;
    struct server *server = server_start(ARGS("--max-connections-per-ip", "3"), NO_ARGS);
    expect_well(server); /* on a connection that stays: the first */
    int kept[2] = {raw_connect(server, 5000), raw_connect(server, 5000)};
    expect_well(server); /* they are accepted by now */
    int refused = raw_connect(server, 5000);
    char text[100];
    assert_int_equal(raw_read_all(refused, text, sizeof text), 0);
    close(refused);
    for (int i = 0; i < 2; i++) {
        static const char healthz[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n"
                                      "Connection: close\r\n\r\n";
        char answer[1000];
        assert_int_equal(raw_send(kept[i], healthz, sizeof healthz - 1), 0);
        assert_true(raw_read_all(kept[i], answer, sizeof answer) > 0);
        assert_non_null(strstr(answer, " 200 "));
        close(kept[i]);
    }
    expect_well(server);
    server_stop(server);
}

/* Who comes when all are taken waits, and is served when one has gone. */
static void so_many_connections_at_a_time(void **state)
{
    (void)state;
    static const char healthz[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    struct server *server = server_start(ARGS("--max-connections", "3"), NO_ARGS);
    expect_well(server); /* on a connection that stays: the first */
    int taken[2] = {raw_connect(server, 5000), raw_connect(server, 5000)};
    char answer[1000];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(raw_send(taken[i], healthz, sizeof healthz - 1), 0);
        assert_true(recv(taken[i], answer, sizeof answer, 0) > 0);
    }
    int waiting = raw_connect(server, 5000);
    assert_int_equal(raw_send(waiting, healthz, sizeof healthz - 1), 0);
    usleep(200000);
    assert_true(recv(waiting, answer, sizeof answer, MSG_DONTWAIT) < 0);
    close(taken[0]);
    assert_true(recv(waiting, answer, sizeof answer, 0) > 0);
    assert_non_null(strstr(answer, " 200 "));
    close(waiting);
    close(taken[1]);
    expect_well(server);
    server_stop(server);
}

/* A hundred clients who send a picture and hang up, before their answer or in the middle of
 * others' batches: the others have theirs, and nobody's place in the queue is lost. */
static void clients_who_hang_up_leave_no_trace(void **state)
{
    (void)state;
    struct server *server =
        server_start(ARGS("--queue", "8"), NO_ARGS);
    char request[2000];
    struct bytes png = draw_png(1);
    const int head = snprintf(request, sizeof request,
                              "POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n",
                              png.nbytes);
    assert_true((size_t)head + png.nbytes < sizeof request);
    memcpy(request + head, png.data, png.nbytes);
    for (int i = 0; i < 100; i++) {
        int gone = raw_connect(server, 5000);
        assert_int_equal(raw_send(gone, request, (size_t)head + png.nbytes), 0);
        if (i % 3 == 0)
            usleep(2000);
        close(gone);
    }
    const struct request staying = classify(&png);
    struct reply *reply = http_send(server, &staying);
    for (int i = 0; i < 100 && reply->status == 503; i++) {
        sleep_ms(20); /* those who are gone may fill the queue until it is seen */
        reply_free(reply);
        reply = http_send(server, &staying);
    }
    assert_int_equal(reply->status, 200);
    reply_free(reply);
    reply = http_send(server, &(struct request){.path = "/metrics"});
    assert_non_null(strstr((char *)reply->body, "capsnetd_queue_images{model=\"capsnet-test\"} 0\n"));
    reply_free(reply);
    free(png.data);
    server_stop(server);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, server_kill_leftovers)
    const struct CMUnitTest tests[] = {
        TEST(too_many_bytes),
        TEST(a_stated_length_is_refused_before_the_body),
        TEST(too_many_images),
        TEST(too_many_pixels),
        TEST(a_dripping_upload_is_cut_off),
        TEST(a_stalled_upload_is_cut_off),
        TEST(silence_within_a_request_is_told),
        TEST(a_hangup_in_the_middle_frees_the_connection),
        TEST(a_silent_connection_is_closed),
        TEST(a_full_queue_refuses),
        TEST(a_long_wait_is_refused),
        TEST(large_headers_are_refused),
        TEST(so_many_connections_at_a_time),
        TEST(clients_who_hang_up_leave_no_trace),
        TEST(an_address_has_only_so_many_connections),
        TEST(a_loading_server_says_so),
        TEST(requests_in_flight_are_answered),
        TEST(a_draining_server_takes_nothing_new),
        TEST(a_stalled_client_does_not_stop_the_end),
        TEST(an_interrupt_ends_it_too),
        TEST(a_hangup_before_the_answer_is_harmless_at_the_end),
    };
    return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
