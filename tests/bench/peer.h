/*
 * peer.h - somebody else's program that runs the same weights file, as a
 * contender in the benchmark.
 *
 * It is started as COMMAND WEIGHTS IMAGES ANSWERS THREADS, where IMAGES holds
 * BENCH_BATCH images as raw floats, and prints one line: "ready NAME", or
 * "skipped WHY" when it is not there.  Then it answers lines on its input:
 *   time N     seconds of a pass over the first N images, forward and decoder,
 *              by its own clock: the mean of at least 10 ms of passes, after
 *              one that does not count when N < 16;
 *   answers N  "done" once ANSWERS holds their lengths, poses and pictures.
 */
#ifndef CAPSNET_PEER_H
#define CAPSNET_PEER_H

#include "model/network/workspace.h"

struct peer;

/* Starts one, with images [BENCH_BATCH][pixels].  NULL when it is skipped,
 * which is printed; ends the program when it fails. */
struct peer *peer_open(const char *command, const char *weights,
                       const struct capsnet_model *model, const float *images, size_t threads);
void peer_close(struct peer *peer);

const char *peer_name(const struct peer *peer);

double peer_turn(struct peer *peer, size_t n);

/* Its answers for the first n images, as variant_run() lays them out. */
void peer_answers(struct peer *peer, size_t n, float *lengths, float *poses, float *pictures);

#endif
