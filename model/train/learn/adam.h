/*
 * adam.h - Adam (Kingma and Ba, 2014, algorithm 1) over the flat array of
 * parameters, with a moving average of them.
 */
#ifndef CAPSNET_ADAM_H
#define CAPSNET_ADAM_H

#include "model/network/workspace.h"

/* The optimiser's state beside the parameters; arrays of [layout.total]. */
struct adam {
    float *m, *v; /* first and second moments */
    float *ema;   /* moving average of the parameters, or NULL */
    size_t updates; /* done so far */
};

/* One update of parameters from grad at that rate, on the workspace's threads.
 * ema_decay: of the moving average; a young average follows more closely.
 *
 * primary_scale: as if PrimaryCaps' convolution were multiplied by that factor
 * behind its kernels W, as the authors' code divides it by the number of types.
 * The parameters hold the product, W' = scale * W: Adam divides the size of the
 * gradient out, so W' moves by scale times the rate, and epsilon / scale against
 * the gradient of W' is epsilon against that of W.  1: as all others. */
void adam_update(struct capsnet_workspace *ws, float *parameters, const float *grad,
                 struct adam *adam, double rate, double ema_decay, double primary_scale);

#endif
