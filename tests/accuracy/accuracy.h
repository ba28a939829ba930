/* accuracy.h - what the parts of the measuring program share. */
#ifndef NORMALIZE_ACCURACY_H
#define NORMALIZE_ACCURACY_H

#include "model/capsnet.h"
#include "model/train/data/idx.h"
#include "model/picture/png.h"
#include "server/normalize/normalize.h"

enum { SIDE = 28, CLASSES = 10, POSE = 16, BATCH = 64 };

struct lab;

/* What the network makes of one picture. */
struct reading {
    size_t label, winner;
    const float *lengths; /* [CLASSES] */
    float error;          /* of the winner's reconstruction */
    float ink;            /* of what it saw */
    int is_known;         /* "in_distribution" */
};

/* Digits waiting for one forward pass; done() is called for each, in order. */
struct batch {
    struct lab *lab;
    void (*done)(void *context, const struct reading *reading);
    void *context;
    double decode_ms, normalize_ms; /* summed by batch_png() */
    size_t n, labels[BATCH];
    float digits[BATCH][SIDE * SIDE], pictures[BATCH][SIDE * SIDE];
    float lengths[BATCH][CLASSES], poses[BATCH][CLASSES][POSE];
};

/* Room for the next digit [SIDE][SIDE], to be filled before the next call. */
float *batch_next(struct batch *batch, size_t label);

/* Decodes and normalises (auto) a PNG into the next digit. */
void batch_png(struct batch *batch, size_t label, const uint8_t *png, size_t nbytes);

/* Runs what waits. */
void batch_flush(struct batch *batch);

struct lab {
    struct capsnet_model *model;
    struct capsnet_workspace *workspace;
    struct dataset mnist;
    int dev;
    unsigned long seed;
    size_t images;
    const char *only, *dump;
    struct batch batch;
};

/* Says what is wrong and exits. */
_Noreturn void fail(const char *what);

/* CPU time of this thread alone: other programs run beside it. */
double now_ms(void);

/* Writes a file into the folder of --dump. */
void write_file(const struct lab *lab, const char *name, const uint8_t *bytes, size_t nbytes);

/* negatives.c: what is no digit, and two digits at once. */
void measure_negatives(struct lab *lab);
void measure_pairs(struct lab *lab);

#endif
