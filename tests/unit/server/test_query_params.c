/* test_query_params.c - the query string. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "server/request/query_params.h"

static int set(struct params *params, const char *name, const char *value)
{
    char message[256] = "";
    unsigned seen = 0;
    int result = params_set(params, ~0u, &seen, name, value, 10, message, sizeof message);
    if (result != 0 && !strstr(message, name))
        fail_msg("\"%s\" does not name %s", message, name);
    return result;
}

static void parameters_are_checked(void **state)
{
    (void)state;
    struct params p = {0};
    assert_int_equal(set(&p, "normalize", "none"), 0);
    assert_int_equal(p.normalize, NORMALIZE_NONE);
    assert_int_equal(set(&p, "normalize", "fit"), 0);
    assert_int_equal(p.normalize, NORMALIZE_FIT);
    assert_int_equal(set(&p, "poses", "1"), 0);
    assert_int_equal(p.poses, 1);
    assert_int_equal(set(&p, "routing", "1"), 0);
    assert_int_equal(p.routing, 1);
    assert_int_equal(set(&p, "sweep", "0"), 0);
    assert_int_equal(p.sweep, 0);
    assert_int_equal(set(&p, "split", "1"), 0);
    assert_int_equal(p.split, 1);
    assert_int_equal(set(&p, "scale", "16"), 0);
    assert_int_equal(p.scale, 16);
    assert_int_equal(set(&p, "class", "9"), 0);
    assert_true(p.class_choice == CLASS_GIVEN && p.class_index == 9);
    assert_int_equal(set(&p, "class", "detected"), 0);
    assert_int_equal(p.class_choice, CLASS_DETECTED);
    assert_int_equal(set(&p, "model", "any at all"), 0); /* judge.c looks for it */
    static const char *const BAD[][2] = {
        {"normalize", "Fit"},  {"normalize", ""},   {"poses", "2"},     {"poses", "yes"},
        {"split", "2"},       {"split", ""},
        {"sweep", "-1"},       {"sweep", NULL},     {"scale", "0"},     {"scale", "17"},
        {"scale", "1.5"},      {"scale", " 1"},     {"scale", "+1"},    {"scale", "4294967297"},
        {"scale", "99999999999999999999"},          {"class", "10"},    {"class", "-1"},
        {"model", ""},         {"model", NULL},
        {"class", ""},         {"class", "0x1"},    {"class", "Detected"}, {"class", "detected "},
        {"nosuch", "1"},       {"Class", "1"},      {"routing", "2"},
    };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
        if (set(&p, BAD[i][0], BAD[i][1]) == 0)
            fail_msg("%s=%s was taken", BAD[i][0], BAD[i][1] ? BAD[i][1] : "(none)");

    char message[256];
    unsigned seen = 0;
    assert_int_equal(params_set(&p, PARAM_SCALE, &seen, "scale", "2", 10, message, 256), 0);
    assert_int_equal(params_set(&p, PARAM_SCALE, &seen, "scale", "2", 10, message, 256), -1);
    assert_int_equal(params_set(&p, PARAM_SCALE, &seen, "sweep", "1", 10, message, 256), -1);
    /* What is quoted is made harmless. */
    assert_int_equal(params_set(&p, PARAM_SCALE, &seen, "\n\"\xff", "1", 10, message, 256), -1);
    assert_non_null(strstr(message, "\"???\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_checked),
    };
    return cmocka_run_group_tests_name("server query", tests, NULL, NULL);
}
