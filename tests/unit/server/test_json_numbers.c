/* test_json_numbers.c - arrays of numbers in JSON: found, read, refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/input/json_numbers.h"

static uint64_t seed;

static uint64_t next_random(void)
{
    uint64_t z = seed += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* ---- Finding ----------------------------------------------------------------- */

static void arrays_are_found(void **state)
{
    (void)state;
    static const struct {
        const char *json, *found; /* NULL: nothing */
    } CASES[] = {
        {"{\"inputs\":[{\"data\":[1,2]}]}", "[1,2]"},
        {"{\"inputs\":[{\"data\" :\n\t[ [1], [2] ] }]}", "[ [1], [2] ]"},
        {"{\"inputs\":[{\"data\":[]}]}", "[]"},
        {"{\"inputs\":[{\"data\":[NaN,true]}]}", "[NaN,true]"},
        {"{\"inputs\":[{\"x\":\"\\\"data\\\":[1]\",\"data\":[2]}]}", "[2]"},
        {"{\"inputs\":[{\"x\":\"\\\\\",\"data\":[2]}]}", "[2]"},
        {"{\"inputs\":[{\"a\":\"data\",\"data\":[3]}]}", "[3]"},
        {"{\"inputs\":[{\"data\":[\"x\"],\"data\":[4]}]}", "[4]"},
        {"{\"inputs\":[{\"data\":[{}],\"data\":[5]}]}", "[5]"},
        {"{\"inputs\":[{\"shape\":[1,2],\"parameters\":{\"data\":[1]},\"data\":[6]}]}", "[6]"},
        {"{\"parameters\":{\"data\":[1]},\"inputs\":[{\"data\":[7]}]}", "[7]"},
        {"{\"inputs\":[{},{\"data\":[8]}]}", "[8]"},
        {"{\"inputs\":[{\"data\":[\"aGk=\"]}]}", NULL},
        {"{\"inputs\":[{\"data\":1,\"x\":[1]}]}", NULL},
        {"{\"inputs\":[{\"data\":{\"data\":[1]}}]}", NULL},
        {"{\"inputs\":[{\"data\":[1,2}", NULL},
        {"{\"inputs\":[{\"data\":[1,2", NULL},
        {"{\"inputs\":[{\"data\"[1]", NULL},
        {"{\"inputs\":[{\"mydata\":[1],\"data2\":[1]", NULL},
        {"{\"inputs\":[{\"data", NULL},
        {"{\"inputs\":[{\"data\\", NULL},
        {"{\"data\":[1]}", NULL},
        {"{\"inputs\":{\"x\":{\"data\":[1]}}}", NULL},
        {"{\"inputs\":[[\"data\",[1]]]}", NULL},
        {"{\"inputs\":[],\"outputs\":[{\"data\":[1]}]}", NULL},
        {"[\"inputs\",[{\"data\":[1]}]]", NULL},
        {"]]}\"inputs\":[{\"data\":[1]", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        /* A block of exactly its size, for a sanitizer to watch. */
        size_t nbytes = strlen(CASES[i].json), at = 0;
        char *bytes = malloc(nbytes + !nbytes);
        assert_non_null(bytes);
        memcpy(bytes, CASES[i].json, nbytes);
        struct numbers_scan scan = {.bytes = bytes, .nbytes = nbytes};
        size_t n = numbers_next(&scan, &at);
        if (!CASES[i].found && n)
            fail_msg("case %zu: found %zu bytes at %zu", i, n, at);
        if (CASES[i].found) {
            assert_int_equal(n, strlen(CASES[i].found));
            assert_memory_equal(bytes + at, CASES[i].found, n);
        }
        free(bytes);
    }
}

static void all_arrays_are_found(void **state)
{
    (void)state;
    static const char JSON[] = "{\"inputs\":[{\"data\":[1],\"shape\":[1]},{\"data\":[[2],[3]]}],"
                               "\"inputs\":[{\"data\":[4]}]}";
    struct numbers_scan scan = {.bytes = JSON, .nbytes = sizeof JSON - 1};
    size_t at;
    static const char *const FOUND[] = {"[1]", "[[2],[3]]", "[4]"};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(numbers_next(&scan, &at), strlen(FOUND[i]));
        assert_memory_equal(JSON + at, FOUND[i], strlen(FOUND[i]));
    }
    assert_int_equal(numbers_next(&scan, &at), 0);
}

/* ---- Reading ------------------------------------------------------------------ */

/* Reads an array from a block of exactly its size. */
static enum numbers_status read_copy(float *values, const size_t *dims, size_t rank,
                                     const char *text, size_t *n)
{
    char *copy = malloc(strlen(text));
    assert_non_null(copy);
    memcpy(copy, text, strlen(text));
    enum numbers_status status = numbers_read(values, dims, rank, copy, n);
    free(copy);
    return status;
}

static void numbers_are_rounded_as_strtof_rounds(void **state)
{
    (void)state;
    static const char *const FIXED[] = {
        "0", "-0", "0.0", "1", "255", "1e0", "1E+2", "1e-2", "-1.5e-3", "0.1", "0.3333333333333333",
        "0.0000000000000000000000001", "1e-45", "1e-46", "1.17549435e-38", "3.4028235e38",
        "3.5e38", "1e400", "-1e400", "1e-400", "123456789012345678901234567890",
        "16777217", "0.50000002980232238", "0.500000029802322387695312", "9007199254740993",
        "8388608.5", "8388609.5", "18446744073709551615", "1e99999", "0e99999", "1e-99999",
        "0.99215686321258544921875", "0.000000000000000000000000000000000000000000001401298464",
    };
    const size_t dims[] = {1};
    for (size_t i = 0; i < 100000; i++) {
        char number[64], text[80];
        if (i < sizeof FIXED / sizeof *FIXED) {
            strcpy(number, FIXED[i]);
        } else {
            static const char *const FORMATS[] = {"%.17g", "%.9g", "%.6f", "%.20f", "%.16e", "%.3e"};
            double value = (double)(next_random() >> 11) * 0x1p-53;
            if (i % 3 == 0) /* exactly a float, as clients in Python send them */
                value = (double)(float)value;
            else if (i % 3 == 1) /* just beside the middle of two floats */
                value = ldexp((double)(next_random() >> 40) + 0.5, -24) +
                        ldexp((double)(next_random() % 5) - 2, -54);
            value = ldexp(value, (int)(next_random() % 9) * 3 - 12);
            snprintf(number, sizeof number, FORMATS[i % 6], next_random() % 2 ? value : -value);
        }
        snprintf(text, sizeof text, "[%s]", number);
        float value = -7, expected = strtof(number, NULL);
        size_t n = 0;
        if (read_copy(&value, dims, 1, text, &n) != NUMBERS_OK || n != 1 ||
            memcmp(&value, &expected, sizeof value) != 0)
            fail_msg("%s is read as %.9g, not %.9g", number, (double)value, (double)expected);
    }
}

static void brackets_follow_the_shape(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum numbers_status status;
    } CASES[] = {
        {"[1,2,3,4,5,6]", NUMBERS_OK},
        {"[ 1 ,2,\n3,4,5,6\t]", NUMBERS_OK},
        {"[[[1],[2],[3]],[[4],[5],[6]]]", NUMBERS_OK},
        {"[ [ [1],[2],[3] ] ,[[4],[5],[6]] ]", NUMBERS_OK},
        {"[]", NUMBERS_SHAPE},
        {"[1,2,3,4,5]", NUMBERS_SHAPE},
        {"[1,2,3,4,5,6,7]", NUMBERS_SHAPE},
        {"[[1,2,3],[4,5,6]]", NUMBERS_SHAPE},
        {"[[[1,2],[3]],[[4],[5],[6]]]", NUMBERS_SHAPE},
        {"[[[1],[2]],[[3],[4]],[[5],[6]]]", NUMBERS_SHAPE},
        {"[[[1],[2],[3]],[[4],[5],[6]],[]]", NUMBERS_SHAPE},
        {"[[[[1]]]]", NUMBERS_SHAPE},
        {"[1,[2,3,4,5,6]]", NUMBERS_SHAPE},
        {"[[[]]]", NUMBERS_SHAPE},
        {"[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]", NUMBERS_SHAPE},
        {"[1,,2]", NUMBERS_MALFORMED},
        {"[,1]", NUMBERS_MALFORMED},
        {"[1,]", NUMBERS_SHAPE},
        {"[1 2]", NUMBERS_MALFORMED},
        {"[NaN,1,2,3,4,5]", NUMBERS_MALFORMED},
        {"[null,1,2,3,4,5]", NUMBERS_MALFORMED},
        {"[Infinity]", NUMBERS_MALFORMED},
        {"[01]", NUMBERS_MALFORMED},
        {"[+1]", NUMBERS_MALFORMED},
        {"[.5]", NUMBERS_MALFORMED},
        {"[5.]", NUMBERS_MALFORMED},
        {"[1e]", NUMBERS_MALFORMED},
        {"[1e+]", NUMBERS_MALFORMED},
        {"[-]", NUMBERS_MALFORMED},
        {"[0x1]", NUMBERS_MALFORMED},
        {"[1f]", NUMBERS_MALFORMED},
    };
    const size_t dims[] = {2, 3, 1};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        size_t n = 0;
        float values[6] = {0};
        enum numbers_status status = read_copy(values, dims, 3, CASES[i].text, &n);
        if (status != CASES[i].status)
            fail_msg("%s: %d instead of %d", CASES[i].text, status, CASES[i].status);
        for (size_t k = 0; status == NUMBERS_OK && k < 6; k++)
            assert_true(values[k] == (float)(k + 1));
    }
}

/* Single bytes of a good array are changed; whatever is still a whole array is
 * read within its memory. */
static void damaged_arrays_stay_in_bounds(void **state)
{
    (void)state;
    #define BEFORE "{\"inputs\":[{\"data\":"
    static const char GOOD[] = BEFORE "[[0.25,1e-2],[-3,44.5e1]]}]}";
    enum { FIRST = sizeof BEFORE - 1 };
    static const char BYTES[] = "[],.-+eE0123456789 \"{}x";
    const size_t dims[] = {2, 2};
    size_t whole = 0;
    for (size_t i = 0; i < 200000; i++) {
        char text[sizeof GOOD];
        memcpy(text, GOOD, sizeof GOOD);
        for (size_t k = next_random() % 4; k < 4; k++)
            text[FIRST + next_random() % (sizeof GOOD - 1 - FIRST)] = BYTES[next_random() % (sizeof BYTES - 1)];
        struct numbers_scan scan = {.bytes = text, .nbytes = sizeof GOOD - 1};
        size_t at = 0, n = 0, nbytes = numbers_next(&scan, &at);
        if (!nbytes)
            continue;
        char *copy = malloc(nbytes);
        float *values = malloc(4 * sizeof *values);
        assert_non_null(copy);
        assert_non_null(values);
        memcpy(copy, text + at, nbytes);
        whole += numbers_read(values, dims, 2, copy, &n) == NUMBERS_OK;
        assert_true(n <= 4);
        free(values);
        free(copy);
    }
    assert_true(whole > 100); /* some damage makes another good array */
}

/* 64 images of 28 x 28 as Python writes floats: their time is printed, and is
 * bounded by 200 ms of this thread, room for valgrind; it takes 2. */
static void many_numbers_are_read_fast(void **state)
{
    (void)state;
    const size_t dims[] = {64, 28, 28}, count = 64 * 28 * 28;
    char *text = malloc(count * 24 + 100), *to = text;
    float *values = malloc(count * sizeof *values), *expected = malloc(count * sizeof *expected);
    assert_non_null(text);
    assert_non_null(values);
    assert_non_null(expected);
    to += sprintf(to, "{\"inputs\":[{\"data\":");
    for (size_t i = 0; i < count; i++) {
        expected[i] = (float)(next_random() % 256) / 255.0f;
        to += sprintf(to, "%s%.17g%s",
                      i % 784 == 0  ? i ? ",[[" : "[[["
                      : i % 28 == 0 ? ",["
                                    : ",",
                      (double)expected[i], i % 784 == 783 ? "]]" : i % 28 == 27 ? "]" : "");
    }
    strcpy(to, "]}");
    struct timespec start, end;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
    size_t at = 0, n = 0;
    struct numbers_scan scan = {.bytes = text, .nbytes = strlen(text)};
    assert_true(numbers_next(&scan, &at) > count);
    assert_int_equal(numbers_read(values, dims, 3, text + at, &n), NUMBERS_OK);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    double ms = (double)(end.tv_sec - start.tv_sec) * 1e3 +
                (double)(end.tv_nsec - start.tv_nsec) / 1e6;
    printf("64 x 28 x 28 numbers, %zu bytes: %.2f ms\n", strlen(text), ms);
    assert_memory_equal(values, expected, count * sizeof *values);
    assert_true(ms < 200);
    free(text);
    free(values);
    free(expected);
}

int main(void)
{
    const char *given = getenv("SEED");
    seed = given && *given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    printf("SEED=%llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrays_are_found),
        cmocka_unit_test(all_arrays_are_found),
        cmocka_unit_test(numbers_are_rounded_as_strtof_rounds),
        cmocka_unit_test(brackets_follow_the_shape),
        cmocka_unit_test(damaged_arrays_stay_in_bounds),
        cmocka_unit_test(many_numbers_are_read_fast),
    };
    return cmocka_run_group_tests_name("numbers", tests, NULL, NULL);
}
