/*
 * fuzz_oip.c - inference requests of the Open Inference Protocol.  The first
 * line is the header Inference-Header-Content-Length, empty for none; the rest
 * is the body: JSON, and what follows it.
 */
#include "tests/fuzz/fuzz.h"

#include "server/input/open_inference.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nbytes)
{
    char *json_length = fuzz_line(&bytes, &nbytes);
    struct request *request = fuzz_request(bytes, nbytes);
    request->is_oip = 1;
    request->json_length = *json_length ? json_length : NULL;
    unsigned status = oip_take(request);
    if (status == 0) {
        MUST(request->oip && request->oip->n_outputs >= 1);
        MUST(request->oip->n_outputs <= OIP_TENSORS);
    }
    fuzz_request_check(request, status);
    free(json_length);
    return 0;
}
