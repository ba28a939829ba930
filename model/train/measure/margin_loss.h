/*
 * margin_loss.h - the loss of the class capsules' lengths.
 */
#ifndef CAPSNET_MARGIN_LOSS_H
#define CAPSNET_MARGIN_LOSS_H

#include <stddef.h>

/* Margin loss of one image that shows label and other (the same, as a rule) and
 * its derivative for each length, dlengths [classes] (equation 4 of the paper:
 * m+ 0.9, m- 0.1, lambda 0.5). */
float margin_loss(size_t classes, const float *lengths, size_t label, size_t other,
                  float *dlengths);

#endif
