/*
 * measure_plan.c - from how many images on PrimaryCaps is faster in the transform
 * domain.  Directly an image costs about the same in a batch of any size; there the
 * weights, five times as many, are read once a batch: so there is one such number, and it
 * is looked for upward or downward from what is expected.  Directly only what is not zero
 * counts, so that it is measured with drawings that have as much ink as digits.
 */
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "model/inference/inference.h"
#include "model/layers/layers.h"

enum { LARGEST = 16, TURNS = 4 }; /* images */

/* What is no farther apart makes no difference, or is noise. */
static const double CLEARLY = 1.05;

void draw_rings(const struct capsnet_shape *shape, size_t n, float *images)
{
    const size_t h = shape->height, w = shape->width, channels = shape->channels;
    for (size_t i = 0; i < n; i++)
        for (size_t p = 0; p < h * w; p++) {
            const double x = ((double)(p % w) + 0.5) / (double)w - 0.5;
            const double y = ((double)(p / w) + 0.5) / (double)h - 0.5;
            const double ring = fabs(hypot(x * 1.4, y) - 0.2 - 0.01 * (double)(i % 8));
            const double bar = i % 2 ? fabs(x + 0.2 * y) + fmax(0, fabs(y) - 0.3) : 1;
            const double ink = 1.5 - 26 * fmin(ring, bar);
            for (size_t c = 0; c < channels; c++)
                images[(i * h * w + p) * channels + c] = (float)fmin(1, fmax(0, ink));
        }
}

struct search {
    struct capsnet_workspace *ws;
    const float *images;
    clockid_t clock;
    uint64_t until_ns;
};

static double now_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

static double run(const struct search *s, enum plan plan, size_t n)
{
    const double start = now_ns(s->clock);
    if (plan == PLAN_DIRECT)
        primary_direct(s->ws, n, s->images);
    else
        primary_spectral(s->ws, n, s->images);
    return now_ns(s->clock) - start;
}

/* Is a plan clearly faster than the other at n images?  Both in turns, of each the best:
 * what else runs here slows single turns.  A turn is two passes: in service nobody
 * else's weights come between.  No, where the time does not reach for two turns. */
static int is_faster(const struct search *s, enum plan one, size_t n)
{
    double best[PLANS] = {INFINITY, INFINITY};
    size_t turn = 0;
    for (; turn < TURNS && phase_clock() < s->until_ns; turn++)
        for (enum plan plan = 0; plan < PLANS; plan++) {
            const double first = run(s, plan, n);
            best[plan] = fmin(best[plan], phase_clock() < s->until_ns ? run(s, plan, n) : first);
        }
    return turn >= 2 && CLEARLY * best[one] < best[one == PLAN_DIRECT ? PLAN_SPECTRAL : PLAN_DIRECT];
}

/* The largest batch that is faster directly. */
static size_t search(const struct search *s, size_t expected)
{
    size_t n = expected;
    while (n < LARGEST && is_faster(s, PLAN_DIRECT, n + 1))
        n++;
    while (n > 0 && n <= expected && is_faster(s, PLAN_SPECTRAL, n))
        n--;
    return n;
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
    float *images = calloc(LARGEST * model->at.pixels, sizeof *images);
    s.images = images;
    if (images) {
        draw_rings(&model->shape, LARGEST, images);
        model->direct_max = search(&s, model->direct_max);
    }
    free(images);
    capsnet_workspace_free(s.ws);
}
