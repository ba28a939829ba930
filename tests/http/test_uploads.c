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

/* ---- Forms ------------------------------------------------------------ */

#define TYPE_OF_PARTS "Content-Type: multipart/form-data; boundary=frontier"
#define FIELD "--frontier\r\nContent-Disposition: form-data; name="

static void what_is_no_picture_is_passed_over(void **state)
{
    (void)state;
    struct bytes one = draw_png(1), two = draw_png(2);
    cJSON *expected = plain_answer(&one);
    struct part parts[70] = {{"comment", NULL, "BM, a seven", 11},
                             {"image", "digit.png", one.data, one.nbytes},
                             {"csrf", NULL, "", 0},
                             {"empty", "", "", 0}};
    struct request request = {.path = "/classify", .parts = parts, .n_parts = 3};
    expect_answer(&request, expected);
    /* What browsers send for a second file input in which no file was chosen. */
    static const char head[] = FIELD "\"a\"; filename=\"\"\r\nContent-Type: "
                               "application/octet-stream\r\n\r\n\r\n" FIELD
                               "\"b\"; filename=\"b.png\"\r\nContent-Type: image/png\r\n\r\n";
    static const char tail[] = "\r\n--frontier--\r\n";
    size_t n = sizeof head - 1 + one.nbytes + sizeof tail - 1;
    char *body = malloc(n);
    assert_non_null(body);
    memcpy(body, head, sizeof head - 1);
    memcpy(body + sizeof head - 1, one.data, one.nbytes);
    memcpy(body + n - (sizeof tail - 1), tail, sizeof tail - 1);
    expect_answer(&(struct request){.path = "/classify", .body = body, .nbytes = n,
                                    .headers = {TYPE_OF_PARTS}}, expected);
    free(body);
    /* --max-images counts pictures only, and /reconstruct takes one. */
    for (size_t i = 2; i < 66; i++)
        parts[i] = (struct part){"field", NULL, "text", 4};
    request.n_parts = 65;
    expect_answer(&request, expected);
    request.path = "/reconstruct";
    struct reply *reply = http_send(server, &request);
    assert_int_equal(reply->status, 200);
    reply_free(reply);
    parts[0] = parts[2] = (struct part){"image", NULL, two.data, two.nbytes};
    expect_refused(server, &request, 400, "invalid_parameter", "exactly one image");
    request.path = "/classify";
    expect_refused(server, &request, 413, "too_large", "more than 2 images");
    parts[0] = parts[2] = parts[3];
    request.n_parts = 66;
    expect_answer(&request, expected);
    parts[66] = parts[3];
    request.n_parts = 67;
    expect_refused(server, &request, 413, "too_large", "more than 66 parts");
    cJSON_Delete(expected);
    free(one.data);
    free(two.data);
}

static void a_field_may_hold_a_data_url(void **state)
{
    (void)state;
    struct bytes png = draw_png(4);
    cJSON *expected = plain_answer(&png);
    char *text = malloc(base64_encoded_size(png.nbytes) + 40);
    assert_non_null(text);
    base64_encode(stpcpy(text, "data:image/png;base64,"), png.data, png.nbytes);
    struct part parts[] = {{"name", NULL, "x", 1}, {"drawing", NULL, text, strlen(text)}};
    struct request request = {.path = "/classify", .parts = parts, .n_parts = 2};
    expect_answer(&request, expected);
    parts[1].nbytes = 30;
    expect_refused(server, &request, 400, "invalid_png", "images[0]");
    free(text);
    cJSON_Delete(expected);
    free(png.data);
}

static void a_form_without_a_picture_is_told_its_parts(void **state)
{
    (void)state;
    static const char *const BODIES[][2] = {
        {"--frontier--\r\n", "the form is empty"},
        {FIELD "\"image\"\r\n\r\n7\r\n--frontier--\r\n", "parts are \"image\" (text)"},
        {FIELD "\"a\"\r\n\r\n7\r\n" FIELD "\"f\"; filename=\"\"\r\n\r\n\r\n--frontier--\r\n",
         "parts are \"a\" (text), \"f\" (a file input left empty)"},
        {"--frontier\r\n\r\n7\r\n" FIELD "\"\x01\xff\"\r\n\r\n\r\n--frontier--\r\n",
         "parts are \"\" (text), \"??\" (text)"},
        {FIELD "1\r\n\r\n7\r\n" FIELD "2\r\n\r\n7\r\n" FIELD "3\r\n\r\n7\r\n" FIELD
         "4\r\n\r\n7\r\n" FIELD "5\r\n\r\n7\r\n" FIELD "6\r\n\r\n7\r\n--frontier--\r\n",
         "\"5\" (text) and 1 more"},
    };
    for (size_t i = 0; i < sizeof BODIES / sizeof *BODIES; i++)
        expect_refused(server,
                       &(struct request){.path = "/classify", .body = BODIES[i][0],
                                         .nbytes = strlen(BODIES[i][0]),
                                         .headers = {TYPE_OF_PARTS}},
                       400, "no_image", BODIES[i][1]);
    struct part jpeg = {"image", NULL, "\xff\xd8\xff\xe0\0\20JFIF", 10};
    expect_refused(server, &(struct request){.path = "/classify", .parts = &jpeg, .n_parts = 1},
                   400, "invalid_png", "a JPEG");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_base64_is_taken),
        cmocka_unit_test(a_data_url_is_a_body),
        cmocka_unit_test(bad_data_urls_are_refused),
        cmocka_unit_test(what_is_no_picture_is_passed_over),
        cmocka_unit_test(a_field_may_hold_a_data_url),
        cmocka_unit_test(a_form_without_a_picture_is_told_its_parts),
    };
    int failed = cmocka_run_group_tests_name("uploads", tests, start, stop);
    server_kill_leftovers(NULL);
    return failed;
}
