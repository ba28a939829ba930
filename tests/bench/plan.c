/*
 * plan.c - is the plan that is measured at load the faster one?  For each precision, on one
 * thread and on all: the forward pass with decoder by both plans, in turns, in batches of
 * MNIST's test images, and how much slower than the faster of them what
 * capsnet_model_measure() chose is.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/bench/bench.h"
#include "tests/bench/peaks.h"
#include "tests/bench/variants.h"

enum { IMAGES = 512, MAX_BATCH = 64, TURNS = 15, TURN_MS = 12 };

/* At most so much slower than the faster plan. */
static const double ALLOWED = 0.05;

static const size_t batches[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12,
                                 13, 14, 15, 16, 17, 18, 19, 20, 24, 32, 48, 64};
enum { BATCHES = sizeof batches / sizeof *batches };

struct scene {
    const struct variant *plans; /* [PLANS] of one model */
    struct capsnet_workspace *ws;
    const float *images; /* [IMAGES] */
    clockid_t clock;
    float *lengths, *poses, *pictures;
    size_t next; /* image */
};

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* After so many passes of n images by one plan the caches hold what it reads, as far as they
 * can: what comes before them is no measure of it. */
static size_t warming_passes(size_t n)
{
    return n < 16 ? 3 : n < 32 ? 2 : 1;
}

/* Seconds of a pass of n images, over the next ones. */
static double turn(struct scene *s, enum plan plan, size_t n)
{
    const size_t pixels = s->plans[plan].model->at.pixels;
    const size_t warming = warming_passes(n);
    size_t passes = 0;
    double spent, begin = 0;
    do {
        if (passes == warming)
            begin = now(s->clock);
        s->next = s->next + n <= IMAGES ? s->next : 0;
        variant_run(&s->plans[plan], s->ws, n, s->images + s->next * pixels, s->lengths, s->poses,
                    s->pictures);
        s->next += n;
        passes++;
        spent = passes > warming ? now(s->clock) - begin : 0;
    } while (spent < 1e-3 * TURN_MS);
    return spent / (double)(passes - warming);
}

/* Prints a batch size's line; returns by what part the chosen plan is slower: the median over the
 * turns, since the machine's speed changes from one to the next but less within one. */
static double print_batch(struct scene *s, size_t n)
{
    double seconds[PLANS][TURNS], slower[TURNS];
    const enum plan chosen = plan_for(s->plans[0].model, n);
    for (size_t i = 0; i < TURNS; i++) {
        for (size_t k = 0; k < PLANS; k++) { /* there and back: it changes meanwhile, too */
            const enum plan plan = i % 2 ? PLANS - 1 - k : k;
            seconds[plan][i] = turn(s, plan, n);
        }
        slower[i] = seconds[chosen][i] / seconds[PLANS - 1 - chosen][i] - 1;
    }
    const double worse = fmax(0, bench_median(slower, TURNS));
    printf("  %5zu %9.0f %9.0f   %-8s %5.1f %%\n", n,
           (double)n / bench_median(seconds[PLAN_DIRECT], TURNS),
           (double)n / bench_median(seconds[PLAN_SPECTRAL], TURNS),
           chosen == PLAN_DIRECT ? "direct" : "spectral", 100 * worse);
    return worse;
}

/* What a server of all models of weights/ has for each at least. */
static const double SHARE_S = 0.2 / 3;

/* The worst of a precision's batches. */
static double print_plan(struct scene *s, size_t threads)
{
    struct capsnet_model *model = s->plans[0].model;
    struct capsnet_error error;
    double worst = 0;
    const size_t expected = model->direct_max;
    capsnet_model_measure(model, threads, SHARE_S);
    if (workspace_create(&s->ws, model, MAX_BATCH, threads, 0, &error) != CAPSNET_OK)
        bench_die(error.text);
    printf("\n%s, %zu thread%s: images/s by batch, and how much slower the plan that was chosen "
           "is\n  %5s %9s %9s\n",
           capsnet_model_precision(model), threads, threads > 1 ? "s" : "", "batch", "direct",
           "spectral");
    for (size_t i = 0; i < BATCHES; i++)
        worst = fmax(worst, print_batch(s, batches[i]));
    capsnet_workspace_free(s->ws);
    model->direct_max = expected;
    return worst;
}

int main(int argc, char **argv)
{
    struct variants variants;
    double worst = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc != 3)
        bench_die("usage: plan WEIGHTS DATA");
    variants_open(&variants, argv[1]);
    const struct capsnet_model *model = variants.models[PRECISION_F32];
    const struct peaks peaks = peaks_measure();
    peaks_print(&peaks);
    struct scene s = {
        .images = bench_test_images(argv[2], model, IMAGES),
        .lengths = bench_noise(MAX_BATCH * model->shape.classes, 0),
        .poses = bench_noise(MAX_BATCH * model->at.outputs, 0),
        .pictures = bench_noise(MAX_BATCH * model->at.pixels, 0),
    };
    const size_t cpus = capsnet_cpu_count();
    for (size_t k = 0; k + 1 < variants.n; k++) {
        s.plans = &variants.list[k];
        if (s.plans[0].model != s.plans[1].model)
            continue;
        for (size_t threads = 1; threads <= cpus; threads += cpus > 1 ? cpus - 1 : 1) {
            s.clock = threads == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
            worst = fmax(worst, print_plan(&s, threads));
        }
    }
    printf("\nslower than the faster plan by at most %.1f %%, allowed are %.0f: %s\n", 100 * worst,
           100 * ALLOWED, worst <= ALLOWED ? "met" : "NOT MET");
    variants_close(&variants);
    return 0;
}
