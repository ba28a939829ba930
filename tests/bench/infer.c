/*
 * infer.c - how fast the forward pass is: the matrix kernels beside OpenBLAS,
 * and the whole network with its decoder, by plan, batch and threads, beside
 * the yardstick (yardstick.h).  All contenders take turns within one run.
 */
#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "yardstick.h"

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

static void bench_products(void)
{
    const size_t m = 128, n = 256, k = 1024, a_row = k + KERNEL_PAD;
    float *a = bench_noise(m * a_row, 1), *b = bench_noise(k * n, 1), *c = bench_noise(m * n, 1);
    struct product p = {
        .g = {.m = m, .n = n, .k = k, .a = {a, a_row, 1}, .b = {b, KERNEL_PANEL, k * KERNEL_PANEL},
              .c = {c, n, KERNEL_PANEL}},
        .b = b,
    };
    int usable;
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

enum { MAX_BATCH = 128, MAX_CONTENDERS = 12, MIN_TURNS = 5, MAX_TURNS = 25 };

struct scene;

struct contender {
    const char *name;
    void (*run)(struct scene *scene, const struct contender *contender);
    void (*primary)(struct capsnet_workspace *, size_t, const float *);
    size_t turns;
    double seconds[MAX_TURNS];
};

/* One batch size on so many threads. */
struct scene {
    const struct capsnet_model *model;
    size_t n, chunk, threads;
    const float *images;
    float *lengths, *poses, *pictures;
    struct capsnet_workspace *ws;
    struct yardstick_network *yardstick;
    struct contender contenders[MAX_CONTENDERS]; /* the first is the yardstick */
    size_t n_contenders;
};

static void run_yardstick(struct scene *s, const struct contender *c)
{
    (void)c;
    yardstick_f32.run(s->yardstick, s->n, s->chunk, s->images, s->lengths, s->poses, s->pictures);
}

/* The whole network with the decoder, as the server runs it. */
static void run_plan(struct scene *s, const struct contender *c)
{
    const struct capsnet_shape *shape = capsnet_model_shape(s->model);
    size_t winners[MAX_BATCH];
    float poses[MAX_BATCH * 64];
    c->primary(s->ws, s->n, s->images);
    digit_forward(s->ws, s->n);
    digit_read(s->ws, s->n, s->lengths, s->poses);
    for (size_t i = 0; i < s->n; i++) {
        winners[i] = capsnet_winner(shape, s->lengths + i * shape->classes);
        memcpy(poses + i * shape->pose_dims,
               s->poses + (i * shape->classes + winners[i]) * shape->pose_dims,
               shape->pose_dims * sizeof *poses);
    }
    capsnet_decode(s->ws, s->n, poses, winners, s->pictures);
}

/* Seconds of one pass, of at least 10 ms of passes.  Before few images, one to
 * warm the caches: in service nobody else's weights come between. */
static double turn(struct scene *s, const struct contender *c)
{
    size_t passes = 0;
    if (s->n < 16)
        c->run(s, c);
    const uint64_t begin = phase_clock();
    uint64_t spent;
    do {
        c->run(s, c);
        passes++;
        spent = phase_clock() - begin;
    } while (spent < 10000000);
    return 1e-9 * (double)spent / (double)passes;
}

/* As many images in each of the yardstick's products as suit it best. */
static void choose_chunk(struct scene *s)
{
    double best = INFINITY;
    size_t best_chunk = 1;
    for (s->chunk = 1; s->chunk <= YARDSTICK_MAX_CHUNK; s->chunk *= 2) {
        double seconds = turn(s, &s->contenders[0]);
        if (seconds < best) {
            best = seconds;
            best_chunk = s->chunk;
        }
        if (s->chunk * s->threads >= s->n)
            break;
    }
    s->chunk = best_chunk;
}

/* All contenders in turn, for about a second or two each. */
static void take_turns(struct scene *s)
{
    double spent = 0;
    for (size_t i = 0; i < MAX_TURNS && (i < MIN_TURNS || spent < (double)s->n_contenders); i++)
        for (size_t k = 0; k < s->n_contenders; k++) {
            struct contender *c = &s->contenders[k];
            c->seconds[i] = turn(s, c);
            spent += c->seconds[i] > 0.005 ? 2 * c->seconds[i] : 0.015;
            c->turns = i + 1;
        }
}

static void print_scene(struct scene *s)
{
    const double yardstick = bench_median(s->contenders[0].seconds, s->contenders[0].turns);
    for (size_t k = 0; k < s->n_contenders; k++) {
        const struct contender *c = &s->contenders[k];
        const double seconds = bench_median(s->contenders[k].seconds, c->turns);
        printf("  %5zu  %-24s %10.0f %10.3f %9.0f %8.2f", s->n, c->name,
               (double)s->n / seconds, seconds * 1e3,
               2e-9 * (double)s->n * bench_multiply_adds(s->model) / seconds,
               yardstick / seconds);
        if (k == 0)
            printf("   %zu image%s a product", s->chunk, s->chunk > 1 ? "s" : "");
        putchar('\n');
    }
}

static void bench_forward(struct scene *s, const char *weights, size_t threads)
{
    static const size_t batches[] = {1, 4, 16, 64, 128};
    struct capsnet_error error;
    s->threads = threads;
    s->yardstick = yardstick_f32.open(weights, capsnet_model_shape(s->model), MAX_BATCH, threads);
    if (workspace_create(&s->ws, s->model, MAX_BATCH, threads, 0, &error) != CAPSNET_OK)
        bench_die(error.text);
    printf("\nforward pass with decoder, %s, %zu thread%s\n", capsnet_model_cpu_level(s->model),
           threads, threads > 1 ? "s" : "");
    printf("  %5s  %-24s %10s %10s %9s %8s\n", "batch", "plan", "images/s", "ms", "GFLOP/s",
           "ratio");
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        s->n = batches[i];
        choose_chunk(s);
        take_turns(s);
        print_scene(s);
    }
    capsnet_workspace_free(s->ws);
    yardstick_f32.close(s->yardstick);
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

/* Every contender's answers beside the yardstick's. */
static void check_answers(struct scene *s, const char *weights)
{
    const struct layout *at = &s->model->at;
    const size_t classes = s->model->shape.classes;
    struct scene own = *s;
    struct capsnet_error error;
    own.n = own.chunk = 5;
    own.yardstick = yardstick_f32.open(weights, &s->model->shape, own.n, 1);
    if (workspace_create(&own.ws, s->model, own.n, 1, 0, &error) != CAPSNET_OK)
        bench_die(error.text);
    run_yardstick(&own, NULL);
    own.lengths = bench_noise(own.n * classes, 0);
    own.poses = bench_noise(own.n * at->outputs, 0);
    own.pictures = bench_noise(own.n * at->pixels, 0);
    printf("\nfarthest from the yardstick's answers: of lengths, poses, pictures\n");
    for (size_t k = 1; k < s->n_contenders; k++) {
        const struct contender *c = &s->contenders[k];
        c->run(&own, c);
        double lengths = farthest(own.lengths, s->lengths, own.n * classes);
        double poses = farthest(own.poses, s->poses, own.n * at->outputs);
        double pictures = farthest(own.pictures, s->pictures, own.n * at->pixels);
        printf("  %-24s %9.1e %9.1e %9.1e\n", c->name, lengths, poses, pictures);
        if (!(lengths <= 1e-4 && poses <= 1e-4 && pictures <= 1e-4))
            bench_die("they disagree by more than 1e-4: no timing means anything");
    }
    huge_free(own.lengths, own.n * classes * sizeof(float));
    huge_free(own.poses, own.n * at->outputs * sizeof(float));
    huge_free(own.pictures, own.n * at->pixels * sizeof(float));
    capsnet_workspace_free(own.ws);
    yardstick_f32.close(own.yardstick);
}

int main(int argc, char **argv)
{
    struct capsnet_error error;
    struct capsnet_model *model;
    const char *level = getenv("CAPSNETD_CPU_LEVEL");
    setvbuf(stdout, NULL, _IOLBF, 0);
    openblas_set_num_threads(1);
    if (argc != 2)
        bench_die("usage: infer WEIGHTS");
    if (capsnet_model_load(&model, argv[1], level && *level ? level : NULL, &error) != CAPSNET_OK)
        bench_die(error.text);
    const struct layout *at = &model->at;
    struct scene s = {
        .model = model,
        .images = bench_digits(MAX_BATCH, &model->shape),
        .lengths = bench_noise(MAX_BATCH * model->shape.classes, 0),
        .poses = bench_noise(MAX_BATCH * at->outputs, 0),
        .pictures = bench_noise(MAX_BATCH * at->pixels, 0),
        .contenders = {{.name = yardstick_f32.name, .run = run_yardstick},
                       {.name = "f32 direct", .run = run_plan, .primary = primary_direct},
                       {.name = "f32 spectral", .run = run_plan, .primary = primary_spectral}},
        .n_contenders = 3,
    };
    bench_products();
    check_answers(&s, argv[1]);
    const size_t threads = capsnet_cpu_count();
    bench_forward(&s, argv[1], 1);
    if (threads > 1)
        bench_forward(&s, argv[1], threads);
    capsnet_model_free(model);
    return 0;
}
