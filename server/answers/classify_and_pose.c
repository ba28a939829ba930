/* classify_and_pose.c - POST /classify and POST /pose. */
#include "server/answers/answers.h"

#include <math.h>
#include <string.h>

#include "server/answers/routing.h"
#include "server/basics/container_of.h"
#include "server/input/body_images.h"
#include "server/normalize/normalize.h"
#include "server/request/accept_header.h"
#include "server/request/steps.h"

static void begin_answer(struct text *text, const struct request *request)
{
    text_add(text, "{\"model\": ");
    json_add_string(text, capsnet_model_name(request->engine->model));
    text_add(text, ", \"predictions\": [");
}

/* ---- /classify: the winner's picture tells whether the image is a digit ---- */

void choose_winners(struct job *job)
{
    const struct capsnet_shape *shape = request_shape(container_of(job, struct request, job));
    const size_t dims = shape->pose_dims;
    for (size_t i = 0; i < job->n_images; i++) {
        size_t winner = capsnet_winner(shape, job->lengths + i * shape->classes);
        job->picture_classes[i] = winner;
        memcpy(job->picture_poses + i * dims, job->poses + (i * shape->classes + winner) * dims,
               dims * sizeof(float));
    }
}

/* With routing=1 the answer may be a picture. */
static int is_sheet(const struct request *request)
{
    return request->params.routing && !request->params.split &&
           accept_prefers_png(request->accept);
}

unsigned classify_begin(struct request *request)
{
    unsigned status = body_take_images(request, request->service->options->max_images);
    if (!status && is_sheet(request))
        status = routing_check_sheets(request);
    if (!status)
        status = request_make_job(request, request->job.n_images);
    if (!status && request->job.n_images == 0) /* pictures without ink, to be split */
        return classify_finish(request);
    if (!status && request->params.routing)
        status = request_ask_rounds(request);
    request->job.choose = choose_winners;
    return status ? status : steps_submit(request);
}

size_t next_longest(const float *lengths, size_t classes, size_t last)
{
    size_t next = classes;
    for (size_t j = 0; j < classes; j++) {
        const int is_listed = last < classes && (lengths[j] > lengths[last] ||
                                                 (lengths[j] >= lengths[last] && j <= last));
        if (!is_listed && (next == classes || lengths[j] > lengths[next]))
            next = j;
    }
    return next;
}

size_t next_detected(const float *lengths, size_t classes, float ink, size_t last)
{
    const size_t j = next_longest(lengths, classes, last);
    return j < classes && lengths[j] > 0.5f && ink > 0 ? j : classes;
}

static void add_detected(struct text *text, const float *lengths, size_t classes, float ink)
{
    const char *comma = "";
    text_add(text, ", \"detected\": [");
    for (size_t j = classes; (j = next_detected(lengths, classes, ink, j)) < classes; comma = ",")
        text_addf(text, "%s%zu", comma, j);
    text_add(text, "]");
}

void add_prediction(struct text *text, const struct request *request, size_t i,
                    const struct box *box)
{
    const struct capsnet_model *model = request->engine->model;
    const struct capsnet_shape *shape = request_shape(request);
    const struct job *job = &request->job;
    const size_t pixels = capsnet_pixels(shape);
    const float *lengths = job->lengths + i * shape->classes;
    size_t winner = job->picture_classes[i];
    const float *digit = job->digits + i * pixels;
    float error = capsnet_pixel_error(shape, digit, job->pictures + i * pixels);
    const struct capsnet_known *known = capsnet_model_known(model);
    const int can_tell = !isnan(known->error_threshold);
    const float ink = capsnet_ink(shape, digit);
    const int is_known =
        capsnet_is_known(known, error, lengths[winner], ink) &&
        normalize_has_strokes(digit, shape->height, shape->width, shape->channels);

    if (can_tell && !is_known)
        atomic_fetch_add(&request->engine->metrics->out_of_distribution, 1);
    text_add(text, "{");
    if (box)
        text_addf(text, "\"box\": [%zu,%zu,%zu,%zu], ", box->x0, box->y0, box->x1 - box->x0,
                  box->y1 - box->y0);
    text_addf(text, "\"class\": %zu, \"label\": ", winner);
    json_add_string(text, capsnet_model_label(model, winner));
    text_add(text, ", \"probability\": ");
    json_add_float(text, lengths[winner]);
    text_add(text, ", \"probabilities\": ");
    json_add_floats(text, lengths, shape->classes);
    text_add(text, ", \"reconstruction_error\": ");
    json_add_float(text, error);
    text_addf(text, ", \"in_distribution\": %s",
              !can_tell ? "null" : is_known ? "true" : "false");
    add_detected(text, lengths, shape->classes, ink);
    if (request->params.poses) {
        text_add(text, ", \"pose\": ");
        json_add_rows(text, job->poses + i * shape->classes * shape->pose_dims, shape->classes,
                      shape->pose_dims);
    }
    if (request->params.routing) {
        text_add(text, ",\n \"routing\": ");
        routing_add_json(text, request, i);
    }
    text_add(text, "}");
}

unsigned classify_finish(struct request *request)
{
    struct text text = {0};
    const int is_split = request->params.split;
    const size_t n = is_split ? request->n_splits : request->job.n_images;
    size_t first = 0;
    if (is_sheet(request))
        return routing_answer_sheets(request);
    begin_answer(&text, request);
    for (size_t i = 0; i < n; i++) {
        text_add(&text, i ? ",\n " : "\n ");
        if (!is_split) {
            add_prediction(&text, request, i, NULL);
            continue;
        }
        add_split_prediction(&text, request, i, first);
        first += request->splits[i].n;
    }
    text_add(&text, "]}\n");
    return request_answer(request, "application/json", &text);
}

/* ---- /pose: all capsules, nothing decoded ----------------------------------- */

unsigned pose_begin(struct request *request)
{
    unsigned status = body_take_images(request, request->service->options->max_images);
    if (!status)
        status = request_make_job(request, 0);
    return status ? status : steps_submit(request);
}

unsigned pose_finish(struct request *request)
{
    const struct capsnet_shape *shape = request_shape(request);
    const size_t classes = shape->classes, dims = shape->pose_dims;
    struct text text = {0};
    begin_answer(&text, request);
    for (size_t i = 0; i < request->job.n_images; i++) {
        const float *lengths = request->job.lengths + i * classes;
        text_addf(&text, "%s\n {\"class\": %zu, \"lengths\": ", i ? "," : "",
                  capsnet_winner(shape, lengths));
        json_add_floats(&text, lengths, classes);
        text_add(&text, ", \"poses\": ");
        json_add_rows(&text, request->job.poses + i * classes * dims, classes, dims);
        text_add(&text, "}");
    }
    text_add(&text, "]}\n");
    return request_answer(request, "application/json", &text);
}
