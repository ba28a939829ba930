/* api_keys.c - see api_keys.h. */
#include "server/request/api_keys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { KEY_MIN = 16, MAX_KEYS = 10000 };

void keys_init(struct keys *keys)
{
    *keys = (struct keys){0};
    pthread_mutex_init(&keys->lock, NULL);
}

/* Cuts the line down to its key; empty when there is none. */
static char *trim(char *line)
{
    static const char space[] = " \t\r\n";
    line += strspn(line, space);
    size_t n = strlen(line);
    while (n && strchr(space, line[n - 1]))
        n--;
    line[n] = 0;
    return *line == '#' ? line + n : line;
}

static int is_sane(const char *key, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (key[i] <= ' ' || key[i] > '~')
            return 0;
    return n >= KEY_MIN && n <= KEY_MAX;
}

/* Reads the keys of an open file.  Returns them, or NULL after a sentence. */
static char (*read_keys(FILE *file, const char *path, size_t *n, char *message,
                        size_t message_nbytes))[KEY_MAX]
{
    char line[1024];
    char(*list)[KEY_MAX] = calloc(MAX_KEYS, sizeof *list);
    *n = 0;
    for (size_t number = 1; list && fgets(line, sizeof line, file); number++) {
        const char *key = trim(line);
        size_t length = strlen(key);
        if (length == 0)
            continue;
        if (!is_sane(key, length) || *n == MAX_KEYS) {
            snprintf(message, message_nbytes,
                     "%.200s, line %zu: a key has %d to %d visible ASCII characters, and a file "
                     "at most %d keys",
                     path, number, KEY_MIN, KEY_MAX, MAX_KEYS);
            free(list);
            return NULL;
        }
        memcpy(list[(*n)++], key, length);
    }
    if (list && *n && !ferror(file))
        return list;
    snprintf(message, message_nbytes, "%.200s: %s", path,
             !list          ? "out of memory"
             : ferror(file) ? strerror(errno)
                            : "the file holds no key");
    free(list);
    return NULL;
}

int keys_load(struct keys *keys, const char *path, char *message, size_t message_nbytes)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        snprintf(message, message_nbytes, "cannot open the API keys %.200s: %s", path,
                 strerror(errno));
        return -1;
    }
    size_t n;
    char(*list)[KEY_MAX] = read_keys(file, path, &n, message, message_nbytes);
    fclose(file);
    if (!list)
        return -1;
    pthread_mutex_lock(&keys->lock);
    char(*old)[KEY_MAX] = keys->keys;
    keys->keys = list;
    keys->n = n;
    pthread_mutex_unlock(&keys->lock);
    free(old);
    return 0;
}

int keys_admit(struct keys *keys, const char *authorization)
{
    static const char scheme[] = "Bearer ";
    char key[KEY_MAX] = {0};
    if (!authorization || strncasecmp(authorization, scheme, sizeof scheme - 1) != 0)
        return 0;
    authorization += sizeof scheme - 1;
    authorization += strspn(authorization, " ");
    const size_t n = strlen(authorization);
    if (n < KEY_MIN || n > KEY_MAX)
        return 0;
    memcpy(key, authorization, n);
    unsigned admitted = 0;
    pthread_mutex_lock(&keys->lock);
    for (size_t i = 0; i < keys->n; i++) {
        volatile unsigned char difference = 0; /* volatile: no way out half-way */
        for (size_t k = 0; k < KEY_MAX; k++)
            difference = (unsigned char)(difference | (key[k] ^ keys->keys[i][k]));
        admitted |= difference == 0;
    }
    pthread_mutex_unlock(&keys->lock);
    return (int)admitted;
}

void keys_destroy(struct keys *keys)
{
    free(keys->keys);
    pthread_mutex_destroy(&keys->lock);
}
