/* reconstruct.c - POST /reconstruct: the decoder's picture of a capsule. */
#include "server/answers/answers.h"

#include <stdlib.h>
#include <string.h>

#include "model/picture/png.h"
#include "server/basics/base64.h"
#include "server/basics/container_of.h"
#include "server/input/body_images.h"
#include "server/request/accept_header.h"
#include "server/request/steps.h"

/* The paper's Figure 4: each pose dimension moved by -0.25 ... 0.25. */
enum { SWEEP_COLUMNS = 11, SWEEP_MIDDLE = 5 };
#define SWEEP_STEP 0.05f

/* 64 megapixels: /reconstruct at scale=16&sweep=1 of a 28 x 28 model is 35. */
enum { MAX_PIXELS = 1 << 26 };

/* Fills the job's pictures: those of a class and its pose [pose_dims], or the sweep. */
static void set_pictures(struct request *request, size_t class_index, const float *pose)
{
    struct job *job = &request->job;
    const size_t dims = request_shape(request)->pose_dims;
    for (size_t i = 0; i < job->n_pictures; i++) {
        float *moved = job->picture_poses + i * dims;
        memcpy(moved, pose, dims * sizeof(float));
        if (request->params.sweep)
            moved[i / SWEEP_COLUMNS] +=
                ((float)(i % SWEEP_COLUMNS) - (float)SWEEP_MIDDLE) * SWEEP_STEP;
        job->picture_classes[i] = class_index;
    }
}

static void choose_capsule(struct job *job)
{
    struct request *request = container_of(job, struct request, job);
    const struct capsnet_shape *shape = request_shape(request);
    size_t class_index = request->params.class_choice == CLASS_GIVEN
                             ? request->params.class_index
                             : capsnet_winner(shape, job->lengths);
    set_pictures(request, class_index, job->poses + class_index * shape->pose_dims);
}

static void choose_detected(struct job *job)
{
    const struct capsnet_shape *shape = request_shape(container_of(job, struct request, job));
    const size_t dims = shape->pose_dims, classes = shape->classes;
    const float ink = capsnet_ink(shape, job->digits);
    size_t n = 0;
    for (size_t j = classes; (j = next_detected(job->lengths, classes, ink, j)) < classes; n++) {
        job->picture_classes[n] = j;
        memcpy(job->picture_poses + n * dims, job->poses + j * dims, dims * sizeof(float));
    }
    job->n_pictures = n;
}

static int draws_detected(const struct request *request)
{
    return request->params.class_choice == CLASS_DETECTED;
}

/* What cannot be asked for together: 0, or the status of the refusal.  The most pictures
 * that there may be: [rows][columns]. */
static unsigned refuse_query(struct request *request, size_t rows, size_t columns)
{
    const struct capsnet_shape *shape = request_shape(request);
    const struct params *params = &request->params;
    const size_t width = columns * shape->width * params->scale;
    const size_t height = rows * shape->height * params->scale;
    if (params->sweep && draws_detected(request))
        return request_refuse(request, REFUSED_INVALID_PARAMETER,
                              "sweep=1 moves one capsule, and goes with no class=detected");
    if (params->debug && (params->sweep || draws_detected(request)))
        return request_refuse(request, REFUSED_INVALID_PARAMETER,
                              "debug=normalized shows one picture, and goes with no %s",
                              params->sweep ? "sweep" : "class=detected");
    if (width > MAX_PIXELS / height)
        return request_refuse(request, REFUSED_INVALID_PARAMETER,
                              "scale: the picture would have %zu x %zu pixels, more than %d", width,
                              height, MAX_PIXELS);
    return 0;
}

unsigned reconstruct_begin(struct request *request)
{
    const struct capsnet_shape *shape = request_shape(request);
    const size_t rows = request->params.sweep ? shape->pose_dims : 1;
    const size_t columns = request->params.sweep      ? SWEEP_COLUMNS
                           : draws_detected(request) ? shape->classes
                                                      : 1;
    unsigned status = refuse_query(request, rows, columns);
    if (!status)
        status = body_take_image_or_pose(request);
    if (!status && request->params.debug && request->pose)
        return request_refuse(request, REFUSED_INVALID_PARAMETER,
                              "debug=normalized shows what became of an image, and a pose is none");
    if (!status)
        status = request_make_job(request, rows * columns);
    if (status)
        return status;
    if (request->pose)
        set_pictures(request, request->pose_class, request->pose);
    else
        request->job.choose = draws_detected(request) ? choose_detected : choose_capsule;
    return steps_submit(request);
}

/* Lays n of the job's pictures out as one, rows of columns, and encodes it.  With debug
 * it is the image that the network saw. */
static enum image_status encode_pictures(const struct request *request, size_t first, size_t n,
                                         size_t columns, uint8_t **png, size_t *png_nbytes)
{
    const struct capsnet_shape *shape = request_shape(request);
    const size_t rows = n / columns;
    const size_t line = shape->width * shape->channels;
    float *sheet = calloc(n * shape->height, line * sizeof(float));
    if (!sheet)
        return IMAGE_MEMORY;
    for (size_t i = 0; i < n; i++) {
        const float *picture = request->params.debug
                                   ? request->job.digits
                                   : request->job.pictures + (first + i) * shape->height * line;
        float *corner = sheet + (i / columns * shape->height * columns + i % columns) * line;
        for (size_t y = 0; y < shape->height; y++)
            memcpy(corner + y * columns * line, picture + y * line, line * sizeof(float));
    }
    struct image image;
    enum image_status status =
        image_from_digit(&image, sheet, rows * shape->height, columns * shape->width,
                         shape->channels, request->params.scale);
    free(sheet);
    if (status != IMAGE_OK)
        return status;
    status = png_encode(png, png_nbytes, &image);
    image_free(&image);
    return status;
}

static void add_base64(struct text *text, const uint8_t *bytes, size_t nbytes)
{
    size_t size = base64_encoded_size(nbytes); /* counts a terminating 0 */
    char *space = text_add_space(text, size - 1);
    if (space)
        base64_encode(space, bytes, nbytes);
}

static unsigned answer_json(struct request *request, const uint8_t *png, size_t png_nbytes)
{
    const struct capsnet_model *model = request->engine->model;
    const struct capsnet_shape *shape = request_shape(request);
    const struct job *job = &request->job;
    size_t class_index = job->picture_classes[0];
    struct text text = {0};
    text_add(&text, "{");
    if (!request->pose) {
        text_add(&text, "\"model\": ");
        json_add_string(&text, capsnet_model_name(model));
        text_add(&text, ", ");
    }
    text_addf(&text, "\"class\": %zu, \"label\": ", class_index);
    json_add_string(&text, capsnet_model_label(model, class_index));
    if (!request->pose) {
        /* Of a sweep, the picture that was not moved. */
        size_t middle = request->params.sweep ? SWEEP_MIDDLE : 0;
        const float *picture = job->pictures + middle * capsnet_pixels(shape);
        text_add(&text, ", \"probability\": ");
        json_add_float(&text, job->lengths[class_index]);
        text_add(&text, ", \"reconstruction_error\": ");
        json_add_float(&text, capsnet_pixel_error(shape, job->digits, picture));
    }
    text_add(&text, ", \"image\": \"");
    add_base64(&text, png, png_nbytes);
    text_add(&text, "\"}\n");
    return request_answer(request, "application/json", &text);
}

/* Every detected class by itself, in a picture of its own. */
static unsigned answer_detected_json(struct request *request)
{
    const struct capsnet_model *model = request->engine->model;
    const struct job *job = &request->job;
    struct text text = {0};
    text_add(&text, "{\"model\": ");
    json_add_string(&text, capsnet_model_name(model));
    text_add(&text, ", \"images\": [");
    for (size_t i = 0; i < job->n_pictures; i++) {
        uint8_t *png;
        size_t png_nbytes;
        if (encode_pictures(request, i, 1, 1, &png, &png_nbytes) != IMAGE_OK) {
            text_free(&text);
            return request_refuse_no_memory(request);
        }
        text_addf(&text, "%s\n {\"class\": %zu, \"label\": ", i ? "," : "",
                  job->picture_classes[i]);
        json_add_string(&text, capsnet_model_label(model, job->picture_classes[i]));
        text_add(&text, ", \"probability\": ");
        json_add_float(&text, job->lengths[job->picture_classes[i]]);
        text_add(&text, ", \"image\": \"");
        add_base64(&text, png, png_nbytes);
        text_add(&text, "\"}");
        free(png);
    }
    text_add(&text, "]}\n");
    return request_answer(request, "application/json", &text);
}

unsigned reconstruct_finish(struct request *request)
{
    const int is_json = accept_prefers_json(request->accept);
    const size_t n = request->job.n_pictures;
    uint8_t *png;
    size_t png_nbytes;
    if (draws_detected(request) && is_json)
        return answer_detected_json(request);
    if (n == 0)
        return request_refuse(request, REFUSED_INVALID_PARAMETER,
                              "class=detected: no capsule of this image is longer than 0.5; "
                              "leave class out for the picture of the longest");
    const size_t columns = request->params.sweep ? SWEEP_COLUMNS : n;
    if (encode_pictures(request, 0, n, columns, &png, &png_nbytes) != IMAGE_OK)
        return request_refuse_no_memory(request);
    if (!is_json)
        return request_answer_bytes(request, "image/png", png, png_nbytes);
    unsigned status = answer_json(request, png, png_nbytes);
    free(png);
    return status;
}
