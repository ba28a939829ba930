/*
 * test_startup.c - flags, environment, weights files: how the server starts,
 * and how it says that it cannot.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/common/cannot_run.h"
#include "tests/http/fixtures.h"
#include "tests/http/harness.h"

static const char *const FLAGS[] = {
    "--listen",          "--listen-mode", "--weights",   "--threads",    "--max-batch",
    "--batch-delay-us",  "--queue",     "--max-images", "--max-body-bytes",
    "--max-connections", "--max-side",  "--timeout-s",  "--request-deadline-s",
    "--drain-s",         "--cpu-level", "--log-format", "--log-level",
    "--queue-deadline-ms", "--max-header-bytes", "--max-connections-per-ip", "--cors-origin",
    "--api-key-file",      "--tls-cert",         "--tls-key",
    "--version",         "--help",
};

/* ---- Helpers ---------------------------------------------------------- */

/* Runs the server, which must refuse: this exit status, nothing on stdout,
 * one sentence on stderr that contains the fragment. */
static void refuse(int exit_status, const char *fragment, const char *const *args,
                   const char *const *env)
{
    static struct outcome outcome;
    server_run(&outcome, args, env);
    if (outcome.exit_status != exit_status)
        fail_msg("exit status %d instead of %d (%s): %s", outcome.exit_status, exit_status,
                 fragment, outcome.err);
    assert_string_equal(outcome.out, "");
    size_t n = strlen(outcome.err);
    if (n < 10 || outcome.err[n - 1] != '\n' || strchr(outcome.err, '\n') != outcome.err + n - 1)
        fail_msg("not one line: \"%s\"", outcome.err);
    if (!strstr(outcome.err, fragment))
        fail_msg("\"%s\" does not say \"%s\"", outcome.err, fragment);
}

static void refuse_flag(const char *fragment, const char *flag, const char *value)
{
    refuse(2, fragment, ARGS("--weights", test_weights(), "--listen", "127.0.0.1:0", flag, value),
           NO_ARGS);
}

static void refuse_weights(const char *fragment, const char *path)
{
    refuse(1, fragment, ARGS("--listen", "127.0.0.1:0", "--weights", path), NO_ARGS);
}

static void write_file(const char *path, const void *bytes, size_t nbytes)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, nbytes, file), nbytes);
    assert_int_equal(fclose(file), 0);
}

/* ---- Help ------------------------------------------------------------- */

static void help_names_every_flag(void **state)
{
    (void)state;
    static struct outcome outcome;
    server_run(&outcome, ARGS("--help"), NO_ARGS);
    assert_int_equal(outcome.exit_status, 0);
    assert_string_equal(outcome.err, "");
    for (size_t i = 0; i < sizeof FLAGS / sizeof *FLAGS; i++) {
        if (!strstr(outcome.out, FLAGS[i])) fail_msg("--help does not name %s", FLAGS[i]);
        if (i + 2 >= sizeof FLAGS / sizeof *FLAGS) continue; /* no variable of their own */
        char variable[80] = "CAPSNETD_";
        for (const char *c = FLAGS[i] + 2; *c; c++) {
            size_t n = strlen(variable);
            variable[n] = *c == '-' ? '_' : (char)(*c - 'a' + 'A');
            variable[n + 1] = 0;
        }
        if (!strstr(outcome.out, variable)) fail_msg("--help does not name %s", variable);
    }
    static const char *const defaults[] = {"127.0.0.1:8080", "CAPSNETD_WEIGHTS, default weights\n",
                                           "16777216", "4096"};
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++)
        if (!strstr(outcome.out, defaults[i])) fail_msg("--help lacks %s", defaults[i]);
}

static void version_is_one_line(void **state)
{
    (void)state;
    static struct outcome outcome;
    server_run(&outcome, ARGS("--version"), NO_ARGS);
    assert_int_equal(outcome.exit_status, 0);
    assert_string_equal(outcome.err, "");
    assert_string_equal(outcome.out, "capsnetd " CAPSNET_VERSION "\n");
}

/* ---- Starting --------------------------------------------------------- */

static void the_start_up_line_says_what_runs(void **state)
{
    (void)state;
    struct server *server =
        server_start(ARGS("--threads", "1", "--cpu-level", "ref"), NO_ARGS);
    static const char *const parts[] = {"capsnetd " CAPSNET_VERSION, "capsnet-test", "f32", "ref",
                                        "OpenBLAS ", "1 thread", "http://127.0.0.1:"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strstr(server->line, parts[i]))
            fail_msg("\"%s\" does not say \"%s\"", server->line, parts[i]);
    struct reply *reply = http_send(server, &(struct request){.path = "/model"});
    cJSON *json = reply_json(reply);
    assert_string_equal(json_string(json, "cpu_level"), "ref");
    cJSON_Delete(json);
    reply_free(reply);
    expect_well(server);
    server_stop(server);
}

static void the_environment_is_the_flags_twin(void **state)
{
    (void)state;
    char weights[400];
    snprintf(weights, sizeof weights, "CAPSNETD_WEIGHTS=%s", test_weights());
    struct server *server = server_start(
        NO_ARGS, ARGS("CAPSNETD_LISTEN=127.0.0.1:0", weights, "CAPSNETD_MAX_SIDE=50"));
    struct bytes png = blank_png(51, 51, 0);
    expect_refused(server,
                   &(struct request){.path = "/classify", .body = png.data, .nbytes = png.nbytes},
                   413, "too_large", "50");
    free(png.data);
    server_stop(server);
}

static void a_flag_beats_the_environment(void **state)
{
    (void)state;
    struct server *server = server_start(
        ARGS("--max-side=60", "--listen", "127.0.0.1:0"),
        ARGS("CAPSNETD_MAX_SIDE=50", "CAPSNETD_LISTEN=300.0.0.1:nowhere", "CAPSNETD_QUEUE="));
    struct bytes png = blank_png(60, 60, 0);
    cJSON_Delete(post_json(server, "/classify", png.data, png.nbytes));
    free(png.data);
    server_stop(server);
}

static void ipv6_is_listened_on(void **state)
{
    (void)state;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int have = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    if (fd >= 0) close(fd);
    if (!have) CANNOT_RUN("there is no IPv6 loopback");
    struct server *server = server_spawn(ARGS("--listen", "[::1]:0"), NO_ARGS);
    char line[300];
    size_t n = 0;
    while (n + 1 < sizeof line && read(server->stdout_fd, line + n, 1) == 1 && line[n] != '\n') n++;
    line[n] = 0;
    const char *url = strstr(line, "http://[::1]:");
    if (!url) fail_msg("\"%s\" names no IPv6 address", line);
    struct reply *reply =
        http_send_on(server->curl, url, &(struct request){.path = "/healthz"});
    assert_int_equal(reply->status, 200);
    reply_free(reply);
    server_stop(server);
}

/* ---- Refusing to start ------------------------------------------------ */

static void bad_flags_are_refused(void **state)
{
    (void)state;
    refuse_flag("--colour", "--colour", "red");
    refuse_flag("threads", "--threads", "0");
    refuse_flag("threads", "--threads", "-1");
    refuse_flag("threads", "--threads", "two");
    refuse_flag("threads", "--threads", "");
    refuse_flag("threads", "--threads", "99999999999999999999");
    refuse_flag("max-batch", "--max-batch", "0");
    refuse_flag("queue", "--queue", "1.5");
    refuse_flag("queue", "--queue", "0");
    refuse_flag("queue", "--queue", "10 ");
    refuse_flag("max-side", "--max-side", "0x10");
    refuse_flag("max-images", "--max-images", "0");
    refuse_flag("max-body-bytes", "--max-body-bytes", "16M");
    refuse_flag("drain-s", "--drain-s", NULL); /* no value at all */
    refuse_flag("stray", "stray", NULL);
    refuse_flag("-x", "-x", NULL);
    refuse(2, "CAPSNETD_QUEUE", ARGS("--weights", test_weights()), ARGS("CAPSNETD_QUEUE=many"));
}

static void bad_addresses_are_refused(void **state)
{
    (void)state;
    static const char *const addresses[] = {
        "", "127.0.0.1", "127.0.0.1:", ":", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:http",
        "127.0.0.1:80x", "300.0.0.1:80", "[::1:80", "[::1]80", "[]:80", "127.0.0.1:80:80",
        "unix", "Unix:/tmp/x",
    };
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++)
        refuse(2, "listen", ARGS("--weights", test_weights(), "--listen", addresses[i]), NO_ARGS);
}

/* What was asked for holds for every batch. */
static void plans_are_as_asked_for(void **state)
{
    (void)state;
    static const char *const PLANS[] = {"direct", "spectral"};
    for (size_t i = 0; i < 2; i++) {
        struct server *server = server_start(ARGS("--plan", PLANS[i]), NO_ARGS);
        struct reply *reply = http_send(server, &(struct request){.path = "/model"});
        cJSON *json = reply_json(reply);
        const cJSON *plans = cJSON_GetObjectItem(json, "plans");
        assert_int_equal(cJSON_GetArraySize(plans), 1);
        assert_string_equal(json_string(cJSON_GetArrayItem(plans, 0), "primary_caps"), PLANS[i]);
        assert_string_equal(json_string(json, "memory"), i == 0 ? "low" : "full");
        cJSON_Delete(json);
        reply_free(reply);
        server_stop(server);
    }
    refuse(2, "memory full, or plan direct",
           ARGS("--weights", test_weights(), "--memory", "low", "--plan", "spectral"), NO_ARGS);
}

static void bad_cpu_levels_are_refused(void **state)
{
    (void)state;
    static struct outcome outcome;
    server_run(&outcome, ARGS("--weights", test_weights(), "--cpu-level", "sse9", "--listen",
                              "127.0.0.1:0"),
               NO_ARGS);
    assert_in_range(outcome.exit_status, 1, 2);
    assert_non_null(strstr(outcome.err, "sse9"));
}

static void weights_that_cannot_be_read_are_refused(void **state)
{
    (void)state;
    char path[400];
    snprintf(path, sizeof path, "%s/empty", test_folder());
    assert_int_equal(mkdir(path, 0700), 0);
    refuse_weights("empty: the folder holds no file named *.safetensors", path);
    snprintf(path, sizeof path, "%s/missing.safetensors", test_folder());
    refuse_weights("missing.safetensors", path);
    refuse_weights("/dev/null", "/dev/null");
    snprintf(path, sizeof path, "%s/pipe", test_folder());
    assert_int_equal(mkfifo(path, 0600), 0);
    refuse_weights("pipe", path); /* and does not wait for a writer */
}

static void damaged_weights_are_refused(void **state)
{
    (void)state;
    size_t nbytes = 0;
    uint8_t *bytes = read_file(test_weights(), &nbytes);
    char path[400];
    snprintf(path, sizeof path, "%s/damaged.safetensors", test_folder());
    const size_t cuts[] = {0, 1, 7, 8, 9, 100, 3000, nbytes / 2, nbytes - 1};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        write_file(path, bytes, cuts[i]);
        refuse_weights("damaged.safetensors", path);
    }
    /* A shape that does not fit its tensors, and an absurd one. */
    char *height = strstr((char *)bytes + 8, "\"height\":\"28\"");
    assert_non_null(height);
    static const char *const heights[] = {"29", "99", "-1", "0 ", "xx"};
    for (size_t i = 0; i < sizeof heights / sizeof *heights; i++) {
        memcpy(height + 10, heights[i], 2);
        write_file(path, bytes, nbytes);
        refuse_weights("damaged.safetensors", path);
    }
    write_file(path, "\x89PNG\r\n\x1a\n0123456789", 18);
    refuse_weights("damaged.safetensors", path);
    free(bytes);
}

static void a_port_in_use_is_refused(void **state)
{
    (void)state;
    struct server *server = server_start(NO_ARGS, NO_ARGS);
    char listen[40], port[20];
    snprintf(port, sizeof port, "%u", server->port);
    snprintf(listen, sizeof listen, "127.0.0.1:%s", port);
    refuse(1, port, ARGS("--weights", test_weights(), "--listen", listen), NO_ARGS);
    expect_well(server); /* the first one has not noticed */
    server_stop(server);
    refuse(1, "203.0.113.1", ARGS("--weights", test_weights(), "--listen", "203.0.113.1:0"),
           NO_ARGS); /* an address of nobody's machine */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, server_kill_leftovers)
    const struct CMUnitTest tests[] = {
        TEST(help_names_every_flag),
        TEST(version_is_one_line),
        TEST(the_start_up_line_says_what_runs),
        TEST(the_environment_is_the_flags_twin),
        TEST(a_flag_beats_the_environment),
        TEST(ipv6_is_listened_on),
        TEST(bad_flags_are_refused),
        TEST(bad_addresses_are_refused),
        TEST(bad_cpu_levels_are_refused),
        TEST(plans_are_as_asked_for),
        TEST(weights_that_cannot_be_read_are_refused),
        TEST(damaged_weights_are_refused),
        TEST(a_port_in_use_is_refused),
    };
    return cmocka_run_group_tests_name("startup", tests, NULL, NULL);
}
