/*
 * test_oip.c - the Open Inference Protocol, version 2, with its binary tensor
 * extension: requests byte for byte as stock clients send them, every way to
 * send an image and to ask for outputs, and every refusal.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/http/fixtures.h"
#include "tests/http/harness.h"

#define MODEL "/v2/models/capsnet-test"
enum { SIDE = 28, PIXELS = SIDE * SIDE, POSES = TEST_CLASSES * TEST_POSE_DIMS };

static struct server *server;

static int start(void **state)
{
    (void)state;
    server = server_start(ARGS("--max-images", "8"), NO_ARGS);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    server_stop(server);
    return 0;
}

/* ---- Requests ---------------------------------------------------------- */

/* A body of JSON and what follows it, and its header. */
struct inference {
    uint8_t *body;
    size_t nbytes;
    char header[60];
};

static struct inference inference(const char *json, const void *binary, size_t nbytes)
{
    struct inference made = {.nbytes = strlen(json) + nbytes};
    made.body = malloc(made.nbytes + 1);
    assert_non_null(made.body);
    memcpy(made.body, json, strlen(json));
    if (nbytes)
        memcpy(made.body + strlen(json), binary, nbytes);
    snprintf(made.header, sizeof made.header, "Inference-Header-Content-Length: %zu",
             strlen(json));
    return made;
}

/* POSTs JSON, and binary data when there is some. */
static struct reply *infer(const char *path, const char *json, const void *binary, size_t nbytes)
{
    struct inference made = inference(json, binary, nbytes);
    struct reply *reply =
        http_send(server, &(struct request){.path = path, .headers = {nbytes ? made.header : NULL},
                                            .body = made.body, .nbytes = made.nbytes});
    free(made.body);
    return reply;
}

static void assert_refused(struct reply *reply, long status, const char *fragment)
{
    if (reply->status != status)
        fail_msg("status %ld instead of %ld: %.300s", reply->status, status,
                 (const char *)reply->body);
    cJSON *json = reply_json(reply);
    assert_int_equal(cJSON_GetArraySize(json), 1);
    const char *sentence = json_string(json, "error");
    if (strlen(sentence) < 10 || !strstr(sentence, fragment))
        fail_msg("\"%s\" does not say \"%s\"", sentence, fragment);
    cJSON_Delete(json);
    reply_free(reply);
}

static cJSON *get(const char *path)
{
    struct reply *reply = http_send(server, &(struct request){.path = path});
    if (reply->status != 200)
        fail_msg("%s: status %ld", path, reply->status);
    cJSON *json = reply_json(reply);
    reply_free(reply);
    return json;
}

/* ---- Answers ----------------------------------------------------------- */

/* What was answered for n images; tensors that were not are zeros. */
struct answer {
    size_t n;
    char id[64];
    unsigned given; /* bit i: tensor i of NAMES */
    float probabilities[8 * TEST_CLASSES], poses[8 * POSES], reconstruction[8 * PIXELS];
    int64_t classes[8];
};

static const char *const NAMES[] = {"probabilities", "poses", "reconstruction", "class"};

static void check_metadata(const cJSON *output, size_t which, size_t n)
{
    static const int DIMS[4][4] = {{TEST_CLASSES}, {TEST_CLASSES, TEST_POSE_DIMS}, {SIDE, SIDE}};
    static const int RANKS[] = {2, 3, 3, 1};
    assert_string_equal(json_string(output, "datatype"), which == 3 ? "INT64" : "FP32");
    const cJSON *shape = json_array(output, "shape", RANKS[which]);
    assert_true(cJSON_GetArrayItem(shape, 0)->valuedouble == (double)n);
    for (int i = 1; i < RANKS[which]; i++)
        assert_int_equal(cJSON_GetArrayItem(shape, i)->valueint, DIMS[which][i - 1]);
}

/* Takes one output, from JSON or from the binary data at *binary. */
static void take_output(struct answer *answer, const cJSON *output, const uint8_t **binary)
{
    size_t which = 0;
    while (which < 4 && strcmp(json_string(output, "name"), NAMES[which]) != 0)
        which++;
    assert_in_range(which, 0, 3);
    assert_false(answer->given & 1u << which);
    answer->given |= 1u << which;
    check_metadata(output, which, answer->n);
    float *floats[] = {answer->probabilities, answer->poses, answer->reconstruction};
    const size_t sizes[] = {TEST_CLASSES, POSES, PIXELS, 1};
    size_t count = answer->n * sizes[which], size = which == 3 ? 8 : 4;
    const cJSON *parameters = cJSON_GetObjectItemCaseSensitive(output, "parameters");
    if (parameters) {
        assert_int_equal(json_number(parameters, "binary_data_size"), count * size);
        assert_null(cJSON_GetObjectItemCaseSensitive(output, "data"));
        memcpy(which == 3 ? (void *)answer->classes : floats[which], *binary, count * size);
        *binary += count * size;
        return;
    }
    const cJSON *item = json_array(output, "data", (int)count)->child;
    for (size_t i = 0; i < count; i++, item = item->next) {
        assert_true(cJSON_IsNumber(item));
        if (which == 3)
            answer->classes[i] = (int64_t)item->valuedouble;
        else
            floats[which][i] = (float)item->valuedouble;
    }
}

/* Reads a good answer, JSON and binary, and frees the reply. */
static void read_answer(struct answer *answer, struct reply *reply, size_t n)
{
    char length[40], type[60];
    memset(answer, 0, sizeof *answer);
    answer->n = n;
    if (reply->status != 200)
        fail_msg("status %ld: %.300s", reply->status, (const char *)reply->body);
    int is_binary = reply_header(reply, "Inference-Header-Content-Length", length, sizeof length);
    size_t json_nbytes = is_binary ? strtoul(length, NULL, 10) : reply->nbytes;
    assert_in_range(json_nbytes, 1, reply->nbytes);
    assert_true(reply_header(reply, "Content-Type", type, sizeof type));
    assert_string_equal(type, is_binary ? "application/octet-stream" : "application/json");
    cJSON *json = cJSON_ParseWithLength((const char *)reply->body, json_nbytes);
    assert_non_null(json);
    assert_string_equal(json_string(json, "model_name"), "capsnet-test");
    assert_string_equal(json_string(json, "model_version"), "1");
    if (cJSON_GetObjectItemCaseSensitive(json, "id"))
        snprintf(answer->id, sizeof answer->id, "%s", json_string(json, "id"));
    const uint8_t *binary = reply->body + json_nbytes;
    const cJSON *output = NULL;
    cJSON_ArrayForEach(output, json_array(json, "outputs", -1))
        take_output(answer, output, &binary);
    assert_ptr_equal(binary, reply->body + reply->nbytes);
    cJSON_Delete(json);
    reply_free(reply);
}

/* The same answer, up to the rounding that the size of the batch changes. */
static void assert_same(const struct answer *a, const struct answer *b)
{
    assert_int_equal(a->n, b->n);
    assert_int_equal(a->given, b->given);
    for (size_t i = 0; i < 8 * TEST_CLASSES; i++)
        assert_true(fabsf(a->probabilities[i] - b->probabilities[i]) <= 1e-4f);
    for (size_t i = 0; i < 8 * POSES; i++)
        assert_true(fabsf(a->poses[i] - b->poses[i]) <= 1e-4f);
    for (size_t i = 0; i < 8 * PIXELS; i++)
        assert_true(fabsf(a->reconstruction[i] - b->reconstruction[i]) <= 1e-4f);
    assert_memory_equal(a->classes, b->classes, sizeof a->classes);
}

/* Drawings first .. first + n - 1, as pixels and as tensors. */
static void draw(uint8_t *pixels, float *floats, size_t n, unsigned first)
{
    for (size_t i = 0; i < n; i++)
        draw_pixels(pixels + i * PIXELS, first + (unsigned)i);
    for (size_t i = 0; i < n * PIXELS; i++)
        floats[i] = (float)pixels[i] / 255.0f;
}

/* ---- Health and metadata ------------------------------------------------ */

static void health_is_told(void **state)
{
    (void)state;
    cJSON *json = get("/v2/health/live");
    assert_true(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "live")));
    cJSON_Delete(json);
    json = get("/v2/health/ready");
    assert_true(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "ready")));
    cJSON_Delete(json);
    static const char *const PATHS[] = {MODEL "/ready", MODEL "/versions/1/ready"};
    for (size_t i = 0; i < 2; i++) {
        json = get(PATHS[i]);
        assert_string_equal(json_string(json, "name"), "capsnet-test");
        assert_true(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "ready")));
        cJSON_Delete(json);
    }
}

static void metadata_is_told(void **state)
{
    (void)state;
    cJSON *json = get("/v2");
    assert_string_equal(json_string(json, "name"), "capsnetd");
    static const char *const EXTENSIONS[] = {"binary_tensor_data", "classification",
                                             "model_configuration", "statistics"};
    const int n_extensions = sizeof EXTENSIONS / sizeof *EXTENSIONS;
    const cJSON *extensions = json_array(json, "extensions", n_extensions);
    for (int i = 0; i < n_extensions; i++)
        assert_string_equal(cJSON_GetArrayItem(extensions, i)->valuestring, EXTENSIONS[i]);
    cJSON_Delete(json);
    static const char EXPECTED[] =
        "{\"name\":\"capsnet-test\",\"versions\":[\"1\"],\"platform\":\"capsnetd\","
        "\"inputs\":[{\"name\":\"image\",\"datatype\":\"FP32\",\"shape\":[-1,28,28]}],"
        "\"outputs\":[{\"name\":\"probabilities\",\"datatype\":\"FP32\",\"shape\":[-1,10]},"
        "{\"name\":\"poses\",\"datatype\":\"FP32\",\"shape\":[-1,10,16]},"
        "{\"name\":\"reconstruction\",\"datatype\":\"FP32\",\"shape\":[-1,28,28]},"
        "{\"name\":\"class\",\"datatype\":\"INT64\",\"shape\":[-1]},"
        "{\"name\":\"coupling\",\"datatype\":\"FP32\",\"shape\":[-1,72,10]}]}";
    static const char *const PATHS[] = {MODEL, MODEL "/versions/1"};
    for (size_t i = 0; i < 2; i++) {
        json = get(PATHS[i]);
        char *text = cJSON_PrintUnformatted(json);
        assert_string_equal(text, EXPECTED);
        free(text);
        cJSON_Delete(json);
    }
}

static void what_is_not_there_is_404(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path;
        long status;
        const char *fragment;
    } CASES[] = {
        {"GET", "/v2/models/other", 404, "model \"other\""},
        {"GET", "/v2/models/capsnet", 404, "model \"capsnet\""},
        {"GET", "/v2/models/capsnet-tests/ready", 404, "model"},
        {"GET", MODEL "/versions/2", 404, "version \"2\""},
        {"GET", MODEL "/versions/11/ready", 404, "version \"11\""},
        {"POST", "/v2/models/other/infer", 404, "model \"other\""},
        {"POST", MODEL "/versions/0/infer", 404, "version \"0\""},
        {"GET", MODEL "/versions", 404, "nothing"},
        {"GET", MODEL "/versions/", 404, "nothing"},
        {"GET", MODEL "/configs", 404, "nothing"},
        {"GET", "/v2/models/", 404, "nothing"},
        {"GET", "/v2/models//ready", 404, "nothing"},
        {"GET", "/v2/", 404, "nothing"},
        {"GET", "/v2/models/%00/ready", 404, "nothing"},
        {"GET", MODEL "/infer", 405, "POST"},
        {"POST", MODEL, 405, "GET"},
        {"POST", "/v2", 405, "GET"},
        {"GET", "/v2?verbose=1", 400, "verbose"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        struct request request = {.method = CASES[i].method, .path = CASES[i].path};
        if (strcmp(CASES[i].method, "POST") == 0)
            request.body = "{}", request.nbytes = 2;
        assert_refused(http_send(server, &request), CASES[i].status, CASES[i].fragment);
    }
    /* Elsewhere errors keep their own form. */
    struct reply *reply = http_send(server, &(struct request){.path = "/v2x"});
    assert_error(reply, 404, "not_found", NULL);
    reply_free(reply);
}

/* ---- As a stock client sends it ------------------------------------------ */

/* tritonclient.http 2.73 from Python, byte for byte: all outputs, binary. */
static void a_stock_clients_bytes_are_understood(void **state)
{
    (void)state;
    static const char JSON[] =
        "{\"inputs\":[{\"name\":\"image\",\"shape\":[1,28,28],\"datatype\":\"FP32\","
        "\"parameters\":{\"binary_data_size\":3136}}],\"parameters\":{\"binary_data_output\":"
        "true}}";
    uint8_t pixels[PIXELS];
    float floats[PIXELS];
    char request[4096], *answer = calloc(1, 65536);
    assert_non_null(answer);
    draw(pixels, floats, 1, 3);
    int n = snprintf(request, sizeof request,
                     "POST " MODEL "/infer HTTP/1.1\r\n"
                     "User-Agent: python/gevent-http-client-2.6.1\r\n"
                     "Inference-Header-Content-Length: 145\r\nHost: 127.0.0.1:%u\r\n"
                     "Content-Length: 3281\r\n\r\n%s", server->port, JSON);
    assert_int_equal(strlen(JSON), 145);
    memcpy(request + n, floats, sizeof floats);
    int fd = raw_connect(server, stretch_ms(10000));
    assert_int_equal(raw_send(fd, request, (size_t)n + sizeof floats), 0);
    /* The connection stays open: the length of the JSON and what is to follow
     * it tell when the answer is whole. */
    const size_t tensors = (TEST_CLASSES + POSES + PIXELS) * 4 + 8;
    const char *body = NULL, *length = NULL;
    size_t got = 0, json_nbytes = 0;
    while (!json_nbytes || got < (size_t)(body - answer) + json_nbytes + tensors) {
        ssize_t n_read = recv(fd, answer + got, 65535 - got, 0);
        if (n_read <= 0)
            fail_msg("the answer ends after %zu bytes: %.500s", got, answer);
        got += (size_t)n_read;
        body = strstr(answer, "\r\n\r\n");
        length = strstr(answer, "Inference-Header-Content-Length: ");
        body = body ? body + 4 : NULL;
        json_nbytes = body && length ? strtoul(length + 33, NULL, 10) : 0;
    }
    close(fd);
    assert_int_equal(strncmp(answer, "HTTP/1.1 200 ", 13), 0);
    cJSON *json = cJSON_ParseWithLength(body, json_nbytes);
    assert_non_null(json);
    const cJSON *outputs = json_array(json, "outputs", 4);
    for (int i = 0; i < 4; i++)
        assert_string_equal(json_string(cJSON_GetArrayItem(outputs, i), "name"), NAMES[i]);
    cJSON_Delete(json);
    assert_int_equal(got, (size_t)(body - answer) + json_nbytes + tensors);
    free(answer);
}

/* The same client with an id and chosen outputs, one binary, one JSON. */
static void outputs_are_chosen(void **state)
{
    (void)state;
    static const char JSON[] =
        "{\"id\":\"42\",\"inputs\":[{\"name\":\"image\",\"shape\":[1,28,28],\"datatype\":\"FP32\","
        "\"parameters\":{\"binary_data_size\":3136}}],\"outputs\":[{\"name\":\"class\","
        "\"parameters\":{\"binary_data\":true}},{\"name\":\"probabilities\",\"parameters\":"
        "{\"binary_data\":false}}]}";
    uint8_t pixels[PIXELS];
    float floats[PIXELS];
    draw(pixels, floats, 1, 4);
    struct answer *answer = malloc(sizeof *answer);
    assert_non_null(answer);
    read_answer(answer, infer(MODEL "/versions/1/infer", JSON, floats, sizeof floats), 1);
    assert_string_equal(answer->id, "42");
    assert_int_equal(answer->given, 1 << 0 | 1 << 3);
    for (int i = 0; i < TEST_CLASSES; i++)
        assert_true(answer->probabilities[i] <= answer->probabilities[answer->classes[0]]);
    free(answer);
}

/* A client that writes null for what it has nothing to say about asks as one that
 * leaves it out. */
static void null_counts_as_absent(void **state)
{
    (void)state;
    static const char *const JSONS[] = {
        "{\"id\":null,\"parameters\":null,\"outputs\":null,\"inputs\":[{\"name\":\"image\","
        "\"shape\":[1,28,28],\"datatype\":\"FP32\",\"data\":null,\"parameters\":"
        "{\"binary_data_size\":3136,\"shared_memory_region\":null}}]}",
        "{\"parameters\":{\"normalize\":null,\"binary_data_output\":null},\"outputs\":[{\"name\":"
        "\"class\",\"parameters\":null},{\"name\":\"poses\",\"parameters\":{\"binary_data\":null,"
        "\"classification\":null}}],\"inputs\":[{\"name\":\"image\",\"shape\":[1,28,28],"
        "\"datatype\":\"FP32\",\"parameters\":{\"binary_data_size\":3136}}]}"};
    static const unsigned GIVEN[] = {15, 1 << 1 | 1 << 3};
    uint8_t pixels[PIXELS];
    float floats[PIXELS];
    draw(pixels, floats, 1, 4);
    struct answer *answer = malloc(sizeof *answer);
    assert_non_null(answer);
    for (size_t i = 0; i < 2; i++) {
        read_answer(answer, infer(MODEL "/infer", JSONS[i], floats, sizeof floats), 1);
        assert_string_equal(answer->id, ""); /* it had none */
        assert_int_equal(answer->given, GIVEN[i]);
    }
    free(answer);
}

/* ---- Every form of the image ---------------------------------------------- */

/* "[[[0.1,...],...],...]", or flat; numbers that read back as themselves. */
static char *numbers_json(const float *values, size_t n, int is_nested)
{
    char *json = malloc(n * PIXELS * 16 + 100), *to = json;
    assert_non_null(json);
    to = stpcpy(to, "[");
    for (size_t i = 0; i < n * PIXELS; i++) {
        if (i)
            to = stpcpy(to, is_nested && i % PIXELS == 0 ? "]], [["
                            : is_nested && i % SIDE == 0 ? "],\n["
                                                         : ",");
        else if (is_nested)
            to = stpcpy(to, "[[");
        to += sprintf(to, "%.9g", (double)values[i]);
    }
    strcpy(to, is_nested ? "]]]" : "]");
    return json;
}

static void every_form_gives_the_same_answer(void **state)
{
    (void)state;
    enum { N = 3 };
    uint8_t *pixels = malloc(N * PIXELS);
    float *floats = malloc(N * PIXELS * sizeof *floats), *bytes = malloc(N * PIXELS * sizeof *bytes);
    struct answer *first = malloc(sizeof *first), *other = malloc(sizeof *other);
    char *json = malloc(1 << 20);
    assert_true(pixels && floats && bytes && first && other && json);
    draw(pixels, floats, N, 10);
    for (size_t i = 0; i < N * PIXELS; i++)
        bytes[i] = (float)pixels[i];
    static const char HEAD[] = "{\"inputs\": [{\"name\": \"image\", \"datatype\": \"%s\", "
                               "\"shape\": [3,28,28], ";
    static const char BINARY[] = "\"parameters\": {\"binary_data_size\": %d}}]}";

    int n = sprintf(json, HEAD, "FP32");
    sprintf(json + n, BINARY, N * PIXELS * 4);
    read_answer(first, infer(MODEL "/infer", json, floats, N * PIXELS * 4), N);
    assert_int_equal(first->given, 15);
    assert_string_equal(first->id, "");

    n = sprintf(json, HEAD, "UINT8");
    sprintf(json + n, BINARY, N * PIXELS);
    read_answer(other, infer(MODEL "/infer", json, pixels, N * PIXELS), N);
    assert_same(first, other);

    for (int form = 0; form < 4; form++) {
        char *data = numbers_json(form < 2 ? floats : bytes, N, form % 2);
        n = sprintf(json, HEAD, form < 2 ? "FP32" : "UINT8");
        /* Other arrays called data, of many numbers too, are not the tensor's. */
        sprintf(json + n, "\"parameters\": {\"data\": [7]}, \"data\": %s}], \"parameters\": "
                "{\"data\": [1, 2], \"binary_data_output\": %s}}", data,
                form % 2 ? "true" : "false");
        free(data);
        read_answer(other, infer(MODEL "/infer", json, NULL, 0), N);
        assert_same(first, other);
    }
    free(pixels), free(floats), free(bytes), free(first), free(other), free(json);
}

/* PNGs: raw behind their lengths, and base64; auto uses these digits as they
 * are, so that the answer is that of their pixels. */
static void pngs_give_the_same_answer(void **state)
{
    (void)state;
    enum { N = 2 };
    uint8_t pixels[N * PIXELS], *packed = malloc(65536), *to = packed;
    float *floats = malloc(sizeof *floats * N * PIXELS);
    struct answer *first = malloc(sizeof *first), *other = malloc(sizeof *other);
    char *json = malloc(65536);
    assert_true(packed && floats && first && other && json);
    draw(pixels, floats, N, 20);
    read_answer(first,
                infer(MODEL "/infer",
                      "{\"inputs\":[{\"name\":\"image\",\"datatype\":\"FP32\",\"shape\":[2,28,28],"
                      "\"parameters\":{\"binary_data_size\":6272}}]}",
                      floats, N * PIXELS * 4), N);
    struct bytes pngs[N] = {draw_png(20), draw_png(21)};
    for (size_t i = 0; i < N; i++) {
        uint32_t length = (uint32_t)pngs[i].nbytes;
        memcpy(to, &length, 4);
        memcpy(to + 4, pngs[i].data, pngs[i].nbytes);
        to += 4 + pngs[i].nbytes;
    }
    sprintf(json, "{\"inputs\":[{\"name\":\"image\",\"datatype\":\"BYTES\",\"shape\":[2],"
                  "\"parameters\":{\"binary_data_size\":%d}}]}", (int)(to - packed));
    read_answer(other, infer(MODEL "/infer", json, packed, (size_t)(to - packed)), N);
    assert_same(first, other);

    char *images = images_json(pngs, N);
    sprintf(json, "{\"parameters\":{\"normalize\":\"none\"},\"inputs\":[{\"name\":\"image\","
                  "\"datatype\":\"BYTES\",\"shape\":[2],\"data\":%s]}", strchr(images, '['));
    read_answer(other, infer(MODEL "/infer", json, NULL, 0), N);
    assert_same(first, other);
    free(images);
    for (size_t i = 0; i < N; i++)
        free(pngs[i].data);
    free(packed), free(floats), free(first), free(other), free(json);
}

/* The winning capsule and what it draws are those that the other routes tell. */
static void answers_agree_with_the_other_routes(void **state)
{
    (void)state;
    uint8_t pixels[PIXELS];
    float floats[PIXELS];
    struct answer *answer = malloc(sizeof *answer);
    assert_non_null(answer);
    draw(pixels, floats, 1, 5);
    read_answer(answer,
                infer(MODEL "/infer",
                      "{\"inputs\":[{\"name\":\"image\",\"datatype\":\"UINT8\",\"shape\":[1,28,28],"
                      "\"parameters\":{\"binary_data_size\":784}}]}", pixels, PIXELS), 1);
    struct bytes png = draw_png(5);
    cJSON *json = post_json(server, "/classify?poses=1", png.data, png.nbytes);
    const cJSON *told = cJSON_GetArrayItem(json_array(json, "predictions", 1), 0);
    assert_true(json_number(told, "class") == (double)answer->classes[0]);
    double error = 0;
    for (size_t i = 0; i < PIXELS; i++)
        error += pow((double)answer->reconstruction[i] - (double)floats[i], 2) / PIXELS;
    assert_true(fabs(json_number(told, "reconstruction_error") - error) < 1e-5);
    for (int i = 0; i < POSES; i++) {
        const cJSON *row = cJSON_GetArrayItem(json_array(told, "pose", -1), i / TEST_POSE_DIMS);
        double value = cJSON_GetArrayItem(row, i % TEST_POSE_DIMS)->valuedouble;
        assert_true(fabs(value - (double)answer->poses[i]) < 1e-5);
    }
    cJSON_Delete(json);
    free(png.data);
    free(answer);
}

/* For three channels the image has a fourth dimension. */
static void a_colour_model_has_a_fourth_dimension(void **state)
{
    (void)state;
    static const char path[] = "tests/golden/colour.safetensors";
    struct server *mine = server;
    server = server_start(ARGS("--weights", path), NO_ARGS);
    cJSON *model = get("/model");
    const cJSON *shape = json_object(model, "shape");
    int height = (int)json_number(shape, "height"), width = (int)json_number(shape, "width");
    char route[200], json[400];
    snprintf(route, sizeof route, "/v2/models/%s/infer", json_string(model, "name"));
    size_t nbytes = (size_t)(height * width) * 3;
    uint8_t *zeros = calloc(nbytes, 1);
    assert_non_null(zeros);
    snprintf(json, sizeof json,
             "{\"inputs\":[{\"name\":\"image\",\"datatype\":\"UINT8\",\"shape\":[1,%d,%d,3],"
             "\"parameters\":{\"binary_data_size\":%zu}}],\"outputs\":[{\"name\":"
             "\"reconstruction\"}]}", height, width, nbytes);
    struct reply *reply = infer(route, json, zeros, nbytes);
    assert_int_equal(reply->status, 200);
    cJSON *answer = reply_json(reply);
    const cJSON *output = cJSON_GetArrayItem(json_array(answer, "outputs", 1), 0);
    assert_int_equal(cJSON_GetArrayItem(json_array(output, "shape", 4), 3)->valueint, 3);
    json_array(output, "data", (int)nbytes);
    cJSON_Delete(answer);
    reply_free(reply);
    snprintf(json, sizeof json,
             "{\"inputs\":[{\"name\":\"image\",\"datatype\":\"UINT8\",\"shape\":[1,%d,%d],"
             "\"parameters\":{\"binary_data_size\":%zu}}]}", height, width, nbytes);
    assert_refused(infer(route, json, zeros, nbytes), 400, "inputs[0].shape");
    free(zeros);
    cJSON_Delete(model);
    server_stop(server);
    server = mine;
}

/* ---- Refusals --------------------------------------------------------------- */

#define TENSOR(type, shape) \
    "{\"inputs\":[{\"name\":\"image\",\"datatype\":\"" type "\",\"shape\":" shape
#define BINARY(size) ",\"parameters\":{\"binary_data_size\":" size "}}]}"

static void bad_json_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json, *fragment;
        long status;
    } CASES[] = {
        {"{", "malformed", 400},
        {"[]", "object", 400},
        {"{}", "inputs", 400},
        {"\xff", "malformed", 400},
        {"{\"inputs\":[],\"inputs\":[]}", "\"inputs\" is given more than once", 400},
        {TENSOR("FP32", "[1,28,28]") ",\"data\":[1],\"data\":[2]}]}", "\"data\" is given", 400},
        {TENSOR("FP32", "[01,28,28]") ",\"data\":[1]}]}", "malformed at byte", 400},
        {TENSOR("FP32", "[1,28,28]") ",\"data\":[0,01]}]}", "value 1 is not a number", 400},
        {TENSOR("FP32", "[1,28,28]") ",\"data\":[1.]}]}", "value 0 is not a number", 400},
        {"{\"inputs\":[]}", "inputs", 400},
        {"{\"inputs\":[{},{}]}", "inputs", 400},
        {"{\"inputs\":[1]}", "inputs[0].name", 400},
        {"{\"inputs\":[{\"name\":\"picture\"}]}", "inputs[0].name", 400},
        {"{\"inputs\":[{\"name\":\"image\"}]}", "inputs[0].datatype", 400},
        {TENSOR("BF16", "[1,28,28]") ",\"data\":[1]}]}", "inputs[0].datatype", 400},
        {TENSOR("FP32", "[1,28,28]") "}]}", "binary_data_size", 400},
        {TENSOR("FP32", "[28,28]") ",\"data\":[1]}]}", "inputs[0].shape: must be [n,28,28]", 400},
        {TENSOR("FP32", "[1,28,29]") ",\"data\":[1]}]}", "inputs[0].shape", 400},
        {TENSOR("FP32", "[-1,28,28]") ",\"data\":[1]}]}", "inputs[0].shape", 400},
        {TENSOR("FP32", "[1.5,28,28]") ",\"data\":[1]}]}", "inputs[0].shape", 400},
        {TENSOR("FP32", "[[1],28,28]") ",\"data\":[1]}]}", "inputs[0].shape", 400},
        {TENSOR("FP32", "\"1\"") ",\"data\":[1]}]}", "inputs[0].shape", 400},
        {TENSOR("FP32", "[0,28,28]") ",\"data\":[]}]}", "no image", 400},
        {TENSOR("FP32", "[9,28,28]") ",\"data\":[1]}]}", "more than 8 images", 413},
        {TENSOR("FP32", "[1,28,28]") ",\"data\":[1]}]}", "784 numbers", 400},
        {TENSOR("FP32", "[1,28,28]") ",\"data\":[]}]}", "784 numbers", 400},
        {TENSOR("FP32", "[1,28,28]") ",\"data\":[0,NaN]}]}", "value 1 is not a number", 400},
        {TENSOR("FP32", "[1,28,28]") ",\"data\":\"AAAA\"}]}", "array of numbers", 400},
        {TENSOR("FP32", "[1,28,28]") ",\"data\":[\"1\"]}]}", "array of numbers", 400},
        {TENSOR("FP32", "[1,28,28]") ",\"d\\u0061ta\":[1]}]}", "array of numbers", 400},
        {TENSOR("BYTES", "[1,1]") ",\"data\":[\"\"]}]}", "inputs[0].shape: must be [n]", 400},
        {TENSOR("BYTES", "[2]") ",\"data\":[\"\"]}]}", "array of 2 base64", 400},
        {TENSOR("BYTES", "[1]") ",\"data\":[1]}]}", "base64", 400},
        {TENSOR("BYTES", "[1]") ",\"data\":[\"?\"]}]}", "images[0]", 400},
        {TENSOR("BYTES", "[1]") ",\"data\":[\"AAAA\"]}]}", "images[0]", 400},
        {TENSOR("BYTES", "[1]") ",\"data\":[\"\"]}],\"parameters\":{\"normalize\":\"x\"}}",
         "parameters.normalize", 400},
        {TENSOR("FP32", "[1,28,28]") ",\"data\":[1]}],\"parameters\":{\"normalize\":\"fit\"}}",
         "parameters.normalize", 400},
        {TENSOR("FP32", "[1,28,28]") ",\"parameters\":{\"shared_memory_region\":\"x\"}}]}",
         "shared memory", 400},
        {TENSOR("FP32", "[1,28,28]") ",\"data\":[1],\"parameters\":{\"binary_data_size\":4}}]}",
         "not both", 400},
        {TENSOR("FP32", "[1,28,28]") BINARY("3136"), "0 bytes follow", 400},
        {TENSOR("FP32", "[1,28,28]") BINARY("-1"), "whole number", 400},
        {TENSOR("FP32", "[1,28,28]") BINARY("\"0\""), "whole number", 400},
        {TENSOR("FP32", "[1,28,28]") BINARY("1e300"), "whole number", 400},
        {"{\"id\":7}", "id", 400},
        {"{\"id\":\"a\\u0000b\"}", "character \\u0000", 400},
        {"{\"id\":\"\xc3(\"}", "UTF-8", 400},
        {"{\"outputs\":{}}", "outputs", 400},
        {"{\"outputs\":[1]}", "outputs[0].name", 400},
        {"{\"outputs\":[{\"name\":\"poses\"},{\"name\":\"x\"}]}", "outputs[1].name", 400},
        {"{\"outputs\":[{\"name\":\"poses\"},{\"name\":\"poses\"}]}", "twice", 400},
        {"{\"outputs\":[{\"name\":\"poses\",\"parameters\":{\"binary_data\":1}}]}", "binary_data",
         400},
        {"{\"outputs\":[{\"name\":\"class\",\"parameters\":{\"classification\":3}}]}",
         "classification", 400},
        {"{\"parameters\":{\"binary_data_output\":\"yes\"}}", "binary_data_output", 400},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        assert_refused(infer(MODEL "/infer", CASES[i].json, NULL, 0), CASES[i].status,
                       CASES[i].fragment);
    /* Two tensors of many numbers are too many tensors, not too many values. */
    char *two = malloc(20000), *end = stpcpy(two, "{\"inputs\":[{\"data\":[0");
    assert_non_null(two);
    for (int t = 0; t < 2; t++) {
        for (int i = 0; i < 2000; i++)
            end = stpcpy(end, ",0");
        end = stpcpy(end, t ? "]}]}" : "]},{\"data\":[0");
    }
    assert_refused(infer(MODEL "/infer", two, NULL, 0), 400, "an array of one tensor");
    free(two);
    assert_refused(http_send(server, &(struct request){.method = "DELETE", .path = MODEL "%ff"}), 405,
                   "takes GET, HEAD, not DELETE");
    /* More values than any request has need of. */
    char *json = malloc(20000), *to = stpcpy(json, "{\"x\":[0");
    assert_non_null(json);
    for (int i = 0; i < 5000; i++)
        to = stpcpy(to, ",0");
    strcpy(to, "]}");
    assert_refused(infer(MODEL "/infer", json, NULL, 0), 413, "values");
    free(json);
    assert_refused(infer(MODEL "/infer", "", NULL, 0), 400, "empty");
}

static void bad_binary_is_refused(void **state)
{
    (void)state;
    static const char FP32[] = TENSOR("FP32", "[1,28,28]") BINARY("3136");
    static const char BYTES_5[] = TENSOR("BYTES", "[1]") BINARY("5");
    float floats[PIXELS] = {0};
    static const struct {
        float value;
        long status;
    } PIXEL_VALUES[] = {{NAN, 400},   {INFINITY, 400}, {-INFINITY, 400}, {255.0f, 400},
                        {-1.0f, 400}, {3e38f, 400},    {1.02f, 200},     {-0.02f, 200}};
    for (size_t i = 0; i < sizeof PIXEL_VALUES / sizeof *PIXEL_VALUES; i++) {
        floats[500] = PIXEL_VALUES[i].value;
        struct reply *reply = infer(MODEL "/infer", FP32, floats, sizeof floats);
        if (PIXEL_VALUES[i].status != 200) {
            assert_refused(reply, 400, "value 500");
            continue;
        }
        assert_int_equal(reply->status, 200);
        reply_free(reply);
    }
    assert_refused(infer(MODEL "/infer", FP32, floats, 3132), 400, "3132 bytes follow");
    assert_refused(infer(MODEL "/infer", TENSOR("UINT8", "[1,28,28]") BINARY("783"), floats, 783),
                   400, "784 bytes");
    assert_refused(infer(MODEL "/infer", BYTES_5, "\1\0\0\0A", 5), 400, "images[0]");
    assert_refused(infer(MODEL "/infer", BYTES_5, "\2\0\0\0A", 5), 400, "cut short");
    assert_refused(infer(MODEL "/infer", BYTES_5, "\377\377\377\377A", 5), 400, "cut short");
    assert_refused(infer(MODEL "/infer", TENSOR("BYTES", "[1]") BINARY("3"), "AAA", 3), 400,
                   "cut short");

    static const char *const LENGTHS[] = {"", "x", "-1", "1e1", "99999", "99999999999999999999"};
    for (size_t i = 0; i < sizeof LENGTHS / sizeof *LENGTHS; i++) {
        char header[80];
        snprintf(header, sizeof header, *LENGTHS[i] ? "Inference-Header-Content-Length: %s"
                                                    : "Inference-Header-Content-Length;%s",
                 LENGTHS[i]);
        assert_refused(http_send(server, &(struct request){.path = MODEL "/infer",
                                                           .headers = {header}, .body = FP32,
                                                           .nbytes = strlen(FP32)}),
                       400, "Inference-Header-Content-Length");
    }
    expect_well(server);
}

/* Headers alone refuse what is too large or compressed by what is not known, in this form too. */
static void limits_have_the_protocols_form(void **state)
{
    (void)state;
    struct server *mine = server;
    server = server_start(ARGS("--max-body-bytes", "1000"), NO_ARGS);
    float floats[PIXELS] = {0};
    assert_refused(infer(MODEL "/infer", TENSOR("FP32", "[1,28,28]") BINARY("3136"), floats,
                         sizeof floats), 413, "more than 1000");
    assert_refused(http_send(server, &(struct request){.path = MODEL "/infer",
                                                       .headers = {"Content-Encoding: br"},
                                                       .body = "x", .nbytes = 1}),
                   415, "\"br\"");
    server_stop(server);
    server = server_start(ARGS("--request-deadline-s", "1"), NO_ARGS);
    char answer[2000];
    raw_exchange(server, "POST " MODEL "/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
                 answer, sizeof answer);
    assert_int_equal(strncmp(answer, "HTTP/1.1 408 ", 13), 0);
    assert_non_null(strstr(answer, "{\"error\": \"the request did not arrive in time\"}"));
    server_stop(server);
    server = mine;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(health_is_told),
        cmocka_unit_test(metadata_is_told),
        cmocka_unit_test(what_is_not_there_is_404),
        cmocka_unit_test(a_stock_clients_bytes_are_understood),
        cmocka_unit_test(outputs_are_chosen),
        cmocka_unit_test(null_counts_as_absent),
        cmocka_unit_test(every_form_gives_the_same_answer),
        cmocka_unit_test(pngs_give_the_same_answer),
        cmocka_unit_test(answers_agree_with_the_other_routes),
        cmocka_unit_test(a_colour_model_has_a_fourth_dimension),
        cmocka_unit_test(bad_json_is_refused),
        cmocka_unit_test(bad_binary_is_refused),
        cmocka_unit_test(limits_have_the_protocols_form),
    };
    int failed = cmocka_run_group_tests_name("oip", tests, start, stop);
    server_kill_leftovers(NULL);
    return failed;
}
