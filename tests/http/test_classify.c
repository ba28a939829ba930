/*
 * test_classify.c - POST /classify and /pose: every way of sending images,
 * and each field of the answers.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/http/fixtures.h"
#include "tests/http/harness.h"
#include "tests/http/one_server.h"

/* ---- Helpers ---------------------------------------------------------- */

/* The first prediction for a body, printed; free() it. */
static char *predict(const char *path, const void *body, size_t nbytes)
{
    cJSON *json = post_json(server, path, body, nbytes);
    char *text = cJSON_PrintUnformatted(
        cJSON_GetArrayItem(json_array(json, "predictions", 1), 0));
    cJSON_Delete(json);
    assert_non_null(text);
    return text;
}

/* Root of the sum of squares of an array: a capsule's length. */
static double length_of(const cJSON *array)
{
    double sum = 0;
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, array) sum += item->valuedouble * item->valuedouble;
    return sqrt(sum);
}

/* Index of the largest number. */
static int largest(const cJSON *array)
{
    int best = 0;
    for (int i = 1; i < cJSON_GetArraySize(array); i++)
        if (cJSON_GetArrayItem(array, i)->valuedouble >
            cJSON_GetArrayItem(array, best)->valuedouble)
            best = i;
    return best;
}

/* "detected" holds every class longer than 0.5, and longest first. */
static void check_detected(const cJSON *prediction, const cJSON *lengths)
{
    const cJSON *detected = json_array(prediction, "detected", -1), *entry = NULL, *length = NULL;
    int n = 0;
    cJSON_ArrayForEach(length, lengths) n += length->valuedouble > 0.5;
    assert_int_equal(cJSON_GetArraySize(detected), n);
    double before = 1;
    cJSON_ArrayForEach(entry, detected)
    {
        double own = cJSON_GetArrayItem(lengths, entry->valueint)->valuedouble;
        assert_true(own > 0.5 && own <= before);
        before = own;
    }
}

/* Checks every field of a /classify prediction.  fields: how many it has. */
static void check_prediction(const cJSON *prediction, int fields)
{
    assert_int_equal(cJSON_GetArraySize(prediction), fields);
    const cJSON *lengths = json_array(prediction, "probabilities", TEST_CLASSES);
    assert_numbers(lengths, TEST_CLASSES, 0, 1);
    int class = largest(lengths);
    assert_true(json_number(prediction, "class") == class);
    const char *label = json_string(prediction, "label");
    char digit[2] = {(char)('0' + class), 0};
    assert_string_equal(label, class == 9 ? "nine" : digit);
    assert_true(json_number(prediction, "probability") ==
                cJSON_GetArrayItem(lengths, class)->valuedouble);
    double error = json_number(prediction, "reconstruction_error");
    assert_true(error > 0 && error < 1);
    const cJSON *in = cJSON_GetObjectItemCaseSensitive(prediction, "in_distribution");
    assert_true(cJSON_IsBool(in));
    /* The test weights state a threshold of the error alone. */
    assert_true(!cJSON_IsTrue(in) || error <= 0.2 + 1e-6);
    check_detected(prediction, lengths);
}

/* ---- /classify -------------------------------------------------------- */

static void classify_gives_every_field(void **state)
{
    (void)state;
    for (unsigned number = 0; number < 5; number++) {
        struct bytes png = draw_png(number);
        cJSON *json = post_json(server, "/classify", png.data, png.nbytes);
        assert_int_equal(cJSON_GetArraySize(json), 2);
        assert_string_equal(json_string(json, "model"), "capsnet-test");
        check_prediction(cJSON_GetArrayItem(json_array(json, "predictions", 1), 0), 7);
        cJSON_Delete(json);
        free(png.data);
    }
}

static void nothing_drawn_is_no_digit(void **state)
{
    (void)state;
    struct bytes png = blank_png(280, 280, 255);
    cJSON *json = post_json(server, "/classify", png.data, png.nbytes);
    const cJSON *prediction = cJSON_GetArrayItem(json_array(json, "predictions", 1), 0);
    json_array(prediction, "detected", 0);
    assert_true(cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(prediction, "in_distribution")));
    cJSON_Delete(json);
    free(png.data);
}

static void poses_come_on_request(void **state)
{
    (void)state;
    struct bytes png = draw_png(1);
    cJSON *json = post_json(server, "/classify?poses=1", png.data, png.nbytes);
    const cJSON *prediction = cJSON_GetArrayItem(json_array(json, "predictions", 1), 0);
    check_prediction(prediction, 8);
    const cJSON *poses = json_array(prediction, "pose", TEST_CLASSES);
    const cJSON *lengths = json_array(prediction, "probabilities", TEST_CLASSES);
    for (int class = 0; class < TEST_CLASSES; class++) {
        const cJSON *pose = cJSON_GetArrayItem(poses, class);
        assert_numbers(pose, TEST_POSE_DIMS, -1, 1);
        double length = cJSON_GetArrayItem(lengths, class)->valuedouble;
        assert_true(fabs(length_of(pose) - length) < 1e-5);
    }
    cJSON_Delete(json);

    json = post_json(server, "/classify?poses=0", png.data, png.nbytes);
    check_prediction(cJSON_GetArrayItem(json_array(json, "predictions", 1), 0), 7);
    cJSON_Delete(json);
    free(png.data);
}

static void pose_gives_every_capsule(void **state)
{
    (void)state;
    struct bytes png = draw_png(2);
    cJSON *json = post_json(server, "/pose", png.data, png.nbytes);
    assert_int_equal(cJSON_GetArraySize(json), 2);
    assert_string_equal(json_string(json, "model"), "capsnet-test");
    const cJSON *prediction = cJSON_GetArrayItem(json_array(json, "predictions", 1), 0);
    assert_int_equal(cJSON_GetArraySize(prediction), 3);
    const cJSON *lengths = json_array(prediction, "lengths", TEST_CLASSES);
    const cJSON *poses = json_array(prediction, "poses", TEST_CLASSES);
    assert_numbers(lengths, TEST_CLASSES, 0, 1);
    assert_true(json_number(prediction, "class") == largest(lengths));
    for (int class = 0; class < TEST_CLASSES; class++) {
        const cJSON *pose = cJSON_GetArrayItem(poses, class);
        assert_numbers(pose, TEST_POSE_DIMS, -1, 1);
        double length = cJSON_GetArrayItem(lengths, class)->valuedouble;
        assert_true(fabs(length_of(pose) - length) < 1e-5);
    }
    /* The same numbers as /classify gives. */
    cJSON *other = post_json(server, "/classify?poses=1", png.data, png.nbytes);
    const cJSON *twin = cJSON_GetArrayItem(json_array(other, "predictions", 1), 0);
    assert_true(cJSON_Compare(lengths, json_array(twin, "probabilities", TEST_CLASSES), 1));
    assert_true(cJSON_Compare(poses, json_array(twin, "pose", TEST_CLASSES), 1));
    cJSON_Delete(other);
    cJSON_Delete(json);
    free(png.data);
}

/* ---- Ways of sending -------------------------------------------------- */

static void a_png_is_taken_with_any_content_type(void **state)
{
    (void)state;
    static const char *const types[] = {
        "Content-Type: image/png", "Content-Type: application/octet-stream",
        "Content-Type: application/x-www-form-urlencoded", "Content-Type: text/plain",
        "Content-Type: application/json", "Content-Type: image/jpeg", "Content-Type:",
    };
    struct bytes png = draw_png(3);
    char *expected = predict("/classify", png.data, png.nbytes);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct reply *reply = http_send(server, &(struct request){.path = "/classify",
                                                                  .body = png.data,
                                                                  .nbytes = png.nbytes,
                                                                  .headers = {types[i]}});
        if (reply->status != 200)
            fail_msg("%s: %ld %s", types[i], reply->status, (const char *)reply->body);
        cJSON *json = reply_json(reply);
        char *got = cJSON_PrintUnformatted(
            cJSON_GetArrayItem(json_array(json, "predictions", 1), 0));
        assert_string_equal(got, expected);
        free(got);
        cJSON_Delete(json);
        reply_free(reply);
    }
    free(expected);
    free(png.data);
}

static void chunked_bodies_are_taken(void **state)
{
    (void)state;
    struct bytes png = blank_png(400, 300, 0);
    /* Noise, so that the body has several chunks. */
    uint8_t *pixels = malloc(400 * 300);
    assert_non_null(pixels);
    for (unsigned i = 0; i < 400 * 300; i++) pixels[i] = (uint8_t)(i * 2654435761u >> 24);
    free(png.data);
    png = gray_png(pixels, 400, 300);
    free(pixels);
    assert_true(png.nbytes > 5000);
    char *expected = predict("/classify", png.data, png.nbytes);
    struct reply *reply = http_send(
        server, &(struct request){
                    .path = "/classify", .body = png.data, .nbytes = png.nbytes, .chunked = 1});
    assert_int_equal(reply->status, 200);
    cJSON *json = reply_json(reply);
    char *got =
        cJSON_PrintUnformatted(cJSON_GetArrayItem(json_array(json, "predictions", 1), 0));
    assert_string_equal(got, expected);
    free(got);
    cJSON_Delete(json);
    reply_free(reply);
    free(expected);
    free(png.data);
}

/* Sends n different drawings and checks that each prediction is the one that
 * the drawing gets alone. */
static void check_order(struct reply *(*send)(const struct bytes *, size_t), size_t n)
{
    struct bytes pngs[64];
    assert_true(n <= 64);
    for (unsigned i = 0; i < n; i++) pngs[i] = draw_png(100 + i);
    struct reply *reply = send(pngs, n);
    if (reply->status != 200) fail_msg("%ld %s", reply->status, (const char *)reply->body);
    cJSON *json = reply_json(reply), *before = NULL;
    const cJSON *predictions = json_array(json, "predictions", (int)n);
    for (size_t i = 0; i < n; i++) {
        cJSON *alone = post_json(server, "/classify", pngs[i].data, pngs[i].nbytes);
        assert_same_answer(cJSON_GetArrayItem(predictions, (int)i),
                           cJSON_GetArrayItem(json_array(alone, "predictions", 1), 0));
        if (before) assert_false(cJSON_Compare(before, alone, 1));
        cJSON_Delete(before);
        free(pngs[i].data);
        before = alone;
    }
    cJSON_Delete(before);
    cJSON_Delete(json);
    reply_free(reply);
}

static struct reply *send_json(const struct bytes *pngs, size_t n)
{
    char *body = images_json(pngs, n);
    struct reply *reply =
        http_send(server, &(struct request){.path = "/classify",
                                            .body = body,
                                            .nbytes = strlen(body),
                                            .headers = {"Content-Type: application/json"}});
    free(body);
    return reply;
}

static struct reply *send_multipart(const struct bytes *pngs, size_t n)
{
    struct part parts[64];
    for (size_t i = 0; i < n; i++)
        parts[i] = (struct part){"image", i % 2 ? "digit.png" : NULL, pngs[i].data,
                                 pngs[i].nbytes};
    return http_send(server,
                     &(struct request){.path = "/classify", .parts = parts, .n_parts = n});
}

static void a_json_batch_keeps_its_order(void **state)
{
    (void)state;
    check_order(send_json, 1);
    check_order(send_json, 7);
    check_order(send_json, 64);
}

static void a_multipart_batch_keeps_its_order(void **state)
{
    (void)state;
    check_order(send_multipart, 1);
    check_order(send_multipart, 5);
    check_order(send_multipart, 64);
}

static void a_pose_batch_keeps_its_order(void **state)
{
    (void)state;
    struct bytes pngs[5];
    for (unsigned i = 0; i < 5; i++) pngs[i] = draw_png(200 + i);
    char *body = images_json(pngs, 5);
    cJSON *json = post_json(server, "/pose", body, strlen(body));
    for (int i = 0; i < 5; i++) {
        cJSON *alone = post_json(server, "/pose", pngs[i].data, pngs[i].nbytes);
        assert_same_answer(cJSON_GetArrayItem(json_array(json, "predictions", 5), i),
                           cJSON_GetArrayItem(json_array(alone, "predictions", 1), 0));
        cJSON_Delete(alone);
        free(pngs[i].data);
    }
    cJSON_Delete(json);
    free(body);
}

/* The same drawing at every place of small and of large batches, among other
 * neighbours each time: the same answer to the last digit. */
static void check_place(size_t n)
{
    struct bytes pngs[64], png = draw_png(7);
    char *first = NULL;
    for (size_t place = 0; place < n; place++) {
        for (unsigned i = 0; i < n; i++)
            pngs[i] = i == place ? png : draw_png((unsigned)(1000 + n * place) + i);
        char *body = images_json(pngs, n);
        cJSON *json = post_json(server, "/classify?poses=1", body, strlen(body));
        char *text = cJSON_PrintUnformatted(
            cJSON_GetArrayItem(json_array(json, "predictions", (int)n), (int)place));
        if (first) assert_string_equal(text, first);
        free(first);
        first = text;
        cJSON_Delete(json);
        free(body);
        for (unsigned i = 0; i < n; i++)
            if (i != place) free(pngs[i].data);
    }
    free(first);
    free(png.data);
}

static void an_answer_depends_on_its_image_alone(void **state)
{
    (void)state;
    check_place(2);
    check_place(4);
    check_place(9);
    check_place(17);
}

/* ---- Normalising ------------------------------------------------------ */

static void auto_leaves_digits_alone(void **state)
{
    (void)state;
    struct bytes png = draw_png(4);
    char *unnamed = predict("/classify", png.data, png.nbytes);
    char *automatic = predict("/classify?normalize=auto", png.data, png.nbytes);
    char *none = predict("/classify?normalize=none", png.data, png.nbytes);
    assert_string_equal(automatic, unnamed);
    assert_string_equal(none, unnamed);
    free(unnamed);
    free(automatic);
    free(none);
    free(png.data);
}

/* The drawing as people send it: three times as large, dark on light, off the
 * middle. */
static struct bytes photograph(unsigned number)
{
    enum { SIDE = 130, SCALE = 3 };
    static uint8_t pixels[SIDE * SIDE];
    uint8_t small[28 * 28];
    draw_pixels(small, number);
    memset(pixels, 250, sizeof pixels);
    for (int y = 0; y < 28 * SCALE; y++)
        for (int x = 0; x < 28 * SCALE; x++) {
            int ink = small[y / SCALE * 28 + x / SCALE];
            pixels[(y + 3) * SIDE + x + 40] = (uint8_t)(250 - ink * 240 / 255);
        }
    return gray_png(pixels, SIDE, SIDE);
}

static void fit_brings_any_picture_to_form(void **state)
{
    (void)state;
    struct bytes digit = draw_png(6), photo = photograph(6);
    cJSON *json[2] = {post_json(server, "/pose?normalize=fit", digit.data, digit.nbytes),
                      post_json(server, "/pose", photo.data, photo.nbytes)};
    const cJSON *lengths[2];
    for (int i = 0; i < 2; i++)
        lengths[i] = json_array(
            cJSON_GetArrayItem(json_array(json[i], "predictions", 1), 0), "lengths", -1);
    /* Nearly the same digit, so nearly the same capsules. */
    for (int class = 0; class < TEST_CLASSES; class++)
        assert_true(fabs(cJSON_GetArrayItem(lengths[0], class)->valuedouble -
                         cJSON_GetArrayItem(lengths[1], class)->valuedouble) < 0.1);
    for (int i = 0; i < 2; i++) cJSON_Delete(json[i]);

    char *automatic = predict("/classify", photo.data, photo.nbytes);
    char *fit = predict("/classify?normalize=fit", photo.data, photo.nbytes);
    assert_string_equal(automatic, fit);
    free(automatic);
    free(fit);
    free(digit.data);
    free(photo.data);
}

static void none_demands_the_models_size(void **state)
{
    (void)state;
    struct bytes photo = photograph(7);
    expect_refused(server,
                   &(struct request){.path = "/classify?normalize=none",
                                     .body = photo.data,
                                     .nbytes = photo.nbytes},
                   400, "invalid_png", "28");
    free(photo.data);
}

static void odd_but_legal_pictures_get_an_answer(void **state)
{
    (void)state;
    struct bytes pictures[] = {
        blank_png(1, 1, 0),       blank_png(1, 1, 255), blank_png(28, 28, 255),
        blank_png(28, 28, 0),     blank_png(300, 1, 9), blank_png(1, 4096, 0),
        blank_png(4096, 4096, 0),
    };
    for (size_t i = 0; i < sizeof pictures / sizeof *pictures; i++) {
        cJSON *json = post_json(server, "/classify", pictures[i].data, pictures[i].nbytes);
        const cJSON *prediction = cJSON_GetArrayItem(json_array(json, "predictions", 1), 0);
        assert_numbers(json_array(prediction, "probabilities", -1), TEST_CLASSES, 0, 1);
        /* Without any ink there is no digit to know. */
        assert_true(cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(prediction, "in_distribution")));
        cJSON_Delete(json);
        free(pictures[i].data);
    }
}

/* ---- Another model ---------------------------------------------------- */

static void a_model_without_threshold_does_not_judge(void **state)
{
    (void)state;
    char path[300];
    snprintf(path, sizeof path, "%s/no-threshold.safetensors", test_folder());
    make_weights(path, 4, NULL);
    struct server *other = server_start(ARGS("--weights", path), NO_ARGS);
    struct bytes png = draw_png(0);
    cJSON *json = post_json(other, "/classify", png.data, png.nbytes);
    const cJSON *prediction = cJSON_GetArrayItem(json_array(json, "predictions", 1), 0);
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(prediction, "in_distribution")));
    cJSON_Delete(json);
    free(png.data);
    server_stop(other);
}

/* Colour, not square, four classes of 12-D poses. */
static void a_colour_model_is_served_too(void **state)
{
    (void)state;
    static const char path[] = "tests/golden/colour.safetensors";
    struct server *other = server_start(ARGS("--weights", path), NO_ARGS);
    struct bytes png = photograph(1);
    cJSON *json = post_json(other, "/pose", png.data, png.nbytes);
    const cJSON *prediction = cJSON_GetArrayItem(json_array(json, "predictions", 1), 0);
    assert_numbers(json_array(prediction, "lengths", 4), 4, 0, 1);
    assert_numbers(cJSON_GetArrayItem(json_array(prediction, "poses", 4), 3), 12, -1, 1);
    cJSON_Delete(json);
    free(png.data);
    server_stop(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classify_gives_every_field),
        cmocka_unit_test(nothing_drawn_is_no_digit),
        cmocka_unit_test(poses_come_on_request),
        cmocka_unit_test(pose_gives_every_capsule),
        cmocka_unit_test(a_png_is_taken_with_any_content_type),
        cmocka_unit_test(chunked_bodies_are_taken),
        cmocka_unit_test(a_json_batch_keeps_its_order),
        cmocka_unit_test(a_multipart_batch_keeps_its_order),
        cmocka_unit_test(a_pose_batch_keeps_its_order),
        cmocka_unit_test(an_answer_depends_on_its_image_alone),
        cmocka_unit_test(auto_leaves_digits_alone),
        cmocka_unit_test(fit_brings_any_picture_to_form),
        cmocka_unit_test(none_demands_the_models_size),
        cmocka_unit_test(odd_but_legal_pictures_get_an_answer),
        cmocka_unit_test(a_model_without_threshold_does_not_judge),
        cmocka_unit_test(a_colour_model_is_served_too),
    };
    int failed = cmocka_run_group_tests_name("classify", tests, start, stop);
    server_kill_leftovers(NULL);
    return failed;
}
