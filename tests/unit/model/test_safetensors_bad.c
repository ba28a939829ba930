/*
 * test_safetensors_bad.c - every way in which a weights file can be bad.
 *
 * Bad files are parsed from a heap block of their exact size, so that a
 * sanitizer or valgrind sees a read past the end.  SEED repeats the random
 * part.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/common/safetensors_sample.h"

/* A file of this header text and zeroed data must be refused as malformed,
 * with a message that names the file and has the fragment. */
static void refuse(const char *header, size_t header_nbytes, size_t data_nbytes,
                   const char *fragment)
{
    size_t nbytes = 8 + header_nbytes + data_nbytes;
    unsigned char *bytes = calloc(1, nbytes), *copy;
    for (size_t i = 0; i < 8; i++)
        bytes[i] = (unsigned char)((uint64_t)header_nbytes >> 8 * i);
    memcpy(bytes + 8, header, header_nbytes);
    struct safetensors *file;
    struct capsnet_error error;
    enum capsnet_status status = parse_copy(&file, &copy, bytes, nbytes, &error);
    if (status != CAPSNET_ERR_FORMAT)
        fail_msg("status %d, \"%s\", for %.80s", (int)status, error.text, header);
    assert_says(&error, fragment);
    assert_says(&error, "the-file: ");
    free(bytes);
}

#define F32(name, shape, begin, end) \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"

static const struct {
    const char *header;
    size_t data_nbytes;
    const char *says;
} bad_headers[] = {
    {"", 0, "does not begin with {"},
    {" {}", 0, "does not begin with {"},
    {"[]", 0, "does not begin with {"},
    {"hello", 0, "does not begin with {"},
    {"{", 0, "not valid JSON"},
    {"{]", 0, "not valid JSON"},
    {"{\"a\":tru}", 0, "not valid JSON near byte 5"},
    {"{\"a\":{\"dtype\":\"F32\"}", 0, "not valid JSON"},
    {"{\"a", 0, "not valid JSON"},
    {"{\"a\\", 0, "not valid JSON"},
    {"{}}", 0, "after its JSON at byte 2"},
    {"{} \n", 0, "after its JSON at byte 3"},
    {"{}{}", 0, "after its JSON"},
    {"{\"\xff\":0}", 0, "not UTF-8 at byte 2"},
    {"{\"\xc0\xaf\":0}", 0, "not UTF-8"},
    {"{\"\xed\xa0\x80\":0}", 0, "not UTF-8"},
    {"{\"\xf4\x90\x80\x80\":0}", 0, "not UTF-8"},
    {"{\"\xe2\x82", 0, "not UTF-8"},
    {"{\"a\nb\":0}", 0, "control character at byte 3"},
    {"{\x01}", 0, "control character at byte 1"},
    {"{\"a\\\x01\":0}", 0, "control character"},
    {"{\"a\\u0000b\":0}", 0, "NUL character"},
    {"{\"a\\ud800\":0}", 0, "not valid JSON"},
    {"{\"__metadata__\":[]}", 0, "__metadata__ is not an object"},
    {"{\"__metadata__\":\"x\"}", 0, "__metadata__ is not an object"},
    {"{\"__metadata__\":{\"epochs\":3}}", 0, "\"epochs\", whose value is not a string"},
    {"{\"__metadata__\":{\"a\":null}}", 0, "not a string"},
    {"{\"__metadata__\":{\"a\":\"1\",\"b\":\"2\",\"a\":\"3\"}}", 0, "\"a\" twice"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "\"__metadata__\" twice"},
    {"{" F32("a", "[1]", "0", "4") "," F32("b", "[1]", "4", "8") "," F32("a", "[1]", "8", "12") "}",
     12, "\"a\" twice"},
    {"{\"a\":3}", 0, "\"a\" is not described by an object"},
    {"{\"a\":[1]}", 0, "\"a\" is not described by an object"},
    {"{\"a\":{}}", 0, "\"a\" has no dtype"},
    {"{\"a\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "\"a\" has no dtype"},
    {"{\"a\":{\"DTYPE\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "no dtype"},
    {"{\"a\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8,
     "\"a\" has dtype \"I64\"; only F32, F16 and BF16"},
    {"{\"a\":{\"dtype\":\"f32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "dtype \"f32\""},
    {"{\"a\":{\"dtype\":\"\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "dtype \"\""},
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "\"a\" has no shape"},
    {"{" F32("a", "4", "0", "4") "}", 4, "no shape array"},
    {"{" F32("a", "{\"x\":1}", "0", "4") "}", 4, "no shape array"},
    {"{" F32("a", "[-1]", "0", "4") "}", 4, "dimension 0 is no whole number"},
    {"{" F32("a", "[1,1.5]", "0", "4") "}", 4, "dimension 1 is no whole number"},
    {"{" F32("a", "[\"1\"]", "0", "4") "}", 4, "no whole number"},
    {"{" F32("a", "[null]", "0", "4") "}", 4, "no whole number"},
    {"{" F32("a", "[[1]]", "0", "4") "}", 4, "no whole number"},
    {"{" F32("a", "[1e300]", "0", "4") "}", 4, "no whole number"},
    {"{" F32("a", "[1e999]", "0", "4") "}", 4, "no whole number"},
    {"{" F32("a", "[9007199254740994]", "0", "4") "}", 4, "no whole number"},
    {"{" F32("a", "[1,1,1,1,1,1,1,1,1]", "0", "4") "}", 4, "more than 8 dimensions"},
    /* 2^32 x 2^32 is 0 in 64 bits, and 2^62 x 4 bytes likewise. */
    {"{" F32("a", "[4294967296,4294967296]", "0", "0") "}", 0, "product overflows"},
    {"{" F32("a", "[4294967296,1073741824]", "0", "0") "}", 0, "do not fit its 0 bytes"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "no data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":4}}", 4, "no data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4]}}", 4, "no data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, "no data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":{\"x\":0,\"y\":4}}}", 4,
     "no data_offsets"},
    {"{" F32("a", "[1]", "-4", "0") "}", 4, "no data_offsets of two whole numbers"},
    {"{" F32("a", "[1]", "0", "4.5") "}", 4, "no data_offsets of two whole numbers"},
    {"{" F32("a", "[1]", "4", "0") "}", 4, "run backwards, 4 to 0"},
    {"{" F32("a", "[1]", "0", "4") "}", 3, "ends at byte 4 of the data, but the file has only 3"},
    {"{" F32("a", "[1]", "0", "4") "}", 0, "cut short"},
    {"{" F32("a", "[1]", "9007199254740988", "9007199254740992") "}", 4, "the file has only 4"},
    {"{" F32("a", "[2]", "0", "4") "}", 4, "2 elements of F32, which do not fit its 4 bytes"},
    {"{" F32("a", "[1]", "0", "8") "}", 8, "1 elements of F32, which do not fit its 8 bytes"},
    {"{\"a\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "do not fit"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"more\":1}}", 4,
     "fields besides"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"dtype\":\"F16\"}}", 4,
     "fields besides"},
    {"{" F32("a", "[2]", "0", "8") "," F32("b", "[2]", "4", "12") "}", 12,
     "\"a\" and \"b\" overlap"},
    {"{" F32("a", "[2]", "0", "8") "," F32("b", "[2]", "0", "8") "}", 8, "overlap"},
    {"{" F32("a", "[3]", "0", "12") "," F32("b", "[1]", "4", "8") "}", 12, "overlap"},
    {"{" F32("a", "[1]", "0", "4") "," F32("b", "[1]", "8", "12") "}", 12,
     "bytes 4 to 8 of the data are a gap before tensor \"b\""},
    {"{" F32("a", "[1]", "4", "8") "}", 8, "bytes 0 to 4 of the data are a gap"},
    {"{" F32("a", "[1]", "0", "4") "}", 5, "1 bytes follow the last tensor"},
    {"{}", 3, "3 bytes follow the last tensor"},
};

static void test_bad_headers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_headers / sizeof bad_headers[0]; i++)
        refuse(bad_headers[i].header, strlen(bad_headers[i].header), bad_headers[i].data_nbytes,
               bad_headers[i].says);
    refuse("{\"a\0b\":0}", 9, 0, "control character");
    refuse("{}\0", 3, 0, "control character");
}

static void test_deep_nesting(void **state)
{
    (void)state;
    enum { N = 1000000 };
    char *text = malloc(N);
    memset(text, '[', N);
    memcpy(text, "{\"a\":", 5);
    refuse(text, N, 0, "nests deeper than 8 levels at byte 12");
    memset(text, '{', N);
    refuse(text, N, 0, "nests deeper");
    free(text);
}

static void test_bad_lengths(void **state)
{
    (void)state;
    static const struct {
        unsigned char bytes[12];
        size_t nbytes;
        const char *says;
    } cases[] = {
        {{0}, 0, "is empty"},
        {{2}, 1, "only 1 bytes"},
        {{2, 0, 0, 0, 0, 0, 0}, 7, "only 7 bytes"},
        {{0, 0, 0, 0, 0, 0, 0, 0}, 8, "does not begin with {"},
        {{3, 0, 0, 0, 0, 0, 0, 0, '{', '}'}, 10, "header length is 3 bytes, but only 2 follow"},
        {{0, 0xe1, 0xf5, 0x05, 0, 0, 0, 0, '{', '}'}, 10, "cut short"}, /* 100,000,000 */
        {{1, 0xe1, 0xf5, 0x05, 0, 0, 0, 0, '{', '}'}, 10, "more than 100000000"},
        {{2, 0, 0, 0, 1, 0, 0, 0, '{', '}'}, 10, "more than 100000000"},
        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, '{', '}'}, 10, "18446744073709551615"},
        {{0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'}, 8, "no safetensors file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct safetensors *file;
        struct capsnet_error error;
        unsigned char *copy;
        assert_int_equal(parse_copy(&file, &copy, cases[i].bytes, cases[i].nbytes, &error),
                         CAPSNET_ERR_FORMAT);
        assert_says(&error, cases[i].says);
    }
}

static void test_every_truncation(void **state)
{
    (void)state;
    size_t nbytes;
    unsigned char *bytes = sample_bytes(&nbytes), *copy;
    for (size_t n = 0; n < nbytes; n++) {
        struct safetensors *file;
        struct capsnet_error error;
        assert_int_equal(parse_copy(&file, &copy, bytes, n, &error), CAPSNET_ERR_FORMAT);
        assert_says(&error, n == 0 ? "empty" : n < 8 ? "too few" : "cut short");
    }
    free(bytes);
}

/* Whatever a few changed bytes do, the parser either refuses with a sentence
 * or gives tensors that lie inside the file. */
static void test_random_damage(void **state)
{
    (void)state;
    const char *wanted = getenv("SEED");
    uint32_t random = wanted ? (uint32_t)strtoul(wanted, NULL, 10) : 8215568, refused = 0;
    printf("SEED=%u\n", random);
    random += !random;
    size_t nbytes;
    unsigned char *bytes = sample_bytes(&nbytes);
    unsigned char *damaged = malloc(nbytes), *copy;
    enum { ROUNDS = 20000 };
    for (int round = 0; round < ROUNDS; round++) {
        memcpy(damaged, bytes, nbytes);
        for (int flips = 1 + round % 4; flips > 0; flips--) {
            random ^= random << 13, random ^= random >> 17, random ^= random << 5;
            /* A JSON character half of the time: those get further. */
            damaged[random % nbytes] = random & 0x10000
                                           ? (unsigned char)(random >> 24)
                                           : (unsigned char)"{}[]\":,0123456789\\-.eFu "[random >> 24 & 15];
        }
        struct safetensors *file;
        struct capsnet_error error;
        if (parse_copy(&file, &copy, damaged, nbytes, &error)) {
            assert_says(&error, "the-file: ");
            refused++;
            continue;
        }
        const struct safetensors_tensor *tensor;
        for (size_t i = 0; (tensor = safetensors_at(file, i)); i++) {
            assert_true(tensor->count <= SAMPLE_N * 2);
            float back[SAMPLE_N * 2];
            safetensors_to_f32(tensor, back);
            assert_true(tensor->data >= copy && tensor->data <= copy + nbytes);
        }
        safetensors_close(file);
        free(copy);
    }
    printf("%u of %d damaged files refused\n", refused, ROUNDS);
    assert_true(refused > ROUNDS / 2 && refused < ROUNDS);
    free(bytes);
    free(damaged);
}
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_headers),      cmocka_unit_test(test_deep_nesting),
        cmocka_unit_test(test_bad_lengths),      cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_random_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
