/*
 * client.c - requests to the server, and checks of its answers.
 */
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/time.h>
#include <unistd.h>

#include "tests/http/fixtures.h"
#include "tests/http/harness.h"

enum { REQUEST_MS = 20000 };

/* ---- libcurl ---------------------------------------------------------- */

struct buffer {
    uint8_t *data;
    size_t n, room;
};

static size_t take(char *bytes, size_t size, size_t count, void *to)
{
    struct buffer *buffer = to;
    size_t n = size * count;
    if (buffer->n + n + 1 > buffer->room) {
        size_t room = (buffer->n + n + 1) * 2;
        uint8_t *grown = realloc(buffer->data, room);
        if (!grown) return 0;
        buffer->data = grown, buffer->room = room;
    }
    memcpy(buffer->data + buffer->n, bytes, n);
    buffer->n += n;
    buffer->data[buffer->n] = 0;
    return n;
}

struct source {
    const uint8_t *at;
    size_t left;
};

/* Feeds a chunked upload in pieces that never end where the data does. */
static size_t give(char *to, size_t size, size_t count, void *from)
{
    struct source *source = from;
    size_t n = size * count;
    if (n > 1000) n = 1000;
    if (n > source->left) n = source->left;
    if (n == 0) return 0;
    memcpy(to, source->at, n);
    source->at += n, source->left -= n;
    return n;
}

/* Sets the body; returns the multipart body to be freed, or NULL. */
static curl_mime *set_body(CURL *curl, const struct request *request, struct source *source)
{
    if (request->parts) {
        curl_mime *mime = curl_mime_init(curl);
        for (size_t i = 0; i < request->n_parts; i++) {
            curl_mimepart *part = curl_mime_addpart(mime);
            curl_mime_name(part, request->parts[i].name);
            if (request->parts[i].filename) curl_mime_filename(part, request->parts[i].filename);
            curl_mime_data(part, request->parts[i].bytes, request->parts[i].nbytes);
        }
        curl_easy_setopt(curl, CURLOPT_MIMEPOST, mime);
        return mime;
    }
    if (request->chunked) {
        *source = (struct source){request->body, request->nbytes};
        curl_easy_setopt(curl, CURLOPT_POST, 1L);
        curl_easy_setopt(curl, CURLOPT_READFUNCTION, give);
        curl_easy_setopt(curl, CURLOPT_READDATA, source);
    } else if (request->body) {
        curl_easy_setopt(curl, CURLOPT_POST, 1L);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->nbytes);
    }
    return NULL;
}

struct reply *http_send_on(CURL *curl, const char *url, const struct request *request)
{
    char whole[2048];
    struct buffer body = {0}, headers = {0};
    struct source source = {0};
    struct curl_slist *list = NULL;
    struct reply *reply = calloc(1, sizeof *reply);
    if (!reply) abort();
    const char *unix_path = strncmp(url, "unix:", 5) == 0 ? url + 5 : NULL;
    snprintf(whole, sizeof whole, "%s%s", unix_path ? "http://localhost" : url, request->path);
    curl_easy_reset(curl); /* keeps the connection */
    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, unix_path);
    curl_easy_setopt(curl, CURLOPT_URL, whole);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, stretch_ms(REQUEST_MS));
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reply->error);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &headers);
    /* Without "Expect: 100-continue" a large body meets the refusal half-way. */
    list = curl_slist_append(list, "Expect:");
    if (request->chunked) list = curl_slist_append(list, "Transfer-Encoding: chunked");
    for (size_t i = 0; i < 6 && request->headers[i]; i++)
        list = curl_slist_append(list, request->headers[i]);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
    curl_mime *mime = set_body(curl, request, &source);
    if (request->method && strcmp(request->method, "HEAD") == 0)
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    else if (request->method)
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);

    long start = now_ms();
    CURLcode code = curl_easy_perform(curl);
    reply->ms = now_ms() - start;
    curl_easy_getinfo(curl, CURLINFO_NUM_CONNECTS, &reply->connects);
    if (code == CURLE_OK) {
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply->status);
    } else if (!*reply->error) {
        snprintf(reply->error, sizeof reply->error, "%s", curl_easy_strerror(code));
    }
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
    curl_mime_free(mime);
    curl_slist_free_all(list);
    if (!body.data) take((char[]){""}, 1, 0, &body);
    if (!headers.data) take((char[]){""}, 1, 0, &headers);
    reply->body = body.data, reply->nbytes = body.n;
    reply->headers = (char *)headers.data, reply->headers_nbytes = headers.n;
    return reply;
}

struct reply *http_send(struct server *server, const struct request *request)
{
    struct reply *reply = http_send_on(server->curl, server->url, request);
    if (reply->status == 0) {
        char *log = server_log(server);
        size_t n = strlen(log);
        fprintf(stderr, "---- the server's stderr ----\n%s----\n", n > 4000 ? log + n - 4000 : log);
        fail_msg("%s %s: no answer: %s", request->method ? request->method : "", request->path,
                 reply->error);
    }
    return reply;
}

void reply_free(struct reply *reply)
{
    if (!reply) return;
    free(reply->body);
    free(reply->headers);
    free(reply);
}

struct passenger {
    pthread_t thread;
    const char *url;
    const struct request *request;
    struct reply *reply;
};

struct flight {
    size_t n;
    char url[160];
    struct passenger passengers[FLIGHT_MAX];
};

static void *fly(void *argument)
{
    struct passenger *passenger = argument;
    CURL *curl = curl_easy_init();
    if (!curl) abort();
    passenger->reply = http_send_on(curl, passenger->url, passenger->request);
    curl_easy_cleanup(curl);
    return NULL;
}

struct flight *http_launch(const struct server *server, const struct request *requests, size_t n)
{
    assert_true(n <= FLIGHT_MAX);
    struct flight *flight = calloc(1, sizeof *flight);
    assert_non_null(flight);
    flight->n = n;
    memcpy(flight->url, server->url, sizeof flight->url);
    for (size_t i = 0; i < n; i++) {
        struct passenger *passenger = &flight->passengers[i];
        passenger->url = flight->url;
        passenger->request = &requests[i];
        assert_int_equal(pthread_create(&passenger->thread, NULL, fly, passenger), 0);
    }
    return flight;
}

void http_land(struct flight *flight, struct reply **replies)
{
    for (size_t i = 0; i < flight->n; i++) {
        assert_int_equal(pthread_join(flight->passengers[i].thread, NULL), 0);
        replies[i] = flight->passengers[i].reply;
    }
    free(flight);
}

int reply_header(const struct reply *reply, const char *name, char *value, size_t value_nbytes)
{
    size_t n = strlen(name);
    for (const char *line = reply->headers; *line;) {
        const char *end = strstr(line, "\r\n");
        if (!end) break;
        if (strncasecmp(line, name, n) == 0 && line[n] == ':') {
            const char *start = line + n + 1;
            while (*start == ' ') start++;
            snprintf(value, value_nbytes, "%.*s", (int)(end - start), start);
            return 1;
        }
        line = end + 2;
    }
    return 0;
}

/* ---- JSON ------------------------------------------------------------- */

cJSON *reply_json(const struct reply *reply)
{
    char type[100] = "";
    reply_header(reply, "Content-Type", type, sizeof type);
    if (strncmp(type, "application/json", 16) != 0)
        fail_msg("status %ld has the content type \"%s\": %.200s", reply->status, type,
                 (const char *)reply->body);
    const char *end = NULL;
    cJSON *json = cJSON_ParseWithLengthOpts((const char *)reply->body, reply->nbytes, &end, 0);
    if (!json) fail_msg("this is no JSON: %.400s", (const char *)reply->body);
    for (; end < (const char *)reply->body + reply->nbytes; end++)
        if (*end != '\n') fail_msg("something follows the JSON: %.100s", end);
    return json;
}

const cJSON *json_array(const cJSON *object, const char *name, int size)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    if (!cJSON_IsArray(item)) fail_msg("\"%s\" is missing or no array", name);
    if (size >= 0 && cJSON_GetArraySize(item) != size)
        fail_msg("\"%s\" has %d elements, not %d", name, cJSON_GetArraySize(item), size);
    return item;
}

const cJSON *json_object(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    if (!cJSON_IsObject(item)) fail_msg("\"%s\" is missing or no object", name);
    return item;
}

const char *json_string(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    if (!cJSON_IsString(item)) fail_msg("\"%s\" is missing or no string", name);
    return item->valuestring;
}

double json_number(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    if (!cJSON_IsNumber(item)) fail_msg("\"%s\" is missing or no number", name);
    return item->valuedouble;
}

void assert_numbers(const cJSON *array, int size, double low, double high)
{
    assert_true(cJSON_IsArray(array));
    assert_int_equal(cJSON_GetArraySize(array), size);
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, array)
    {
        assert_true(cJSON_IsNumber(item));
        if (!(item->valuedouble >= low && item->valuedouble <= high))
            fail_msg("%g is not within %g and %g", item->valuedouble, low, high);
    }
}

void assert_same_answer(const cJSON *a, const cJSON *b)
{
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal(a->type & 0xff, b->type & 0xff);
    assert_int_equal(a->string != NULL, b->string != NULL);
    if (a->string) assert_string_equal(a->string, b->string);
    if (cJSON_IsString(a)) assert_string_equal(a->valuestring, b->valuestring);
    if (cJSON_IsNumber(a)) {
        int exactly = a->string && strcmp(a->string, "class") == 0;
        double difference = fabs(a->valuedouble - b->valuedouble);
        if (!(difference <= (exactly ? 0 : ANSWER_TOLERANCE)))
            fail_msg("%s: %.9g is not %.9g", a->string ? a->string : "an element",
                     a->valuedouble, b->valuedouble);
    }
    const cJSON *in_a = a->child, *in_b = b->child;
    for (; in_a && in_b; in_a = in_a->next, in_b = in_b->next) assert_same_answer(in_a, in_b);
    assert_null(in_a);
    assert_null(in_b);
}

/* ---- Errors ----------------------------------------------------------- */

void assert_error(const struct reply *reply, long status, const char *code, const char *fragment)
{
    if (reply->status != status)
        fail_msg("status %ld instead of %ld: %.400s", reply->status, status,
                 (const char *)reply->body);
    cJSON *json = reply_json(reply);
    assert_int_equal(cJSON_GetArraySize(json), 1);
    const cJSON *error = json_object(json, "error");
    assert_int_equal(cJSON_GetArraySize(error), 2);
    const char *message = json_string(error, "message");
    if (strcmp(json_string(error, "code"), code) != 0)
        fail_msg("code \"%s\" instead of \"%s\": %s", json_string(error, "code"), code, message);
    if (strlen(message) < 10 || strchr(message, '\n'))
        fail_msg("\"%s\" is not one sentence", message);
    if (fragment && !strstr(message, fragment))
        fail_msg("\"%s\" does not say \"%s\"", message, fragment);
    char value[40];
    if (status == 503 && (!reply_header(reply, "Retry-After", value, sizeof value) ||
                          strspn(value, "0123456789") != strlen(value) || !*value))
        fail_msg("a 503 without Retry-After");
    cJSON_Delete(json);
}

void expect_well(struct server *server)
{
    struct bytes png = draw_png(0);
    cJSON *json = post_json(server, "/classify", png.data, png.nbytes);
    json_array(json, "predictions", 1);
    cJSON_Delete(json);
    free(png.data);
}

void expect_refused(struct server *server, const struct request *request, long status,
                    const char *code, const char *fragment)
{
    struct reply *reply = http_send(server, request);
    assert_error(reply, status, code, fragment);
    reply_free(reply);
    expect_well(server);
}

cJSON *post_json(struct server *server, const char *path, const void *body, size_t nbytes)
{
    /* A body that is no PNG is taken for JSON. */
    int is_png = nbytes > 0 && *(const uint8_t *)body == 0x89;
    struct reply *reply = http_send(
        server, &(struct request){.path = path,
                                  .body = body,
                                  .nbytes = nbytes,
                                  .headers = {is_png ? "Content-Type: image/png"
                                                     : "Content-Type: application/json",
                                              "Accept: application/json"}});
    if (reply->status != 200)
        fail_msg("%s: status %ld: %.400s", path, reply->status, (const char *)reply->body);
    cJSON *json = reply_json(reply);
    reply_free(reply);
    return json;
}

/* ---- Bare sockets ----------------------------------------------------- */

int raw_connect(const struct server *server, long timeout_ms)
{
    const int is_unix = strncmp(server->url, "unix:", 5) == 0;
    int fd = socket(is_unix ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)server->port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr_un file = {.sun_family = AF_UNIX};
    snprintf(file.sun_path, sizeof file.sun_path, "%.107s", server->url + (is_unix ? 5 : 0));
    assert_int_equal(is_unix ? connect(fd, (struct sockaddr *)&file, sizeof file)
                             : connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    long ms = stretch_ms(timeout_ms);
    struct timeval time = {ms / 1000, ms % 1000 * 1000};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time), 0);
    return fd;
}

int raw_send(int fd, const void *bytes, size_t nbytes)
{
    const uint8_t *at = bytes;
    while (nbytes > 0) {
        ssize_t sent = send(fd, at, nbytes, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return -1;
        at += sent, nbytes -= (size_t)sent;
    }
    return 0;
}

long raw_read_all(int fd, char *text, size_t size)
{
    size_t n = 0;
    while (n + 1 < size) {
        ssize_t got = recv(fd, text + n, size - 1 - n, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return -1;
        if (got <= 0) break; /* closed, or reset after what was read */
        n += (size_t)got;
    }
    text[n] = 0;
    return (long)n;
}

void raw_exchange(const struct server *server, const char *text, char *answer, size_t size)
{
    int fd = raw_connect(server, 10000);
    raw_send(fd, text, strlen(text));
    if (raw_read_all(fd, answer, size) < 0)
        fail_msg("the server neither answered nor closed after: %.200s", text);
    close(fd);
}
