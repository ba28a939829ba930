/*
 * lingering_close.h - closing without losing the last answer.
 *
 * A socket that is closed while the client is still sending resets the
 * connection, and a client that sends its whole body before it reads never
 * sees why it was refused.  So a second descriptor keeps such a socket open
 * for a while after libmicrohttpd has closed its own, and what still arrives
 * is thrown away.
 */
#ifndef CAPSNETD_LINGERING_CLOSE_H
#define CAPSNETD_LINGERING_CLOSE_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

enum { LINGERING_MAX = 64 }; /* sockets at a time; further ones are just closed */

struct lingering {
    pthread_mutex_t lock;
    size_t n;
    struct {
        int fd;
        int64_t until_us;
    } sockets[LINGERING_MAX];
};

void lingering_init(struct lingering *lingering);

/* Keeps the socket behind fd open, through a descriptor of our own. */
void lingering_add(struct lingering *lingering, int fd, int64_t until_us);

/* Throws away what has arrived; closes what has ended or is due.  Returns the
 * number of sockets left: while there are any, call again within milliseconds. */
size_t lingering_sweep(struct lingering *lingering, int64_t now_us);

/* Closes all. */
void lingering_destroy(struct lingering *lingering);

#endif
