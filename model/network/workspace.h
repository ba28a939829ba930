/*
 * workspace.h - the memory and the threads of forward and backward passes over
 * one model: one block, carved once for the largest batch.  It belongs to one
 * caller at a time.
 */
#ifndef CAPSNET_WORKSPACE_H
#define CAPSNET_WORKSPACE_H

#include <stdint.h>

#include "model/machine/thread_pool.h"
#include "model/network/model.h"

/* What a forward or backward pass spends its time on. */
enum phase {
    PHASE_PREPARE,       /* weights to their spectrum */
    PHASE_CONV1,         /* conv1 and the transforms of its output */
    PHASE_PRIMARY,       /* the products */
    PHASE_PRIMARY_OUT,   /* transforms back, squash */
    PHASE_ROUTING,
    PHASE_DECODER,
    PHASE_DECODER_BACK,
    PHASE_ROUTING_BACK,
    PHASE_PRIMARY_DFT,   /* gradients to their spectrum */
    PHASE_PRIMARY_BACK,  /* the products */
    PHASE_PRIMARY_GRAD,  /* kernel gradients from their spectrum */
    PHASE_CONV1_BACK,    /* transforms back and conv1's gradient */
    PHASE_UPDATE,
    PHASES
};
extern const char *const phase_names[PHASES];

/* Columns of x that one product of the weights' gradient takes. */
enum { X_COLUMNS = 192 };

/* Images that a thread has in work at a time in the direct plan: so many as its second-level
 * cache keeps the activations and lists of beside a panel of weights. */
enum { DIRECT_OWN = 2 };

/* Capsules whose gradients are worked out at a time: 330 kB of du_hat for 128
 * images, which the second-level cache keeps. */
enum { GRADIENT_CAPSULES = 4 };

/* An image's capsules are routed in so many parts, each with its own sums, so that several
 * threads can have one image, and its answer is the same bits for any number of threads. */
enum { ROUTING_PARTS = 4 };

/* Images that are routed side by side, so that W is read once for them. */
enum { ROUTED_AT_ONCE = 2 };

/* Images of which the decoder's inputs are listed (layers/decoder.c): W is read from the
 * second-level cache for all but the first. */
enum { DECODER_LISTS = 3 };

/* Floats that an image's prediction vectors take: [groups][outputs][lanes], or as words of bf16. */
static inline size_t prediction_size(const struct capsnet_model *model)
{
    const size_t words = prediction_words(model->shape.classes, model->shape.pose_dims);
    return model->at.groups * KERNEL_LANES *
           (model->packed.has_bf16_layers ? words : model->at.outputs);
}

/* Of inference: what up to ROUTED_AT_ONCE images are routed in. */
struct routing_scratch {
    float *u;     /* [2][groups of capsules][dims][lanes] */
    float *u_hat; /* [2][prediction_size()] */
    float *s;     /* [ROUTING_PARTS][2][outputs rounded up to lanes] */
    float *vsum;  /* [2][outputs rounded up to lanes] */
};

/* Per-thread scratch. */
struct scratch {
    float *patches;   /* one image padded; training: [conv1_h*conv1_w][patch_row] im2col of it */
    uint64_t *found;  /* where an image is not zero: kernels.h, struct convolution */
    uint16_t *image;  /* [pixels and a word more] bf16; not in f32's training */
    float *conv1;     /* [conv1_h][conv1_w][conv1_row] one image */
    float *transposed; /* [longest row][KERNEL_PANEL] */
    /* bf16 words of the products of PrimaryCaps' gradients, for each of three planes: */
    uint32_t *w_words;  /* [primary_row / 2][KERNEL_PANEL] */
    uint32_t *dy_words; /* [panel][(n*tiles + 1) / 2][KERNEL_PANEL] */
    uint32_t *x_words;  /* [(n*tiles + 1) / 2][X_COLUMNS] */
    uint32_t *decoder_words; /* the decoder's: [longest row / 2][KERNEL_PANEL] */
    uint32_t *dconv1_words; /* conv1's: [panel][conv1_h][(conv1_w + 1) / 2][KERNEL_PANEL] */
    float *operands;  /* int8: winograd's planes of one tile, [spectral_k + KERNEL_PAD] fp32 */
    struct routing_scratch routing; /* of what this thread routes alone */
    float *sums;      /* inference: [2 images][outputs rounded up to lanes][lanes] */
    float *u_hat;     /* training: [2][outputs][lanes] */
    float *du_hat;    /* [GRADIENT_CAPSULES][groups][outputs][lanes] */
    uint32_t *u_words; /* bf16: [(groups + 1) / 2][dims][lanes] */
};

struct capsnet_workspace {
    const struct capsnet_model *model;
    size_t max_batch, max_groups; /* groups of KERNEL_LANES images */
    struct pool *pool;
    struct scratch *scratch; /* [threads] */
    struct routing_scratch routing; /* of what all threads route together */
    void *memory;
    size_t memory_bytes;
    uint64_t phase_ns[PHASES];

    /* Forward.  n images, g groups. */
    float *x_planes;  /* winograd's of [n*tiles][spectral_k + KERNEL_PAD], fp32, bf16 or u8 */
    size_t *used;     /* [n] conv1's channels as far as the last that is not zero everywhere */
    float *x_scales;  /* u8: [operand_planes][n*tiles] value of a unit */
    float *y_planes;  /* likewise of [n*tiles][primary_row + KERNEL_PAD] */
    size_t slots;     /* direct: images in work, DIRECT_OWN of each thread, not more than a batch */
    float *conv1;     /* direct: [slots][conv1_size] after ReLU, fp32, or bf16 and its words */
    uint8_t *conv1_u8; /* int8: [slots][3][conv1_size] the same, quantised, and its words */
    uint64_t *set;    /* [slots][2][conv1_h][conv1_w][conv1_bits] which words are not zero */
    float *largest;   /* int8: [slots][bands] largest value of a band */
    /* direct: what is not zero, [slots][strips] lists of room for list_words; how
     * long each is */
    struct sparse_word *lists;
    size_t *list_counts, list_words;
    float *primary;   /* [n][positions][primary_row] before squash */
    float *v;         /* [n][outputs]; training: [g][R][outputs][lanes] of each iteration */
    float *decoder[4]; /* [n][row]: input, two hidden layers, picture; training: [2n][row], for
                        * two digits of an image */
    uint16_t *decoder16[3]; /* the first three in bf16, instead */
    uint8_t *decoder8;      /* inference in int8: the second quantised, [n][in_row], */
    float *decoder_scales;  /* and [n] value of an image's unit */
    /* inference in fp32: what is not zero of one of the first three, [DECODER_LISTS][list_words],
     * and in one of its rows */
    struct sparse_word *decoder_lists;
    size_t decoder_list_words;
    uint64_t *decoder_set;

    /* Backward, for training only. */
    int training;
    float *capsules;  /* [g][capsules][dims][lanes] u */
    float *s;         /* [g][R][outputs][lanes] of each routing iteration */
    float *vsum;      /* [g][R][outputs][lanes] sum of v before iteration r */
    uint16_t *conv1_positive; /* [n][conv1_size / 16] bits: conv1's output is above 0 */
    /* DigitCaps' W in bf16, as of struct routing; NULL where W itself is multiplied: */
    uint32_t *dim_words, *output_words;
    float *raw;       /* [g][capsules][dims][lanes] before squash, kept */
    float *du;        /* likewise, the gradient */
    float *ds, *dv;   /* [g][R][outputs][lanes] */
    float *coef;      /* [g][capsules][2 ][classes][lanes]: c, gb */
    float *uniform;   /* [classes][lanes] = 1 / classes */
    float *dx_planes; /* as x_planes; fp32, and where they are, too: x_planes */
    float *dy_planes; /* as y_planes, or bf16: winograd_result_gradient() */
    float *dw_planes; /* [panel][spectral_k][KERNEL_PANEL] */
    float *ddecoder[4]; /* gradients of decoder[] */
    uint32_t *decoder_words[3]; /* bf16: W as struct packed has it, with KERNEL_PAD rows more */
    /* bf16, of the layer at hand: dy, and dy and x as words of two rows: */
    uint16_t *dy16;     /* [2n][out_row] */
    uint32_t *dy_pairs; /* [panel][pairs][KERNEL_PANEL] */
    uint32_t *x_pairs;  /* [pairs][in_row] */
    float *conv1_partial; /* [CONV1_CHUNKS][conv1_taps + 1][conv1_weight_row] */
};

/* Images of a batch are summed in this many runs, whatever the threads: the
 * same bits on any number of cores. */
enum { CONV1_CHUNKS = 16 };

/* As capsnet_workspace_create(), with room for the backward pass. */
CAPSNET_MUST_CHECK enum capsnet_status
workspace_create(struct capsnet_workspace **workspace, const struct capsnet_model *model,
                 size_t max_batch, size_t threads, int training, struct capsnet_error *error);

/* Adds the time since *since_ns to a phase and restarts the clock. */
void phase_end(struct capsnet_workspace *ws, enum phase phase, uint64_t *since_ns);
/* Nanoseconds of a clock that never goes back. */
uint64_t phase_clock(void);

#endif
