/*
 * ranks.h - the processes ("ranks") of one training run, on one machine or
 * several; the only place that knows MPI.
 *
 * Built with `make MPI=1` and started as, say,
 *   mpirun --host a,b --mca odls_base_sigkill_timeout 60 \
 *       build/mpi/capsnet-train train --batch 256 ...
 * each rank computes the gradient of its share of every batch, the gradients
 * are summed, and every rank makes the same update.  Data, program and, with
 * --resume, the checkpoint must be on every machine.  Rank 0 alone measures,
 * prints and writes.  The 60 seconds give it time to write the checkpoint
 * after Ctrl-C, where mpirun's own patience is one.
 *
 * Without MPI there is one rank, and all of this does nothing.  MPI's default
 * error handler ends the run on any failure, so nothing here returns one.
 * Call from the main thread only.
 */
#ifndef CAPSNET_RANKS_H
#define CAPSNET_RANKS_H

#include <stddef.h>
#include <stdint.h>

/* Once, before everything below.  MPI may change the handling of signals. */
void ranks_start(void);

/* Once, at the end of a good run: returns when every rank has come here. */
void ranks_finish(void);

/* After a failure on this rank alone: ends the others, which would wait for
 * it for ever, and under MPI does not return. */
void ranks_abort(void);

size_t ranks_count(void); /* at least 1 */
size_t ranks_rank(void);  /* 0 .. count - 1 */

/* values [n] become their sums over all ranks, the same bits on each.  All
 * ranks call this in the same order with the same n. */
void ranks_sum_floats(float *values, size_t n);
void ranks_sum_doubles(double *values, size_t n);

/* Whether every rank gave the same value. */
int ranks_agree(uint32_t value);

#endif
