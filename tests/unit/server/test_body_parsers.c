/* test_body_parsers.c - what comes from strangers in a body: multipart and JSON.
 * Each parser is also given each prefix and many damaged copies of a
 * good input, in blocks of exactly their size, for a sanitizer to watch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/input/json_parse.h"
#include "server/input/multipart.h"

/* ---- multipart ------------------------------------------------------------ */

static const char GOOD[] = "preamble\r\n--b b\r\nContent-Disposition: form-data; name=\"n\"; "
                           "filename=f\r\n\r\none\0\r\n--b"
                           "\r\n--b b \t\r\n\r\n\r\n--b b\r\nX: y\r\n\r\n\r\n\r\n--b b--epilogue";

static enum multipart_status cut(const void *body, size_t n, const char *boundary,
                                 struct multipart_part parts[4], size_t *n_parts)
{
    const char *message = NULL;
    enum multipart_status status =
        multipart_parse(parts, 4, n_parts, body, n, boundary, &message);
    if (status == MULTIPART_INVALID)
        assert_non_null(message);
    return status;
}

static void parts_are_cut_out(void **state)
{
    (void)state;
    struct multipart_part parts[4];
    size_t n = 99;
    assert_int_equal(cut(GOOD, sizeof GOOD - 1, "b b", parts, &n), MULTIPART_OK);
    assert_int_equal(n, 3);
    assert_int_equal(parts[0].n, 9);
    assert_memory_equal(parts[0].bytes, "one\0\r\n--b", 9);
    assert_int_equal(parts[1].n, 0);
    assert_int_equal(parts[2].n, 2);
    assert_memory_equal(parts[2].bytes, "\r\n", 2);
    /* Without preamble; without parts. */
    assert_int_equal(cut("--x\r\n\r\n1\r\n--x--\r\n", 18, "x", parts, &n), MULTIPART_OK);
    assert_int_equal(n, 1);
    assert_int_equal(cut("--x--", 5, "x", parts, &n), MULTIPART_OK);
    assert_int_equal(n, 0);
}

/* Checks a part's name and file name; NULL: it has none. */
static void check_names(const char *header, const char *name, const char *filename)
{
    char body[300];
    struct multipart_part parts[4];
    size_t n = 0;
    int length = snprintf(body, sizeof body, "--x\r\nA: b\r\n%s\r\n\r\n1\r\n--x--", header);
    assert_int_equal(cut(body, (size_t)length, "x", parts, &n), MULTIPART_OK);
    assert_int_equal(n, 1);
    if (!parts[0].name != !name || !parts[0].filename != !filename ||
        (name && (parts[0].name_n != strlen(name) ||
                  memcmp(parts[0].name, name, strlen(name)) != 0)) ||
        (filename && (parts[0].filename_n != strlen(filename) ||
                      memcmp(parts[0].filename, filename, strlen(filename)) != 0)))
        fail_msg("%s: \"%.*s\", \"%.*s\"", header, (int)parts[0].name_n, parts[0].name,
                 (int)parts[0].filename_n, parts[0].filename);
}

static void parts_have_names(void **state)
{
    (void)state;
#define FORM "Content-Disposition: form-data"
    check_names(FORM "; name=\"a\"; filename=\"b.png\"", "a", "b.png");
    check_names(FORM "; filename=\"\"; name=\"\"", "", "");
    check_names(FORM ";name=a;filename=b.png ; x=y", "a", "b.png");
    check_names("content-disposition: form-data; NAME=\"a; filename=no\"", "a; filename=no", NULL);
    check_names(FORM "; name=\"a\\\"b\"; filename=\"c\\\\\"", "a\\\"b", "c\\\\");
    check_names(FORM "; name=a; filename*=UTF-8''b%20c.png", "a", "UTF-8''b%20c.png");
    check_names(FORM "; name=\"a", "a", NULL);
    check_names(FORM "; name=\"a\\", "a\\", NULL);
    check_names(FORM "; name=", "", NULL);
    check_names(FORM "; name; filename", NULL, NULL);
    check_names(FORM ";", NULL, NULL);
    check_names(FORM, NULL, NULL);
    check_names("X-Content-Disposition: form-data; name=a", NULL, NULL);
    check_names("Content-Type: image/png; name=a", NULL, NULL);
}

static void damaged_multipart_is_refused(void **state)
{
    (void)state;
    static const char *const BODIES[] = {
        "",
        "x",
        "--y--",
        "--x",
        "--x\r\n",
        "--x\n\n1\n--x--",
        "--xy\r\n\r\n1\r\n--x--",
        "--x\r\n\r\n1",
        "--x\r\n\r\n1\r\n--x",
        "--x\r\n\r\n1\r\n--x-",
        "--x\r\nHeader: only\r\n--x--",
        "--x\r\nno end of headers\r\n\r\n--x--",
    };
    struct multipart_part parts[4];
    for (size_t i = 0; i < sizeof BODIES / sizeof *BODIES; i++) {
        size_t n = 99;
        if (cut(BODIES[i], strlen(BODIES[i]), "x", parts, &n) != MULTIPART_INVALID || n != 99)
            fail_msg("body %zu was taken", i);
    }
    size_t n = 99;
    const char *five = "--x\r\n\r\n1\r\n--x\r\n\r\n2\r\n--x\r\n\r\n3\r\n--x\r\n\r\n4\r\n--x\r\n\r\n5"
                       "\r\n--x--";
    assert_int_equal(cut(five, strlen(five), "x", parts, &n), MULTIPART_TOO_MANY);
    assert_int_equal(n, 99);
}

static void boundaries_are_found(void **state)
{
    (void)state;
    static const struct {
        const char *type, *boundary;
    } CASES[] = {
        {"multipart/form-data; boundary=abc", "abc"},
        {"multipart/form-data;boundary=abc; charset=x", "abc"},
        {"multipart/form-data; charset=\"; boundary=no\"; BOUNDARY=\"a b\"", "a b"},
        {"multipart/form-data; boundary=----WebKitFormBoundaryX'()+_,-./:=?",
         "----WebKitFormBoundaryX'()+_,-./:=?"},
        {"multipart/form-data", NULL},
        {"multipart/form-data; boundary=", NULL},
        {"multipart/form-data; boundary=\"\"", NULL},
        {"multipart/form-data; boundary=\"abc", NULL},
        {"multipart/form-data; boundary=\"abc \"", NULL},
        {"multipart/form-data; boundary=a<b", NULL},
        {"multipart/form-data; xboundary=abc", NULL},
        {"multipart/form-data; boundary="
         "01234567890123456789012345678901234567890123456789012345678901234567890",
         NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        char boundary[MULTIPART_BOUNDARY_SIZE] = "";
        int found = multipart_boundary(boundary, CASES[i].type) == 0;
        if (found != (CASES[i].boundary != NULL) ||
            (found && strcmp(boundary, CASES[i].boundary) != 0))
            fail_msg("%s: \"%s\"", CASES[i].type, boundary);
    }
}

/* ---- JSON ------------------------------------------------------------------ */

static enum json_status parse(const char *text, size_t n, size_t max_values, cJSON **root)
{
    char message[100] = "";
    *root = NULL;
    enum json_status status = json_parse(root, text, n, max_values, message, sizeof message);
    assert_int_equal(*root != NULL, status == JSON_OK);
    assert_int_equal(message[0] != 0, status != JSON_OK);
    return status;
}

static void only_one_whole_json_value_is_taken(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t n; /* 0: strlen */
        enum json_status status;
    } CASES[] = {
        {"{\"a\": [1, 2]} \r\n\t", 0, JSON_OK},
        {" 7", 0, JSON_OK},
        {"", 0, JSON_MALFORMED},
        {" ", 0, JSON_MALFORMED},
        {"{} {}", 0, JSON_MALFORMED},
        {"{}x", 0, JSON_MALFORMED},
        {"{}\0{}", 5, JSON_MALFORMED},
        {"{}\0", 3, JSON_MALFORMED},
        {"{\"a\": NaN}", 0, JSON_MALFORMED},
        {"{\"a\": 1", 0, JSON_MALFORMED},
        {"\"\\", 0, JSON_MALFORMED},
        {"[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]", 0, JSON_OK},
        {"[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]", 0, JSON_MALFORMED},
        {"[1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8]", 0, JSON_OK},
        {"[1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0]", 0, JSON_TOO_MANY},
        {"[[],[],[],[],[],[],[],[],[],[],[]]", 0, JSON_TOO_MANY},
        {"[\"\\\",,,,,,,,,,,,,,,,,,,,,[[[[[[[[[[[[[[[[[[\"]", 0, JSON_OK},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        cJSON *root;
        size_t n = CASES[i].n ? CASES[i].n : strlen(CASES[i].text);
        if (parse(CASES[i].text, n, 20, &root) != CASES[i].status)
            fail_msg("case %zu: %s", i, CASES[i].text);
        cJSON_Delete(root);
    }
}

/* What cJSON lets pass and RFC 8259 does not. */
static void json_is_taken_strictly(void **state)
{
    (void)state;
    static const char *const STRICT[] = {
        "[0,-0,10,1.5,-0.25,1e5,1E-5,0e+5,12.50e07]", "[\"03\",\"1.\",\"\\t\\u0009 \x7f\"]",
        "{\"a\":{\"a\":1},\"b\":[{\"a\":1},{\"a\":2}],\"A\":3}", "\t\r\n 1\t\r\n "};
    static const struct {
        const char *text, *fragment;
    } LAX[] = {
        {"03", "byte 0"},      {"[1,03]", "byte 3"}, {"[1.]", "byte 1"},   {"[-]", "byte 1"},
        {"[-01]", "byte 1"},   {"[1.e5]", "byte 1"}, {"[1e]", "byte 1"},   {"[1e+]", "byte 1"},
        {"[1.5.5]", "byte 4"}, {"[1-1]", "byte 2"},  {"[00]", "byte 1"},   {"[\"a\tb\"]", "byte 3"},
        {"[\"\n\"]", "byte 2"}, {"[\v1]", "byte 1"}, {"[1\f]", "byte 2"}, {"[1\x01]", "byte 2"},
        {"1\v", "byte 1"},     {"[+1]", "byte 1"},   {"[.5]", "byte 1"},
        {"{\"a\":1,\"b\":2,\"a\":1}", "\"a\" is given more than once"},
        {"{\"a\":1,\"\\u0061\":1}", "\"a\" is given more than once"},
        {"[{\"b\":[0,{\"c\":1,\"c\":[]}]}]", "\"c\" is given more than once"}};
    cJSON *root;
    for (size_t i = 0; i < sizeof STRICT / sizeof *STRICT; i++) {
        if (parse(STRICT[i], strlen(STRICT[i]), 20, &root) != JSON_OK) fail_msg("%s", STRICT[i]);
        cJSON_Delete(root);
    }
    for (size_t i = 0; i < sizeof LAX / sizeof *LAX; i++) {
        char message[100] = "";
        if (json_parse(&root, LAX[i].text, strlen(LAX[i].text), 20, message, sizeof message) !=
                JSON_MALFORMED ||
            !strstr(message, LAX[i].fragment))
            fail_msg("%s: %s", LAX[i].text, message);
    }
}

static void numbers_are_checked(void **state)
{
    (void)state;
    const char *text = "[0, -1.5, 1e38, 1e39, 1e999, \"1\", null, 3, 2.5, -1, 1e99]";
    cJSON *root;
    assert_int_equal(parse(text, strlen(text), 20, &root), JSON_OK);
    static const int IS_FLOAT[] = {1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 0};
    static const int IS_INDEX[] = {1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0};
    for (int i = 0; i < cJSON_GetArraySize(root); i++) {
        float value;
        size_t index;
        assert_int_equal(json_get_float(&value, cJSON_GetArrayItem(root, i)), IS_FLOAT[i]);
        assert_int_equal(json_get_index(&index, cJSON_GetArrayItem(root, i), 4), IS_INDEX[i]);
        assert_int_equal(json_get_index(&index, cJSON_GetArrayItem(root, i), 3), i == 0);
    }
    float value;
    size_t index;
    assert_false(json_get_float(&value, NULL));
    assert_false(json_get_index(&index, NULL, 3));
    cJSON_Delete(root);
}

/* ---- Damage ---------------------------------------------------------------- */

/* Calls a parser on a copy in a block of its own. */
static void try_both(const char *bytes, size_t n)
{
    char *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, n);
    struct multipart_part parts[4];
    size_t n_parts;
    if (cut(copy, n, "b b", parts, &n_parts) == MULTIPART_OK)
        for (size_t i = 0; i < n_parts; i++) { /* parts lie within */
            assert_true((const char *)parts[i].bytes >= copy &&
                        (const char *)parts[i].bytes + parts[i].n <= copy + n);
            assert_true(!parts[i].name || (parts[i].name >= copy &&
                        parts[i].name + parts[i].name_n <= copy + n));
            assert_true(!parts[i].filename || (parts[i].filename >= copy &&
                        parts[i].filename + parts[i].filename_n <= copy + n));
        }
    cJSON *root;
    if (parse(copy, n, 40, &root) == JSON_OK)
        cJSON_Delete(root);
    free(copy);
}

static void damage_is_survived(void **state)
{
    (void)state;
    static const char JSON[] = "{\"images\": [\"iVBO\\u0041Rw0\", \"a,b\"], \"x\": [1e3, {}, -2.5]}";
    const char *given = getenv("SEED");
    uint32_t x = given ? (uint32_t)strtoul(given, NULL, 0) : 7578;
    printf("SEED=%u\n", x);
    const char *const GOODS[] = {GOOD, JSON};
    const size_t SIZES[] = {sizeof GOOD - 1, sizeof JSON - 1};
    for (int g = 0; g < 2; g++) {
        for (size_t n = 0; n <= SIZES[g]; n++)
            try_both(GOODS[g], n);
        for (int i = 0; i < 20000; i++) {
            char damaged[240];
            memcpy(damaged, GOODS[g], SIZES[g]);
            for (int k = 0; k <= i % 4; k++) {
                x = x * 1664525u + 1013904223u;
                char byte = x >> 30 ? "\r\n-\",[]{}\\ b"[x % 12] : (char)(x >> 4);
                damaged[(x >> 12) % SIZES[g]] = byte;
            }
            try_both(damaged, SIZES[g]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_cut_out),
        cmocka_unit_test(parts_have_names),
        cmocka_unit_test(damaged_multipart_is_refused),
        cmocka_unit_test(boundaries_are_found),
        cmocka_unit_test(only_one_whole_json_value_is_taken),
        cmocka_unit_test(json_is_taken_strictly),
        cmocka_unit_test(numbers_are_checked),
        cmocka_unit_test(damage_is_survived),
    };
    return cmocka_run_group_tests_name("server body parsers", tests, NULL, NULL);
}
