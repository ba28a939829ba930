/*
 * test_canvas.c - a network that reads pairs of digits on a canvas of 36 x 36, trained here
 * for a moment: the pairs of `capsnet-train eval --pairs` as PNGs get the same answers, and
 * pictures of other sizes come to its form.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/train/data/idx.h"
#include "model/train/data/pairs.h"
#include "tests/common/temp_folder.h"
#include "tests/http/fixtures.h"
#include "tests/http/harness.h"

enum { SIDE = 28, CANVAS = 36, PIXELS = CANVAS * CANVAS, CLASSES = 10, TEST = 20 };
enum { PAIRS = TEST * PAIRS_PARTNERS, EACH = 50 };

static struct server *server;
static struct dataset test;
static uint8_t answers[PAIRS][2];
static char said[1 << 14];

static void put_drawings(const char *prefix, size_t n)
{
    static uint8_t pixels[60 * SIDE * SIDE], labels[60];
    for (size_t i = 0; i < n; i++) {
        labels[i] = (uint8_t)(i % CLASSES);
        draw_pixels(pixels + i * SIDE * SIDE, (unsigned)i);
    }
    put_idx(prefix, n, SIDE, SIDE, pixels, labels);
}

static void train_and_ask(void)
{
    size_t nbytes;
    if (run_trainer(said, sizeof said,
                    "train --data . --out pairs.safetensors --name capsnet-pairs --pairs --epochs 3 "
                    "--conv1 16 --types 4 --hidden1 32 --hidden2 48 --batch 16 --warmup 5 "
                    "--rate 0.003 --ema 0 --no-pictures --step-precision f32") != 0 ||
        run_trainer(said, sizeof said,
                    "eval pairs.safetensors --data . --pairs --answers answers") != 0)
        fail_msg("%s", said);
    char *text = (char *)get_file("answers", &nbytes), *rest = text;
    for (size_t i = 0; i < PAIRS; i++) {
        unsigned first, second;
        int used;
        assert_int_equal(sscanf(rest, "%u %u\n%n", &first, &second, &used), 2);
        answers[i][0] = (uint8_t)first, answers[i][1] = (uint8_t)second;
        rest += used;
    }
    free(text);
}

static int start(void **state)
{
    struct capsnet_error error = {""};
    folder_create(state);
    put_drawings("train", 60);
    put_drawings("t10k", TEST);
    assert_int_equal(dataset_load_idx(&test, in_folder("."), "t10k", &error), CAPSNET_OK);
    train_and_ask();
    server = server_start(ARGS("--weights", in_folder("pairs.safetensors")), NO_ARGS);
    return 0;
}

static int stop(void **state)
{
    if (server)
        server_stop(server);
    dataset_free(&test);
    return folder_remove(state);
}

/* ---- Pairs ----------------------------------------------------------------- */

static struct bytes pair_png(const struct pair *pair)
{
    static uint8_t one[PIXELS], two[PIXELS], both[PIXELS];
    pair_picture(one, &test, pair, 0, CANVAS);
    pair_picture(two, &test, pair, 1, CANVAS);
    pair_overlay(both, one, two, PIXELS);
    return gray_png(both, CANVAS, CANVAS);
}

/* The two longest capsules, in order, are the trainer's, but for lengths that the plans of
 * large and small batches round differently: by 1e-4 at most. */
static void check_prediction(const cJSON *prediction, size_t i)
{
    const double rounding = 2e-4;
    const cJSON *lengths = json_array(prediction, "probabilities", CLASSES);
    double length[CLASSES];
    for (int j = 0; j < CLASSES; j++) length[j] = cJSON_GetArrayItem(lengths, j)->valuedouble;
    const double first = length[answers[i][0]], second = length[answers[i][1]];
    int right = answers[i][0] != answers[i][1] && first >= second - rounding;
    for (int j = 0; j < CLASSES; j++)
        right &= j == answers[i][0] || j == answers[i][1] || length[j] <= second + rounding;
    if (!right)
        fail_msg("pair %zu: the trainer found %u and %u, of lengths %.5f and %.5f here", i,
                 answers[i][0], answers[i][1], first, second);
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(prediction, "in_distribution")));
}

static void pairs_get_the_answers_of_the_trainer(void **state)
{
    (void)state;
    struct capsnet_error error = {""};
    struct pair *pairs;
    assert_int_equal(
        pairs_draw(&pairs, &test, NULL, TEST, PAIRS_PARTNERS, CANVAS, PAIRS_SEED, &error), 0);
    for (size_t first = 0; first < PAIRS; first += EACH) {
        struct bytes pngs[EACH];
        for (size_t i = 0; i < EACH; i++) pngs[i] = pair_png(&pairs[first + i]);
        char *body = images_json(pngs, EACH);
        cJSON *json = post_json(server, "/classify?normalize=none", body, strlen(body));
        const cJSON *predictions = json_array(json, "predictions", EACH);
        for (size_t i = 0; i < EACH; i++) {
            check_prediction(cJSON_GetArrayItem(predictions, (int)i), first + i);
            free(pngs[i].data);
        }
        cJSON_Delete(json);
        free(body);
    }
    free(pairs);
}

/* ---- Its form -------------------------------------------------------------- */

/* What the network sees of a PNG; free() it. */
static uint8_t *normalized(struct bytes png, const char *query)
{
    char path[100];
    snprintf(path, sizeof path, "/reconstruct?debug=normalized%s", query);
    struct reply *reply = http_send(server, &(struct request){.path = path, .body = png.data,
                                                              .nbytes = png.nbytes});
    assert_int_equal(reply->status, 200);
    uint8_t *pixels = check_png(reply->body, reply->nbytes, CANVAS, CANVAS);
    reply_free(reply);
    free(png.data);
    return pixels;
}

static void pictures_come_to_its_form(void **state)
{
    (void)state;
    static uint8_t drawn[SIDE * SIDE], pad[300 * 200];
    struct capsnet_error error = {""};
    struct pair *pairs;
    /* A pair stays as it is. */
    assert_int_equal(pairs_draw(&pairs, &test, NULL, TEST, 1, CANVAS, 3, &error), 0);
    struct bytes png = pair_png(&pairs[4]);
    uint8_t *sent = check_png(png.data, png.nbytes, CANVAS, CANVAS);
    uint8_t *seen = normalized(png, "");
    assert_memory_equal(seen, sent, PIXELS);
    free(sent);
    free(seen);
    free(pairs);
    /* A digit of MNIST's size comes to the middle. */
    draw_pixels(drawn, 5);
    seen = normalized(gray_png(drawn, SIDE, SIDE), "");
    for (size_t i = 0; i < PIXELS; i++) {
        const size_t y = i / CANVAS - 4, x = i % CANVAS - 4; /* huge before it */
        assert_int_equal(seen[i], y < SIDE && x < SIDE ? drawn[y * SIDE + x] : 0);
    }
    free(seen);
    /* A drawing on a pad, dark on light, gets 23 pixels. */
    memset(pad, 255, sizeof pad);
    for (size_t y = 30; y < 150; y++) memset(pad + y * 300 + 200, 0, y < 50 ? 60 : 16);
    seen = normalized(gray_png(pad, 300, 200), "");
    size_t first = CANVAS, last = 0;
    for (size_t i = 0; i < PIXELS; i++)
        if (seen[i]) {
            first = i / CANVAS < first ? i / CANVAS : first;
            last = i / CANVAS;
        }
    assert_int_equal(last - first + 1, 23);
    free(seen);
    png = gray_png(drawn, SIDE, SIDE);
    struct reply *reply =
        http_send(server, &(struct request){.path = "/classify?normalize=none", .body = png.data,
                                            .nbytes = png.nbytes});
    assert_error(reply, 400, "invalid_png", "it must be 36 x 36");
    reply_free(reply);
    free(png.data);
}

static cJSON *get(const char *path)
{
    struct reply *reply = http_send(server, &(struct request){.path = path});
    assert_int_equal(reply->status, 200);
    cJSON *json = reply_json(reply);
    reply_free(reply);
    return json;
}

static void it_is_described(void **state)
{
    (void)state;
    cJSON *json = get("/model");
    const cJSON *shape = json_object(json, "shape");
    assert_true(json_number(shape, "height") == CANVAS && json_number(shape, "width") == CANVAS);
    assert_string_equal(json_string(json_object(json, "metadata"), "frame"), "28,28,2");
    assert_non_null(strstr(json_string(json, "in_distribution"), "null in every answer"));
    cJSON_Delete(json);
    json = get("/v2/models/capsnet-pairs");
    const cJSON *input = cJSON_GetArrayItem(json_array(json, "inputs", 1), 0);
    const cJSON *dims = json_array(input, "shape", 3);
    assert_true(cJSON_GetArrayItem(dims, 1)->valuedouble == CANVAS &&
                cJSON_GetArrayItem(dims, 2)->valuedouble == CANVAS);
    cJSON_Delete(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_get_the_answers_of_the_trainer),
        cmocka_unit_test(pictures_come_to_its_form),
        cmocka_unit_test(it_is_described),
    };
    int failed = cmocka_run_group_tests_name("canvas", tests, start, stop);
    server_kill_leftovers(NULL);
    return failed;
}
