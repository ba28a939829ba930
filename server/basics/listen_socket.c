/* listen_socket.c - see listen_socket.h. */
#include "server/basics/listen_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FIRST_HANDED_OVER = 3 }; /* behind stdin, stdout and stderr */

int listen_split(const char *address, char host[256], char port[8])
{
    const char *start = address, *end = strrchr(address, ':');
    if (!end)
        return -1;
    snprintf(port, 8, "%s", end + 1);
    if (*start == '[') {
        start++;
        if (end == start || *--end != ']')
            return -1;
    } else if (memchr(start, ':', (size_t)(end - start))) {
        return -1; /* IPv6 without brackets is ambiguous */
    }
    size_t n = (size_t)(end - start), digits = strlen(strrchr(address, ':') + 1);
    if (n == 0 || n > 255 || digits == 0 || digits > 5 || strspn(port, "0123456789") != digits)
        return -1;
    unsigned number = 0;
    for (const char *digit = port; *digit; digit++)
        number = number * 10 + (unsigned)(*digit - '0');
    memcpy(host, start, n);
    host[n] = 0;
    return number > 65535 ? -1 : 0;
}

static void print_url(struct listener *listener, const char *scheme)
{
    union {
        struct sockaddr any;
        struct sockaddr_un file;
        struct sockaddr_storage room;
    } bound = {.room = {0}};
    socklen_t length = sizeof bound;
    char host[64] = "?", port[8] = "?";
    if (getsockname(listener->fd, &bound.any, &length) == 0 && bound.any.sa_family == AF_UNIX) {
        snprintf(listener->url, sizeof listener->url, "unix:%.*s",
                 (int)sizeof bound.file.sun_path, bound.file.sun_path);
        return;
    }
    getnameinfo(&bound.any, length, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(listener->url, sizeof listener->url,
             strchr(host, ':') ? "%s://[%s]:%s" : "%s://%s:%s", scheme, host, port);
}

/* Binds and listens.  Returns the socket, or -1 with errno. */
static int open_socket(const struct addrinfo *where)
{
    int fd = socket(where->ai_family, where->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    int on = 1; /* a restart need not wait for old connections to fade */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, where->ai_addr, where->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static enum listen_status open_unix(struct listener *listener, const char *path, mode_t mode,
                                    const char *scheme, char *message, size_t message_nbytes)
{
    struct sockaddr_un address;
    listener->fd = unix_listen(&listener->file, path, mode, message, message_nbytes);
    if (listener->fd < 0)
        return unix_address(&address, path) != 0 ? LISTEN_BAD_ADDRESS : LISTEN_FAILED;
    print_url(listener, scheme);
    return LISTEN_OK;
}

enum listen_status listen_open(struct listener *listener, const char *address, mode_t mode,
                               const char *scheme, char *message, size_t message_nbytes)
{
    char host[256], port[8];
    *listener = (struct listener){.fd = -1};
    if (unix_path(address))
        return open_unix(listener, unix_path(address), mode, scheme, message, message_nbytes);
    if (listen_split(address, host, port) != 0) {
        snprintf(message, message_nbytes,
                 "the address to listen on must be ADDR:PORT, [ADDR]:PORT for IPv6, or "
                 "unix:PATH, not \"%.100s\"",
                 address);
        return LISTEN_BAD_ADDRESS;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found;
    int error = getaddrinfo(host, port, &hints, &found);
    if (error) {
        snprintf(message, message_nbytes, "cannot listen on %.100s: %s", address,
                 gai_strerror(error));
        return LISTEN_BAD_ADDRESS;
    }
    int opened = -1;
    for (const struct addrinfo *at = found; at && opened < 0; at = at->ai_next)
        opened = open_socket(at);
    error = errno;
    freeaddrinfo(found);
    if (opened < 0) {
        snprintf(message, message_nbytes, "cannot listen on %.100s: %s", address, strerror(error));
        return LISTEN_FAILED;
    }
    listener->fd = opened;
    print_url(listener, scheme);
    return LISTEN_OK;
}

/* A variable that is a whole number from 0, and nothing else; -1 when it is not. */
static long number_variable(const char *name)
{
    const char *value = getenv(name);
    const size_t digits = value ? strspn(value, "0123456789") : 0;
    return digits > 0 && digits < 10 && !value[digits] ? strtol(value, NULL, 10) : -1;
}

static int is_listening_stream(int fd)
{
    int type = 0, listens = 0;
    socklen_t n = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) != 0)
        return 0;
    n = sizeof listens;
    return type == SOCK_STREAM && getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &n) == 0 &&
           listens;
}

enum listen_status listen_take_over(struct listener *listener, const char *scheme, char *message,
                                    size_t message_nbytes)
{
    const long pid = number_variable("LISTEN_PID"), n = number_variable("LISTEN_FDS");
    const int fd = FIRST_HANDED_OVER;
    *listener = (struct listener){.fd = -1};
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    if (pid != (long)getpid() || n <= 0)
        return LISTEN_NONE;
    if (n > 1) {
        snprintf(message, message_nbytes,
                 "%ld sockets were handed over by LISTEN_FDS, and the server takes one", n);
        return LISTEN_FAILED;
    }
    if (!is_listening_stream(fd) || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 ||
        fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
        snprintf(message, message_nbytes,
                 "descriptor %d, handed over by LISTEN_FDS, is no stream socket that listens", fd);
        return LISTEN_FAILED;
    }
    listener->fd = fd;
    listener->is_shared = 1;
    print_url(listener, scheme);
    return LISTEN_OK;
}
