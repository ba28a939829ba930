/* tls.c - see tls.h. */
#include "tests/http/tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

static void write_pem(const char *path, const gnutls_datum_t *pem)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(pem->data, 1, pem->size, file), pem->size);
    assert_int_equal(fclose(file), 0);
}

void make_certificate(const char *cert, const char *key)
{
    static unsigned char serial;
    static const unsigned char loopback[4] = {127, 0, 0, 1};
    gnutls_x509_privkey_t private_key;
    gnutls_x509_crt_t crt;
    gnutls_datum_t pem;
    serial++;
    assert_int_equal(gnutls_x509_privkey_init(&private_key), 0);
    assert_int_equal(gnutls_x509_privkey_generate(private_key, GNUTLS_PK_ECDSA, 256, 0), 0);
    assert_int_equal(gnutls_x509_crt_init(&crt), 0);
    assert_int_equal(gnutls_x509_crt_set_version(crt, 3), 0);
    assert_int_equal(gnutls_x509_crt_set_serial(crt, &serial, 1), 0);
    assert_int_equal(gnutls_x509_crt_set_dn(crt, "CN=capsnetd test", NULL), 0);
    assert_int_equal(gnutls_x509_crt_set_activation_time(crt, time(NULL) - 3600), 0);
    assert_int_equal(gnutls_x509_crt_set_expiration_time(crt, time(NULL) + 3600), 0);
    assert_int_equal(gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, loopback, 4,
                                                          GNUTLS_FSAN_SET), 0);
    assert_int_equal(gnutls_x509_crt_set_basic_constraints(crt, 1, -1), 0);
    assert_int_equal(gnutls_x509_crt_set_key(crt, private_key), 0);
    assert_int_equal(gnutls_x509_crt_sign2(crt, crt, private_key, GNUTLS_DIG_SHA256, 0), 0);
    assert_int_equal(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem), 0);
    write_pem(cert, &pem);
    gnutls_free(pem.data);
    assert_int_equal(gnutls_x509_privkey_export2(private_key, GNUTLS_X509_FMT_PEM, &pem), 0);
    write_pem(key, &pem);
    gnutls_free(pem.data);
    gnutls_x509_crt_deinit(crt);
    gnutls_x509_privkey_deinit(private_key);
}

struct server *server_start_tls(const char *cert, const char *key)
{
    struct server *server = server_spawn(ARGS("--tls-cert", cert, "--tls-key", key,
                                              "--request-deadline-s", "1"), NO_ARGS);
    size_t n = 0;
    while (n + 1 < sizeof server->line && read(server->stdout_fd, server->line + n, 1) == 1 &&
           server->line[n] != '\n')
        n++;
    server->line[n] = 0;
    const char *url = strstr(server->line, "https://127.0.0.1:");
    if (!url) fail_msg("\"%s\" names no address", server->line);
    server->port = (unsigned)strtoul(strrchr(url, ':') + 1, NULL, 10);
    return server;
}

struct tls_line {
    int fd;
    gnutls_certificate_credentials_t credentials;
    gnutls_session_t session;
};

struct tls_line *tls_connect(const struct server *server, long timeout_ms)
{
    struct tls_line *line = calloc(1, sizeof *line);
    assert_non_null(line);
    line->fd = raw_connect(server, timeout_ms);
    assert_int_equal(gnutls_certificate_allocate_credentials(&line->credentials), 0);
    assert_int_equal(gnutls_init(&line->session, GNUTLS_CLIENT), 0);
    gnutls_set_default_priority(line->session);
    gnutls_credentials_set(line->session, GNUTLS_CRD_CERTIFICATE, line->credentials);
    gnutls_transport_set_int(line->session, line->fd);
    int error;
    do
        error = gnutls_handshake(line->session);
    while (error < 0 && !gnutls_error_is_fatal(error));
    assert_int_equal(error, 0);
    return line;
}

int tls_send(struct tls_line *line, const void *bytes, size_t nbytes)
{
    const char *at = bytes;
    while (nbytes > 0) {
        const ssize_t sent = gnutls_record_send(line->session, at, nbytes);
        if (sent < 0 && !gnutls_error_is_fatal((int)sent)) continue;
        if (sent <= 0) return -1;
        at += sent, nbytes -= (size_t)sent;
    }
    return 0;
}

long tls_read_all(struct tls_line *line, char *text, size_t size)
{
    size_t n = 0;
    while (n + 1 < size) {
        const ssize_t got = gnutls_record_recv(line->session, text + n, size - 1 - n);
        if (got == GNUTLS_E_INTERRUPTED) continue;
        if (got == GNUTLS_E_AGAIN) return -1;
        if (got == 0) break;
        if (got < 0 && gnutls_error_is_fatal((int)got)) break; /* closed without a word */
        n += got > 0 ? (size_t)got : 0;
    }
    text[n] = 0;
    return (long)n;
}

void tls_close(struct tls_line *line)
{
    gnutls_deinit(line->session);
    gnutls_certificate_free_credentials(line->credentials);
    close(line->fd);
    free(line);
}
