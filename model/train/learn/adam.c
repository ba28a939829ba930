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
    size_t first, end; /* of the flat array */
    float rate, epsilon, decay;
};

static void update_chunk(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct update *u = context;
    const struct adam *a = u->adam;
    const size_t first = u->first + item * CHUNK, left = u->end - first;
    u->model->kernels->adam(left < CHUNK ? left : CHUNK, u->parameters + first, u->grad + first,
                            a->m + first, a->v + first, a->ema ? a->ema + first : NULL, u->rate,
                            0.9f, 0.999f, u->epsilon, u->decay);
}

void adam_update(struct capsnet_workspace *ws, float *parameters, const float *grad,
                 struct adam *adam, double rate, double ema_decay, double primary_scale)
{
    uint64_t clock = phase_clock();
    adam->updates++;
    const struct layout *at = &ws->model->at;
    const double done = (double)adam->updates;
    const double correct1 = 1 - pow(0.9, done), correct2 = sqrt(1 - pow(0.999, done));
    /* Otherwise it would long be mostly the weights that the run began with. */
    const float decay = (float)fmin(ema_decay, done / (done + 10));
    const struct {
        size_t first, end;
        double scale;
    } parts[] = {{0, at->primary_weight, 1},
                 {at->primary_weight, at->primary_bias, primary_scale},
                 {at->primary_bias, at->total, 1}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        struct update u = {
            .model = ws->model,
            .parameters = parameters,
            .grad = grad,
            .adam = adam,
            .first = parts[i].first,
            .end = parts[i].end,
            .rate = (float)(rate * correct2 / correct1 * parts[i].scale),
            .epsilon = (float)(1e-8 * correct2 / parts[i].scale),
            .decay = decay,
        };
        pool_run(ws->pool, (u.end - u.first + CHUNK - 1) / CHUNK, update_chunk, &u);
    }
    phase_end(ws, PHASE_UPDATE, &clock);
}
