/*
 * measure_plan.c - from how many images on PrimaryCaps is faster in the transform
 * domain.  Directly an image costs about the same in a batch of any size; there the
 * weights, five times as many, are read once a batch: so there is one such number, if any.  It
 * is looked for among a few sizes, from sizes[FIRST] downward, or upward between that and the
 * largest, which is looked at next, until the faster plan changes from one size to the next; it
 * lies where the ratio of the two is 1, taken as a straight line over 1 / size, as what is read
 * once a batch makes it.
 * Directly only what is not zero counts, so that it is measured with drawings that have as much
 * ink as digits; and what routing and the decoder read puts weights out of the caches, so that
 * whole passes are measured.
 */
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "model/inference/inference.h"
#include "model/layers/layers.h"

enum { SIZES = 9, FEW = 14, LARGEST = 64, SETS = 4, MOST = 12 };
_Static_assert(SETS * FEW <= LARGEST, "all sets are among the drawings");

/* A size is measured until it is believed, and for more turns in so much time, up to MOST, while
 * it is not clear which plan is faster: the largest for longer, since where that is faster
 * directly all are. */
static const uint64_t SIZE_NS = 60000000, LARGEST_NS = 120000000;

/* One turn of which the plans are 1.65 times apart is enough, or two of which they are 1.28. */
static const double CLEAR = 0.5;

/* Images.  The spectral plan's products take them by tiles of up to 12 in bf16 and int8, and
 * another tile costs much: 14 are two, 18 half of the way to the third. */
static const size_t sizes[SIZES] = {1, 2, 4, 8, 14, 18, 24, 32, LARGEST};
enum { FIRST = 3 }; /* of sizes: 8 */

static double fraction(double x)
{
    return x - floor(x);
}

/* n images to measure with: rings, every second with a bar through it, which leave about as
 * much behind conv1's ReLU as MNIST's digits do. */
static void draw_rings(const struct capsnet_shape *shape, size_t n, float *images)
{
    const size_t h = shape->height, w = shape->width, channels = shape->channels;
    for (size_t i = 0; i < n; i++) {
        const double wide = 1.05 + 0.6 * fraction(0.618034 * (double)i);
        const double radius = 0.18 + 0.1 * fraction(0.754878 * (double)i);
        const double slant = fraction(0.56984 * (double)i) - 0.5;
        for (size_t p = 0; p < h * w; p++) {
            const double x = ((double)(p % w) + 0.5) / (double)w - 0.5;
            const double y = ((double)(p / w) + 0.5) / (double)h - 0.5;
            const double ring = fabs(hypot(wide * x + 0.3 * slant * y, y) - radius);
            const double bar = i % 2 ? fabs(x + slant * y) + fmax(0, fabs(y) - 0.3) : 1;
            const double ink = 1.5 - 25 * fmin(ring, bar);
            for (size_t c = 0; c < channels; c++)
                images[(i * h * w + p) * channels + c] = (float)fmin(1, fmax(0, ink));
        }
    }
}

struct search {
    struct capsnet_workspace *ws;
    float *images;                     /* [LARGEST] */
    float *lengths, *poses, *pictures; /* [LARGEST] of each */
    clockid_t clock;
    uint64_t until_ns;
    double image_ns; /* an image's on the wall, by both plans together, in the last turn */
    double ratio[SIZES]; /* how many times as long spectrally, of each size that was measured */
};

static double now_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

/* Nanoseconds of a pass of n drawings, with as many pictures. */
static double run(const struct search *s, enum plan plan, size_t n, size_t first)
{
    static const size_t classes[LARGEST];
    const double start = now_ns(s->clock);
    forward_by_plan(s->ws, plan, n, s->images + first * s->ws->model->at.pixels, s->lengths,
                    s->poses, NULL);
    capsnet_decode(s->ws, n, s->poses, classes, s->pictures);
    return now_ns(s->clock) - start;
}

/* Of a turn, of which the fastest counts: what disturbs a pass makes it longer, and so do the
 * other plan's weights in the caches, for up to three.  A pass of the largest size is long beside
 * that: there the plans take turns pass by pass, so that what lasts for two disturbs both. */
static size_t passes_of_turn(size_t n)
{
    return n < 32 ? 4 : n < LARGEST ? 3 : 1;
}

/* Nanoseconds of n drawings' fastest pass; adds to *spent_ns what one takes on the wall, if there
 * are several without the first, which may touch memory for the first time. */
static double fastest(const struct search *s, enum plan plan, size_t n, size_t first,
                      double *spent_ns)
{
    const size_t passes = passes_of_turn(n), counted = passes > 1 ? passes - 1 : 1;
    double least = INFINITY;
    uint64_t begin = phase_clock();
    for (size_t i = 0; i < passes; i++) {
        if (i + counted == passes)
            begin = phase_clock();
        least = fmin(least, run(s, plan, n, first));
    }
    *spent_ns += (double)(phase_clock() - begin) / (double)counted;
    return least;
}

/* Of a size: the fastest pass of each set of drawings, by plan. */
struct passes {
    size_t turns, sets;
    double least_ns[SETS][PLANS];
};

/* How many times as long its images take spectrally, NAN before the first turn: the upper
 * median of the sets, since for a moment at the start two threads may have one CPU. */
static double ratio_of(const struct passes *p)
{
    double ratios[SETS];
    const size_t n = smaller(p->turns, p->sets);
    for (size_t set = 0; set < n; set++) {
        const double ratio = p->least_ns[set][PLAN_SPECTRAL] / p->least_ns[set][PLAN_DIRECT];
        size_t i = set;
        for (; i > 0 && ratios[i - 1] > ratio; i--)
            ratios[i] = ratios[i - 1];
        ratios[i] = ratio;
    }
    return n ? ratios[n / 2] : NAN;
}

/* Not a single turn that is faster spectrally: one that was disturbed may say so, and all larger
 * batches would follow it.  Nor a single one of the largest size, which all sizes follow: the
 * first touches memory for the first time, more of it spectrally. */
static int is_believed(const struct passes *p, size_t n)
{
    return p->turns > 1 || (p->turns == 1 && n < LARGEST && ratio_of(p) >= 1);
}

/* Is a turn of that many nanoseconds worth them, after `spent`?  Of the largest size more are if
 * it seems to be a little faster spectrally: it may have been disturbed. */
static int is_unclear(const struct passes *p, size_t n, uint64_t spent, uint64_t turn)
{
    const double ratio = ratio_of(p);
    if (!is_believed(p, n) || (n == LARGEST && p->turns < 4 && ratio > 0.8 && ratio < 1))
        return 1;
    return fabs(log(ratio)) * (double)p->turns < CLEAR && p->turns < MOST &&
           spent + turn <= (n < LARGEST ? SIZE_NS : LARGEST_NS);
}

/* ratio_of() n images.  Both plans in turns; a few images in several sets, since pictures differ.
 * NAN, where the time does not reach for it to be believed. */
static double compare(struct search *s, size_t n)
{
    struct passes p = {.sets = n < FEW ? SETS : 1};
    const uint64_t begin = phase_clock();
    for (;; p.turns++) {
        const size_t set = p.turns % p.sets;
        const uint64_t turn = (uint64_t)(s->image_ns * (double)(n * passes_of_turn(n)));
        const uint64_t now = phase_clock();
        if (now + turn >= s->until_ns || !is_unclear(&p, n, now - begin, turn))
            return is_believed(&p, n) ? ratio_of(&p) : NAN;
        double spent_ns = 0;
        for (enum plan plan = 0; plan < PLANS; plan++) {
            const double ns = fastest(s, plan, n, set * FEW, &spent_ns);
            p.least_ns[set][plan] = p.turns < p.sets ? ns : fmin(ns, p.least_ns[set][plan]);
        }
        s->image_ns = spent_ns / (double)n;
    }
}

/* The largest batch that is faster directly by the ratios at sizes[i], where it is, and at
 * sizes[k]; that may be beyond it. */
static size_t crossing(const struct search *s, size_t i, size_t k)
{
    const double slope = (s->ratio[i] - s->ratio[k]) / (1 / (double)sizes[i] - 1 / (double)sizes[k]);
    const double inverse = 1 / (double)sizes[k] + (1 - s->ratio[k]) / slope;
    return slope > 0 && inverse > 1e-6 ? (size_t)(1 / inverse) : SIZE_MAX;
}

/* Finds out ratio[i]; 0 where the time does not reach. */
static int measure(struct search *s, size_t i)
{
    s->ratio[i] = compare(s, sizes[i]);
    return !isnan(s->ratio[i]);
}

/* The crossing above sizes[i], which is faster directly: between it and the largest size that
 * the time reaches for, or beyond. */
static size_t search_upward(struct search *s, size_t i, size_t expected)
{
    size_t k = SIZES - 1;
    while (k > i && !measure(s, k))
        k--;
    if (s->ratio[k] >= 1 && k < SIZES - 1) /* what is beyond that was not found out */
        return expected > sizes[k] ? expected : sizes[k];
    if (s->ratio[k] >= 1)
        return crossing(s, i, k);
    for (size_t middle; (middle = (i + k) / 2) > i && measure(s, middle);) {
        if (s->ratio[middle] >= 1)
            i = middle;
        else
            k = middle;
    }
    return crossing(s, i, k);
}

/* The largest batch that is faster directly; where the time does not reach, what is expected,
 * as far as nothing speaks against it. */
static size_t search(struct search *s, size_t expected)
{
    if (!measure(s, FIRST))
        return expected;
    if (s->ratio[FIRST] >= 1)
        return search_upward(s, FIRST, expected);
    for (size_t i = FIRST; i > 0; i--) {
        if (!measure(s, i - 1))
            return smaller(expected, sizes[i] - 1);
        if (s->ratio[i - 1] >= 1)
            return crossing(s, i - 1, i);
    }
    return 0;
}

void capsnet_model_measure(struct capsnet_model *model, size_t threads, double seconds)
{
    struct capsnet_error error;
    struct search s = {
        /* What others take of the machine is not in the processor time of the caller, who
         * is the only thread or one of several. */
        .clock = threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC,
        .until_ns = phase_clock() + (uint64_t)(1e9 * seconds),
    };
    if (!model->is_spectral || model->is_plan_fixed ||
        capsnet_workspace_create(&s.ws, model, LARGEST, threads, &error) != CAPSNET_OK)
        return;
    const struct layout *at = &model->at;
    float *floats = calloc(LARGEST * at->pixels +
                               LARGEST * (model->shape.classes + at->outputs + at->pixels),
                           sizeof *floats);
    if (floats) {
        s.images = floats;
        s.pictures = s.images + LARGEST * at->pixels;
        s.lengths = s.pictures + LARGEST * at->pixels;
        s.poses = s.lengths + LARGEST * model->shape.classes;
        draw_rings(&model->shape, LARGEST, s.images);
        model->direct_max = search(&s, model->direct_max);
        /* Directly a thread has whole images: of one more than they share all wait for one. */
        if (model->direct_max > threads)
            model->direct_max -= model->direct_max % threads;
    }
    free(floats);
    capsnet_workspace_free(s.ws);
}
