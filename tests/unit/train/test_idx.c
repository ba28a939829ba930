/*
 * test_idx.c - MNIST's files: made here in every good and bad form, and the
 * real ones where they are (MNIST_DIR, ../shared/mnist or data).
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
#include <zlib.h>

#include "model/train/data/idx.h"

static char folder[4096];

/* A small data set: 3 images of 2 x 4, labels 1, 0, 6. */
static const uint8_t good_images[] = {0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 4,
                                      1, 2, 3, 4, 5, 6, 7, 8, 255, 10, 11, 12, 13, 14, 15, 16,
                                      17, 18, 19, 20, 21, 22, 23, 24};
static const uint8_t good_labels[] = {0, 0, 8, 1, 0, 0, 0, 3, 1, 0, 6};
static const char images_name[] = "t-images-idx3-ubyte", labels_name[] = "t-labels-idx1-ubyte";

static const char *in_folder(const char *name, const char *ending)
{
    static char path[8192];
    snprintf(path, sizeof path, "%s/%s%s", folder, name, ending);
    return path;
}

static void put_plain(const char *name, const char *ending, const void *bytes, size_t nbytes)
{
    FILE *file = fopen(in_folder(name, ending), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, nbytes, file), nbytes);
    assert_int_equal(fclose(file), 0);
}

static void put_gz(const char *name, const void *bytes, size_t nbytes)
{
    gzFile file = gzopen(in_folder(name, ".gz"), "wb");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, bytes, (unsigned)nbytes), nbytes);
    assert_int_equal(gzclose(file), Z_OK);
}

static void clear(void)
{
    unlink(in_folder(images_name, ""));
    unlink(in_folder(images_name, ".gz"));
    unlink(in_folder(labels_name, ""));
    unlink(in_folder(labels_name, ".gz"));
}

static void put_good(void)
{
    clear();
    put_plain(images_name, "", good_images, sizeof good_images);
    put_plain(labels_name, "", good_labels, sizeof good_labels);
}

static void check_good(void)
{
    struct dataset dataset;
    struct capsnet_error error = {""};
    enum capsnet_status status = dataset_load_idx(&dataset, folder, "t", &error);
    if (status)
        fail_msg("%s", error.text);
    assert_int_equal(dataset.n, 3);
    assert_int_equal(dataset.height, 2);
    assert_int_equal(dataset.width, 4);
    assert_int_equal(dataset.channels, 1);
    assert_int_equal(dataset.classes, 7);
    assert_memory_equal(dataset.pixels, good_images + 16, 24);
    assert_memory_equal(dataset.labels, good_labels + 8, 3);
    dataset_free(&dataset);
    assert_null(dataset.pixels);
    assert_null(dataset.labels);
    assert_int_equal(dataset.n, 0);
    dataset_free(&dataset); /* harmless */
}

/* Loading must fail so, with a message that has the fragment, and leave the
 * out-parameter alone. */
static void refuse(enum capsnet_status expected, const char *fragment)
{
    struct dataset dataset, before;
    memset(&dataset, 0x5a, sizeof dataset);
    memcpy(&before, &dataset, sizeof before);
    struct capsnet_error error = {""};
    enum capsnet_status status = dataset_load_idx(&dataset, folder, "t", &error);
    if (status != expected || !strstr(error.text, fragment))
        fail_msg("status %d, \"%s\"; it should say \"%s\"", (int)status, error.text, fragment);
    assert_memory_equal(&dataset, &before, sizeof before);
}

static void test_plain_and_gzipped(void **state)
{
    (void)state;
    put_good();
    check_good();
    put_gz(images_name, good_images, sizeof good_images);
    unlink(in_folder(images_name, ""));
    check_good(); /* one of each */
    put_gz(labels_name, good_labels, sizeof good_labels);
    unlink(in_folder(labels_name, ""));
    check_good();
    clear();
    put_plain(images_name, ".gz", good_images, sizeof good_images); /* named .gz, but plain */
    put_gz(labels_name, good_labels, sizeof good_labels);
    check_good();
}

static void test_missing(void **state)
{
    (void)state;
    clear();
    refuse(CAPSNET_ERR_IO, "t-images-idx3-ubyte.gz: there is no such file, nor one without .gz");
    put_plain(images_name, "", good_images, sizeof good_images);
    refuse(CAPSNET_ERR_IO, "t-labels-idx1-ubyte.gz: there is no such file");
    unlink(in_folder(images_name, ""));
    assert_int_equal(mkdir(in_folder(images_name, ""), 0755), 0);
    refuse(CAPSNET_ERR_IO, "t-images-idx3-ubyte: cannot read the file: Is a directory");
    rmdir(in_folder(images_name, ""));
    /* A link to itself: there, but not to be opened; the .gz is not asked. */
    assert_int_equal(symlink(images_name, in_folder(images_name, "")), 0);
    put_gz(images_name, good_images, sizeof good_images);
    refuse(CAPSNET_ERR_IO, "t-images-idx3-ubyte: cannot open the file: Too many levels");
}

static void test_every_truncation(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof good_images; n++) {
        put_good();
        put_plain(images_name, "", good_images, n);
        refuse(CAPSNET_ERR_FORMAT, n < 16 ? "images-idx3-ubyte: the file is cut short in its header"
                                          : "the file is cut short in its pixels");
    }
    for (size_t n = 0; n < sizeof good_labels; n++) {
        put_good();
        put_plain(labels_name, "", good_labels, n);
        refuse(CAPSNET_ERR_FORMAT, n < 8 ? "labels-idx1-ubyte: the file is cut short in its header"
                                         : "the file is cut short in its labels");
    }
}

static void test_damaged_gzip(void **state)
{
    (void)state;
    put_good();
    put_gz(images_name, good_images, sizeof good_images);
    unlink(in_folder(images_name, ""));
    uint8_t bytes[256];
    FILE *file = fopen(in_folder(images_name, ".gz"), "rb");
    assert_non_null(file);
    size_t nbytes = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    assert_in_range(nbytes, 20, sizeof bytes - 1);
    check_good();
    /* From 2 bytes on it is gzip; the last 8 are CRC and length. */
    for (size_t n = 2; n < nbytes; n++) {
        put_plain(images_name, ".gz", bytes, n);
        refuse(CAPSNET_ERR_FORMAT, n < nbytes - 8 ? "images-idx3-ubyte.gz: " : "damaged at its end");
    }
    bytes[nbytes - 6] ^= 1;
    put_plain(images_name, ".gz", bytes, nbytes);
    refuse(CAPSNET_ERR_FORMAT, "the gzip data is damaged");
    bytes[nbytes - 6] ^= 1;
    bytes[10] |= 6; /* a reserved block type */
    put_plain(images_name, ".gz", bytes, nbytes);
    refuse(CAPSNET_ERR_FORMAT, "the gzip data is damaged in its header");
}

static void test_bad_headers(void **state)
{
    (void)state;
    static const struct {
        int labels; /* whose byte is changed */
        size_t at;
        uint8_t value;
        const char *says;
    } cases[] = {
        {0, 3, 1, "magic number is 0x00000801 where 0x00000803 belongs"},
        {0, 2, 9, "magic number is 0x00000903"},
        {0, 0, 0x50, "magic number is 0x50000803"},
        {1, 3, 3, "labels-idx1-ubyte: the magic number is 0x00000803 where 0x00000801 belongs"},
        {0, 7, 0, "the header states 0 images"},
        {0, 11, 0, "the header states 0 pixels"},
        {0, 15, 0, "the header states 0 pixels"},
        {1, 7, 0, "the header states 0 labels"},
        {0, 4, 0xff, "states 4278190083 images of 2 x 4, more than is sane"},
        {0, 8, 0xff, "more than is sane"},
        {0, 12, 0xff, "more than is sane"},
        {0, 10, 0x20, "states 3 images of 8194 x 4, more than is sane"},
        {0, 4, 0x06, "cut short in its pixels: 24 bytes of 805306392"},
        {0, 7, 4, "cut short in its pixels: 24 bytes of 32"},
        {0, 7, 2, "images-idx3-ubyte: the file is longer than its header says"},
        {1, 7, 2, "has 2 labels for 3 images"},
        {1, 7, 4, "has 4 labels for 3 images"},
        {1, 4, 0xff, "has 4278190083 labels for 3 images"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t images[sizeof good_images], labels[sizeof good_labels];
        memcpy(images, good_images, sizeof images);
        memcpy(labels, good_labels, sizeof labels);
        (cases[i].labels ? labels : images)[cases[i].at] = cases[i].value;
        clear();
        put_plain(images_name, "", images, sizeof images);
        put_plain(labels_name, "", labels, sizeof labels);
        refuse(CAPSNET_ERR_FORMAT, cases[i].says);
    }
}

static void test_too_long(void **state)
{
    (void)state;
    uint8_t longer[sizeof good_images + 1] = {0};
    put_good();
    memcpy(longer, good_labels, sizeof good_labels);
    put_plain(labels_name, "", longer, sizeof good_labels + 1);
    refuse(CAPSNET_ERR_FORMAT, "labels-idx1-ubyte: the file is longer");
    put_good();
    memcpy(longer, good_images, sizeof good_images);
    put_gz(images_name, longer, sizeof longer);
    unlink(in_folder(images_name, ""));
    refuse(CAPSNET_ERR_FORMAT, "images-idx3-ubyte.gz: the file is longer");
}

/* Prefix of one real set: count, pixel sum and label sum, worked out with
 * another program. */
static void check_real(const char *where, const char *prefix, size_t n, uint64_t pixel_sum,
                       uint64_t label_sum)
{
    struct dataset dataset;
    struct capsnet_error error = {""};
    if (dataset_load_idx(&dataset, where, prefix, &error))
        fail_msg("%s", error.text);
    assert_int_equal(dataset.n, n);
    assert_int_equal(dataset.height, 28);
    assert_int_equal(dataset.width, 28);
    assert_int_equal(dataset.classes, 10);
    uint64_t pixels = 0, labels = 0;
    for (size_t i = 0; i < n * 28 * 28; i++)
        pixels += dataset.pixels[i];
    for (size_t i = 0; i < n; i++)
        labels += dataset.labels[i];
    assert_int_equal(pixels, pixel_sum);
    assert_int_equal(labels, label_sum);
    dataset_free(&dataset);
}

static void test_real_mnist(void **state)
{
    (void)state;
    const char *folders[] = {getenv("MNIST_DIR"), "../shared/mnist", "data"};
    for (size_t i = 0; i < 3; i++) {
        struct dataset dataset;
        struct capsnet_error error;
        enum capsnet_status status =
            folders[i] ? dataset_load_idx(&dataset, folders[i], "t10k", &error) : CAPSNET_ERR_IO;
        if (status == CAPSNET_ERR_IO)
            continue;
        assert_int_equal(status, CAPSNET_OK);
        dataset_free(&dataset);
        check_real(folders[i], "t10k", 10000, 264923200, 44434);
        check_real(folders[i], "train", 60000, 1567298545, 267236);
        return;
    }
    fail_msg("MNIST is neither in MNIST_DIR, ../shared/mnist nor data: `make data` brings it");
}

static int set_up(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/capsnet-XXXXXX", base ? base : P_tmpdir);
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    clear();
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_and_gzipped), cmocka_unit_test(test_missing),
        cmocka_unit_test(test_every_truncation),  cmocka_unit_test(test_damaged_gzip),
        cmocka_unit_test(test_bad_headers),       cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_real_mnist),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
