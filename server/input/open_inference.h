/*
 * open_inference.h - an inference request of the Open Inference Protocol,
 * version 2, with its binary tensor data extension.
 *
 * The request is JSON, or JSON of the length that the header
 * Inference-Header-Content-Length says and then the bytes of the input tensor,
 * little-endian.  Answers are built alike.
 */
#ifndef CAPSNETD_OPEN_INFERENCE_H
#define CAPSNETD_OPEN_INFERENCE_H

#include "server/request/request.h"

#define OIP_VERSION "1" /* of every model: there is one at a time */

/* The outputs; those from OIP_ON_REQUEST on only for who names them. */
enum oip_tensor { OIP_PROBABILITIES, OIP_POSES, OIP_RECONSTRUCTION, OIP_CLASS, OIP_COUPLING };
enum { OIP_ON_REQUEST = OIP_COUPLING, OIP_TENSORS };

/* The name of an output, e.g. "poses". */
const char *oip_name(enum oip_tensor tensor);

/* Its datatype, e.g. "FP32". */
const char *oip_datatype(enum oip_tensor tensor);

/* The shape of an output for n images; returns its rank. */
enum { OIP_MAX_RANK = 4 };
size_t oip_shape(size_t dims[OIP_MAX_RANK], enum oip_tensor tensor,
                 const struct capsnet_shape *shape, size_t n);

/* What is to be answered. */
struct oip_infer {
    struct {
        enum oip_tensor tensor;
        int is_binary;
        size_t n_top; /* of probabilities: so many labels in place of numbers; 0: numbers */
    } outputs[OIP_TENSORS];
    size_t n_outputs;
    int has_id;
    char id[]; /* the request's, valid UTF-8, ended by a 0 */
};

/* Reads the body of an inference request: its image tensor into
 * request->digits [job.n_images][height][width][channels], the rest into
 * request->oip.  Returns 0, or the status of the refusal. */
unsigned oip_take(struct request *request);

#endif
