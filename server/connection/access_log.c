/* access_log.c - see access_log.h. */
#include "server/connection/access_log.h"

#include <stdio.h>

#include "server/basics/clock.h"
#include "server/basics/log.h"

/* A client's text as one word: anything but printable ASCII, and the space, as
 * %XX.  escaped must hold 3 times the text.  In JSON this also keeps out what
 * is no UTF-8. */
static void escape(char *escaped, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c > ' ' && c <= '~')
            *escaped++ = *text;
        else
            escaped += sprintf(escaped, "%%%02X", c);
    }
    *escaped = 0;
}

void log_request(const struct request *r, unsigned status, int is_complete)
{
    char method[3 * sizeof r->method], target[3 * sizeof r->target];
    /* 503 is said to too many clients at once, or while starting and ending, 505 to those who
     * speak another HTTP: no faults. */
    const int is_fault = status >= 500 && status != 503 && status != 505;
    enum log_level level = is_fault ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO;
    const struct job *job = &r->job;
    const double decode = (double)r->decode_us / 1e3, queue = (double)r->queue_us / 1e3,
                 infer = (double)(job->done_us - job->started_us) / 1e3,
                 encode = (double)r->encode_us / 1e3,
                 total = (double)(clock_us() - r->received_us) / 1e3;
    struct text line = {0};
    if (!log_wants(level))
        return;
    escape(method, r->method[0] ? r->method : "-");
    escape(target, r->target);
    if (log_is_json()) {
        log_begin_json(&line, level);
        log_add_member(&line, "id", r->id);
        log_add_member(&line, "method", method);
        log_add_member(&line, "target", target);
        log_add_member(&line, "route", r->route ? r->route->path : NULL);
        text_addf(&line,
                  ", \"status\": %u, \"bytes\": %zu, \"images\": %zu, \"decode_ms\": %.3f, "
                  "\"queue_ms\": %.3f, \"infer_ms\": %.3f, \"encode_ms\": %.3f, "
                  "\"total_ms\": %.3f, \"complete\": %s}",
                  status, r->answer.nbytes, job->n_images, decode, queue, infer, encode, total,
                  is_complete ? "true" : "false");
    } else {
        log_add_time(&line);
        text_addf(&line,
                  " %s %s %u %zu images=%zu decode=%.3f queue=%.3f infer=%.3f encode=%.3f "
                  "total=%.3f id=%s%s",
                  method, target, status, r->answer.nbytes, job->n_images, decode, queue,
                  infer, encode, total, r->id, is_complete ? "" : " incomplete");
    }
    log_write_line(&line);
}
