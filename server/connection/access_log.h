/* access_log.h - one line in the log for each request that is over. */
#ifndef CAPSNETD_ACCESS_LOG_H
#define CAPSNETD_ACCESS_LOG_H

#include "server/request/request.h"

/* Writes time, method, target, status, bytes, images, times in ms and the id.
 * What the client controls is escaped; bodies are never logged.
 *
 * status       0 when there was no answer of ours
 * is_complete  0 when the client did not take the whole answer */
void log_request(const struct request *request, unsigned status, int is_complete);

#endif
