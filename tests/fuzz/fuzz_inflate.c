/*
 * fuzz_inflate.c - compressed bodies.  The first line is the header Content-Encoding,
 * the rest is the body.
 */
#include "tests/fuzz/fuzz.h"

#include "server/request/inflate_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nbytes)
{
    char *header = fuzz_line(&bytes, &nbytes);
    struct request *request = fuzz_request(bytes, nbytes);
    unsigned status = 0;
    if (content_coding(&request->coding, header))
        status = inflate_body(request);
    if (request->coding == CODING_IDENTITY)
        MUST(status == 0 && request->body.n == nbytes);
    MUST(status == request->answer.status);
    MUST(status == 0 || status == 400 || status == 413);
    MUST(request->coding == CODING_IDENTITY ||
         request->body.n <= request->service->options->max_body_bytes);
    request_free(request);
    free(header);
    return 0;
}
