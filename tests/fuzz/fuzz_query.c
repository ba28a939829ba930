/* fuzz_query.c - a query string, cut at & and the first =. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "server/request/query_params.h"

enum { CLASSES = 10 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nbytes)
{
    if (nbytes < 1)
        return 0;
    /* There are nine: one bit stands for two. */
    const unsigned allowed = *bytes | (*bytes & PARAM_MODEL ? PARAM_SPLIT : 0);
    bytes++;
    nbytes--;
    char *query = fuzz_line(&bytes, &nbytes), *rest = query;
    struct params params = {.scale = 1};
    unsigned seen = 0;
    for (char *name; (name = strsep(&rest, "&"));) {
        char message[256] = "";
        char *value = strchr(name, '=');
        if (value)
            *value++ = 0;
        if (params_set(&params, allowed, &seen, name, value, CLASSES, message,
                       sizeof message) != 0) {
            fuzz_check_message(message);
            break;
        }
        MUST(!(seen & ~allowed));
        MUST(params.scale >= 1 && params.scale <= 16 && params.class_index < CLASSES);
        MUST(params.normalize <= NORMALIZE_NONE);
        MUST((params.poses | params.sweep | params.debug | params.routing | params.split) >> 1 == 0);
    }
    free(query);
    return 0;
}
