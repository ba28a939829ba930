/*
 * open_inference_tensor.h - the image tensor of an inference request: from the
 * values that the client sent, of any datatype, to digits.
 */
#ifndef CAPSNETD_OPEN_INFERENCE_TENSOR_H
#define CAPSNETD_OPEN_INFERENCE_TENSOR_H

#include <cjson/cJSON.h>

#include "server/input/open_inference.h"

enum oip_datatype { OIP_FP16, OIP_FP32, OIP_FP64, OIP_UINT8, OIP_BYTES };
enum { OIP_DATATYPES = 5 };

/* The image tensor as it is in the request, which owns what the pointers lead to. */
struct oip_input {
    enum oip_datatype datatype;
    size_t dims[OIP_MAX_RANK]; /* dims[0]: the images */
    size_t rank;
    const cJSON *data;    /* NULL when it is binary */
    const char *numbers;  /* the text of data's numbers; NULL: it has none */
    const uint8_t *bytes; /* of a binary tensor */
    size_t nbytes;
};

/* Fills request->digits, which body_make_digits() has made for dims[0] images.
 * On a worker.  Returns 0, or the status of the refusal. */
unsigned oip_take_values(struct request *request, const struct oip_input *input);

#endif
