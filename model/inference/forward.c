/*
 * forward.c - the way through the layers, and which of its two plans a batch takes.
 */
#include <string.h>

#include "model/inference/inference.h"
#include "model/layers/layers.h"

/* From so many images on a pass makes way for others' threads (machine/turns.h). */
enum { LARGE_BATCH = 2 };

enum plan plan_for(const struct capsnet_model *model, size_t n)
{
    return !model->is_spectral || n <= model->direct_max ? PLAN_DIRECT : PLAN_SPECTRAL;
}

const char *capsnet_model_plan(const struct capsnet_model *model, size_t n)
{
    return plan_for(model, n) == PLAN_DIRECT ? "direct" : "spectral";
}

void forward_by_plan(struct capsnet_workspace *ws, enum plan plan, size_t n, const float *images,
                     float *lengths, float *poses, const struct capsnet_routing *const *routing)
{
    if (plan == PLAN_DIRECT)
        primary_direct(ws, n, images);
    else
        primary_spectral(ws, n, images);
    digit_forward(ws, n, routing);
    digit_read(ws, n, lengths, poses);
}

void capsnet_forward_routing(struct capsnet_workspace *ws, size_t n, const float *images,
                             float *lengths, float *poses,
                             const struct capsnet_routing *const *routing)
{
    turns_yield(pool_party(ws->pool), n >= LARGE_BATCH);
    /* The backward pass is spectral. */
    forward_by_plan(ws, ws->training ? PLAN_SPECTRAL : plan_for(ws->model, n), n, images, lengths,
                    poses, routing);
}

void capsnet_forward(struct capsnet_workspace *ws, size_t n, const float *images, float *lengths,
                     float *poses)
{
    capsnet_forward_routing(ws, n, images, lengths, poses, NULL);
}

void capsnet_decode(struct capsnet_workspace *ws, size_t n, const float *poses,
                    const size_t *classes, float *images)
{
    const struct layout *at = &ws->model->at;
    for (size_t i = 0; i < n; i++)
        decoder_input(ws, i, classes[i], poses + i * ws->model->shape.pose_dims);
    decoder_forward(ws, n);
    for (size_t i = 0; i < n; i++)
        memcpy(images + i * at->pixels, ws->decoder[3] + i * at->pixels_row,
               at->pixels * sizeof *images);
}
