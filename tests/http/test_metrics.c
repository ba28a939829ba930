/* test_metrics.c - GET /metrics counts what really happened. */
#include <ctype.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/http/fixtures.h"
#include "tests/http/harness.h"

/* ---- Helpers ---------------------------------------------------------- */

/* The whole page; free() it. */
static char *scrape(struct server *server)
{
    struct reply *reply = http_send(server, &(struct request){.path = "/metrics"});
    assert_int_equal(reply->status, 200);
    char type[100] = "";
    reply_header(reply, "Content-Type", type, sizeof type);
    assert_string_equal(type, "text/plain; version=0.0.4; charset=utf-8");
    char *page = strdup((char *)reply->body);
    assert_non_null(page);
    reply_free(reply);
    return page;
}

/* The value of a sample, name{labels} written as the page has it; 0 when the
 * page has none. */
static double value_on(const char *page, const char *sample)
{
    size_t n = strlen(sample);
    for (const char *line = page; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, sample, n) == 0 && line[n] == ' ') return strtod(line + n, NULL);
    }
    return 0;
}

static double value(struct server *server, const char *sample)
{
    char *page = scrape(server);
    double number = value_on(page, sample);
    free(page);
    return number;
}

static void expect_sample(struct server *server, const char *sample, double expected)
{
    double got = value(server, sample);
    if (!(fabs(got - expected) < 1e-9)) fail_msg("%s is %g, not %g", sample, got, expected);
}

static void send_and_forget(struct server *server, const struct request *request, long status)
{
    struct reply *reply = http_send(server, request);
    assert_int_equal(reply->status, status);
    reply_free(reply);
}

#define REQUESTS(route, method, status)                                                       \
    "capsnetd_requests_total{route=\"" route "\",method=\"" method "\",status=\"" status "\"}"
/* Of the test weights' model; labels: others, with a comma before them. */
#define OF_MODEL(name, labels) name "{model=\"capsnet-test\"" labels "}"
#define REJECTED(reason) "capsnetd_rejected_total{reason=\"" reason "\"}"

/* ---- The numbers ------------------------------------------------------ */

static void requests_are_counted_by_route_and_status(void **state)
{
    (void)state;
    struct server *server = server_start(ARGS("--threads", "1", "--max-body-bytes", "9999"),
                                         NO_ARGS);
    struct bytes png = draw_png(1);
    const struct request good = {.path = "/classify", .body = png.data, .nbytes = png.nbytes};
    for (int i = 0; i < 3; i++) send_and_forget(server, &good, 200);
    send_and_forget(server, &(struct request){.path = "/classify?x=1", .body = png.data,
                                              .nbytes = png.nbytes}, 400);
    send_and_forget(server, &(struct request){.path = "/classify", .body = "\x89PNG\r\n\x1a\n",
                                              .nbytes = 8}, 400);
    send_and_forget(server, &(struct request){.path = "/classify"}, 405);
    send_and_forget(server, &(struct request){.path = "/nowhere"}, 404);
    send_and_forget(server, &(struct request){.path = "/nowhere\"else"}, 404);
    static char large[10000];
    send_and_forget(server, &(struct request){.path = "/pose", .body = large,
                                              .nbytes = sizeof large}, 413);
    expect_sample(server, REQUESTS("/classify", "POST", "200"), 3);
    expect_sample(server, REQUESTS("/classify", "POST", "400"), 2);
    expect_sample(server, REQUESTS("/pose", "POST", "413"), 1);
    expect_sample(server, REQUESTS("none", "any", "404"), 2);
    expect_sample(server, REQUESTS("none", "any", "405"), 1);
    expect_sample(server, REJECTED("invalid_parameter"), 1);
    expect_sample(server, REJECTED("invalid_png"), 1);
    expect_sample(server, REJECTED("not_found"), 2);
    expect_sample(server, REJECTED("method_not_allowed"), 1);
    expect_sample(server, REJECTED("too_large"), 1);
    expect_sample(server, REJECTED("overloaded"), 0);
    double scrapes = value(server, REQUESTS("/metrics", "GET", "200"));
    expect_sample(server, REQUESTS("/metrics", "GET", "200"), scrapes + 1);
    free(png.data);
    server_stop(server);
}

enum { CALLERS = 8, CALLS = 100 };

struct caller {
    pthread_t thread;
    const char *url;
    struct request request;
    atomic_uint *answers; /* that any caller has */
    double missing;       /* of them, most of those that the metrics did not have */
};

/* Asks over one connection, and looks over another. */
static void *ask_and_look(void *argument)
{
    struct caller *caller = argument;
    CURL *asking = curl_easy_init(), *looking = curl_easy_init();
    if (!asking || !looking) abort();
    for (int i = 0; i < CALLS; i++) {
        reply_free(http_send_on(asking, caller->url, &caller->request));
        const double answers = atomic_fetch_add(caller->answers, 1) + 1;
        struct reply *reply = http_send_on(looking, caller->url,
                                           &(struct request){.path = "/metrics"});
        const char *page = (char *)reply->body;
        const double missing = fmax(
            answers - value_on(page, REQUESTS("/classify", "POST", "200")),
            answers - value_on(page, OF_MODEL("capsnetd_request_duration_seconds_count", "")));
        caller->missing = fmax(caller->missing, missing);
        reply_free(reply);
    }
    curl_easy_cleanup(asking);
    curl_easy_cleanup(looking);
    return NULL;
}

/* Whoever has his answer finds it counted, by whatever connection he looks. */
static void an_answer_that_has_come_is_counted(void **state)
{
    (void)state;
    struct server *server = server_start(ARGS("--threads", "1"), NO_ARGS);
    struct bytes png = draw_png(1);
    struct caller callers[CALLERS];
    atomic_uint answers = 0;
    double missing = 0;
    for (size_t i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){
            .url = server->url, .answers = &answers,
            .request = {.path = "/classify", .body = png.data, .nbytes = png.nbytes}};
        assert_int_equal(pthread_create(&callers[i].thread, NULL, ask_and_look, &callers[i]), 0);
    }
    for (size_t i = 0; i < CALLERS; i++) {
        assert_int_equal(pthread_join(callers[i].thread, NULL), 0);
        missing = fmax(missing, callers[i].missing);
    }
    if (missing > 0) fail_msg("%g answers had come that were not counted", missing);
    expect_sample(server, REQUESTS("/classify", "POST", "200"), CALLERS * CALLS);
    free(png.data);
    server_stop(server);
}

static void images_and_batches_add_up(void **state)
{
    (void)state;
    struct server *server = server_start(ARGS("--threads", "1", "--max-batch", "4"), NO_ARGS);
    expect_sample(server, OF_MODEL("capsnetd_images_total", ""), 0); /* the warm-up does not count */
    struct bytes pngs[5];
    for (unsigned i = 0; i < 5; i++) pngs[i] = draw_png(i);
    char *json = images_json(pngs, 5);
    cJSON_Delete(post_json(server, "/classify", json, strlen(json))); /* 4 + 1 */
    cJSON_Delete(post_json(server, "/pose", pngs[0].data, pngs[0].nbytes));
    char *page = scrape(server);
    assert_true(value_on(page, OF_MODEL("capsnetd_images_total", "")) == 6);
    assert_true(value_on(page, OF_MODEL("capsnetd_batches_total", "")) == 3);
    assert_true(value_on(page, OF_MODEL("capsnetd_batch_images_bucket", ",le=\"1\"")) == 2);
    assert_true(value_on(page, OF_MODEL("capsnetd_batch_images_bucket", ",le=\"2\"")) == 2);
    assert_true(value_on(page, OF_MODEL("capsnetd_batch_images_bucket", ",le=\"4\"")) == 3);
    assert_true(value_on(page, OF_MODEL("capsnetd_batch_images_bucket", ",le=\"+Inf\"")) == 3);
    assert_true(value_on(page, OF_MODEL("capsnetd_batch_images_sum", "")) == 6);
    assert_true(value_on(page, OF_MODEL("capsnetd_batch_images_count", "")) == 3);
    /* A request each, whatever its images; others than these two are no inference. */
    assert_true(value_on(page, OF_MODEL("capsnetd_request_duration_seconds_count", "")) == 2);
    assert_true(value_on(page, OF_MODEL("capsnetd_queue_duration_seconds_count", "")) == 2);
    assert_true(value_on(page, OF_MODEL("capsnetd_inference_duration_seconds_count", "")) == 2);
    double whole = value_on(page, OF_MODEL("capsnetd_request_duration_seconds_sum", ""));
    double queue = value_on(page, OF_MODEL("capsnetd_queue_duration_seconds_sum", ""));
    double infer = value_on(page, OF_MODEL("capsnetd_inference_duration_seconds_sum", ""));
    if (!(infer > 0 && queue + infer < whole && whole < 60))
        fail_msg("%g s of queue and %g s of inference in %g s", queue, infer, whole);
    free(page);
    free(json);
    for (unsigned i = 0; i < 5; i++) free(pngs[i].data);
    server_stop(server);
}

/* One image, to a server with those weights; how many of it were strange. */
static void expect_strange(const char *weights, const char *name, const uint8_t *png,
                           size_t nbytes, double expected)
{
    char sample[100];
    snprintf(sample, sizeof sample, "capsnetd_out_of_distribution_images_total{model=\"%s\"}",
             name);
    struct server *server = server_start(ARGS("--threads", "1", "--weights", weights), NO_ARGS);
    cJSON_Delete(post_json(server, "/classify", png, nbytes));
    expect_sample(server, sample, expected);
    server_stop(server);
}

static void strange_images_are_counted(void **state)
{
    (void)state;
    static const char shipped[] = "weights/capsnet-mnist.safetensors";
    char path[400];
    struct bytes png = draw_png(0);
    snprintf(path, sizeof path, "%s/threshold.safetensors", test_folder());
    make_weights(path, 16, "1e-9");
    expect_strange(path, "capsnet-test", png.data, png.nbytes, 1);
    make_weights(path, 16, NULL); /* does not judge */
    expect_strange(path, "capsnet-test", png.data, png.nbytes, 0);
    free(png.data);
    size_t nbytes;
    uint8_t *digit = read_file("tests/digits/digit-7.png", &nbytes);
    expect_strange(shipped, "capsnet-mnist", digit, nbytes, 0);
    free(digit);
}

static void gauges_say_how_things_are(void **state)
{
    (void)state;
    struct server *server = server_start(ARGS("--threads", "1", "--queue", "77"), NO_ARGS);
    int other = raw_connect(server, 5000);
    assert_int_equal(raw_send(other, "GET", 3), 0);
    double connections = 0;
    for (int i = 0; i < 500 && connections != 2; i++, sleep_ms(10))
        connections = value(server, "capsnetd_connections");
    assert_true(connections == 2); /* it and ours */
    close(other);
    for (int i = 0; i < 500 && connections != 1; i++, sleep_ms(10))
        connections = value(server, "capsnetd_connections");
    assert_true(connections == 1);
    char *page = scrape(server);
    assert_true(value_on(page, "capsnetd_connections_total") == 2);
    assert_true(value_on(page, "capsnetd_ready") == 1);
    assert_true(value_on(page, "capsnetd_threads") == 1);
    assert_true(value_on(page, "capsnetd_queue_limit_images") == 77);
    assert_true(value_on(page, "capsnetd_build_info{version=\"" CAPSNET_VERSION "\"}") == 1);
    assert_non_null(strstr(page, "capsnetd_model_info{model=\"capsnet-test\",precision=\"f32\","));
    assert_true(value_on(page, "process_resident_memory_bytes") > 1e6);
    assert_true(value_on(page, "process_cpu_seconds_total") > 0);
    assert_true(value_on(page, "process_open_fds") > 3);
    assert_true(value_on(page, "process_max_fds") > 3);
    assert_true(value_on(page, "process_start_time_seconds") > 1.6e9);
    free(page);
    server_stop(server);
}

/* ---- The format ------------------------------------------------------- */

/* Every line is a comment or a sample whose name was announced before, and no
 * name is announced twice. */
static void the_page_is_well_formed(void **state)
{
    (void)state;
    struct server *server = server_start(ARGS("--threads", "1"), NO_ARGS);
    expect_well(server);
    char *page = scrape(server), *rest = NULL;
    char announced[100][80];
    size_t n = 0, samples = 0;
    assert_int_equal(page[strlen(page) - 1], '\n');
    for (char *line = strtok_r(page, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char name[80];
        size_t length = strspn(line, "abcdefghijklmnopqrstuvwxyz_0123456789");
        if (sscanf(line, "# TYPE %79s", name) == 1) {
            for (size_t i = 0; i < n; i++) assert_string_not_equal(announced[i], name);
            assert_true(n < 100);
            strcpy(announced[n++], name);
        } else if (*line != '#') {
            char *end = NULL;
            const char *number = strrchr(line, ' ');
            assert_true(n > 0 && number);
            strtod(number, &end);
            if (*end || end == number + 1 ||
                strncmp(line, announced[n - 1], strlen(announced[n - 1])) != 0 ||
                !strchr("{ ", line[length]))
                fail_msg("not a sample of %s: %s", announced[n - 1], line);
            samples++;
        }
    }
    assert_true(samples > 60);
    free(page);
    server_stop(server);
}

static void promtool_finds_nothing(void **state)
{
    (void)state;
    if (system("command -v promtool >/dev/null 2>&1") != 0)
        fail_msg("promtool is not installed: `make deps-test` brings it");
    struct server *server = server_start(ARGS("--threads", "1"), NO_ARGS);
    expect_well(server);
    char *page = scrape(server), path[300], command[700];
    snprintf(path, sizeof path, "%s/page", test_folder());
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(page, file) >= 0);
    assert_int_equal(fclose(file), 0);
    snprintf(command, sizeof command, "promtool check metrics <'%s' >'%s.out' 2>&1", path, path);
    int status = system(command);
    strcat(path, ".out");
    size_t nbytes = 0;
    char *out = (char *)read_file(path, &nbytes);
    if (status != 0 || nbytes) fail_msg("promtool: %s", out);
    free(out);
    free(page);
    server_stop(server);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, server_kill_leftovers)
    const struct CMUnitTest tests[] = {
        TEST(requests_are_counted_by_route_and_status),
        TEST(an_answer_that_has_come_is_counted),
        TEST(images_and_batches_add_up),
        TEST(strange_images_are_counted),
        TEST(gauges_say_how_things_are),
        TEST(the_page_is_well_formed),
        TEST(promtool_finds_nothing),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
