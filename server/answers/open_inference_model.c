/*
 * open_inference_model.c - what the Open Inference Protocol tells of a model: that it is
 * ready, its tensors, its configuration, its statistics; and which models there are.
 */
#include "server/answers/answers.h"

#include <stdio.h>
#include <string.h>

#include "server/input/open_inference.h"

static unsigned answer_json(struct request *request, struct text *text)
{
    return request_answer(request, "application/json", text);
}

unsigned oip_find_version(struct request *r)
{
    const struct segment version = r->segments[1];
    char wanted[48], quoted[48];
    if (!version.at || (version.n == strlen(OIP_VERSION) &&
                        memcmp(version.at, OIP_VERSION, version.n) == 0))
        return 0;
    snprintf(wanted, sizeof wanted, "%.*s", (int)(version.n < 47 ? version.n : 47), version.at);
    return request_refuse(r, REFUSED_NOT_FOUND,
                          "there is no version \"%s\" here, only \"" OIP_VERSION "\"",
                          quote_client(quoted, wanted));
}

/* ---- Metadata --------------------------------------------------------------------- */

unsigned oip_model_ready_answer(struct request *request)
{
    unsigned status = oip_find_version(request);
    if (status)
        return status;
    struct text text = {0};
    text_add(&text, "{\"name\": ");
    json_add_string(&text, capsnet_model_name(request->engine->model));
    text_add(&text, ", \"ready\": true}\n");
    return answer_json(request, &text);
}

/* A tensor's name, datatype and shape; its first dimension is any. */
static void add_metadata(struct text *text, const char *name, enum oip_tensor tensor,
                         const struct capsnet_shape *shape)
{
    size_t dims[OIP_MAX_RANK], rank = oip_shape(dims, tensor, shape, 0);
    text_addf(text, "{\"name\": \"%s\", \"datatype\": \"%s\", \"shape\": [-1", name,
              oip_datatype(tensor));
    for (size_t i = 1; i < rank; i++)
        text_addf(text, ",%zu", dims[i]);
    text_add(text, "]}");
}

typedef void tensor_writer(struct text *text, const char *name, enum oip_tensor tensor,
                           const struct capsnet_shape *shape);

/* The input, which is as large as a reconstruction, and under that key all outputs. */
static void add_tensors(struct text *text, tensor_writer *add, const struct capsnet_shape *shape,
                        const char *outputs)
{
    add(text, "image", OIP_RECONSTRUCTION, shape);
    text_addf(text, "],\n \"%s\": [", outputs);
    for (size_t i = 0; i < OIP_TENSORS; i++) {
        text_add(text, i ? ",\n  " : "\n  ");
        add(text, oip_name((enum oip_tensor)i), (enum oip_tensor)i, shape);
    }
}

unsigned oip_model_answer(struct request *request)
{
    unsigned status = oip_find_version(request);
    if (status)
        return status;
    const struct capsnet_model *model = request->engine->model;
    const struct capsnet_shape *shape = capsnet_model_shape(model);
    struct text text = {0};
    text_add(&text, "{\"name\": ");
    json_add_string(&text, capsnet_model_name(model));
    text_add(&text, ", \"versions\": [\"" OIP_VERSION "\"], \"platform\": \"capsnetd\",\n"
                    " \"inputs\": [");
    add_tensors(&text, add_metadata, shape, "outputs");
    text_add(&text, "]}\n");
    return answer_json(request, &text);
}

/* ---- Configuration --------------------------------------------------------------- */

/* A tensor as the configuration has it, without the dimension of the batch; at least
 * one must be left. */
static void add_configured(struct text *text, const char *name, enum oip_tensor tensor,
                           const struct capsnet_shape *shape)
{
    size_t dims[OIP_MAX_RANK], rank = oip_shape(dims, tensor, shape, 0);
    text_addf(text, "{\"name\": \"%s\", \"data_type\": \"TYPE_%s\", \"dims\": [", name,
              oip_datatype(tensor));
    for (size_t i = 1; i < rank; i++)
        text_addf(text, i > 1 ? ",%zu" : "%zu", dims[i]);
    text_add(text, rank > 1 ? "]}" : "1], \"reshape\": {\"shape\": []}}");
}

unsigned oip_config_answer(struct request *request)
{
    unsigned status = oip_find_version(request);
    if (status)
        return status;
    const struct capsnet_model *model = request->engine->model;
    const struct capsnet_shape *shape = capsnet_model_shape(model);
    const struct options *options = request->service->options;
    struct text text = {0};
    text_add(&text, "{\"name\": ");
    json_add_string(&text, capsnet_model_name(model));
    text_addf(&text, ", \"platform\": \"capsnetd\", \"backend\": \"capsnetd\",\n"
                     " \"version_policy\": {\"latest\": {\"num_versions\": 1}},\n"
                     " \"max_batch_size\": %zu,\n \"input\": [", options->max_images);
    add_tensors(&text, add_configured, shape, "output");
    text_addf(&text, "],\n \"dynamic_batching\": {\"preferred_batch_size\": [%zu], "
                     "\"max_queue_delay_microseconds\": %zu}}\n", options->max_batch,
              options->batch_delay_us);
    return answer_json(request, &text);
}

/* ---- Statistics ------------------------------------------------------------------ */

static void add_duration(struct text *text, const char *name, unsigned long long count,
                         unsigned long long ns)
{
    text_addf(text, "\"%s\": {\"count\": %llu, \"ns\": %llu}", name, count, ns);
}

/* The batches of each size that there has been. */
static void add_batches(struct text *text, struct model_metrics *metrics)
{
    const char *separator = "\n  ";
    text_add(text, "\"batch_stats\": [");
    for (size_t size = 1; size <= METRICS_BATCH_MAX; size++) {
        struct batch_metrics *batch = &metrics->batches[size];
        const unsigned long long n = metrics_read(&batch->n);
        if (!n)
            continue;
        text_addf(text, "%s{\"batch_size\": %zu, ", separator, size);
        add_duration(text, "compute_input", n, metrics_read(&batch->input_ns));
        text_add(text, ", ");
        add_duration(text, "compute_infer", n, metrics_read(&batch->infer_ns));
        text_add(text, ", ");
        add_duration(text, "compute_output", n, metrics_read(&batch->output_ns));
        text_add(text, "}");
        separator = ",\n  ";
    }
    text_add(text, "]");
}

static void add_statistics(struct text *text, const struct engine *engine)
{
    struct model_metrics *metrics = engine->metrics;
    const unsigned long long n = histogram_count(&metrics->request_us);
    const struct {
        const char *name;
        unsigned long long us;
    } TIMES[] = {
        {"success", metrics_read(&metrics->request_us.sum)},
        {"queue", metrics_read(&metrics->queue_us.sum)},
        {"compute_input", metrics_read(&metrics->decode_us)},
        {"compute_infer", metrics_read(&metrics->infer_us.sum)},
        {"compute_output", metrics_read(&metrics->encode_us)},
    };
    text_add(text, "{\"name\": ");
    json_add_string(text, capsnet_model_name(engine->model));
    text_addf(text, ", \"version\": \"" OIP_VERSION "\", \"last_inference\": %llu, "
                    "\"inference_count\": %llu, \"execution_count\": %llu,\n"
                    " \"inference_stats\": {",
              metrics_read(&metrics->last_inference_ms), metrics_read(&metrics->batch_images.sum),
              histogram_count(&metrics->batch_images));
    for (size_t i = 0; i < sizeof TIMES / sizeof *TIMES; i++) {
        add_duration(text, TIMES[i].name, n, TIMES[i].us * 1000);
        text_add(text, ",\n  ");
    }
    add_duration(text, "fail", metrics_read(&metrics->failures),
                 metrics_read(&metrics->failures_us) * 1000);
    text_add(text, "},\n ");
    add_batches(text, metrics);
    text_add(text, "}");
}

/* Of a model, or of all where the path names none: of all routes that compute, since the
 * process began. */
unsigned oip_statistics_answer(struct request *request)
{
    unsigned status = oip_find_version(request);
    if (status)
        return status;
    const struct generation *g = request->generation;
    struct text text = {0};
    text_add(&text, "{\"model_stats\": [");
    if (request->segments[0].at)
        add_statistics(&text, request->engine);
    for (size_t i = 0; i < g->n && !request->segments[0].at; i++) {
        text_add(&text, i ? ",\n " : "");
        add_statistics(&text, &g->engines[i]);
    }
    text_add(&text, "]}\n");
    return answer_json(request, &text);
}

/* ---- Repository ------------------------------------------------------------------ */

/* The body, which may ask for ready models only, is not looked at: all are. */
unsigned oip_index_answer(struct request *request)
{
    const struct generation *g = request->generation;
    struct text text = {0};
    for (size_t i = 0; i < g->n; i++) {
        text_add(&text, i ? ",\n {\"name\": " : "[{\"name\": ");
        json_add_string(&text, capsnet_model_name(g->engines[i].model));
        text_add(&text, ", \"version\": \"" OIP_VERSION "\", \"state\": \"READY\", "
                        "\"reason\": \"\"}");
    }
    text_add(&text, "]\n");
    return answer_json(request, &text);
}
