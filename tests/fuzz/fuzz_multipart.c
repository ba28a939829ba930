/* fuzz_multipart.c - the first line is the Content-Type, the rest the body. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "server/input/multipart.h"

enum { MAX_PARTS = 4 };

/* A part's names stand before its content. */
static int is_before(const char *name, size_t n, const uint8_t *content)
{
    return (const uint8_t *)name + n <= content;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nbytes)
{
    char *content_type = fuzz_line(&bytes, &nbytes);
    char boundary[MULTIPART_BOUNDARY_SIZE];
    if (multipart_boundary(boundary, content_type) == 0) {
        MUST(strlen(boundary) >= 1 && strstr(content_type, boundary));
        uint8_t *body = malloc(nbytes + !nbytes);
        struct multipart_part parts[MAX_PARTS];
        const char *message = "";
        size_t n = 0;
        MUST(body);
        memcpy(body, bytes, nbytes);
        switch (multipart_parse(parts, MAX_PARTS, &n, body, nbytes, boundary, &message)) {
        case MULTIPART_OK:
            MUST(n <= MAX_PARTS);
            /* Inside the body, one after the other. */
            for (size_t i = 0; i < n; i++) {
                MUST(parts[i].bytes >= (i ? parts[i - 1].bytes + parts[i - 1].n : body));
                MUST(parts[i].bytes + parts[i].n <= body + nbytes);
                MUST(!parts[i].name || is_before(parts[i].name, parts[i].name_n, parts[i].bytes));
                MUST(!parts[i].filename ||
                     is_before(parts[i].filename, parts[i].filename_n, parts[i].bytes));
            }
            break;
        case MULTIPART_INVALID:
            fuzz_check_message(message);
            break;
        case MULTIPART_TOO_MANY:
            break;
        }
        free(body);
    }
    free(content_type);
    return 0;
}
