/* models_and_health.c - GET /model, /models, /healthz and /readyz.  They never wait. */
#include "server/answers/answers.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void add_shape(struct text *text, const struct capsnet_shape *s)
{
    const struct {
        const char *name;
        size_t value;
    } SIZES[] = {
        {"height", s->height},
        {"width", s->width},
        {"channels", s->channels},
        {"classes", s->classes},
        {"conv1_kernel", s->conv1_kernel},
        {"conv1_channels", s->conv1_channels},
        {"primary_kernel", s->primary_kernel},
        {"primary_stride", s->primary_stride},
        {"primary_types", s->primary_types},
        {"primary_dims", s->primary_dims},
        {"pose_dims", s->pose_dims},
        {"routing_iterations", s->routing_iterations},
    };
    text_add(text, "{");
    for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++)
        text_addf(text, "\"%s\": %zu, ", SIZES[i].name, SIZES[i].value);
    text_addf(text, "\"decoder_hidden\": [%zu,%zu]}", s->decoder_hidden[0], s->decoder_hidden[1]);
}

static void add_member(struct text *text, const char *name, const char *value)
{
    text_addf(text, ",\n \"%s\": ", name);
    json_add_string(text, value);
}

/* Which plan computes a batch of how many images, from where on. */
static void add_plans(struct text *text, const struct capsnet_model *model, size_t max_batch)
{
    const char *plan = NULL;
    text_add(text, ",\n \"plans\": [");
    for (size_t n = 1; n <= max_batch; n++) {
        const char *now = capsnet_model_plan(model, n);
        if (plan && strcmp(plan, now) == 0)
            continue;
        text_addf(text, "%s{\"from_images\": %zu, \"primary_caps\": \"%s\"}", plan ? ", " : "",
                  n, now);
        plan = now;
    }
    text_add(text, "]");
}

/* The rule of capsnet_is_known(), with the file's numbers. */
static void add_known(struct text *text, const struct capsnet_known *known)
{
    char rule[400];
    text_add(text, ",\n \"reconstruction_error_threshold\": ");
    json_add_float(text, known->error_threshold);
    snprintf(rule, sizeof rule,
             "true when the reconstruction error is at most %.4g x (ink / %.4g) ^ %.4g, and less "
             "than the ink, which is the mean square of the image's pixels, and the winning "
             "capsule is at least %.4g long",
             (double)known->error_threshold, (double)known->typical_ink, (double)known->ink_power,
             (double)known->length_threshold);
    add_member(text, "in_distribution",
               isnan(known->error_threshold)
                   ? "null in every answer: the weights file states no threshold for the "
                     "reconstruction error"
                   : rule);
}

/* What GET /models says of a model, and GET /model too: an object, left open. */
static void begin_model(struct text *text, const struct request *request,
                        const struct engine *engine)
{
    const struct capsnet_model *model = engine->model;
    const struct capsnet_shape *shape = capsnet_model_shape(model);
    text_add(text, "{\"name\": ");
    json_add_string(text, capsnet_model_name(model));
    text_addf(text, ",\n \"default\": %s,\n \"shape\": ",
              engine == request->generation->engines ? "true" : "false");
    add_shape(text, shape);
    text_add(text, ",\n \"labels\": [");
    for (size_t i = 0; i < shape->classes; i++) {
        text_add(text, i ? ", " : "");
        json_add_string(text, capsnet_model_label(model, i));
    }
    text_addf(text, "],\n \"parameters\": %zu", capsnet_model_parameters(model));
    add_member(text, "precision", capsnet_model_precision(model));
    add_member(text, "memory", capsnet_model_memory(model));
    text_addf(text, ",\n \"weights_bytes\": %zu,\n \"memory_bytes\": %zu",
              capsnet_model_bytes(model), engine_bytes(engine));
    add_plans(text, model, request->service->options->max_batch);
}

unsigned models_answer(struct request *request)
{
    const struct generation *g = request->generation;
    struct text text = {0};
    text_add(&text, "{\"models\": [");
    for (size_t i = 0; i < g->n; i++) {
        text_add(&text, i ? "},\n" : "\n");
        begin_model(&text, request, &g->engines[i]);
    }
    text_add(&text, "}]}\n");
    return request_answer(request, "application/json", &text);
}

unsigned model_answer(struct request *request)
{
    const struct service *service = request->service;
    const struct capsnet_model *model = request->engine->model;
    struct text text = {0};
    begin_model(&text, request, request->engine);
    add_member(&text, "version", CAPSNET_VERSION);
    add_member(&text, "stored_dtype", capsnet_model_stored_dtype(model));
    add_member(&text, "cpu_level", capsnet_model_cpu_level(model));
    text_addf(&text, ",\n \"threads\": %zu", service->threads);
    add_known(&text, capsnet_model_known(model));
    text_add(&text, ",\n \"metadata\": {");
    const char *key, *value;
    for (size_t i = 0; capsnet_model_metadata(model, i, &key, &value); i++) {
        text_add(&text, i ? ",\n  " : "\n  ");
        json_add_string(&text, key);
        text_add(&text, ": ");
        json_add_string(&text, value);
    }
    text_add(&text, "}}\n");
    return request_answer(request, "application/json", &text);
}

static unsigned answer_ok(struct request *request)
{
    struct text text = {0};
    text_add(&text, "ok");
    return request_answer(request, "text/plain", &text);
}

unsigned healthz_answer(struct request *request)
{
    return answer_ok(request);
}

/* While loading and draining, request/judge.c has refused before this is called. */
unsigned readyz_answer(struct request *request)
{
    return answer_ok(request);
}
