/*
 * reference.h - the network's equations as plain loops in double precision,
 * one image at a time, for tests to hold kernels and layers against.  Nothing
 * here shares code or layout with what it tests.  All arrays are dense and
 * row-major; the caller owns them; no output may overlap an input.
 */
#ifndef REFERENCE_H
#define REFERENCE_H

#include <stddef.h>

/* c = a b, and what a rounding error of it is measured by:
 * size = sum_p |a[i][p]| |b[p][j]|.
 * c, size [m][n] (size may be NULL); a [m][k]; b [k][n]. */
void reference_product(double *c, double *size, size_t m, size_t n, size_t k, const double *a,
                       const double *b);

/* A convolution layer as the field means it (a correlation):
 *   out[y][x][o] = bias[o] + sum_cij in[y stride + i][x stride + j][c] weight[o][c][i][j]. */
struct reference_conv {
    size_t height, width, in_channels, out_channels, kernel, stride;
};

/* in [height][width][in_channels]; weight [out][in][kernel][kernel]; bias
 * [out] or NULL; out [(height-kernel)/stride+1][(width-kernel)/stride+1][out]. */
void reference_conv(double *out, const struct reference_conv *r, const double *in,
                    const double *weight, const double *bias);

/* Given the gradient of out, the gradient of in (overwritten) and what is
 * added to the gradient of weight; shapes as above. */
void reference_conv_backward(double *d_in, double *d_weight, const struct reference_conv *r,
                             const double *in, const double *weight, const double *d_out);

/* v = s |s| / (1 + |s|^2).  v, s [dims]. */
void reference_squash(double *v, const double *s, size_t dims);

/* ds = J^T dv at s, 0 at s = 0.  ds, s, dv [dims]. */
void reference_squash_backward(double *ds, const double *s, const double *dv, size_t dims);

/* weight [capsules][classes][pose][dims]. */
struct reference_routing {
    size_t capsules, classes, pose, dims;
    const double *weight;
};

/* One pass of routing by agreement:
 *   u_hat = W u;  c_i = softmax_j(u_hat_ij . vsum_j);  s_j = sum_i c_ij u_hat_ij.
 * u [capsules][dims]; vsum [classes][pose], NULL for zero; s [classes][pose];
 * c [capsules][classes]. */
void reference_route(double *s, double *c, const struct reference_routing *r, const double *u,
                     const double *vsum);

/* Its gradient: given ds [classes][pose] and c,
 *   dc = u_hat . ds;  gb = c (dc - sum_k c_k dc_k);  dvsum_j = sum_i gb_ij u_hat_ij;
 *   du_hat = c ds + gb vsum.
 * gb [capsules][classes]; dvsum [classes][pose]. */
void reference_route_backward(double *dvsum, double *gb, const struct reference_routing *r,
                              const double *u, const double *c, const double *ds);

/* df/dx at *x by central differences of steps h = 1e-4 and h/2, extrapolated.
 * *error receives a bound of its own error: the two differences' distance
 * (truncation) and the rounding of f over h.  *x is put back. */
double reference_slope(double (*f)(void *), void *argument, double *x, double *error);

#endif
