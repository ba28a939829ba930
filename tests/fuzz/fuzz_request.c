/*
 * fuzz_request.c - whole requests, through a whole server in this process: its socket, its
 * network threads, the judge, the workers, the batcher.  An input is what a client sends on
 * one connection, of one request or several; then it closes its sending side.
 *
 * The server, on a Unix socket without a name in the file system, serves all inputs.
 */
#include "tests/fuzz/fuzz.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/basics/log.h"
#include "server/compute/workers.h"
#include "server/connection/http.h"

enum { PATIENCE_MS = 20000, ANSWER_SIZE = 1 << 20 };

static struct options options;
static struct service service = {.options = &options, .threads = 1};
static struct http *http;
static struct sockaddr_un address;
static socklen_t address_nbytes = sizeof address;

static int64_t resume_answered(void *context)
{
    resume_queue_flush(context);
    return 0;
}

static void load(void)
{
    struct capsnet_error error = {""};
    struct generation *generation;
    if (generation_load(&generation, &service.engines, &options, options.memory, service.threads,
                        &service.metrics, &error) != CAPSNET_OK)
        fputs(error.text, stderr);
    MUST(!*error.text);
    engines_replace(&service.engines, generation);
    service.workers = workers_create(2, resume_answered, &service.resume_queue);
    MUST(service.workers);
}

/* The kernel chooses a name: an abstract one. */
static int listen_somewhere(void)
{
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    address.sun_family = AF_UNIX;
    MUST(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address.sun_family) == 0);
    MUST(listen(fd, 64) == 0);
    MUST(getsockname(fd, (struct sockaddr *)&address, &address_nbytes) == 0);
    return fd;
}

static void start(void)
{
    static char *arguments[] = {"capsnetd",         "--weights",     "tests/golden/small.safetensors",
                                "--cpu-level",      "ref",           "--max-images", "4",
                                "--max-side",       "64",            "--max-body-bytes", "65536",
                                "--max-header-bytes", "2048",        "--queue", "8",
                                "--max-batch",      "4",             "--cors-origin", "*",
                                "--log-level",      "error"};
    char message[256];
    clearenv();
    MUST(server_options_parse(&options, sizeof arguments / sizeof *arguments, arguments, message,
                              sizeof message) == OPTIONS_RUN);
    log_init(options.log_format, options.log_level);
    metrics_init(&service.metrics);
    MUST(engines_init(&service.engines) == 0);
    keys_init(&service.keys);
    resume_queue_init(&service.resume_queue);
    http = http_start(&service, listen_somewhere());
    MUST(http);
    load();
    atomic_store(&service.state, SERVICE_READY);
}

/* Reads until the server closes, and meanwhile does what main.c does. */
static size_t read_answer(int fd, char answer[ANSWER_SIZE])
{
    size_t n = 0;
    for (int waited_ms = 0;;) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (poll(&ready, 1, 50) == 0) {
            http_sweep(http);
            MUST((waited_ms += 50) < PATIENCE_MS);
            continue;
        }
        const ssize_t got = recv(fd, answer + n, ANSWER_SIZE - 1 - n, 0);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    answer[n] = 0;
    return n;
}

/* What it answers is HTTP, not HTML of libmicrohttpd's, and no fault of ours.  Each is looked
 * for with a line's end: a sentence may repeat all else from the request's path. */
static void check_answer(const char *answer, size_t n)
{
    MUST(n == 0 || strncmp(answer, "HTTP/1.1 ", 9) == 0);
    static const char fault[] = "HTTP/1.1 500 Internal Server Error\r\n";
    MUST(!memmem(answer, n, fault, sizeof fault - 1));
    static const char page[] = "\r\n\r\n<html><head><title>";
    MUST(!memmem(answer, n, page, sizeof page - 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nbytes)
{
    static char answer[ANSWER_SIZE];
    if (!http)
        start();
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(fd >= 0 && connect(fd, (struct sockaddr *)&address, address_nbytes) == 0);
    for (size_t sent = 0; sent < nbytes;) {
        const ssize_t n = send(fd, bytes + sent, nbytes - sent, MSG_NOSIGNAL);
        if (n <= 0)
            break; /* refused before all of it was sent */
        sent += (size_t)n;
    }
    shutdown(fd, SHUT_WR);
    check_answer(answer, read_answer(fd, answer));
    close(fd);
    return 0;
}
