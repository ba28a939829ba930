/*
 * answers.h - the routes' steps (see routes.h): from request to HTTP status.
 *
 * A begin step has the complete body and a place in the queue.  It ends with
 * steps_submit(), or refuses.
 */
#ifndef CAPSNETD_ANSWERS_H
#define CAPSNETD_ANSWERS_H

#include "server/request/request.h"

/* classify_and_pose.c */
unsigned classify_begin(struct request *request);
unsigned classify_finish(struct request *request);
unsigned pose_begin(struct request *request);
unsigned pose_finish(struct request *request);

/* A job's choose step: each image's picture is that of its winning capsule. */
void choose_winners(struct job *job);

/* Capsules in the order of their lengths [classes], longest first, the lowest index
 * first in a tie: the one behind `last` (classes to begin); classes at the end. */
size_t next_longest(const float *lengths, size_t classes, size_t last);

/* Likewise of those that were detected: longer than 0.5, in a picture that has ink
 * (capsnet_ink()).  Of overlapping digits there are several, of nothing known none. */
size_t next_detected(const float *lengths, size_t classes, float ink, size_t last);

/* {"class": ...}, what /classify says of image i of the job; with its box before that
 * when it was cut out of a picture. */
void add_prediction(struct text *text, const struct request *request, size_t i,
                    const struct box *box);

/* split_text.c: {"text": ..., "digits": [...]} of picture k, whose candidates are the job's
 * images from `first` on. */
void add_split_prediction(struct text *text, const struct request *request, size_t k,
                          size_t first);

/* reconstruct.c */
unsigned reconstruct_begin(struct request *request);
unsigned reconstruct_finish(struct request *request);

/* models_and_health.c */
unsigned model_answer(struct request *request);
unsigned models_answer(struct request *request);
unsigned healthz_answer(struct request *request);
unsigned readyz_answer(struct request *request);

/* metrics_page.c */
unsigned metrics_answer(struct request *request);

/* web_page.c: the route's file. */
unsigned web_answer(struct request *request);

/* open_inference_model.c: the Open Inference Protocol, of the models.
 * oip_find_version() refuses a version, of the path, that is not there. */
unsigned oip_find_version(struct request *request);
unsigned oip_model_answer(struct request *request);
unsigned oip_model_ready_answer(struct request *request);
unsigned oip_config_answer(struct request *request);
unsigned oip_statistics_answer(struct request *request);
unsigned oip_index_answer(struct request *request);

/* open_inference.c: of the server, and inference */
unsigned oip_server_answer(struct request *request);
unsigned oip_live_answer(struct request *request);
unsigned oip_ready_answer(struct request *request);
unsigned oip_infer_begin(struct request *request);
unsigned oip_infer_finish(struct request *request);

#endif
