/* test_reload.c - SIGHUP: new weights without losing a request. */
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/http/fixtures.h"
#include "tests/http/harness.h"

/* A network of other sizes than the fixtures': see tests/golden/. */
#define OTHER_WEIGHTS "tests/golden/small.safetensors"

enum { RELOADS = 20, CLIENTS = 4, WAIT_MS = 30000 };

static char weights[300];

/* Puts a copy of a file in the place of the weights, at once as mv does. */
static void install(const void *bytes, size_t nbytes)
{
    char beside[320];
    snprintf(weights, sizeof weights, "%s/reloaded.safetensors", test_folder());
    snprintf(beside, sizeof beside, "%s.new", weights);
    FILE *file = fopen(beside, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, nbytes, file), nbytes);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(beside, weights), 0);
}

static void install_file(const char *path)
{
    size_t nbytes;
    uint8_t *bytes = read_file(path, &nbytes);
    install(bytes, nbytes);
    free(bytes);
}

static long metric(struct server *server, const char *sample)
{
    struct reply *reply = http_send(server, &(struct request){.path = "/metrics"});
    const char *at = strstr((char *)reply->body, sample);
    long value = at ? strtol(at + strlen(sample), NULL, 10) : -1;
    reply_free(reply);
    return value;
}

#define OK     "\ncapsnetd_reloads_total{result=\"ok\"} "
#define FAILED "\ncapsnetd_reloads_total{result=\"failed\"} "

static void reload(struct server *server, const char *counter, long expected)
{
    assert_int_equal(kill(server->pid, SIGHUP), 0);
    for (long until = now_ms() + stretch_ms(WAIT_MS); metric(server, counter) != expected;) {
        if (now_ms() > until) fail_msg("no reload number %ld in time", expected);
        sleep_ms(5);
    }
}

/* The name, and the number of classes, of the model that is served. */
static int served_classes(struct server *server, char name[64])
{
    struct reply *reply = http_send(server, &(struct request){.path = "/model"});
    cJSON *json = reply_json(reply);
    snprintf(name, 64, "%s", json_string(json, "name"));
    int classes = cJSON_GetArraySize(json_array(json, "labels", -1));
    cJSON_Delete(json);
    reply_free(reply);
    return classes;
}

/* ---- Under load ------------------------------------------------------- */

struct client {
    pthread_t thread;
    const char *url;
    struct request requests[4];
    atomic_int *stop;
    size_t answers;
    char failure[600];
};

/* An answer must be of one model from its first byte to its last: the class
 * count goes with the name. */
static void check(struct client *client, const struct request *request, const struct reply *reply)
{
    if (reply->status != 200) {
        snprintf(client->failure, sizeof client->failure, "%s: status %ld: %.200s %s",
                 request->path, reply->status, (char *)reply->body, reply->error);
        return;
    }
    if (strcmp(request->path, "/classify") != 0) return;
    cJSON *json = cJSON_Parse((char *)reply->body);
    const cJSON *model = cJSON_GetObjectItem(json, "model"), *prediction;
    int is_test = cJSON_IsString(model) && strcmp(model->valuestring, "capsnet-test") == 0;
    cJSON_ArrayForEach(prediction, cJSON_GetObjectItem(json, "predictions"))
        if ((cJSON_GetArraySize(cJSON_GetObjectItem(prediction, "probabilities")) ==
             TEST_CLASSES) != is_test)
            snprintf(client->failure, sizeof client->failure, "a mixed answer: %.300s",
                     (char *)reply->body);
    cJSON_Delete(json);
}

static void *send_on(void *argument)
{
    struct client *client = argument;
    CURL *curl = curl_easy_init();
    if (!curl) abort();
    while (!atomic_load(client->stop) && !*client->failure) {
        const struct request *request = &client->requests[client->answers % 4];
        struct reply *reply = http_send_on(curl, client->url, request);
        check(client, request, reply);
        reply_free(reply);
        client->answers++;
    }
    curl_easy_cleanup(curl);
    return NULL;
}

static void no_request_is_lost(void **state)
{
    (void)state;
    install_file(test_weights());
    struct server *server = server_start(ARGS("--threads", "1", "--weights", weights), NO_ARGS);
    char first[64], second[64];
    int classes = served_classes(server, first);
    assert_int_equal(classes, TEST_CLASSES);
    struct bytes pngs[3] = {draw_png(0), draw_png(1), draw_png(2)};
    char *json = images_json(pngs, 3);
    const struct request classify = {.path = "/classify", .body = json, .nbytes = strlen(json),
                                     .headers = {"Content-Type: application/json"}};
    const struct request pose = {.path = "/pose", .body = pngs[0].data, .nbytes = pngs[0].nbytes};
    const struct request picture = {.path = "/reconstruct?sweep=1", .body = pngs[1].data,
                                    .nbytes = pngs[1].nbytes};
    atomic_int stop = 0;
    static struct client clients[CLIENTS];
    for (size_t i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.url = server->url, .stop = &stop,
                                     .requests = {classify, pose, picture, classify}};
        assert_int_equal(pthread_create(&clients[i].thread, NULL, send_on, &clients[i]), 0);
    }
    for (long i = 1; i <= RELOADS; i++) {
        install_file(i % 2 ? OTHER_WEIGHTS : test_weights());
        reload(server, OK, i);
        if (i == 1) assert_int_not_equal(served_classes(server, second), classes);
    }
    atomic_store(&stop, 1);
    size_t answers = 0;
    for (size_t i = 0; i < CLIENTS; i++) {
        assert_int_equal(pthread_join(clients[i].thread, NULL), 0);
        answers += clients[i].answers;
    }
    for (size_t i = 0; i < CLIENTS; i++)
        if (*clients[i].failure) fail_msg("%s", clients[i].failure);
    printf("%d reloads, %zu answers\n", RELOADS, answers);
    assert_true(answers >= RELOADS);
    assert_string_not_equal(first, second);
    assert_int_equal(metric(server, FAILED), 0);
    expect_well(server);
    free(json);
    for (size_t i = 0; i < 3; i++) free(pngs[i].data);
    server_stop(server);
}

/* ---- Files and signals ------------------------------------------------ */

static void a_bad_file_keeps_the_old_model(void **state)
{
    (void)state;
    size_t nbytes;
    uint8_t *bytes = read_file(test_weights(), &nbytes);
    install(bytes, nbytes);
    struct server *server = server_start(ARGS("--threads", "1", "--weights", weights), NO_ARGS);
    install("nonsense", 8);
    reload(server, FAILED, 1);
    install(bytes, nbytes - 1);
    reload(server, FAILED, 2);
    assert_int_equal(remove(weights), 0);
    reload(server, FAILED, 3);
    expect_well(server);
    char *log = server_log(server);
    assert_non_null(strstr(log, "capsnetd: keeping the old weights: "));
    free(log);
    install(bytes, nbytes);
    reload(server, OK, 1);
    expect_well(server);
    free(bytes);
    server_stop(server);
}

static size_t count_threads(const struct server *server)
{
    char path[60];
    size_t n = 0;
    snprintf(path, sizeof path, "/proc/%d/task", (int)server->pid);
    DIR *folder = opendir(path);
    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder));) n += entry->d_name[0] != '.';
    closedir(folder);
    return n;
}

/* Every file and every thread of a replaced engine is given back. */
static void nothing_is_left_behind(void **state)
{
    (void)state;
    install_file(test_weights());
    struct server *server = server_start(ARGS("--threads", "2", "--weights", weights), NO_ARGS);
    expect_well(server);
    long before = metric(server, "\nprocess_open_fds ");
    size_t threads = count_threads(server);
    for (long i = 1; i <= 5; i++) reload(server, OK, i);
    sleep_ms(500); /* the last engine is freed within a sweep or two */
    assert_int_equal(metric(server, "\nprocess_open_fds "), before);
    assert_int_equal(count_threads(server), threads);
    server_stop(server);
}

static void signals_may_come_at_any_time(void **state)
{
    (void)state;
    install_file(test_weights());
    struct server *server = server_spawn(ARGS("--threads", "1", "--weights", weights), NO_ARGS);
    sleep_ms(100);
    server_wait_ready(server);
    for (int i = 0; i < 50; i++) assert_int_equal(kill(server->pid, SIGHUP), 0);
    expect_well(server);
    for (long until = now_ms() + stretch_ms(WAIT_MS); metric(server, OK) < 1; sleep_ms(5))
        assert_true(now_ms() < until); /* how many of them become one is the kernel's affair */
    for (int i = 0; i < 5; i++) assert_int_equal(kill(server->pid, SIGHUP), 0);
    server_terminate(server);
    (void)kill(server->pid, SIGHUP);
    server_finish(server);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, server_kill_leftovers)
    const struct CMUnitTest tests[] = {
        TEST(no_request_is_lost),
        TEST(a_bad_file_keeps_the_old_model),
        TEST(nothing_is_left_behind),
        TEST(signals_may_come_at_any_time),
    };
    return cmocka_run_group_tests_name("reload", tests, NULL, NULL);
}
