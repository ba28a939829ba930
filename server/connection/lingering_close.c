/* lingering_close.c - see lingering_close.h. */
#include "server/connection/lingering_close.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Of one socket in one sweep, so that a fast sender cannot hold up the rest. */
enum { MAX_READS = 64 };

void lingering_init(struct lingering *lingering)
{
    pthread_mutex_init(&lingering->lock, NULL);
    lingering->n = 0;
}

void lingering_add(struct lingering *lingering, int fd, int64_t until_us)
{
    pthread_mutex_lock(&lingering->lock);
    int own = lingering->n < LINGERING_MAX ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (own >= 0) {
        lingering->sockets[lingering->n].fd = own;
        lingering->sockets[lingering->n].until_us = until_us;
        lingering->n++;
    }
    pthread_mutex_unlock(&lingering->lock);
}

/* Reads and forgets.  0 when the socket has ended. */
static int discard(int fd)
{
    char bytes[65536];
    for (int i = 0; i < MAX_READS; i++) {
        ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n <= 0)
            return n < 0 && (errno == EAGAIN || errno == EINTR);
    }
    return 1;
}

size_t lingering_sweep(struct lingering *lingering, int64_t now_us)
{
    pthread_mutex_lock(&lingering->lock);
    for (size_t i = 0; i < lingering->n;) {
        if (now_us < lingering->sockets[i].until_us && discard(lingering->sockets[i].fd)) {
            i++;
            continue;
        }
        close(lingering->sockets[i].fd);
        lingering->sockets[i] = lingering->sockets[--lingering->n];
    }
    size_t left = lingering->n;
    pthread_mutex_unlock(&lingering->lock);
    return left;
}

void lingering_destroy(struct lingering *lingering)
{
    lingering_sweep(lingering, INT64_MAX);
    pthread_mutex_destroy(&lingering->lock);
}
