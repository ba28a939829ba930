/*
 * primary_direct.h - in which order the direct plan multiplies the taps of a kernel, for what
 * packs its weights.
 *
 * A word is left out where all of its values are zero, so they should be zero together, as
 * pixels beside each other of one channel mostly are: of 100 words of four u8 of MNIST's digits
 * 10.5 are left then, of four channels of one pixel 19 (of two bf16 8 and 10.6).  So a word has
 * several columns of the kernel.  Of columns left over, as one of nine is, it has several
 * channels.
 */
#ifndef CAPSNET_PRIMARY_DIRECT_H
#define CAPSNET_PRIMARY_DIRECT_H

#include "model/network/workspace.h"

struct word_order {
    size_t values;       /* of a word */
    size_t groups, left; /* of columns: of `values` each, and those left over */
    size_t channels;     /* padded */
    size_t row;          /* words of a row of the kernel: [groups][channels] and
                          * [left][channels / values] */
};

static inline struct word_order word_order_of(const struct capsnet_model *model)
{
    const size_t values = values_per_word(model->precision), channels = model->at.conv1_row;
    const size_t kernel = model->shape.primary_kernel, left = kernel % values;
    return (struct word_order){values, kernel / values, left, channels, kernel * channels / values};
}

/* The word of tap (ky, kx) of channel c, and which of its values that is. */
static inline size_t word_of(const struct word_order *order, size_t ky, size_t kx, size_t c,
                             size_t *value)
{
    const size_t first = ky * order->row, grouped = order->groups * order->values;
    *value = kx < grouped ? kx % order->values : c % order->values;
    if (kx < grouped)
        return first + kx / order->values * order->channels + c;
    return first + order->groups * order->channels +
           ((kx - grouped) * order->channels + c) / order->values;
}

#endif
