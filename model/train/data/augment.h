/*
 * augment.h - small random changes of training images.
 */
#ifndef CAPSNET_AUGMENT_H
#define CAPSNET_AUGMENT_H

#include "model/train/data/dataset.h"
#include "model/train/data/random.h"

/* How far an image is changed; all zero leaves it alone. */
struct augmentation {
    int shift;          /* whole pixels each way: the paper's 2; without a canvas */
    size_t canvas;      /* side of a square, no smaller than the image, that the image lies on,
                         * at every place as often; 0: it keeps its own size */
    float distorted;    /* 0 to 1: the share of images that what follows changes; the others
                         * are shifted alone */
    float rotate;       /* degrees each way */
    float zoom;         /* share of the size each way, e.g. 0.1; height and width on their own */
    float shear;        /* share of the height, each way */
    float elastic;      /* pixels: the size of smooth local displacements */
    float stroke;       /* 0 to 1: how far strokes grow or shrink by a pixel each side */
};

/* Image i of the data set, changed, as floats 0 to 1.
 * out, scratch: [height][width][channels], those of the canvas where there is one.
 * r is used up. */
void augment_image(float *out, float *scratch, const struct dataset *data, size_t i,
                   const struct augmentation *augmentation, struct random r);

/* A picture with another one on top: out = min(1, out + other), n floats (as
 * the paper's MultiMNIST, section 6). */
void augment_overlay(float *out, const float *other, size_t n);

#endif
