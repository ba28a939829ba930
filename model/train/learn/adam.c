/*
 * adam.c - see adam.h.
 */
#include "model/train/learn/adam.h"

#include <math.h>

enum { CHUNK = 1 << 16 }; /* floats per item */

struct update {
    const struct capsnet_model *model;
    float *parameters;
    const float *grad;
    const struct adam *adam;
    float rate, epsilon, decay;
};

static void update_chunk(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct update *u = context;
    const struct adam *a = u->adam;
    const size_t first = item * CHUNK, left = u->model->at.total - first;
    u->model->kernels->adam(left < CHUNK ? left : CHUNK, u->parameters + first, u->grad + first,
                            a->m + first, a->v + first, a->ema ? a->ema + first : NULL, u->rate,
                            0.9f, 0.999f, u->epsilon, u->decay);
}

void adam_update(struct capsnet_workspace *ws, float *parameters, const float *grad,
                 struct adam *adam, double rate, double ema_decay)
{
    uint64_t clock = phase_clock();
    adam->updates++;
    const double done = (double)adam->updates;
    const double correct1 = 1 - pow(0.9, done), correct2 = sqrt(1 - pow(0.999, done));
    struct update u = {
        .model = ws->model,
        .parameters = parameters,
        .grad = grad,
        .adam = adam,
        .rate = (float)(rate * correct2 / correct1),
        .epsilon = (float)(1e-8 * correct2),
        /* Otherwise it would long be mostly the weights that the run began with. */
        .decay = (float)fmin(ema_decay, done / (done + 10)),
    };
    pool_run(ws->pool, (ws->model->at.total + CHUNK - 1) / CHUNK, update_chunk, &u);
    phase_end(ws, PHASE_UPDATE, &clock);
}
