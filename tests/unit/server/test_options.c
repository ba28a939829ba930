/* test_options.c - the command line, its environment twin, --listen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/basics/listen_socket.h"
#include "server/basics/options.h"

static char message[256];

#define PARSE(options, ...)                                                                  \
    parse(options, (char *[]){"capsnetd", __VA_ARGS__, NULL},                                \
          (int)(sizeof((char *[]){"capsnetd", __VA_ARGS__}) / sizeof(char *)))

static enum options_status parse(struct options *options, char **argv, int argc)
{
    message[0] = 0;
    enum options_status status = server_options_parse(options, argc, argv, message, sizeof message);
    assert_int_equal(status == OPTIONS_BAD, message[0] != 0);
    return status;
}

static void assert_item(const struct option_list *list, size_t i, const char *text)
{
    assert_in_range(i, 0, list->n - 1);
    assert_int_equal(list->items[i].nbytes, strlen(text));
    assert_memory_equal(list->items[i].at, text, strlen(text));
}

static void flag_beats_variable_beats_default(void **state)
{
    (void)state;
    struct options o;
    assert_int_equal(PARSE(&o, "--queue=9"), OPTIONS_RUN);
    assert_string_equal(o.listen, "127.0.0.1:8080");
    assert_int_equal(o.weights.n, 1);
    assert_item(&o.weights, 0, "weights");
    assert_null(o.cpu_level);
    assert_int_equal(o.threads, 0);
    assert_int_equal(o.max_batch, 64);
    assert_int_equal(o.batch_delay_us, 0);
    assert_int_equal(o.max_body_bytes, 16777216);
    assert_int_equal(o.max_images, 64);
    assert_int_equal(o.max_side, 4096);
    assert_int_equal(o.queue, 9);

    setenv("CAPSNETD_MAX_SIDE", "100", 1);
    setenv("CAPSNETD_QUEUE", "5", 1);
    setenv("CAPSNETD_CPU_LEVEL", "ref", 1);
    setenv("CAPSNETD_LISTEN", "", 1); /* counts as unset */
    assert_int_equal(PARSE(&o, "--queue", "7", "--weights", "a=b"), OPTIONS_RUN);
    assert_int_equal(o.max_side, 100);
    assert_int_equal(o.queue, 7);
    assert_string_equal(o.cpu_level, "ref");
    assert_int_equal(o.weights.n, 1);
    assert_item(&o.weights, 0, "a=b");
    assert_string_equal(o.listen, "127.0.0.1:8080");

    setenv("CAPSNETD_QUEUE", "many", 1);
    assert_int_equal(PARSE(&o, "--max-side", "7"), OPTIONS_BAD);
    assert_non_null(strstr(message, "CAPSNETD_QUEUE"));
    assert_int_equal(PARSE(&o, "--queue", "7"), OPTIONS_RUN);
    assert_int_equal(PARSE(&o, "--queue=8"), OPTIONS_RUN);
    assert_int_equal(o.queue, 8);
    assert_int_equal(PARSE(&o, "--max-side", "7", "--help"), OPTIONS_HELP);
    assert_int_equal(PARSE(&o, "--version"), OPTIONS_VERSION);
    unsetenv("CAPSNETD_MAX_SIDE");
    unsetenv("CAPSNETD_QUEUE");
    unsetenv("CAPSNETD_CPU_LEVEL");
    unsetenv("CAPSNETD_LISTEN");
}

/* In the order given; colons separate them in the variable only. */
static void weights_are_a_list(void **state)
{
    (void)state;
    struct options o;
    setenv("CAPSNETD_WEIGHTS", "one:/two/2", 1);
    assert_int_equal(PARSE(&o, "--queue=9"), OPTIONS_RUN);
    assert_int_equal(o.weights.n, 2);
    assert_item(&o.weights, 0, "one");
    assert_item(&o.weights, 1, "/two/2");
    assert_int_equal(PARSE(&o, "--weights", "b:c", "--queue=9", "--weights=a"), OPTIONS_RUN);
    assert_int_equal(o.weights.n, 2);
    assert_item(&o.weights, 0, "b:c");
    assert_item(&o.weights, 1, "a");
    static const char *const BAD[] = {":", "a:", ":a", "a::b"};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        setenv("CAPSNETD_WEIGHTS", BAD[i], 1);
        assert_int_equal(PARSE(&o, "--queue=9"), OPTIONS_BAD);
        assert_string_equal(message, "CAPSNETD_WEIGHTS must not be empty, nor a part of it");
    }
    unsetenv("CAPSNETD_WEIGHTS");
    char *argv[1 + OPTION_LIST_MAX + 1 + 1] = {"capsnetd"};
    for (int i = 1; i <= OPTION_LIST_MAX + 1; i++)
        argv[i] = "--weights=x";
    assert_int_equal(parse(&o, argv, 1 + OPTION_LIST_MAX + 1), OPTIONS_BAD);
    assert_string_equal(message, "--weights may be given at most 64 times");
    argv[1 + OPTION_LIST_MAX] = NULL;
    assert_int_equal(parse(&o, argv, 1 + OPTION_LIST_MAX), OPTIONS_RUN);
    assert_int_equal(o.weights.n, OPTION_LIST_MAX);
}

static void bad_values_are_named(void **state)
{
    (void)state;
    static char *const BAD[][2] = {
        {"--threads", "0"},     {"--threads", "-1"},       {"--threads", "two"},
        {"--threads", "2x"},    {"--threads", " 2"},       {"--threads", "0x2"},
        {"--threads", ""},      {"--threads", NULL},       {"--threads", "99999999999999999999"},
        {"--max-batch", "0"},   {"--max-images", "4097"},  {"--queue", "1.5"},
        {"--weights", ""},      {"--timeout-s", "0"},      {"--nosuch", "1"},
        {"threads", "1"},       {"--", "1"},               {"-threads", "1"},
        {"--thread", "1"},      {"", "1"},                 {"--cpu-level", NULL},
    };
    struct options o;
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        char *argv[] = {"capsnetd", BAD[i][0], BAD[i][1], NULL};
        if (parse(&o, argv, BAD[i][1] ? 3 : 2) != OPTIONS_BAD || !strstr(message, BAD[i][0]))
            fail_msg("%s %s: \"%s\"", BAD[i][0], BAD[i][1] ? BAD[i][1] : "", message);
    }
}

static void help_names_every_flag_and_variable(void **state)
{
    (void)state;
    char *help = NULL;
    size_t n;
    FILE *out = open_memstream(&help, &n);
    assert_non_null(out);
    server_options_print_help(out);
    fclose(out);
    static const char *const NAMES[] = {
        "listen",    "weights",         "threads",   "max-batch",          "batch-delay-us",
        "queue",     "max-body-bytes",  "max-images", "max-side",          "max-connections",
        "timeout-s", "request-deadline-s", "drain-s", "cpu-level", "log-format", "log-level",
        "queue-deadline-ms", "max-header-bytes", "max-connections-per-ip",
        "cors-origin", "api-key-file", "tls-cert", "tls-key",
    };
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        char flag[64], variable[64];
        snprintf(flag, sizeof flag, "--%s ", NAMES[i]);
        snprintf(variable, sizeof variable, "CAPSNETD_%s", NAMES[i]);
        for (char *c = variable; *c; c++)
            *c = *c == '-' ? '_' : *c >= 'a' && *c <= 'z' ? (char)(*c - 32) : *c;
        assert_non_null(strstr(help, flag));
        assert_non_null(strstr(help, variable));
    }
    assert_non_null(strstr(help, "default 16777216"));
    free(help);
}

static enum listen_status listen_on(struct listener *listener, const char *address)
{
    return listen_open(listener, address, 0600, "http", message, sizeof message);
}

static void addresses_are_taken_or_named(void **state)
{
    (void)state;
    struct listener first, second;
    assert_int_equal(listen_on(&first, "127.0.0.1:0"), LISTEN_OK);
    assert_int_equal(strncmp(first.url, "http://127.0.0.1:", 17), 0);
    assert_true(atoi(first.url + 17) > 0);
    assert_int_equal(listen_on(&second, first.url + 7), LISTEN_FAILED);
    assert_non_null(strstr(message, "in use"));
    assert_int_equal(second.fd, -1);
    close(first.fd);

    static const char *const BAD[] = {
        "",       ":",          "8080",          ":8080",    "127.0.0.1",     "127.0.0.1:",
        "[::1]",  "[::1:80",    "::1:80",        "]:80",     "[]:80",         "127.0.0.1:65536",
        "[",      "127.0.0.1:-1", "127.0.0.1:x", "[:1",      "127.0.0.1:000080", "[::1]x:80",
        "unix:",  "unix:/123456789012345678901234567890123456789012345678901234567890123456789"
                  "01234567890123456789012345678901234567890",
    };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
        if (listen_on(&second, BAD[i]) != LISTEN_BAD_ADDRESS || second.fd != -1)
            fail_msg("%s was taken", BAD[i]);

    if (listen_open(&first, "[::1]:0", 0, "https", message, sizeof message) == LISTEN_OK) {
        assert_int_equal(strncmp(first.url, "https://[::1]:", 14), 0);
        close(first.fd);
    } else {
        printf("skipped: IPv6, which this machine lacks (%s)\n", message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flag_beats_variable_beats_default),
        cmocka_unit_test(weights_are_a_list),
        cmocka_unit_test(bad_values_are_named),
        cmocka_unit_test(help_names_every_flag_and_variable),
        cmocka_unit_test(addresses_are_taken_or_named),
    };
    clearenv(); /* the tester's own CAPSNETD_ variables are no part of this */
    return cmocka_run_group_tests_name("server options", tests, NULL, NULL);
}
