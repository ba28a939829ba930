/* traffic.c - see traffic.h. */
#include "tests/soak/traffic.h"

#include <arpa/inet.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "tests/http/fixtures.h"
#include "tests/http/harness.h"

enum { MOST_CLIENTS = 64, KINDS = 22, BATCH = 8 };

struct kind {
    struct request request;
    long status; /* what it deserves */
};

struct client {
    pthread_t thread;
    enum manner manner;
    uint64_t random;
    struct traffic_counts counts;
    char failure[600];
};

static struct kind kinds[KINDS];
static struct client clients[MOST_CLIENTS];
static size_t n_clients;
static atomic_int is_over, has_failed;
static const char *service;
static unsigned service_port;

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

/* A drawing of tests/digits, in the form that its name says. */
static struct request drawing(const char *path, const char *name)
{
    char file[64];
    size_t nbytes;
    snprintf(file, sizeof file, "tests/digits/%s.png", name);
    uint8_t *bytes = read_file(file, &nbytes);
    return post(path, bytes, nbytes);
}

/* All of it lives as long as the program. */
static void make_kinds(void)
{
    static const char POSE[] =
        "{\"class\": 3, \"pose\": [0.3,0,0,0,0.2,0,0,0,0,-0.3,0,0,0,0.4,0,0]}";
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
        {drawing("/classify", "palette-5"), 200},
        {drawing("/classify?poses=1&routing=1", "colour-7"), 200},
        {drawing("/pose", "transparent-3"), 200},
        {drawing("/classify", "bilevel-2"), 200},
        {drawing("/reconstruct?scale=4", "large-4"), 200},
        {post_as_json("/reconstruct", POSE), 200},
        {{.path = "/"}, 200},
        {{.path = "/model"}, 200},
        {post("/classify", pngs[3].data, pngs[3].nbytes / 2), 400},
        {post_as_json("/classify", "{\"images\": [\"****\"]}"), 400},
        {post("/classify", bomb.data, bomb.nbytes), 413},
        {post("/classify", "hello", 5), 415},
        {post("/pose?scale=3", pngs[4].data, pngs[4].nbytes), 400},
        {{.path = "/nowhere"}, 404},
    };
    memcpy(kinds, all, sizeof kinds);
}

/* ---- Asking ------------------------------------------------------------------ */

static unsigned draw(struct client *client, unsigned below)
{
    client->random = client->random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(client->random >> 33) % below;
}

/* Counts an answer, or keeps what is wrong with it. */
static void judge(struct client *client, const struct kind *kind, long status, const char *text)
{
    if (status == kind->status)
        client->counts.deserved++;
    else if (status == 503)
        client->counts.busy++;
    else {
        snprintf(client->failure, sizeof client->failure, "%s: %ld, not %ld: %.300s",
                 kind->request.path, status, kind->status, text);
        atomic_store(&has_failed, 1);
    }
}

static void ask(struct client *client, CURL *curl)
{
    const struct kind *kind = &kinds[draw(client, KINDS)];
    struct reply *reply = http_send_on(curl, service, &kind->request);
    judge(client, kind, reply->status, reply->status ? (const char *)reply->body : reply->error);
    reply_free(reply);
}

/* ---- Over bare sockets ---------------------------------------------------------- */

static int connect_plainly(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)service_port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval patience = {.tv_sec = 60};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        abort();
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

/* A good request that is one body, as bytes: [*nbytes], free() them. */
static char *as_bytes(const struct request *request, size_t *nbytes)
{
    char head[300];
    const size_t head_nbytes = (size_t)snprintf(
        head, sizeof head,
        "POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s%sContent-Length: %zu\r\n\r\n",
        request->path, request->headers[0] ? request->headers[0] : "",
        request->headers[0] ? "\r\n" : "", request->nbytes);
    char *bytes = malloc(head_nbytes + request->nbytes);
    if (!bytes)
        abort();
    memcpy(bytes, head, head_nbytes);
    memcpy(bytes + head_nbytes, request->body, request->nbytes);
    *nbytes = head_nbytes + request->nbytes;
    return bytes;
}

/* Reads to the end; the status, 0 when there was no answer. */
static long read_status(int fd, char text[400])
{
    char rest[4096];
    size_t n = 0;
    ssize_t got;
    while ((got = recv(fd, rest, sizeof rest, 0)) > 0)
        for (ssize_t i = 0; i < got && n < 399; i++)
            text[n++] = rest[i];
    text[n] = '\0';
    return strncmp(text, "HTTP/1.1 ", 9) == 0 ? strtol(text + 9, NULL, 10) : 0;
}

/* Sends a part of a good request, from nothing to all of it, and hangs up without
 * reading: politely, or with a reset. */
static void leave(struct client *client)
{
    const struct linger reset = {1, 0};
    size_t total;
    char *bytes = as_bytes(&kinds[draw(client, 2)].request, &total);
    int fd = connect_plainly();
    size_t n = draw(client, 4) ? draw(client, (unsigned)total) : total;
    if (raw_send(fd, bytes, n) == 0)
        sleep_ms(draw(client, 20));
    if (draw(client, 2))
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
    free(bytes);
    client->counts.deserved++;
}

/* All of a good request, then the end of what will be sent. */
static void half_close(struct client *client)
{
    char text[400];
    const struct kind *kind = &kinds[draw(client, 2)];
    size_t nbytes;
    char *bytes = as_bytes(&kind->request, &nbytes);
    int fd = connect_plainly();
    if (raw_send(fd, bytes, nbytes) == 0)
        shutdown(fd, SHUT_WR);
    const long status = read_status(fd, text);
    if (status)
        judge(client, kind, status, text);
    else
        client->counts.unanswered++;
    close(fd);
    free(bytes);
    sleep_ms(20);
}

static int has_answer(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0;
}

/* A good request in pieces of a few bytes, over some seconds, or until it is refused. */
static void drip(struct client *client)
{
    char text[400];
    const struct kind *kind = &kinds[0];
    size_t nbytes, at = 0;
    char *bytes = as_bytes(&kind->request, &nbytes);
    int fd = connect_plainly();
    while (at < nbytes && !has_answer(fd)) {
        const size_t left = nbytes - at, n = 1 + draw(client, 4);
        if (raw_send(fd, bytes + at, n < left ? n : left) != 0)
            break;
        at += n < left ? n : left;
        sleep_ms(5 + draw(client, 20));
    }
    const long status = read_status(fd, text);
    judge(client, kind, status, text);
    close(fd);
    free(bytes);
}

/* ---- Starting and stopping --------------------------------------------------------- */

static void *run(void *argument)
{
    struct client *client = argument;
    CURL *curl = curl_easy_init();
    if (!curl)
        abort();
    while (!atomic_load(&is_over) && !*client->failure)
        switch (client->manner) {
        case LEAVES: leave(client); break;
        case HALF_CLOSES: half_close(client); break;
        case DRIPS: drip(client); break;
        default: ask(client, curl);
        }
    curl_easy_cleanup(curl);
    return NULL;
}

void traffic_start(const char *url, unsigned port, const size_t counts[MANNERS], uint64_t seed)
{
    service = url;
    service_port = port;
    make_kinds();
    for (int manner = 0; manner < MANNERS; manner++)
        for (size_t i = 0; i < counts[manner]; i++) {
            struct client *client = &clients[n_clients];
            *client = (struct client){.manner = (enum manner)manner, .random = seed + n_clients};
            if (++n_clients > MOST_CLIENTS || pthread_create(&client->thread, NULL, run, client))
                abort();
        }
}

int traffic_has_failed(void)
{
    return atomic_load(&has_failed);
}

void traffic_stop(struct traffic_counts counts[MANNERS], char failure[600])
{
    memset(counts, 0, MANNERS * sizeof *counts);
    *failure = '\0';
    atomic_store(&is_over, 1);
    for (size_t i = 0; i < n_clients; i++) {
        const struct client *client = &clients[i];
        pthread_join(client->thread, NULL);
        counts[client->manner].deserved += client->counts.deserved;
        counts[client->manner].busy += client->counts.busy;
        counts[client->manner].unanswered += client->counts.unanswered;
        if (*client->failure)
            memcpy(failure, client->failure, sizeof client->failure);
    }
}
