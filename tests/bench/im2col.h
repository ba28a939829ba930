/*
 * im2col.h - the yardstick of `make bench-train`: PrimaryCaps as everybody
 * else computes it, im2col and OpenBLAS's SGEMM, forward and backward.
 *
 * The program is linked so that the three calls of the training step into
 * primary_spectral.c come here first (--wrap).  All the rest of the step is the same
 * code.
 */
#ifndef CAPSNET_IM2COL_H
#define CAPSNET_IM2COL_H

#include "model/network/workspace.h"

/* Memory for a workspace of that many threads and its largest batch; from now
 * on im2col_on chooses.  The model's primary_weight, and its gradient, are
 * then row-major [ky][kx][c][o], as SGEMM wants it: nothing is repacked in a
 * timed step.  0 when there is no memory. */
int im2col_open(const struct capsnet_workspace *ws);
void im2col_close(void);

extern int im2col_on;

/* Between the model's own order of primary_weight (layout.h) and the above. */
void im2col_pack(const struct capsnet_model *model, float *panels, const float *rows);
void im2col_unpack(const struct capsnet_model *model, float *rows, const float *panels);

#endif
