/*
 * variants.h - every way that this CPU can run one weights file: precisions
 * times plans, for the programs that time or check them all.
 */
#ifndef CAPSNET_VARIANTS_H
#define CAPSNET_VARIANTS_H

#include "model/inference/inference.h"

enum { MAX_VARIANTS = PRECISIONS * PLANS };

struct variant {
    char name[32]; /* "bf16 spectral" */
    struct capsnet_model *model;
    enum plan plan;
};

struct variants {
    struct capsnet_model *models[PRECISIONS]; /* NULL: this CPU cannot */
    struct variant list[MAX_VARIANTS];
    size_t n;
};

/* Loads the file at every precision that CAPSNETD_CPU_LEVEL's level, or this
 * CPU, has; says which are skipped and why; ends the program when even f32
 * fails.  models[PRECISION_F32] is always there. */
void variants_open(struct variants *v, const char *weights);
void variants_close(struct variants *v);

/* The whole network with the decoder, as the server runs it: lengths
 * [n][classes], poses [n][outputs], and the picture of each longest capsule,
 * pictures [n][pixels].  ws is one of the variant's model. */
void variant_run(const struct variant *variant, struct capsnet_workspace *ws, size_t n,
                 const float *images, float *lengths, float *poses, float *pictures);

/* Prints what each precision takes with and without --memory low, and the plan
 * of each batch size. */
void variants_print_memory(const struct variants *v, const char *weights, size_t max_batch,
                           size_t threads);

#endif
