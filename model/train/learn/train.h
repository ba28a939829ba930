/*
 * train.h - the training run.
 */
#ifndef CAPSNET_TRAIN_H
#define CAPSNET_TRAIN_H

#include "model/weights_file/model_file.h"
#include "model/train/data/augment.h"

struct train_options {
    const char *init; /* a weights file to start from, or NULL */
    const char *data, *out, *checkpoint, *log, *name, *labels, *cpu_level;
    const char *holdout_writers; /* a file of writers.h: hold out whole ones; or NULL */
    const char *command; /* how the program was called, for the file */
    int skip_misread, resume, test, no_pictures;
    size_t epochs, batch, holdout, limit, threads;
    uint64_t seed;
    float rate, final_rate; /* Adam's, cosine from the one to the other */
    size_t warmup;          /* steps of linear warm-up */
    float ema;              /* decay of the weights' moving average, 0: none */
    float alpha;            /* weight of the reconstruction loss */
    float error_threshold;  /* NAN: measured */
    struct augmentation augmentation;
    float pairs; /* share of images that a second digit lies on */
    enum safetensors_dtype dtype;
    struct capsnet_shape shape; /* image size and classes are the data's */
};

/* Trains and writes options->out.  Returns the process's exit status: 0 when
 * done, 1 after an error (one sentence on stderr), 130 when a signal stopped
 * it (the checkpoint is written). */
int train(const struct train_options *options);

#endif
