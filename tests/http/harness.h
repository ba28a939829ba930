/*
 * harness.h - what every HTTP test stands on: the real server as a child
 * process, requests to it through libcurl and over bare sockets.
 *
 * Everything has a time-out.  A server that dies, hangs or says nothing fails
 * the running test and its stderr is shown.  No server outlives the test
 * program.  Only the main thread may call what fails a test; the functions
 * for other threads say so.
 *
 * BUILD              folder with the binaries, default "build"
 * CAPSNETD_WRAPPER   a command to run the server under, words split at spaces,
 *                    e.g. "valgrind --error-exitcode=99 -q --leak-check=full";
 *                    every time-out is then 15 times longer
 * CAPSNETD_CPU_LEVEL is handed on; all other CAPSNETD_ variables are not.
 */
#ifndef HTTP_HARNESS_H
#define HTTP_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cjson/cJSON.h>
#include <cmocka.h>
#include <curl/curl.h>

#define NO_ARGS   ((const char *const[]){NULL})
#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* ---- The server ------------------------------------------------------- */

/* A running server.  Read the fields, leave them alone. */
struct server {
    pid_t pid;
    int stdout_fd;
    unsigned port;         /* 0 on a Unix socket */
    char url[160];         /* "http://127.0.0.1:PORT", no slash at the end, or "unix:PATH" */
    char line[512];        /* the start-up line, without its newline */
    char stderr_path[300]; /* what it has written to stderr so far */
    CURL *curl;            /* http_send()'s connection, kept alive */
};

/* How a server ended that was not meant to serve. */
struct outcome {
    int exit_status;  /* -1: ended by a signal */
    char out[16384];  /* stdout */
    char err[16384];  /* stderr */
};

/* Starts the server on a free port of 127.0.0.1 with the small test weights,
 * unless args or env say otherwise, and waits until /readyz says so.
 *
 * args  flags, NULL at the end
 * env   "NAME=value" strings, NULL at the end
 *
 * Returns the server, never NULL; server_stop() it. */
struct server *server_start(const char *const *args, const char *const *env);

/* The same without waiting for anything: line and url are empty. */
struct server *server_spawn(const char *const *args, const char *const *env);

/* The same, handing over n descriptors as systemd does: 3, 4, ... are copies of fd. */
struct server *server_spawn_on(int fd, int n, const char *const *args, const char *const *env);

/* Waits for the start-up line and for /readyz. */
void server_wait_ready(struct server *server);

/* SIGTERM, then checks: exit status 0, nothing on stdout after the start-up
 * line, no sanitizer report.  Frees the server; NULL is ignored, so that a
 * teardown after a failed setup is harmless. */
void server_stop(struct server *server);

/* Sends SIGTERM and returns at once. */
void server_terminate(struct server *server);

/* Waits for the end and checks it as server_stop() does. */
void server_finish(struct server *server);

/* Is the process still there? */
int server_alive(const struct server *server);

/* The server's stderr so far; free() it. */
char *server_log(const struct server *server);

/* Runs the server with exactly these flags until it ends by itself; one that
 * is still there after the time-out fails the test. */
void server_run(struct outcome *outcome, const char *const *args, const char *const *env);

/* For teardown: kills what a failed test left behind.  Always returns 0. */
int server_kill_leftovers(void **state);

/* Milliseconds, stretched when the server runs under a wrapper. */
long stretch_ms(long ms);

/* Now, in milliseconds of a clock that only goes forward. */
long now_ms(void);
void sleep_ms(long ms);

/* A folder that is removed when the program ends. */
const char *test_folder(void);

/* ---- HTTP through libcurl --------------------------------------------- */

struct part {
    const char *name, *filename; /* filename may be NULL */
    const void *bytes;
    size_t nbytes;
};

struct request {
    const char *method; /* NULL: POST when there is a body or a part, else GET */
    const char *path;   /* with the query */
    const char *headers[6];
    const void *body;
    size_t nbytes;
    int chunked;
    const struct part *parts; /* multipart/form-data instead of body */
    size_t n_parts;
};

struct reply {
    long status;   /* 0: no answer; error says why */
    char *headers; /* raw header block */
    size_t headers_nbytes;
    uint8_t *body; /* with a 0 after it */
    size_t nbytes;
    long connects; /* new connections this request needed */
    long ms;       /* time it took */
    char error[CURL_ERROR_SIZE];
};

/* Sends a request on the server's own kept-alive connection.  No answer fails
 * the test.  reply_free() the reply. */
struct reply *http_send(struct server *server, const struct request *request);

/* Sends it on a handle of the caller's; for any thread.  The reply's status
 * is 0 when there was no answer.  Never NULL. */
struct reply *http_send_on(CURL *curl, const char *url, const struct request *request);

void reply_free(struct reply *reply); /* NULL is ignored */

enum { FLIGHT_MAX = 32 };

/* Requests on their way, each on a connection and a thread of its own. */
struct flight;

/* Sends n requests (at most FLIGHT_MAX) at once and returns; the requests
 * must live until http_land(), which waits for the answers.  replies: [n],
 * each to be freed, status 0 where there was none. */
struct flight *http_launch(const struct server *server, const struct request *requests, size_t n);
void http_land(struct flight *flight, struct reply **replies);

/* Copies a header's value (name without colon, any case); returns 0 when the
 * reply has no such header. */
int reply_header(const struct reply *reply, const char *name, char *value, size_t value_nbytes);

/* The body as JSON, after checking the content type and that nothing follows
 * the document; cJSON_Delete() it. */
cJSON *reply_json(const struct reply *reply);

/* Checks that the reply is an error as server/web/openapi.json has it: status,
 * JSON with exactly error.code and error.message, one sentence that contains
 * fragment (NULL: any). */
void assert_error(const struct reply *reply, long status, const char *code, const char *fragment);

/* Sends a request that must be refused so, then a good one that must work. */
void expect_refused(struct server *server, const struct request *request, long status,
                    const char *code, const char *fragment);

/* Sends a good /classify request and checks that it gets its answer. */
void expect_well(struct server *server);

/* POSTs a body and returns its JSON answer after checking for status 200. */
cJSON *post_json(struct server *server, const char *path, const void *body, size_t nbytes);

/* ---- JSON ------------------------------------------------------------- */

/* A member of that name and kind, or the test fails naming it. */
const cJSON *json_array(const cJSON *object, const char *name, int size); /* -1: any */
const cJSON *json_object(const cJSON *object, const char *name);
const char *json_string(const cJSON *object, const char *name);
double json_number(const cJSON *object, const char *name);

/* Checks that two answers are the same: structure, strings and class exactly,
 * numbers to within ANSWER_TOLERANCE. */
void assert_same_answer(const cJSON *a, const cJSON *b);

/* The network computes small batches by direct convolution and larger ones in
 * a transform domain.  Both are exact but for rounding, so an image's numbers may
 * differ in their last digits with the size of its batch, though never with its
 * neighbours or its place. */
#define ANSWER_TOLERANCE 1e-4

/* Checks an array: size finite numbers, each within [low, high]. */
void assert_numbers(const cJSON *array, int size, double low, double high);

/* ---- Bare sockets ----------------------------------------------------- */

/* Connects; the descriptor gives up reading after timeout_ms. */
int raw_connect(const struct server *server, long timeout_ms);

/* Sends all of it; returns 0, or -1 when the server has hung up. */
int raw_send(int fd, const void *bytes, size_t nbytes);

/* Reads until the server closes, at most size - 1 bytes, and puts a 0 behind
 * them.  Returns the count, or -1 when the time is up first. */
long raw_read_all(int fd, char *text, size_t size);

/* Sends text on a new connection, reads until the server closes. */
void raw_exchange(const struct server *server, const char *text, char *answer, size_t size);

#endif
