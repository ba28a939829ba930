/*
 * infer.c - how fast the forward pass is: the matrix kernels beside OpenBLAS,
 * and the whole network with its decoder, by plan, batch and threads, beside
 * the yardstick (yardstick.h).  All take turns within one run.  With "check" it only
 * sees whether all give the same.
 */
#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/bench.h"
#include "model/machine/huge_pages.h"
#include "tests/bench/peaks.h"
#include "tests/bench/phases.h"
#include "tests/bench/variants.h"
#include "tests/bench/yardstick.h"

/* ---- Matrix kernels ------------------------------------------------------ */

struct product {
    struct gemm g;
    const struct kernels *kernels; /* NULL: OpenBLAS, row-major */
    const float *b;
};

static void run_product(void *context)
{
    const struct product *p = context;
    if (p->kernels)
        p->kernels->gemm(&p->g);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)p->g.m, (int)p->g.n,
                    (int)p->g.k, 1, p->g.a.data, (int)p->g.a.row, p->b, (int)p->g.n, 0,
                    p->g.c.data, (int)p->g.n);
}

static void bench_products(const struct peaks *peaks)
{
    const size_t m = 128, n = 256, k = 1024, a_row = k + KERNEL_PAD;
    float *a = bench_noise(m * a_row, 1), *b = bench_noise(k * n, 1), *c = bench_noise(m * n, 1);
    struct product p = {
        .g = {.m = m, .n = n, .k = k, .a = {a, a_row, 1}, .b = {b, KERNEL_PANEL, k * KERNEL_PANEL},
              .c = {c, n, KERNEL_PANEL}},
        .b = b,
    };
    int usable;
    putchar('\n');
    peaks_print(peaks);
    printf("one product of PrimaryCaps (128 x 1024 x 256), one thread, GFLOP/s\n");
    for (size_t i = 0; (p.kernels = kernels_at(i, &usable)); i++)
        if (usable)
            printf("  %-12s %6.1f\n", p.kernels->level,
                   2e-9 * (double)(m * n * k) / bench_time(run_product, &p));
    printf("  %-12s %6.1f  (%s)\n", "OpenBLAS",
           2e-9 * (double)(m * n * k) / bench_time(run_product, &p), openblas_get_corename());
    huge_free(a, m * a_row * sizeof *a);
    huge_free(b, k * n * sizeof *b);
    huge_free(c, m * n * sizeof *c);
}

/* ---- Contenders ----------------------------------------------------------- */

enum { MAX_BATCH = BENCH_BATCH, MAX_CONTENDERS = 1 + MAX_VARIANTS, MIN_TURNS = 5, MAX_TURNS = 25 };

/* Somebody's answers. */
struct answers {
    float *lengths, *poses, *pictures;
};

/* One of our own plans or, without one, the yardstick. */
struct contender {
    const struct variant *variant;
    struct capsnet_workspace *ws;
    size_t turns;
    double seconds[MAX_TURNS];
};

/* One batch size on so many threads. */
struct scene {
    const struct variants *variants;
    const struct capsnet_model *model; /* any: for sizes */
    size_t n, chunk, threads;
    const float *images;
    struct answers answers;
    struct yardstick_network *yardstick;
    struct contender contenders[MAX_CONTENDERS]; /* the first is the yardstick */
    size_t n_contenders;
};

static void run(struct scene *s, const struct contender *c)
{
    const struct answers *to = &s->answers;
    if (c->variant)
        variant_run(c->variant, c->ws, s->n, s->images, to->lengths, to->poses, to->pictures);
    else
        yardstick_f32.run(s->yardstick, s->n, s->chunk, s->images, to->lengths, to->poses,
                          to->pictures);
}

static const char *name_of(const struct contender *c)
{
    return c->variant ? c->variant->name : yardstick_f32.name;
}

/* Plans of one precision take turns and share a workspace. */
static void open_contenders(struct scene *s, const char *weights, size_t threads)
{
    struct capsnet_error error;
    s->threads = threads;
    s->yardstick = yardstick_f32.open(weights, &s->model->shape, MAX_BATCH, threads);
    memset(s->contenders, 0, sizeof s->contenders);
    s->n_contenders = 1 + s->variants->n;
    for (size_t k = 1; k < s->n_contenders; k++) {
        struct contender *c = &s->contenders[k], *last = c - 1;
        c->variant = &s->variants->list[k - 1];
        if (last->variant && last->variant->model == c->variant->model)
            c->ws = last->ws;
        else if (workspace_create(&c->ws, c->variant->model, MAX_BATCH, threads, 0, &error) !=
                 CAPSNET_OK)
            bench_die(error.text);
    }
}

static void close_contenders(struct scene *s)
{
    yardstick_f32.close(s->yardstick);
    for (size_t k = 1; k < s->n_contenders; k++)
        if (s->contenders[k].ws != s->contenders[k - 1].ws)
            capsnet_workspace_free(s->contenders[k].ws);
}

static struct answers answers_room(const struct capsnet_model *model)
{
    return (struct answers){bench_noise(MAX_BATCH * model->shape.classes, 0),
                            bench_noise(MAX_BATCH * model->at.outputs, 0),
                            bench_noise(MAX_BATCH * model->at.pixels, 0)};
}

static void answers_free(struct answers *a, const struct capsnet_model *model)
{
    huge_free(a->lengths, MAX_BATCH * model->shape.classes * sizeof(float));
    huge_free(a->poses, MAX_BATCH * model->at.outputs * sizeof(float));
    huge_free(a->pictures, MAX_BATCH * model->at.pixels * sizeof(float));
}

/* ---- Time ----------------------------------------------------------------- */

/* Seconds of one pass, of at least 10 ms of passes.  Before few images, one to
 * warm the caches: in service nobody else's weights come between. */
static double turn(struct scene *s, const struct contender *c)
{
    size_t passes = 0;
    if (s->n < 16)
        run(s, c);
    const uint64_t begin = phase_clock();
    uint64_t spent;
    do {
        run(s, c);
        passes++;
        spent = phase_clock() - begin;
    } while (spent < 10000000);
    return 1e-9 * (double)spent / (double)passes;
}

/* As many images in each of the yardstick's products as suit it best: all of a
 * thread's share, or a half or a quarter of that, by the best of three turns. */
static void choose_chunk(struct scene *s)
{
    const size_t share = (s->n + s->threads - 1) / s->threads;
    const size_t most = share < YARDSTICK_MAX_CHUNK ? share : YARDSTICK_MAX_CHUNK;
    double best = INFINITY;
    size_t best_chunk = most;
    s->chunk = most;
    run(s, &s->contenders[0]); /* touches all memory */
    for (size_t i = 0; i < 3; i++)
        for (s->chunk = most; s->chunk > 0 && s->chunk >= most / 4; s->chunk /= 2) {
            double seconds = turn(s, &s->contenders[0]);
            best_chunk = seconds < best ? s->chunk : best_chunk;
            best = fmin(best, seconds);
        }
    s->chunk = best_chunk;
}

/* All contenders in turn, until each had about half a second. */
static void take_turns(struct scene *s)
{
    const uint64_t begin = phase_clock(), enough = s->n_contenders * 500000000;
    for (size_t i = 0; i < MAX_TURNS && (i < MIN_TURNS || phase_clock() - begin < enough); i++)
        for (size_t k = 0; k < s->n_contenders; k++) {
            s->contenders[k].seconds[i] = turn(s, &s->contenders[k]);
            s->contenders[k].turns = i + 1;
        }
}

static void print_scene(struct scene *s)
{
    const double yardstick = bench_median(s->contenders[0].seconds, s->contenders[0].turns);
    for (size_t k = 0; k < s->n_contenders; k++) {
        struct contender *c = &s->contenders[k];
        const double seconds = bench_median(c->seconds, c->turns);
        const int chosen = c->variant && plan_for(c->variant->model, s->n) == c->variant->plan;
        printf("  %5zu %c %-24s %9.0f %10.3f %9.0f %8.2f", s->n, chosen ? '*' : ' ', name_of(c),
               (double)s->n / seconds, seconds * 1e3,
               2e-9 * (double)s->n * bench_multiply_adds(s->model) / seconds,
               yardstick / seconds);
        if (k == 0)
            printf("   %zu image%s a product", s->chunk, s->chunk > 1 ? "s" : "");
        putchar('\n');
    }
}

/* What the server does at load. */
static void measure_plans(const struct variants *variants, size_t threads)
{
    for (size_t p = 0; p < PRECISIONS; p++)
        if (variants->models[p])
            capsnet_model_measure(variants->models[p], threads, 0.3);
}

static void bench_forward(struct scene *s, const char *weights, size_t threads)
{
    static const size_t batches[] = {1, 4, 16, 64, 128};
    measure_plans(s->variants, threads);
    open_contenders(s, weights, threads);
    printf("\nforward pass with decoder, %s, %zu thread%s (*: what the planner chooses)\n",
           capsnet_model_cpu_level(s->model), threads, threads > 1 ? "s" : "");
    printf("  %5s   %-24s %9s %10s %9s %8s\n", "batch", "plan", "images/s", "ms", "GFLOP/s",
           "ratio");
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        s->n = batches[i];
        choose_chunk(s);
        take_turns(s);
        print_scene(s);
    }
    close_contenders(s);
}

/* ---- Do they give the same? ----------------------------------------------- */

static double farthest(const float *a, const float *b, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        worst = d > worst || isnan(d) ? d : worst;
    }
    return worst;
}

/* Every contender's answers beside the yardstick's.  What 8 and 16 bits may
 * change of real digits is counted by `make answers`; here only nonsense is
 * refused. */
static void check_answers(struct scene *s, const char *weights)
{
    const struct layout *at = &s->model->at;
    struct answers right = s->answers;
    s->n = s->chunk = 5;
    open_contenders(s, weights, 1);
    run(s, &s->contenders[0]);
    s->answers = answers_room(s->model);
    printf("\nfarthest from the yardstick's answers: of lengths, poses, pictures\n");
    for (size_t k = 1; k < s->n_contenders; k++) {
        const struct contender *c = &s->contenders[k];
        const int is_f32 = c->variant->model->precision == PRECISION_F32;
        const double most = is_f32 ? 1e-4 : 0.1;
        run(s, c);
        double lengths = farthest(s->answers.lengths, right.lengths, s->n * s->model->shape.classes);
        double poses = farthest(s->answers.poses, right.poses, s->n * at->outputs);
        double pictures = farthest(s->answers.pictures, right.pictures, s->n * at->pixels);
        printf("  %-24s %9.1e %9.1e %9.1e\n", name_of(c), lengths, poses, pictures);
        if (!(lengths <= most && poses <= most && pictures <= most))
            bench_die("they disagree by too much: no timing means anything");
    }
    answers_free(&s->answers, s->model);
    s->answers = right;
    close_contenders(s);
}

static void measure(struct scene *s, const char *weights)
{
    const size_t threads = capsnet_cpu_count();
    const struct peaks peaks = peaks_measure();
    bench_products(&peaks);
    bench_forward(s, weights, 1);
    if (threads > 1)
        bench_forward(s, weights, threads);
    measure_plans(s->variants, 1);
    phases_print(s->variants, &peaks, 64, s->images);
    phases_print(s->variants, &peaks, 1, s->images);
    variants_print_memory(s->variants, weights, MAX_BATCH, threads);
}

int main(int argc, char **argv)
{
    struct variants variants;
    setvbuf(stdout, NULL, _IOLBF, 0);
    bench_openblas(argv);
    const int is_check = argc == 4 && strcmp(argv[3], "check") == 0;
    if (argc != 3 && !is_check)
        bench_die("usage: infer WEIGHTS DATA [check]");
    variants_open(&variants, argv[1]);
    const struct capsnet_model *model = variants.models[PRECISION_F32];
    float *images = bench_test_images(argv[2], model, MAX_BATCH);
    struct scene s = {.variants = &variants, .model = model, .images = images, .answers = answers_room(model)};
    check_answers(&s, argv[1]);
    if (!is_check)
        measure(&s, argv[1]);
    answers_free(&s.answers, model);
    huge_free(images, MAX_BATCH * model->at.pixels * sizeof *images);
    variants_close(&variants);
    return 0;
}
