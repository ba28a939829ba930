/*
 * layout.h - the sizes that follow from a network's shape, and where its
 * parameters lie.  In: a shape.  Out: sizes and offsets, or which limit it breaks.
 *
 * All parameters are one flat array of floats, so that Adam, moving averages
 * and gradients are loops over one array; `struct layout` says what lies
 * where.  Rows are padded to KERNEL_PAD floats and padding is zero in weights
 * and gradients alike.
 */
#ifndef CAPSNET_LAYOUT_H
#define CAPSNET_LAYOUT_H

#include "model/capsnet.h"
#include "model/kernels/kernels.h"

/* Rows of conv1's output that the direct plan computes as one piece of work. */
enum { CONV1_BAND = 4 };

/* Sizes that follow from a shape, and offsets into the flat array. */
struct layout {
    size_t pixels, pixels_row;  /* height*width*channels; padded */
    size_t conv1_taps;          /* kernel*kernel*channels: rows of conv1_w */
    size_t conv1_h, conv1_w;    /* output positions */
    size_t conv1_row;           /* output channels, padded */
    size_t conv1_weight_row;    /* the same of a row of weights, and more */
    size_t conv1_size;          /* conv1_h * conv1_w * conv1_row */
    size_t conv1_bits;          /* uint64_t for a bit of each of conv1_row channels */
    size_t conv1_patch_row;     /* conv1_taps, padded: a row of patches */
    size_t conv1_bands;         /* of CONV1_BAND rows of positions, the last one less */
    size_t primary_h, primary_w, positions;
    size_t primary_channels, primary_row; /* types*dims; padded to KERNEL_PANEL */
    size_t capsules;            /* types * positions */
    size_t groups;              /* of KERNEL_LANES capsules, the last one filled up */
    size_t outputs, outputs_row; /* classes * pose; padded */
    size_t strips_x, strips;    /* SPARSE_ROWS positions beside each other; of all rows */
    size_t primary_taps;        /* primary_kernel^2 * conv1_row: rows of primary_weight */
    size_t tiles_y, tiles_x, tiles; /* 6x6 output tiles of the spectral product */
    size_t spectral_k;          /* 4 phases * conv1_row */

    /* The decoder: layer l maps in[l] to out[l]; row strides *_row. */
    size_t in[3], out[3], in_row[3], out_row[3];

    /* Offsets, floats:
     *   conv1_weight   [conv1_taps (ky,kx,c)][conv1_weight_row]
     *   primary_weight [panel][ky][kx][conv1_row (c)][KERNEL_PANEL (o)]
     *   digit_weight   [capsules][outputs][primary_dims]
     *   decoder_weight [in_row (in)][out_row (out)]  */
    size_t conv1_weight, conv1_bias, primary_weight, primary_bias, digit_weight;
    size_t decoder_weight[3], decoder_bias[3];
    size_t total;
};

/* Checks a shape against sane limits and works out its layout. */
CAPSNET_MUST_CHECK enum capsnet_status layout_of(struct layout *at,
                                                 const struct capsnet_shape *shape,
                                                 struct capsnet_error *error);

#endif
