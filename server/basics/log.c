/* log.c - see log.h. */
#include "server/basics/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Set once, before there are threads. */
static int is_json;
static enum log_level wanted = LOG_LEVEL_DEBUG;

static const char *const LEVELS[] = {
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
};

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

int log_is_json(void)
{
    return is_json;
}

/* A log that is gone is no reason to stop serving. */
void log_write_line(struct text *line)
{
    text_add(line, "\n");
    if (!line->failed)
        (void)!write(STDERR_FILENO, line->bytes, line->n);
    text_free(line);
}

void log_add_time(struct text *line)
{
    struct timespec now;
    struct tm utc;
    char when[40];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &utc);
    text_addf(line, "%s.%03ldZ", when, now.tv_nsec / 1000000);
}

void log_begin_json(struct text *line, enum log_level level)
{
    text_add(line, "{\"time\": \"");
    log_add_time(line);
    text_addf(line, "\", \"level\": \"%s\"", LEVELS[level]);
}

void log_add_member(struct text *line, const char *name, const char *value)
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
        log_begin_json(&line, level);
        log_add_member(&line, "message", sentence);
        text_add(&line, "}");
    } else {
        text_add(&line, "capsnetd: ");
        text_add(&line, sentence);
    }
    log_write_line(&line);
}
