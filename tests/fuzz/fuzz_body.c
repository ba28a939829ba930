/*
 * fuzz_body.c - pictures in every form that a body may have: a PNG, a form with files, text
 * fields and data URLs, a data URL alone, JSON.  The first line is the Content-Type, whose
 * first byte chooses the route: a digit for /reconstruct, and is no part of it, else
 * /classify.
 */
#include "tests/fuzz/fuzz.h"

#include "server/input/body_images.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nbytes)
{
    char *content_type = fuzz_line(&bytes, &nbytes);
    const int is_reconstruct = *content_type >= '0' && *content_type <= '9';
    struct request *request = fuzz_request(bytes, nbytes);
    request->content_type = *content_type ? content_type + is_reconstruct : NULL;
    fuzz_request_check(request, is_reconstruct ? body_take_image_or_pose(request)
                                               : body_take_images(request, 4));
    free(content_type);
    return 0;
}
