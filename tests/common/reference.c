/*
 * reference.c - see reference.h.  Written to be read, not to be fast.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/common/reference.h"

void reference_product(double *c, double *size, size_t m, size_t n, size_t k, const double *a,
                       const double *b)
{
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = 0, sum_abs = 0;
            for (size_t p = 0; p < k; p++) {
                sum += a[i * k + p] * b[p * n + j];
                sum_abs += fabs(a[i * k + p] * b[p * n + j]);
            }
            c[i * n + j] = sum;
            if (size)
                size[i * n + j] = sum_abs;
        }
}

/* Calls visit for every multiplication of the layer: out index, in index,
 * weight index. */
struct conv_walk {
    double *d_in, *d_weight, *out;
    const double *in, *weight, *d_out;
};

static void conv_walk(const struct reference_conv *r, const struct conv_walk *w)
{
    const size_t rows = (r->height - r->kernel) / r->stride + 1;
    const size_t cols = (r->width - r->kernel) / r->stride + 1;
    for (size_t y = 0; y < rows; y++)
        for (size_t x = 0; x < cols; x++)
            for (size_t i = 0; i < r->kernel; i++)
                for (size_t j = 0; j < r->kernel; j++)
                    for (size_t c = 0; c < r->in_channels; c++)
                        for (size_t o = 0; o < r->out_channels; o++) {
                            size_t at_out = (y * cols + x) * r->out_channels + o;
                            size_t row = y * r->stride + i, col = x * r->stride + j;
                            size_t at_in = (row * r->width + col) * r->in_channels + c;
                            size_t at_w =
                                ((o * r->in_channels + c) * r->kernel + i) * r->kernel + j;
                            if (w->out) {
                                w->out[at_out] += w->in[at_in] * w->weight[at_w];
                                continue;
                            }
                            w->d_in[at_in] += w->weight[at_w] * w->d_out[at_out];
                            w->d_weight[at_w] += w->in[at_in] * w->d_out[at_out];
                        }
}

void reference_conv(double *out, const struct reference_conv *r, const double *in,
                    const double *weight, const double *bias)
{
    const size_t pixels = ((r->height - r->kernel) / r->stride + 1) *
                          ((r->width - r->kernel) / r->stride + 1);
    for (size_t i = 0; i < pixels * r->out_channels; i++)
        out[i] = bias ? bias[i % r->out_channels] : 0;
    conv_walk(r, &(struct conv_walk){.out = out, .in = in, .weight = weight});
}

void reference_conv_backward(double *d_in, double *d_weight, const struct reference_conv *r,
                             const double *in, const double *weight, const double *d_out)
{
    memset(d_in, 0, r->height * r->width * r->in_channels * sizeof *d_in);
    conv_walk(r, &(struct conv_walk){
                     .d_in = d_in, .d_weight = d_weight, .in = in, .weight = weight, .d_out = d_out});
}

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

void reference_squash(double *v, const double *s, size_t dims)
{
    double q = dot(s, s, dims);
    for (size_t d = 0; d < dims; d++)
        v[d] = s[d] * sqrt(q) / (1 + q);
}

/* v = h(q) s, q = |s|^2, h = sqrt q / (1 + q), dh/dq = (1 - q) / (2 sqrt q (1 + q)^2). */
void reference_squash_backward(double *ds, const double *s, const double *dv, size_t dims)
{
    double q = dot(s, s, dims), root = sqrt(q);
    double slope = q > 0 ? (1 - q) / (2 * root * (1 + q) * (1 + q)) : 0;
    for (size_t d = 0; d < dims; d++)
        ds[d] = root / (1 + q) * dv[d] + 2 * slope * dot(s, dv, dims) * s[d];
}

static double prediction(const struct reference_routing *r, const double *u, size_t i, size_t j,
                         size_t e)
{
    return dot(r->weight + ((i * r->classes + j) * r->pose + e) * r->dims, u + i * r->dims,
               r->dims);
}

void reference_route(double *s, double *c, const struct reference_routing *r, const double *u,
                     const double *vsum)
{
    memset(s, 0, r->classes * r->pose * sizeof *s);
    for (size_t i = 0; i < r->capsules; i++) {
        double *ci = c + i * r->classes, top = -INFINITY, sum = 0;
        for (size_t j = 0; j < r->classes; j++) {
            ci[j] = 0;
            for (size_t e = 0; vsum && e < r->pose; e++)
                ci[j] += prediction(r, u, i, j, e) * vsum[j * r->pose + e];
            top = fmax(top, ci[j]);
        }
        for (size_t j = 0; j < r->classes; j++)
            sum += ci[j] = exp(ci[j] - top);
        for (size_t j = 0; j < r->classes; j++) {
            ci[j] /= sum;
            for (size_t e = 0; e < r->pose; e++)
                s[j * r->pose + e] += ci[j] * prediction(r, u, i, j, e);
        }
    }
}

void reference_route_backward(double *dvsum, double *gb, const struct reference_routing *r,
                              const double *u, const double *c, const double *ds)
{
    memset(dvsum, 0, r->classes * r->pose * sizeof *dvsum);
    for (size_t i = 0; i < r->capsules; i++) {
        const double *ci = c + i * r->classes;
        double *gi = gb + i * r->classes, mean = 0;
        for (size_t j = 0; j < r->classes; j++) {
            gi[j] = 0; /* dc, for now */
            for (size_t e = 0; e < r->pose; e++)
                gi[j] += prediction(r, u, i, j, e) * ds[j * r->pose + e];
            mean += ci[j] * gi[j];
        }
        for (size_t j = 0; j < r->classes; j++) {
            gi[j] = ci[j] * (gi[j] - mean);
            for (size_t e = 0; e < r->pose; e++)
                dvsum[j * r->pose + e] += gi[j] * prediction(r, u, i, j, e);
        }
    }
}

double reference_slope(double (*f)(void *), void *argument, double *x, double *error)
{
    const double at = *x, h = 1e-4;
    double slope[2], size = 0;
    for (int i = 0; i < 2; i++) {
        const double step = i ? h / 2 : h;
        *x = at + step;
        const double above = f(argument);
        *x = at - step;
        const double below = f(argument);
        slope[i] = (above - below) / (2 * step);
        size = fmax(size, fmax(fabs(above), fabs(below)));
    }
    *x = at;
    /* 256: roundings of one evaluation of f, generously. */
    *error = fabs(slope[1] - slope[0]) + 256 * DBL_EPSILON * size / h;
    return (4 * slope[1] - slope[0]) / 3;
}
