/*
 * api_keys.h - who may use the server: API keys from a file (--api-key-file).
 *
 * One key a line, 16 to 128 visible ASCII characters; spaces around it, empty
 * lines and lines that begin with # are skipped.
 */
#ifndef CAPSNETD_API_KEYS_H
#define CAPSNETD_API_KEYS_H

#include <pthread.h>
#include <stddef.h>

enum { KEY_MAX = 128 };

struct keys {
    pthread_mutex_t lock;
    size_t n;
    char (*keys)[KEY_MAX]; /* filled up with zeros */
};

void keys_init(struct keys *keys);

/* Reads a file; the keys of before are replaced on success only.  Returns 0, or
 * -1 and one sentence in message [message_nbytes].  Thread-safe. */
int keys_load(struct keys *keys, const char *path, char *message, size_t message_nbytes);

/* Is this Authorization header (NULL for none) "Bearer" and one of the keys?  It takes
 * the same time whichever key it is like, and however much.  Thread-safe. */
int keys_admit(struct keys *keys, const char *authorization);

void keys_destroy(struct keys *keys);

#endif
