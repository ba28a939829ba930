/*
 * test_split.c - POST /classify?split=1 with the shipped weights: numbers of several digits,
 * their boxes, and what is refused.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/picture/png.h"
#include "tests/http/fixtures.h"
#include "tests/http/harness.h"

#define NUMBER "tests/digits/number-407.png"
#define LINES "tests/digits/lines-25-1638.png"
#define JSON "Content-Type: application/json"

static struct server *server;

static int start(void **state)
{
    (void)state;
    server = server_start(ARGS("--weights", shipped_weights()), NO_ARGS);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    server_stop(server);
    return 0;
}

static struct bytes read_png(const char *path)
{
    struct bytes png;
    png.data = read_file(path, &png.nbytes);
    return png;
}

/* Prediction i of an answer. */
static const cJSON *prediction(const cJSON *json, int i)
{
    return cJSON_GetArrayItem(json_array(json, "predictions", -1), i);
}

/* Checks a picture's text, and that its digits are those, each with all that a prediction
 * has, a box and, with `is_full`, its poses and its routing. */
static void check_number(const cJSON *number, const char *text, int is_full)
{
    char labels[40] = {0};
    size_t n = 0;
    const cJSON *digit = NULL;
    assert_int_equal(cJSON_GetArraySize(number), 2);
    assert_string_equal(json_string(number, "text"), text);
    for (const char *c = text; *c && n + 1 < sizeof labels; c++)
        if (*c != '\n')
            labels[n++] = *c;
    const cJSON *digits = json_array(number, "digits", (int)n);
    int i = 0;
    cJSON_ArrayForEach(digit, digits)
    {
        assert_int_equal(cJSON_GetArraySize(digit), 8 + 2 * is_full);
        assert_numbers(json_array(digit, "box", 4), 4, 0, 4096);
        assert_int_equal(*json_string(digit, "label"), labels[i++]);
        assert_numbers(json_array(digit, "probabilities", 10), 10, 0, 1);
        assert_true(json_number(digit, "probability") > 0.9);
        assert_true(cJSON_IsTrue(cJSON_GetObjectItem(digit, "in_distribution")));
        assert_int_equal(json_array(digit, "detected", 1)->child->valueint, labels[i - 1] - '0');
        if (!is_full)
            continue;
        json_array(digit, "pose", 10);
        const cJSON *rounds = json_array(json_object(digit, "routing"), "rounds", 3);
        const cJSON *lengths = json_array(cJSON_GetArrayItem(rounds, 2), "lengths", 10);
        for (int j = 0; j < 10; j++)
            assert_true(cJSON_Compare(cJSON_GetArrayItem(lengths, j),
                                      cJSON_GetArrayItem(json_array(digit, "probabilities", 10), j),
                                      1));
    }
}

static void a_number_is_read(void **state)
{
    (void)state;
    struct bytes png = read_png(NUMBER);
    cJSON *json = post_json(server, "/classify?split=1", png.data, png.nbytes);
    assert_string_equal(json_string(json, "model"), "capsnet-mnist");
    check_number(prediction(json, 0), "407", 0);
    /* Where draw.py put them: ink from to, with the pen's width, give or take its rim. */
    static const int boxes[3][4] = {{32, 28, 78, 103}, {125, 30, 83, 103}, {226, 25, 86, 105}};
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 4; k++) {
            const cJSON *digits = json_array(prediction(json, 0), "digits", 3);
            const cJSON *box = json_array(cJSON_GetArrayItem(digits, i), "box", 4);
            assert_in_range(cJSON_GetArrayItem(box, k)->valueint, boxes[i][k] - 3, boxes[i][k] + 3);
        }
    cJSON_Delete(json);
    free(png.data);
}

static void lines_are_read_one_after_the_other(void **state)
{
    (void)state;
    struct bytes png = read_png(LINES);
    static const char path[] = "/classify?split=1&poses=1&routing=1&normalize=fit";
    cJSON *json = post_json(server, path, png.data, png.nbytes);
    check_number(prediction(json, 0), "25\n1638", 1);
    cJSON_Delete(json);
    free(png.data);
}

/* A digit alone has the numbers that it has without split=1, and split=0 is without. */
static void a_lone_digit_is_read_as_ever(void **state)
{
    (void)state;
    struct bytes png = read_png("tests/digits/paper-3.png");
    cJSON *plain = post_json(server, "/classify?split=0", png.data, png.nbytes);
    cJSON *json = post_json(server, "/classify?split=1", png.data, png.nbytes);
    check_number(prediction(json, 0), "3", 0);
    cJSON *digit = cJSON_Duplicate(json_array(prediction(json, 0), "digits", 1)->child, 1);
    cJSON_DeleteItemFromObject(digit, "box");
    assert_same_answer(digit, prediction(plain, 0));
    cJSON_Delete(digit);
    cJSON_Delete(json);
    cJSON_Delete(plain);
    free(png.data);
}

static void several_pictures_have_an_answer_each(void **state)
{
    (void)state;
    struct bytes pngs[4] = {read_png(NUMBER), blank_png(50, 30, 255), read_png(LINES),
                            read_png("tests/digits/chalk-8.png")};
    char *body = images_json(pngs, 4);
    cJSON *json = post_json(server, "/classify?split=1", body, strlen(body));
    json_array(json, "predictions", 4);
    check_number(prediction(json, 0), "407", 0);
    check_number(prediction(json, 1), "", 0);
    check_number(prediction(json, 2), "25\n1638", 0);
    check_number(prediction(json, 3), "8", 0);
    struct part parts[4];
    for (int i = 0; i < 4; i++)
        parts[i] = (struct part){"image", "a.png", pngs[i].data, pngs[i].nbytes};
    struct reply *reply = http_send(
        server, &(struct request){.path = "/classify?split=1", .parts = parts, .n_parts = 4});
    assert_int_equal(reply->status, 200);
    cJSON *form = reply_json(reply);
    assert_same_answer(form, json);
    reply_free(reply);
    cJSON_Delete(form);
    cJSON_Delete(json);
    free(body);

    json = post_json(server, "/classify?split=1", pngs[1].data, pngs[1].nbytes);
    check_number(prediction(json, 0), "", 0); /* no candidate at all */
    cJSON_Delete(json);
    for (int i = 0; i < 4; i++)
        free(pngs[i].data);
}

/* Boxes are in the picture as its eXIf turns it: here it is stored lying on its side. */
static void boxes_are_those_of_the_turned_picture(void **state)
{
    (void)state;
    struct bytes png = read_png(NUMBER), lying;
    struct image image;
    struct image_message message;
    assert_int_equal(png_decode(&image, png.data, png.nbytes, 4096, 1, &message), IMAGE_OK);
    uint8_t *stored = malloc(image.width * image.height);
    assert_non_null(stored);
    for (size_t y = 0; y < image.height; y++) /* orientation 8: its right side is stored on top */
        for (size_t x = 0; x < image.width; x++)
            stored[x * image.height + image.height - 1 - y] = image.pixels[y * image.width + x];
    lying = gray_png(stored, image.height, image.width);
    static const uint8_t chunk[] = "\0\0\0\32eXIfMM\0*\0\0\0\10\0\1\1\22\0\3\0\0\0\1\0\10\0\0\0\0\0\0\0\0\0";
    enum { BEHIND_IHDR = 33, CHUNK = 12 + 26 };
    lying.data = realloc(lying.data, lying.nbytes + CHUNK);
    assert_non_null(lying.data);
    memmove(lying.data + BEHIND_IHDR + CHUNK, lying.data + BEHIND_IHDR, lying.nbytes - BEHIND_IHDR);
    memcpy(lying.data + BEHIND_IHDR, chunk, CHUNK);
    lying.nbytes += CHUNK;
    png_fix_crc(&lying, BEHIND_IHDR);
    cJSON *expected = post_json(server, "/classify?split=1", png.data, png.nbytes);
    cJSON *json = post_json(server, "/classify?split=1", lying.data, lying.nbytes);
    assert_same_answer(json, expected);
    cJSON_Delete(json);
    cJSON_Delete(expected);
    image_free(&image);
    free(stored);
    free(lying.data);
    free(png.data);
}

/* ---- Refusals ------------------------------------------------------------------------ */

static void refuse(const char *path, const struct bytes *png, long status, const char *code,
                   const char *fragment)
{
    expect_refused(server,
                   &(struct request){.path = path, .body = png->data, .nbytes = png->nbytes},
                   status, code, fragment);
}

static void what_cannot_be_split_is_refused(void **state)
{
    (void)state;
    struct bytes png = read_png(NUMBER);
    refuse("/classify?split=2", &png, 400, "invalid_parameter", "\"split\" must be 0 or 1");
    refuse("/classify?split=1&normalize=none", &png, 400, "invalid_parameter", "normalize=none");
    refuse("/pose?split=1", &png, 400, "invalid_parameter", "unknown to this route");
    refuse("/reconstruct?split=1", &png, 400, "invalid_parameter", "unknown to this route");
    png.nbytes /= 2;
    refuse("/classify?split=1", &png, 400, "invalid_png", "images[0]");
    free(png.data);

    uint8_t *dots = malloc(400 * 400);
    assert_non_null(dots);
    for (size_t i = 0; i < 400 * 400; i++)
        dots[i] = i % 400 % 20 < 10 && i / 400 % 20 < 10 ? 0 : 255;
    png = gray_png(dots, 400, 400);
    refuse("/classify?split=1", &png, 413, "too_large", "images[0]: the ink falls into more than");
    free(png.data);
    free(dots);
}

static void a_request_may_hold_so_many_digits(void **state)
{
    (void)state;
    enum { MANY = 64 };
    struct bytes pngs[MANY];
    pngs[0] = read_png(LINES);
    for (int i = 1; i < MANY; i++)
        pngs[i] = pngs[0];
    char *body = images_json(pngs, MANY);
    expect_refused(server,
                   &(struct request){.path = "/classify?split=1",
                                     .body = body,
                                     .nbytes = strlen(body),
                                     .headers = {JSON}},
                   413, "too_large", "send fewer at a time");
    free(body);
    body = images_json(pngs, 16);
    cJSON *json = post_json(server, "/classify?split=1", body, strlen(body));
    for (int i = 0; i < 16; i++)
        check_number(prediction(json, i), "25\n1638", 0);
    cJSON_Delete(json);
    free(body);
    free(pngs[0].data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_number_is_read),
        cmocka_unit_test(lines_are_read_one_after_the_other),
        cmocka_unit_test(a_lone_digit_is_read_as_ever),
        cmocka_unit_test(several_pictures_have_an_answer_each),
        cmocka_unit_test(boxes_are_those_of_the_turned_picture),
        cmocka_unit_test(what_cannot_be_split_is_refused),
        cmocka_unit_test(a_request_may_hold_so_many_digits),
    };
    int failed = cmocka_run_group_tests_name("split", tests, start, stop);
    server_kill_leftovers(NULL);
    return failed;
}
