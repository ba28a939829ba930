/*
 * small_network.h - random networks of any shape for the tests, and the whole
 * network as plain loops in double precision.
 *
 * The parameters are drawn as dense tensors in the weights file's order and
 * put into the model by the layout that layout.h describes: a mistake in the
 * library's own mapping does not cancel out.
 */
#ifndef SMALL_NETWORK_H
#define SMALL_NETWORK_H

#include "tests/common/kernel_check.h"
#include "model/network/workspace.h"

enum small_tensor {
    T_CONV1_W, T_CONV1_B, T_PRIMARY_W, T_PRIMARY_B, T_DIGIT_W,
    T_DENSE0_W, T_DENSE0_B, T_DENSE1_W, T_DENSE1_B, T_DENSE2_W, T_DENSE2_B,
    SMALL_TENSORS
};
extern const char *const small_names[SMALL_TENSORS]; /* as in the file */

struct small {
    struct capsnet_shape shape;
    struct capsnet_model *model;
    const struct layout *at;
    double *tensor[SMALL_TENSORS]; /* dense, each value a float */
    size_t count[SMALL_TENSORS];
};

/* A shape of small sizes: 18x18x1, 3 classes, 16 kernels of 9, 2 types of
 * 4-D capsules, kernels of 9, 4-D poses, 3 iterations, decoder 5 and 6. */
struct capsnet_shape small_shape(void);

/* A model of that shape at that CPU level with random parameters, scaled so
 * that every layer's values are about 1 and margins are active.  Its spectrum
 * is ready.  Free with capsnet_model_free(). */
void small_create(struct small *s, const struct capsnet_shape *shape, const char *level,
                  struct random *random);
/* The same in a precision that the level has. */
void small_create_in(struct small *s, const struct capsnet_shape *shape, const char *level,
                     const char *precision, struct random *random);

/* Puts the dense tensors into the model and renews the spectrum. */
void small_load(struct small *s);

/* Where element i of a dense tensor lies in the flat array. */
size_t small_index(const struct small *s, enum small_tensor tensor, size_t i);

/* n random images [n][pixels], 0 to 1, a third of them exactly 0. */
float *small_images(const struct small *s, size_t n, struct random *random);

/* What the equations give for one image. */
struct small_answer {
    double *conv1;         /* [conv1_h][conv1_w][conv1_channels] after ReLU */
    double *primary;       /* [positions][primary_channels] before squash */
    double *u;             /* [capsules][dims] */
    double *poses;         /* [classes][pose] */
    double *lengths;       /* [classes] */
    double *picture;       /* [pixels], of the class asked for */
    double margin, pixels; /* the two losses, for that class as the truth */
};
/* The arrays live until check_release(). */
void small_answer_room(struct small_answer *answer, const struct small *s);
/* tensor stands for s->tensor, so that it can be varied. */
void small_reference(struct small_answer *answer, const struct small *s, double *const *tensor,
                     const float *image, size_t class_index, size_t other);
/* All that follows from answer->primary, which the caller may have changed, again. */
void small_reference_on(struct small_answer *answer, const struct small *s, double *const *tensor,
                        const float *image, size_t class_index, size_t other);
/* The pixel loss of another class's capsule, drawn alone, from a picture of its own:
 * of the answer that stands. */
double small_pixel_loss(struct small_answer *answer, const struct small *s, double *const *tensor,
                        const float *target, size_t class_index);

#endif
