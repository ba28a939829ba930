/*
 * one_server.h - for a program all of whose tests talk to one server, with default
 * options: the group's set-up and teardown.
 */
#ifndef CAPSNETD_TEST_ONE_SERVER_H
#define CAPSNETD_TEST_ONE_SERVER_H

struct server;

extern struct server *server; /* between start() and stop() */

/* Each returns 0, or fails as server_start() and server_stop() do. */
int start(void **state);
int stop(void **state);

#endif
