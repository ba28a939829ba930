/* test_tls.c - HTTPS: the certificate, its renewal, and what is refused. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/http/fixtures.h"
#include "tests/http/harness.h"
#include "tests/http/tls.h"

static char cert_path[300], key_path[300];

static char *in_folder(char path[300], const char *name)
{
    snprintf(path, 300, "%s/%s", test_folder(), name);
    return path;
}

static void make_pair(void)
{
    make_certificate(in_folder(cert_path, "cert.pem"), in_folder(key_path, "key.pem"));
}

static size_t drop(char *bytes, size_t size, size_t n, void *context)
{
    (void)bytes, (void)context;
    return size * n;
}

/* The status of a request on a new connection that trusts the certificates of
 * a file; 0 when there was no answer. */
static long fetch(const struct server *server, const char *trusted, const char *path,
                  const struct bytes *body)
{
    char url[100];
    long status = 0;
    CURL *curl = curl_easy_init();
    assert_non_null(curl);
    snprintf(url, sizeof url, "https://127.0.0.1:%u%s", server->port, path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_CAINFO, trusted);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, stretch_ms(20000));
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, drop);
    if (body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body->data);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)body->nbytes);
    }
    if (curl_easy_perform(curl) == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(curl);
    return status;
}

static void requests_are_answered_over_tls(void **state)
{
    (void)state;
    make_pair();
    struct server *server = server_start_tls(cert_path, key_path);
    struct bytes png = draw_png(0);
    assert_int_equal(fetch(server, cert_path, "/classify", &png), 200);
    assert_int_equal(fetch(server, cert_path, "/nowhere", NULL), 404);
    char other[300], other_key[300];
    make_certificate(in_folder(other, "other.pem"), in_folder(other_key, "other-key.pem"));
    assert_int_equal(fetch(server, other, "/healthz", NULL), 0); /* a stranger's */
    char variables[3][400];
    snprintf(variables[0], 400, "CAPSNETD_LISTEN=127.0.0.1:%u", server->port);
    snprintf(variables[1], 400, "CAPSNETD_TLS_CERT=%s", cert_path);
    snprintf(variables[2], 400, "CAPSNETD_TLS_KEY=%s", key_path);
    static struct outcome outcome;
    server_run(&outcome, ARGS("healthcheck"), ARGS(variables[0], variables[1], variables[2]));
    assert_string_equal(outcome.err, "");
    assert_int_equal(outcome.exit_status, 0);
    server_run(&outcome, ARGS("healthcheck"), ARGS(variables[0])); /* plain HTTP */
    assert_int_equal(outcome.exit_status, 1);
    free(png.data);
    server_stop(server);
}

/* One who says nothing is cut off, and nothing is said to him in the clear. */
static void silence_is_cut_off(void **state)
{
    (void)state;
    make_pair();
    struct server *server = server_start_tls(cert_path, key_path);
    char answer[1000];
    int fd = raw_connect(server, 60000);
    assert_int_equal(raw_send(fd, "\x16\x03\x01\x02", 4), 0);
    assert_true(raw_read_all(fd, answer, sizeof answer) >= 0);
    assert_null(strstr(answer, "HTTP/1."));
    close(fd);
    assert_int_equal(fetch(server, cert_path, "/healthz", NULL), 200);
    server_stop(server);
}

static void a_renewed_certificate_is_taken(void **state)
{
    (void)state;
    make_pair();
    struct server *server = server_start_tls(cert_path, key_path);
    char old[300], broken[300];
    rename(cert_path, in_folder(old, "old.pem"));
    make_pair();
    assert_int_equal(fetch(server, old, "/healthz", NULL), 200);
    assert_int_equal(kill(server->pid, SIGHUP), 0);
    for (long until = now_ms() + stretch_ms(20000);
         fetch(server, cert_path, "/healthz", NULL) != 200; sleep_ms(20))
        assert_true(now_ms() < until);
    assert_int_equal(fetch(server, old, "/healthz", NULL), 0);
    /* A key that does not belong to it: the renewed pair stays. */
    make_certificate(in_folder(broken, "broken.pem"), key_path);
    assert_int_equal(kill(server->pid, SIGHUP), 0);
    int said = 0;
    for (long until = now_ms() + stretch_ms(20000); !said && now_ms() < until; sleep_ms(10)) {
        char *log = server_log(server);
        said = strstr(log, "keeping the old TLS certificate: ") != NULL;
        free(log);
    }
    assert_true(said);
    assert_int_equal(fetch(server, cert_path, "/healthz", NULL), 200);
    server_stop(server);
}

static void bad_pairs_are_refused(void **state)
{
    (void)state;
    make_pair();
    char other[300], other_key[300];
    make_certificate(in_folder(other, "other.pem"), in_folder(other_key, "other-key.pem"));
    const struct {
        const char *cert, *key, *fragment;
        int exit_status;
    } CASES[] = {
        {cert_path, other_key, "does not belong", 1}, {key_path, key_path, "certificate", 1},
        {cert_path, cert_path, "TLS key", 1},         {"/nowhere", key_path, "/nowhere", 1},
        {cert_path, "/nowhere", "/nowhere", 1},       {cert_path, NULL, "together", 2},
        {NULL, key_path, "together", 2},
    };
    static struct outcome outcome;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        char cert[400] = "CAPSNETD_TLS_CERT=", key[400] = "CAPSNETD_TLS_KEY=";
        if (CASES[i].cert) strcat(cert, CASES[i].cert);
        if (CASES[i].key) strcat(key, CASES[i].key);
        server_run(&outcome, ARGS("--weights", test_weights(), "--listen", "127.0.0.1:0"),
                   ARGS(cert, key));
        if (outcome.exit_status != CASES[i].exit_status ||
            !strstr(outcome.err, CASES[i].fragment))
            fail_msg("exit status %d, \"%s\" does not say \"%s\"", outcome.exit_status,
                     outcome.err, CASES[i].fragment);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, server_kill_leftovers)
    const struct CMUnitTest tests[] = {
        TEST(requests_are_answered_over_tls),
        TEST(silence_is_cut_off),
        TEST(a_renewed_certificate_is_taken),
        TEST(bad_pairs_are_refused),
    };
    return cmocka_run_group_tests_name("tls", tests, NULL, NULL);
}
