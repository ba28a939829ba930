/*
 * test_holdout_split.c - holding out whole writers: none on both sides, half of
 * each series, drawn by the seed; and every file of writers that does not fit.
 * SEED repeats the writers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>

#include "model/train/data/holdout_split.h"
#include "model/train/data/random.h"
#include "tests/common/temp_folder.h"

enum { IMAGES = 3000, WRITERS = 150, MOST = 60 };

static struct random dice;
static uint32_t writer[IMAGES];
static uint8_t series[IMAGES];
static const struct writers all = {IMAGES, writer, series};

/* Runs of 1 to MOST images by one writer, some of whom come again; two of three
 * writers are of series 4, the others of series 0. */
static void draw_writers(void)
{
    for (size_t i = 0; i < IMAGES;) {
        const uint32_t number = 7 * (uint32_t)random_below(&dice, WRITERS) + 1000;
        for (size_t run = 1 + random_below(&dice, MOST / 4); run > 0 && i < IMAGES; run--, i++) {
            writer[i] = number;
            series[i] = number % 3 ? 4 : 0;
        }
    }
}

static size_t largest_writer(size_t n)
{
    size_t most = 0;
    for (uint32_t number = 1000; number < 1000 + 7 * WRITERS; number += 7) {
        size_t images = 0;
        for (size_t i = 0; i < n; i++)
            images += writer[i] == number;
        most = images > most ? images : most;
    }
    return most;
}

static uint32_t *split(size_t *n_holdout, size_t n, size_t wanted, uint64_t seed)
{
    uint32_t *index = NULL;
    struct capsnet_error error;
    if (split_writers(&index, n_holdout, &all, n, wanted, seed, &error) != CAPSNET_OK)
        fail_msg("%s", error.text);
    return index;
}

/* Every image once, none held out whose writer is trained on, about as many of
 * each series. */
static void check_split(const uint32_t *index, size_t n_holdout, size_t n, size_t wanted)
{
    const size_t n_train = n - n_holdout;
    uint8_t *seen = calloc(n, 1);
    size_t held[2] = {0};
    assert_non_null(seen);
    for (size_t i = 0; i < n; i++) {
        assert_true(index[i] < n && !seen[index[i]]);
        seen[index[i]] = i < n_train ? 1 : 2;
        held[series[index[i]] == 4] += i >= n_train;
        assert_true(i == 0 || i == n_train || index[i - 1] < index[i]);
    }
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            if (writer[i] == writer[j] && seen[i] != seen[j])
                fail_msg("writer %u is on both sides", writer[i]);
    const size_t slack = largest_writer(n) / 2 + 1;
    for (size_t s = 0; s < 2; s++)
        assert_in_range(held[s], wanted / 2 - slack, wanted / 2 + slack);
    free(seen);
}

static void test_whole_writers(void **state)
{
    (void)state;
    draw_writers();
    size_t first_holdout = 0, different = 0;
    uint32_t *first = split(&first_holdout, IMAGES, 500, 0);
    for (uint64_t seed = 0; seed < 10; seed++) {
        size_t n_holdout = 0, again = 0;
        uint32_t *index = split(&n_holdout, IMAGES, 500, seed);
        uint32_t *same = split(&again, IMAGES, 500, seed);
        check_split(index, n_holdout, IMAGES, 500);
        assert_int_equal(n_holdout, again);
        assert_memory_equal(index, same, sizeof writer);
        different += memcmp(index, first, sizeof writer) != 0;
        free(index);
        free(same);
    }
    assert_int_equal(different, 9);
    size_t n_holdout = 0; /* --limit: the first images alone */
    uint32_t *fewer = split(&n_holdout, IMAGES / 2, 300, 1);
    check_split(fewer, n_holdout, IMAGES / 2, 300);
    free(fewer);
    free(first);
}

static void refuse_split(enum capsnet_status status, size_t wanted, const char *text)
{
    uint32_t *index = NULL;
    size_t n_holdout = 0;
    struct capsnet_error error = {""};
    assert_int_equal(split_writers(&index, &n_holdout, &all, IMAGES, wanted, 1, &error), status);
    if (!strstr(error.text, text))
        fail_msg("it said \"%s\", not \"%s\"", error.text, text);
    assert_null(index);
}

static void test_bad_splits(void **state)
{
    (void)state;
    draw_writers();
    refuse_split(CAPSNET_ERR_ARGUMENT, IMAGES - 1, "images of each series of writers, but series");
    series[IMAGES - 1] = 4;
    for (size_t i = 0; i < IMAGES - 1; i++) /* one of series 4 alone */
        series[i] = 0;
    writer[IMAGES - 1] = 1;
    refuse_split(CAPSNET_ERR_ARGUMENT, 100, "but series 4 has 1");
    writer[IMAGES - 1] = writer[0];
    refuse_split(CAPSNET_ERR_FORMAT, 100, "is of two series");
}

/* ---- The file ------------------------------------------------------------- */

static void put_gz(const char *name, const void *bytes, size_t nbytes)
{
    gzFile file = gzopen(in_folder("%s", name), "wb");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, bytes, (unsigned)nbytes), nbytes);
    assert_int_equal(gzclose(file), Z_OK);
}

static void expect_three(const char *name)
{
    struct writers w;
    struct capsnet_error error;
    if (writers_load(&w, in_folder("%s", name), 3, &error) != CAPSNET_OK)
        fail_msg("%s", error.text);
    assert_int_equal(w.n, 3);
    assert_memory_equal(w.writer, ((uint32_t[]){2154, 0, 999999999}), 12);
    assert_memory_equal(w.series, ((uint8_t[]){4, 0, 255}), 3);
    writers_free(&w);
    assert_null(w.writer);
}

static void test_files(void **state)
{
    (void)state;
    static const char text[] = "2154\t4\n0\t0\n999999999\t255\n";
    put_file("plain", text, sizeof text - 1);
    expect_three("plain");
    put_file("open", text, sizeof text - 2); /* the last line without its end */
    expect_three("open");
    put_file("dos", "2154\t4\r\n0\t0\r\n999999999\t255\r\n", sizeof text - 1 + 3);
    expect_three("dos");
    put_gz("whole.gz", text, sizeof text - 1);
    expect_three("whole.gz");
}

static void refuse_file(const char *name, enum capsnet_status status, const char *text)
{
    struct writers w;
    struct capsnet_error error = {""};
    assert_int_equal(writers_load(&w, in_folder("%s", name), 3, &error), status);
    if (!strstr(error.text, text) || !strstr(error.text, name))
        fail_msg("it said \"%s\", not \"%s\"", error.text, text);
}

static void test_bad_files(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"", "has 0 lines, but there are 3"},
        {"1\t4\n2\t4\n", "has 2 lines, but there are 3"},
        {"1\t4\n2\t4\n3\t4\n4\t4\n", "more lines than the 3 training images"},
        {"1\t4\n2\t4\n3\t4\n\n", "more lines"},
        {"1\t4\n2 4\n3\t4\n", "line 2 is not a writer's number"},
        {"1\t4\n2\t256\n3\t4\n", "line 2 is not"},
        {"1\t4\n2\t4\t1\n3\t4\n", "line 2 is not"},
        {"-1\t4\n", "line 1 is not"},
        {"1\t\n", "line 1 is not"},
        {"\t4\n", "line 1 is not"},
        {"\n1\t4\n", "line 1 is not"},
        {"1234567890\t4\n", "line 1 is not"},
        {"1\t4                                             \n", "line 1 is not"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_file("bad", bad[i].text, strlen(bad[i].text));
        refuse_file("bad", CAPSNET_ERR_FORMAT, bad[i].says);
    }
    refuse_file("none", CAPSNET_ERR_IO, "No such file");
    put_folder("folder");
    refuse_file("folder", CAPSNET_ERR_IO, "cannot ");
    size_t nbytes;
    put_gz("cut.gz", "1\t4\n2\t4\n3\t4\n", 12);
    uint8_t *bytes = get_file("cut.gz", &nbytes);
    put_file("cut.gz", bytes, nbytes - 6);
    refuse_file("cut.gz", CAPSNET_ERR_FORMAT, "the gzip data is damaged");
    bytes[nbytes - 5] ^= 1; /* its CRC */
    put_file("cut.gz", bytes, nbytes);
    refuse_file("cut.gz", CAPSNET_ERR_FORMAT, "the gzip data is damaged");
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_writers),
        cmocka_unit_test(test_bad_splits),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_bad_files),
    };
    const char *seed = getenv("SEED");
    dice.state = seed ? (uint64_t)strtoull(seed, NULL, 0) : (uint64_t)getpid();
    printf("SEED=%llu\n", (unsigned long long)dice.state);
    return cmocka_run_group_tests(tests, folder_create, folder_remove);
}
