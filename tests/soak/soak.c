/*
 * soak.c - the real server under mixed good and bad traffic for SOAK_MINUTES:
 * clients that ask properly and wrongly, clients that hang up in the middle,
 * a queue that is often full, and new weights every second and a half.
 *
 * Every request that got a connection must get the one answer it deserves, or
 * 503; there must be no 500; memory must not grow; SIGTERM must end it all with
 * exit status 0.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/http/fixtures.h"
#include "tests/http/harness.h"

enum { CLIENTS = 24, LEAVERS = 6, KINDS = 14, BATCH = 8, SAMPLE_MS = 500, RELOAD_MS = 1500 };

/* Resident memory in the last quarter, as a median, may be larger than in the
 * second quarter by this much.  Reloads free and take a model all the time, so
 * that single readings vary by its size; medians do not. */
#define TOLERANCE 1.05

struct kind {
    struct request request;
    long status; /* what it deserves */
};

static struct kind kinds[KINDS];
static atomic_int stop;
static const char *url;
static unsigned port;

/* ---- What is sent ------------------------------------------------------- */

static struct request post(const char *path, const void *body, size_t nbytes)
{
    return (struct request){.path = path, .body = body, .nbytes = nbytes};
}

static struct request post_as_json(const char *path, const char *text)
{
    struct request request = post(path, text, strlen(text));
    request.headers[0] = "Content-Type: application/json";
    return request;
}

/* An inference request with its pixels as bytes behind the JSON. */
static struct request infer(char body[2000], char header[64])
{
    int n = snprintf(body, 1000, "{\"inputs\": [{\"name\": \"image\", \"datatype\": \"UINT8\", "
                                 "\"shape\": [1,28,28], \"parameters\": "
                                 "{\"binary_data_size\": 784}}]}");
    draw_pixels((uint8_t *)body + n, 5);
    snprintf(header, 64, "Inference-Header-Content-Length: %d", n);
    struct request request = post("/v2/models/capsnet-test/infer", body, (size_t)n + 784);
    request.headers[0] = header;
    return request;
}

/* All of it lives as long as the program. */
static void make_kinds(void)
{
    static char infer_body[2000], infer_header[64];
    static struct part parts[2];
    struct bytes pngs[BATCH], bomb = bomb_png(30000, 30000), large = blank_png(1000, 800, 255);
    for (unsigned i = 0; i < BATCH; i++) {
        pngs[i] = draw_png(i);
        if (i < 2)
            parts[i] = (struct part){"image", "a.png", pngs[i].data, pngs[i].nbytes};
    }
    struct request multipart = {.path = "/pose", .parts = parts, .n_parts = 2};
    struct request chunked = post("/classify", pngs[2].data, pngs[2].nbytes);
    chunked.chunked = 1;
    const struct kind all[KINDS] = {
        {post("/classify", pngs[0].data, pngs[0].nbytes), 200},
        {post_as_json("/classify?poses=1", images_json(pngs, BATCH)), 200},
        {multipart, 200},
        {chunked, 200},
        {post("/reconstruct?sweep=1", pngs[1].data, pngs[1].nbytes), 200},
        {post("/classify?normalize=fit", large.data, large.nbytes), 200},
        {infer(infer_body, infer_header), 200},
        {{.path = "/metrics"}, 200},
        {post("/classify", pngs[3].data, pngs[3].nbytes / 2), 400},
        {post_as_json("/classify", "{\"images\": [\"****\"]}"), 400},
        {post("/classify", bomb.data, bomb.nbytes), 413},
        {post("/classify", "hello", 5), 415},
        {post("/pose?scale=3", pngs[4].data, pngs[4].nbytes), 400},
        {{.path = "/nowhere"}, 404},
    };
    memcpy(kinds, all, sizeof kinds);
}

/* ---- Who sends it --------------------------------------------------------- */

struct client {
    pthread_t thread;
    uint64_t random;
    size_t deserved, busy; /* answers: as deserved, and 503 */
    char failure[600];
};

static unsigned draw(struct client *client, unsigned below)
{
    client->random = client->random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(client->random >> 33) % below;
}

static void *ask(void *argument)
{
    struct client *client = argument;
    CURL *curl = curl_easy_init();
    if (!curl)
        abort();
    while (!atomic_load(&stop) && !*client->failure) {
        const struct kind *kind = &kinds[draw(client, KINDS)];
        struct reply *reply = http_send_on(curl, url, &kind->request);
        if (reply->status == kind->status)
            client->deserved++;
        else if (reply->status == 503)
            client->busy++;
        else
            snprintf(client->failure, sizeof client->failure, "%s: %ld, not %ld: %.200s %s",
                     kind->request.path, reply->status, kind->status,
                     reply->body ? (char *)reply->body : "", reply->error);
        reply_free(reply);
    }
    curl_easy_cleanup(curl);
    return NULL;
}

/* Sends a part of a good request, from nothing to all of it, and hangs up
 * without reading: politely, or with a reset. */
static void leave(struct client *client)
{
    const struct request *request = &kinds[draw(client, 2)].request;
    char head[300];
    int head_nbytes = snprintf(head, sizeof head,
                               "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                               "Content-Length: %zu\r\n\r\n", request->path, request->nbytes);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct linger reset = {1, 0};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        abort();
    size_t total = (size_t)head_nbytes + request->nbytes;
    size_t n = draw(client, 4) ? draw(client, (unsigned)total) : total;
    size_t first = n < (size_t)head_nbytes ? n : (size_t)head_nbytes;
    if (raw_send(fd, head, first) == 0 && raw_send(fd, request->body, n - first) == 0)
        sleep_ms(draw(client, 20));
    if (draw(client, 2))
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
    client->deserved++;
}

static void *leave_again(void *argument)
{
    while (!atomic_load(&stop))
        leave(argument);
    return NULL;
}

/* ---- Watching --------------------------------------------------------------- */

static double resident_mib(const struct server *server)
{
    char path[64];
    unsigned long size, resident;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)server->pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &size, &resident), 2);
    fclose(file);
    return (double)resident * (double)sysconf(_SC_PAGESIZE) / (1 << 20);
}

static int compare(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, compare);
    return values[n / 2];
}

/* Reloads and samples until the time is over; [n] of resident are filled. */
static size_t watch(struct server *server, double minutes, double *resident, size_t room)
{
    long begin = now_ms(), end = begin + (long)(minutes * 60000), reload = begin;
    size_t n = 0;
    while (now_ms() < end && n < room && server_alive(server)) {
        if (now_ms() >= reload) {
            assert_int_equal(kill(server->pid, SIGHUP), 0);
            reload += RELOAD_MS;
        }
        sleep_ms(SAMPLE_MS);
        resident[n++] = resident_mib(server);
    }
    atomic_store(&stop, 1);
    return n;
}

static long metric(const char *metrics, const char *sample)
{
    const char *at = strstr(metrics, sample);
    return at ? strtol(at + strlen(sample), NULL, 10) : -1;
}

static void soak(void **state)
{
    (void)state;
    static struct client clients[CLIENTS + LEAVERS];
    static double resident[100000];
    const char *seed_text = getenv("SEED"), *minutes_text = getenv("SOAK_MINUTES");
    unsigned long seed = seed_text ? strtoul(seed_text, NULL, 10) : (unsigned long)now_ms();
    double minutes = minutes_text ? strtod(minutes_text, NULL) : 3;
    size_t deserved = 0, busy = 0, left = 0;
    make_kinds();
    struct server *server = server_start(
        ARGS("--queue", "16", "--max-batch", "16", "--log-level", "error"), NO_ARGS);
    url = server->url;
    port = server->port;
    printf("seed %lu, %g minutes, %d clients and %d that hang up, memory before %.1f MiB\n", seed,
           minutes, CLIENTS, LEAVERS, resident_mib(server));
    fflush(stdout);
    for (size_t i = 0; i < CLIENTS + LEAVERS; i++) {
        clients[i].random = seed + i;
        assert_int_equal(pthread_create(&clients[i].thread, NULL, i < CLIENTS ? ask : leave_again,
                                        &clients[i]), 0);
    }
    size_t n = watch(server, minutes, resident, sizeof resident / sizeof *resident);
    for (size_t i = 0; i < CLIENTS + LEAVERS; i++) {
        assert_int_equal(pthread_join(clients[i].thread, NULL), 0);
        if (i < CLIENTS)
            deserved += clients[i].deserved, busy += clients[i].busy;
        else
            left += clients[i].deserved;
    }
    for (size_t i = 0; i < CLIENTS; i++)
        if (*clients[i].failure)
            fail_msg("%s", clients[i].failure);
    struct reply *reply = http_send(server, &(struct request){.path = "/metrics"});
    const char *metrics = (const char *)reply->body;
    long reloads = metric(metrics, "\ncapsnetd_reloads_total{result=\"ok\"} ");
    printf("%zu answered as deserved, %zu with 503, %zu hung up, %ld reloads\n", deserved, busy,
           left, reloads);
    assert_null(strstr(metrics, "\"500\""));
    assert_int_equal(metric(metrics, "\ncapsnetd_reloads_total{result=\"failed\"} "), 0);
    assert_true(reloads >= 1 && busy >= 1 && deserved >= 1 && left >= 1 && n >= 8);
    reply_free(reply);
    double early = median(resident + n / 4, n / 4), late = median(resident + n - n / 4, n / 4);
    printf("resident memory, medians: second quarter %.1f MiB, last quarter %.1f MiB "
           "(may be %g times as much)\n", early, late, TOLERANCE);
    assert_true(late <= early * TOLERANCE);
    expect_well(server);
    server_stop(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(soak, server_kill_leftovers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
