/* direct_answer.c - see direct_answer.h. */
#include "server/connection/direct_answer.h"

#include <sys/socket.h>

#include "server/basics/text.h"

void direct_answer_send(int fd, const char *status_line, const char *request_id,
                        const char *json, size_t nbytes)
{
    struct text answer = {0};
    text_addf(&answer,
              "HTTP/1.1 %s\r\n"
              "Connection: close\r\n"
              "Content-Type: application/json\r\n"
              "X-Request-Id: %s\r\n"
              "Server-Timing: decode;dur=0, queue;dur=0, infer;dur=0, encode;dur=0\r\n"
              "Content-Length: %zu\r\n\r\n",
              status_line, request_id, nbytes);
    text_add_bytes(&answer, json, nbytes);
    if (!answer.failed)
        (void)!send(fd, answer.bytes, answer.n, MSG_DONTWAIT | MSG_NOSIGNAL);
    text_free(&answer);
}
