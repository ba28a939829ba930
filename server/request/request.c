/* request.c - see request.h. */
#include "server/request/request.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The bodies of all requests together may fill this many largest bodies. */
enum { BODIES_IN_MEMORY = 16 };

const struct capsnet_shape *request_shape(const struct request *request)
{
    return capsnet_model_shape(request->engine->model);
}

/* splitmix64's finisher over a random start. */
void request_make_id(struct service *service, char id[REQUEST_ID_SIZE])
{
    uint64_t x = atomic_fetch_add(&service->next_id, 0x9e3779b97f4a7c15u);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    snprintf(id, REQUEST_ID_SIZE, "%016llx", (unsigned long long)(x ^ (x >> 31)));
}

static void set_answer(struct request *request, struct answer answer)
{
    if (!request->answer.is_owned_elsewhere)
        free(request->answer.body);
    request->answer = answer;
}

unsigned request_refuse(struct request *request, enum refusal refusal, const char *format, ...)
{
    char sentence[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);

    struct text text = {0};
    struct answer answer = {.refusal = refusal, .content_type = "application/json"};
    answer.status = refusal_document(&text, refusal, sentence, request->is_oip);
    answer.body = text_take(&text, &answer.nbytes);
    if (!answer.body) {
        answer.refusal = REFUSED_OVERLOADED;
        answer.status = refusal_status(REFUSED_OVERLOADED);
        answer.body = (char *)refusal_document_no_memory(request->is_oip); /* never written to */
        answer.nbytes = strlen(answer.body);
        answer.is_owned_elsewhere = 1;
    }
    set_answer(request, answer);
    return answer.status;
}

unsigned request_refuse_no_memory(struct request *request)
{
    return request_refuse(request, REFUSED_OVERLOADED, "out of memory");
}

unsigned request_answer_bytes(struct request *request, const char *content_type, uint8_t *bytes,
                              size_t nbytes)
{
    set_answer(request, (struct answer){.status = 200,
                                        .content_type = content_type,
                                        .body = (char *)bytes,
                                        .nbytes = nbytes});
    return 200;
}

unsigned request_answer(struct request *request, const char *content_type, struct text *text)
{
    size_t nbytes;
    char *bytes = text_take(text, &nbytes);
    if (!bytes)
        return request_refuse_no_memory(request);
    return request_answer_bytes(request, content_type, (uint8_t *)bytes, nbytes);
}

unsigned request_make_job(struct request *request, size_t n_pictures)
{
    const struct capsnet_shape *shape = request_shape(request);
    const size_t pixels = capsnet_pixels(shape);
    struct job *job = &request->job;
    size_t n_lengths = job->n_images * shape->classes;
    job->n_pictures = n_pictures;
    /* One element more: none of these may be an allocation of 0. */
    request->results = calloc(n_lengths * (1 + shape->pose_dims) + 1, sizeof(float));
    request->decoder = calloc(n_pictures * (shape->pose_dims + pixels) + 1, sizeof(float));
    job->picture_classes = calloc(n_pictures + 1, sizeof *job->picture_classes);
    if (!request->results || !request->decoder || !job->picture_classes)
        return request_refuse_no_memory(request);
    job->digits = request->digits;
    job->lengths = request->results;
    job->poses = request->results + n_lengths;
    job->picture_poses = request->decoder;
    job->pictures = request->decoder + n_pictures * shape->pose_dims;
    return 0;
}

/* routing [n_images] with nbytes behind it; NULL when memory is short. */
static char *make_routing(struct request *request, size_t image_nbytes)
{
    struct job *job = &request->job;
    request->routing = calloc(job->n_images + 1, sizeof *request->routing + image_nbytes);
    job->routing = request->routing;
    return (char *)(request->routing ? request->routing + job->n_images : NULL);
}

unsigned request_ask_rounds(struct request *request)
{
    const struct capsnet_shape *shape = request_shape(request);
    const size_t lengths = shape->routing_iterations * shape->classes;
    const size_t maps = lengths * capsnet_places(shape, shape->height) *
                        capsnet_places(shape, shape->width);
    float *at = (float *)(void *)make_routing(request, (lengths + 2 * maps) * sizeof(float));
    if (!at)
        return request_refuse_no_memory(request);
    for (size_t i = 0; i < request->job.n_images; i++, at += lengths + 2 * maps)
        request->routing[i] = (struct capsnet_routing){
            .lengths = at, .coupling = at + lengths, .votes = at + lengths + maps};
    return 0;
}

unsigned request_ask_couplings(struct request *request)
{
    const struct capsnet_shape *shape = request_shape(request);
    const size_t couplings = capsnet_capsules(shape) * shape->classes;
    float *at = (float *)(void *)make_routing(request, couplings * sizeof(float));
    if (!at)
        return request_refuse_no_memory(request);
    for (size_t i = 0; i < request->job.n_images; i++)
        request->routing[i].couplings = at + i * couplings;
    return 0;
}

unsigned request_add_body(struct request *request, const char *bytes, size_t nbytes)
{
    struct service *service = request->service;
    request->body_counted += nbytes;
    size_t all = atomic_fetch_add(&service->body_bytes, nbytes) + nbytes;
    text_add_bytes(&request->body, bytes, nbytes);
    if (all <= BODIES_IN_MEMORY * service->options->max_body_bytes && !request->body.failed)
        return 0;
    return request_refuse(request, REFUSED_OVERLOADED,
                          "the bodies of other requests fill the memory; try again soon");
}

void request_drop_body(struct request *request)
{
    text_free(&request->body);
    atomic_fetch_sub(&request->service->body_bytes, request->body_counted);
    request->body_counted = 0;
}

void request_free(struct request *request)
{
    if (!request)
        return;
    set_answer(request, (struct answer){0});
    request_drop_body(request);
    generation_release(request->generation);
    free(request->accept_lines);
    for (size_t i = 0; i < request->n_splits; i++)
        split_free(&request->splits[i]);
    free(request->splits);
    free(request->digits);
    free(request->pose);
    free(request->results);
    free(request->decoder);
    free(request->routing);
    free(request->oip);
    free(request->job.picture_classes);
    free(request);
}
