/*
 * deadlines.h - a time limit for every phase of every connection.
 *
 * libmicrohttpd closes a connection that is silent for too long, but says nothing,
 * and a client that sends (or reads) one byte at a time is never silent.  So each
 * connection also has a moment by which its present phase must be over, and another
 * by which more of its request must have come; somebody calls deadlines_sweep()
 * several times a second.
 */
#ifndef CAPSNETD_DEADLINES_H
#define CAPSNETD_DEADLINES_H

#include <pthread.h>
#include <stdint.h>

#include "server/connection/tls_session.h"

struct request;

/* Of a connection, which has one request after the other; each request's own way is
 * its enum request_stage. */
enum client_phase {
    CLIENT_IDLE,      /* nothing of a request has been understood yet */
    CLIENT_RECEIVING, /* a request is arriving */
    CLIENT_WORKING,   /* we are computing: the client is not to blame */
    CLIENT_ANSWERING, /* the answer is on its way */
    CLIENT_EXPIRED,   /* too slow: cut off, and soon closed */
};

/* One connection. */
struct client {
    int fd;
    struct gnutls_session_int *tls; /* NULL: no TLS.  The network thread's */
    struct tls_watch tls_watch;
    struct request *request; /* from its line to its end, else NULL.  The network thread's */
    struct library_refusals *refusals; /* over TLS: who tells it that it speaks none */
    int had_request;                   /* it has had a request line */
    enum client_phase phase;
    enum client_phase cut_phase; /* of one that has expired: what took too long */
    int is_told;                 /* and whether it has been told, over TLS */
    int64_t due_us;
    int64_t begun_us;        /* when the first byte of a request was seen; 0: none yet */
    uint64_t earlier_bytes;  /* what had been read when the last request was over */
    uint64_t seen_bytes;     /* what of a request line had come when it was last looked at */
    uint64_t earlier_records; /* earlier_bytes in records of TLS */
    int64_t silent_us;   /* when it will have been silent for too long */
    char request_id[65]; /* of the request that is arriving */
    int is_oip;          /* its errors have the Open Inference Protocol's form */
    struct client *previous, *next;
};


struct deadlines {
    pthread_mutex_t lock;
    struct client *clients;
    int64_t silence_us; /* how long a request that is arriving may be silent */
    int64_t arrival_us; /* and how long it may take, from its first byte to its last */
    int64_t looked_us;  /* deadlines_sweep()'s own */
};

void deadlines_init(struct deadlines *deadlines, int64_t silence_us, int64_t arrival_us);
void deadlines_destroy(struct deadlines *deadlines);

/* Watches a new connection.  NULL when memory is short. */
struct client *deadlines_open(struct deadlines *deadlines, int fd, int64_t due_us);

/* libmicrohttpd closes the connection, whose sending side is still open.  Could it make
 * nothing of a request line, which it tells nobody?  On the connection's network thread. */
int deadlines_is_unheard(struct deadlines *deadlines, struct client *client);

/* A TLS connection that has expired reads as ended: it is told 408, when it had begun a
 * request.  On its network thread. */
void deadlines_tell_over_tls(struct deadlines *deadlines, struct client *client);

/* Forgets it, before its socket is closed; frees it. */
void deadlines_close(struct deadlines *deadlines, struct client *client);

/* Enters a phase that must be over at due_us (INT64_MAX: no limit); for RECEIVING see
 * below.  A request_id that is not NULL is remembered.  Returns 0, or -1 when the
 * client had already expired: then the connection must be closed. */
int deadlines_enter(struct deadlines *deadlines, struct client *client, enum client_phase phase,
                    int64_t due_us, const char *request_id);

/* Enters RECEIVING, or stays in it.  However often, it must be over arrival_us after the
 * first byte that deadlines_sweep() saw of the request, or after the first call. */
int deadlines_receive(struct deadlines *deadlines, struct client *client, const char *request_id);

/* More of the request that is arriving has come. */
void deadlines_hear(struct deadlines *deadlines, struct client *client);

/* Says in which form the request that arrives is told of its 408. */
void deadlines_set_form(struct deadlines *deadlines, struct client *client, int is_oip);

/* Cuts off whoever is late: one that is still sending is told 408 first, or, over TLS,
 * when its network thread sees to it (deadlines_tell_over_tls).  Sees to it that one who has hung up in
 * the middle of a request is closed. */
void deadlines_sweep(struct deadlines *deadlines, int64_t now_us);

#endif
