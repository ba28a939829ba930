/* common.c - see fuzz.h. */
#include "tests/fuzz/fuzz.h"

#include <math.h>
#include <string.h>

#include "model/weights_file/model_file.h"
#include "server/request/request.h"

char *fuzz_line(const uint8_t **bytes, size_t *nbytes)
{
    const uint8_t *end = *nbytes ? memchr(*bytes, '\n', *nbytes) : NULL;
    size_t n = end ? (size_t)(end - *bytes) : *nbytes;
    char *line = malloc(n + 1);
    MUST(line);
    if (n)
        memcpy(line, *bytes, n);
    line[n] = 0;
    n += end != NULL;
    *bytes += n;
    *nbytes -= n;
    return line;
}

void fuzz_check_message(const char *message)
{
    MUST(*message);
    for (; *message; message++)
        MUST(*message >= ' ' && *message <= '~');
}

/* ---- Requests ---------------------------------------------------------- */

enum { MAX_IMAGES = 4, MAX_SIDE = 64, MAX_BODY = 65536 };

static struct options options = {.max_images = MAX_IMAGES,
                                 .max_side = MAX_SIDE,
                                 .max_body_bytes = MAX_BODY};
static struct service service = {.options = &options};
static struct engine engine;
static struct generation generation; /* whose users are counted, no more */

static void make_model(void)
{
    static const struct capsnet_shape shape = {
        .height = 9, .width = 9, .channels = 1, .classes = 2, .conv1_kernel = 1,
        .conv1_channels = 1, .primary_kernel = 1, .primary_stride = 2, .primary_types = 1,
        .primary_dims = 1, .pose_dims = 1, .routing_iterations = 1, .decoder_hidden = {1, 1}};
    struct capsnet_error error;
    MUST(model_create(&engine.model, &shape, &(struct capsnet_options){.cpu_level = "ref"}, &error) == CAPSNET_OK);
}

struct request *fuzz_request(const uint8_t *body, size_t nbytes)
{
    if (!engine.model)
        make_model();
    struct request *request = calloc(1, sizeof *request);
    MUST(request);
    request->service = &service;
    request->engine = &engine;
    request->generation = &generation;
    atomic_fetch_add(&generation.users, 1);
    if (nbytes == 0)
        return request;
    /* Exactly as long as it is, so that a byte read beyond it is seen. */
    request->body.bytes = malloc(nbytes);
    MUST(request->body.bytes);
    memcpy(request->body.bytes, body, nbytes);
    request->body.n = request->body.capacity = nbytes;
    return request;
}

void fuzz_request_check(struct request *request, unsigned status)
{
    if (status == 0) {
        size_t pixels = 81 * request->job.n_images;
        MUST(!request->answer.status);
        MUST(request->digits || request->pose);
        if (request->pose)
            MUST(fabsf(request->pose[0]) <= 1e6f && request->pose_class < 2 && pixels == 0);
        else
            MUST(request->job.n_images >= 1 && request->job.n_images <= MAX_IMAGES);
        for (size_t i = 0; i < pixels; i++)
            MUST(request->digits[i] >= -0.25f && request->digits[i] <= 1.25f);
    } else {
        MUST(status == 400 || status == 413 || status == 415);
        MUST(status == request->answer.status && request->answer.body);
    }
    request_free(request);
    MUST(atomic_load(&generation.users) == 0 && atomic_load(&service.body_bytes) == 0);
}
