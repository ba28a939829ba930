/*
 * adam.h - Adam (Kingma and Ba, 2014, algorithm 1) over the flat array of
 * parameters, with a moving average of them.
 */
#ifndef CAPSNET_ADAM_H
#define CAPSNET_ADAM_H

#include "model/network/network.h"

/* The optimiser's state beside the parameters; arrays of [layout.total]. */
struct adam {
    float *m, *v; /* first and second moments */
    float *ema;   /* moving average of the parameters, or NULL */
    size_t updates; /* done so far */
};

/* One update of parameters from grad at that rate, on the workspace's threads.
 * ema_decay: of the moving average; a young average follows more closely. */
void adam_update(struct capsnet_workspace *ws, float *parameters, const float *grad,
                 struct adam *adam, double rate, double ema_decay);

#endif
