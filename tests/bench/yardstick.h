/*
 * yardstick.h - the whole network as everybody else computes it, im2col and
 * OpenBLAS's matrix products: what our own speed and answers are held against.
 *
 * Nothing here is shared with model/ but the reader of the weights file and
 * the threads.  One source, yardstick.c, compiled twice: in single precision
 * it is the yardstick of speed, in double precision that of the answers.
 *
 * Layout is channels-last, so that im2col copies whole runs; weights lie as
 * the products want them, ordered once at load; each thread calls a
 * single-threaded OpenBLAS on its own images; what is not a product is
 * compiled for the CPU's vectors.
 */
#ifndef CAPSNET_YARDSTICK_H
#define CAPSNET_YARDSTICK_H

#include "model/capsnet.h"

/* More images than this in one product never helped. */
enum { YARDSTICK_MAX_CHUNK = 16 };

struct yardstick_network;

struct yardstick {
    const char *name;

    /* Loads the file's weights, for batches of up to max_batch images on that
     * many threads.  shape is that of a model loaded from the same file.  Says
     * what went wrong and ends the program on failure.  Free with close(). */
    struct yardstick_network *(*open)(const char *path, const struct capsnet_shape *shape,
                                      size_t max_batch, size_t threads);
    void (*close)(struct yardstick_network *network);

    /* Forward and decode: images [n][height][width][channels] to lengths
     * [n][classes], poses [n][classes][pose_dims] and the picture of each
     * longest capsule, pictures [n][height][width][channels].
     * chunk  images per product of PrimaryCaps, 1 .. YARDSTICK_MAX_CHUNK */
    void (*run)(struct yardstick_network *network, size_t n, size_t chunk, const float *images,
                float *lengths, float *poses, float *pictures);
};

extern const struct yardstick yardstick_f32, yardstick_f64;

/* Patches of one image a [..][width][channels], [rows][cols] of them, each
 * [kernel][kernel][channels].  A row of a patch is contiguous in both. */
void yardstick_im2col_f32(float *patches, const float *a, size_t width, size_t channels,
                          size_t kernel, size_t stride, size_t rows, size_t cols);
void yardstick_im2col_f64(double *patches, const double *a, size_t width, size_t channels,
                          size_t kernel, size_t stride, size_t rows, size_t cols);

#endif
