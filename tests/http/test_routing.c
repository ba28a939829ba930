/*
 * test_routing.c - how the capsules came to agree: /classify?routing=1 as JSON, held to
 * its identities, and as a sheet; the output `coupling` of the inference protocol.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/picture/png.h"
#include "model/train/data/idx.h"
#include "model/weights_file/model_file.h"
#include "tests/http/fixtures.h"
#include "tests/http/harness.h"

/* Of the small test weights. */
enum { ROUNDS = 3, TYPES = 2, SIDE = 6, PLACES = SIDE * SIDE, CAPSULES = TYPES * PLACES };
#define TOLERANCE 1e-5

static struct server *server;

/* A batch of 4: what a request asks is spread over several. */
static int start(void **state)
{
    (void)state;
    server = server_start(ARGS("--max-batch", "4"), NO_ARGS);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    server_stop(server);
    return 0;
}

/* ---- Helpers ---------------------------------------------------------- */

static const cJSON *prediction_of(const cJSON *answer, int n, int i)
{
    return cJSON_GetArrayItem(json_array(answer, "predictions", n), i);
}

static double number_at(const cJSON *array, size_t i)
{
    const cJSON *item = cJSON_GetArrayItem(array, (int)i);
    assert_true(cJSON_IsNumber(item));
    return item->valuedouble;
}

/* maps [classes][h][w] as doubles; free() them. */
static double *maps_of(const cJSON *round, const char *name, size_t classes, size_t h, size_t w)
{
    const cJSON *maps = json_array(round, name, (int)classes), *map = NULL, *row = NULL;
    double *out = malloc(classes * h * w * sizeof *out), *to = out;
    assert_non_null(out);
    cJSON_ArrayForEach(map, maps)
    {
        assert_int_equal(cJSON_GetArraySize(map), h);
        cJSON_ArrayForEach(row, map)
        {
            assert_int_equal(cJSON_GetArraySize(row), w);
            for (const cJSON *item = row->child; item; item = item->next) {
                assert_true(cJSON_IsNumber(item));
                *to++ = item->valuedouble;
            }
        }
    }
    return out;
}

/* A prediction's routing has the fields of the document and no other, and its numbers are
 * those of one routing: API and paper. */
static void check_routing(const cJSON *prediction, size_t rounds, size_t classes, size_t h,
                          size_t w)
{
    const cJSON *routing = json_object(prediction, "routing"), *round = NULL;
    const cJSON *lengths = json_array(prediction, "probabilities", (int)classes);
    assert_int_equal(cJSON_GetArraySize(routing), 2);
    assert_true(number_at(json_array(routing, "grid", 2), 0) == (double)h);
    assert_true(number_at(json_array(routing, "grid", 2), 1) == (double)w);
    const cJSON *all = json_array(routing, "rounds", (int)rounds);
    cJSON_ArrayForEach(round, all)
    {
        assert_int_equal(cJSON_GetArraySize(round), 3);
        const cJSON *now = json_array(round, "lengths", (int)classes);
        double *coupling = maps_of(round, "coupling", classes, h, w);
        double *votes = maps_of(round, "votes", classes, h, w);
        for (size_t p = 0; p < h * w; p++) {
            double sum = 0;
            for (size_t j = 0; j < classes; j++) {
                const double c = coupling[j * h * w + p];
                if (round == all->child && fabs(c - 1 / (double)classes) > 1e-7)
                    fail_msg("coupling %g in the first round", c);
                sum += c;
            }
            if (fabs(sum - 1) > TOLERANCE)
                fail_msg("coupling sums to %g at place %zu", sum, p);
        }
        for (size_t j = 0; j < classes; j++) {
            double s = 0;
            for (size_t p = 0; p < h * w; p++)
                s += votes[j * h * w + p];
            if (s < -TOLERANCE || fabs(number_at(now, j) - s * s / (1 + s * s)) > TOLERANCE)
                fail_msg("votes of class %zu sum to %.9g, but its length is %.9g", j, s,
                         number_at(now, j));
        }
        if (!round->next)
            assert_true(cJSON_Compare(now, lengths, 1));
        free(coupling);
        free(votes);
    }
}

static struct reply *post(struct server *to, const char *path, const void *body, size_t nbytes,
                          const char *accept)
{
    const char *type = *(const char *)body == '{' ? "Content-Type: application/json" : accept;
    return http_send(to, &(struct request){.path = path, .body = body, .nbytes = nbytes,
                                           .headers = {type, type == accept ? NULL : accept}});
}

/* ---- JSON ------------------------------------------------------------------ */

/* As many images as a request may have, over many batches. */
static void the_identities_hold(void **state)
{
    (void)state;
    enum { N = 64 };
    struct bytes pngs[N];
    for (unsigned i = 0; i < N; i++)
        pngs[i] = draw_png(i);
    char *body = images_json(pngs, N);
    cJSON *answer = post_json(server, "/classify?routing=1&poses=1", body, strlen(body));
    for (int i = 0; i < N; i++) {
        check_routing(prediction_of(answer, N, i), ROUNDS, TEST_CLASSES, SIDE, SIDE);
        free(pngs[i].data);
    }
    cJSON_Delete(answer);
    free(body);
}

/* The rest of the answer is the same bits; without routing=1 there is none. */
static void the_answer_stays_the_same(void **state)
{
    (void)state;
    struct bytes png = draw_png(3);
    cJSON *with = post_json(server, "/classify?routing=1", png.data, png.nbytes);
    cJSON *prediction = (cJSON *)prediction_of(with, 1, 0);
    assert_int_equal(cJSON_GetArraySize(prediction), 8);
    cJSON_DeleteItemFromObjectCaseSensitive(prediction, "routing");
    static const char *const without[] = {"/classify", "/classify?routing=0"};
    for (size_t i = 0; i < 2; i++) {
        cJSON *answer = post_json(server, without[i], png.data, png.nbytes);
        assert_true(cJSON_Compare(with, answer, 1));
        cJSON_Delete(answer);
    }
    cJSON_Delete(with);
    free(png.data);
}

/* Who asks for it and who does not are computed together, and each gets his own. */
static void others_in_the_batch_are_not_mixed_up(void **state)
{
    (void)state;
    enum { N = 24 };
    struct request requests[N];
    struct reply *replies[N];
    struct bytes pngs[N];
    for (unsigned i = 0; i < N; i++) {
        pngs[i] = draw_png(i);
        requests[i] = (struct request){.path = i % 3 ? "/classify?routing=1" : "/classify",
                                       .body = pngs[i].data, .nbytes = pngs[i].nbytes};
    }
    http_land(http_launch(server, requests, N), replies);
    for (int i = 0; i < N; i++) {
        assert_int_equal(replies[i]->status, 200);
        cJSON *answer = reply_json(replies[i]);
        cJSON *alone = post_json(server, requests[i].path, pngs[i].data, pngs[i].nbytes);
        assert_same_answer(answer, alone);
        if (i % 3)
            check_routing(prediction_of(answer, 1, 0), ROUNDS, TEST_CLASSES, SIDE, SIDE);
        cJSON_Delete(alone);
        cJSON_Delete(answer);
        reply_free(replies[i]);
        free(pngs[i].data);
    }
}

/* The shipped network, in the precision asked for, on digits of MNIST's test set. */
static void check_shipped(const struct dataset *mnist, const char *precision)
{
    enum { N = 64 };
    struct bytes pngs[N];
    struct server *shipped = server_start(
        ARGS("--weights", shipped_weights(), "--precision", precision), NO_ARGS);
    for (size_t i = 0; i < N; i++)
        pngs[i] = gray_png(mnist->pixels + i * 28 * 28, 28, 28);
    char *body = images_json(pngs, N);
    struct reply *all = post(shipped, "/classify?routing=1", body, strlen(body), NULL);
    struct reply *one = post(shipped, "/classify?routing=1", pngs[0].data, pngs[0].nbytes, NULL);
    cJSON *answer = reply_json(all), *alone = reply_json(one);
    for (int i = 0; i < N; i++)
        check_routing(prediction_of(answer, N, i), ROUNDS, 10, SIDE, SIDE);
    check_routing(prediction_of(alone, 1, 0), ROUNDS, 10, SIDE, SIDE);
    printf("%s: %zu bytes of JSON for %d images\n", precision, all->nbytes, N);
    cJSON_Delete(alone);
    cJSON_Delete(answer);
    reply_free(one);
    reply_free(all);
    free(body);
    for (size_t i = 0; i < N; i++)
        free(pngs[i].data);
    server_stop(shipped);
}

static void the_identities_hold_on_mnist(void **state)
{
    (void)state;
    static const char *const PRECISIONS_ASKED[] = {"f32", "bf16", "int8"};
    struct capsnet_error error = {""};
    struct dataset mnist;
    if (!mnist_folder())
        fail_msg("there is no MNIST: `make data` brings it");
    if (dataset_load_idx(&mnist, mnist_folder(), "t10k", &error) != CAPSNET_OK)
        fail_msg("%s", error.text);
    for (size_t i = 0; i < 3; i++) {
        struct capsnet_model *model = NULL;
        const struct capsnet_options options = {.cpu_level = getenv("CAPSNETD_CPU_LEVEL"),
                                                .precision = PRECISIONS_ASKED[i],
                                                .memory = "low"};
        if (capsnet_model_load(&model, shipped_weights(), &options, &error) == CAPSNET_OK)
            check_shipped(&mnist, PRECISIONS_ASKED[i]);
        else /* this CPU has no such instructions */
            printf("%s: %s\n", PRECISIONS_ASKED[i], error.text);
        assert_true(model || i > 0);
        capsnet_model_free(model);
    }
    dataset_free(&mnist);
}

/* ---- The output `coupling` --------------------------------------------------- */

static char *infer_body(const struct bytes *pngs, size_t n, const char *outputs)
{
    char *images = images_json(pngs, n), *body = NULL;
    const char *data = strchr(images, '[');
    assert_true(asprintf(&body,
                         "{\"inputs\":[{\"name\":\"image\",\"datatype\":\"BYTES\",\"shape\":[%zu],"
                         "\"data\":%.*s}],\"outputs\":[%s]}",
                         n, (int)strlen(data) - 1, data, outputs) > 0);
    free(images);
    return body;
}

/* The one output of an answer, checked for its description. */
static const cJSON *coupling_of(const cJSON *answer, int n, int capsules, int classes)
{
    const cJSON *output = cJSON_GetArrayItem(json_array(answer, "outputs", -1), 0);
    const int dims[] = {n, capsules, classes};
    assert_string_equal(json_string(output, "name"), "coupling");
    assert_string_equal(json_string(output, "datatype"), "FP32");
    for (size_t i = 0; i < 3; i++)
        assert_true(number_at(json_array(output, "shape", 3), i) == (double)dims[i]);
    return output;
}

/* c of one image [CAPSULES][TEST_CLASSES]: sums to 1 at each capsule; its mean over the
 * types is the last round's of /classify. */
static void check_coupling(const cJSON *prediction, const float *c)
{
    const cJSON *rounds = json_array(json_object(prediction, "routing"), "rounds", ROUNDS);
    double *mean = maps_of(cJSON_GetArrayItem(rounds, ROUNDS - 1), "coupling", TEST_CLASSES, SIDE,
                           SIDE);
    for (size_t i = 0; i < CAPSULES; i++) {
        double sum = 0;
        for (size_t j = 0; j < TEST_CLASSES; j++)
            sum += (double)c[i * TEST_CLASSES + j];
        assert_true(fabs(sum - 1) <= TOLERANCE);
    }
    for (size_t j = 0; j < TEST_CLASSES; j++)
        for (size_t p = 0; p < PLACES; p++) {
            double sum = 0;
            for (size_t t = 0; t < TYPES; t++)
                sum += (double)c[(t * PLACES + p) * TEST_CLASSES + j];
            if (fabs(sum / TYPES - mean[j * PLACES + p]) > ANSWER_TOLERANCE)
                fail_msg("class %zu, place %zu: %g, not %g", j, p, sum / TYPES,
                         mean[j * PLACES + p]);
        }
    free(mean);
}

static void coupling_comes_as_json_and_binary(void **state)
{
    (void)state;
    enum { N = 6, SIZE = CAPSULES * TEST_CLASSES };
    struct bytes pngs[N];
    for (unsigned i = 0; i < N; i++)
        pngs[i] = draw_png(i);
    char *images = images_json(pngs, N);
    cJSON *classified = post_json(server, "/classify?routing=1", images, strlen(images));
    char *json = infer_body(pngs, N, "{\"name\":\"coupling\"}");
    char *binary = infer_body(pngs, N, "{\"name\":\"coupling\",\"parameters\":{\"binary_data\":"
                                       "true}},{\"name\":\"class\"}");
    cJSON *answer = post_json(server, "/v2/models/capsnet-test/infer", json, strlen(json));
    const cJSON *data = json_array(coupling_of(answer, N, CAPSULES, TEST_CLASSES), "data",
                                   N * SIZE);
    float *c = malloc(N * SIZE * sizeof *c), *to = c;
    assert_non_null(c);
    for (const cJSON *item = data->child; item; item = item->next)
        *to++ = (float)item->valuedouble;
    for (int i = 0; i < N; i++)
        check_coupling(prediction_of(classified, N, i), c + i * SIZE);

    char length[40];
    struct reply *reply = post(server, "/v2/models/capsnet-test/infer", binary, strlen(binary),
                               NULL);
    assert_int_equal(reply->status, 200);
    assert_true(reply_header(reply, "Inference-Header-Content-Length", length, sizeof length));
    const size_t json_nbytes = strtoul(length, NULL, 10);
    cJSON *head = cJSON_ParseWithLength((const char *)reply->body, json_nbytes);
    const cJSON *output = coupling_of(head, N, CAPSULES, TEST_CLASSES);
    assert_true(json_number(json_object(output, "parameters"), "binary_data_size") ==
                (double)(N * SIZE * sizeof *c));
    assert_int_equal(reply->nbytes, json_nbytes + N * SIZE * sizeof *c);
    assert_memory_equal(reply->body + json_nbytes, c, N * SIZE * sizeof *c);

    cJSON_Delete(head);
    reply_free(reply);
    free(c);
    cJSON_Delete(answer);
    cJSON_Delete(classified);
    free(json);
    free(binary);
    free(images);
    for (size_t i = 0; i < N; i++)
        free(pngs[i].data);
}

/* ---- Another grid ------------------------------------------------------------ */

/* Random weights for images of 36 x 36 pixels in colour, whose grid is 10 x 10. */
static void make_colour_weights(const char *path)
{
    const struct capsnet_shape shape = {
        .height = 36, .width = 36, .channels = 3, .classes = 4, .conv1_kernel = 9,
        .conv1_channels = 16, .primary_kernel = 9, .primary_stride = 2, .primary_types = 2,
        .primary_dims = 4, .pose_dims = 5, .routing_iterations = 2, .decoder_hidden = {8, 8}};
    struct capsnet_error error = {""};
    struct capsnet_model *model = NULL;
    if (model_create(&model, &shape, NULL, &error) != CAPSNET_OK)
        fail_msg("%s", error.text);
    unsigned random = 1;
    for (size_t i = 0; i < model->at.total; i++) {
        random = random * 1664525u + 1013904223u;
        model->parameters[i] = ((float)(random >> 8) / (1 << 24) - 0.5f) / 4;
    }
    const struct model_block weights = {"", model->parameters};
    if (model_save(model, path, SAFETENSORS_F32, &weights, 1, NULL, 0, &error) != CAPSNET_OK)
        fail_msg("%s", error.text);
    capsnet_model_free(model);
}

static uint8_t *pixels_of(const struct reply *reply, size_t width, size_t height)
{
    struct image image = {0};
    struct image_message message = {""};
    char type[40] = "";
    assert_int_equal(reply->status, 200);
    reply_header(reply, "Content-Type", type, sizeof type);
    assert_string_equal(type, "image/png");
    if (png_decode(&image, reply->body, reply->nbytes, 65536, 0, &message) != IMAGE_OK)
        fail_msg("the answer is a damaged PNG: %s", message.text);
    assert_int_equal(image.channels, 3);
    assert_int_equal(image.width, width);
    assert_int_equal(image.height, height);
    return image.pixels;
}

/* Grid, classes and rounds are the model's in every answer. */
static void sizes_are_the_models(void **state)
{
    (void)state;
    char path[300];
    snprintf(path, sizeof path, "%s/colour.safetensors", test_folder());
    make_colour_weights(path);
    struct server *other = server_start(ARGS("--weights", path), NO_ARGS);
    struct bytes png = draw_png(5);
    struct reply *reply = post(other, "/classify?routing=1", png.data, png.nbytes, NULL);
    assert_int_equal(reply->status, 200);
    cJSON *answer = reply_json(reply);
    check_routing(prediction_of(answer, 1, 0), 2, 4, 10, 10);
    cJSON_Delete(answer);
    reply_free(reply);

    char *body = infer_body(&png, 1, "{\"name\":\"coupling\"}");
    reply = post(other, "/v2/models/capsnet/infer", body, strlen(body), NULL);
    assert_int_equal(reply->status, 200);
    answer = reply_json(reply);
    json_array(coupling_of(answer, 1, 200, 4), "data", 800);
    cJSON_Delete(answer);
    reply_free(reply);
    free(body);

    /* Pictures of 36 pixels 6 times enlarged, 216, are 8 narrower and lower than those of
     * 28 pixels 8 times; one round less. */
    reply = post(other, "/classify?routing=1", png.data, png.nbytes, "Accept: image/png");
    free(pixels_of(reply, 638 - 2 * 8, 1040 - 290 - 2 * 8));
    reply_free(reply);
    free(png.data);
    server_stop(other);
}

/* ---- The sheet ---------------------------------------------------------------- */

/* How many pixels of a box are nearer to blue, and to orange, than to gray. */
static void count_colours(const uint8_t *pixels, size_t stride, size_t x, size_t y, size_t side,
                          size_t *blue, size_t *orange)
{
    *blue = *orange = 0;
    for (size_t i = y; i < y + side; i++)
        for (size_t k = x; k < x + side; k++) {
            const int red = pixels[(i * stride + k) * 3], b = pixels[(i * stride + k) * 3 + 2];
            *blue += b > red + 8;
            *orange += red > b + 8;
        }
}

static void the_sheet_shows_votes_where_they_are(void **state)
{
    (void)state;
    enum { WIDTH = 638, HEIGHT = 1040, LEFT = 142, TOP = 86, STEP_X = 248, STEP_Y = 290, SIDE_PX = 224 };
    struct bytes pngs[2] = {draw_png(1), draw_png(2)};
    struct reply *reply = post(server, "/classify?routing=1", pngs[0].data, pngs[0].nbytes,
                               "Accept: image/png");
    uint8_t *pixels = pixels_of(reply, WIDTH, HEIGHT);
    size_t all_blue = 0, all_orange = 0;
    for (size_t r = 0; r < ROUNDS; r++)
        for (size_t k = 0; k < 2; k++) {
            const size_t x = LEFT + k * STEP_X, y = TOP + r * STEP_Y;
            size_t blue, orange, inner_blue, inner_orange;
            /* Places lie at 8.5 to 18.5 of the 28 pixels, and their spots reach 4 further:
             * nothing is coloured outside. */
            count_colours(pixels, WIDTH, x, y, SIDE_PX, &blue, &orange);
            count_colours(pixels, WIDTH, x + 36, y + 36, SIDE_PX - 36 - 44, &inner_blue,
                          &inner_orange);
            assert_int_equal(blue, inner_blue);
            assert_int_equal(orange, inner_orange);
            all_blue += blue;
            all_orange += orange;
        }
    assert_true(all_blue > 1000 && all_orange > 0);
    free(pixels);
    reply_free(reply);

    /* Two images, one below the other. */
    char *body = images_json(pngs, 2);
    reply = post(server, "/classify?routing=1", body, strlen(body), "Accept: image/png");
    free(pixels_of(reply, WIDTH, 2 * HEIGHT));
    reply_free(reply);
    free(body);
    free(pngs[0].data);
    free(pngs[1].data);
}

/* A picture only where the header names image/png first, and routing is asked for. */
static void accept_decides_the_form(void **state)
{
    (void)state;
    static const struct {
        const char *path, *accept, *type;
    } CASES[] = {
        {"/classify?routing=1", "Accept:", "application/json"},
        {"/classify?routing=1", "Accept: */*", "application/json"},
        {"/classify?routing=1", "Accept: application/json, image/png", "application/json"},
        {"/classify?routing=1", "Accept: image/png;q=0.2, application/json", "application/json"},
        {"/classify?routing=1", "Accept: image/png, application/json;q=0.9", "image/png"},
        {"/classify?routing=1", "Accept: image/png", "image/png"},
        {"/classify", "Accept: image/png", "application/json"},
    };
    struct bytes png = draw_png(4);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        struct reply *reply = post(server, CASES[i].path, png.data, png.nbytes, CASES[i].accept);
        char type[40] = "";
        assert_int_equal(reply->status, 200);
        reply_header(reply, "Content-Type", type, sizeof type);
        if (strcmp(type, CASES[i].type) != 0)
            fail_msg("%s, %s: %s", CASES[i].path, CASES[i].accept, type);
        reply_free(reply);
    }
    free(png.data);
}

static void too_many_sheets_are_refused(void **state)
{
    (void)state;
    enum { N = 26 };
    struct bytes pngs[N];
    for (unsigned i = 0; i < N; i++)
        pngs[i] = draw_png(i);
    char *body = images_json(pngs, N);
    expect_refused(server, &(struct request){.path = "/classify?routing=1", .body = body,
                                             .nbytes = strlen(body),
                                             .headers = {"Content-Type: application/json",
                                                         "Accept: image/png"}},
                   400, "invalid_parameter", "25 at most");
    expect_refused(server, &(struct request){.path = "/classify?routing=yes", .body = body,
                                             .nbytes = strlen(body)},
                   400, "invalid_parameter", "\"routing\" must be 0 or 1");
    expect_refused(server, &(struct request){.path = "/pose?routing=1", .body = body,
                                             .nbytes = strlen(body)},
                   400, "invalid_parameter", "routing");
    free(body);
    for (size_t i = 0; i < N; i++)
        free(pngs[i].data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_identities_hold),
        cmocka_unit_test(the_answer_stays_the_same),
        cmocka_unit_test(others_in_the_batch_are_not_mixed_up),
        cmocka_unit_test(the_identities_hold_on_mnist),
        cmocka_unit_test(coupling_comes_as_json_and_binary),
        cmocka_unit_test(sizes_are_the_models),
        cmocka_unit_test(the_sheet_shows_votes_where_they_are),
        cmocka_unit_test(accept_decides_the_form),
        cmocka_unit_test(too_many_sheets_are_refused),
    };
    int failed = cmocka_run_group_tests_name("routing", tests, start, stop);
    server_kill_leftovers(NULL);
    return failed;
}
