/*
 * network.h - the inside of the library: how parameters and activations lie
 * in memory, and the layers, forward and backward side by side.  The trainer
 * includes this; the server sees capsnet.h only.
 *
 * All parameters are one flat array of floats, so that Adam, moving averages
 * and gradients are loops over one array; `struct layout` says what lies
 * where.  Rows are padded to KERNEL_PAD floats and padding is zero in weights
 * and gradients alike.
 */
#ifndef CAPSNET_NETWORK_H
#define CAPSNET_NETWORK_H

#include <stdint.h>

#include "model/capsnet.h"
#include "model/kernels/kernels.h"
#include "model/machine/thread_pool.h"

/* Sizes that follow from a shape, and offsets into the flat array. */
struct layout {
    size_t pixels, pixels_row;  /* height*width*channels; padded */
    size_t conv1_taps;          /* kernel*kernel*channels: rows of conv1_w */
    size_t conv1_h, conv1_w;    /* output positions */
    size_t conv1_row;           /* output channels, padded */
    size_t conv1_size;          /* conv1_h * conv1_w * conv1_row */
    size_t primary_h, primary_w, positions;
    size_t primary_channels, primary_row; /* types*dims; padded to KERNEL_PANEL */
    size_t capsules;            /* types * positions */
    size_t groups;              /* of KERNEL_LANES capsules, the last one filled up */
    size_t conv1_words;         /* bf16 pairs of a kernel row of conv1, the last filled up */
    size_t outputs, outputs_row; /* classes * pose; padded */
    size_t tiles_y, tiles_x, tiles; /* 6x6 output tiles of the spectral product */
    size_t spectral_k;          /* 4 phases * conv1_row */

    /* The decoder: layer l maps in[l] to out[l]; row strides *_row. */
    size_t in[3], out[3], in_row[3], out_row[3];

    /* Offsets, floats:
     *   conv1_weight   [conv1_taps (ky,kx,c)][conv1_row]
     *   primary_weight [panel][ky][kx][conv1_row (c)][KERNEL_PANEL (o)]
     *   digit_weight   [capsules][outputs][primary_dims]
     *   decoder_weight [in_row (in)][out_row (out)]  */
    size_t conv1_weight, conv1_bias, primary_weight, primary_bias, digit_weight;
    size_t decoder_weight[3], decoder_bias[3];
    size_t total;
};

/* What the weights and activations of a forward pass are rounded to. */
enum precision { PRECISION_F32, PRECISION_BF16, PRECISION_INT8, PRECISIONS };

/* How PrimaryCaps is computed. */
enum plan { PLAN_DIRECT, PLAN_SPECTRAL, PLANS };

/* Weights as inference reads them, beside or instead of the parameters: one
 * block, made by model_pack().  Words and panels as in kernels.h; NULL where
 * the precision does not use it. */
struct packed {
    void *memory;
    size_t bytes;
    int has_bf16_layers;   /* conv1, digit and decoder are bf16 */
    uint32_t *conv1;       /* [panel][ky][conv1_words][KERNEL_PANEL] bf16 */
    uint32_t *primary;     /* [panel][ky][primary_words][KERNEL_PANEL] bf16 or s8 */
    float *primary_scales; /* [primary_row] value of an s8's unit */
    uint32_t *spectrum;    /* bf16 planes of [panel][spectral_k / 2][KERNEL_PANEL] */
    size_t spectrum_plane; /* words from one to the next */
    void *digit;           /* struct image_routing's weight */
    uint32_t *decoder[3];  /* [panel][in_row / 2][KERNEL_PANEL] bf16 */
};

struct capsnet_model {
    struct capsnet_shape shape;
    struct layout at;
    const struct kernels *kernels;
    enum precision precision;
    int is_spectral;   /* has weights in the frequency domain: memory is full */
    float *parameters; /* [at.total] */
    size_t released_bytes; /* of them */
    float *spectrum;   /* f32: primary_weight's planes, see primary_spectral.c */
    size_t spectrum_plane;
    struct packed packed;
    struct capsnet_known known;
    const char *stored_dtype;
    char *name;
    char **labels; /* [classes] */
    struct model_metadata {
        char *key, *value;
    } *metadata;
    size_t n_metadata;
};

/* What a forward or backward pass spends its time on. */
enum phase {
    PHASE_PREPARE,       /* weights to their spectrum */
    PHASE_CONV1,         /* conv1 and the forward DFTs */
    PHASE_PRIMARY,       /* the products */
    PHASE_PRIMARY_OUT,   /* inverse DFTs, squash */
    PHASE_ROUTING,
    PHASE_DECODER,
    PHASE_DECODER_BACK,
    PHASE_ROUTING_BACK,
    PHASE_PRIMARY_DFT,   /* gradients to their spectrum */
    PHASE_PRIMARY_BACK,  /* the products */
    PHASE_PRIMARY_GRAD,  /* kernel gradients from their spectrum */
    PHASE_CONV1_BACK,    /* inverse DFTs and conv1's gradient */
    PHASE_UPDATE,
    PHASES
};
extern const char *const phase_names[PHASES];

/* Images that the direct plan has in work at a time. */
enum { DIRECT_WAVE = 4 };

/* Per-thread scratch. */
struct scratch {
    float *patches;   /* [conv1_h*conv1_w][patch_row] im2col of one image */
    uint16_t *image;  /* [pixels and a word more] bf16 */
    float *conv1;     /* [conv1_h][conv1_w][conv1_row] one image */
    float *transposed; /* [3][longest row][KERNEL_PANEL] */
    float *u_hat;     /* [outputs][lanes]; inference: [2 images][groups][outputs][lanes] */
    /* Of inference, for two images: */
    float *u;         /* [2][groups of capsules][dims][lanes] */
    float *sums;      /* [2][outputs rounded up to lanes][lanes] */
    float *s, *vsum;  /* [2][outputs rounded up to lanes] */
    float *du_hat;    /* [groups][outputs][lanes] */
};

struct capsnet_workspace {
    const struct capsnet_model *model;
    size_t max_batch, max_groups; /* groups of KERNEL_LANES images */
    struct pool *pool;
    struct scratch *scratch; /* [threads] */
    void *memory;
    size_t memory_bytes;
    uint64_t phase_ns[PHASES];

    /* Forward.  n images, g groups. */
    float *x_planes;  /* SPECTRUM3 planes of [n*tiles][spectral_k + a pad], fp32 or bf16 */
    float *y_planes;  /* SPECTRUM2 planes of [n*tiles][primary_row + KERNEL_PAD] */
    float *wave;      /* direct: [DIRECT_WAVE][conv1_size] after ReLU, fp32 or bf16 */
    uint8_t *wave_u8; /* int8: the same, quantised */
    float *largest;   /* int8: [DIRECT_WAVE][bands] largest value of a band */
    float *primary;   /* [n][positions][primary_row] before squash */
    float *v;         /* [n][outputs]; training: [g][R][outputs][lanes] of each iteration */
    float *decoder[4]; /* [n][row]: input, two hidden layers, picture */
    uint16_t *decoder16[3]; /* the first three in bf16, instead */

    /* Backward, for training only. */
    int training;
    float *capsules;  /* [g][capsules][dims][lanes] u */
    float *s;         /* [g][R][outputs][lanes] of each routing iteration */
    float *vsum;      /* [g][R][outputs][lanes] sum of v before iteration r */
    float *conv1;     /* [n][conv1_size] after ReLU */
    float *raw;       /* [g][capsules][dims][lanes] before squash, kept */
    float *du;        /* likewise, the gradient */
    float *ds, *dv;   /* [g][R][outputs][lanes] */
    float *coef;      /* [g][capsules][2 ][classes][lanes]: c, gb */
    float *uniform;   /* [classes][lanes] = 1 / classes */
    float *dy_planes; /* SPECTRUM4 planes of [n*tiles][primary_row + KERNEL_PAD] */
    float *dw_planes; /* SPECTRUM2 planes of [panel][spectral_k][KERNEL_PANEL] */
    float *ddecoder[4]; /* gradients of decoder[] */
    float *conv1_partial; /* [CONV1_CHUNKS][conv1_taps + 1][conv1_row] */
};

/* Images of a batch are summed in this many runs, whatever the threads: the
 * same bits on any number of cores. */
enum { CONV1_CHUNKS = 16 };

/* ---- workspace.c: shapes and memory ---------------------------------------- */

/* Checks a shape against sane limits and works out its layout. */
CAPSNET_MUST_CHECK enum capsnet_status layout_of(struct layout *at,
                                                 const struct capsnet_shape *shape,
                                                 struct capsnet_error *error);

/* The plan for a batch of n images: the one place that chooses. */
enum plan plan_for(const struct capsnet_model *model, size_t n);

/* capsnet_forward() by a plan of the caller's; PLAN_SPECTRAL needs a spectrum. */
void forward_by_plan(struct capsnet_workspace *ws, enum plan plan, size_t n, const float *images,
                     float *lengths, float *poses);

/* Zeroed memory, 64-byte aligned, in huge pages where the system has them;
 * NULL when there is none. */
void *huge_alloc(size_t bytes);
void huge_free(void *memory, size_t bytes);
/* Gives the whole pages of a part of such memory back, whose contents become
 * zero; returns how many bytes that was. */
size_t huge_release(void *part, size_t bytes);

/* As capsnet_workspace_create(), with room for the backward pass. */
CAPSNET_MUST_CHECK enum capsnet_status
workspace_create(struct capsnet_workspace **workspace, const struct capsnet_model *model,
                 size_t max_batch, size_t threads, int training, struct capsnet_error *error);

/* Adds the time since *since_ns to a phase and restarts the clock. */
void phase_end(struct capsnet_workspace *ws, enum phase phase, uint64_t *since_ns);
uint64_t phase_clock(void);

/* ---- The layers ---------------------------------------------------------- */
/* n images at images [n][height][width][channels].  Gradients go to grad, a
 * flat array in the model's layout, overwritten. */

/* Brings the primary weights into the frequency domain (primary.c). */
void primary_prepare(const struct capsnet_model *model, float *spectrum, struct pool *pool);
void primary_pack_spectrum(const struct capsnet_model *model, size_t panel);

/* Makes what inference reads beside the parameters, the spectrum among it, anew
 * from them (pack.c). */
CAPSNET_MUST_CHECK enum capsnet_status model_pack(struct capsnet_model *model,
                                                  struct capsnet_error *error);
/* Gives back the parameters that inference then reads no more: they become
 * zero. */
void model_release(struct capsnet_model *model);

/* conv1.c */
void conv1_rows(const struct capsnet_workspace *ws, const float *image, size_t y0, size_t y1,
                float *patches, float *out);
/* The same in bf16, with fp32 sums, to out or, rounded to bf16, to out16. */
void conv1_rows_bf16(const struct capsnet_workspace *ws, const float *image, size_t y0, size_t y1,
                     size_t thread, float *out, uint16_t *out16);
void conv1_backward(struct capsnet_workspace *ws, size_t n, const float *images, float *grad);
size_t conv1_patch_row(const struct layout *at);

/* Pixels to ws->primary, through conv1: primary_direct.c and primary_spectral.c. */
void primary_direct(struct capsnet_workspace *ws, size_t n, const float *images);
size_t direct_bands(const struct layout *at); /* items of conv1 an image */
void primary_spectral(struct capsnet_workspace *ws, size_t n, const float *images);
/* From ws->primary (holding its gradient) to grad and ws->x_planes (holding
 * the spectrum of conv1's gradient). */
void primary_backward(struct capsnet_workspace *ws, size_t n, float *grad);
/* The gradient of conv1's output, one image, from ws->x_planes. */
void primary_input_gradient(const struct capsnet_workspace *ws, size_t n, size_t image,
                            float *dconv1);

/* digit_capsules.c: ws->primary to ws->v. */
void digit_forward(struct capsnet_workspace *ws, size_t n);
/* From dposes [n][outputs] to grad and ws->primary. */
void digit_backward(struct capsnet_workspace *ws, size_t n, const float *dposes, float *grad);
/* The last v and its lengths, image by image; either may be NULL. */
void digit_read(const struct capsnet_workspace *ws, size_t n, float *lengths, float *poses);

/* decoder.c: ws->decoder[0] to ws->decoder[3]; and from ws->ddecoder[3], the
 * gradient before the sigmoid, to grad and ws->ddecoder[0]. */
void decoder_forward(struct capsnet_workspace *ws, size_t n);
void decoder_backward(struct capsnet_workspace *ws, size_t n, float *grad);
/* Puts one class's pose of image i into ws->decoder[0], all others zero. */
void decoder_input(struct capsnet_workspace *ws, size_t i, size_t class_index, const float *pose);

#endif
