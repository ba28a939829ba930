/* send_answer.h - a request's answer as an HTTP response: status, headers, body. */
#ifndef CAPSNETD_SEND_ANSWER_H
#define CAPSNETD_SEND_ANSWER_H

#include <microhttpd.h>

#include "server/request/request.h"

/* Gives the answer, which there must be, to libmicrohttpd, and with it the body's
 * memory.  On the request's network thread, within libmicrohttpd's callback, which
 * returns the result. */
enum MHD_Result send_answer(struct request *request);

#endif
