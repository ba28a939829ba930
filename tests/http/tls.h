/* tls.h - certificates for the tests, the server with one, and bare TLS connections to it. */
#ifndef HTTP_TLS_H
#define HTTP_TLS_H

#include "tests/http/harness.h"

/* Writes a new key, and a certificate for 127.0.0.1 that it has signed itself, as PEM. */
void make_certificate(const char *cert_path, const char *key_path);

/* Starts the server with them and a request's deadline of 1 s, and waits for its start-up
 * line; url is empty. */
struct server *server_start_tls(const char *cert_path, const char *key_path);

/* One TLS connection.  What is read gives up as raw_connect()'s does. */
struct tls_line;

struct tls_line *tls_connect(const struct server *server, long timeout_ms);
int tls_send(struct tls_line *line, const void *bytes, size_t nbytes); /* as raw_send() */
long tls_read_all(struct tls_line *line, char *text, size_t size);     /* as raw_read_all() */
void tls_close(struct tls_line *line);

#endif
