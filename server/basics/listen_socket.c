/* listen_socket.c - see listen_socket.h. */
#include "server/basics/listen_socket.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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

static void print_url(int fd, char *url, size_t url_nbytes)
{
    struct sockaddr_storage bound;
    socklen_t length = sizeof bound;
    char host[NI_MAXHOST] = "?", port[NI_MAXSERV] = "?";
    if (getsockname(fd, (struct sockaddr *)&bound, &length) == 0)
        getnameinfo((struct sockaddr *)&bound, length, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(url, url_nbytes, strchr(host, ':') ? "http://[%s]:%s" : "http://%s:%s", host, port);
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

enum listen_status listen_open(int *fd, const char *address, char *url, size_t url_nbytes,
                               char *message, size_t message_nbytes)
{
    char host[256], port[8];
    if (listen_split(address, host, port) != 0) {
        snprintf(message, message_nbytes,
                 "the address to listen on must be ADDR:PORT, or [ADDR]:PORT for IPv6, not "
                 "\"%.100s\"",
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
    print_url(opened, url, url_nbytes);
    *fd = opened;
    return LISTEN_OK;
}
