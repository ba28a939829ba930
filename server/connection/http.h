/*
 * http.h - the HTTP side: connections, headers, bodies, answers, the log.
 */
#ifndef CAPSNETD_HTTP_H
#define CAPSNETD_HTTP_H

#include "server/request/service.h"

struct http;

/* Starts to serve on a listening socket, which it then owns.  NULL when the
 * daemon cannot start: the socket is the caller's still. */
struct http *http_start(struct service *service, int listen_fd);

/* Enforces the deadlines.  Call it from one thread; returns after how many
 * milliseconds it wants to be called again. */
int http_sweep(struct http *http);

/* Accepts no more connections and closes the listening socket: acceptor_stop(). */
void http_stop_listening(struct http *http, int takes_last);

/* Requests begun and not yet answered to the last byte. */
size_t http_active(struct http *http);

/* Closes all connections and frees; none may be active.  NULL is ignored. */
void http_free(struct http *http);

#endif
