/* test_base64.c - RFC 4648's vectors, every length, and text that is not base64. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/basics/base64.h"

static const char *const vectors[][2] = {{"", ""},
                                         {"f", "Zg=="},
                                         {"fo", "Zm8="},
                                         {"foo", "Zm9v"},
                                         {"foob", "Zm9vYg=="},
                                         {"fooba", "Zm9vYmE="},
                                         {"foobar", "Zm9vYmFy"}};

/* Decodes into a buffer of exactly the size that the header promises to be
 * enough, so that a sanitizer sees a write past it.  Returns the bytes, to be
 * freed, or NULL. */
static uint8_t *decode(size_t *nbytes, const char *text, size_t text_nbytes)
{
    uint8_t *bytes = malloc(text_nbytes * 3 / 4 + 3);
    assert_non_null(bytes);
    if (base64_decode(bytes, nbytes, text, text_nbytes) == 0)
        return bytes;
    free(bytes);
    return NULL;
}

static void test_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        const char *plain = vectors[i][0], *coded = vectors[i][1];
        char text[16];
        size_t nbytes;
        assert_int_equal(base64_encoded_size(strlen(plain)), strlen(coded) + 1);
        base64_encode(text, (const uint8_t *)plain, strlen(plain));
        assert_string_equal(text, coded);
        uint8_t *bytes = decode(&nbytes, coded, strlen(coded));
        assert_non_null(bytes);
        assert_int_equal(nbytes, strlen(plain));
        assert_memory_equal(bytes, plain, nbytes);
        free(bytes);
    }
}

static void test_every_byte_and_length(void **state)
{
    uint8_t bytes[300];
    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 167 + i / 7);
    for (size_t n = 0; n <= sizeof bytes; n++) {
        char *text = malloc(base64_encoded_size(n));
        size_t nbytes;
        assert_non_null(text);
        base64_encode(text, bytes, n);
        assert_int_equal(strlen(text) + 1, base64_encoded_size(n));
        uint8_t *back = decode(&nbytes, text, strlen(text));
        assert_non_null(back);
        assert_int_equal(nbytes, n);
        assert_memory_equal(back, bytes, n);
        free(back);
        free(text);
    }
}

static void test_white_space(void **state)
{
    static const char text[] = " Zm9v\r\nYm\tE\n=\n ";
    size_t nbytes;
    (void)state;
    uint8_t *bytes = decode(&nbytes, text, sizeof text - 1);
    assert_non_null(bytes);
    assert_int_equal(nbytes, 5);
    assert_memory_equal(bytes, "fooba", 5);
    free(bytes);
}

static void test_not_base64(void **state)
{
    static const char *const bad[] = {
        "Z", "Zg=", "Zm9vY", "Zg===", "=", "==", "====", "Z===", "=Zg=", "Zg==Zg==", "Zg=g",
        "Zm9v=", "Zm9v====", "Zm9\xc3", "Zm,9", "Zm9v!",
        "Zh==", "Zm9=", "Zh", "Zm9" /* bits that padding cuts off, not 0 */};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        size_t nbytes = 12345;
        if (decode(&nbytes, bad[i], strlen(bad[i])))
            fail_msg("accepted: %s", bad[i]);
        assert_int_equal(nbytes, 12345);
    }
    size_t nbytes;
    assert_null(decode(&nbytes, "Zm\0v", 4)); /* the length counts, not a 0 */
}

/* What URLs and tokens carry: the other alphabet, no padding (RFC 4648 sections 5, 3.2). */
static void test_url_safe_and_unpadded(void **state)
{
    static const char *const CASES[][2] = {
        {"-_-_", "\xfb\xff\xbf"}, {"+/-_", "\xfb\xff\xbf"}, {"Zg", "f"}, {"Zm8", "fo"},
        {"Zm9vYg", "foob"}, {" Zm9v\nYmE ", "fooba"}, {"__8=", "\xff\xff"}, {"_w", "\xff"}};
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        size_t nbytes;
        uint8_t *bytes = decode(&nbytes, CASES[i][0], strlen(CASES[i][0]));
        if (!bytes || nbytes != strlen(CASES[i][1]) || memcmp(bytes, CASES[i][1], nbytes) != 0)
            fail_msg("\"%s\"", CASES[i][0]);
        free(bytes);
    }
}

/* Every single character in every place of a group: accepted exactly when it is of one
 * of the alphabets.  White space leaves three characters, which are a whole group too. */
static void test_every_character(void **state)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    (void)state;
    for (int c = 1; c < 256; c++) {
        for (size_t at = 0; at < 4; at++) {
            char text[] = "AAAA";
            size_t nbytes;
            text[at] = (char)c;
            uint8_t *bytes = decode(&nbytes, text, 4);
            const char *found = strchr(alphabet, c == '-' ? '+' : c == '_' ? '/' : c);
            if ((c == '=' && at == 3) || strchr(" \t\r\n", c)) {
                assert_non_null(bytes);
                assert_int_equal(nbytes, 2);
            } else if (!found) {
                assert_null(bytes);
            } else {
                assert_non_null(bytes);
                assert_int_equal(bytes[0] << 16 | bytes[1] << 8 | bytes[2],
                                 (found - alphabet) << (18 - 6 * at));
            }
            free(bytes);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),      cmocka_unit_test(test_every_byte_and_length),
        cmocka_unit_test(test_white_space),  cmocka_unit_test(test_not_base64),
        cmocka_unit_test(test_url_safe_and_unpadded),
        cmocka_unit_test(test_every_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
