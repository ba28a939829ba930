/* listen_socket.h - the socket that the server listens on. */
#ifndef CAPSNETD_LISTEN_SOCKET_H
#define CAPSNETD_LISTEN_SOCKET_H

#include <stddef.h>

enum listen_status {
    LISTEN_OK = 0,
    LISTEN_BAD_ADDRESS, /* not ADDR:PORT */
    LISTEN_FAILED,      /* in use, not ours, no right to */
};

/* Cuts "ADDR:PORT" or "[ADDR]:PORT" in two.  Returns 0, or -1. */
int listen_split(const char *address, char host[256], char port[8]);

/* Opens a listening socket.
 *
 * address  "127.0.0.1:8080", "[::1]:8080", "localhost:0"
 * *fd      the socket, on LISTEN_OK only; the caller's
 * url      [url_nbytes] "http://ADDR:PORT" with the real port
 * message  [message_nbytes] one sentence on failure */
enum listen_status listen_open(int *fd, const char *address, char *url, size_t url_nbytes,
                               char *message, size_t message_nbytes);

#endif
