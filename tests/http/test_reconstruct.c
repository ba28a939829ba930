/*
 * test_reconstruct.c - POST /reconstruct: an image or a pose in, a PNG or
 * JSON out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/basics/base64.h"
#include "server/normalize/normalize.h"
#include "tests/http/fixtures.h"
#include "tests/http/harness.h"
#include "tests/http/one_server.h"

/* ---- Helpers ---------------------------------------------------------- */

/* Sends a body and returns the pixels of the PNG answer, after checking its
 * size; free() them. */
static uint8_t *render(const char *path, const void *body, size_t nbytes, const char *type,
                       const char *accept, size_t width, size_t height)
{
    struct reply *reply = http_send(server, &(struct request){.path = path,
                                                              .body = body,
                                                              .nbytes = nbytes,
                                                              .headers = {type, accept}});
    if (reply->status != 200)
        fail_msg("%s: %ld %s", path, reply->status, (const char *)reply->body);
    char value[100] = "";
    reply_header(reply, "Content-Type", value, sizeof value);
    assert_string_equal(value, "image/png");
    uint8_t *pixels = check_png(reply->body, reply->nbytes, width, height);
    reply_free(reply);
    return pixels;
}

static uint8_t *render_image(const char *path, size_t width, size_t height)
{
    struct bytes png = draw_png(10);
    uint8_t *pixels = render(path, png.data, png.nbytes, "Content-Type: image/png", NULL, width,
                             height);
    free(png.data);
    return pixels;
}

static uint8_t *render_pose(const char *path, const char *pose, size_t width, size_t height)
{
    return render(path, pose, strlen(pose), "Content-Type: application/json", NULL, width,
                  height);
}

/* The pixels of the base64 PNG in a JSON answer; free() them. */
static uint8_t *json_pixels(const cJSON *json, size_t width, size_t height)
{
    const char *text = json_string(json, "image");
    size_t nbytes = 0;
    uint8_t *png = malloc(strlen(text) + 3);
    assert_non_null(png);
    assert_int_equal(base64_decode(png, &nbytes, text, strlen(text)), 0);
    uint8_t *pixels = check_png(png, nbytes, width, height);
    free(png);
    return pixels;
}

/* A pose request body for a class: 0.1, 0.12, 0.14, ... */
static const char *pose_body(int class)
{
    static char text[400];
    int n = snprintf(text, sizeof text, "{\"class\": %d, \"pose\": [", class);
    for (int d = 0; d < TEST_POSE_DIMS; d++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%s%.2f", d ? ", " : "", 0.1 + 0.02 * d);
    snprintf(text + n, sizeof text - (size_t)n, "]}");
    return text;
}

static void refuse_json(const char *body, const char *code, const char *fragment)
{
    expect_refused(server,
                   &(struct request){.path = "/reconstruct",
                                     .body = body,
                                     .nbytes = strlen(body),
                                     .headers = {"Content-Type: application/json"}},
                   400, code, fragment);
}

static void refuse_query(const char *path, const char *fragment)
{
    struct bytes png = draw_png(10);
    expect_refused(server,
                   &(struct request){.path = path, .body = png.data, .nbytes = png.nbytes}, 400,
                   "invalid_parameter", fragment);
    free(png.data);
}

/* ---- Image in --------------------------------------------------------- */

static void an_image_comes_back_as_png(void **state)
{
    (void)state;
    uint8_t *pixels = render_image("/reconstruct", 28, 28);
    int low = 255, high = 0;
    for (int i = 0; i < 28 * 28; i++) {
        if (pixels[i] < low) low = pixels[i];
        if (pixels[i] > high) high = pixels[i];
    }
    assert_true(high > low); /* a picture, not a blank */
    free(pixels);
}

static void class_picks_the_capsule(void **state)
{
    (void)state;
    struct bytes png = draw_png(10);
    cJSON *json = post_json(server, "/classify", png.data, png.nbytes);
    int winner = (int)json_number(cJSON_GetArrayItem(json_array(json, "predictions", 1), 0),
                                  "class");
    cJSON_Delete(json);
    uint8_t *unnamed = render_image("/reconstruct", 28, 28);
    for (int class = 0; class < TEST_CLASSES; class++) {
        char path[60];
        snprintf(path, sizeof path, "/reconstruct?class=%d", class);
        uint8_t *named = render_image(path, 28, 28);
        assert_int_equal(memcmp(named, unnamed, 28 * 28) == 0, class == winner);
        free(named);
    }
    free(unnamed);
    free(png.data);
}

static void scale_enlarges_each_pixel(void **state)
{
    (void)state;
    uint8_t *small = render_image("/reconstruct", 28, 28);
    static const size_t scales[] = {1, 2, 5, 16};
    for (size_t s = 0; s < sizeof scales / sizeof *scales; s++) {
        size_t scale = scales[s], side = 28 * scale;
        char path[60];
        snprintf(path, sizeof path, "/reconstruct?scale=%zu", scale);
        uint8_t *large = render_image(path, side, side);
        for (size_t y = 0; y < side; y++)
            for (size_t x = 0; x < side; x++)
                assert_int_equal(large[y * side + x], small[y / scale * 28 + x / scale]);
        free(large);
    }
    free(small);
}

/* The middle column of a sweep moves nothing; the others move one dimension. */
static void check_sweep(const uint8_t *sweep, const uint8_t *single)
{
    enum { COLUMNS = 11, WIDTH = COLUMNS * 28 };
    int differs = 0;
    for (size_t row = 0; row < TEST_POSE_DIMS; row++)
        for (size_t column = 0; column < COLUMNS; column++) {
            int same = 1;
            for (size_t y = 0; y < 28; y++)
                same &= memcmp(sweep + (row * 28 + y) * WIDTH + column * 28, single + y * 28,
                               28) == 0;
            if (column == 5) assert_true(same);
            differs += !same;
        }
    assert_true(differs > 100); /* of 160 */
}

static void sweep_moves_each_dimension(void **state)
{
    (void)state;
    uint8_t *single = render_image("/reconstruct", 28, 28);
    uint8_t *sweep = render_image("/reconstruct?sweep=1", 11 * 28, 16 * 28);
    check_sweep(sweep, single);
    free(sweep);
    free(single);
    free(render_image("/reconstruct?sweep=1&scale=2&class=3", 2 * 11 * 28, 2 * 16 * 28));
    free(render_image("/reconstruct?sweep=0", 28, 28));
}

static void sweep_columns_are_the_papers(void **state)
{
    (void)state;
    /* Row 3, column 0 of a pose's sweep is that pose with 0.25 less in
     * dimension 3: 0.16 becomes -0.09; column 10 makes it 0.41. */
    uint8_t *sweep = render_pose("/reconstruct?sweep=1", pose_body(4), 11 * 28, 16 * 28);
    uint8_t *single = render_pose("/reconstruct", pose_body(4), 28, 28);
    check_sweep(sweep, single);
    free(single);
    for (int column = 0; column <= 10; column += 10) {
        char body[400];
        snprintf(body, sizeof body, "%s", pose_body(4));
        char *number = strstr(body, "0.16, ");
        assert_non_null(number);
        memmove(number + 5, number + 4, strlen(number + 4) + 1);
        memcpy(number, column ? "0.410" : "-0.09", 5);
        uint8_t *moved = render_pose("/reconstruct", body, 28, 28);
        for (size_t y = 0; y < 28; y++)
            for (size_t x = 0; x < 28; x++) {
                int difference = sweep[(3 * 28 + y) * 11 * 28 + (size_t)column * 28 + x] -
                                 moved[y * 28 + x];
                assert_in_range(difference + 1, 0, 2); /* rounding */
            }
        free(moved);
    }
    free(sweep);
}

/* What the network saw: a picture in MNIST's form as it was sent, any other
 * brought to that form. */
static void debug_shows_what_the_network_saw(void **state)
{
    (void)state;
    uint8_t sent[28 * 28], paper[28 * 28];
    draw_pixels(sent, 10);
    uint8_t *seen = render_image("/reconstruct?debug=normalized", 28, 28);
    assert_memory_equal(seen, sent, sizeof sent);
    uint8_t *large = render_image("/reconstruct?debug=normalized&scale=3", 84, 84);
    for (size_t i = 0; i < 84 * 84; i++)
        assert_int_equal(large[i], sent[i / 84 / 3 * 28 + i % 84 / 3]);
    free(large);

    for (size_t i = 0; i < sizeof sent; i++) paper[i] = (uint8_t)(255 - sent[i]);
    struct bytes png = gray_png(paper, 28, 28);
    uint8_t *turned = render("/reconstruct?debug=normalized", png.data, png.nbytes,
                             "Content-Type: image/png", NULL, 28, 28);
    float digit[28 * 28];
    struct image_message message = {""};
    struct image image = {28, 28, 1, paper};
    const struct normalize_form form = normalize_whole(28, 28, 1);
    assert_int_equal(normalize_image(digit, &form, &image, NORMALIZE_FIT, &message), IMAGE_OK);
    for (size_t i = 0; i < sizeof sent; i++)
        assert_in_range(turned[i] + 1, (int)(digit[i] * 255), (int)(digit[i] * 255) + 2);
    free(turned);
    free(png.data);
    free(seen);
}

static void json_out_has_every_field(void **state)
{
    (void)state;
    struct bytes png = draw_png(10);
    cJSON *class_json = post_json(server, "/classify", png.data, png.nbytes);
    const cJSON *prediction = cJSON_GetArrayItem(json_array(class_json, "predictions", 1), 0);
    cJSON *json = post_json(server, "/reconstruct", png.data, png.nbytes);
    assert_int_equal(cJSON_GetArraySize(json), 6);
    assert_string_equal(json_string(json, "model"), "capsnet-test");
    assert_string_equal(json_string(json, "label"), json_string(prediction, "label"));
    assert_true(json_number(json, "class") == json_number(prediction, "class"));
    assert_true(json_number(json, "probability") == json_number(prediction, "probability"));
    double error = json_number(json, "reconstruction_error");
    assert_true(error == json_number(prediction, "reconstruction_error"));
    uint8_t *pixels = json_pixels(json, 28, 28), *expected = render_image("/reconstruct", 28, 28);
    assert_memory_equal(pixels, expected, 28 * 28);

    /* The stated error is that of this very picture, up to 8-bit rounding. */
    uint8_t original[28 * 28];
    draw_pixels(original, 10);
    double sum = 0;
    for (int i = 0; i < 28 * 28; i++) {
        double difference = (pixels[i] - original[i]) / 255.0;
        sum += difference * difference;
    }
    assert_true(sum / 784 - error < 0.005 && error - sum / 784 < 0.005);
    free(pixels);
    free(expected);
    cJSON_Delete(json);
    cJSON_Delete(class_json);

    json = post_json(server, "/reconstruct?class=9", png.data, png.nbytes);
    assert_true(json_number(json, "class") == 9);
    assert_string_equal(json_string(json, "label"), "nine");
    cJSON_Delete(json);
    free(png.data);
}

static void accept_decides_the_form(void **state)
{
    (void)state;
    struct bytes png = draw_png(10);
    static const char *const want_png[] = {
        "Accept: */*", "Accept: image/png", "Accept: image/*", "Accept:",
        "Accept: text/html,application/xhtml+xml,image/webp,*/*;q=0.8",
        "Accept: image/png, application/json;q=0.5", "Accept: */*, application/json;q=0.5",
    };
    /* One line, or two. */
    static const char *const want_json[][2] = {
        {"Accept: application/json", NULL},
        {"Accept: application/json, */*;q=0.1", NULL},
        {"Accept: image/png;q=0.5, application/json", NULL},
        {"Accept: image/png, application/json", NULL},
        {"accept: APPLICATION/JSON", NULL},
        {"Accept: application/*", NULL},
        {"Accept: image/png;q=0.5, */*;q=0.6", NULL},
        {"Accept: image/png;q=0.5", "accept: application/json"},
        {"Accept: text/html", "Accept: */*;q=0.1, application/json;q=0.2"},
    };
    for (size_t i = 0; i < sizeof want_png / sizeof *want_png; i++)
        free(render("/reconstruct", png.data, png.nbytes, NULL, want_png[i], 28, 28));
    for (size_t i = 0; i < sizeof want_json / sizeof *want_json; i++) {
        struct reply *reply = http_send(
            server, &(struct request){.path = "/reconstruct",
                                      .body = png.data,
                                      .nbytes = png.nbytes,
                                      .headers = {want_json[i][0], want_json[i][1]}});
        assert_int_equal(reply->status, 200);
        cJSON_Delete(reply_json(reply));
        reply_free(reply);
    }
    free(png.data);
}

static void every_way_of_sending_gives_the_same(void **state)
{
    (void)state;
    struct bytes png = draw_png(10);
    uint8_t *expected = render_image("/reconstruct", 28, 28);
    char *body = images_json(&png, 1);
    uint8_t *from_json = render("/reconstruct", body, strlen(body),
                                "Content-Type: application/json", NULL, 28, 28);
    assert_memory_equal(from_json, expected, 28 * 28);
    struct part part = {"image", "digit.png", png.data, png.nbytes};
    struct reply *reply = http_send(
        server, &(struct request){.path = "/reconstruct", .parts = &part, .n_parts = 1});
    assert_int_equal(reply->status, 200);
    uint8_t *from_parts = check_png(reply->body, reply->nbytes, 28, 28);
    assert_memory_equal(from_parts, expected, 28 * 28);
    reply_free(reply);
    free(from_parts);
    free(from_json);
    free(expected);
    free(body);
    free(png.data);
}

/* ---- Every detected class ------------------------------------------------ */

/* A drawing of which the network detects so many classes, by being faint where they are
 * few, and its prediction in *json; free both. */
static struct bytes drawing_with(int n_detected, cJSON **json)
{
    for (unsigned number = 0; number < 20; number++)
        for (int part = 1; part <= 16; part++) {
            uint8_t pixels[28 * 28];
            draw_pixels(pixels, number);
            for (size_t i = 0; i < sizeof pixels; i++)
                pixels[i] = (uint8_t)(pixels[i] * part / 16);
            struct bytes png = gray_png(pixels, 28, 28);
            *json = post_json(server, "/classify?normalize=none", png.data, png.nbytes);
            const cJSON *prediction = json_array(*json, "predictions", 1)->child;
            if (cJSON_GetArraySize(json_array(prediction, "detected", -1)) == n_detected)
                return png;
            free(png.data);
            cJSON_Delete(*json);
        }
    fail_msg("no drawing has %d detected classes", n_detected);
    return (struct bytes){NULL, 0};
}

/* One of the answer's images: as class=N draws it, and as it lies on the sheet [56][width]. */
static void check_detected(const cJSON *image, int class, double length, const struct bytes *png,
                           const uint8_t *corner, size_t width)
{
    char path[60];
    const char digit[2] = {(char)('0' + class), 0};
    snprintf(path, sizeof path, "/reconstruct?normalize=none&scale=2&class=%d", class);
    uint8_t *alone = render(path, png->data, png->nbytes, NULL, NULL, 56, 56);
    uint8_t *own = json_pixels(image, 56, 56);
    for (size_t y = 0; y < 56; y++)
        assert_memory_equal(corner + y * width, alone + y * 56, 56);
    assert_memory_equal(own, alone, 56 * 56);
    assert_int_equal(cJSON_GetArraySize(image), 4);
    assert_true(json_number(image, "class") == class);
    assert_string_equal(json_string(image, "label"), class == 9 ? "nine" : digit);
    assert_true(json_number(image, "probability") == length);
    free(own);
    free(alone);
}

/* In the order of "detected", in PNG and JSON. */
static void detected_classes_are_drawn_side_by_side(void **state)
{
    (void)state;
    for (int wanted = 1; wanted <= 4; wanted++) {
        cJSON *predicted;
        struct bytes png = drawing_with(wanted, &predicted);
        const cJSON *prediction = json_array(predicted, "predictions", 1)->child;
        const cJSON *detected = json_array(prediction, "detected", -1), *item = NULL;
        const cJSON *lengths = json_array(prediction, "probabilities", TEST_CLASSES);
        const size_t n = (size_t)cJSON_GetArraySize(detected), width = n * 56;
        static const char path[] = "/reconstruct?class=detected&scale=2&normalize=none";
        uint8_t *sheet = render(path, png.data, png.nbytes, NULL, NULL, width, 56);
        cJSON *json = post_json(server, path, png.data, png.nbytes);
        assert_int_equal(cJSON_GetArraySize(json), 2);
        assert_string_equal(json_string(json, "model"), "capsnet-test");
        const cJSON *image = json_array(json, "images", (int)n)->child;
        const uint8_t *corner = sheet;
        cJSON_ArrayForEach(item, detected)
        {
            check_detected(image, item->valueint,
                           cJSON_GetArrayItem(lengths, item->valueint)->valuedouble, &png, corner,
                           width);
            image = image->next;
            corner += 56;
        }
        free(sheet);
        cJSON_Delete(json);
        cJSON_Delete(predicted);
        free(png.data);
    }
}

/* Where nothing is detected there is no picture to send; JSON can say so. */
static void nothing_detected_is_an_empty_list_or_one_sentence(void **state)
{
    (void)state;
    static const char path[] = "/reconstruct?class=detected&normalize=none";
    cJSON *predicted;
    struct bytes pngs[2] = {drawing_with(0, &predicted), blank_png(28, 28, 0)};
    for (int i = 0; i < 2; i++) {
        cJSON *json = post_json(server, path, pngs[i].data, pngs[i].nbytes);
        json_array(json, "images", 0);
        cJSON_Delete(json);
        expect_refused(server,
                       &(struct request){.path = path,
                                         .body = pngs[i].data,
                                         .nbytes = pngs[i].nbytes},
                       400, "invalid_parameter", "longer than 0.5");
        free(pngs[i].data);
    }
    cJSON_Delete(predicted);
}

/* ---- Pose in ---------------------------------------------------------- */

static void a_pose_is_rendered(void **state)
{
    (void)state;
    uint8_t *three = render_pose("/reconstruct", pose_body(3), 28, 28);
    uint8_t *four = render_pose("/reconstruct", pose_body(4), 28, 28);
    assert_memory_not_equal(three, four, 28 * 28);
    free(render_pose("/reconstruct?scale=3", pose_body(3), 84, 84));
    cJSON *json = post_json(server, "/reconstruct", pose_body(3), strlen(pose_body(3)));
    assert_int_equal(cJSON_GetArraySize(json), 3);
    assert_true(json_number(json, "class") == 3);
    assert_string_equal(json_string(json, "label"), "3");
    uint8_t *pixels = json_pixels(json, 28, 28);
    assert_memory_equal(pixels, three, 28 * 28);
    cJSON_Delete(json);
    free(pixels);
    free(three);
    free(four);
}

/* The way there and the way back: an image's own pose gives its picture. */
static void the_pose_of_an_image_gives_its_picture(void **state)
{
    (void)state;
    struct bytes png = draw_png(10);
    cJSON *json = post_json(server, "/pose", png.data, png.nbytes);
    const cJSON *prediction = cJSON_GetArrayItem(json_array(json, "predictions", 1), 0);
    int class = (int)json_number(prediction, "class");
    cJSON *question = cJSON_CreateObject();
    cJSON_AddNumberToObject(question, "class", class);
    cJSON_AddItemToObject(
        question, "pose",
        cJSON_Duplicate(cJSON_GetArrayItem(json_array(prediction, "poses", -1), class), 1));
    char *body = cJSON_PrintUnformatted(question);
    uint8_t *there = render_image("/reconstruct", 28, 28);
    uint8_t *back = render_pose("/reconstruct", body, 28, 28);
    assert_memory_equal(there, back, 28 * 28);
    free(there);
    free(back);
    free(body);
    cJSON_Delete(question);
    cJSON_Delete(json);
    free(png.data);
}

static void bad_poses_are_refused(void **state)
{
    (void)state;
#define FIFTEEN "0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"
    refuse_json("{\"class\": 3, \"pose\": [" FIFTEEN "]}", "invalid_json", "16");
    refuse_json("{\"class\": 3, \"pose\": [" FIFTEEN ",0,0]}", "invalid_json", "16");
    refuse_json("{\"class\": 3, \"pose\": []}", "invalid_json", "16");
    refuse_json("{\"class\": 3, \"pose\": [" FIFTEEN ",\"0\"]}", "invalid_json", "pose[15]");
    refuse_json("{\"class\": 3, \"pose\": [" FIFTEEN ",null]}", "invalid_json", "pose[15]");
    refuse_json("{\"class\": 3, \"pose\": [" FIFTEEN ",1e999]}", "invalid_json", "pose[15]");
    refuse_json("{\"class\": 3, \"pose\": [" FIFTEEN ",1e39]}", "invalid_json", "pose[15]");
    refuse_json("{\"class\": 3, \"pose\": [" FIFTEEN ",NaN]}", "invalid_json", NULL);
    refuse_json("{\"class\": 10, \"pose\": [" FIFTEEN ",0]}", "invalid_json", "class");
    refuse_json("{\"class\": -1, \"pose\": [" FIFTEEN ",0]}", "invalid_json", "class");
    refuse_json("{\"class\": 1.5, \"pose\": [" FIFTEEN ",0]}", "invalid_json", "class");
    refuse_json("{\"class\": 1e99, \"pose\": [" FIFTEEN ",0]}", "invalid_json", "class");
    refuse_json("{\"class\": \"3\", \"pose\": [" FIFTEEN ",0]}", "invalid_json", "class");
    refuse_json("{\"pose\": [" FIFTEEN ",0]}", "invalid_json", "class");
    refuse_json("{\"class\": 3}", "invalid_json", "pose");
    refuse_json("{\"class\": 3, \"pose\": 7}", "invalid_json", "pose");
    refuse_json("{}", "invalid_json", NULL);
    refuse_json("[]", "invalid_json", NULL);
#undef FIFTEEN
}

/* ---- Refusals --------------------------------------------------------- */

static void it_takes_exactly_one_image(void **state)
{
    (void)state;
    struct bytes pngs[2] = {draw_png(1), draw_png(2)};
    char *two = images_json(pngs, 2);
    refuse_json(two, "invalid_parameter", "one image");
    free(two);
    refuse_json("{\"images\": []}", "no_image", NULL);
    free(pngs[0].data);
    free(pngs[1].data);
}

static void bad_parameters_are_refused(void **state)
{
    (void)state;
    refuse_query("/reconstruct?class=10", "class");
    refuse_query("/reconstruct?class=-1", "class");
    refuse_query("/reconstruct?class=x", "0 to 9 or detected");
    refuse_query("/reconstruct?class=detected&sweep=1", "sweep=1 moves one capsule");
    refuse_query("/reconstruct?class=detected&debug=normalized", "class=detected");
    refuse_query("/reconstruct?class=", "class");
    refuse_query("/reconstruct?class=3.0", "class");
    refuse_query("/reconstruct?class=18446744073709551619", "class"); /* 3 in 64 bits */
    refuse_query("/reconstruct?scale=0", "scale");
    refuse_query("/reconstruct?scale=17", "scale");
    refuse_query("/reconstruct?scale=2x", "scale");
    refuse_query("/reconstruct?scale=%202", "scale");
    refuse_query("/reconstruct?sweep=2", "sweep");
    refuse_query("/reconstruct?sweep=yes", "sweep");
    refuse_query("/reconstruct?debug=1", "debug");
    refuse_query("/reconstruct?debug=normalized&sweep=1", "sweep");
    const char *pose = pose_body(4);
    expect_refused(server,
                   &(struct request){.path = "/reconstruct?debug=normalized",
                                     .body = pose,
                                     .nbytes = strlen(pose),
                                     .headers = {"Content-Type: application/json"}},
                   400, "invalid_parameter", "a pose is none");
    expect_refused(server,
                   &(struct request){.path = "/reconstruct?class=detected",
                                     .body = pose,
                                     .nbytes = strlen(pose),
                                     .headers = {"Content-Type: application/json"}},
                   400, "invalid_parameter", "is for an image");
    refuse_query("/reconstruct?normalize=maybe", "normalize");
    refuse_query("/reconstruct?poses=1", "poses");
    refuse_query("/reconstruct?colour=red", "colour");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_comes_back_as_png),
        cmocka_unit_test(class_picks_the_capsule),
        cmocka_unit_test(scale_enlarges_each_pixel),
        cmocka_unit_test(sweep_moves_each_dimension),
        cmocka_unit_test(sweep_columns_are_the_papers),
        cmocka_unit_test(debug_shows_what_the_network_saw),
        cmocka_unit_test(json_out_has_every_field),
        cmocka_unit_test(accept_decides_the_form),
        cmocka_unit_test(every_way_of_sending_gives_the_same),
        cmocka_unit_test(detected_classes_are_drawn_side_by_side),
        cmocka_unit_test(nothing_detected_is_an_empty_list_or_one_sentence),
        cmocka_unit_test(a_pose_is_rendered),
        cmocka_unit_test(the_pose_of_an_image_gives_its_picture),
        cmocka_unit_test(bad_poses_are_refused),
        cmocka_unit_test(it_takes_exactly_one_image),
        cmocka_unit_test(bad_parameters_are_refused),
    };
    int failed = cmocka_run_group_tests_name("reconstruct", tests, start, stop);
    server_kill_leftovers(NULL);
    return failed;
}
