/*
 * test_faults.c - memory runs out once, at the n-th allocation between the
 * server's first and the end of a few requests and a reload.  The server must
 * either not start, and say why, or serve on: the request that is hit gets 503
 * or no answer, the next one its answer, and SIGTERM exit status 0.
 *
 * FAULTS_STEP  every how many allocations, default: such that there are 60;
 *              1 tries them all
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/http/fixtures.h"
#include "tests/http/harness.h"

enum { POINTS = 60, START_MS = 30000, SLOW_MS = 3000, KINDS = 6 };

static char preload[400];
static struct request kinds[KINDS];

static void make_kinds(void)
{
    static struct part part = {.name = "image", .filename = "a.png"};
    struct bytes pngs[2] = {draw_png(1), draw_png(2)};
    char *json = images_json(pngs, 2);
    part.bytes = pngs[0].data;
    part.nbytes = pngs[0].nbytes;
    struct request classify = {.path = "/classify", .body = pngs[0].data, .nbytes = pngs[0].nbytes};
    struct request picture = classify, batch = {.path = "/pose", .body = json,
                                                .nbytes = strlen(json),
                                                .headers = {"Content-Type: application/json"}};
    static const char oip[] = "{\"id\": \"a\", \"inputs\": [{\"name\": \"image\", \"shape\": [1], "
                              "\"datatype\": \"BYTES\", \"data\": [\"\"]}]}";
    picture.path = "/reconstruct?sweep=1";
    kinds[0] = classify;
    kinds[1] = batch;
    kinds[2] = picture;
    kinds[3] = (struct request){.path = "/classify", .parts = &part, .n_parts = 1};
    kinds[4] = (struct request){.path = "/v2/models/capsnet-test/infer", .body = oip,
                                .nbytes = sizeof oip - 1};
    kinds[5] = (struct request){.path = "/metrics"};
}

/* Waits for the start-up line or the end; 1 for the former. */
static int has_started(struct server *server)
{
    struct pollfd ready = {server->stdout_fd, POLLIN, 0};
    assert_int_equal(poll(&ready, 1, (int)stretch_ms(START_MS)), 1);
    return (ready.revents & POLLIN) != 0;
}

/* Ended before it served: with a status of its own choice, and a sentence. */
static void check_refusal(struct server *server, long at)
{
    siginfo_t info = {0};
    assert_int_equal(waitid(P_PID, (id_t)server->pid, &info, WEXITED | WNOWAIT), 0);
    char *log = server_log(server);
    if (info.si_code != CLD_EXITED)
        fail_msg("allocation %ld: the server died of signal %d: %s", at, info.si_status, log);
    if (info.si_status == 0 || strncmp(log, "allocations:", 12) == 0)
        fail_msg("allocation %ld: the server ended with status %d, saying: %s", at, info.si_status,
                 log);
    free(log);
    server_kill_leftovers(NULL);
}

/* Sends each request once, and new weights; counts those hit. */
static void ask(struct server *server, long at, size_t *hit)
{
    for (size_t i = 0; i < KINDS; i++) {
        struct reply *reply = http_send_on(server->curl, server->url, &kinds[i]);
        if (i == 1)
            assert_int_equal(kill(server->pid, SIGHUP), 0);
        long deserved = i == 4 ? 400 : 200;
        /* cJSON does not tell that memory was short from that the text is bad. */
        int is_json = kinds[i].headers[0] != NULL;
        if (reply->status != deserved && reply->status != 503 && reply->status != 0 &&
            !(is_json && reply->status == 400))
            fail_msg("allocation %ld, %s: status %ld: %.200s", at, kinds[i].path, reply->status,
                     (char *)reply->body);
        if (reply->ms > stretch_ms(SLOW_MS))
            fail_msg("allocation %ld, %s: answered after %ld ms", at, kinds[i].path, reply->ms);
        *hit += reply->status != deserved;
        reply_free(reply);
    }
}

/* Runs the server with one failing allocation (0: none).  Returns how many it
 * made in all, when none was to fail. */
static long run(long at, size_t *refused, size_t *hit)
{
    char variable[64], path[300];
    snprintf(variable, sizeof variable, "FAIL_AT=%ld", at);
    struct server *server = server_spawn(ARGS("--threads", "1", "--log-level", "error"),
                                         ARGS(preload, variable));
    snprintf(path, sizeof path, "%s", server->stderr_path);
    if (!has_started(server)) {
        ++*refused;
        check_refusal(server, at);
        return 0;
    }
    server_wait_ready(server);
    size_t before = *hit;
    ask(server, at, hit);
    /* Threads take turns as they like: the last points may only be reached here. */
    for (int i = 0; at && i < 2; i++) {
        struct reply *reply = http_send_on(server->curl, server->url, &kinds[0]);
        *hit += reply->status != 200;
        reply_free(reply);
    }
    if (*hit > before + 1)
        fail_msg("allocation %ld: %zu requests failed for one allocation", at, *hit - before);
    server_stop(server);
    size_t nbytes;
    char *log = (char *)read_file(path, &nbytes), *line = strstr(log, "allocations: ");
    long n = line ? atol(line + strlen("allocations: ")) : 0;
    free(log);
    return n;
}

static void memory_runs_out_once(void **state)
{
    (void)state;
    const char *build = getenv("BUILD"), *step_text = getenv("FAULTS_STEP");
    const char *seed_text = getenv("SEED");
    size_t refused = 0, hit = 0, points = 0;
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s/tests/faults/fail_alloc.so",
             build && *build ? build : "build");
    make_kinds();
    long n = run(0, &refused, &hit);
    assert_true(n > 100 && refused == 0 && hit == 0);
    long step = step_text ? atol(step_text) : n / POINTS;
    long seed = seed_text ? atol(seed_text) : now_ms();
    assert_true(step >= 1 && seed >= 0);
    printf("%ld allocations, every %ld tried, SEED %ld\n", n, step, seed);
    for (long at = 1 + seed % step; at <= n; at += step, points++)
        run(at, &refused, &hit);
    printf("%zu points: %zu did not start, %zu requests hit\n", points, refused, hit);
    assert_true(refused >= 1 && refused < points);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(memory_runs_out_once, server_kill_leftovers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
