/* message_head.c - see message_head.h. */
#include "server/connection/message_head.h"

#include <string.h>
#include <strings.h>

#include "server/basics/text.h"

/* What the headers say that must not be said twice. */
struct singular {
    const char *length; /* Content-Length */
    int lengths_differ;
    size_t hosts;
    int has_blank_name; /* "Content-Length : 5" is a length to some programs */
};

static enum MHD_Result take_singular(void *context, enum MHD_ValueKind kind, const char *name,
                                     const char *value)
{
    (void)kind;
    struct singular *singular = context;
    singular->hosts += strcasecmp(name, "Host") == 0 ? 1 : 0;
    singular->has_blank_name |= name[strcspn(name, " \t")] != 0;
    if (strcasecmp(name, "Content-Length") != 0 || !value)
        return MHD_YES;
    singular->lengths_differ |= singular->length && strcmp(singular->length, value) != 0;
    singular->length = value;
    return MHD_YES;
}

struct framing message_framing(struct MHD_Connection *connection)
{
    struct singular singular = {0};
    const char *coding = MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
                                                     MHD_HTTP_HEADER_TRANSFER_ENCODING);
    MHD_get_connection_values(connection, MHD_HEADER_KIND, take_singular, &singular);
    return (struct framing){
        .hosts = singular.hosts,
        .has_blank_name = singular.has_blank_name,
        .is_doubtful =
            singular.lengths_differ ||
            (coding && (singular.length || strcasecmp(coding, "chunked") != 0))};
}

size_t header_nbytes(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    return info ? info->header_size : 0;
}

void message_take_id(struct MHD_Connection *connection, char id[REQUEST_ID_SIZE])
{
    const char *sent = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "X-Request-Id");
    const size_t n = sent ? strspn(sent, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                         "0123456789-_.:") : 0;
    if (n > 0 && n < REQUEST_ID_SIZE && sent[n] == 0)
        memcpy(id, sent, n + 1);
}

struct list {
    const char *name, *first;
    size_t n;
    struct text text;
};

static enum MHD_Result take_line(void *context, enum MHD_ValueKind kind, const char *name,
                                 const char *value)
{
    (void)kind;
    struct list *list = context;
    if (strcasecmp(name, list->name) != 0 || !value)
        return MHD_YES;
    if (!list->n++) {
        list->first = value;
        return MHD_YES;
    }
    if (list->n == 2)
        text_add(&list->text, list->first);
    text_addf(&list->text, ", %s", value);
    return MHD_YES;
}

const char *message_list(struct MHD_Connection *connection, const char *name, char **joined)
{
    struct list list = {.name = name};
    size_t nbytes;
    MHD_get_connection_values(connection, MHD_HEADER_KIND, take_line, &list);
    *joined = list.n > 1 ? text_take(&list.text, &nbytes) : NULL;
    return *joined ? *joined : list.first;
}

const char *target_without_host(const char *target)
{
    size_t scheme = strncasecmp(target, "http://", 7) == 0    ? 7
                    : strncasecmp(target, "https://", 8) == 0 ? 8
                                                              : 0;
    if (!scheme)
        return target;
    target += scheme + strcspn(target + scheme, "/?");
    return *target ? target : "/";
}
