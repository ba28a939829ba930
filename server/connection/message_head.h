/*
 * message_head.h - what HTTP/1.1 (RFC 9112) says about a request's line and headers.
 */
#ifndef CAPSNETD_MESSAGE_HEAD_H
#define CAPSNETD_MESSAGE_HEAD_H

#include <stddef.h>

#include <microhttpd.h>

#include "server/request/request.h"

/* What the headers say about the message itself. */
struct framing {
    size_t hosts;    /* how many Host headers there are */
    int has_blank_name; /* a header's name has a blank, which may hide it from others (5.1) */
    int is_doubtful; /* where the body ends is not known for sure: another program before
                        this one may see another end, and take what follows for a request of
                        its own or not (sections 6.3 and 11.2) */
};

struct framing message_framing(struct MHD_Connection *connection);

/* The bytes of the request line and the headers; 0 before they have come. */
size_t header_nbytes(struct MHD_Connection *connection);

/* Takes the client's X-Request-Id, when it may stand in a header and in a log line as it
 * is, in place of id. */
void message_take_id(struct MHD_Connection *connection, char id[REQUEST_ID_SIZE]);

/* The value of a header that is a list.  One of several lines is joined by commas (RFC 9110,
 * 5.3), in *joined, which is the caller's to free.  NULL when the header is absent. */
const char *message_list(struct MHD_Connection *connection, const char *name, char **joined);

/* A target, or the path of one, without the scheme and the host that a client puts before
 * it who takes this server for a proxy (section 3.2.2).  Points into target, or is "/". */
const char *target_without_host(const char *target);

#endif
