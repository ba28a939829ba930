/* bad_lengths.c - see bad_lengths.h. */
#include "server/connection/bad_lengths.h"

#include <string.h>

#include <microhttpd.h>

/* The requests whose heads are arriving on this thread. */
static _Thread_local struct request *arriving;

void bad_lengths_watch(struct request *r)
{
    r->next_head = arriving;
    if (arriving)
        arriving->previous_head = r;
    arriving = r;
}

void bad_lengths_forget(struct request *r)
{
    if (r->next_head)
        r->next_head->previous_head = r->previous_head;
    if (r->previous_head)
        r->previous_head->next_head = r->next_head;
    else if (arriving == r)
        arriving = r->next_head;
    r->next_head = r->previous_head = NULL;
}

struct request *bad_lengths_find(const char *format)
{
    if (!strstr(format, "Content-Length' header"))
        return NULL;
    /* The size of a head is not known before it is complete. */
    for (struct request *r = arriving; r; r = r->next_head)
        if (MHD_get_connection_info(r->resumable.connection,
                                    MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE))
            return r;
    return NULL;
}
