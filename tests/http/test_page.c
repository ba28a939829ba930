/* test_page.c - the page at "/" and its files, as a browser fetches them. */
#include <stdio.h>
#include <string.h>

#include "tests/http/harness.h"
#include "tests/http/one_server.h"

static void assert_header(const struct reply *reply, const char *name, const char *fragment)
{
    char value[400] = "";
    assert_true(reply_header(reply, name, value, sizeof value));
    if (!strstr(value, fragment))
        fail_msg("%s is \"%s\", without \"%s\"", name, value, fragment);
}

static struct reply *get(const char *path, const char *header)
{
    return http_send(server, &(struct request){.path = path, .headers = {header}});
}

/* Fetches a file, and again with its ETag and with another's. */
static void check_file(const char *path, const char *content_type)
{
    struct reply *reply = get(path, NULL);
    assert_int_equal(reply->status, 200);
    assert_true(reply->nbytes > 100);
    assert_int_equal(strlen((const char *)reply->body), reply->nbytes); /* no 0 byte within */
    assert_header(reply, "Content-Type", content_type);
    assert_header(reply, "Content-Security-Policy", "default-src 'self'");
    assert_header(reply, "X-Content-Type-Options", "nosniff");
    assert_header(reply, "Referrer-Policy", "no-referrer");
    assert_header(reply, "Cache-Control", "no-cache");
    char etag[64], header[96];
    assert_true(reply_header(reply, "ETag", etag, sizeof etag));

    snprintf(header, sizeof header, "If-None-Match: %s", etag);
    struct reply *same = get(path, header);
    assert_int_equal(same->status, 304);
    assert_int_equal(same->nbytes, 0);
    snprintf(header, sizeof header, "%zu", reply->nbytes); /* no other may stand there */
    assert_header(same, "Content-Length", header);
    assert_header(same, "ETag", etag);
    reply_free(same);

    struct reply *other = get(path, "If-None-Match: \"0000000000000000\"");
    assert_int_equal(other->status, 200);
    assert_int_equal(other->nbytes, reply->nbytes);
    assert_memory_equal(other->body, reply->body, reply->nbytes);
    reply_free(other);
    reply_free(reply);
}

static const char SCRIPT[] = "text/javascript; charset=utf-8";

/* Every module that a script imports, './NAME', is there. */
static void check_imports(const char *script)
{
    struct reply *reply = get(script, NULL);
    const char *at = (const char *)reply->body;
    int n = 0;
    for (; (at = strstr(at, "'./")) != NULL; n++) {
        char path[80] = "/web/";
        at += 3;
        const size_t length = strcspn(at, "'");
        assert_true(strlen(path) + length < sizeof path);
        memcpy(path + strlen(path), at, length);
        check_file(path, SCRIPT);
    }
    assert_true(n >= 5);
    reply_free(reply);
}

/* Every file that the page names is there, and none other is loaded. */
static void the_page_and_its_files_are_served(void **state)
{
    (void)state;
    check_file("/", "text/html; charset=utf-8");
    struct reply *page = get("/", NULL);
    const char *at = (const char *)page->body;
    int n = 0;
    while ((at = strstr(at, "=\"web/")) != NULL) {
        char path[80] = "/";
        at += 2;
        size_t length = strcspn(at, "\"");
        assert_true(length < sizeof path - 1);
        memcpy(path + 1, at, length);
        int is_css = strcmp(path + length - 3, ".css") == 0;
        check_file(path, is_css ? "text/css; charset=utf-8" : SCRIPT);
        n++;
    }
    assert_true(n >= 6);
    check_imports("/web/page.js");
    check_imports("/web/nudge.js"); /* of the panels, which page.js imports */
    assert_null(strstr((const char *)page->body, "=\"http"));
    reply_free(page);
}

static void the_page_is_only_read(void **state)
{
    (void)state;
    struct reply *head = http_send(server, &(struct request){.method = "HEAD", .path = "/"});
    assert_int_equal(head->status, 200);
    assert_int_equal(head->nbytes, 0);
    reply_free(head);
    struct reply *post = http_send(server, &(struct request){.path = "/", .body = "x", .nbytes = 1});
    assert_error(post, 405, "method_not_allowed", NULL);
    assert_header(post, "Allow", "GET, HEAD");
    reply_free(post);
    struct reply *none = get("/web/", NULL);
    assert_error(none, 404, "not_found", NULL);
    reply_free(none);
}

/* The page asks for the key; its files are no secret, all else is. */
static void the_page_opens_without_a_key(void **state)
{
    (void)state;
    char key_file[300];
    snprintf(key_file, sizeof key_file, "%s/page-keys", test_folder());
    FILE *file = fopen(key_file, "w");
    assert_non_null(file);
    assert_true(fputs("0123456789abcdef0123456789abcdef\n", file) >= 0);
    assert_int_equal(fclose(file), 0);
    struct server *locked = server_start(ARGS("--api-key-file", key_file), NO_ARGS);
    static const struct {
        const char *path;
        long status;
    } CASES[] = {{"/", 200}, {"/web/page.js", 200}, {"/web/other.js", 401}, {"/model", 401}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        struct reply *reply = http_send(locked, &(struct request){.path = CASES[i].path});
        assert_int_equal(reply->status, CASES[i].status);
        reply_free(reply);
    }
    server_stop(locked);
}

/* Mail programs, social networks and advertising add parameters to the links that
 * they show; probes and caches add some to be sure of a fresh answer. */
static void parameters_that_links_collect_are_passed_over(void **state)
{
    (void)state;
    static const char *const paths[] = {"/",        "/web/page.js", "/web/style.css",
                                        "/healthz", "/readyz",      "/metrics"};
    static const char *const queries[] = {"?fbclid=abc", "?utm_source=x&utm_source=x", "?%00",
                                          "?x", "?"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct reply *plain = get(paths[i], NULL);
        for (size_t k = 0; k < sizeof queries / sizeof *queries; k++) {
            char path[80];
            snprintf(path, sizeof path, "%s%s", paths[i], queries[k]);
            struct reply *reply = get(path, NULL);
            if (reply->status != 200)
                fail_msg("%s: %ld %s", path, reply->status, (const char *)reply->body);
            if (strcmp(paths[i], "/metrics") != 0) /* whose numbers change */
                assert_string_equal((const char *)reply->body, (const char *)plain->body);
            reply_free(reply);
        }
        reply_free(plain);
    }
    expect_refused(server, &(struct request){.path = "/model?fbclid=abc"}, 400,
                   "invalid_parameter", "fbclid");
    expect_refused(server, &(struct request){.path = "/openapi.json?fbclid=abc"}, 400,
                   "invalid_parameter", "fbclid");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_and_its_files_are_served),
        cmocka_unit_test(the_page_is_only_read),
        cmocka_unit_test(the_page_opens_without_a_key),
        cmocka_unit_test(parameters_that_links_collect_are_passed_over),
    };
    int failed = cmocka_run_group_tests_name("the page", tests, start, stop);
    server_kill_leftovers(NULL);
    return failed;
}
