/* log.c - see log.h. */
#include "log.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

/* A client's text as one word: anything but printable ASCII, and the space, as
 * %XX.  escaped must hold 3 times the text. */
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
    char method[3 * sizeof r->method], target[3 * sizeof r->target], line[1400], when[32];
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &utc);
    escape(method, r->method[0] ? r->method : "-");
    escape(target, r->target);
    const struct job *job = &r->job;
    int n = snprintf(line, sizeof line,
                     "%s.%03ldZ %s %s %u %zu images=%zu decode=%.3f queue=%.3f infer=%.3f "
                     "encode=%.3f total=%.3f id=%s%s\n",
                     when, now.tv_nsec / 1000000, method, target, status, r->answer.nbytes,
                     job->n_images, (double)r->decode_us / 1e3,
                     (double)r->queue_us / 1e3,
                     (double)(job->done_us - job->started_us) / 1e3, (double)r->encode_us / 1e3,
                     (double)(clock_us() - r->received_us) / 1e3, r->id,
                     is_complete ? "" : " incomplete");
    /* One write, so that lines never mix; a log that is gone is no reason to
     * stop serving. */
    if (n > 0)
        (void)!write(STDERR_FILENO, line, (size_t)n);
}
