/* test_text.c - JSON out: numbers, strings, the growing text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/basics/text.h"

static const char *printed(float value)
{
    static char copy[64];
    struct text text = {0};
    json_add_float(&text, value);
    assert_false(text.failed);
    snprintf(copy, sizeof copy, "%s", text.bytes);
    text_free(&text);
    return copy;
}

/* The fewest of 6 to 9 significant digits that read back. */
static int digits_needed(float value)
{
    char text[40];
    for (int digits = 6; digits < 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value)
            return digits;
    }
    return 9;
}

static int digits_of(const char *number)
{
    int n = 0, leading = 1;
    for (; *number && *number != 'e'; number++) {
        if (*number >= '1' && *number <= '9')
            leading = 0;
        n += !leading && *number >= '0' && *number <= '9';
    }
    return n;
}

static void known_numbers(void **state)
{
    (void)state;
    assert_string_equal(printed(0.0f), "0");
    assert_string_equal(printed(1.0f), "1");
    assert_string_equal(printed(-1.0f), "-1");
    assert_string_equal(printed(0.5f), "0.5");
    assert_string_equal(printed(0.1f), "0.1");
    assert_string_equal(printed(-0.25f), "-0.25");
    assert_string_equal(printed(0.974f), "0.974");
    assert_string_equal(printed(0.0001f), "0.0001");
    assert_string_equal(printed(1e-5f), "1e-05");
    assert_string_equal(printed(16777216.0f), "16777216");
    assert_string_equal(printed(0.99999994f), "0.99999994");
    assert_string_equal(printed(NAN), "null");
    assert_string_equal(printed(INFINITY), "null");
    assert_string_equal(printed(-INFINITY), "null");
}

static void check_number(float value)
{
    const char *text = printed(value);
    if (strtof(text, NULL) != value)
        fail_msg("%a is printed as %s", (double)value, text);
    if (digits_of(text) > digits_needed(value))
        fail_msg("%a is printed as %s, %d digits would do", (double)value, text,
                 digits_needed(value));
    if (value != 0 && (text[0] == '.' || strchr(text, '+') == text))
        fail_msg("%s is not JSON", text);
}

static void every_number_reads_back(void **state)
{
    (void)state;
    const char *given = getenv("SEED");
    uint32_t x = given ? (uint32_t)strtoul(given, NULL, 0) : 20171026;
    printf("SEED=%u\n", x);
    for (int i = 0; i < 300000; i++) {
        x = x * 1664525u + 1013904223u;
        uint32_t bits = x ^ (x >> 15);
        if (i % 2) /* the range of probabilities and poses */
            bits = (bits & 0x807fffff) | (113 + bits % 14) << 23;
        float value;
        memcpy(&value, &bits, sizeof value);
        if (isfinite(value))
            check_number(value);
    }
    /* The neighbours of every power of ten and of two. */
    for (int e = -44; e < 38; e++) {
        float edges[] = {powf(10, (float)e), ldexpf(1, e)};
        for (int i = 0; i < 2; i++) {
            check_number(edges[i]);
            check_number(nextafterf(edges[i], 0));
            check_number(nextafterf(edges[i], INFINITY));
        }
    }
}

static void arrays_strings_and_growth(void **state)
{
    (void)state;
    struct text text = {0};
    const float values[] = {0, 0.5f, NAN, -1, 2, 3};
    json_add_rows(&text, values, 2, 3);
    json_add_floats(&text, values, 0);
    json_add_string(&text, "a\"\\\n\x01z");
    json_add_string(&text, NULL);
    assert_string_equal(text.bytes, "[[0,0.5,null],[-1,2,3]][]\"a\\\"\\\\\\n\\u0001z\"null");
    size_t before = text.n;
    for (int i = 0; i < 1000; i++)
        text_addf(&text, "%03d", i);
    assert_int_equal(text.n, before + 3000);
    size_t n;
    char *bytes = text_take(&text, &n);
    assert_int_equal(n, before + 3000);
    assert_int_equal(strlen(bytes), n);
    assert_string_equal(bytes + n - 6, "998999");
    assert_null(text.bytes);
    free(bytes);
}

static void a_failure_is_remembered(void **state)
{
    (void)state;
    struct text text = {0};
    text_add(&text, "abc");
    assert_null(text_add_space(&text, SIZE_MAX / 2));
    text_add(&text, "def");
    size_t n = 7;
    assert_null(text_take(&text, &n));
    assert_int_equal(n, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_numbers),
        cmocka_unit_test(every_number_reads_back),
        cmocka_unit_test(arrays_strings_and_growth),
        cmocka_unit_test(a_failure_is_remembered),
    };
    return cmocka_run_group_tests_name("server text", tests, NULL, NULL);
}
