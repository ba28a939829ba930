/*
 * dataset.c - see dataset.h.
 */
#include "model/train/data/dataset.h"

#include <stdlib.h>

void dataset_free_names(struct dataset *dataset)
{
    for (size_t j = 0; dataset->names && j < dataset->classes; j++)
        free(dataset->names[j]);
    free(dataset->names);
    dataset->names = NULL;
}

float dataset_ink(const struct dataset *dataset, size_t image)
{
    const size_t pixels = dataset->height * dataset->width * dataset->channels;
    double sum = 0;
    for (size_t p = 0; p < pixels; p++) {
        const double value = dataset->pixels[image * pixels + p] / 255.0;
        sum += value * value;
    }
    return (float)(sum / (double)pixels);
}

void dataset_free(struct dataset *dataset)
{
    dataset_free_names(dataset);
    free(dataset->pixels);
    free(dataset->labels);
    *dataset = (struct dataset){0};
}
