/*
 * log.h - the log: lines on stderr, text or JSON (--log-format).
 *
 * Every line is one write, so that lines of different threads never mix.
 */
#ifndef CAPSNETD_LOG_H
#define CAPSNETD_LOG_H

#include "server/basics/text.h"

enum log_level {
    LOG_LEVEL_ERROR, /* what failed; requests answered with 500 or more */
    LOG_LEVEL_INFO,  /* every request, and what the server does */
    LOG_LEVEL_DEBUG, /* connections as well */
};

/* Sets how to log, from the options' texts; call it before the first thread
 * starts.  Until then: text, every level. */
void log_init(const char *format, const char *level);

/* Is that level logged? */
int log_wants(enum log_level level);

/* Writes one sentence; in text behind "capsnetd: ". */
__attribute__((format(printf, 2, 3))) void log_event(enum log_level level, const char *format,
                                                     ...);

/* For a line with more to say than a sentence (connection/access_log.c): written
 * into a text piece by piece, as JSON members when log_is_json(). */
int log_is_json(void);
void log_add_time(struct text *line); /* now, as RFC 3339 has it */
void log_begin_json(struct text *line, enum log_level level); /* {"time": ..., "level": ... */
void log_add_member(struct text *line, const char *name, const char *value);

/* Ends the line, writes it and frees its memory. */
void log_write_line(struct text *line);

#endif
