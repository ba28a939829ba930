/*
 * test_mnist.c - the shipped weights, through HTTP: real digits of the MNIST
 * test set, and the digits that the project drew itself.
 *
 * MNIST_ANSWERS=FILE writes the predicted classes there, one a line, to be compared
 * with `capsnet-train eval --answers FILE`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/train/data/idx.h"
#include "tests/http/fixtures.h"
#include "tests/http/harness.h"

static struct server *server;
static struct dataset mnist;

/* A sanitizer's build is some ten times slower. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { POSTED = 1000 };
#else
enum { POSTED = 10000 };
#endif

static int start(void **state)
{
    (void)state;
    server = server_start(ARGS("--weights", shipped_weights()), NO_ARGS);
    struct capsnet_error error = {""};
    if (!mnist_folder()) fail_msg("there is no MNIST: `make data` brings it");
    if (dataset_load_idx(&mnist, mnist_folder(), "t10k", &error) != CAPSNET_OK)
        fail_msg("%s", error.text);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    dataset_free(&mnist);
    if (server) server_stop(server);
    return 0;
}

static struct bytes mnist_png(size_t i)
{
    return gray_png(mnist.pixels + i * 28 * 28, 28, 28);
}

/* Classifies images [first, first + n) in one request; classes: [n]. */
static void classify_batch(size_t first, size_t n, int *classes)
{
    struct bytes pngs[64];
    for (size_t i = 0; i < n; i++) pngs[i] = mnist_png(first + i);
    char *body = images_json(pngs, n);
    cJSON *json = post_json(server, "/classify", body, strlen(body));
    const cJSON *predictions = json_array(json, "predictions", (int)n);
    for (size_t i = 0; i < n; i++) {
        classes[i] = (int)json_number(cJSON_GetArrayItem(predictions, (int)i), "class");
        free(pngs[i].data);
    }
    cJSON_Delete(json);
    free(body);
}

static void ten_digits_of_each_class_are_read(void **state)
{
    (void)state;
    int seen[10] = {0}, right = 0, total = 0, known = 0;
    for (size_t i = 0; i < mnist.n && total < 100; i++) {
        if (seen[mnist.labels[i]] == 10) continue;
        seen[mnist.labels[i]]++, total++;
        struct bytes png = mnist_png(i);
        cJSON *json = post_json(server, "/classify", png.data, png.nbytes);
        const cJSON *prediction = cJSON_GetArrayItem(json_array(json, "predictions", 1), 0);
        int class = (int)json_number(prediction, "class");
        known += cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(prediction, "in_distribution"));
        if (class == mnist.labels[i]) right++;
        else printf("image %zu is a %d and was read as %d\n", i, mnist.labels[i], class);
        cJSON_Delete(json);
        free(png.data);
    }
    printf("%d of %d right, %d known\n", right, total, known);
    assert_true(known >= 90); /* 95 are to be expected */
    assert_int_equal(total, 100);
    assert_true(right >= 99);
}

/* Nothing, noise, and letters on top of each other are no digits. */
static void what_is_no_digit_is_not_known(void **state)
{
    (void)state;
    struct bytes pictures[3] = {blank_png(100, 100, 255)};
    uint8_t pixels[28 * 28] = {0};
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)(i * i * 7919 >> 4);
    pictures[1] = gray_png(pixels, 28, 28);
    memset(pixels, 0, sizeof pixels);
    for (size_t i = 4; i < 24; i++) /* an E in a frame */
        for (size_t k = 0; k < 2; k++) {
            pixels[i * 28 + 5 + k] = pixels[i * 28 + 22 + k] = 255;
            pixels[(4 + k) * 28 + i] = pixels[(13 + k) * 28 + i] = pixels[(22 + k) * 28 + i] = 255;
        }
    pictures[2] = gray_png(pixels, 28, 28);
    for (size_t i = 0; i < 3; i++) {
        cJSON *json = post_json(server, "/classify", pictures[i].data, pictures[i].nbytes);
        const cJSON *prediction = cJSON_GetArrayItem(json_array(json, "predictions", 1), 0);
        if (!cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(prediction, "in_distribution")))
            fail_msg("picture %zu passes for a digit", i);
        cJSON_Delete(json);
        free(pictures[i].data);
    }
}

/* With the shipped network too. */
static void a_batch_gives_the_single_answers(void **state)
{
    (void)state;
    enum { N = 20 };
    struct bytes pngs[N];
    for (size_t i = 0; i < N; i++) pngs[i] = mnist_png(i);
    char *body = images_json(pngs, N);
    cJSON *batch = post_json(server, "/classify?poses=1", body, strlen(body));
    for (int i = 0; i < N; i++) {
        cJSON *alone = post_json(server, "/classify?poses=1", pngs[i].data, pngs[i].nbytes);
        assert_same_answer(cJSON_GetArrayItem(json_array(batch, "predictions", N), i),
                           cJSON_GetArrayItem(json_array(alone, "predictions", 1), 0));
        cJSON_Delete(alone);
        free(pngs[i].data);
    }
    cJSON_Delete(batch);
    free(body);
}

static void our_own_digits_are_read(void **state)
{
    (void)state;
    static const char *const kinds[] = {"digit", "paper"};
    int wrong = 0;
    for (int kind = 0; kind < 2; kind++)
        for (int digit = 0; digit < 10; digit++) {
            char path[60];
            snprintf(path, sizeof path, "tests/digits/%s-%d.png", kinds[kind], digit);
            size_t nbytes = 0;
            uint8_t *png = read_file(path, &nbytes);
            cJSON *json = post_json(server, "/classify", png, nbytes);
            const cJSON *prediction = cJSON_GetArrayItem(json_array(json, "predictions", 1), 0);
            if (json_number(prediction, "class") != digit) {
                printf("%s was read as %s\n", path, json_string(prediction, "label"));
                wrong++;
            }
            cJSON_Delete(json);
            free(png);
        }
    assert_int_equal(wrong, 0);
}

static void the_whole_test_set_is_read(void **state)
{
    (void)state;
    const char *answers = getenv("MNIST_ANSWERS");
    assert_true(mnist.n >= POSTED);
    FILE *file = answers && *answers ? fopen(answers, "w") : NULL;
    if (answers && *answers && !file) fail_msg("cannot write %s", answers);
    size_t wrong = 0;
    for (size_t first = 0; first < POSTED; first += 64) {
        int classes[64];
        size_t n = POSTED - first < 64 ? POSTED - first : 64;
        classify_batch(first, n, classes);
        for (size_t i = 0; i < n; i++) {
            wrong += classes[i] != mnist.labels[first + i];
            if (file) fprintf(file, "%d\n", classes[i]);
        }
    }
    if (file) assert_int_equal(fclose(file), 0);
    printf("%zu of %d wrong\n", wrong, POSTED);
    assert_true(wrong < POSTED / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_digits_of_each_class_are_read),
        cmocka_unit_test(what_is_no_digit_is_not_known),
        cmocka_unit_test(a_batch_gives_the_single_answers),
        cmocka_unit_test(our_own_digits_are_read),
        cmocka_unit_test(the_whole_test_set_is_read),
    };
    int failed = cmocka_run_group_tests_name("mnist", tests, start, stop);
    server_kill_leftovers(NULL);
    return failed;
}
