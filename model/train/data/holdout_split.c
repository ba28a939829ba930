/*
 * holdout_split.c - see holdout_split.h.
 */
#include "model/train/data/holdout_split.h"

#include <stdio.h>
#include <stdlib.h>

void shuffle(uint32_t *index, size_t n, struct random r)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = random_below(&r, i);
        uint32_t swap = index[i - 1];
        index[i - 1] = index[j];
        index[j] = swap;
    }
}

uint32_t *split_images(size_t n, size_t n_holdout)
{
    uint32_t *index = malloc((n + 1) * sizeof *index);
    for (size_t i = 0; index && i < n; i++)
        index[i] = (uint32_t)i;
    if (index && n_holdout)
        shuffle(index, n, random_stream(0, RANDOM_HOLDOUT, 0, 0));
    return index;
}

void split_describe(char *text, size_t size, size_t n_train, size_t n_skipped, size_t n_holdout)
{
    if (n_skipped)
        snprintf(text, size, "%zu trained on, %zu skipped, %zu held out", n_train, n_skipped,
                 n_holdout);
    else
        snprintf(text, size, "%zu trained on, %zu held out", n_train, n_holdout);
}

int split_parse(const char *text, size_t *n_shown, size_t *n_holdout)
{
    size_t n_train, n_skipped = 0, n_held;
    int used = 0, end = 0;
    if (!text || sscanf(text, "%9zu trained on, %n", &n_train, &used) != 1 || !used)
        return 0;
    text += used;
    if (sscanf(text, "%9zu skipped, %n", &n_skipped, &end) == 1 && end)
        text += end;
    else
        n_skipped = 0;
    end = 0;
    if (sscanf(text, "%9zu held out%n", &n_held, &end) != 1 || !end || text[end])
        return 0;
    *n_shown = n_train + n_skipped;
    *n_holdout = n_held;
    return 1;
}
