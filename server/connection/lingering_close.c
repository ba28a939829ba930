/* lingering_close.c - see lingering_close.h. */
#include "server/connection/lingering_close.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Of one socket in one sweep, so that a fast sender cannot hold up the rest. */
enum { MAX_READS = 64 };

void farewell_init(struct farewell *farewell)
{
    pthread_mutex_init(&farewell->lock, NULL);
    farewell->n = 0;
}

void farewell_add(struct farewell *farewell, int fd, int64_t until_us)
{
    pthread_mutex_lock(&farewell->lock);
    int own = farewell->n < FAREWELL_MAX ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (own >= 0) {
        farewell->sockets[farewell->n].fd = own;
        farewell->sockets[farewell->n].until_us = until_us;
        farewell->n++;
    }
    pthread_mutex_unlock(&farewell->lock);
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

size_t farewell_sweep(struct farewell *farewell, int64_t now_us)
{
    pthread_mutex_lock(&farewell->lock);
    for (size_t i = 0; i < farewell->n;) {
        if (now_us < farewell->sockets[i].until_us && discard(farewell->sockets[i].fd)) {
            i++;
            continue;
        }
        close(farewell->sockets[i].fd);
        farewell->sockets[i] = farewell->sockets[--farewell->n];
    }
    size_t left = farewell->n;
    pthread_mutex_unlock(&farewell->lock);
    return left;
}

void farewell_destroy(struct farewell *farewell)
{
    farewell_sweep(farewell, INT64_MAX);
    pthread_mutex_destroy(&farewell->lock);
}
