/*
 * test_dataset.c - data sets of PNGs, good and bad, which of PNG and IDX is
 * taken, and how a set is brought to a model's classes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/common/temp_folder.h"
#include "model/weights_file/model_file.h"
#include "model/train/data/dataset_load.h"

static struct dataset load(const char *set, const struct capsnet_model *model)
{
    struct dataset d;
    struct capsnet_error error = {""};
    if (dataset_load(&d, in_folder("."), set, model, &error) != CAPSNET_OK)
        fail_msg("%s", error.text);
    return d;
}

/* Loading must fail so, saying that, and leave the out-parameter alone. */
static void refuse_for(const char *set, const struct capsnet_model *model,
                       enum capsnet_status expected, const char *says)
{
    struct dataset d, before;
    struct capsnet_error error = {""};
    memset(&d, 0x5a, sizeof d);
    memcpy(&before, &d, sizeof d);
    enum capsnet_status status = dataset_load(&d, in_folder("."), set, model, &error);
    if (status != expected || !strstr(error.text, says))
        fail_msg("status %d, \"%s\"; it should say \"%s\"", (int)status, error.text, says);
    assert_memory_equal(&d, &before, sizeof d);
}

static void refuse(enum capsnet_status expected, const char *says)
{
    refuse_for("train", NULL, expected, says);
}

/* The names, joined by spaces. */
static void check_names(const struct dataset *d, const char *expected)
{
    char text[512] = "";
    for (size_t j = 0; j < d->classes; j++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", j ? " " : "",
                 d->names[j]);
    assert_string_equal(text, expected);
}

static void check_sizes(const struct dataset *d, size_t n, size_t height, size_t width,
                        size_t channels)
{
    assert_int_equal(d->n, n);
    assert_int_equal(d->height, height);
    assert_int_equal(d->width, width);
    assert_int_equal(d->channels, channels);
}

static void test_order(void **state)
{
    (void)state;
    static const char *const numbers[] = {"10", "9", "100", "0", "007", "7", "18446744073709551617"};
    static const char *const words[] = {"10", "9", "b", "a", "B", "\xc3\xa9t\xc3\xa9"};
    folder_clear();
    for (size_t i = 0; i < 7; i++) {
        char name[64];
        snprintf(name, sizeof name, "train/%s/x.png", numbers[i]);
        put_png(name, 3, 2, 1, (uint8_t)i, 0);
    }
    struct dataset d = load("train", NULL);
    check_sizes(&d, 7, 2, 3, 1);
    check_names(&d, "0 007 7 9 10 100 18446744073709551617");
    const uint8_t values[] = {3, 4, 5, 1, 0, 2, 6};
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(d.labels[i], i);
        assert_int_equal(d.pixels[i * 6 + 5], values[i]);
    }
    dataset_free(&d);
    assert_null(d.names);
    folder_clear();
    for (size_t i = 0; i < 6; i++) {
        char name[64];
        snprintf(name, sizeof name, "train/%s/x.png", words[i]);
        put_png(name, 3, 2, 1, 0, 0);
    }
    d = load("train", NULL);
    check_names(&d, "10 9 B a b \xc3\xa9t\xc3\xa9");
    dataset_free(&d);
}

/* Classes in turn, files by name; what is hidden or no folder is not counted. */
static void test_turns(void **state)
{
    (void)state;
    folder_clear();
    put_png("train/a/3.png", 2, 2, 1, 13, 0);
    put_png("train/a/1.png", 2, 2, 1, 11, 0);
    put_png("train/a/2.PNG", 2, 2, 3, 12, 12); /* gray, stored as RGB */
    put_png("train/b/1.png", 2, 2, 1, 21, 0);
    put_png("train/b/2.png", 2, 2, 1, 22, 0);
    put_file("train/a/.DS_Store", "x", 1);
    put_file("train/.hidden/x", "x", 1);
    put_file("train/README", "x", 1);
    struct dataset d = load("train", NULL);
    check_sizes(&d, 5, 2, 2, 1);
    check_names(&d, "a b");
    const uint8_t labels[] = {0, 1, 0, 1, 0}, values[] = {11, 21, 12, 22, 13};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(d.labels[i], labels[i]);
        assert_int_equal(d.pixels[4 * i], values[i]);
    }
    dataset_free(&d);
}

static void test_flat(void **state)
{
    (void)state;
    folder_clear();
    put_png("b/1.png", 2, 2, 1, 1, 0);
    put_png("a/1.png", 2, 2, 1, 2, 0);
    refuse_for("t10k", NULL, CAPSNET_ERR_IO, "nor t10k/ with a folder of PNGs for each class");
    put_png("t10k/a/1.png", 2, 2, 1, 3, 0);
    struct dataset d = load("train", NULL);
    check_names(&d, "a b"); /* not t10k */
    assert_int_equal(d.n, 2);
    dataset_free(&d);
    d = load("t10k", NULL);
    check_names(&d, "a");
    assert_int_equal(d.pixels[0], 3);
    dataset_free(&d);
    put_png("train/c/1.png", 2, 2, 1, 4, 0); /* train/ goes first */
    d = load("train", NULL);
    check_names(&d, "c");
    dataset_free(&d);
}

static void test_colour(void **state)
{
    (void)state;
    folder_clear();
    put_png("a/1.png", 2, 1, 1, 50, 0);
    put_png("a/2.png", 2, 1, 3, 60, 61);
    struct dataset d = load("train", NULL);
    check_sizes(&d, 2, 1, 2, 3);
    const uint8_t expected[] = {50, 50, 50, 50, 50, 50, 60, 60, 61, 60, 60, 61};
    assert_memory_equal(d.pixels, expected, 12);
    dataset_free(&d);
}

static void test_bad_files(void **state)
{
    (void)state;
    folder_clear();
    put_png("a/1.png", 28, 28, 1, 0, 0);
    put_png("b/1.png", 28, 28, 1, 0, 0);
    put_png("b/2.png", 28, 20, 1, 0, 0);
    refuse(CAPSNET_ERR_FORMAT, "b/2.png is 28 x 20, but ");
    refuse(CAPSNET_ERR_FORMAT, "a/1.png is 28 x 28; all must be of one size");
    put_png("b/2.png", 20, 28, 1, 0, 0);
    refuse(CAPSNET_ERR_FORMAT, "b/2.png is 20 x 28");
    put_file("b/2.png", "\xff\xd8\xff\xe0 a photograph", 18);
    refuse(CAPSNET_ERR_FORMAT, "b/2.png: this is a JPEG, and only PNG is accepted");
    put_file("b/2.png", "", 0);
    refuse(CAPSNET_ERR_FORMAT, "b/2.png: the image is empty");
    put_file("b/2.png", "\x89PNG\r\n\x1a\n", 8);
    refuse(CAPSNET_ERR_FORMAT, "b/2.png: the PNG ends in the middle of its IHDR");
    unlink(in_folder("b/2.png"));
    put_file("b/notes.txt", "not for training", 16);
    refuse(CAPSNET_ERR_FORMAT, "b/notes.txt: this is not a PNG");
    unlink(in_folder("b/notes.txt"));
    put_png("b/more/1.png", 28, 28, 1, 0, 0);
    refuse(CAPSNET_ERR_FORMAT, "b/more: this is no PNG, but a folder");
    unlink(in_folder("b/more/1.png"));
    rmdir(in_folder("b/more"));
    assert_int_equal(mkfifo(in_folder("b/fifo.png"), 0644), 0);
    refuse(CAPSNET_ERR_FORMAT, "b/fifo.png: this is no PNG"); /* and does not wait for it */
    unlink(in_folder("b/fifo.png"));
    assert_int_equal(symlink("nowhere", in_folder("b/link.png")), 0);
    refuse(CAPSNET_ERR_IO, "b/link.png: cannot read the file: No such file");
    unlink(in_folder("b/link.png"));
    struct dataset d = load("train", NULL); /* nothing bad is left */
    assert_int_equal(d.n, 2);
    dataset_free(&d);
}

static void test_bad_folders(void **state)
{
    (void)state;
    folder_clear();
    refuse(CAPSNET_ERR_IO, "there is neither train-images-idx3-ubyte[.gz] nor train/");
    put_folder("train");
    refuse(CAPSNET_ERR_FORMAT, "train: there is no class");
    put_png("train/1.png", 9, 9, 1, 0, 0); /* no folder around it */
    refuse(CAPSNET_ERR_FORMAT, "train: there is no class");
    put_png("train/a/1.png", 9, 9, 1, 0, 0);
    put_folder("train/empty");
    refuse(CAPSNET_ERR_FORMAT, "train/empty: the class is empty");
    rmdir(in_folder("train/empty"));
    for (size_t j = 0; j < 255; j++) {
        char name[64];
        snprintf(name, sizeof name, "train/%zu/1.png", j);
        put_png(name, 9, 9, 1, 0, 0);
    }
    struct dataset d = load("train", NULL);
    assert_int_equal(d.classes, 256);
    assert_int_equal(d.labels[255], 255);
    assert_string_equal(d.names[255], "a");
    dataset_free(&d);
    put_folder("train/b");
    refuse(CAPSNET_ERR_FORMAT, "train: there are 257 classes, and at most 256 are possible");
}

static void test_idx(void **state)
{
    (void)state;
    uint8_t pixels[4 * 6] = {0}, labels[] = {0, 2, 1, 2};
    folder_clear();
    put_idx("train", 4, 2, 3, pixels, labels);
    put_png("train/a/1.png", 5, 5, 1, 0, 0); /* IDX files go first */
    struct dataset d = load("train", NULL);
    check_sizes(&d, 4, 2, 3, 1);
    assert_int_equal(d.classes, 3);
    assert_null(d.names);
    dataset_free(&d);
    labels[2] = 0;
    put_idx("train", 4, 2, 3, pixels, labels);
    refuse(CAPSNET_ERR_FORMAT, "no training image has label 1, but the labels go up to 2");
    labels[0] = labels[2] = 4;
    put_idx("train", 4, 2, 3, pixels, labels);
    refuse(CAPSNET_ERR_FORMAT, "no training image has label 0");
    unlink(in_folder("train-labels-idx1-ubyte"));
    refuse(CAPSNET_ERR_IO, "train-labels-idx1-ubyte.gz: there is no such file");
}

/* EMNIST Letters' labels are 1 to 26. */
static void test_idx_from_1(void **state)
{
    (void)state;
    const uint8_t pixels[3 * 4] = {0}, labels[] = {3, 1, 2}, gap[] = {3, 1, 3};
    folder_clear();
    put_idx("train", 3, 2, 2, pixels, labels);
    struct dataset d = load("train", NULL);
    check_names(&d, "1 2 3");
    assert_memory_equal(d.labels, ((uint8_t[]){2, 0, 1}), 3);
    dataset_free(&d);
    put_idx("train", 3, 2, 2, pixels, gap);
    refuse(CAPSNET_ERR_FORMAT, "no training image has label 0, but the labels go up to 3");
}

/* A model of three classes, called a, b, c or 0, 1, 2. */
static struct capsnet_model *model_of(int named, size_t channels)
{
    const struct capsnet_shape shape = {
        .height = 18, .width = 18, .channels = channels, .classes = 3,
        .conv1_kernel = 9, .conv1_channels = 1,
        .primary_kernel = 9, .primary_stride = 2, .primary_types = 1, .primary_dims = 2,
        .pose_dims = 2, .routing_iterations = 1, .decoder_hidden = {1, 1},
    };
    struct capsnet_model *model;
    struct capsnet_error error;
    assert_int_equal(model_create(&model, &shape, &(struct capsnet_options){.cpu_level = "ref"}, &error), CAPSNET_OK);
    for (size_t j = 0; named && j < 3; j++)
        model->labels[j][0] = (char)('a' + j);
    return model;
}

/* The labels of a set for that model. */
static void check_labels(const char *set, const struct capsnet_model *model, const char *expected)
{
    struct dataset d = load(set, model);
    char text[32] = "";
    assert_true(d.n < sizeof text);
    for (size_t i = 0; i < d.n; i++)
        text[i] = (char)('0' + d.labels[i]);
    assert_string_equal(text, expected);
    assert_int_equal(d.classes, 3);
    assert_int_equal(d.channels, model->shape.channels);
    dataset_free(&d);
}

static void test_for_a_model(void **state)
{
    (void)state;
    struct capsnet_model *letters = model_of(1, 1), *numbers = model_of(0, 3);
    folder_clear();
    put_png("t10k/c/1.png", 18, 18, 1, 0, 0);
    put_png("t10k/b/1.png", 18, 18, 3, 0, 255); /* colour, which the model has not */
    check_labels("t10k", letters, "12");
    refuse_for("t10k", numbers, CAPSNET_ERR_SHAPE, "have 2 classes, but the model knows 3");
    put_png("t10k/x/1.png", 18, 18, 1, 0, 0);
    refuse_for("t10k", letters, CAPSNET_ERR_SHAPE, "the class \"x\" is none of the model's");
    check_labels("t10k", numbers, "012"); /* none known, as many: by their order */
    put_png("t10k/a/1.png", 18, 18, 1, 0, 0);
    refuse_for("t10k", numbers, CAPSNET_ERR_SHAPE, "have 4 classes, but the model knows 3");

    uint8_t pixels[3 * 4] = {0}, labels[] = {1, 0, 1};
    put_idx("set", 3, 2, 2, pixels, labels);
    struct dataset d = load("set", letters); /* IDX labels stand; classes may be missing */
    assert_memory_equal(d.labels, labels, 3);
    assert_int_equal(d.classes, 3);
    dataset_free(&d);
    labels[1] = 3;
    put_idx("set", 3, 2, 2, pixels, labels);
    refuse_for("set", letters, CAPSNET_ERR_SHAPE, "have 4 classes, but the model knows 3");
    labels[0] = 2; /* 2, 3, 1: all that there are, from 1 */
    put_idx("set", 3, 2, 2, pixels, labels);
    d = load("set", letters);
    assert_memory_equal(d.labels, ((uint8_t[]){1, 2, 0}), 3);
    dataset_free(&d);
    capsnet_model_free(letters);
    capsnet_model_free(numbers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),      cmocka_unit_test(test_turns),
        cmocka_unit_test(test_flat),       cmocka_unit_test(test_colour),
        cmocka_unit_test(test_bad_files),  cmocka_unit_test(test_bad_folders),
        cmocka_unit_test(test_idx),        cmocka_unit_test(test_idx_from_1),
        cmocka_unit_test(test_for_a_model),
    };
    return cmocka_run_group_tests(tests, folder_create, folder_remove);
}
