/*
 * soak.c - the real server under mixed good and bad traffic for SOAK_MINUTES (3):
 * clients that ask properly and wrongly, hang up in the middle, close their sending
 * side, drip; a queue that is often full; new weights every second and a half.
 *
 * Every request that got a connection must get the one answer it deserves, or
 * 503; there must be no 500; memory, descriptors and threads must not grow; SIGTERM
 * must end it all with exit status 0.  SOAK_CHART names the picture of what the
 * server held.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/http/fixtures.h"
#include "tests/http/harness.h"
#include "tests/soak/samples.h"
#include "tests/soak/traffic.h"

enum { SAMPLE_MS = 500, RELOAD_MS = 1500 };
static const size_t clients[MANNERS] = {[ASKS] = 24, [LEAVES] = 6, [HALF_CLOSES] = 3, [DRIPS] = 4};

/* The share of the time after which nothing may grow any more. */
#define WARM_UP 0.25

/* Resident memory in the last quarter, as a median, may be larger than in the
 * second quarter by this much.  Reloads free and take a model all the time, so
 * that single readings vary by its size; medians do not. */
#define TOLERANCE 1.05

/* From that length on the trend is told from the noise: MiB an hour. */
#define LONG_MINUTES 20
#define MOST_AN_HOUR 1.0

/* Reloads and samples until the time is over. */
static void watch(struct server *server, double minutes, struct samples *samples)
{
    const long begin = now_ms(), end = begin + (long)(minutes * 60000);
    long reload = begin;
    while (now_ms() < end && server_alive(server) && !traffic_has_failed()) {
        if (now_ms() >= reload) {
            assert_int_equal(kill(server->pid, SIGHUP), 0);
            reload += RELOAD_MS;
        }
        sleep_ms(SAMPLE_MS);
        assert_int_equal(
            samples_take(samples, server->pid, (double)(now_ms() - begin) / 60000), 0);
    }
}

static long metric(const char *metrics, const char *sample)
{
    const char *at = strstr(metrics, sample);
    return at ? strtol(at + strlen(sample), NULL, 10) : -1;
}

/* What the server itself has counted. */
static void check_metrics(struct server *server)
{
    struct reply *reply = http_send(server, &(struct request){.path = "/metrics"});
    const char *metrics = (const char *)reply->body;
    const long reloads = metric(metrics, "\ncapsnetd_reloads_total{result=\"ok\"} ");
    printf("%ld reloads\n", reloads);
    assert_null(strstr(metrics, "\"500\""));
    assert_int_equal(metric(metrics, "\ncapsnetd_reloads_total{result=\"failed\"} "), 0);
    assert_true(reloads >= 1);
    reply_free(reply);
}

/* Draws the chart, and holds that nothing has grown. */
static void judge_growth(const struct samples *samples, double minutes)
{
    static const char *const names[] = {"resident MiB", "descriptors", "threads"};
    const char *chart = getenv("SOAK_CHART");
    char title[80];
    snprintf(title, sizeof title, "%.3g minutes, %+.2f MiB an hour after warm-up", minutes,
             samples_slope(samples, MEMORY_MIB, WARM_UP));
    if (chart && *chart) {
        assert_int_equal(samples_draw(samples, WARM_UP, title, chart), 0);
        printf("chart: %s\n", chart);
    }
    for (int held = MEMORY_MIB; held <= THREADS; held++) {
        const double early = samples_median(samples, (enum held)held, WARM_UP, 0.5);
        const double late = samples_median(samples, (enum held)held, 0.75, 1);
        const double slope = samples_slope(samples, (enum held)held, WARM_UP);
        printf("%-13s median of the second quarter %.1f, of the last %.1f; %+.2f an hour\n",
               names[held], early, late, slope);
        if (held != DESCRIPTORS) /* they come and go with the clients */
            assert_true(late <= early * TOLERANCE);
        else
            assert_true(late <= early * 1.25);
        if (held == MEMORY_MIB && minutes >= LONG_MINUTES)
            assert_true(slope < MOST_AN_HOUR);
    }
}

static void soak(void **state)
{
    (void)state;
    struct samples samples = {0};
    struct traffic_counts counts[MANNERS];
    char failure[600];
    const char *seed_text = getenv("SEED"), *minutes_text = getenv("SOAK_MINUTES");
    const unsigned long seed = seed_text ? strtoul(seed_text, NULL, 10) : (unsigned long)now_ms();
    const double minutes = minutes_text ? strtod(minutes_text, NULL) : 3;
    struct server *server = server_start(
        ARGS("--queue", "16", "--max-batch", "16", "--log-level", "error", "--request-deadline-s",
             "300"), NO_ARGS);
    printf("seed %lu, %g minutes; of the clients %zu ask, %zu hang up, %zu half-close, %zu drip\n",
           seed, minutes, clients[ASKS], clients[LEAVES], clients[HALF_CLOSES], clients[DRIPS]);
    fflush(stdout);
    traffic_start(server->url, server->port, clients, seed);
    watch(server, minutes, &samples);
    traffic_stop(counts, failure);
    if (*failure)
        fail_msg("%s", failure);
    printf("asked: %zu as deserved, %zu with 503; hung up: %zu; half-closed: %zu, %zu with 503, "
           "%zu without an answer; dripped: %zu, %zu with 503\n",
           counts[ASKS].deserved, counts[ASKS].busy, counts[LEAVES].deserved,
           counts[HALF_CLOSES].deserved, counts[HALF_CLOSES].busy, counts[HALF_CLOSES].unanswered,
           counts[DRIPS].deserved, counts[DRIPS].busy);
    assert_true(counts[ASKS].busy >= 1 && samples.n >= 8);
    for (int manner = 0; manner < MANNERS; manner++)
        assert_true(counts[manner].deserved >= 1);
    assert_int_equal(counts[HALF_CLOSES].unanswered, 0);
    check_metrics(server);
    judge_growth(&samples, minutes);
    expect_well(server);
    server_stop(server);
    free(samples.at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(soak, server_kill_leftovers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
