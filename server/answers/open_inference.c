/*
 * open_inference.c - the Open Inference Protocol, version 2: health and the
 * answer to an inference request.
 */
#include "server/answers/answers.h"

#include <string.h>

#include "server/input/open_inference.h"
#include "server/request/steps.h"

static unsigned answer_constant(struct request *request, const char *json)
{
    struct text text = {0};
    text_add(&text, json);
    return request_answer(request, "application/json", &text);
}

/* ---- Health -------------------------------------------------------- */

unsigned oip_server_answer(struct request *request)
{
    return answer_constant(request, "{\"name\": \"capsnetd\", \"version\": \"" CAPSNET_VERSION
                                    "\", \"extensions\": [\"binary_tensor_data\", "
                                    "\"classification\", \"model_configuration\", "
                                    "\"statistics\"]}\n");
}

unsigned oip_live_answer(struct request *request)
{
    return answer_constant(request, "{\"live\": true}\n");
}

/* The specification calls the field "live" here too; its clients read "ready". */
unsigned oip_ready_answer(struct request *request)
{
    return answer_constant(request, "{\"live\": true, \"ready\": true}\n");
}

/* ---- Inference ------------------------------------------------------------------ */

unsigned oip_infer_begin(struct request *request)
{
    unsigned status = oip_find_version(request);
    if (!status)
        status = oip_take(request);
    if (status)
        return status;
    int is_decoding = 0, is_coupling = 0;
    for (size_t i = 0; i < request->oip->n_outputs; i++) {
        is_decoding |= request->oip->outputs[i].tensor == OIP_RECONSTRUCTION;
        is_coupling |= request->oip->outputs[i].tensor == OIP_COUPLING;
    }
    status = request_make_job(request, is_decoding ? request->job.n_images : 0);
    if (is_decoding)
        request->job.choose = choose_winners;
    if (!status && is_coupling)
        status = request_ask_couplings(request);
    return status ? status : steps_submit(request);
}

/* Class of image i. */
static size_t winner(const struct request *request, size_t i)
{
    const struct capsnet_shape *shape = request_shape(request);
    return capsnet_winner(shape, request->job.lengths + i * shape->classes);
}

/* The floats of any tensor but OIP_CLASS. */
static const float *floats(const struct job *job, enum oip_tensor tensor)
{
    return tensor == OIP_PROBABILITIES ? job->lengths
           : tensor == OIP_POSES       ? job->poses
           : tensor == OIP_COUPLING    ? job->routing->couplings
                                       : job->pictures;
}

/* The bytes of a tensor of n elements.  Both ends of the wire, and every
 * machine that this runs on, are little-endian. */
static void add_binary(struct text *binary, const struct request *request, enum oip_tensor tensor,
                       size_t n)
{
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensors would need swapping");
    if (tensor != OIP_CLASS) {
        text_add_bytes(binary, floats(&request->job, tensor), n * sizeof(float));
        return;
    }
    for (size_t i = 0; i < n; i++) {
        int64_t class_index = (int64_t)winner(request, i);
        text_add_bytes(binary, &class_index, sizeof class_index);
    }
}

static void add_json(struct text *text, const struct request *request, enum oip_tensor tensor,
                     size_t n)
{
    if (tensor != OIP_CLASS) {
        json_add_floats(text, floats(&request->job, tensor), n);
        return;
    }
    text_add(text, "[");
    for (size_t i = 0; i < n; i++)
        text_addf(text, i ? ",%zu" : "%zu", winner(request, i));
    text_add(text, "]");
}

/* The classification extension's "length:index:label".  Binary: its length in 4
 * bytes, and then itself. */
static void add_label(struct text *text, const struct request *request, float length,
                      size_t class_index, int is_binary)
{
    struct text label = {0};
    text_addf(&label, "%f:%zu:%s", (double)length, class_index,
              capsnet_model_label(request->engine->model, class_index));
    const uint32_t nbytes = (uint32_t)label.n;
    if (label.failed) {
        text->failed = 1;
    } else if (is_binary) {
        text_add_bytes(text, &nbytes, sizeof nbytes);
        text_add_bytes(text, label.bytes, label.n);
    } else {
        json_add_string(text, label.bytes);
    }
    text_free(&label);
}

/* The n_top longest capsules of each image, longest first. */
static void add_labels(struct text *text, const struct request *request, size_t n_top,
                       int is_binary)
{
    const size_t classes = request_shape(request)->classes;
    if (!is_binary)
        text_add(text, "[");
    for (size_t i = 0; i < request->job.n_images; i++) {
        const float *lengths = request->job.lengths + i * classes;
        size_t j = classes;
        for (size_t k = 0; k < n_top; k++) {
            j = next_longest(lengths, classes, j);
            if (!is_binary && (i || k))
                text_add(text, ",");
            add_label(text, request, lengths[j], j, is_binary);
        }
    }
    if (!is_binary)
        text_add(text, "]");
}

/* Output i: its description, and its values there or in binary. */
static void add_output(struct text *text, struct text *binary, const struct request *request,
                       size_t i)
{
    const enum oip_tensor tensor = request->oip->outputs[i].tensor;
    const size_t n_top = request->oip->outputs[i].n_top, before = binary->n;
    const int is_binary = request->oip->outputs[i].is_binary;
    size_t dims[OIP_MAX_RANK], n = 1;
    size_t rank = oip_shape(dims, tensor, request_shape(request), request->job.n_images);
    if (n_top)
        dims[1] = n_top;
    text_addf(text, "{\"name\": \"%s\", \"datatype\": \"%s\", \"shape\": [", oip_name(tensor),
              n_top ? "BYTES" : oip_datatype(tensor));
    for (size_t d = 0; d < rank; d++) {
        text_addf(text, d ? ",%zu" : "%zu", dims[d]);
        n *= dims[d];
    }
    text_add(text, is_binary ? "], \"parameters\": {\"binary_data_size\": " : "], \"data\": ");
    struct text *values = is_binary ? binary : text;
    if (n_top)
        add_labels(values, request, n_top, is_binary);
    else
        (is_binary ? add_binary : add_json)(values, request, tensor, n);
    if (is_binary)
        text_addf(text, "%zu}", binary->n - before);
    text_add(text, "}");
}

unsigned oip_infer_finish(struct request *request)
{
    const struct oip_infer *oip = request->oip;
    struct text text = {0}, binary = {0};
    text_add(&text, "{\"model_name\": ");
    json_add_string(&text, capsnet_model_name(request->engine->model));
    text_add(&text, ", \"model_version\": \"" OIP_VERSION "\"");
    if (oip->has_id) {
        text_add(&text, ", \"id\": ");
        json_add_string(&text, oip->id);
    }
    text_add(&text, ", \"outputs\": [");
    for (size_t i = 0; i < oip->n_outputs; i++) {
        text_add(&text, i ? ",\n " : "\n ");
        add_output(&text, &binary, request, i);
    }
    text_add(&text, "]}\n");
    const size_t json_nbytes = binary.n ? text.n : 0;
    text_add_bytes(&text, binary.bytes, binary.n);
    text.failed |= binary.failed;
    text_free(&binary);
    unsigned status = request_answer(
        request, json_nbytes ? "application/octet-stream" : "application/json", &text);
    if (status == 200)
        request->answer.json_nbytes = json_nbytes;
    return status;
}
