/*
 * test_routing_rounds.c - what capsnet_forward_routing() tells of each round: against
 * routing as plain loops in double precision, from the pictures and from the pass's own
 * prediction vectors; by its identities; at every CPU level, by both plans, in every
 * precision.  And that to be told changes no bit of the answer.  SEED repeats.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/inference/inference.h"
#include "model/layers/layers.h"
#include "tests/common/reference.h"
#include "tests/common/small_network.h"

/* ---- Helpers --------------------------------------------------------------- */

static struct capsnet_workspace *workspace(const struct small *s, size_t n, size_t threads)
{
    struct capsnet_workspace *ws = NULL;
    struct capsnet_error error = {""};
    if (capsnet_workspace_create(&ws, s->model, n, threads, &error) != CAPSNET_OK)
        fail_msg("%s", error.text);
    return ws;
}

static size_t map_size(const struct small *s)
{
    return s->shape.routing_iterations * s->shape.classes * s->at->positions;
}

/* An answer, and room for what is told of each of its images. */
struct told {
    size_t n;
    float *lengths, *poses;
    struct capsnet_routing *routing;        /* [n] */
    const struct capsnet_routing **pointer; /* [n], to each of them */
};

static struct told told_room(const struct small *s, size_t n)
{
    struct told t = {.n = n,
                     .lengths = check_floats(n * s->shape.classes),
                     .poses = check_floats(n * s->at->outputs)};
    /* check_release() frees them all. */
    t.routing = (void *)check_doubles((n * sizeof *t.routing + 7) / 8);
    t.pointer = (void *)check_doubles((n * sizeof *t.pointer + 7) / 8);
    for (size_t i = 0; i < n; i++) {
        const size_t lengths = s->shape.routing_iterations * s->shape.classes;
        const size_t couplings = s->at->capsules * s->shape.classes;
        t.routing[i] = (struct capsnet_routing){check_floats(lengths), check_floats(map_size(s)),
                                                check_floats(map_size(s)), check_floats(couplings)};
        canary_fill(t.routing[i].lengths, lengths);
        canary_fill(t.routing[i].coupling, map_size(s));
        canary_fill(t.routing[i].votes, map_size(s));
        canary_fill(t.routing[i].couplings, couplings);
        t.pointer[i] = &t.routing[i];
    }
    return t;
}

static void ask(struct capsnet_workspace *ws, const float *images, struct told *t)
{
    capsnet_forward_routing(ws, t->n, images, t->lengths, t->poses, t->pointer);
}

/* ---- The identities --------------------------------------------------------- */

/* Of image i: coupling sums to 1, votes sum to the |s_j| whose squash is |v_j|, the last
 * lengths are the answer's, couplings are those whose means are told. */
static void check_identities(const struct small *s, const struct told *t, size_t i,
                             struct worst *worst, const char *what)
{
    const size_t classes = s->shape.classes, map = s->at->positions;
    const size_t rounds = s->shape.routing_iterations;
    const struct capsnet_routing *told = &t->routing[i];
    for (size_t r = 0; r < rounds; r++) {
        for (size_t p = 0; p < map; p++) {
            double sum = 0;
            for (size_t j = 0; j < classes; j++) {
                const double c = (double)told->coupling[(r * classes + j) * map + p];
                assert_true(c >= 0 && c <= 1);
                sum += c;
                if (r == 0)
                    check_value(worst, c, 1 / (double)classes, ROUNDING, "%s: coupling at first",
                                what);
            }
            check_value(worst, sum, 1, 1e-5, "%s: round %zu, coupling at %zu", what, r, p);
        }
        for (size_t j = 0; j < classes; j++) {
            const size_t at = r * classes + j;
            double sum = 0;
            for (size_t p = 0; p < map; p++)
                sum += (double)told->votes[at * map + p];
            check_value(worst, (double)told->lengths[at], sum * sum / (1 + sum * sum), 1e-5,
                        "%s: round %zu, length %zu of votes %g", what, r, j, sum);
        }
    }
    check_bits(told->lengths + (rounds - 1) * classes, t->lengths + i * classes, classes, what);
    for (size_t p = 0; p < map; p++)
        for (size_t j = 0; j < classes; j++) {
            double sum = 0;
            for (size_t type = 0; type < s->shape.primary_types; type++)
                sum += (double)told->couplings[(type * map + p) * classes + j];
            check_value(worst, (double)told->coupling[((rounds - 1) * classes + j) * map + p],
                        sum / (double)s->shape.primary_types, 1e-5, "%s: mean at %zu", what, p);
        }
}

/* ---- Against plain loops ----------------------------------------------------- */

/* Procedure 1 of the paper on given prediction vectors [capsules][classes][pose], with
 * everything stored, b among it. */
static void check_routing(const struct small *s, const struct capsnet_routing *told,
                          const double *u_hat, double bound, struct worst *worst,
                          const char *what)
{
    const size_t capsules = s->at->capsules, classes = s->shape.classes;
    const size_t pose = s->shape.pose_dims, map = s->at->positions;
    double *b = check_doubles(capsules * classes), *c = check_doubles(capsules * classes);
    double *v = check_doubles(classes * pose), *sums = check_doubles(classes * pose);
    for (size_t r = 0; r < s->shape.routing_iterations; r++) {
        double *coupling = check_doubles(classes * map), *votes = check_doubles(classes * map);
        memset(sums, 0, classes * pose * sizeof *sums);
        for (size_t i = 0; i < capsules; i++) {
            double total = 0;
            for (size_t j = 0; j < classes; j++)
                total += exp(b[i * classes + j]);
            for (size_t j = 0; j < classes; j++) {
                c[i * classes + j] = exp(b[i * classes + j]) / total;
                coupling[j * map + i % map] +=
                    c[i * classes + j] / (double)s->shape.primary_types;
                for (size_t e = 0; e < pose; e++)
                    sums[j * pose + e] +=
                        c[i * classes + j] * u_hat[(i * classes + j) * pose + e];
            }
        }
        for (size_t j = 0; j < classes; j++) {
            double length = 0;
            reference_squash(v + j * pose, sums + j * pose, pose);
            for (size_t e = 0; e < pose; e++)
                length += v[j * pose + e] * v[j * pose + e];
            length = sqrt(length);
            for (size_t i = 0; i < capsules; i++) {
                double dot = 0;
                for (size_t e = 0; e < pose; e++)
                    dot += u_hat[(i * classes + j) * pose + e] * v[j * pose + e];
                b[i * classes + j] += dot;
                votes[j * map + i % map] += c[i * classes + j] * dot / length;
            }
            check_value(worst, (double)told->lengths[r * classes + j], length, bound,
                        "%s: round %zu, length %zu", what, r, j);
            for (size_t p = 0; p < map; p++) {
                const size_t at = (r * classes + j) * map + p;
                check_value(worst, (double)told->coupling[at], coupling[j * map + p], bound,
                            "%s: round %zu, class %zu, coupling at %zu", what, r, j, p);
                check_value(worst, (double)told->votes[at], votes[j * map + p], bound,
                            "%s: round %zu, class %zu, votes at %zu", what, r, j, p);
            }
        }
    }
    for (size_t k = 0; k < capsules * classes; k++)
        check_value(worst, (double)told->couplings[k], c[k], bound, "%s: coupling %zu", what, k);
}

/* Prediction vectors from the picture, by plain loops over the whole network. */
static double *predict_by_reference(const struct small *s, const float *image)
{
    const size_t dims = s->shape.primary_dims, outputs = s->at->outputs;
    struct small_answer want;
    double *u_hat = check_doubles(s->at->capsules * outputs);
    small_answer_room(&want, s);
    small_reference(&want, s, s->tensor, image, 0, 0);
    for (size_t k = 0; k < s->at->capsules * outputs; k++)
        for (size_t d = 0; d < dims; d++)
            u_hat[k] += s->tensor[T_DIGIT_W][k * dims + d] * want.u[k / outputs * dims + d];
    return u_hat;
}

/* Those that the last pass, of one image, has used. */
static double *predict_by_pass(const struct small *s, const struct capsnet_workspace *ws)
{
    const size_t outputs = s->at->outputs, pose = s->shape.pose_dims;
    const float *stored = ws->scratch[0].routing.u_hat;
    struct predictions told = {.f32 = stored};
    if (s->model->packed.has_bf16_layers)
        told = (struct predictions){.bf16 = (const uint32_t *)(const void *)stored};
    double *u_hat = check_doubles(s->at->capsules * outputs);
    for (size_t i = 0; i < s->at->capsules; i++)
        for (size_t k = 0; k < outputs; k++)
            u_hat[i * outputs + k] = (double)prediction(&s->shape, told, i, k / pose, k % pose);
    return u_hat;
}

/* Grids of 2 x 2, of 3 x 12 with capsules that fill no vector, and of 1 x 1; 3, 1 and 5
 * rounds. */
static struct capsnet_shape shape_at(size_t i)
{
    struct capsnet_shape shape = small_shape();
    if (i == 1) {
        shape.height = 21;
        shape.width = 39;
        shape.primary_types = 3;
        shape.classes = 7;
        shape.pose_dims = 5;
        shape.routing_iterations = 1;
    } else if (i == 2) {
        shape.height = shape.width = 17;
        shape.primary_types = 37;
        shape.pose_dims = 16;
        shape.primary_dims = 8;
        shape.routing_iterations = 5;
    }
    return shape;
}
enum { SHAPES = 3, N = 5 };

static void test_pictures(const struct kernels *k, struct random *random, struct worst *worst)
{
    for (size_t i = 0; i < SHAPES; i++) {
        const struct capsnet_shape shape = shape_at(i);
        struct small s;
        small_create(&s, &shape, k->level, random);
        struct capsnet_workspace *ws = workspace(&s, N, 1);
        const float *images = small_images(&s, N, random);
        for (size_t n = 1; n <= N; n += N - 1) { /* direct, spectral */
            struct told t = told_room(&s, n);
            ask(ws, images, &t);
            for (size_t image = 0; image < n; image++) {
                check_routing(&s, &t.routing[image],
                              predict_by_reference(&s, images + image * s.at->pixels),
                              n == 1 ? 2e-5 : 3e-4, worst, capsnet_model_plan(s.model, n));
                check_identities(&s, &t, image, worst, capsnet_model_plan(s.model, n));
            }
        }
        capsnet_workspace_free(ws);
        capsnet_model_free(s.model);
        check_release();
    }
}

/* In every precision the rounds are those of the very prediction vectors that the answer is
 * made of. */
static void test_precisions(const struct kernels *k, struct random *random, struct worst *worst)
{
    static const char *const all[] = {"f32", "bf16", "int8"};
    for (size_t p = 0; p < PRECISIONS; p++) {
        if ((p == PRECISION_BF16 && !k->gemm_bf16) || (p == PRECISION_INT8 && !k->gemm_int8)) {
            print_message("  %s: skipped, level %s has no such instructions\n", all[p], k->level);
            continue;
        }
        for (size_t i = 0; i < SHAPES; i++) {
            const struct capsnet_shape shape = shape_at(i);
            struct small s;
            small_create_in(&s, &shape, k->level, all[p], random);
            struct capsnet_workspace *ws = workspace(&s, N, 1);
            const float *images = small_images(&s, N, random);
            struct told one = told_room(&s, 1), many = told_room(&s, N);
            ask(ws, images, &one);
            check_routing(&s, &one.routing[0], predict_by_pass(&s, ws), 1e-5, worst, all[p]);
            check_identities(&s, &one, 0, worst, all[p]);
            ask(ws, images, &many);
            for (size_t image = 0; image < N; image++)
                check_identities(&s, &many, image, worst, all[p]);
            capsnet_workspace_free(ws);
            capsnet_model_free(s.model);
            check_release();
        }
    }
}

/* ---- What must not change --------------------------------------------------- */

/* The answer is the same bits whether nobody, some or all images are asked about, and what
 * is told the same on any number of threads; what is NULL is left out. */
static void test_no_bit_changes(const struct kernels *k, struct random *random,
                                struct worst *worst)
{
    static const size_t sizes[] = {1, 2, 3, 11};
    enum { MOST = 11 };
    struct capsnet_shape shape = shape_at(0);
    struct small s;
    (void)worst;
    small_create(&s, &shape, k->level, random);
    const float *images = small_images(&s, MOST, random);
    struct capsnet_workspace *ws = workspace(&s, MOST, 1), *threads = workspace(&s, MOST, 3);
    for (size_t b = 0; b < sizeof sizes / sizeof *sizes; b++) {
        const size_t n = sizes[b];
        struct told all = told_room(&s, n), some = told_room(&s, n), none = told_room(&s, n);
        ask(ws, images, &all);
        for (size_t i = 0; i < n; i++) {
            if (i % 2)
                some.pointer[i] = NULL;
            else
                some.routing[i].coupling = some.routing[i].couplings = NULL;
        }
        ask(threads, images, &some);
        capsnet_forward(ws, n, images, none.lengths, none.poses);
        for (const struct told *t = &all; t; t = t == &all ? &some : NULL) {
            check_bits(t->lengths, none.lengths, n * shape.classes, "lengths");
            check_bits(t->poses, none.poses, n * s.at->outputs, "poses");
        }
        for (size_t i = 0; i < n; i++) {
            if (i % 2) {
                assert_true(canary_intact(some.routing[i].votes));
                continue;
            }
            check_bits(some.routing[i].votes, all.routing[i].votes, map_size(&s), "votes");
            check_bits(some.routing[i].lengths, all.routing[i].lengths,
                       shape.routing_iterations * shape.classes, "lengths of rounds");
        }
    }
    capsnet_workspace_free(ws);
    capsnet_workspace_free(threads);
    capsnet_model_free(s.model);
}

/* A class that nothing is predicted for has s = 0: no votes, no length, its coupling as
 * any. */
static void test_nothing_predicted(const struct kernels *k, struct random *random,
                                   struct worst *worst)
{
    struct capsnet_shape shape = shape_at(0);
    struct small s;
    small_create(&s, &shape, k->level, random);
    for (size_t i = 0; i < s.count[T_DIGIT_W]; i++)
        if (i / (shape.pose_dims * shape.primary_dims) % shape.classes == 1)
            s.tensor[T_DIGIT_W][i] = 0;
    small_load(&s);
    struct capsnet_workspace *ws = workspace(&s, 1, 1);
    const float *images = small_images(&s, 1, random);
    struct told t = told_room(&s, 1);
    ask(ws, images, &t);
    check_identities(&s, &t, 0, worst, "nothing predicted for a class");
    for (size_t r = 0; r < shape.routing_iterations; r++) {
        assert_true(t.routing[0].lengths[r * shape.classes + 1] == 0);
        for (size_t p = 0; p < s.at->positions; p++)
            assert_true(t.routing[0].votes[(r * shape.classes + 1) * s.at->positions + p] == 0);
    }
    capsnet_workspace_free(ws);
    capsnet_model_free(s.model);
}

int main(void)
{
    static const struct check checks[] = {
        {"pictures, by both plans", test_pictures, NULL},
        {"precisions", test_precisions, NULL},
        {"no bit changes", test_no_bit_changes, NULL},
        {"nothing predicted", test_nothing_predicted, NULL},
    };
    return check_main(checks, sizeof checks / sizeof *checks);
}
