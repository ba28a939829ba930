/*
 * test_oip_extensions.c - what stock clients of the Open Inference Protocol send
 * beyond test_oip.c: tensors of other datatypes and shapes, labels
 * in place of numbers, configuration, statistics and the repository's index.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/http/fixtures.h"
#include "tests/http/harness.h"
#include "tests/http/one_server.h"

#define MODEL "/v2/models/capsnet-test"
enum { SIDE = 28, PIXELS = SIDE * SIDE };

/* ---- Requests ---------------------------------------------------------- */

/* POSTs an inference request: JSON, and binary data when there is some. */
static struct reply *infer(const char *json, const void *binary, size_t nbytes)
{
    size_t n = strlen(json);
    uint8_t *body = malloc(n + nbytes + 1);
    char header[60];
    assert_non_null(body);
    memcpy(body, json, n);
    if (nbytes)
        memcpy(body + n, binary, nbytes);
    snprintf(header, sizeof header, "Inference-Header-Content-Length: %zu", n);
    struct reply *reply = http_send(
        server, &(struct request){.path = MODEL "/infer", .headers = {nbytes ? header : NULL},
                                  .body = body, .nbytes = n + nbytes});
    free(body);
    return reply;
}

static void assert_refused(struct reply *reply, long status, const char *fragment)
{
    if (reply->status != status)
        fail_msg("status %ld instead of %ld: %.300s", reply->status, status,
                 (const char *)reply->body);
    cJSON *json = reply_json(reply);
    assert_int_equal(cJSON_GetArraySize(json), 1);
    if (!strstr(json_string(json, "error"), fragment))
        fail_msg("\"%s\" does not say \"%s\"", json_string(json, "error"), fragment);
    cJSON_Delete(json);
    reply_free(reply);
}

/* A good answer as JSON; cJSON_Delete() it. */
static cJSON *answer_of(struct reply *reply)
{
    if (reply->status != 200)
        fail_msg("status %ld: %.300s", reply->status, (const char *)reply->body);
    cJSON *json = reply_json(reply);
    reply_free(reply);
    return json;
}

/* ---- Datatypes and shapes ------------------------------------------------ */

enum form { FP16, FP32, FP64, UINT8, N_FORMS };
static const char *const DATATYPES[] = {"FP16", "FP32", "FP64", "UINT8"};
static const size_t SIZES[] = {2, 4, 8, 1};

/* binary16 of k / 16 for a k from 0 to 16: all its bits are known by the highest. */
static uint16_t half_of_sixteenths(unsigned k)
{
    unsigned high = 0;
    if (k == 0)
        return 0;
    while (k >> (high + 1))
        high++;
    return (uint16_t)((high + 15 - 4) << 10 | (k << (10 - high) & 1023));
}

/* The drawing's pixels as sixteenths, which every form but UINT8 says exactly. */
static void draw_sixteenths(unsigned k[PIXELS])
{
    uint8_t pixels[PIXELS];
    draw_pixels(pixels, 3);
    for (size_t i = 0; i < PIXELS; i++)
        k[i] = pixels[i] >> 4;
}

static void write_tensor(uint8_t *to, enum form form, const unsigned k[PIXELS])
{
    for (size_t i = 0; i < PIXELS; i++) {
        const uint16_t half = half_of_sixteenths(k[i]);
        const float single = (float)k[i] / 16;
        const double wide = (double)k[i] / 16;
        const uint8_t byte = (uint8_t)(k[i] * 255 / 16);
        const void *const from[] = {&half, &single, &wide, &byte};
        memcpy(to + i * SIZES[form], from[form], SIZES[form]);
    }
}

/* The tensor as JSON, flat, or nested as one of the shapes says. */
static void write_json(char *to, const unsigned k[PIXELS], enum form form, const char *shape,
                       int is_nested)
{
    const int is_behind = strcmp(shape, "[1,28,28,1]") == 0,
              is_front = strcmp(shape, "[1,1,28,28]") == 0;
    to += sprintf(to, "{\"inputs\":[{\"name\":\"image\",\"datatype\":\"%s\",\"shape\":%s,\"data\":",
                  DATATYPES[form], shape);
    to = stpcpy(to, !is_nested ? "[" : is_front ? "[[[[" : "[[[");
    for (size_t i = 0; i < PIXELS; i++) {
        if (i)
            to = stpcpy(to, is_nested && i % SIDE == 0 ? "],[" : ",");
        to += sprintf(to, is_nested && is_behind ? "[%.9g]" : "%.9g",
                      form == UINT8 ? k[i] * 255 / 16 : k[i] / 16.0);
    }
    to = stpcpy(to, !is_nested ? "]" : is_front ? "]]]]" : "]]]");
    strcpy(to, "}]}");
}

static void every_datatype_and_shape_gives_the_same_answer(void **state)
{
    (void)state;
    static const char *const SHAPES[] = {"[1,28,28]", "[1,28,28,1]", "[1,1,28,28]"};
    unsigned k[PIXELS];
    uint8_t *tensor = malloc(PIXELS * 8);
    char *json = malloc(1 << 16);
    cJSON *first = NULL;
    assert_true(tensor && json);
    draw_sixteenths(k);
    for (enum form form = FP16; form < UINT8; form++)
        for (size_t s = 0; s < 3; s++)
            for (int way = 0; way < 3; way++) {
                size_t nbytes = way == 2 ? PIXELS * SIZES[form] : 0;
                if (nbytes) {
                    write_tensor(tensor, form, k);
                    sprintf(json, "{\"inputs\":[{\"name\":\"image\",\"datatype\":\"%s\",\"shape\":%s,"
                                  "\"parameters\":{\"binary_data_size\":%zu}}]}",
                            DATATYPES[form], SHAPES[s], nbytes);
                } else {
                    write_json(json, k, form, SHAPES[s], way);
                }
                cJSON *answer = answer_of(infer(json, tensor, nbytes));
                if (first)
                    assert_same_answer(first, answer);
                else
                    first = cJSON_Duplicate(answer, 1);
                cJSON_Delete(answer);
            }
    /* UINT8 in the longer shapes is what it is in the short one. */
    write_tensor(tensor, UINT8, k);
    cJSON *bytes = NULL;
    for (size_t s = 0; s < 3; s++) {
        sprintf(json, "{\"inputs\":[{\"name\":\"image\",\"datatype\":\"UINT8\",\"shape\":%s,"
                      "\"parameters\":{\"binary_data_size\":784}}]}", SHAPES[s]);
        cJSON *answer = answer_of(infer(json, tensor, PIXELS));
        if (bytes)
            assert_same_answer(bytes, answer);
        else
            bytes = cJSON_Duplicate(answer, 1);
        cJSON_Delete(answer);
    }
    cJSON_Delete(first), cJSON_Delete(bytes);
    free(tensor), free(json);
}

#define TENSOR(type, shape) \
    "{\"inputs\":[{\"name\":\"image\",\"datatype\":\"" type "\",\"shape\":" shape
#define BINARY(size) ",\"parameters\":{\"binary_data_size\":" size "}}]}"

static void what_is_no_pixel_is_refused_in_every_datatype(void **state)
{
    (void)state;
    static const struct {
        uint16_t half;
        double wide;
        const char *says; /* NULL: taken */
    } VALUES[] = {
        {0x7e00, NAN, "nan"},       {0x7c00, INFINITY, "inf"}, {0xfc00, -INFINITY, "-inf"},
        {0x7bff, 1e300, "value 5"}, {0xb800, -0.5, "-0.5"},    {0x0001, 0x1p-24, NULL},
        {0x3d00, 1.25, NULL},       {0xb400, -0.25, NULL},     {0x8000, -0.0, NULL},
    };
    uint16_t halves[PIXELS] = {0};
    double wides[PIXELS] = {0};
    for (size_t i = 0; i < sizeof VALUES / sizeof *VALUES; i++) {
        halves[5] = VALUES[i].half;
        wides[5] = VALUES[i].wide;
        struct reply *replies[] = {
            infer(TENSOR("FP16", "[1,28,28]") BINARY("1568"), halves, sizeof halves),
            infer(TENSOR("FP64", "[1,28,28]") BINARY("6272"), wides, sizeof wides)};
        for (size_t which = 0; which < 2; which++) {
            if (VALUES[i].says)
                assert_refused(replies[which], 400, VALUES[i].says);
            else
                cJSON_Delete(answer_of(replies[which]));
        }
    }
    assert_refused(infer(TENSOR("FP16", "[1,28,28]") BINARY("1567"), halves, 1567), 400,
                   "1568 bytes");
    static const char *const SHAPES[] = {"[1,28,28,2]", "[1,2,28,28]", "[1,1,1,28,28]",
                                         "[1,28,1,28]", "[1,784]", "[]", "[1]"};
    for (size_t i = 0; i < sizeof SHAPES / sizeof *SHAPES; i++) {
        char json[200];
        snprintf(json, sizeof json, TENSOR("FP32", "%s") ",\"data\":[1]}]}", SHAPES[i]);
        assert_refused(infer(json, NULL, 0), 400, "inputs[0].shape: must be [n,28,28]");
    }
}

/* ---- The classification extension ----------------------------------------- */

/* Is it "length:index:label" of the capsule of that place in the order? */
static void assert_label(const char *label, const float lengths[TEST_CLASSES], int place)
{
    /* The test weights' labels. */
    static const char *const LABELS[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "nine"};
    float length;
    int class_index, end = 0, longer = 0;
    char expected[40];
    assert_int_equal(sscanf(label, "%f:%d:%n", &length, &class_index, &end), 2);
    assert_in_range(class_index, 0, TEST_CLASSES - 1);
    snprintf(expected, sizeof expected, "%f:%d:%s", (double)length, class_index,
             LABELS[class_index]);
    assert_string_equal(label, expected);
    assert_true(fabsf(length - lengths[class_index]) < 1e-4f);
    for (int j = 0; j < TEST_CLASSES; j++)
        longer += lengths[j] > lengths[class_index];
    assert_int_equal(longer, place);
}

/* outputs: of a request for two drawings. */
static struct reply *classify_two(const char *outputs)
{
    uint8_t pixels[2 * PIXELS];
    char json[500];
    draw_pixels(pixels, 7);
    draw_pixels(pixels + PIXELS, 8);
    snprintf(json, sizeof json,
             TENSOR("UINT8", "[2,28,28]") ",\"parameters\":{\"binary_data_size\":1568}}],"
             "\"outputs\":[%s]}", outputs);
    return infer(json, pixels, sizeof pixels);
}

static void read_lengths(float lengths[2 * TEST_CLASSES])
{
    cJSON *answer = answer_of(classify_two("{\"name\":\"probabilities\"}"));
    const cJSON *output = cJSON_GetArrayItem(json_array(answer, "outputs", 1), 0);
    const cJSON *item = json_array(output, "data", 2 * TEST_CLASSES)->child;
    for (size_t i = 0; i < 2 * TEST_CLASSES; i++, item = item->next)
        lengths[i] = (float)item->valuedouble;
    cJSON_Delete(answer);
}

static void labels_are_told_longest_first(void **state)
{
    (void)state;
    static const struct {
        const char *parameter;
        int n;
    } CASES[] = {{"1", 1}, {"3", 3}, {"10", 10}, {"11", 10}, {"4000000", 10}};
    float lengths[2 * TEST_CLASSES];
    read_lengths(lengths);
    for (size_t c = 0; c < sizeof CASES / sizeof *CASES; c++) {
        char outputs[200];
        snprintf(outputs, sizeof outputs,
                 "{\"name\":\"class\"},{\"name\":\"probabilities\",\"parameters\":"
                 "{\"classification\":%s}}", CASES[c].parameter);
        cJSON *answer = answer_of(classify_two(outputs));
        const cJSON *output = cJSON_GetArrayItem(json_array(answer, "outputs", 2), 1);
        assert_string_equal(json_string(output, "datatype"), "BYTES");
        const cJSON *shape = json_array(output, "shape", 2);
        assert_int_equal(shape->child->valueint, 2);
        assert_int_equal(shape->child->next->valueint, CASES[c].n);
        const cJSON *item = json_array(output, "data", 2 * CASES[c].n)->child;
        for (int i = 0; i < 2 * CASES[c].n; i++, item = item->next)
            assert_label(cJSON_GetStringValue(item), lengths + i / CASES[c].n * TEST_CLASSES,
                         i % CASES[c].n);
        cJSON_Delete(answer);
    }
}

static void binary_labels_follow_their_lengths(void **state)
{
    (void)state;
    float lengths[2 * TEST_CLASSES];
    char length[40];
    read_lengths(lengths);
    struct reply *reply = classify_two("{\"name\":\"probabilities\",\"parameters\":{"
                                       "\"classification\":2,\"binary_data\":true}}");
    assert_int_equal(reply->status, 200);
    assert_true(reply_header(reply, "Inference-Header-Content-Length", length, sizeof length));
    size_t at = strtoul(length, NULL, 10);
    cJSON *json = cJSON_ParseWithLength((const char *)reply->body, at);
    const cJSON *output = cJSON_GetArrayItem(json_array(json, "outputs", 1), 0);
    assert_string_equal(json_string(output, "datatype"), "BYTES");
    assert_int_equal(json_number(json_object(output, "parameters"), "binary_data_size"),
                     reply->nbytes - at);
    for (int i = 0; i < 4; i++) {
        uint32_t n;
        char label[40] = "";
        assert_in_range(at + sizeof n, 1, reply->nbytes);
        memcpy(&n, reply->body + at, sizeof n);
        at += sizeof n;
        assert_in_range(n, 1, sizeof label - 1);
        assert_in_range(at + n, 1, reply->nbytes);
        memcpy(label, reply->body + at, n);
        at += n;
        assert_label(label, lengths + i / 2 * TEST_CLASSES, i % 2);
    }
    assert_int_equal(at, reply->nbytes);
    cJSON_Delete(json);
    reply_free(reply);
}

static void what_is_no_count_of_labels_is_refused(void **state)
{
    (void)state;
    static const char *const COUNTS[] = {"-1", "1.5", "\"3\"", "true", "1e30", "[1]"};
    char outputs[200];
    for (size_t i = 0; i < sizeof COUNTS / sizeof *COUNTS; i++) {
        snprintf(outputs, sizeof outputs, "{\"name\":\"probabilities\",\"parameters\":"
                                          "{\"classification\":%s}}", COUNTS[i]);
        assert_refused(classify_two(outputs), 400, "classification: must be a whole number");
    }
    assert_refused(classify_two("{\"name\":\"poses\",\"parameters\":{\"classification\":3}}"), 400,
                   "outputs[0].parameters.classification: is for \"probabilities\"");
    /* 0 asks for the numbers, as if it was not there. */
    cJSON *answer = answer_of(classify_two(
        "{\"name\":\"probabilities\",\"parameters\":{\"classification\":0}}"));
    assert_string_equal(json_string(cJSON_GetArrayItem(json_array(answer, "outputs", 1), 0),
                                    "datatype"), "FP32");
    cJSON_Delete(answer);
}

/* ---- Configuration, statistics, repository --------------------------------- */

static cJSON *get(const char *path)
{
    return answer_of(http_send(server, &(struct request){.path = path}));
}

static void the_configuration_has_tritons_names(void **state)
{
    (void)state;
    static const char EXPECTED[] =
        "{\"name\":\"capsnet-test\",\"platform\":\"capsnetd\",\"backend\":\"capsnetd\","
        "\"version_policy\":{\"latest\":{\"num_versions\":1}},\"max_batch_size\":64,"
        "\"input\":[{\"name\":\"image\",\"data_type\":\"TYPE_FP32\",\"dims\":[28,28]}],"
        "\"output\":[{\"name\":\"probabilities\",\"data_type\":\"TYPE_FP32\",\"dims\":[10]},"
        "{\"name\":\"poses\",\"data_type\":\"TYPE_FP32\",\"dims\":[10,16]},"
        "{\"name\":\"reconstruction\",\"data_type\":\"TYPE_FP32\",\"dims\":[28,28]},"
        "{\"name\":\"class\",\"data_type\":\"TYPE_INT64\",\"dims\":[1],"
        "\"reshape\":{\"shape\":[]}},"
        "{\"name\":\"coupling\",\"data_type\":\"TYPE_FP32\",\"dims\":[72,10]}],\"dynamic_batching\":{\"preferred_batch_size\":[7],"
        "\"max_queue_delay_microseconds\":11}}";
    struct server *mine = server;
    server = server_start(ARGS("--max-batch", "7", "--batch-delay-us", "11"), NO_ARGS);
    static const char *const PATHS[] = {MODEL "/config", MODEL "/versions/1/config"};
    for (size_t i = 0; i < 2; i++) {
        cJSON *json = get(PATHS[i]);
        char *text = cJSON_PrintUnformatted(json);
        assert_string_equal(text, EXPECTED);
        free(text);
        cJSON_Delete(json);
    }
    server_stop(server);
    server = mine;
}

struct statistics {
    double inferences, executions, last, successes, failures, ns[4];
};

static void read_statistics(struct statistics *statistics, const char *path)
{
    static const char *const STEPS[] = {"queue", "compute_input", "compute_infer",
                                        "compute_output"};
    cJSON *json = get(path);
    const cJSON *model = cJSON_GetArrayItem(json_array(json, "model_stats", 1), 0);
    const cJSON *stats = json_object(model, "inference_stats");
    assert_string_equal(json_string(model, "name"), "capsnet-test");
    assert_string_equal(json_string(model, "version"), "1");
    *statistics = (struct statistics){
        .inferences = json_number(model, "inference_count"),
        .executions = json_number(model, "execution_count"),
        .last = json_number(model, "last_inference"),
        .successes = json_number(json_object(stats, "success"), "count"),
        .failures = json_number(json_object(stats, "fail"), "count"),
    };
    double sum = 0;
    for (size_t i = 0; i < 4; i++) {
        assert_true(json_number(json_object(stats, STEPS[i]), "count") == statistics->successes);
        sum += statistics->ns[i] = json_number(json_object(stats, STEPS[i]), "ns");
    }
    assert_true(sum <= json_number(json_object(stats, "success"), "ns"));
    const cJSON *batch;
    double size = 0, batches = 0, images = 0;
    cJSON_ArrayForEach(batch, json_array(model, "batch_stats", -1))
    {
        assert_true(json_number(batch, "batch_size") > size); /* in order */
        size = json_number(batch, "batch_size");
        const double n = json_number(json_object(batch, "compute_infer"), "count");
        batches += n;
        images += n * size;
        assert_true(json_number(json_object(batch, "compute_infer"), "ns") > 0);
        for (size_t i = 1; i < 4; i++)
            assert_true(json_number(json_object(batch, STEPS[i]), "count") == n);
    }
    assert_true(batches == statistics->executions && images == statistics->inferences);
    cJSON_Delete(json);
}

static void statistics_count_what_was_computed(void **state)
{
    (void)state;
    static const char *const PATHS[] = {MODEL "/stats", MODEL "/versions/1/stats",
                                        "/v2/models/stats"};
    struct server *mine = server;
    struct statistics before, after;
    server = server_start(NO_ARGS, NO_ARGS);
    read_statistics(&before, PATHS[0]);
    assert_true(before.successes == 0 && before.failures == 0 && before.last == 0);
    cJSON_Delete(answer_of(classify_two("{\"name\":\"class\"}")));
    expect_well(server); /* one image, by another route */
    assert_refused(infer("{}", NULL, 0), 400, "inputs");
    for (size_t i = 0; i < 3; i++) {
        read_statistics(&after, PATHS[i]);
        assert_true(after.successes == 2 && after.failures == 1);
        assert_true(after.inferences == before.inferences + 3);
        assert_true(after.executions == before.executions + 2);
        assert_true(after.last > 1e12);
        assert_true(after.ns[2] > 0);
    }
    server_stop(server);
    server = mine;
}

static void the_repository_has_the_one_model(void **state)
{
    (void)state;
    static const char *const BODIES[] = {"", "{}", "{\"ready\":true}"};
    for (size_t i = 0; i < 3; i++) {
        cJSON *json = answer_of(http_send(
            server, &(struct request){.method = "POST", .path = "/v2/repository/index",
                                      .body = BODIES[i], .nbytes = strlen(BODIES[i])}));
        char *text = cJSON_PrintUnformatted(json);
        assert_string_equal(text, "[{\"name\":\"capsnet-test\",\"version\":\"1\","
                                  "\"state\":\"READY\",\"reason\":\"\"}]");
        free(text);
        cJSON_Delete(json);
    }
    assert_refused(http_send(server, &(struct request){.path = "/v2/repository/index"}), 405,
                   "takes POST");
    static const char *const OTHERS[] = {"/v2/models/other/stats", "/v2/models/other/config",
                                         MODEL "/versions/2/stats", MODEL "/versions/2/config"};
    for (size_t i = 0; i < sizeof OTHERS / sizeof *OTHERS; i++)
        assert_refused(http_send(server, &(struct request){.path = OTHERS[i]}), 404, "there is no");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_datatype_and_shape_gives_the_same_answer),
        cmocka_unit_test(what_is_no_pixel_is_refused_in_every_datatype),
        cmocka_unit_test(labels_are_told_longest_first),
        cmocka_unit_test(binary_labels_follow_their_lengths),
        cmocka_unit_test(what_is_no_count_of_labels_is_refused),
        cmocka_unit_test(the_configuration_has_tritons_names),
        cmocka_unit_test(statistics_count_what_was_computed),
        cmocka_unit_test(the_repository_has_the_one_model),
    };
    int failed = cmocka_run_group_tests_name("oip_extensions", tests, start, stop);
    server_kill_leftovers(NULL);
    return failed;
}
