/*
 * product_speed.h - how fast this CPU multiplies in each precision.  In: the kernels of
 * a level.  Out: the time of one product of PrimaryCaps' size.
 */
#ifndef CAPSNET_PRODUCT_SPEED_H
#define CAPSNET_PRODUCT_SPEED_H

#include "model/network/model.h"

/* Nanoseconds of a product of 120 x 1024 by 1024 x 256 on one core, a few milliseconds
 * to find out; INFINITY where the level has none. */
CAPSNET_MUST_CHECK enum capsnet_status product_speed(double ns[PRECISIONS],
                                                     const struct kernels *kernels,
                                                     struct capsnet_error *error);

#endif
