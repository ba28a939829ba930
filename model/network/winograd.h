/*
 * winograd.h - the transform domain of PrimaryCaps: Winograd's minimal
 * filtering F(6x6, 5x5) by Toom and Cook's points.
 *
 * A correlation y[m] = sum_j g[j] d[m+j] of 10 values d with 5 taps g, of which
 * 6 values y are wanted, is
 *   y = A^T [(G g) . (B^T d)]
 * for any ten different points: with rows (1, p, p^2, ..) of every point p, the
 * last unit vector for infinity, A is [10][6], G [10][5] and V [10][10] of
 * them, and B^T = V^-T, since sum_p A[p][m] G[p][j] B[p][n] = (V^T V^-T)[m+j][n].
 * B's row of p is the polynomial that is 1 at p and 0 at the other points.
 *   In two dimensions each step is done along rows and along columns, and there
 * is one product for each pair of points: real for two real points, and one
 * complex product for a pair of complex ones and its conjugate together.
 *   At infinity G picks the fifth tap.  A kernel of 9 taps has 5 in its even
 * phase and 4 in its odd one: there half of the input channels drop out, a
 * quarter remains at infinity in both directions.
 *
 * What a set costs is the noise that A makes of rounded inputs and weights:
 * |A| when the rows of G and B have norm 1, as they have here.
 */
#ifndef CAPSNET_WINOGRAD_H
#define CAPSNET_WINOGRAD_H

#include <stddef.h>

#include "model/kernels/kernels.h"

enum { TILE = 6, TAPS = 5, KERNEL_PHASES = 4 };

/* The points 0, infinity and eight more by what makes them: a real p stands for
 * +-p, an imaginary one likewise, another complex one for +-p and their
 * conjugates.  Imaginary ones come last. */
struct point_set {
    size_t n;
    struct {
        double re, im;
    } of[4];
};

/* All real: 90 multiplications where direct convolution has 729; for fp32. */
extern const struct point_set points_real;
/* +-i among them: 107, a fourteenth of the noise; for bf16. */
extern const struct point_set points_imaginary;
/* Eighth roots of unity: 129, a hundredth of the noise; for int8. */
extern const struct point_set points_roots;

struct winograd_product {
    int is_complex;
    unsigned phases; /* bit set: those that take part */
    size_t k;        /* their channels together */
    size_t operand;   /* its first value among those of one transform, operand_planes */
    size_t x, column; /* first plane of the left and right operands, and where in its rows */
    size_t y;        /* first plane of the result */
    size_t dy;       /* of the result's gradient, as an operand of both sides */
};

struct winograd {
    struct point_matrix data, output, kernel; /* B^T, A, G */
    struct point_matrix kernel_gradient; /* G's conjugate, to bring back a conjugated dw^ */
    size_t channels; /* of a phase */
    size_t products;
    size_t x_planes, y_planes; /* of operands and results, as stored */
    size_t dy_planes;          /* and of the results' gradients */
    size_t operand_planes;     /* of one transform */
    struct winograd_product product[POINT_VALUES];
};

/* For kernels of kernel x kernel, stride 2, and that many channels a phase. */
void winograd_init(struct winograd *w, const struct point_set *set, size_t kernel,
                   size_t channels);

/* Multiplications for a channel pair of direct convolution's kernel^2. */
double winograd_multiplications(const struct winograd *w);

/* Where the transform of one phase puts its values, as the kernels want it.
 * Operands of products that need not all phases share planes: x_planes planes
 * hold rows of 4 * channels.  plane and channel: values from one to the next. */
void winograd_operand(struct planes *to, const struct winograd *w, size_t phase, size_t plane,
                      size_t channel);
/* Where one finds such an operand's gradient to bring it back: in the same planes,
 * re and im in the first two of a complex product's. */
void winograd_operand_gradient(struct planes *from, const struct winograd *w, size_t phase,
                               size_t plane, size_t channel);
/* The same for the products' results: y_planes planes. */
void winograd_result(struct planes *to, const struct winograd *w, size_t plane);

/* Where the result's gradient g goes, which the products of both gradients read:
 * dy_planes planes.  A real product's is the same for either side; a complex one
 * has the left side's three, then what the right side adds: im-re and -(re+im). */
void winograd_result_gradient(struct planes *to, const struct winograd *w, enum operand_side side,
                              size_t plane);

#endif
