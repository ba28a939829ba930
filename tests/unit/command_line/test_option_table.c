/*
 * test_option_table.c - what the server's options have no case of: flags, floats,
 * words, options without twins in the environment, and their help.
 * tests/unit/server/test_options.c has the rest.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

#include "model/command_line/options.h"

static int resume;
static float rate, threshold;
static const char *out, *kind;
static size_t threads;
static struct option_list list;
static const char *words[2];
static char message[256];

static const struct option_entry ENTRIES[] = {
    {"resume", "", OPTION_FLAG, &resume, 0, 0, "go on"},
    {"rate", "X", OPTION_FLOAT, &rate, 0, 1, "learning rate"},
    {"threshold", "X", OPTION_FLOAT, &threshold, 0, 1, "threshold"},
    {"out", "FILE", OPTION_TEXT, &out, 0, 0, "a file"},
    {"kind", "thin|thick", OPTION_TEXT, &kind, 0, 0, "a kind"},
    {"threads", "N", OPTION_SIZE, &threads, 1, 4, "threads"},
    {"in", "FILE", OPTION_LIST, &list, 0, 0, "files"},
};
static const struct option_table TABLE = {ENTRIES, sizeof ENTRIES / sizeof *ENTRIES, "usage: it\n",
                                          NULL};

#define PARSE(...)                                                                              \
    parse((char *[]){"it", __VA_ARGS__, NULL},                                                  \
          (int)(sizeof((char *[]){"it", __VA_ARGS__}) / sizeof(char *)))

static enum options_status parse(char **argv, int argc)
{
    resume = 0;
    rate = 0.5f;
    threshold = NAN;
    out = kind = words[0] = words[1] = NULL;
    threads = 2;
    list = (struct option_list){{{"x", 1}, {"yz", 2}}, 2, 1};
    return options_parse(&TABLE, argc, argv, words, 2, message, sizeof message);
}

static void values_go_to_their_targets(void **state)
{
    (void)state;
    assert_int_equal(PARSE("a", "--resume", "--rate=0.25", "--out", "--kind", "b", "--kind",
                           "thick", "--threads", "3"),
                     OPTIONS_RUN);
    assert_int_equal(resume, 1);
    assert_true(rate == 0.25f && isnan(threshold));
    assert_string_equal(out, "--kind"); /* what follows an option is its value */
    assert_string_equal(kind, "thick");
    assert_int_equal(threads, 3);
    assert_string_equal(words[0], "a");
    assert_string_equal(words[1], "b");
    setenv("RATE", "1", 1);
    assert_int_equal(PARSE("a"), OPTIONS_RUN);
    assert_true(rate == 0.5f);
    assert_null(words[1]);
}

static void mistakes_are_told(void **state)
{
    (void)state;
    static const struct {
        char *const argv[5];
        const char *says;
    } BAD[] = {
        {{"it", "--resume=1"}, "--resume takes no value"},
        {{"it", "--rate"}, "--rate needs a value"},
        {{"it", "--rate", "nan"}, "--rate must be a number from 0 to 1, not \"nan\""},
        {{"it", "--rate", "1.5"}, "--rate must be"},
        {{"it", "--rate", "0.5x"}, "--rate must be"},
        {{"it", "--rate="}, "--rate must be"},
        {{"it", "--threads", "2.0"}, "--threads must be a whole number from 1 to 4"},
        {{"it", "--threads", "-1"}, "--threads must be"},
        {{"it", "--threads", "18446744073709551617"}, "--threads must be"},
        {{"it", "--out", ""}, "--out must not be empty"},
        {{"it", "--kind", "thi"}, "--kind must be one of thin|thick"},
        {{"it", "--kind", "thin|thick"}, "--kind must be one of"},
        {{"it", "--rat", "1"}, "there is no option \"--rat\""},
        {{"it", "a", "b", "c"}, "\"c\" is one argument too many"},
        {{"it", "a", ""}, "an argument is empty"},
    };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        int argc = 0;
        while (BAD[i].argv[argc])
            argc++;
        if (parse((char **)BAD[i].argv, argc) != OPTIONS_BAD || !strstr(message, BAD[i].says))
            fail_msg("\"%s\" does not say \"%s\"", message, BAD[i].says);
    }
    assert_int_equal(PARSE("--rat", "--help"), OPTIONS_HELP);
    assert_int_equal(PARSE("a", "b", "c", "-h"), OPTIONS_HELP);
    assert_int_equal(PARSE("--rat", "--version"), OPTIONS_VERSION);
}

static void help_has_the_defaults(void **state)
{
    (void)state;
    char *help = NULL;
    size_t n;
    assert_int_equal(PARSE("a"), OPTIONS_RUN);
    kind = "thin";
    FILE *file = open_memstream(&help, &n);
    assert_non_null(file);
    options_print_help(file, &TABLE);
    fclose(file);
    assert_string_equal(help, "usage: it\n\noptions [default]:\n"
                              "  --resume               go on\n"
                              "  --rate X               learning rate [0.5]\n"
                              "  --threshold X          threshold\n"
                              "  --out FILE             a file\n"
                              "  --kind thin|thick      a kind [thin]\n"
                              "  --threads N            threads [2]\n"
                              "  --in FILE              files [x:yz]\n");
    free(help);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_go_to_their_targets),
        cmocka_unit_test(mistakes_are_told),
        cmocka_unit_test(help_has_the_defaults),
    };
    return cmocka_run_group_tests_name("option table", tests, NULL, NULL);
}
