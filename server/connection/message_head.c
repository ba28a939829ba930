/* message_head.c - see message_head.h. */
#include "server/connection/message_head.h"

#include <string.h>
#include <strings.h>

/* What the headers say that must not be said twice. */
struct singular {
    const char *length; /* Content-Length */
    int lengths_differ;
    size_t hosts;
};

static enum MHD_Result take_singular(void *context, enum MHD_ValueKind kind, const char *name,
                                     const char *value)
{
    (void)kind;
    struct singular *singular = context;
    singular->hosts += strcasecmp(name, "Host") == 0 ? 1 : 0;
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
        .is_doubtful =
            singular.lengths_differ ||
            (coding && (singular.length || strcasecmp(coding, "chunked") != 0))};
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
