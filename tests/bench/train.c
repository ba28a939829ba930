/*
 * train.c - how fast a training step is, by phase, in f32 and with PrimaryCaps'
 * products in bf16 where the CPU has it; beside the same step with
 * PrimaryCaps as im2col and OpenBLAS's SGEMM (im2col.h), and beside the same
 * network in PyTorch (peers/train_torch.py; the argument is how to run it).
 */
#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/bench/bench.h"
#include "model/layers/layers.h"
#include "tests/bench/im2col.h"
#include "tests/bench/peaks.h"

enum { ROUNDS = 7 };

static void run_step(void *context)
{
    struct bench *b = context;
    if (!im2col_on) {
        uint64_t clock = phase_clock();
        primary_prepare(b->model, b->ws->pool);
        phase_end(b->ws, PHASE_PREPARE, &clock);
    }
    (void)bench_gradient(b);
    adam_update(b->ws, b->model->parameters, b->grad, &b->adam, 1e-4, 0.999, 1);
}

/* ---- Do both compute the same? ------------------------------------------- */

/* |a - b| / |b|, the lengths of vectors. */
static double difference(const float *a, const float *b, size_t n)
{
    double apart = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        apart += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        size += (double)b[i] * (double)b[i];
    }
    return sqrt(apart / size);
}

/* The gradients of both ways from the same weights. */
static void check_agreement(struct bench *b)
{
    struct capsnet_model *model = b->model;
    const struct layout *at = &model->at;
    const size_t weights = at->primary_bias - at->primary_weight;
    float *w = model->parameters + at->primary_weight;
    float *kept = malloc(weights * sizeof *kept), *own = malloc(at->total * sizeof *own);
    if (!kept || !own)
        bench_die("not enough memory");
    im2col_on = 0;
    primary_prepare(model, b->ws->pool);
    double loss = bench_gradient(b);
    memcpy(own, b->grad, at->total * sizeof *own);

    im2col_on = 1;
    memcpy(kept, w, weights * sizeof *kept);
    im2col_unpack(model, w, kept);
    double loss_there = bench_gradient(b);
    memcpy(w, kept, weights * sizeof *kept);
    memcpy(kept, b->grad + at->primary_weight, weights * sizeof *kept);
    im2col_pack(model, b->grad + at->primary_weight, kept);
    im2col_on = 0;

    const struct {
        const char *name;
        size_t first, last;
    } parts[] = {{"conv1", at->conv1_weight, at->primary_weight},
                 {"PrimaryCaps", at->primary_weight, at->digit_weight},
                 {"digit capsules", at->digit_weight, at->decoder_weight[0]},
                 {"decoder", at->decoder_weight[0], at->total}};
    double worst = fabs(loss - loss_there) / loss_there;
    printf("gradients against im2col's, relative: loss %.1e", worst);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        double d = difference(own + parts[i].first, b->grad + parts[i].first,
                              parts[i].last - parts[i].first);
        printf(", %s %.1e", parts[i].name, d);
        worst = d > worst || isnan(d) ? d : worst;
    }
    putchar('\n');
    if (!(worst <= 1e-4))
        bench_die("the two ways disagree by more than 1e-4: no timing means anything");
    free(kept);
    free(own);
}

/* ---- Timings ------------------------------------------------------------- */

static void print_phases(const char *name, const uint64_t ns[PHASES])
{
    uint64_t total = 0;
    for (size_t p = 0; p < PHASES; p++)
        total += ns[p];
    printf("\nshare of each phase, %s\n", name);
    for (size_t p = 0; p < PHASES; p++)
        if (ns[p])
            printf("  %-22s %5.1f %%\n", phase_names[p], 100 * (double)ns[p] / (double)total);
}

/* Seconds of the clock on the wall, and of all processors together: where
 * others use the machine too, only the latter tell two programs apart. */
struct timing {
    double wall, cpu;
};

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

struct turns {
    double wall[ROUNDS], cpu[ROUNDS];
};

static void time_step(struct bench *b, struct turns *turns, size_t i)
{
    double cpu = cpu_seconds();
    turns->wall[i] = bench_seconds(run_step, b);
    turns->cpu[i] = cpu_seconds() - cpu;
}

static struct timing median(struct turns *turns)
{
    return (struct timing){bench_median(turns->wall, ROUNDS), bench_median(turns->cpu, ROUNDS)};
}

/* PyTorch's step, and what it calls itself.  Its own OpenBLAS goes by the CPU. */
static struct timing time_torch(const char *command, size_t threads, char name[64])
{
    char line[1024];
    struct timing t = {0};
    snprintf(line, sizeof line, "env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE %s %d %zu", command,
             BENCH_BATCH, threads);
    fflush(stdout);
    FILE *pipe = popen(line, "r");
    while (pipe && fgets(line, sizeof line, pipe))
        if (sscanf(line, "seconds %lf %lf %63[^\n]", &t.wall, &t.cpu, name) != 3)
            fputs(line, stdout);
    if (!pipe || pclose(pipe) != 0 || !(t.wall > 0))
        bench_die("PyTorch's step did not run");
    return t;
}

static void print_timing(const char *name, struct timing t, const struct timing *own)
{
    printf("  %-36s %8.0f %8.0f %9.0f", name, t.wall * 1e3, t.cpu * 1e3, BENCH_BATCH / t.wall);
    if (own)
        printf(" %8.2f %8.2f", t.wall / own->wall, t.cpu / own->cpu);
    putchar('\n');
}

static void print_timings(struct turns *own, struct turns *bf16, struct turns *theirs,
                          const char *torch, size_t threads)
{
    const struct timing t = median(own);
    printf("\na step, median of %d turns\n  %-36s %8s %8s %9s %8s %8s\n", ROUNDS, "", "wall ms",
           "CPU ms", "images/s", "ratio", "of CPU");
    print_timing("ours", t, NULL);
    if (bf16)
        print_timing("ours, products in bf16", median(bf16), &t);
    print_timing("PrimaryCaps by im2col and OpenBLAS", median(theirs), &t);
    if (torch) {
        char name[64];
        struct timing there = time_torch(torch, threads, name);
        print_timing(name, there, &t);
    }
    printf("60,000 images: %.0f s\n", 60000 * t.wall / BENCH_BATCH);
}

/* The same with the products in bf16, after a step to warm up. */
static void open_narrow(struct bench *b, size_t threads)
{
    struct capsnet_error error;
    bench_open(b);
    if (model_set_products(b->model, PRECISION_BF16, &error) != CAPSNET_OK)
        bench_die(error.text);
    bench_workspace(b, threads, 1);
    run_step(b);
    memset(b->ws->phase_ns, 0, sizeof b->ws->phase_ns);
}

int main(int argc, char **argv)
{
    struct bench b, narrow;
    struct turns own, bf16, theirs;
    const size_t threads = capsnet_cpu_count();
    setvbuf(stdout, NULL, _IOLBF, 0);
    bench_openblas(argv);
    bench_open(&b);
    bench_workspace(&b, threads, 1);
    if (!im2col_open(b.ws))
        bench_die("not enough memory");
    const struct peaks peaks = peaks_measure();
    peaks_print(&peaks);
    printf("training step, batch %d, %zu threads, %s; OpenBLAS: %s\n", BENCH_BATCH, threads,
           b.model->kernels->level, openblas_get_corename());
    check_agreement(&b);
    const int has_bf16 = b.model->kernels->gemm3_bf16 != NULL;
    if (has_bf16)
        open_narrow(&narrow, threads);

    memset(b.ws->phase_ns, 0, sizeof b.ws->phase_ns);
    for (size_t i = 0; i < ROUNDS; i++) {
        uint64_t phases[PHASES];
        time_step(&b, &own, i);
        memcpy(phases, b.ws->phase_ns, sizeof phases);
        im2col_on = 1;
        time_step(&b, &theirs, i);
        im2col_on = 0;
        memcpy(b.ws->phase_ns, phases, sizeof phases);
        if (has_bf16)
            time_step(&narrow, &bf16, i);
    }
    im2col_close();
    print_phases("ours", b.ws->phase_ns);
    if (has_bf16)
        print_phases("products in bf16", narrow.ws->phase_ns);
    print_timings(&own, has_bf16 ? &bf16 : NULL, &theirs, argc > 1 ? argv[1] : NULL, threads);
    if (has_bf16) {
        capsnet_workspace_free(narrow.ws);
        bench_close(&narrow);
    }
    capsnet_workspace_free(b.ws);
    bench_close(&b);
    return 0;
}
