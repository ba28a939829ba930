/*
 * test_overload.c - more than the server can do: what it takes it answers in
 * time, the rest it refuses at once, and probes do not wait; nor do reloads
 * and an end lose a request, or one who has connected.
 *
 * In `make test` with a small network and loose bounds, for a machine that does
 * other things meanwhile.  `make bench-http` runs the same at full size, with the
 * clients beside the server, whose processors they take a share of, and then, as
 * mostly in life, on one of their own:
 *
 * OVERLOAD_WEIGHTS  weights to serve, with the bounds that the service promises
 * argv[1]           only the tests that fit this pattern
 */
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/common/cannot_run.h"
#include "tests/http/fixtures.h"
#include "tests/http/harness.h"
#include "tests/http/load.h"

enum { RELOADS = 100, RELOADING_LIMIT_MS = 600000, OVERLOAD = 4 };

/* What is demanded, and of what. */
static const struct size {
    double seconds;
    size_t best_connections;  /* as many as fill the batches */
    size_t flood_connections; /* more than a full queue and two batches */
    double delivered;         /* under overload, of the best */
    double probe_ms;          /* /healthz's 99th percentile */
} SMALL = {1, 8, 128, 0.4, 100}, FULL = {5, 64, 480, 0.9, 10};

enum { DEADLINE_MS = 500 };

static const char *full_weights;

static struct server *start(void)
{
    if (full_weights)
        return server_start(ARGS("--weights", full_weights, "--queue-deadline-ms", "500",
                                 "--log-level", "error"), NO_ARGS);
    /* Some hundred images a second, one by one: easily overloaded. */
    char path[300];
    snprintf(path, sizeof path, "%s/slow.safetensors", test_folder());
    make_weights(path, 256, "0.2");
    return server_start(ARGS("--weights", path, "--threads", "1", "--max-batch", "1", "--queue",
                             "16", "--queue-deadline-ms", "500", "--log-level", "error"), NO_ARGS);
}

static struct load_plan make_plan(const struct server *server, size_t connections, double seconds)
{
    static struct bytes png;
    if (!png.data) png = draw_png(7);
    return (struct load_plan){.port = server->port, .path = "/classify", .body = png.data,
                              .nbytes = png.nbytes, .connections = connections,
                              .seconds = seconds};
}

static void run_plan(const struct load_plan *plan, struct load_result *result)
{
    if (load_run(plan, result) != 0) fail_msg("%s", result->problem);
    if (result->lost || result->other)
        fail_msg("%zu lost, %zu of another status; the first: %s", result->lost, result->other,
                 result->problem);
}

static long metric(struct server *server, const char *sample)
{
    struct reply *reply = http_send(server, &(struct request){.path = "/metrics"});
    const char *at = strstr((const char *)reply->body, sample);
    assert_non_null(at);
    long value = strtol(at + strlen(sample), NULL, 10);
    reply_free(reply);
    return value;
}

/* ---- Overload --------------------------------------------------------------- */

static void expect_refusals_at_once(struct server *server, const struct size *size)
{
    struct load_result best, flood;
    struct load_plan plan = make_plan(server, size->best_connections, size->seconds);
    run_plan(&plan, &best);
    assert_int_equal(best.refused, 0);
    double best_rate = (double)best.answered / best.seconds;
    plan = make_plan(server, size->flood_connections, size->seconds);
    plan.rate = OVERLOAD * best_rate;
    plan.probe = "/healthz";
    run_plan(&plan, &flood);
    double rate = (double)flood.answered / flood.seconds;
    print_message("best, %zu connections: %.0f/s, p99 %.1f ms\n"
                  "offered %d times that, %zu connections: answered %.0f/s (%.0f %%), p50 %.1f ms, "
                  "p99 %.1f ms\n"
                  "refused %.0f/s, p50 %.1f ms, p99 %.1f ms; not offered for want of a connection "
                  "%.0f/s\n"
                  "/healthz meanwhile: %zu times, p99 %.2f ms, longest %.2f ms\n"
                  "the clients used %.2f CPUs\n",
                  size->best_connections, best_rate, best.answered_p99_ms, OVERLOAD,
                  size->flood_connections, rate, 100 * rate / best_rate, flood.answered_p50_ms,
                  flood.answered_p99_ms, (double)flood.refused / flood.seconds,
                  flood.refused_p50_ms, flood.refused_p99_ms,
                  (double)flood.unsent / flood.seconds, flood.probes, flood.probe_p99_ms,
                  flood.probe_max_ms, flood.cpu_seconds / flood.seconds);
    assert_true(flood.answered > 0 && flood.refused > 0 && flood.probes > 10);
    assert_true(flood.answered_p99_ms < (double)stretch_ms(2 * DEADLINE_MS));
    assert_true(rate > size->delivered * best_rate);
    assert_true(flood.probe_p99_ms < size->probe_ms * (double)stretch_ms(1));
    expect_well(server);
}

static void the_rest_is_refused_at_once(void **state)
{
    (void)state;
    const struct size *size = full_weights ? &FULL : &SMALL;
    struct server *server = start();
    expect_refusals_at_once(server, size);
    server_stop(server);
}

/* This thread, and the threads and processes that it makes, on CPUs first to last. */
static void stay_on(int first, int last)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int cpu = first; cpu <= last; cpu++)
        CPU_SET((size_t)cpu, &set);
    assert_int_equal(sched_setaffinity(0, sizeof set, &set), 0);
}

static void the_rest_is_refused_with_clients_apart(void **state)
{
    (void)state;
    const struct size *size = full_weights ? &FULL : &SMALL;
    const int last = (int)sysconf(_SC_NPROCESSORS_ONLN) - 1;
    cpu_set_t all;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    if (last < 1 || CPU_COUNT(&all) <= last) {
        CANNOT_RUN("clients on a CPU of their own need a second one");
    }
    stay_on(0, last - 1);
    struct server *server = start();
    stay_on(last, last);
    expect_refusals_at_once(server, size);
    server_stop(server);
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
}

/* ---- Reloads and the end ---------------------------------------------------- */

struct thread {
    pthread_t thread;
    struct load_plan plan;
    struct load_result result;
    int status;
};

static void *run_thread(void *argument)
{
    struct thread *thread = argument;
    thread->status = load_run(&thread->plan, &thread->result);
    return NULL;
}

static void no_request_is_lost_by_reloads_or_the_end(void **state)
{
    (void)state;
    struct server *server = server_start(
        ARGS("--weights", full_weights ? full_weights : test_weights(), "--log-level", "error"),
        NO_ARGS);
    atomic_int is_ending = 0;
    struct thread clients = {.plan = make_plan(server, 64, 2 * RELOADING_LIMIT_MS / 1000.0)};
    clients.plan.is_ending = &is_ending;
    assert_int_equal(pthread_create(&clients.thread, NULL, run_thread, &clients), 0);
    const char *ok = "\ncapsnetd_reloads_total{result=\"ok\"} ";
    long begin = now_ms(), until = begin + RELOADING_LIMIT_MS, done = -1;
    while (done < RELOADS && now_ms() < until) {
        long now = metric(server, ok);
        if (now != done) assert_int_equal(kill(server->pid, SIGHUP), 0);
        done = now;
        sleep_ms(2);
    }
    double seconds = (double)(now_ms() - begin) / 1000;
    long failed = metric(server, "\ncapsnetd_reloads_total{result=\"failed\"} ");
    atomic_store(&is_ending, 1);
    server_terminate(server);
    assert_int_equal(pthread_join(clients.thread, NULL), 0);
    server_finish(server);
    const struct load_result *result = &clients.result;
    print_message("%ld reloads in %.1f s, then SIGTERM, 64 connections: %zu sent, %zu answered, "
                  "%zu refused while draining, %zu lost\n", done, seconds, result->sent,
                  result->answered, result->refused, result->lost);
    if (clients.status || result->lost || result->other) fail_msg("%s", result->problem);
    assert_true(done >= RELOADS && failed == 0 && result->answered > 0);
    assert_int_equal(result->sent, result->answered + result->refused);
}

/* A client that connects anew for each request, until it cannot. */
struct visitor {
    pthread_t thread;
    unsigned port;
    size_t answered, cut_off;
};

/* One visit; 0 when nobody listens any more. */
static int visit(struct visitor *v)
{
    static const char ask[] = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    const struct sockaddr_in to = {
        AF_INET, htons((uint16_t)v->port), {htonl(INADDR_LOOPBACK)}, {0}};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    char answer[2048];
    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof to) != 0) {
        if (fd >= 0) close(fd);
        return 0;
    }
    long n = raw_send(fd, ask, sizeof ask - 1) == 0 ? raw_read_all(fd, answer, sizeof answer) : -1;
    const int is_whole = n > 0 && memcmp(answer, "HTTP/1.1 200", 12) == 0;
    v->answered += (size_t)is_whole;
    v->cut_off += (size_t)!is_whole;
    close(fd);
    return 1;
}

static void *run_visitor(void *argument)
{
    while (visit(argument))
        continue;
    return NULL;
}

static void nobody_who_has_connected_is_cut_off(void **state)
{
    enum { ENDS = 4, VISITORS = 8 };
    (void)state;
    size_t answered = 0, cut_off = 0;
    for (size_t end = 0; end < ENDS; end++) {
        struct server *server = server_start(ARGS("--log-level", "error"), NO_ARGS);
        struct visitor visitors[VISITORS];
        for (size_t i = 0; i < VISITORS; i++) {
            visitors[i] = (struct visitor){.port = server->port};
            assert_int_equal(
                pthread_create(&visitors[i].thread, NULL, run_visitor, &visitors[i]), 0);
        }
        sleep_ms(50);
        server_terminate(server);
        for (size_t i = 0; i < VISITORS; i++) {
            assert_int_equal(pthread_join(visitors[i].thread, NULL), 0);
            answered += visitors[i].answered;
            cut_off += visitors[i].cut_off;
        }
        server_finish(server);
    }
    print_message("SIGTERM %d times while %d clients connect anew for each request: "
                  "%zu answered, %zu cut off\n", ENDS, VISITORS, answered, cut_off);
    assert_true(answered > 0);
    assert_int_equal(cut_off, 0);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_teardown(name, server_kill_leftovers)
    const struct CMUnitTest tests[] = {
        TEST(the_rest_is_refused_at_once),
        TEST(the_rest_is_refused_with_clients_apart),
        TEST(no_request_is_lost_by_reloads_or_the_end),
        TEST(nobody_who_has_connected_is_cut_off),
    };
    full_weights = getenv("OVERLOAD_WEIGHTS");
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("overload", tests, NULL, NULL);
}
