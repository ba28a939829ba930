/* body_images.h - from a request's body to digits, or to a pose. */
#ifndef CAPSNETD_BODY_IMAGES_H
#define CAPSNETD_BODY_IMAGES_H

#include "server/request/request.h"

/* Is it one small PNG, to be read as one digit, and its answer short? */
int body_is_small(const struct request *request);

/* Decodes the body's images (a PNG, multipart/form-data, JSON or the text of a data URL,
 * as server/web/openapi.json has them) into request->digits,
 * [job.n_images][height][width][channels].  With params.split each picture is cut
 * instead, into request->splits, and the digits are all their candidates, of which there may
 * be none.
 *
 * max_images  the most that the route takes
 *
 * Returns 0, or the status of the refusal, which names the bad image. */
unsigned body_take_images(struct request *request, size_t max_images);

/* The same for exactly one image, or, from JSON {"class": 3, "pose": [...]},
 * a pose instead: request->pose [pose_dims] is then not NULL, and
 * request->pose_class says whose. */
unsigned body_take_image_or_pose(struct request *request);

/* The same piece by piece, but for gathering candidates: room for n images' digits, and image i from a PNG
 * or from the base64 of one, which may be a data URL.  Each returns 0, or the status of the refusal. */
unsigned body_make_digits(struct request *request, size_t n);
unsigned body_take_png(struct request *request, size_t i, const uint8_t *bytes, size_t nbytes);
unsigned body_take_base64(struct request *request, size_t i, const char *text);

#endif
