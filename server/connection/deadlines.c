/* deadlines.c - see deadlines.h. */
#include "server/connection/deadlines.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "server/basics/clock.h"
#include "server/connection/direct_answer.h"
#include "server/connection/library_reads.h"
#include "server/connection/tls_session.h"
#include "server/request/refusal.h"

/* How often it is looked who has hung up, or begun; and when one that was told 408 is cut
 * off who still sends: while there is always something to read nobody sees the end. */
enum { LOOK_US = 90000, CUT_US = 1000000 };

void deadlines_init(struct deadlines *deadlines, int64_t silence_us, int64_t arrival_us)
{
    *deadlines = (struct deadlines){.silence_us = silence_us, .arrival_us = arrival_us};
    pthread_mutex_init(&deadlines->lock, NULL);
}

void deadlines_destroy(struct deadlines *deadlines)
{
    pthread_mutex_destroy(&deadlines->lock);
}

struct client *deadlines_open(struct deadlines *deadlines, int fd, int64_t due_us)
{
    struct client *client = calloc(1, sizeof *client);
    if (!client)
        return NULL;
    client->fd = fd;
    client->due_us = due_us;
    client->silent_us = INT64_MAX;
    client->earlier_bytes = client->seen_bytes = library_reads_bytes(fd);
    pthread_mutex_lock(&deadlines->lock);
    client->next = deadlines->clients;
    if (client->next)
        client->next->previous = client;
    deadlines->clients = client;
    pthread_mutex_unlock(&deadlines->lock);
    return client;
}

void deadlines_close(struct deadlines *deadlines, struct client *client)
{
    if (!client)
        return;
    pthread_mutex_lock(&deadlines->lock);
    if (client->next)
        client->next->previous = client->previous;
    if (client->previous)
        client->previous->next = client->next;
    else
        deadlines->clients = client->next;
    pthread_mutex_unlock(&deadlines->lock);
    free(client);
}

/* The lock is held.  Returns 0, or -1 for one that has expired. */
static int enter(struct client *client, enum client_phase phase, int64_t due_us,
                 int64_t silent_us, const char *request_id)
{
    if (client->phase == CLIENT_EXPIRED)
        return -1;
    client->phase = phase;
    client->due_us = due_us;
    client->silent_us = silent_us;
    if (request_id)
        snprintf(client->request_id, sizeof client->request_id, "%s", request_id);
    return 0;
}

int deadlines_enter(struct deadlines *deadlines, struct client *client, enum client_phase phase,
                    int64_t due_us, const char *request_id)
{
    pthread_mutex_lock(&deadlines->lock);
    const int status = enter(client, phase, due_us, INT64_MAX, request_id);
    if (phase == CLIENT_IDLE) {
        client->begun_us = 0;
        client->is_oip = 0;
        if (client->had_request) {
            client->earlier_bytes = client->seen_bytes = library_reads_bytes(client->fd);
            client->earlier_records = client->tls ? tls_session_records(client->tls) : 0;
        }
    }
    pthread_mutex_unlock(&deadlines->lock);
    return status;
}

int deadlines_receive(struct deadlines *deadlines, struct client *client, const char *request_id)
{
    const int64_t now_us = clock_us();
    pthread_mutex_lock(&deadlines->lock);
    client->had_request = 1;
    if (!client->begun_us)
        client->begun_us = now_us;
    const int status = enter(client, CLIENT_RECEIVING, client->begun_us + deadlines->arrival_us,
                             now_us + deadlines->silence_us, request_id);
    pthread_mutex_unlock(&deadlines->lock);
    return status;
}

void deadlines_hear(struct deadlines *deadlines, struct client *client)
{
    const int64_t silent_us = clock_us() + deadlines->silence_us;
    pthread_mutex_lock(&deadlines->lock);
    client->silent_us = silent_us;
    pthread_mutex_unlock(&deadlines->lock);
}

void deadlines_set_form(struct deadlines *deadlines, struct client *client, int is_oip)
{
    pthread_mutex_lock(&deadlines->lock);
    client->is_oip = is_oip;
    pthread_mutex_unlock(&deadlines->lock);
}

int deadlines_is_unheard(struct deadlines *deadlines, struct client *client)
{
    /* What was read in one packet with the last request is not seen. */
    int has_more;
    if (client->tls) { /* whose end is a record, too, and to see it may take one */
        const uint64_t records = tls_session_records(client->tls);
        has_more = records > client->earlier_records + (tls_session_has_ended(client->tls) ? 1 : 0);
    } else {
        has_more = library_reads_bytes(client->fd) > client->earlier_bytes;
    }
    pthread_mutex_lock(&deadlines->lock);
    const int is_unheard = has_more && client->phase == CLIENT_IDLE;
    pthread_mutex_unlock(&deadlines->lock);
    return is_unheard;
}

static void tell(const struct client *client)
{
    struct text body = {0};
    refusal_document(&body, REFUSED_TIMEOUT, "the request did not arrive in time", client->is_oip);
    if (!body.failed)
        direct_answer_send(client, refusal_status(REFUSED_TIMEOUT), body.bytes, body.n);
    text_free(&body);
}

void deadlines_tell_over_tls(struct deadlines *deadlines, struct client *client)
{
    pthread_mutex_lock(&deadlines->lock);
    const int is_due = client->phase == CLIENT_EXPIRED && client->tls && !client->is_told &&
                       (client->cut_phase == CLIENT_RECEIVING ||
                        tls_session_records(client->tls) > client->earlier_records);
    client->is_told |= is_due;
    pthread_mutex_unlock(&deadlines->lock);
    if (is_due)
        tell(client);
}

/* libmicrohttpd's edge-triggered epoll misses the end of a client that hangs up
 * right behind a part of its request, and would keep it until it times out.
 * Ended from our side too, the socket shows its end again. */
static void show_end(const struct client *client)
{
    char byte;
    if (client->phase <= CLIENT_RECEIVING &&
        recv(client->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
        shutdown(client->fd, SHUT_RD);
}

/* libmicrohttpd tells of a request when its line is whole.  Its time runs from its first
 * byte, and until then it may not be silent either. */
static void see_beginning(const struct deadlines *deadlines, struct client *client, int64_t now_us)
{
    const uint64_t bytes = client->phase == CLIENT_IDLE ? library_reads_bytes(client->fd) : 0;
    if (bytes <= client->seen_bytes)
        return;
    client->seen_bytes = bytes;
    client->silent_us = now_us + deadlines->silence_us;
    if (client->begun_us)
        return;
    client->begun_us = now_us;
    client->due_us = now_us + deadlines->arrival_us;
}

static void look(struct deadlines *deadlines, int64_t now_us)
{
    if (now_us - deadlines->looked_us < LOOK_US)
        return; /* system calls for each client */
    deadlines->looked_us = now_us;
    for (struct client *client = deadlines->clients; client; client = client->next) {
        show_end(client);
        see_beginning(deadlines, client, now_us);
    }
}

/* The socket is libmicrohttpd's to close.  Shut down, it reads as ended there, and is closed
 * at once; with both sides shut down the next byte breaks it. */
static void expire(struct client *client, int64_t now_us)
{
    if (client->phase == CLIENT_ANSWERING || client->phase == CLIENT_EXPIRED) {
        shutdown(client->fd, SHUT_RDWR);
    } else {
        if (!client->tls)
            tell(client);
        shutdown(client->fd, SHUT_RD);
    }
    if (client->phase != CLIENT_EXPIRED)
        client->cut_phase = client->phase;
    client->phase = CLIENT_EXPIRED;
    client->due_us = now_us + CUT_US;
    client->silent_us = INT64_MAX;
}

void deadlines_sweep(struct deadlines *deadlines, int64_t now_us)
{
    pthread_mutex_lock(&deadlines->lock);
    look(deadlines, now_us);
    for (struct client *client = deadlines->clients; client; client = client->next)
        if (client->due_us <= now_us || client->silent_us <= now_us)
            expire(client, now_us);
    pthread_mutex_unlock(&deadlines->lock);
}
