/* listen_socket.h - the socket that the server listens on. */
#ifndef CAPSNETD_LISTEN_SOCKET_H
#define CAPSNETD_LISTEN_SOCKET_H

#include <stddef.h>

#include "server/basics/unix_socket.h"

enum listen_status {
    LISTEN_OK = 0,
    LISTEN_BAD_ADDRESS, /* neither ADDR:PORT nor unix:PATH */
    LISTEN_FAILED,      /* in use, not ours, no right to */
    LISTEN_NONE,        /* nothing was handed over */
};

struct listener {
    int fd;                /* the caller's to close */
    int is_shared;         /* taken over: whoever opened it has it, too */
    char url[160];         /* "http://ADDR:PORT" with the real port, or "unix:PATH" */
    struct unix_file file; /* for unix_remove() at the end */
};

/* Cuts "ADDR:PORT" or "[ADDR]:PORT" in two.  Returns 0, or -1. */
int listen_split(const char *address, char host[256], char port[8]);

/* Opens a listening socket.
 *
 * address  "127.0.0.1:8080", "[::1]:8080", "localhost:0", "unix:/run/capsnetd.sock"
 * mode     of a Unix socket: see unix_socket.h
 * scheme   "http" or "https", for the url
 * message  [message_nbytes] one sentence on failure */
enum listen_status listen_open(struct listener *listener, const char *address, mode_t mode,
                               const char *scheme, char *message, size_t message_nbytes);

/* Takes the socket over that systemd, or whoever started us, has opened, as the variables
 * LISTEN_PID and LISTEN_FDS say (man 3 sd_listen_fds); they are removed.  LISTEN_NONE when
 * they speak of no socket for this process. */
enum listen_status listen_take_over(struct listener *listener, const char *scheme, char *message,
                                    size_t message_nbytes);

#endif
