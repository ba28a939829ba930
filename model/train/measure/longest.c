/*
 * longest.c - see longest.h.
 */
#include "model/train/measure/longest.h"

int longest_are(size_t classes, const float *lengths, size_t label, size_t other)
{
    for (size_t j = 0; j < classes; j++) {
        if (j == label || j == other)
            continue;
        /* Negated, so that a NaN is never right. */
        if (!(j < label ? lengths[j] < lengths[label] : lengths[j] <= lengths[label]) ||
            !(j < other ? lengths[j] < lengths[other] : lengths[j] <= lengths[other]))
            return 0;
    }
    return 1;
}

void longest_two(uint8_t two[2], size_t classes, const float *lengths)
{
    size_t first = 0, second = 1;
    for (size_t j = 1; j < classes; j++)
        if (lengths[j] > lengths[first]) {
            second = first;
            first = j;
        } else if (j != second && lengths[j] > lengths[second]) {
            second = j;
        }
    two[0] = (uint8_t)first;
    two[1] = (uint8_t)second;
}
