/*
 * acceptor.h - one thread that accepts connections, as many as may be, and hands them on.
 */
#ifndef CAPSNETD_ACCEPTOR_H
#define CAPSNETD_ACCEPTOR_H

#include <pthread.h>
#include <stddef.h>
#include <sys/socket.h>

/* A new connection: non-blocking, and whoever gets it closes it, acceptor_forget()s it. */
typedef void (*acceptor_hand_over)(void *context, int fd, const struct sockaddr *address,
                                   socklen_t address_nbytes);

struct acceptor {
    int listen_fd, stop_fd;
    size_t max, max_per_ip; /* connections at a time; max_per_ip 0: as many as there may be */
    acceptor_hand_over hand_over;
    void *context;
    pthread_t thread;
    int is_running;

    pthread_mutex_t lock;
    pthread_cond_t has_room;
    size_t open;     /* connections accepted and not forgotten */
    void *addresses; /* a tree (tsearch) of those that are counted, by address */
    int stopping, takes_last;
};

/* Where there are `max` connections, others wait until one is forgotten; where an IP address
 * has max_per_ip, further ones of it are closed at once.  acceptor_destroy() it. */
void acceptor_init(struct acceptor *acceptor, size_t max, size_t max_per_ip,
                   acceptor_hand_over hand_over, void *context);

/* Starts to accept on a listening socket, which it then owns.  Returns 0, or -1: the socket is
 * the caller's still. */
int acceptor_start(struct acceptor *acceptor, int listen_fd);

/* A connection is over, from an address as it was handed over.  Thread-safe. */
void acceptor_forget(struct acceptor *acceptor, const struct sockaddr *address);

/* Accepts no more, and closes the listening socket; where it takes_last, after accepting whoever
 * has connected to it, as there is room. */
void acceptor_stop(struct acceptor *acceptor, int takes_last);

/* Stops, and frees what it holds. */
void acceptor_destroy(struct acceptor *acceptor);

#endif
