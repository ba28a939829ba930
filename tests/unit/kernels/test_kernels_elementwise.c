/*
 * test_kernels_elementwise.c - squash and its gradient, ReLU's gradient, Adam
 * and the sigmoid of every CPU level against double precision.
 */
#include <math.h>
#include <string.h>

#include "tests/common/kernel_check.h"
#include "tests/common/reference.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const size_t counts[] = {0, 1, 3, 37};
static const size_t dim_sizes[] = {1, 4, 8, 12, 16};

/* Vectors whose lengths run over all of squash's regimes, one per lane:
 * [count][dims][lanes]. */
static float *random_vectors(struct random *random, size_t count, size_t dims)
{
    static const double lengths[] = {0,   1e-45, 1e-40, 1e-23, 1e-20, 1e-15, 1e-5, 0.1,
                                     0.5, 1,     2,     100,   1e4,   1e8,   1e12, 1e18};
    float *s = check_floats(count * dims * KERNEL_LANES);
    for (size_t i = 0; i < count; i++)
        for (size_t lane = 0; lane < KERNEL_LANES; lane++) {
            const double length = lengths[random_below(random, COUNT(lengths))];
            for (size_t d = 0; d < dims; d++)
                s[(i * dims + d) * KERNEL_LANES + lane] = (float)(length * random_real(random));
        }
    return s;
}

/* One lane of one vector of [count][dims][lanes]. */
static void gather(double *v, const float *src, size_t i, size_t dims, size_t lane)
{
    for (size_t d = 0; d < dims; d++)
        v[d] = (double)src[(i * dims + d) * KERNEL_LANES + lane];
}

/* What underflow takes from |s|: each of dims squares loses a smallest float. */
static double lost_length(size_t dims)
{
    return sqrt((double)dims * (double)FLT_TRUE_MIN);
}

/* ---- Squash ------------------------------------------------------------- */

/* Bound: all terms are positive, so relative: dims + 1 roundings of |s|^2
 * (halved by the root, not so by 1 + |s|^2) and 5 more. */
static void squash_case(const struct kernels *k, struct random *random, struct worst *worst,
                        size_t count, size_t dims)
{
    const size_t n = count * dims * KERNEL_LANES;
    const float *s = random_vectors(random, count, dims);
    float *v[SIDES], *in_place[SIDES];
    for (enum side side = 0; side < SIDES; side++) {
        v[side] = guard_output(n, side);
        k->squash(v[side], guard_input(s, n, side), count, dims);
        in_place[side] = guard_update(s, n, side);
        k->squash(in_place[side], in_place[side], count, dims);
        check_bits(in_place[side], v[0], n, "squash in place");
    }
    check_bits(v[0], v[1], n, "squash");
    for (size_t i = 0; i < count; i++)
        for (size_t lane = 0; lane < KERNEL_LANES; lane++) {
            double in[16], want[16], length = 0;
            gather(in, s, i, dims, lane);
            reference_squash(want, in, dims);
            for (size_t d = 0; d < dims; d++) {
                const double got = (double)v[0][(i * dims + d) * KERNEL_LANES + lane];
                const double bound = ((double)dims + 6) * ROUNDING * fabs(want[d]) +
                                     fabs(in[d]) * lost_length(dims) + (double)FLT_TRUE_MIN;
                check_value(worst, got, want[d], bound, "dims %zu, s = %g: v[%zu]", dims, in[d], d);
                length += got * got;
            }
            if (sqrt(length) > 1 + ((double)dims + 6) * ROUNDING)
                fail_msg("squash made a vector of length %.9g", sqrt(length));
        }
    check_release();
}

/* Lengths stay below 1 where |s|^2 overflows; NaN stays NaN; neither touches
 * the other lanes. */
static void squash_extremes(const struct kernels *k, struct random *random)
{
    static const float extremes[] = {1e19f, 1e20f, 3e38f, INFINITY};
    enum { DIMS = 8 };
    const float *s = random_vectors(random, 1, DIMS);
    float v[DIMS * KERNEL_LANES], t[DIMS * KERNEL_LANES], w[DIMS * KERNEL_LANES];
    k->squash(v, s, 1, DIMS);
    for (size_t x = 0; x <= COUNT(extremes); x++) {
        const size_t bad = random_below(random, KERNEL_LANES);
        double length = 0;
        memcpy(t, s, sizeof t);
        for (size_t d = 0; d < DIMS; d++)
            t[d * KERNEL_LANES + bad] = x < COUNT(extremes) ? extremes[x] : NAN;
        k->squash(w, t, 1, DIMS);
        for (size_t lane = 0; lane < KERNEL_LANES; lane++)
            if (lane != bad)
                check_lane(w, lane, v, lane, DIMS, "squash beside an extreme lane");
        for (size_t d = 0; d < DIMS; d++)
            length += pow((double)w[d * KERNEL_LANES + bad], 2);
        if (x < COUNT(extremes) && !(sqrt(length) <= 1 + (DIMS + 6) * ROUNDING))
            fail_msg("s = %g: squash made a length of %g", (double)extremes[x], sqrt(length));
        if (x == COUNT(extremes) && !isnan(length))
            fail_msg("squash made %g of NaN", length);
    }
}

static void test_squash(const struct kernels *k, struct random *random, struct worst *worst)
{
    for (size_t i = 0; i < COUNT(counts); i++)
        for (size_t j = 0; j < COUNT(dim_sizes); j++)
            squash_case(k, random, worst, counts[i], dim_sizes[j]);
    squash_extremes(k, random);
}

/* ---- Its gradient ------------------------------------------------------- */

struct squash_loss {
    size_t dims;
    double s[16], dv[16];
};

static double squash_loss(void *argument)
{
    const struct squash_loss *l = argument;
    double v[16], sum = 0;
    reference_squash(v, l->s, l->dims);
    for (size_t d = 0; d < l->dims; d++)
        sum += v[d] * l->dv[d];
    return sum;
}

/* ds = h dv + k (s . dv) s.  Its terms are at most h |dv_d| and, with
 * |k| <= 1 / (|s| (1 + |s|^2)), sum |s||dv| |s_d| / (|s| (1 + |s|^2)).
 * Below 1e-18 the kernel's |s| may be off by all of itself. */
static double squash_backward_bound(const struct squash_loss *l, size_t d)
{
    double q = 0, dot = 0, dv = 0;
    for (size_t e = 0; e < l->dims; e++) {
        q += l->s[e] * l->s[e];
        dot += fabs(l->s[e] * l->dv[e]);
        dv += fabs(l->dv[e]);
    }
    const double root = sqrt(q);
    const double size = root > 0 ? root / (1 + q) * fabs(l->dv[d]) +
                                       dot / root * fabs(l->s[d]) / (1 + q)
                                 : 0;
    return (2 * (double)l->dims + 12) * (ROUNDING * size + (double)FLT_TRUE_MIN) +
           (lost_length(l->dims) + 1e-18) * dv;
}

static void squash_backward_case(const struct kernels *k, struct random *random,
                                 struct worst *worst, size_t count, size_t dims)
{
    const size_t n = count * dims * KERNEL_LANES;
    const float *s = random_vectors(random, count, dims);
    float *dv = check_floats(n), *ds[SIDES], *in_place[SIDES];
    random_fill(random, dv, n, MAGNITUDE_ONE);
    for (enum side side = 0; side < SIDES; side++) {
        ds[side] = guard_output(n, side);
        k->squash_backward(ds[side], guard_input(s, n, side), guard_input(dv, n, side), count,
                           dims);
        in_place[side] = guard_update(dv, n, side);
        k->squash_backward(in_place[side], guard_input(s, n, side), in_place[side], count, dims);
        check_bits(in_place[side], ds[0], n, "squash_backward in place");
    }
    check_bits(ds[0], ds[1], n, "squash_backward");
    for (size_t i = 0; i < count; i++)
        for (size_t lane = 0; lane < KERNEL_LANES; lane++) {
            struct squash_loss l = {.dims = dims};
            double want[16], length = 0;
            gather(l.s, s, i, dims, lane);
            gather(l.dv, dv, i, dims, lane);
            reference_squash_backward(want, l.s, l.dv, dims);
            for (size_t d = 0; d < dims; d++)
                length += fabs(l.s[d]);
            for (size_t d = 0; d < dims; d++) {
                const double got = (double)ds[0][(i * dims + d) * KERNEL_LANES + lane];
                const double bound = squash_backward_bound(&l, d);
                check_value(worst, got, want[d], bound, "dims %zu, s = %g: ds[%zu]", dims, l.s[d],
                            d);
                if (length == 0 && got != 0)
                    fail_msg("the gradient of squash at s = 0 is %g", got);
                if (length < 0.05 || length > 10)
                    continue; /* too curved or too flat for differences */
                double error, slope = reference_slope(squash_loss, &l, &l.s[d], &error);
                check_value(worst, got, slope, bound + error, "dims %zu: slope %zu", dims, d);
            }
        }
    check_release();
}

static void test_squash_backward(const struct kernels *k, struct random *random,
                                 struct worst *worst)
{
    for (size_t i = 0; i < COUNT(counts); i++)
        for (size_t j = 0; j < COUNT(dim_sizes); j++)
            squash_backward_case(k, random, worst, counts[i], dim_sizes[j]);
    /* A lane of NaN leaves its neighbours' bits alone. */
    enum { DIMS = 8 };
    const float *s = random_vectors(random, 1, DIMS);
    float dv[DIMS * KERNEL_LANES], ds[2][DIMS * KERNEL_LANES], t[DIMS * KERNEL_LANES];
    const size_t bad = random_below(random, KERNEL_LANES);
    random_fill(random, dv, COUNT(dv), MAGNITUDE_ONE);
    memcpy(t, s, sizeof t);
    canary_fill(t + bad, 1);
    k->squash_backward(ds[0], s, dv, 1, DIMS);
    k->squash_backward(ds[1], t, dv, 1, DIMS);
    for (size_t lane = 0; lane < KERNEL_LANES; lane++)
        if (lane != bad)
            check_lane(ds[1], lane, ds[0], lane, DIMS, "squash_backward beside a lane of NaN");
}

/* ---- ReLU's gradient ------------------------------------------------------ */

/* dx is exact; db rounds once for each row. */
/* The bits of n values, n a multiple of 16, in as many floats as hold them. */
static size_t bit_floats(size_t n)
{
    return (n / 16 + 1) / 2;
}

static void positive_case(const struct kernels *k, struct random *random, size_t n)
{
    float *x = check_floats(n), *out[SIDES];
    random_fill(random, x, n, MAGNITUDE_HOSTILE);
    for (size_t at = 5; at < n; at += 11)
        canary_fill(x + at, 1); /* a NaN is not above 0 */
    for (enum side side = 0; side < SIDES; side++) {
        out[side] = guard_output(bit_floats(n), side);
        k->positive((uint16_t *)(void *)out[side], guard_input(x, n, side), n);
    }
    for (enum side side = 0; side < SIDES; side++)
        for (size_t at = 0; at < n; at++) {
            const uint16_t *bits = (const uint16_t *)(const void *)out[side];
            if ((bits[at / 16] >> at % 16 & 1) != (x[at] > 0))
                fail_msg("positive of %zu: bit %zu of %g", n, at, (double)x[at]);
        }
    check_release();
}

static void test_positive(const struct kernels *k, struct random *random, struct worst *worst)
{
    (void)worst;
    for (size_t n = 0; n <= 7 * KERNEL_PAD; n += KERNEL_PAD)
        for (int repeat = 0; repeat < 4; repeat++)
            positive_case(k, random, n);
}

static void relu_backward_case(const struct kernels *k, struct random *random,
                               struct worst *worst, size_t rows, size_t n)
{
    float *x = check_floats(rows * n), *dx = check_floats(rows * n), *db = check_floats(n);
    float *dx_out[SIDES], *db_out[SIDES], *bits = check_floats(bit_floats(rows * n));
    random_fill(random, x, rows * n, MAGNITUDE_HOSTILE);
    for (size_t at = 0; at < rows * n; at++)
        ((uint16_t *)(void *)bits)[at / 16] |= (uint16_t)((x[at] > 0) << at % 16);
    random_fill(random, dx, rows * n, MAGNITUDE_ONE);
    random_fill(random, db, n, MAGNITUDE_ONE);
    for (enum side side = 0; side < SIDES; side++) {
        dx_out[side] = guard_update(dx, rows * n, side);
        db_out[side] = guard_update(db, n, side);
        k->relu_backward(dx_out[side],
                         (const uint16_t *)(const void *)guard_input(bits, bit_floats(rows * n), side),
                         db_out[side], rows, n);
    }
    check_bits(dx_out[0], dx_out[1], rows * n, "relu_backward's dx");
    check_bits(db_out[0], db_out[1], n, "relu_backward's db");
    for (size_t j = 0; j < n; j++) {
        double sum = (double)db[j], size = fabs(sum);
        for (size_t at = j; at < rows * n; at += n) {
            const double want = x[at] > 0 ? (double)dx[at] : 0;
            check_value(worst, (double)dx_out[0][at], want, 0, "dx[%zu] where x = %g", at,
                        (double)x[at]);
            sum += want;
            size += fabs(want);
        }
        check_value(worst, (double)db_out[0][j], sum, (double)rows * ROUNDING * size,
                    "%zu x %zu: db[%zu]", rows, n, j);
    }
    check_release();
}

static void test_relu_backward(const struct kernels *k, struct random *random,
                               struct worst *worst)
{
    for (size_t n = 0; n <= 7 * KERNEL_PAD; n += KERNEL_PAD)
        for (size_t rows = 0; rows <= 9; rows += 3)
            relu_backward_case(k, random, worst, rows, n);
}

/* ---- Adam --------------------------------------------------------------- */

static const double ALPHA = 1e-3, EPSILON = 1e-8;
static const float BETA1 = 0.9f, BETA2 = 0.999f, DECAY = 0.99f;

/* The textbook's moments, from the kernel's own before the step. */
struct adam {
    double w, m, v, ema;
};

static struct adam adam_step(struct adam a, double g, int t)
{
    const double b1 = (double)BETA1, b2 = (double)BETA2, decay = (double)DECAY;
    a.m = b1 * a.m + (1 - b1) * g;
    a.v = b2 * a.v + (1 - b2) * g * g;
    a.w -= ALPHA * (a.m / (1 - pow(b1, t))) / (sqrt(a.v / (1 - pow(b2, t))) + EPSILON);
    a.ema = decay * a.ema + (1 - decay) * a.w;
    return a;
}

/* Each moment rounds at most 4 times, each term of it no larger than what is
 * summed here; the step w takes inherits the moments' relative errors (half of
 * v's, as a root) and rounds 4 times more, rate and epsilon being floats too. */
static void adam_check(struct worst *worst, const struct adam *old, const struct adam *want,
                       const struct adam *got, double g, int t)
{
    const double b1 = (double)BETA1, b2 = (double)BETA2, u = ROUNDING;
    const double tiny = (double)FLT_TRUE_MIN;
    const double m_error = 4 * (u * (fabs(old->m) + 2 * (1 - b1) * (fabs(g) + fabs(old->m))) + tiny);
    const double v_error = 4 * (u * (old->v + 2 * (1 - b2) * (g * g + old->v)) + tiny);
    check_value(worst, got->m, want->m, m_error, "m after step %d, g = %g", t, g);
    check_value(worst, got->v, want->v, v_error, "v after step %d, g = %g", t, g);
    const double rate = ALPHA * sqrt(1 - pow(b2, t)) / (1 - pow(b1, t));
    const double below = sqrt(want->v) + EPSILON * sqrt(1 - pow(b2, t));
    /* |d sqrt v| <= d v / (2 sqrt v), and never more than sqrt(d v). */
    const double root_error = fmin(sqrt(v_error), v_error / sqrt(want->v + tiny));
    const double step_error =
        rate / below * (m_error + fabs(want->m) * (root_error / below + 8 * u));
    const double w_error = step_error + u * fabs(want->w) + tiny;
    check_value(worst, got->w, want->w, w_error, "w after step %d, g = %g", t, g);
    check_value(worst, got->ema, want->ema,
                w_error + 4 * (u * (fabs(old->ema) + fabs(want->w)) + tiny),
                "ema after step %d, g = %g", t, g);
}

static void adam_case(const struct kernels *k, struct random *random, struct worst *worst,
                      size_t n, enum magnitude magnitude)
{
    float *w[SIDES], *m[SIDES], *v[SIDES], *ema[SIDES], *bare[3];
    float *start = check_floats(n), *zero = check_floats(n), *g = check_floats(n);
    random_fill(random, start, n, MAGNITUDE_ONE);
    for (enum side side = 0; side < SIDES; side++) {
        w[side] = guard_update(start, n, side);
        m[side] = guard_update(zero, n, side);
        v[side] = guard_update(zero, n, side);
        ema[side] = guard_update(start, n, side);
    }
    bare[0] = guard_update(start, n, SIDE_END);
    bare[1] = guard_update(zero, n, SIDE_END);
    bare[2] = guard_update(zero, n, SIDE_END);
    struct adam *old = (struct adam *)(void *)check_doubles(4 * n);
    for (int t = 1; t <= 6; t++) {
        const float rate = (float)(ALPHA * sqrt(1 - pow((double)BETA2, t)) /
                                   (1 - pow((double)BETA1, t)));
        const float epsilon = (float)(EPSILON * sqrt(1 - pow((double)BETA2, t)));
        random_fill(random, g, n, magnitude);
        for (size_t i = 0; i < n; i++)
            old[i] = (struct adam){(double)w[0][i], (double)m[0][i], (double)v[0][i],
                                   (double)ema[0][i]};
        for (enum side side = 0; side < SIDES; side++)
            k->adam(n, w[side], g, m[side], v[side], ema[side], rate, BETA1, BETA2, epsilon, DECAY);
        k->adam(n, bare[0], g, bare[1], bare[2], NULL, rate, BETA1, BETA2, epsilon, DECAY);
        for (size_t i = 0; i < n; i++) {
            const struct adam got = {(double)w[0][i], (double)m[0][i], (double)v[0][i],
                                     (double)ema[0][i]};
            const struct adam want = adam_step(old[i], (double)g[i], t);
            adam_check(worst, &old[i], &want, &got, (double)g[i], t);
        }
        check_bits(w[1], w[0], n, "adam's w");
        check_bits(m[1], m[0], n, "adam's m");
        check_bits(v[1], v[0], n, "adam's v");
        check_bits(ema[1], ema[0], n, "adam's average");
        check_bits(bare[0], w[0], n, "w of adam without an average");
    }
    check_release();
}

static void test_adam(const struct kernels *k, struct random *random, struct worst *worst)
{
    for (size_t n = 0; n <= 5 * KERNEL_PAD; n += KERNEL_PAD) {
        adam_case(k, random, worst, n, MAGNITUDE_ONE);
        adam_case(k, random, worst, n, MAGNITUDE_HOSTILE);
    }
}

/* ---- Sigmoid ------------------------------------------------------------ */

/* Bound: exp to 2 ulp (4 u), a sum, a quotient and a product make 8 u,
 * relative; exp stops at exp(-87) < 2 FLT_MIN. */
static void test_sigmoid(const struct kernels *k, struct random *random, struct worst *worst)
{
    static const float special[] = {0,    -0.0f, 1e-45f, -1e-45f, 1,    -1,        16,       -16,  86.9f,
                                    -87,  -88,   -89,    -104,    1000, -1000,     3e38f,    -3e38f,
                                    17.5f, INFINITY, -INFINITY};
    for (size_t n = 0; n <= 50 * KERNEL_PAD; n += 10 * KERNEL_PAD) {
        float *x = check_floats(n), *y[SIDES];
        for (size_t i = 0; i < n; i++)
            x[i] = i < COUNT(special) ? special[i] : (float)(100 * pow(random_real(random), 3));
        for (enum side side = 0; side < SIDES; side++) {
            y[side] = guard_update(x, n, side);
            k->sigmoid(y[side], n);
        }
        check_bits(y[0], y[1], n, "sigmoid");
        for (size_t i = 0; i < n; i++) {
            const double want = 1 / (1 + exp(-(double)x[i]));
            check_value(worst, (double)y[0][i], want, 8 * ROUNDING * want + 2 * (double)FLT_MIN,
                        "sigmoid(%.9g)", (double)x[i]);
        }
        check_release();
    }
}

/* ---- Timing ------------------------------------------------------------- */

enum { BENCH_N = 1 << 18 }; /* floats: 1 MiB an array, as of some capsules' weights */

static void call_squash(const struct kernels *k, void *argument)
{
    float *const *p = argument;
    k->squash(p[1], p[0], BENCH_N / 8 / KERNEL_LANES, 8);
}

static void call_squash_backward(const struct kernels *k, void *argument)
{
    float *const *p = argument;
    k->squash_backward(p[1], p[0], p[2], BENCH_N / 8 / KERNEL_LANES, 8);
}

static void call_relu_backward(const struct kernels *k, void *argument)
{
    float *const *p = argument;
    k->relu_backward(p[1], (const uint16_t *)(const void *)p[0], p[2], BENCH_N / 256, 256);
}

static void call_adam(const struct kernels *k, void *argument)
{
    float *const *p = argument;
    k->adam(BENCH_N, p[1], p[0], p[2], p[3], p[4], 1e-6f, BETA1, BETA2, 1e-8f, DECAY);
}

static void call_sigmoid(const struct kernels *k, void *argument)
{
    float *const *p = argument;
    k->sigmoid(p[1], BENCH_N);
}

static void bench_on(const struct kernels *k, const char *name, double bytes,
                     void (*call)(const struct kernels *k, void *argument))
{
    float *p[5];
    struct random random = {1};
    for (size_t i = 0; i < COUNT(p); i++) {
        p[i] = guard_output(BENCH_N, SIDE_START);
        random_fill(&random, p[i], BENCH_N, MAGNITUDE_ONE);
    }
    for (size_t i = 0; i < BENCH_N; i++)
        p[3][i] = fabsf(p[3][i]); /* adam's v */
    bench_print(k, name, bytes * BENCH_N, "GB/s", call, p);
}

static void bench_squash(const struct kernels *k)
{
    bench_on(k, "squash", 8, call_squash);
}

static void bench_squash_backward(const struct kernels *k)
{
    bench_on(k, "squash_backward", 12, call_squash_backward);
}

static void bench_relu_backward(const struct kernels *k)
{
    bench_on(k, "relu_backward", 8, call_relu_backward);
}

static void bench_adam(const struct kernels *k)
{
    bench_on(k, "adam", 36, call_adam);
}

static void bench_sigmoid(const struct kernels *k)
{
    bench_on(k, "sigmoid", 8, call_sigmoid);
}

int main(void)
{
    static const struct check checks[] = {
        {"squash", test_squash, bench_squash},
        {"squash_backward", test_squash_backward, bench_squash_backward},
        {"positive", test_positive, NULL},
        {"relu_backward", test_relu_backward, bench_relu_backward},
        {"adam", test_adam, bench_adam},
        {"sigmoid", test_sigmoid, bench_sigmoid},
    };
    return check_main(checks, COUNT(checks));
}
