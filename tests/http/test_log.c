/* test_log.c - --log-format and --log-level. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/http/fixtures.h"
#include "tests/http/harness.h"

/* Stops the server and returns what it had logged; free() it. */
static char *final_log(struct server *server)
{
    server_terminate(server);
    for (long until = now_ms() + stretch_ms(20000); server_alive(server) && now_ms() < until;)
        sleep_ms(5);
    char *log = server_log(server);
    server_finish(server);
    return log;
}

/* The JSON line whose member has that value; cJSON_Delete() it.  Checks every
 * line on the way. */
static cJSON *find_line(const char *log, const char *member, const char *value)
{
    cJSON *found = NULL;
    char *copy = strdup(log), *rest = NULL;
    assert_non_null(copy);
    for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        const char *end = NULL;
        cJSON *json = cJSON_ParseWithOpts(line, &end, 1);
        if (!json) fail_msg("this is no JSON: %s", line);
        assert_true(cJSON_IsObject(json));
        for (const char *c = line; *c; c++)
            if (*c < ' ' || *c > '~') fail_msg("byte 0x%02x in %s", (unsigned)(unsigned char)*c, line);
        assert_non_null(json_string(json, "time"));
        assert_non_null(json_string(json, "level"));
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, member);
        if (!found && cJSON_IsString(item) && strcmp(item->valuestring, value) == 0)
            found = json;
        else
            cJSON_Delete(json);
    }
    free(copy);
    if (!found) fail_msg("no line has %s = %s:\n%s", member, value, log);
    return found;
}

static void json_lines_survive_any_bytes(void **state)
{
    (void)state;
    struct server *server = server_start(ARGS("--log-format", "json"), NO_ARGS);
    struct bytes png = draw_png(0);
    reply_free(http_send(server, &(struct request){.path = "/classify?poses=1",
                                                   .body = png.data,
                                                   .nbytes = png.nbytes,
                                                   .headers = {"X-Request-Id: mine"}}));
    static const char *const hostile[] = {
        "GET /quote\"back\\slash HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET /control\x01\x1b[31m\x7f HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET /bytes\x80\xff\xc3( HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "G\"\\\xff /method HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET /escape\\u0000%00\\n HTTP/1.1\r\nHost: x\r\nX-Request-Id: \"\\\xff\r\n"
        "Connection: close\r\n\r\n",
        "\x16\x03\x01\x02\r\n\r\n",
    };
    char answer[4000];
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++)
        raw_exchange(server, hostile[i], answer, sizeof answer);
    char *log = final_log(server);

    cJSON *line = find_line(log, "id", "mine");
    assert_string_equal(json_string(line, "level"), "info");
    assert_string_equal(json_string(line, "method"), "POST");
    assert_string_equal(json_string(line, "target"), "/classify?poses=1");
    assert_string_equal(json_string(line, "route"), "/classify");
    assert_true(json_number(line, "status") == 200);
    assert_true(json_number(line, "images") == 1);
    assert_true(json_number(line, "bytes") > 100);
    assert_true(json_number(line, "infer_ms") > 0);
    assert_true(json_number(line, "total_ms") > json_number(line, "infer_ms"));
    assert_true(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(line, "complete")));
    cJSON_Delete(line);
    line = find_line(log, "target", "/quote\"back\\slash");
    assert_true(json_number(line, "status") == 404);
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(line, "route")));
    cJSON_Delete(line);
    cJSON_Delete(find_line(log, "target", "/bytes%80%FF%C3("));
    free(log);
    free(png.data);
}

static void levels_decide_what_is_said(void **state)
{
    (void)state;
    static const struct {
        const char *level;
        int requests, connections;
    } CASES[] = {{"error", 0, 0}, {"info", 1, 0}, {"debug", 1, 1}};
    for (size_t i = 0; i < 3; i++) {
        struct server *server = server_start(ARGS("--log-level", CASES[i].level), NO_ARGS);
        expect_well(server);
        char *log = final_log(server);
        assert_int_equal(strstr(log, "POST /classify 200") != NULL, CASES[i].requests);
        assert_int_equal(strstr(log, "127.0.0.1") != NULL, CASES[i].connections);
        free(log);
    }
}

static void errors_are_json_too(void **state)
{
    (void)state;
    static struct outcome outcome;
    server_run(&outcome, ARGS("--log-format=json", "--listen", "127.0.0.1:0", "--weights",
                              "/nowhere\"else"), NO_ARGS);
    assert_int_equal(outcome.exit_status, 1);
    cJSON *line = find_line(outcome.err, "level", "error");
    assert_non_null(strstr(json_string(line, "message"), "/nowhere\"else"));
    cJSON_Delete(line);
    server_run(&outcome, ARGS("--log-format", "yaml"), NO_ARGS);
    assert_int_equal(outcome.exit_status, 2);
    assert_non_null(strstr(outcome.err, "text|json"));
    server_run(&outcome, ARGS("--log-level", "info|debug"), NO_ARGS);
    assert_int_equal(outcome.exit_status, 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, server_kill_leftovers)
    const struct CMUnitTest tests[] = {
        TEST(json_lines_survive_any_bytes),
        TEST(levels_decide_what_is_said),
        TEST(errors_are_json_too),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
