/* log.c - see log.h. */
#include "server/basics/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/basics/clock.h"
#include "server/answers/routes.h"

/* Set once, before there are threads. */
static int is_json;
static enum log_level wanted = LOG_LEVEL_DEBUG;

static const char *const LEVELS[] = {
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
};

enum { WHEN_SIZE = 40 };

void log_init(const char *format, const char *level)
{
    is_json = strcmp(format, "json") == 0;
    for (size_t i = 0; i < sizeof LEVELS / sizeof *LEVELS; i++)
        if (strcmp(LEVELS[i], level) == 0)
            wanted = (enum log_level)i;
}

int log_wants(enum log_level level)
{
    return level <= wanted;
}

/* Ends the line and writes it.  A log that is gone is no reason to stop
 * serving. */
static void write_line(struct text *line)
{
    text_add(line, "\n");
    if (!line->failed)
        (void)!write(STDERR_FILENO, line->bytes, line->n);
    text_free(line);
}

/* Now, as RFC 3339 has it. */
static void print_time(char when[WHEN_SIZE])
{
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t n = strftime(when, WHEN_SIZE, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(when + n, WHEN_SIZE - n, ".%03ldZ", now.tv_nsec / 1000000);
}

static void begin_json(struct text *line, enum log_level level)
{
    char when[WHEN_SIZE];
    print_time(when);
    text_addf(line, "{\"time\": \"%s\", \"level\": \"%s\"", when, LEVELS[level]);
}

static void add_member(struct text *line, const char *name, const char *value)
{
    text_addf(line, ", \"%s\": ", name);
    json_add_string(line, value);
}

void log_event(enum log_level level, const char *format, ...)
{
    char sentence[1024];
    struct text line = {0};
    va_list arguments;
    if (level > wanted)
        return;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    if (is_json) {
        begin_json(&line, level);
        add_member(&line, "message", sentence);
        text_add(&line, "}");
    } else {
        text_add(&line, "capsnetd: ");
        text_add(&line, sentence);
    }
    write_line(&line);
}

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
    char method[3 * sizeof r->method], target[3 * sizeof r->target], when[WHEN_SIZE];
    /* 503 is said to too many clients at once, or while starting and ending: no fault. */
    enum log_level level = status >= 500 && status != 503 ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO;
    const struct job *job = &r->job;
    const double decode = (double)r->decode_us / 1e3, queue = (double)r->queue_us / 1e3,
                 infer = (double)(job->done_us - job->started_us) / 1e3,
                 encode = (double)r->encode_us / 1e3,
                 total = (double)(clock_us() - r->received_us) / 1e3;
    struct text line = {0};
    if (level > wanted)
        return;
    escape(method, r->method[0] ? r->method : "-");
    escape(target, r->target);
    if (is_json) {
        begin_json(&line, level);
        add_member(&line, "id", r->id);
        add_member(&line, "method", method);
        add_member(&line, "target", target);
        add_member(&line, "route", r->route ? r->route->path : NULL);
        text_addf(&line,
                  ", \"status\": %u, \"bytes\": %zu, \"images\": %zu, \"decode_ms\": %.3f, "
                  "\"queue_ms\": %.3f, \"infer_ms\": %.3f, \"encode_ms\": %.3f, "
                  "\"total_ms\": %.3f, \"complete\": %s}",
                  status, r->answer.nbytes, job->n_images, decode, queue, infer, encode, total,
                  is_complete ? "true" : "false");
    } else {
        print_time(when);
        text_addf(&line,
                  "%s %s %s %u %zu images=%zu decode=%.3f queue=%.3f infer=%.3f encode=%.3f "
                  "total=%.3f id=%s%s",
                  when, method, target, status, r->answer.nbytes, job->n_images, decode, queue,
                  infer, encode, total, r->id, is_complete ? "" : " incomplete");
    }
    write_line(&line);
}
