/*
 * teacher.h - another network, larger as a rule, whose answers for the images of
 * a batch are targets beside the labels (Hinton, Vinyals, Dean, "Distilling the
 * knowledge in a neural network", 2015).
 */
#ifndef CAPSNET_TEACHER_H
#define CAPSNET_TEACHER_H

#include "model/network/workspace.h"

struct teacher {
    struct capsnet_model *model; /* NULL: there is none */
    struct capsnet_workspace *ws;
    float *lengths, *poses; /* [max_batch][...] its answers */
    uint32_t checksum;      /* of the weights */
};

/* Loads the weights file path to teach a network of that shape, batches of at most
 * max_batch, and to answer in that precision.  with_poses: poses are targets, too, so both must have as many
 * dimensions.  Free with teacher_free() whatever is returned: OK, ERR_SHAPE, and
 * what capsnet_model_load() may. */
CAPSNET_MUST_CHECK enum capsnet_status teacher_load(struct teacher *teacher, const char *path,
                                                    const char *cpu_level,
                                                    const char *precision,
                                                    const struct capsnet_shape *shape,
                                                    int with_poses, size_t max_batch,
                                                    size_t threads, struct capsnet_error *error);

/* Its answers for n images, in lengths and poses. */
void teacher_answer(struct teacher *teacher, size_t n, const float *images);

void teacher_free(struct teacher *teacher);

#endif
