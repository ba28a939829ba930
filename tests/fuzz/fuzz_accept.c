/* fuzz_accept.c - an Accept header. */
#include "fuzz.h"

#include <string.h>

#include "../../server/accept.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nbytes)
{
    char *accept = fuzz_line(&bytes, &nbytes);
    int prefers = accept_prefers_json(accept);
    MUST(prefers == 0 || prefers == 1);
    MUST(!prefers || strcasestr(accept, "application/json"));
    free(accept);
    return 0;
}
