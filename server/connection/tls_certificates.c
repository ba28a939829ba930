/* tls_certificates.c - see tls_certificates.h. */
#include "server/connection/tls_certificates.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>

enum { CHAIN_MAX = 16, KEY_ID_MAX = 64 };

/* A handshake under way may still use an old pair, and does not tell when it
 * is over: pairs live until the end.  A renewal a month is some kilobytes. */
struct pair {
    gnutls_pcert_st chain[CHAIN_MAX];
    unsigned n;
    gnutls_privkey_t key;
    struct pair *previous;
};

static _Atomic(struct pair *) current;

static void free_pair(struct pair *pair)
{
    for (unsigned i = 0; i < pair->n; i++)
        gnutls_pcert_deinit(&pair->chain[i]);
    if (pair->key)
        gnutls_privkey_deinit(pair->key);
    free(pair);
}

static int read_chain(struct pair *pair, const char *path)
{
    gnutls_datum_t pem;
    int error = gnutls_load_file(path, &pem);
    if (error < 0)
        return error;
    unsigned n = CHAIN_MAX;
    error = gnutls_pcert_list_import_x509_raw(pair->chain, &n, &pem, GNUTLS_X509_FMT_PEM,
                                              GNUTLS_X509_CRT_LIST_FAIL_IF_UNSORTED);
    if (error >= 0)
        pair->n = n;
    gnutls_free(pem.data);
    return error;
}

static int read_key(struct pair *pair, const char *path)
{
    gnutls_datum_t pem;
    int error = gnutls_load_file(path, &pem);
    if (error < 0)
        return error;
    error = gnutls_privkey_init(&pair->key);
    if (error >= 0)
        error = gnutls_privkey_import_x509_raw(pair->key, &pem, GNUTLS_X509_FMT_PEM, NULL, 0);
    gnutls_memset(pem.data, 0, pem.size);
    gnutls_free(pem.data);
    return error;
}

/* Does the key belong to the first certificate?  Compares the ids of both. */
static int is_match(const struct pair *pair)
{
    unsigned char ids[2][KEY_ID_MAX];
    size_t n[2] = {KEY_ID_MAX, KEY_ID_MAX};
    gnutls_pubkey_t of_key;
    if (gnutls_pubkey_init(&of_key) < 0)
        return 0;
    int same = gnutls_pubkey_import_privkey(of_key, pair->key, 0, 0) >= 0 &&
               gnutls_pubkey_get_key_id(of_key, 0, ids[0], &n[0]) >= 0 &&
               gnutls_pubkey_get_key_id(pair->chain[0].pubkey, 0, ids[1], &n[1]) >= 0 &&
               n[0] == n[1] && memcmp(ids[0], ids[1], n[0]) == 0;
    gnutls_pubkey_deinit(of_key);
    return same;
}

int tls_load(const char *cert_path, const char *key_path, char *message, size_t message_nbytes)
{
    struct pair *pair = calloc(1, sizeof *pair);
    if (!pair) {
        snprintf(message, message_nbytes, "out of memory for the TLS certificate");
        return -1;
    }
    int error = read_chain(pair, cert_path);
    if (error < 0) {
        snprintf(message, message_nbytes, "cannot read the TLS certificate %.150s: %s", cert_path,
                 gnutls_strerror(error));
    } else if ((error = read_key(pair, key_path)) < 0) {
        snprintf(message, message_nbytes, "cannot read the TLS key %.150s: %s", key_path,
                 gnutls_strerror(error));
    } else if (!is_match(pair)) {
        snprintf(message, message_nbytes,
                 "the TLS key %.150s does not belong to the certificate %.150s", key_path,
                 cert_path);
    } else {
        pair->previous = atomic_load(&current);
        atomic_store(&current, pair);
        return 0;
    }
    free_pair(pair);
    return -1;
}

static int retrieve(gnutls_session_t session, const gnutls_datum_t *authorities, int n_authorities,
                    const gnutls_pk_algorithm_t *algorithms, int n_algorithms,
                    gnutls_pcert_st **chain, unsigned *n, gnutls_privkey_t *key)
{
    struct pair *pair = atomic_load(&current);
    (void)session, (void)authorities, (void)n_authorities, (void)algorithms, (void)n_algorithms;
    *chain = pair->chain;
    *n = pair->n;
    *key = pair->key;
    return 0;
}

void *tls_callback(void)
{
    gnutls_certificate_retrieve_function2 *callback = retrieve;
    void *pointer;
    memcpy(&pointer, &callback, sizeof pointer); /* POSIX lets both have one size */
    return pointer;
}

void tls_free(void)
{
    struct pair *pair = atomic_exchange(&current, NULL);
    while (pair) {
        struct pair *previous = pair->previous;
        free_pair(pair);
        pair = previous;
    }
}
