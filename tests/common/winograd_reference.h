/*
 * winograd_reference.h - the matrices of the transforms to points, element by
 * element, for tests to compute with in double precision.
 */
#ifndef WINOGRAD_REFERENCE_H
#define WINOGRAD_REFERENCE_H

#include "model/network/winograd.h"

/* Roundings of a transform's value, in units of the sum of magnitudes: one
 * dimension is a sum of at most 5 products, whose matrix is a float already, and
 * a sum of two; two dimensions and a complex value's sum: 6 + 6 + 2. */
enum { TRANSFORM_ROUNDINGS = 14, WINOGRAD_SETS = 3 };

struct winograd_set {
    const char *name;
    const struct point_set *set;
    double noise; /* what winograd.c says of it */
    size_t x_planes, quarters; /* multiplications times 4, of a kernel of 9 taps */
};
extern const struct winograd_set winograd_sets[WINOGRAD_SETS];

/* Element (line, column) of what a point_matrix says. */
double line_at(const struct point_matrix *m, size_t line, size_t column);

/* Its size in error bounds: of a complex line, both parts together. */
double line_size(const struct point_matrix *m, size_t line, size_t column);

/* Where pixel (y, x) of a patch lies. */
static inline size_t patch_at(const struct patch *p, size_t y, size_t x)
{
    return y * p->row_stride + x * p->col_stride;
}

#endif
