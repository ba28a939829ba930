/* test_models.c - several weights files in one server. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/http/fixtures.h"
#include "tests/http/harness.h"
#include "tests/http/load.h"

/* Networks of other sizes than the fixtures': 20x20 gray and 5 classes, 34x31 in
 * colour and 4.  See tests/golden/. */
#define SMALL  "tests/golden/small.safetensors"
#define COLOUR "tests/golden/colour.safetensors"

static const char *const NAMES[] = {"capsnet-test", "golden-small", "golden-colour"};
enum { MODELS = 3, WAIT_MS = 30000 };

/* The plan is not measured: it would not always come out the same. */
static struct server *start_three(void)
{
    return server_start(ARGS("--threads", "2", "--plan", "spectral", "--weights", test_weights(),
                             "--weights", SMALL, "--weights", COLOUR), NO_ARGS);
}

static cJSON *get_json(struct server *server, const char *path)
{
    struct reply *reply = http_send(server, &(struct request){.path = path});
    if (reply->status != 200) fail_msg("%s: %ld", path, reply->status);
    cJSON *json = reply_json(reply);
    reply_free(reply);
    return json;
}

/* ---- Each as alone ------------------------------------------------------- */

/* The answer to a picture, with ?model=NAME where one is given. */
static cJSON *ask(struct server *server, const char *path, const char *model)
{
    struct bytes png = draw_png(3);
    char with_model[200];
    snprintf(with_model, sizeof with_model, "%s%s%s%s", path,
             model ? strchr(path, '?') ? "&" : "?" : "", model ? "model=" : "", model ? model : "");
    const struct request request = {.path = with_model, .body = png.data, .nbytes = png.nbytes,
                                    .headers = {"Accept: application/json"}};
    struct reply *reply = http_send(server, &request);
    if (reply->status != 200) fail_msg("%s: %s", with_model, (char *)reply->body);
    cJSON *json = reply_json(reply);
    reply_free(reply);
    free(png.data);
    return json;
}

static cJSON *infer(struct server *server, const char *model)
{
    struct bytes png = draw_png(3);
    char *images = images_json(&png, 1), path[100], body[4000];
    snprintf(path, sizeof path, "/v2/models/%s/infer", model);
    snprintf(body, sizeof body,
             "{\"inputs\":[{\"name\":\"image\",\"datatype\":\"BYTES\",\"shape\":[1],\"data\":%.*s}]}",
             (int)strlen(strchr(images, '[')) - 1, strchr(images, '['));
    cJSON *json = post_json(server, path, body, strlen(body));
    free(images);
    free(png.data);
    return json;
}

static void assert_same(cJSON *a, cJSON *b)
{
    assert_same_answer(a, b);
    cJSON_Delete(a);
    cJSON_Delete(b);
}

static void each_answers_as_alone(void **state)
{
    (void)state;
    static const char *const PATHS[] = {"/classify?poses=1", "/pose", "/reconstruct",
                                        "/reconstruct?class=2&sweep=1"};
    const char *files[MODELS] = {test_weights(), SMALL, COLOUR};
    struct server *three = start_three();
    for (size_t i = 0; i < MODELS; i++) {
        struct server *alone = server_start(ARGS("--threads", "2", "--plan", "spectral", "--weights",
                                                 files[i]), NO_ARGS);
        for (size_t k = 0; k < sizeof PATHS / sizeof *PATHS; k++) {
            assert_same(ask(three, PATHS[k], NAMES[i]), ask(alone, PATHS[k], NULL));
            if (i == 0) assert_same(ask(three, PATHS[k], NULL), ask(alone, PATHS[k], NULL));
        }
        assert_same(infer(three, NAMES[i]), infer(alone, NAMES[i]));
        char path[100];
        static const char *const ABOUT[] = {"", "/ready", "/config", "/versions/1"};
        for (size_t k = 0; k < sizeof ABOUT / sizeof *ABOUT; k++) {
            snprintf(path, sizeof path, "/v2/models/%s%s", NAMES[i], ABOUT[k]);
            assert_same(get_json(three, path), get_json(alone, path));
        }
        snprintf(path, sizeof path, "/model?model=%s", NAMES[i]);
        cJSON *model = get_json(three, path), *lone = get_json(alone, "/model");
        assert_int_equal(cJSON_IsTrue(cJSON_GetObjectItem(model, "default")), i == 0);
        cJSON_DeleteItemFromObject(model, "default");
        cJSON_DeleteItemFromObject(lone, "default");
        assert_same(model, lone);
        server_stop(alone);
    }
    server_stop(three);
}

/* What a class may be is the asked model's affair, wherever the query names it. */
static void parameters_are_the_models_own(void **state)
{
    (void)state;
    struct server *server = start_three();
    struct bytes png = draw_png(1);
    struct request request = {.body = png.data, .nbytes = png.nbytes};
    static const char *const GOOD[] = {"/reconstruct?class=9", "/reconstruct?class=4&model=golden-small",
                                       "/reconstruct?model=golden-small&class=4",
                                       "/reconstruct?model=golden%2Dsmall"};
    for (size_t i = 0; i < sizeof GOOD / sizeof *GOOD; i++) {
        request.path = GOOD[i];
        struct reply *reply = http_send(server, &request);
        assert_int_equal(reply->status, 200);
        reply_free(reply);
    }
    request.path = "/reconstruct?class=5&model=golden-small";
    expect_refused(server, &request, 400, "invalid_parameter", "from 0 to 4");
    request.path = "/classify?model=golden-small&model=golden-small";
    expect_refused(server, &request, 400, "invalid_parameter", "more than once");
    request.path = "/classify?model";
    expect_refused(server, &request, 400, "invalid_parameter", "model");
    expect_refused(server, &(struct request){.path = "/models?model=golden-small"}, 400,
                   "invalid_parameter", "model");
    free(png.data);
    server_stop(server);
}

static void unknown_models_are_told_which_there_are(void **state)
{
    (void)state;
    static const char list[] =
        "only \"capsnet-test\", \"golden-small\" and \"golden-colour\"";
    struct server *server = start_three();
    static const char *const ASKED[] = {"other", "", "golden-smal", "golden-small%00", "Capsnet-test",
                                        "%ff%0a\""};
    for (size_t i = 0; i < sizeof ASKED / sizeof *ASKED; i++) {
        static const char *const ROUTES[] = {"/classify", "/pose", "/reconstruct", "/model"};
        for (size_t k = 0; k < 4; k++) {
            char path[100];
            snprintf(path, sizeof path, "%s?model=%s", ROUTES[k], ASKED[i]);
            expect_refused(server, &(struct request){.path = path, .body = k < 3 ? "x" : NULL,
                                                     .nbytes = k < 3}, 404, "not_found", list);
        }
    }
    static const char *const OIP[] = {"", "/ready", "/config", "/stats", "/versions/1", "/infer"};
    for (size_t i = 0; i < sizeof OIP / sizeof *OIP; i++) {
        char path[100];
        snprintf(path, sizeof path, "/v2/models/other%s", OIP[i]);
        struct reply *reply = http_send(server, &(struct request){.path = path,
                                        .body = i == 5 ? "{}" : NULL, .nbytes = i == 5 ? 2 : 0});
        assert_int_equal(reply->status, 404);
        cJSON *json = reply_json(reply);
        if (!strstr(json_string(json, "error"), list)) fail_msg("%s", (char *)reply->body);
        cJSON_Delete(json);
        reply_free(reply);
    }
    server_stop(server);
}

/* ---- What there is ---------------------------------------------------------- */

/* The names of an array's objects, in their order. */
static void assert_names(const cJSON *array, const char *const *names, size_t n)
{
    assert_int_equal(cJSON_GetArraySize(array), n);
    for (size_t i = 0; i < n; i++)
        assert_string_equal(json_string(cJSON_GetArrayItem(array, (int)i), "name"), names[i]);
}

static double sample(struct server *server, const char *name, const char *model)
{
    char wanted[200];
    snprintf(wanted, sizeof wanted, "\n%s{model=\"%s\"} ", name, model);
    struct reply *reply = http_send(server, &(struct request){.path = "/metrics"});
    const char *at = strstr((char *)reply->body, wanted);
    const double value = at ? strtod(at + strlen(wanted), NULL) : -1;
    reply_free(reply);
    return value;
}

static void models_are_listed_in_order(void **state)
{
    (void)state;
    struct server *server = start_three();
    cJSON *json = get_json(server, "/models");
    const cJSON *models = json_array(json, "models", MODELS);
    assert_names(models, NAMES, MODELS);
    for (int i = 0; i < MODELS; i++) {
        const cJSON *model = cJSON_GetArrayItem(models, i);
        const double weights = json_number(model, "weights_bytes");
        assert_int_equal(cJSON_IsTrue(cJSON_GetObjectItem(model, "default")), i == 0);
        assert_true(weights > 10000 && json_number(model, "memory_bytes") > weights);
        assert_int_equal(json_number(json_object(model, "shape"), "classes"),
                         cJSON_GetArraySize(json_array(model, "labels", -1)));
        /* The start-up line names each with its memory. */
        char part[200];
        const char *at = strstr(server->line, NAMES[i]);
        snprintf(part, sizeof part, " memory: %.1f MB", json_number(model, "memory_bytes") / 1e6);
        assert_non_null(at);
        if (!strstr(at, part)) fail_msg("\"%s\" has no \"%s\"", server->line, part);
    }
    cJSON_Delete(json);

    struct reply *reply = http_send(server, &(struct request){.path = "/v2/repository/index",
                                                              .body = "{}", .nbytes = 2});
    json = reply_json(reply);
    assert_names(json, NAMES, MODELS);
    cJSON_Delete(json);
    reply_free(reply);
    server_stop(server);
}

static void work_is_counted_by_model(void **state)
{
    (void)state;
    struct server *server = start_three();
    for (int i = 0; i < 3; i++) cJSON_Delete(ask(server, "/classify", i < 2 ? "golden-small" : NULL));
    cJSON_Delete(infer(server, "golden-colour"));
    static const double EXPECTED[MODELS] = {1, 2, 1};
    static const char *const COUNTS[] = {"capsnetd_images_total", "capsnetd_batches_total",
                                         "capsnetd_request_duration_seconds_count",
                                         "capsnetd_queue_duration_seconds_count",
                                         "capsnetd_inference_duration_seconds_count",
                                         "capsnetd_batch_images_count"};
    for (size_t i = 0; i < MODELS; i++) {
        for (size_t k = 0; k < sizeof COUNTS / sizeof *COUNTS; k++)
            if (sample(server, COUNTS[k], NAMES[i]) != EXPECTED[i])
                fail_msg("%s of %s is %g", COUNTS[k], NAMES[i], sample(server, COUNTS[k], NAMES[i]));
        assert_true(sample(server, "capsnetd_model_parameters", NAMES[i]) > 1000);
        assert_true(sample(server, "capsnetd_queue_images", NAMES[i]) == 0);
        char path[100];
        snprintf(path, sizeof path, "/v2/models/%s/stats", NAMES[i]);
        cJSON *json = get_json(server, path);
        const cJSON *stats = cJSON_GetArrayItem(json_array(json, "model_stats", 1), 0);
        assert_string_equal(json_string(stats, "name"), NAMES[i]);
        assert_true(json_number(stats, "inference_count") == EXPECTED[i]);
        cJSON_Delete(json);
    }
    cJSON *json = get_json(server, "/v2/models/stats");
    assert_names(json_array(json, "model_stats", MODELS), NAMES, MODELS);
    cJSON_Delete(json);
    server_stop(server);
}

/* ---- Files and folders -------------------------------------------------------- */

static char folder[300];

/* A new empty folder; names of files are below it. */
static void make_folder(void)
{
    static int n;
    snprintf(folder, sizeof folder, "%s/folder-%d", test_folder(), n++);
    assert_int_equal(mkdir(folder, 0700), 0);
}

static const char *in_folder(const char *name)
{
    static char path[2][400];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* "a" before "a-b", though '-' comes before '.'; hidden and other files are passed over. */
static void a_folder_is_taken_by_name(void **state)
{
    (void)state;
    make_folder();
    make_named_weights(in_folder("a-b.safetensors"), "second", 16, NULL);
    make_named_weights(in_folder("a.safetensors"), "first", 16, NULL);
    make_named_weights(in_folder("b.safetensors"), "third", 16, NULL);
    write_text(in_folder(".hidden.safetensors"), "no weights");
    write_text(in_folder("README.md"), "no weights");
    write_text(in_folder(".safetensors"), "no weights");
    static const char *const ORDER[] = {"first", "second", "third", "golden-small"};
    char variable[400];
    snprintf(variable, sizeof variable, "CAPSNETD_WEIGHTS=%s/:%s", folder, SMALL);
    for (int by_variable = 0; by_variable < 2; by_variable++) {
        /* The harness gives weights of its own where no flag does. */
        struct server *server =
            by_variable ? server_start(NO_ARGS, ARGS(variable))
                        : server_start(ARGS("--weights", folder, "--weights", SMALL), NO_ARGS);
        cJSON *json = get_json(server, "/models");
        assert_names(json_array(json, "models", 4), ORDER, 4);
        cJSON_Delete(json);
        server_stop(server);
    }
}

static void one_name_is_for_one_model(void **state)
{
    (void)state;
    static struct outcome outcome;
    make_folder();
    const char *copy = in_folder("copy.safetensors");
    make_weights(copy, 16, NULL);
    server_run(&outcome, ARGS("--listen", "127.0.0.1:0", "--weights", SMALL, "--weights", copy,
                              "--weights", test_weights()), NO_ARGS);
    char expected[900];
    snprintf(expected, sizeof expected, "capsnetd: %s and %s both call their model "
             "\"capsnet-test\"; each model needs a name of its own\n", copy, test_weights());
    assert_string_equal(outcome.err, expected);
    assert_string_equal(outcome.out, "");
    assert_int_equal(outcome.exit_status, 2);
}

/* ---- Reload --------------------------------------------------------------------- */

#define OK     "\ncapsnetd_reloads_total{result=\"ok\"} "
#define FAILED "\ncapsnetd_reloads_total{result=\"failed\"} "

static long metric(struct server *server, const char *line)
{
    struct reply *reply = http_send(server, &(struct request){.path = "/metrics"});
    const char *at = strstr((char *)reply->body, line);
    const long value = at ? strtol(at + strlen(line), NULL, 10) : -1;
    reply_free(reply);
    return value;
}

static void reload(struct server *server, const char *counter, long expected)
{
    assert_int_equal(kill(server->pid, SIGHUP), 0);
    for (const long until = now_ms() + stretch_ms(WAIT_MS); metric(server, counter) != expected;) {
        if (now_ms() > until) fail_msg("no reload number %ld in time", expected);
        sleep_ms(5);
    }
}

static void expect_models(struct server *server, const char *const *names, size_t n)
{
    cJSON *json = get_json(server, "/models");
    assert_names(json_array(json, "models", (int)n), names, n);
    cJSON_Delete(json);
}

static void all_are_reloaded_or_none(void **state)
{
    (void)state;
    make_folder();
    make_named_weights(in_folder("1.safetensors"), "one", 16, NULL);
    make_named_weights(in_folder("2.safetensors"), "two", 16, NULL);
    struct server *server = server_start(ARGS("--threads", "1", "--weights", folder), NO_ARGS);
    static const char *const OLD[] = {"one", "two"}, *const NEW[] = {"zero", "one", "three"};
    cJSON_Delete(ask(server, "/classify", "one"));

    /* One good new file, one changed, and one that is broken: nothing of it is taken. */
    make_named_weights(in_folder("0.safetensors"), "zero", 16, NULL);
    make_named_weights(in_folder("2.safetensors"), "three", 16, NULL);
    write_text(in_folder("3.safetensors"), "no weights");
    reload(server, FAILED, 1);
    expect_models(server, OLD, 2);
    cJSON_Delete(ask(server, "/classify", "two"));
    /* Two of one name are no better. */
    make_named_weights(in_folder("3.safetensors"), "zero", 16, NULL);
    reload(server, FAILED, 2);
    expect_models(server, OLD, 2);
    char *log = server_log(server);
    size_t sentences = 0;
    for (const char *at = log; (at = strstr(at, "capsnetd: keeping the old weights: ")); at++)
        sentences++;
    assert_int_equal(sentences, 2);
    assert_non_null(strstr(log, "/3.safetensors: "));
    assert_non_null(strstr(log, "both call their model \"zero\""));
    free(log);

    assert_int_equal(remove(in_folder("3.safetensors")), 0);
    reload(server, OK, 1);
    expect_models(server, NEW, 3);
    assert_same(ask(server, "/classify", NULL), ask(server, "/classify", "zero"));
    expect_refused(server, &(struct request){.path = "/model?model=two"}, 404, "not_found",
                   "\"zero\", \"one\" and \"three\"");
    assert_true(sample(server, "capsnetd_images_total", "one") == 1); /* counted on */
    server_stop(server);
}

/* ---- Fair turns ------------------------------------------------------------------- */

struct clients {
    pthread_t thread;
    struct load_plan plan;
    struct load_result result;
    int status;
};

static void *run_clients(void *argument)
{
    struct clients *clients = argument;
    clients->status = load_run(&clients->plan, &clients->result);
    return NULL;
}

static void check_result(int status, const struct load_result *result)
{
    if (status || result->lost || result->other || result->refused || !result->answered)
        fail_msg("%zu lost, %zu refused, %zu other of %zu; %s", result->lost, result->refused,
                 result->other, result->sent, result->problem);
}

/* One connection on a model, alone and then beside 64 on another of the same size.  With
 * turns of a whole batch, one in a hundred of its requests at least would wait for such a
 * batch, which is about what the 64 wait for an answer; half of that is allowed, in the
 * best of some rounds, for a machine that does other things too. */
static void a_busy_model_does_not_starve_another(void **state)
{
    (void)state;
    enum { ROUNDS = 5 };
    make_folder();
    make_named_weights(in_folder("busy.safetensors"), "busy", 1024, NULL);
    make_named_weights(in_folder("calm.safetensors"), "calm", 1024, NULL);
    struct server *server = server_start(ARGS("--weights", folder, "--log-level", "error"), NO_ARGS);
    struct bytes png = draw_png(7);
    int is_fair = 0;
    for (int round = 0; round < ROUNDS && !is_fair; round++) {
        struct load_plan one = {.port = server->port, .path = "/classify?model=calm",
                                .body = png.data, .nbytes = png.nbytes, .connections = 1,
                                .seconds = 0.5};
        struct clients busy = {.plan = one};
        struct load_result alone, beside;
        busy.plan.path = "/classify?model=busy";
        busy.plan.connections = 64;
        busy.plan.seconds = 1.5;
        check_result(load_run(&one, &alone), &alone);
        assert_int_equal(pthread_create(&busy.thread, NULL, run_clients, &busy), 0);
        sleep_ms(250);
        one.seconds = 1;
        const int status = load_run(&one, &beside);
        assert_int_equal(pthread_join(busy.thread, NULL), 0);
        check_result(status, &beside);
        check_result(busy.status, &busy.result);
        is_fair = beside.answered_p99_ms < busy.result.answered_p50_ms / 2;
        print_message("one connection: p50 %.2f ms, p99 %.2f ms; beside 64 of another model: p50 "
                      "%.2f ms, p99 %.2f ms; those: p50 %.1f ms\n", alone.answered_p50_ms,
                      alone.answered_p99_ms, beside.answered_p50_ms, beside.answered_p99_ms,
                      busy.result.answered_p50_ms);
    }
    assert_true(is_fair);
    free(png.data);
    server_stop(server);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, server_kill_leftovers)
    const struct CMUnitTest tests[] = {
        TEST(each_answers_as_alone),
        TEST(parameters_are_the_models_own),
        TEST(unknown_models_are_told_which_there_are),
        TEST(models_are_listed_in_order),
        TEST(work_is_counted_by_model),
        TEST(a_folder_is_taken_by_name),
        TEST(one_name_is_for_one_model),
        TEST(all_are_reloaded_or_none),
        TEST(a_busy_model_does_not_starve_another),
    };
    return cmocka_run_group_tests_name("models", tests, NULL, NULL);
}
