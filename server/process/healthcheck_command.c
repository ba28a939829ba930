/* healthcheck_command.c - see healthcheck_command.h. */
#include "server/process/healthcheck_command.h"

#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gnutls/gnutls.h>

#include "server/basics/listen_socket.h"
#include "server/basics/options.h"

enum { PATIENCE_S = 5 };

struct target {
    char host[256], port[8], path[256];
    const char *unix_path; /* of a Unix socket, in place of host and port; else NULL */
    int is_tls;
};

static void on_alarm(int number)
{
    static const char sentence[] = "capsnetd: no answer in time\n";
    (void)number;
    (void)!write(STDERR_FILENO, sentence, sizeof sentence - 1);
    _exit(1);
}

static int use_unix_socket(struct target *target, const char *path)
{
    struct sockaddr_un address;
    target->unix_path = path;
    strcpy(target->host, "localhost");
    strcpy(target->path, "/readyz");
    return unix_address(&address, path);
}

/* http[s]://HOST:PORT[/PATH] or unix:PATH.  Returns 0, or -1. */
static int parse_url(struct target *target, const char *url)
{
    char address[300];
    if (unix_path(url))
        return use_unix_socket(target, unix_path(url));
    target->is_tls = strncmp(url, "https://", 8) == 0;
    if (!target->is_tls && strncmp(url, "http://", 7) != 0)
        return -1;
    url += target->is_tls ? 8 : 7;
    size_t n = strcspn(url, "/");
    if (n >= sizeof address || strlen(url + n) >= sizeof target->path ||
        strpbrk(url + n, " \r\n"))
        return -1;
    memcpy(address, url, n);
    address[n] = 0;
    strcpy(target->path, url[n] ? url + n : "/readyz");
    return listen_split(address, target->host, target->port);
}

/* The server's own address; one that means "all" is asked on the loopback. */
static int own_address(struct target *target, const char *listen)
{
    if (unix_path(listen))
        return use_unix_socket(target, unix_path(listen));
    if (listen_split(listen, target->host, target->port) != 0)
        return -1;
    if (strcmp(target->host, "0.0.0.0") == 0)
        strcpy(target->host, "127.0.0.1");
    if (strcmp(target->host, "::") == 0)
        strcpy(target->host, "::1");
    strcpy(target->path, "/readyz");
    return 0;
}

static int dial_unix(const char *path)
{
    struct sockaddr_un address;
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && unix_address(&address, path) == 0 &&
        connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    fprintf(stderr, "capsnetd: cannot connect to unix:%s: %s\n", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Returns a connected socket, or -1 after a sentence. */
static int dial(const struct target *target)
{
    if (target->unix_path)
        return dial_unix(target->unix_path);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    int error = getaddrinfo(target->host, target->port, &hints, &found), fd = -1;
    if (error) {
        fprintf(stderr, "capsnetd: cannot find %s: %s\n", target->host, gai_strerror(error));
        return -1;
    }
    for (const struct addrinfo *at = found; at && fd < 0; at = at->ai_next) {
        fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, at->ai_addr, at->ai_addrlen) != 0) {
            error = errno;
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    if (fd < 0)
        fprintf(stderr, "capsnetd: cannot connect to %s port %s: %s\n", target->host,
                target->port, strerror(error));
    return fd;
}

/* A connection: the socket, and the TLS session over it or NULL. */
struct line {
    int fd;
    gnutls_session_t tls;
};

static ssize_t line_send(const struct line *line, const void *bytes, size_t n)
{
    return line->tls ? gnutls_record_send(line->tls, bytes, n)
                     : send(line->fd, bytes, n, MSG_NOSIGNAL);
}

static ssize_t line_receive(const struct line *line, void *bytes, size_t n)
{
    return line->tls ? gnutls_record_recv(line->tls, bytes, n) : recv(line->fd, bytes, n, 0);
}

/* Sends the request and reads the status line.  Returns the exit status. */
static int ask(const struct line *line, const struct target *target)
{
    char request[700], answer[64];
    size_t n = 0;
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
                          target->path, target->host);
    ssize_t got = line_send(line, request, (size_t)length);
    while (got > 0 && n < sizeof answer - 1 && !memchr(answer, '\r', n)) {
        got = line_receive(line, answer + n, sizeof answer - 1 - n);
        n += got > 0 ? (size_t)got : 0;
    }
    answer[n] = 0;
    if (n >= 13 && memcmp(answer, "HTTP/1.1 200 ", 13) == 0)
        return 0;
    answer[strcspn(answer, "\r\n")] = 0;
    fprintf(stderr, "capsnetd: %s\n", n ? answer : "no answer");
    return 1;
}

/* The same over TLS.  The certificate is not checked: the question is whether
 * our own server answers, and a health check has no secrets to lose. */
static int ask_tls(int fd, const struct target *target)
{
    struct line line = {.fd = fd};
    gnutls_certificate_credentials_t credentials;
    int exit_status = 1;
    if (gnutls_certificate_allocate_credentials(&credentials) < 0)
        return 1;
    int error = gnutls_init(&line.tls, GNUTLS_CLIENT);
    if (error >= 0) {
        gnutls_set_default_priority(line.tls);
        gnutls_credentials_set(line.tls, GNUTLS_CRD_CERTIFICATE, credentials);
        gnutls_transport_set_int(line.tls, fd);
        do
            error = gnutls_handshake(line.tls);
        while (error < 0 && !gnutls_error_is_fatal(error));
        if (error >= 0)
            exit_status = ask(&line, target);
        gnutls_deinit(line.tls);
    }
    if (error < 0)
        fprintf(stderr, "capsnetd: TLS: %s\n", gnutls_strerror(error));
    gnutls_certificate_free_credentials(credentials);
    return exit_status;
}

int healthcheck(int argc, char **argv)
{
    struct target target = {.unix_path = NULL};
    struct options options;
    char message[256];
    int bad;
    if (argc == 0) {
        char *no_flags[] = {"capsnetd", NULL};
        if (server_options_parse(&options, 1, no_flags, message, sizeof message) !=
            OPTIONS_RUN) {
            fprintf(stderr, "capsnetd: %s\n", message);
            return 1;
        }
        bad = own_address(&target, options.listen);
        target.is_tls = options.tls_cert != NULL;
    } else if (argc == 2 && strcmp(argv[0], "--url") == 0) {
        bad = parse_url(&target, argv[1]);
    } else {
        bad = argc != 1 || strncmp(argv[0], "--url=", 6) != 0 || parse_url(&target, argv[0] + 6);
    }
    if (bad) {
        fputs("usage: capsnetd healthcheck [--url http[s]://HOST:PORT[/PATH]|unix:PATH]\n", stderr);
        return 1;
    }
    signal(SIGALRM, on_alarm);
    alarm(PATIENCE_S);
    int fd = dial(&target);
    if (fd < 0)
        return 1;
    int exit_status =
        target.is_tls ? ask_tls(fd, &target) : ask(&(struct line){.fd = fd}, &target);
    close(fd);
    return exit_status;
}
