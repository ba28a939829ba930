/*
 * test_uploads.c - a picture as browsers, phones and scripts send it: data URLs, the
 * kinds of base64, forms with more in them than files.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/basics/base64.h"
#include "tests/http/fixtures.h"
#include "tests/http/harness.h"

static struct server *server;

static int start(void **state)
{
    (void)state;
    server = server_start(ARGS("--max-images", "2"), NO_ARGS);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    server_stop(server);
    return 0;
}

#define JSON "Content-Type: application/json"
#define TEXT "Content-Type: text/plain;charset=UTF-8"

/* The answer to a PNG sent as it is. */
static cJSON *plain_answer(const struct bytes *png)
{
    return post_json(server, "/classify", png->data, png->nbytes);
}

/* Checks that a request gets the answer expected. */
static void expect_answer(const struct request *request, const cJSON *expected)
{
    struct reply *reply = http_send(server, request);
    if (reply->status != 200)
        fail_msg("%ld %s", reply->status, (const char *)reply->body);
    cJSON *answer = reply_json(reply);
    assert_same_answer(answer, expected);
    cJSON_Delete(answer);
    reply_free(reply);
}

/* ---- Base64 and data URLs --------------------------------------------- */

/* Sends a text as the one image of JSON. */
static void expect_encoded(const char *text, const cJSON *expected)
{
    char *body = malloc(strlen(text) + 40);
    assert_non_null(body);
    int n = sprintf(body, "{\"images\": [\"%s\"]}", text);
    expect_answer(&(struct request){.path = "/classify", .body = body, .nbytes = (size_t)n,
                                    .headers = {JSON}}, expected);
    free(body);
}

static void every_kind_of_base64_is_taken(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 6; i++) { /* lengths with one, two and no "=" */
        struct bytes png = draw_png(i);
        cJSON *expected = plain_answer(&png);
        char *text = malloc(base64_encoded_size(png.nbytes) + 40);
        assert_non_null(text);
        char *encoded = stpcpy(text, "data:image/png;base64,");
        base64_encode(encoded, png.data, png.nbytes);
        expect_encoded(encoded, expected);
        expect_encoded(text, expected);
        for (char *at = encoded; *at; at++)
            *at = *at == '+' ? '-' : *at == '/' ? '_' : *at;
        expect_encoded(encoded, expected);
        encoded[strcspn(encoded, "=")] = 0;
        expect_encoded(encoded, expected);
        expect_encoded(text, expected);
        memcpy(text, "DATA:IMAGE/PNG;BASE64", 21);
        expect_encoded(text, expected);
        free(text);
        cJSON_Delete(expected);
        free(png.data);
    }
}

static void a_data_url_is_a_body(void **state)
{
    (void)state;
    struct bytes png = draw_png(3);
    cJSON *expected = plain_answer(&png);
    char *text = malloc(base64_encoded_size(png.nbytes) + 40);
    assert_non_null(text);
    base64_encode(stpcpy(text, "data:image/png;base64,"), png.data, png.nbytes);
    strcat(text, "\n"); /* as echo and files end */
    struct request request = {.path = "/classify", .body = text, .nbytes = strlen(text),
                              .headers = {TEXT}};
    expect_answer(&request, expected);
    request.headers[0] = "Content-Type: text/plain";
    expect_answer(&request, expected);
    request.path = "/reconstruct";
    struct reply *reply = http_send(server, &request);
    assert_int_equal(reply->status, 200);
    reply_free(reply);
    free(text);
    cJSON_Delete(expected);
    free(png.data);
}

static void bad_data_urls_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *code, *fragment;
    } CASES[] = {
        {"data:", "invalid_png", "\";base64,\""},
        {"data:,", "invalid_png", "\";base64,\""},
        {"data:image/png,abc", "invalid_png", "\";base64,\""},
        {"data:;base64,", "invalid_png", "images[0]"},
        {"data:image/png;base64,aGVsbG8=", "invalid_png", "images[0]"},
        {"data:image/png;base64,a", "invalid_png", "not base64"},
        {"data:image/png;base64,%89PNG", "invalid_png", "not base64"},
        {"data:image/jpeg;base64,/9j/4AAQSkZJRgABAQ", "invalid_png", "a JPEG"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        expect_refused(server,
                       &(struct request){.path = "/classify", .body = CASES[i].text,
                                         .nbytes = strlen(CASES[i].text), .headers = {TEXT}},
                       400, CASES[i].code, CASES[i].fragment);
    static const char json[] = "{\"images\": [\"data:image/png,abc\"]}";
    expect_refused(server,
                   &(struct request){.path = "/classify", .body = json, .nbytes = sizeof json - 1,
                                     .headers = {JSON}},
                   400, "invalid_json", "images[0]");
    expect_refused(server,
                   &(struct request){.path = "/classify", .body = "dat", .nbytes = 3,
                                     .headers = {TEXT}},
                   415, "unsupported_media_type", "data URL");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_base64_is_taken),
        cmocka_unit_test(a_data_url_is_a_body),
        cmocka_unit_test(bad_data_urls_are_refused),
    };
    int failed = cmocka_run_group_tests_name("uploads", tests, start, stop);
    server_kill_leftovers(NULL);
    return failed;
}
