/*
 * phases.h - where the time of a forward pass goes, and how far each phase is
 * from what the machine can do.
 */
#ifndef CAPSNET_PHASES_H
#define CAPSNET_PHASES_H

#include "tests/bench/peaks.h"
#include "tests/bench/variants.h"

/* Prints the phases of each precision's plan for batches of n images (at
 * images, up to BENCH_BATCH) on one thread. */
void phases_print(const struct variants *variants, const struct peaks *peaks, size_t n,
                  const float *images);

#endif
