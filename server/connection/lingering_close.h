/*
 * lingering_close.h - closing without losing the last answer.
 *
 * A socket that is closed while the client is still sending resets the
 * connection, and a client that sends its whole body before it reads never
 * sees why it was refused.  So a second descriptor keeps such a socket open
 * for a while after libmicrohttpd has closed its own, and what still arrives
 * is thrown away.
 */
#ifndef CAPSNETD_FAREWELL_H
#define CAPSNETD_FAREWELL_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

enum { FAREWELL_MAX = 64 }; /* sockets at a time; further ones are just closed */

struct farewell {
    pthread_mutex_t lock;
    size_t n;
    struct {
        int fd;
        int64_t until_us;
    } sockets[FAREWELL_MAX];
};

void farewell_init(struct farewell *farewell);

/* Keeps the socket behind fd open, through a descriptor of our own. */
void farewell_add(struct farewell *farewell, int fd, int64_t until_us);

/* Throws away what has arrived; closes what has ended or is due.  Returns the
 * number of sockets left: while there are any, call again within milliseconds. */
size_t farewell_sweep(struct farewell *farewell, int64_t now_us);

/* Closes all. */
void farewell_destroy(struct farewell *farewell);

#endif
