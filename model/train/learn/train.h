/*
 * train.h - the training run.
 */
#ifndef CAPSNET_TRAIN_H
#define CAPSNET_TRAIN_H

#include "model/weights_file/model_file.h"
#include "model/train/data/augment.h"

/* What the weights are drawn from when there is no file to start from. */
enum init_scheme {
    INIT_GLOROT, /* uniform with the variance 2 / (in + out), biases 0 */
    INIT_AUTHORS /* as the authors' released code: normal, cut off at twice the deviation
                  * of 0.05 for conv1, 0.1 elsewhere; biases 0.1 */
};

/* In what a step multiplies in PrimaryCaps, both ways, with fp32 sums and weights. */
enum step_precision {
    STEP_AUTO, /* bf16 where the CPU multiplies that much faster, measured at the start;
                * a resumed run's is the checkpoint's */
    STEP_F32,
    STEP_BF16,
    STEP_PRECISIONS
};
extern const char *const step_precision_names[STEP_PRECISIONS];

enum { DECAY_STEPS = 2000 };

struct train_options {
    const char *init; /* a weights file to start from, or NULL */
    const char *data, *out, *checkpoint, *log, *name, *labels, *cpu_level;
    const char *holdout_writers; /* a file of writers.h: hold out whole ones; or NULL */
    const char *command; /* how the program was called, for the file */
    int skip_misread, resume, test, no_pictures;
    size_t epochs, batch, holdout, limit, threads;
    uint64_t seed;
    size_t repeats;         /* how often an image stands in the stream, one behind another */
    enum init_scheme init_scheme;
    enum step_precision step_precision;
    float primary_scale;    /* PrimaryCaps' convolution is scaled by it, see adam.h */
    float rate, final_rate; /* Adam's at its highest, and at the end of the cosine */
    size_t warmup;          /* steps of linear warm-up */
    float hold;             /* share of the steps behind it before the cosine begins */
    float decay;            /* the rate is multiplied by it every DECAY_STEPS */
    float ema;              /* decay of the weights' moving average, 0: none */
    float alpha;            /* weight of the reconstruction loss */
    const char *teacher;    /* a weights file whose answers are targets, too, or NULL */
    float teacher_lengths, teacher_poses; /* what the squared distances from them weigh */
    float checkpoint_minutes; /* between checkpoints within an epoch */
    float error_threshold;  /* NAN: measured */
    struct augmentation augmentation;
    int pairs;     /* a digit of another class lies on an image, on a canvas (pairs.h) */
    float singles; /* with pairs: share of images that stay alone */
    enum safetensors_dtype dtype;
    struct capsnet_shape shape; /* image size and classes are the data's */
};

/* Trains and writes options->out.  Returns the process's exit status: 0 when
 * done, 1 after an error (one sentence on stderr), 130 when a signal stopped
 * it (the checkpoint is written). */
int train(const struct train_options *options);

#endif
