/* fuzz_accept.c - an Accept header. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "server/request/accept_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nbytes)
{
    char *accept = fuzz_line(&bytes, &nbytes);
    int prefers = accept_prefers_json(accept);
    MUST(prefers == 0 || prefers == 1);
    MUST(!prefers || strcasestr(accept, "application/") || strstr(accept, "*/*"));
    free(accept);
    return 0;
}
