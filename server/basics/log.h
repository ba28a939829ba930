/*
 * log.h - the log: lines on stderr, text or JSON (--log-format).
 *
 * Every line is one write, so that lines of different threads never mix.
 */
#ifndef CAPSNETD_LOG_H
#define CAPSNETD_LOG_H

#include "server/request/request.h"

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

/* Writes time, method, target, status, bytes, images, times in ms and the id.
 * What the client controls is escaped; bodies are never logged.
 *
 * status       0 when there was no answer of ours
 * is_complete  0 when the client did not take the whole answer */
void log_request(const struct request *request, unsigned status, int is_complete);

#endif
