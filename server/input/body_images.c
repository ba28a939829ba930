/* body_images.c - see body_images.h. */
#include "server/input/body_images.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "model/picture/foreign_format.h"
#include "model/picture/png.h"
#include "server/basics/base64.h"
#include "server/input/json_parse.h"
#include "server/input/multipart.h"
#include "server/normalize/normalize.h"

/* No pose of a trained capsule is longer than 1.  The bound keeps the decoder
 * far from infinity for any sane weights. */
#define MAX_POSE 1e6f

/* How many fields a form may have beside its pictures. */
enum { MAX_OTHER_PARTS = 64 };

/* Candidates of all pictures together that are read for one request: about a second's
 * work of two CPUs. */
enum { MAX_CANDIDATES = 1024 };

/* What takes a network thread no longer than a hand-over: MNIST's size, and drawn at twice that. */
enum { SMALL_BYTES = 4096, SMALL_PIXELS = 64 * 64 };

enum body_form { FORM_UNKNOWN, FORM_PNG, FORM_MULTIPART, FORM_JSON, FORM_DATA_URL };

static int is_media_type(const char *content_type, const char *type)
{
    size_t n = strlen(type);
    return content_type && strncasecmp(content_type, type, n) == 0 &&
           strchr("; \t", content_type[n]);
}

/* Does the text begin as a data URL (RFC 2397) does? */
static int is_data_url(const char *text, size_t n)
{
    static const char scheme[] = "data:";
    return n >= sizeof scheme - 1 && strncasecmp(text, scheme, sizeof scheme - 1) == 0;
}

static enum body_form body_form(const struct request *r)
{
    if (png_has_signature((const uint8_t *)r->body.bytes, r->body.n))
        return FORM_PNG;
    if (is_media_type(r->content_type, "multipart/form-data"))
        return FORM_MULTIPART;
    if (is_media_type(r->content_type, "application/json"))
        return FORM_JSON;
    if (is_media_type(r->content_type, "text/plain") && is_data_url(r->body.bytes, r->body.n))
        return FORM_DATA_URL;
    /* What calls itself a PNG is told why it is none. */
    return is_media_type(r->content_type, "image/png") ? FORM_PNG : FORM_UNKNOWN;
}

int body_is_small(const struct request *r)
{
    const struct params *p = &r->params;
    const int is_plain = !p->split && !p->routing && !p->sweep && !p->debug && p->scale == 1;
    return is_plain && r->coding == CODING_IDENTITY && r->body.n <= SMALL_BYTES &&
           png_is_small((const uint8_t *)r->body.bytes, r->body.n, SMALL_PIXELS);
}

/* What the route takes.  /reconstruct takes one image, whatever --max-images. */
struct limit {
    size_t max_images;
    int image_or_pose;
};

static unsigned too_many_images(struct request *r, struct limit limit)
{
    if (limit.image_or_pose)
        return request_refuse(r, REFUSED_INVALID_PARAMETER,
                              "this route takes exactly one image, and the request holds more");
    return request_refuse(r, REFUSED_TOO_LARGE, "the request holds more than %zu images",
                          limit.max_images);
}

unsigned body_make_digits(struct request *r, size_t n)
{
    const struct capsnet_shape *shape = request_shape(r);
    if (n == 0)
        return request_refuse(r, REFUSED_NO_IMAGE, "the request holds no image");
    if (r->params.split) {
        r->splits = calloc(n, sizeof *r->splits);
        r->n_splits = r->splits ? n : 0;
        return r->splits ? 0 : request_refuse_no_memory(r);
    }
    r->digits = calloc(n, shape->height * shape->width * shape->channels * sizeof(float));
    if (!r->digits)
        return request_refuse_no_memory(r);
    r->job.n_images = n;
    return 0;
}

static struct normalize_form form_of(const struct request *r)
{
    const struct capsnet_shape *shape = request_shape(r);
    const struct capsnet_frame *frame = capsnet_model_frame(r->engine->model);
    return (struct normalize_form){shape->height, shape->width,  shape->channels,
                                   frame->height, frame->width, frame->objects};
}

/* Cuts picture i; the digits are gathered at the end. */
static enum image_status cut_image(struct request *r, size_t i, const struct image *image,
                                   struct image_message *message)
{
    struct normalize_form form = form_of(r);
    form.objects = 1;
    enum image_status status = split_image(&r->splits[i], &form, image, message);
    if (status != IMAGE_OK)
        return status;
    r->job.n_images += r->splits[i].n;
    if (r->job.n_images <= MAX_CANDIDATES)
        return IMAGE_OK;
    snprintf(message->text, sizeof message->text,
             "up to here the pictures hold too many digits, or what may be some, for one request; "
             "send fewer at a time");
    return IMAGE_TOO_LARGE;
}

/* The digits of all pictures' candidates, one after the other. */
static unsigned gather_candidates(struct request *r)
{
    const size_t pixels = capsnet_pixels(request_shape(r));
    size_t n = 0;
    r->digits = calloc(r->job.n_images * pixels + 1, sizeof *r->digits);
    if (!r->digits)
        return request_refuse_no_memory(r);
    for (size_t i = 0; i < r->n_splits; i++) {
        memcpy(r->digits + n * pixels, r->splits[i].digits,
               r->splits[i].n * pixels * sizeof *r->digits);
        n += r->splits[i].n;
        free(r->splits[i].digits);
        r->splits[i].digits = NULL;
    }
    return 0;
}

unsigned body_take_png(struct request *r, size_t i, const uint8_t *bytes, size_t nbytes)
{
    const struct capsnet_shape *shape = request_shape(r);
    size_t pixels = shape->height * shape->width * shape->channels;
    struct image image;
    struct image_message message;
    /* Of a picture in colour its colours, that ink of the paper's brightness shows. */
    enum image_status status = png_decode(&image, bytes, nbytes, r->service->options->max_side,
                                          shape->channels == 1 ? 0 : shape->channels, &message);
    if (status == IMAGE_OK) {
        const struct normalize_form form = form_of(r);
        status = r->params.split ? cut_image(r, i, &image, &message)
                                 : normalize_image(r->digits + i * pixels, &form, &image,
                                                   r->params.normalize, &message);
        image_free(&image);
    }
    switch (status) {
    case IMAGE_OK:
        return 0;
    case IMAGE_INVALID:
        return request_refuse(r, REFUSED_INVALID_PNG, "images[%zu]: %s", i, message.text);
    case IMAGE_TOO_LARGE:
        return request_refuse(r, REFUSED_TOO_LARGE, "images[%zu]: %s", i, message.text);
    case IMAGE_MEMORY:
        break;
    }
    return request_refuse_no_memory(r);
}

/* Image i from the base64 of a PNG, or from a data URL of one.  refusal: the reason where
 * the text is neither. */
static unsigned take_encoded(struct request *r, size_t i, const char *text, size_t n,
                             enum refusal refusal)
{
    static const char mark[] = ";base64,";
    const size_t mark_n = sizeof mark - 1;
    if (is_data_url(text, n)) {
        const char *comma = memchr(text, ',', n);
        const size_t head = comma ? (size_t)(comma - text) + 1 : 0;
        if (head < mark_n || strncasecmp(text + head - mark_n, mark, mark_n) != 0)
            return request_refuse(r, refusal,
                                  "images[%zu]: the data URL has no \";base64,\" before its data", i);
        text += head;
        n -= head;
    }
    size_t nbytes;
    uint8_t *bytes = malloc(n * 3 / 4 + 3);
    if (!bytes)
        return request_refuse_no_memory(r);
    unsigned status =
        base64_decode(bytes, &nbytes, text, n) == 0
            ? body_take_png(r, i, bytes, nbytes)
            : request_refuse(r, refusal, "images[%zu]: the string is not base64", i);
    free(bytes);
    return status;
}

unsigned body_take_base64(struct request *r, size_t i, const char *text)
{
    return take_encoded(r, i, text, strlen(text), REFUSED_INVALID_JSON);
}

/* Is the part meant as a picture?  A field of text beside the files is not, nor is a file
 * input that was left empty. */
static int is_picture(const struct multipart_part *part)
{
    if (part->filename)
        return part->filename_n > 0 || part->n > 0;
    return png_has_signature(part->bytes, part->n) ||
           is_data_url((const char *)part->bytes, part->n) || foreign_format(part->bytes, part->n);
}

/* No part of the form is a picture: says what the parts were. */
static unsigned refuse_form(struct request *r, const struct multipart_part *parts, size_t n)
{
    enum { NAMED = 5 };
    struct text list = {0};
    if (n == 0)
        return request_refuse(r, REFUSED_NO_IMAGE, "the form is empty");
    for (size_t i = 0; i < n && i < NAMED; i++) {
        char name[48], quoted[48];
        snprintf(name, sizeof name, "%.*s", (int)(parts[i].name_n < 47 ? parts[i].name_n : 47),
                 parts[i].name ? parts[i].name : "");
        text_addf(&list, "%s\"%s\" (%s)", i ? ", " : "", quote_client(quoted, name),
                  parts[i].filename ? "a file input left empty" : "text");
    }
    if (n > NAMED)
        text_addf(&list, " and %zu more", n - NAMED);
    unsigned status = list.failed ? request_refuse_no_memory(r)
                                  : request_refuse(r, REFUSED_NO_IMAGE,
                                                   "the form holds no image; its parts are %s",
                                                   list.bytes);
    text_free(&list);
    return status;
}

/* Takes the pictures among the parts. */
static unsigned take_parts(struct request *r, struct limit limit, struct multipart_part *parts,
                           size_t n_parts)
{
    size_t n = 0;
    for (size_t i = 0; i < n_parts; i++)
        n += is_picture(&parts[i]) ? 1 : 0;
    if (n == 0)
        return refuse_form(r, parts, n_parts);
    if (n > limit.max_images)
        return too_many_images(r, limit);
    unsigned status = body_make_digits(r, n);
    n = 0;
    for (size_t i = 0; i < n_parts && status == 0; i++) {
        const char *text = (const char *)parts[i].bytes;
        if (!is_picture(&parts[i]))
            continue;
        status = is_data_url(text, parts[i].n)
                     ? take_encoded(r, n, text, parts[i].n, REFUSED_INVALID_PNG)
                     : body_take_png(r, n, parts[i].bytes, parts[i].n);
        n++;
    }
    return status;
}

static unsigned take_multipart(struct request *r, struct limit limit)
{
    char boundary[MULTIPART_BOUNDARY_SIZE];
    if (multipart_boundary(boundary, r->content_type) != 0)
        return request_refuse(r, REFUSED_INVALID_MULTIPART,
                              "the Content-Type states no valid boundary");
    const size_t max_parts = limit.max_images + MAX_OTHER_PARTS;
    struct multipart_part *parts = calloc(max_parts, sizeof *parts);
    if (!parts)
        return request_refuse_no_memory(r);
    size_t n;
    const char *message;
    unsigned status = 0;
    switch (multipart_parse(parts, max_parts, &n, (const uint8_t *)r->body.bytes, r->body.n,
                            boundary, &message)) {
    case MULTIPART_INVALID:
        status = request_refuse(r, REFUSED_INVALID_MULTIPART, "%s", message);
        break;
    case MULTIPART_TOO_MANY:
        status = request_refuse(r, REFUSED_TOO_LARGE, "the form has more than %zu parts",
                                max_parts);
        break;
    case MULTIPART_OK:
        status = take_parts(r, limit, parts, n);
        break;
    }
    free(parts);
    return status;
}

/* The members of an object that are named a and b (which may be NULL), and no
 * others. */
static unsigned take_members(struct request *r, const cJSON *root, const char *a,
                             const cJSON **item_a, const char *b, const cJSON **item_b)
{
    char quoted[48];
    *item_a = *item_b = NULL;
    if (!cJSON_IsObject(root))
        return request_refuse(r, REFUSED_INVALID_JSON, "the JSON must be an object");
    const cJSON *item;
    cJSON_ArrayForEach(item, root)
    {
        const cJSON **slot = strcmp(item->string, a) == 0        ? item_a
                             : b && strcmp(item->string, b) == 0 ? item_b
                                                                 : NULL;
        if (!slot)
            return request_refuse(r, REFUSED_INVALID_JSON, "the field \"%s\" is unknown here",
                                  quote_client(quoted, item->string));
        *slot = item;
    }
    return 0;
}

static unsigned take_json_images(struct request *r, const cJSON *root, struct limit limit)
{
    const cJSON *images, *none, *item;
    unsigned status = take_members(r, root, "images", &images, NULL, &none);
    if (status)
        return status;
    if (!cJSON_IsArray(images))
        return request_refuse(r, REFUSED_INVALID_JSON,
                              "images: must be an array of base64 strings");
    size_t n = 0;
    cJSON_ArrayForEach(item, images)
    {
        if (!cJSON_IsString(item))
            return request_refuse(r, REFUSED_INVALID_JSON,
                                  "images[%zu]: must be a base64 string", n);
        n++;
    }
    if (n > limit.max_images)
        return too_many_images(r, limit);
    status = body_make_digits(r, n);
    n = 0;
    cJSON_ArrayForEach(item, images)
    {
        if (status)
            break;
        status = body_take_base64(r, n++, item->valuestring);
    }
    return status;
}

static unsigned take_json_pose(struct request *r, const cJSON *root)
{
    const struct capsnet_shape *shape = request_shape(r);
    const cJSON *class_item, *pose, *item;
    unsigned status = take_members(r, root, "class", &class_item, "pose", &pose);
    if (status)
        return status;
    if (r->params.class_choice != CLASS_LONGEST)
        return request_refuse(r, REFUSED_INVALID_PARAMETER,
                              "the query parameter \"class\" is for an image; a pose states its "
                              "class in the body");
    if (!json_get_index(&r->pose_class, class_item, shape->classes))
        return request_refuse(r, REFUSED_INVALID_JSON, "class: must be a whole number from 0 to %zu",
                              shape->classes - 1);
    if (!cJSON_IsArray(pose) || (size_t)cJSON_GetArraySize(pose) != shape->pose_dims)
        return request_refuse(r, REFUSED_INVALID_JSON, "pose: must be an array of %zu numbers",
                              shape->pose_dims);
    r->pose = calloc(shape->pose_dims, sizeof(float));
    if (!r->pose)
        return request_refuse_no_memory(r);
    size_t i = 0;
    cJSON_ArrayForEach(item, pose)
    {
        float *value = &r->pose[i];
        if (!json_get_float(value, item) || *value > MAX_POSE || *value < -MAX_POSE)
            return request_refuse(r, REFUSED_INVALID_JSON,
                                  "pose[%zu]: must be a number from -1000000 to 1000000", i);
        i++;
    }
    return 0;
}

static unsigned take_json(struct request *r, struct limit limit)
{
    const struct capsnet_shape *shape = request_shape(r);
    cJSON *root;
    char message[128];
    /* Room for all images or the pose, and for a mistake to be named. */
    size_t max_values = r->service->options->max_images + shape->pose_dims + 64;
    switch (json_parse(&root, r->body.bytes, r->body.n, max_values, message, sizeof message)) {
    case JSON_MALFORMED:
        return request_refuse(r, REFUSED_INVALID_JSON, "%s", message);
    case JSON_TOO_MANY:
        return request_refuse(r, REFUSED_TOO_LARGE, "%s", message);
    case JSON_OK:
        break;
    }
    int is_pose = limit.image_or_pose && (cJSON_GetObjectItemCaseSensitive(root, "pose") ||
                                          cJSON_GetObjectItemCaseSensitive(root, "class"));
    unsigned status = is_pose ? take_json_pose(r, root) : take_json_images(r, root, limit);
    cJSON_Delete(root);
    return status;
}

static unsigned take(struct request *r, struct limit limit)
{
    unsigned status;
    if (r->body.n == 0)
        return request_refuse(r, REFUSED_NO_IMAGE, "the body is empty");
    switch (body_form(r)) {
    case FORM_PNG:
        status = body_make_digits(r, 1);
        return status ? status : body_take_png(r, 0, (const uint8_t *)r->body.bytes, r->body.n);
    case FORM_MULTIPART:
        return take_multipart(r, limit);
    case FORM_JSON:
        return take_json(r, limit);
    case FORM_DATA_URL:
        status = body_make_digits(r, 1);
        return status ? status
                      : take_encoded(r, 0, r->body.bytes, r->body.n, REFUSED_INVALID_PNG);
    case FORM_UNKNOWN:
        break;
    }
    const char *foreign = foreign_format((const uint8_t *)r->body.bytes, r->body.n);
    return request_refuse(r, REFUSED_UNSUPPORTED_MEDIA_TYPE, "%s",
                          foreign ? foreign
                                  : "the body is neither a PNG, nor does its Content-Type say "
                                    "multipart/form-data or application/json, or text/plain of "
                                    "a data URL");
}

unsigned body_take_images(struct request *request, size_t max_images)
{
    if (request->params.split && request->params.normalize == NORMALIZE_NONE)
        return request_refuse(request, REFUSED_INVALID_PARAMETER,
                              "split=1 brings each digit to the model's form, and goes with no "
                              "normalize=none");
    if (request->params.split && request_shape(request)->channels != 1)
        return request_refuse(request, REFUSED_INVALID_PARAMETER,
                              "split=1 reads models of one channel, and this one's pictures "
                              "have %zu", request_shape(request)->channels);
    const unsigned status = take(request, (struct limit){max_images, 0});
    return status || !request->params.split ? status : gather_candidates(request);
}

unsigned body_take_image_or_pose(struct request *request)
{
    return take(request, (struct limit){1, 1});
}
