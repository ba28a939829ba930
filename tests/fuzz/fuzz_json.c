/*
 * fuzz_json.c - JSON bodies: {"images": [...]} and {"class": 3, "pose": [...]}.
 * The first byte chooses the route: odd for /reconstruct, else /classify.
 */
#include "tests/fuzz/fuzz.h"

#include "server/input/body_images.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nbytes)
{
    if (nbytes < 1)
        return 0;
    struct request *request = fuzz_request(bytes + 1, nbytes - 1);
    request->content_type = "application/json";
    fuzz_request_check(request, *bytes & 1 ? body_take_image_or_pose(request)
                                           : body_take_images(request, 4));
    return 0;
}
