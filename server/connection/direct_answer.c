/* direct_answer.c - see direct_answer.h. */
#include "server/connection/direct_answer.h"

#include <sys/socket.h>

#include <microhttpd.h>

#include "server/basics/text.h"
#include "server/connection/deadlines.h"
#include "server/connection/tls_session.h"

int direct_answer_send(const struct client *client, unsigned status, const char *json,
                       size_t nbytes)
{
    struct text answer = {0};
    ssize_t sent = -1;
    text_addf(&answer,
              "HTTP/1.1 %u %s\r\n"
              "Connection: close\r\n"
              "Content-Type: application/json\r\n"
              "X-Request-Id: %s\r\n"
              "Server-Timing: decode;dur=0, queue;dur=0, infer;dur=0, encode;dur=0\r\n"
              "Content-Length: %zu\r\n\r\n",
              status, MHD_get_reason_phrase_for(status), client->request_id, nbytes);
    text_add_bytes(&answer, json, nbytes);
    if (!answer.failed)
        sent = client->tls ? tls_session_send(client->tls, answer.bytes, answer.n)
                           : send(client->fd, answer.bytes, answer.n, MSG_DONTWAIT | MSG_NOSIGNAL);
    const int is_whole = sent >= 0 && (size_t)sent == answer.n;
    text_free(&answer);
    return is_whole;
}

void direct_answer_end(const struct client *client)
{
    if (client->tls)
        tls_session_end(client->tls);
    shutdown(client->fd, SHUT_WR);
}
