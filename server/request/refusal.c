/* refusal.c - see refusal.h. */
#include "server/request/refusal.h"

static const struct {
    unsigned status;
    const char *code;
} REFUSALS[] = {
    [REFUSED_INVALID_REQUEST] = {400, "invalid_request"},
    [REFUSED_INVALID_PNG] = {400, "invalid_png"},
    [REFUSED_INVALID_JSON] = {400, "invalid_json"},
    [REFUSED_INVALID_PARAMETER] = {400, "invalid_parameter"},
    [REFUSED_INVALID_MULTIPART] = {400, "invalid_multipart"},
    [REFUSED_NO_IMAGE] = {400, "no_image"},
    [REFUSED_NOT_FOUND] = {404, "not_found"},
    [REFUSED_METHOD_NOT_ALLOWED] = {405, "method_not_allowed"},
    [REFUSED_TIMEOUT] = {408, "timeout"},
    [REFUSED_TOO_LARGE] = {413, "too_large"},
    [REFUSED_UNSUPPORTED_MEDIA_TYPE] = {415, "unsupported_media_type"},
    [REFUSED_OVERLOADED] = {503, "overloaded"},
    [REFUSED_DRAINING] = {503, "draining"},
    [REFUSED_LOADING] = {503, "loading"},
    [REFUSED_UNAUTHORIZED] = {401, "unauthorized"},
    [REFUSED_HEADERS_TOO_LARGE] = {431, "headers_too_large"},
    [REFUSED_UNSUPPORTED_VERSION] = {505, "unsupported_version"},
};

unsigned refusal_document(struct text *text, enum refusal refusal, const char *sentence,
                          int is_oip)
{
    text_add(text, "{\"error\": ");
    if (!is_oip)
        text_addf(text, "{\"code\": \"%s\", \"message\": ", REFUSALS[refusal].code);
    json_add_string(text, sentence);
    text_add(text, is_oip ? "}\n" : "}}\n");
    return REFUSALS[refusal].status;
}

const char *refusal_document_no_memory(int is_oip)
{
    return is_oip ? "{\"error\": \"out of memory\"}\n"
                  : "{\"error\": {\"code\": \"overloaded\", \"message\": \"out of memory\"}}\n";
}

unsigned refusal_status(enum refusal refusal)
{
    return REFUSALS[refusal].status;
}

const char *refusal_code(enum refusal refusal)
{
    return REFUSALS[refusal].code;
}

int refusal_is_temporary(enum refusal refusal)
{
    return REFUSALS[refusal].status == 503;
}
