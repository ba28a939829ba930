/*
 * test_concurrent.c - many clients at once: each gets its own answer, the one
 * that it would get alone, whatever shares its batch.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/http/fixtures.h"
#include "tests/http/harness.h"

enum { CLIENTS = 12, ROUNDS = 6, KINDS = 3 };

/* What a client sends, and the answer when nobody else asks. */
struct question {
    struct request request;
    struct bytes png;
    char *json;
    struct reply *alone;
};

static struct question questions[CLIENTS];

/* One image, a batch of five, or a picture to be made. */
static void make_question(struct server *server, unsigned client)
{
    struct question *question = &questions[client];
    question->png = draw_png(300 + client);
    question->request =
        (struct request){.path = client % KINDS == 2 ? "/reconstruct?scale=2" : "/classify?poses=1",
                         .body = question->png.data,
                         .nbytes = question->png.nbytes};
    if (client % KINDS == 1) {
        struct bytes pngs[5];
        for (unsigned i = 0; i < 5; i++) pngs[i] = draw_png(400 + 5 * client + i);
        question->json = images_json(pngs, 5);
        for (unsigned i = 0; i < 5; i++) free(pngs[i].data);
        question->request.body = question->json;
        question->request.nbytes = strlen(question->json);
        question->request.headers[0] = "Content-Type: application/json";
    }
    question->alone = http_send(server, &question->request);
    assert_int_equal(question->alone->status, 200);
}

/* The same answer?  Pictures may differ by the rounding of a gray level. */
static void compare(const struct reply *a, const struct reply *b, int is_picture)
{
    if (!is_picture) {
        cJSON *json[2] = {reply_json(a), reply_json(b)};
        assert_same_answer(json[0], json[1]);
        cJSON_Delete(json[0]);
        cJSON_Delete(json[1]);
        return;
    }
    uint8_t *pixels[2] = {check_png(a->body, a->nbytes, 56, 56),
                          check_png(b->body, b->nbytes, 56, 56)};
    for (int i = 0; i < 56 * 56; i++) assert_in_range(pixels[0][i] - pixels[1][i] + 1, 0, 2);
    free(pixels[0]);
    free(pixels[1]);
}

/* All clients ask at once, several times; args are the server's flags. */
static void ask_all(const char *const *args)
{
    struct server *server = server_start(args, NO_ARGS);
    struct request requests[CLIENTS];
    for (unsigned client = 0; client < CLIENTS; client++) {
        make_question(server, client);
        requests[client] = questions[client].request;
    }
    for (int round = 0; round < ROUNDS; round++) {
        struct reply *replies[CLIENTS];
        http_land(http_launch(server, requests, CLIENTS), replies);
        for (unsigned client = 0; client < CLIENTS; client++) {
            struct reply *reply = replies[client];
            if (reply->status != 200)
                fail_msg("client %u: %ld %s %s", client, reply->status, reply->error,
                         (const char *)reply->body);
            compare(reply, questions[client].alone, client % KINDS == 2);
            reply_free(reply);
        }
    }
    for (unsigned client = 0; client < CLIENTS; client++) {
        free(questions[client].png.data);
        free(questions[client].json);
        reply_free(questions[client].alone);
        questions[client] = (struct question){0};
    }
    server_stop(server);
}

static void each_client_gets_its_own_answer(void **state)
{
    (void)state;
    ask_all(NO_ARGS);
}

/* A delay, so that what comes together is computed together. */
static void batched_answers_are_the_same(void **state)
{
    (void)state;
    ask_all(ARGS("--batch-delay-us", "100000"));
}

/* Batches of three: requests of five images are spread over several. */
static void requests_larger_than_a_batch_are_the_same(void **state)
{
    (void)state;
    ask_all(ARGS("--max-batch", "3", "--threads", "2"));
}

/* A batch as large as one may send, through a queue of one. */
static void a_large_request_passes_a_small_queue(void **state)
{
    (void)state;
    struct server *server = server_start(ARGS("--queue", "1", "--max-batch", "5"), NO_ARGS);
    struct bytes pngs[64];
    for (unsigned i = 0; i < 64; i++) pngs[i] = draw_png(i);
    char *body = images_json(pngs, 64);
    cJSON *json = post_json(server, "/pose", body, strlen(body));
    json_array(json, "predictions", 64);
    cJSON_Delete(json);
    free(body);
    for (unsigned i = 0; i < 64; i++) free(pngs[i].data);
    expect_well(server);
    server_stop(server);
}

/* Requests that arrive on n connections while the server looks at none of them. */
static void ask_while_it_sleeps(const struct server *server, size_t n)
{
    static const char request[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    static const char last[] = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    int *fds = calloc(n, sizeof *fds);
    char answer[4096];
    assert_non_null(fds);
    for (size_t i = 0; i < n; i++) { /* known to its thread, which waits for the next request */
        fds[i] = raw_connect(server, stretch_ms(5000));
        assert_int_equal(raw_send(fds[i], request, strlen(request)), 0);
        assert_true(read(fds[i], answer, sizeof answer) > 0);
    }
    assert_int_equal(kill(server->pid, SIGSTOP), 0);
    assert_int_equal(waitpid(server->pid, NULL, WUNTRACED), server->pid);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(raw_send(fds[i], last, strlen(last)), 0);
    assert_int_equal(kill(server->pid, SIGCONT), 0);
    for (size_t i = 0; i < n; i++) {
        if (raw_read_all(fds[i], answer, sizeof answer) < 0)
            fail_msg("of %zu requests at once, number %zu got no answer", n, i);
        assert_memory_equal(answer, "HTTP/1.1 200", 12);
        close(fds[i]);
    }
    free(fds);
}

/* libmicrohttpd looks at 128 events at a time. */
static void as_many_at_once_as_the_library_looks_at(void **state)
{
    (void)state;
    struct server *server = server_start(ARGS("--threads", "1"), NO_ARGS);
    ask_while_it_sleeps(server, 127);
    ask_while_it_sleeps(server, 128);
    ask_while_it_sleeps(server, 256);
    expect_well(server);
    server_stop(server);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, server_kill_leftovers)
    const struct CMUnitTest tests[] = {
        TEST(each_client_gets_its_own_answer),
        TEST(batched_answers_are_the_same),
        TEST(requests_larger_than_a_batch_are_the_same),
        TEST(a_large_request_passes_a_small_queue),
        TEST(as_many_at_once_as_the_library_looks_at),
    };
    return cmocka_run_group_tests_name("concurrent", tests, NULL, NULL);
}
