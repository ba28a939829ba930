/*
 * margin_loss.c - see margin_loss.h.
 */
#include "model/train/measure/margin_loss.h"

float margin_loss(size_t classes, const float *lengths, size_t label, size_t other,
                  float *dlengths)
{
    const float high = 0.9f, low = 0.1f, lambda = 0.5f;
    float loss = 0;
    for (size_t j = 0; j < classes; j++) {
        const int present = j == label || j == other;
        dlengths[j] = 0;
        /* Negated, so that a NaN makes the loss one: < and > would call it 0. */
        if (present && !(lengths[j] >= high)) {
            loss += (high - lengths[j]) * (high - lengths[j]);
            dlengths[j] = -2 * (high - lengths[j]);
        } else if (!present && !(lengths[j] <= low)) {
            loss += lambda * (lengths[j] - low) * (lengths[j] - low);
            dlengths[j] = 2 * lambda * (lengths[j] - low);
        }
    }
    return loss;
}
