/*
 * tls_certificates.h - the server's certificate, replaceable while it serves.
 *
 * libmicrohttpd does TLS with GnuTLS and asks for the certificate at each
 * handshake, through a function without a context: hence one per process.
 */
#ifndef CAPSNETD_TLS_CERTIFICATES_H
#define CAPSNETD_TLS_CERTIFICATES_H

#include <stddef.h>

/* Reads a certificate chain and its private key, PEM files, checks that they
 * belong together, and serves them from the next handshake on.  On failure the
 * ones before stay.  Returns 0, or -1 and one sentence in message
 * [message_nbytes].  One thread at a time, while others shake hands. */
int tls_load(const char *cert_path, const char *key_path, char *message, size_t message_nbytes);

/* For MHD_OPTION_HTTPS_CERT_CALLBACK: a gnutls_certificate_retrieve_function2. */
void *tls_callback(void);

/* Frees the certificates; no handshake may be under way. */
void tls_free(void);

#endif
