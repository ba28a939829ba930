/*
 * test_gradients.c - the loss and its gradient, tensor by tensor, against
 * finite differences of the loss computed by plain loops in double precision;
 * at every CPU level.  SEED repeats the random weights and directions.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/common/small_network.h"
#include "model/layers/layers.h"
#include "model/machine/huge_pages.h"
#include "model/train/learn/gradient.h"
#include "model/train/measure/margin_loss.h"

static const float ALPHA = 0.02f; /* so that pixels weigh about as much as margins */

/* ---- Margin loss ---------------------------------------------------------- */

/* Equation 4 with pencil and paper. */
static void test_margin(const struct kernels *k, struct random *random, struct worst *worst)
{
    (void)k;
    static const struct {
        float lengths[3];
        size_t label, other;
        double loss, slope[3];
    } cases[] = {
        {{0.5f, 0.5f, 0.1f}, 0, 0, 0.24, {-0.8, 0.4, 0}},
        {{0.5f, 0.5f, 0.1f}, 1, 1, 0.24, {0.4, -0.8, 0}},
        {{0, 0, 0}, 2, 2, 0.81, {0, 0, -1.8}},
        {{0.9f, 0.1f, 0.05f}, 0, 0, 0, {0, 0, 0}},
        {{0.99f, 0.0f, 0.99f}, 0, 0, 0.39605, {0, 0, 0.89}},
        {{0.99f, 0.0f, 0.99f}, 0, 2, 0, {0, 0, 0}},
        {{0.5f, 0.5f, 0.5f}, 1, 0, 0.4, {-0.8, -0.8, 0.4}},
        {{1, 1, 1}, 1, 1, 0.81, {0.9, 0, 0.9}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float slope[3] = {7, 7, 7};
        float loss = margin_loss(3, cases[i].lengths, cases[i].label, cases[i].other,
                                 slope);
        check_value(worst, (double)loss, cases[i].loss, 8 * ROUNDING, "loss of case %zu", i);
        for (size_t j = 0; j < 3; j++)
            check_value(worst, (double)slope[j], cases[i].slope[j], 8 * ROUNDING,
                        "slope %zu of case %zu", j, i);
    }
    /* A NaN must not pass for a loss of 0. */
    float unused_slope[3];
    for (size_t j = 0; j < 3; j++) {
        float lengths[3] = {0.95f, 0.05f, 0.05f};
        lengths[j] = NAN;
        assert_true(isnan(margin_loss(3, lengths, 0, 0, unused_slope)));
    }
    /* The derivative is the loss's own: both pieces are parabolas, so a central
     * difference is exact away from their ends, but for 4 roundings over h. */
    const float h = 1.0f / 64;
    for (size_t i = 0; i < 1000; i++) {
        float at[4], slope[4], unused[4];
        for (size_t j = 0; j < 4; j++)
            at[j] = (float)fabs(random_real(random));
        size_t label = random_below(random, 4), other = random_below(random, 4);
        size_t j = random_below(random, 4);
        (void)margin_loss(4, at, label, other, slope);
        const double corner = j == label || j == other ? 0.9 : 0.1;
        if (fabs((double)at[j] - corner) < (double)h)
            continue;
        const float centre = at[j];
        at[j] = centre + h;
        const double above = (double)margin_loss(4, at, label, other, unused), right = (double)at[j];
        at[j] = centre - h;
        const double below = (double)margin_loss(4, at, label, other, unused);
        check_value(worst, (double)slope[j], (above - below) / (right - (double)at[j]),
                    16 * ROUNDING / (double)h, "length %g, class %zu, labels %zu, %zu",
                    (double)centre, j, label, other);
    }
}

/* ---- The whole loss ------------------------------------------------------- */

struct problem {
    struct small s;
    size_t n;
    const float *images, *targets, *other_targets;
    uint8_t labels[32], others[32];
    float *teacher_lengths, *teacher_poses; /* random; NULL: none */
    float *grad, *lengths, *poses;
    struct batch_result result;
    struct small_answer answer;
};

/* Weights of the two distances from a teacher. */
static const float LENGTHS_WEIGHT = 0.7f, POSES_WEIGHT = 0.3f;

/* How far one image's answer is from the teacher's. */
static double distance_of(const struct problem *p, size_t i)
{
    const size_t classes = p->s.shape.classes, outputs = p->s.at->outputs;
    double sum = 0;
    for (size_t j = 0; p->teacher_lengths && j < classes; j++)
        sum += (double)LENGTHS_WEIGHT *
               pow(p->answer.lengths[j] - (double)p->teacher_lengths[i * classes + j], 2);
    for (size_t k = 0; p->teacher_poses && k < outputs; k++)
        sum += (double)POSES_WEIGHT *
               pow(p->answer.poses[k] - (double)p->teacher_poses[i * outputs + k], 2);
    return sum;
}

/* The batch's loss by the equations, tensors as given. */
static double loss_of(struct problem *p, double *const *tensor, double *margin, double *pixels)
{
    double distances = 0;
    *margin = *pixels = 0;
    for (size_t i = 0; i < p->n; i++) {
        small_reference(&p->answer, &p->s, tensor, p->images + i * p->s.at->pixels, p->labels[i],
                        p->others[i]);
        *margin += p->answer.margin / (double)p->n;
        *pixels += small_pixel_loss(&p->answer, &p->s, tensor,
                                    p->targets + i * p->s.at->pixels, p->labels[i]) /
                   (double)p->n;
        if (p->others[i] != p->labels[i])
            *pixels += small_pixel_loss(&p->answer, &p->s, tensor,
                                        p->other_targets + i * p->s.at->pixels, p->others[i]) /
                       (double)p->n;
        distances += distance_of(p, i) / (double)p->n;
    }
    return *margin + (double)ALPHA * *pixels + distances;
}

/* The loss's derivative along direction (of length 1) in one tensor, by a
 * central difference.  *error: the distance of the two one-sided ones, which
 * covers a corner of a ReLU within the step (there each side's slope is a
 * right answer) and the curvature, and the rounding of the loss over the step. */
static double slope_along(struct problem *p, size_t t, const double *direction, double *error)
{
    const double h = 4e-6;
    double *moved = check_doubles(p->s.count[t]), *tensor[SMALL_TENSORS], loss[3], unused[2];
    memcpy(tensor, p->s.tensor, sizeof tensor);
    tensor[t] = moved;
    for (int i = 0; i < 3; i++) {
        for (size_t k = 0; k < p->s.count[t]; k++)
            moved[k] = p->s.tensor[t][k] + (i - 1) * h * direction[k];
        loss[i] = loss_of(p, tensor, &unused[0], &unused[1]);
    }
    *error = fabs(loss[2] - 2 * loss[1] + loss[0]) / h + 64 * DBL_EPSILON * loss[1] / h;
    return (loss[2] - loss[0]) / (2 * h);
}

static double length_of(const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sqrt(sum);
}

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* Along the gradient itself, which shows its size, and along a random
 * direction and single parameters, which show what is perpendicular to it.
 * fp32 gradients agree with independent ones to 1e-4 of their largest value
 * (test_golden.c).  Networks as small as these, of a few taps and many
 * iterations, make ten times more of the spectral plan's roundings. */
static void check_tensor(struct problem *p, size_t t, struct random *random, struct worst *worst)
{
    const size_t n = p->s.count[t];
    double *g = check_doubles(n), *direction = check_doubles(n), error;
    for (size_t i = 0; i < n; i++)
        g[i] = (double)p->grad[small_index(&p->s, t, i)];
    const double size = length_of(g, n);
    if (!(size > 0))
        fail_msg("the gradient of %s is zero", small_names[t]);
    for (int turn = 0; turn < 4; turn++) {
        for (size_t i = 0; i < n; i++)
            direction[i] = turn == 0 ? g[i] : turn == 1 ? random_real(random) : 0;
        if (turn > 1)
            direction[random_below(random, n)] = 1;
        const double norm = length_of(direction, n);
        for (size_t i = 0; i < n; i++)
            direction[i] /= norm;
        const double want = slope_along(p, t, direction, &error);
        check_value(worst, dot(g, direction, n), want, error + 1e-3 * size,
                    "gradient of %s (length %g) along %s, R %zu", small_names[t], size,
                    turn == 0 ? "itself" : turn == 1 ? "a random direction" : "one parameter",
                    p->s.shape.routing_iterations);
    }
}

/* Padding of the flat array must have no gradient: Adam would move it. */
static void check_padding(const struct problem *p)
{
    const size_t total = p->s.at->total;
    unsigned char *used = calloc(total, 1);
    assert_non_null(used);
    for (size_t t = 0; t < SMALL_TENSORS; t++)
        for (size_t i = 0; i < p->s.count[t]; i++)
            used[small_index(&p->s, t, i)]++;
    for (size_t i = 0; i < total; i++) {
        assert_true(used[i] < 2);
        if (!used[i] && p->grad[i] != 0)
            fail_msg("padding at %zu has the gradient %g", i, (double)p->grad[i]);
    }
    free(used);
}

static void check_loss(struct problem *p, struct worst *worst)
{
    double margin, pixels;
    const double loss = loss_of(p, p->s.tensor, &margin, &pixels);
    check_value(worst, p->result.loss, loss, 1e-4 * loss, "the loss");
    check_value(worst, p->result.margin, margin, 1e-4 * margin, "the margin loss");
    check_value(worst, p->result.reconstruction, pixels, 1e-4 * pixels, "the pixel loss");
    size_t correct = 0;
    for (size_t i = 0; i < p->n; i++) {
        const float *lengths = p->lengths + i * p->s.shape.classes;
        const size_t label = p->labels[i], other = p->others[i];
        int is_right = 1;
        for (size_t j = 0; j < p->s.shape.classes; j++)
            is_right &= j == label || j == other || lengths[j] < fminf(lengths[label], lengths[other]);
        correct += (size_t)is_right;
    }
    assert_int_equal(p->result.correct, correct);
}

enum { TEACH_LENGTHS = 1, TEACH_POSES = 2, ALL_PAIRS = 4 };

static float *random_targets(size_t n, struct random *random)
{
    float *targets = check_floats(n);
    for (size_t i = 0; i < n; i++)
        targets[i] = (float)random_real(random);
    return targets;
}

static void check_problem(const struct kernels *k, struct random *random, struct worst *worst,
                          const struct capsnet_shape *shape, size_t n, int how)
{
    struct problem p = {.n = n};
    struct capsnet_workspace *ws = NULL;
    struct capsnet_error error = {""};
    small_create(&p.s, shape, k->level, random);
    small_answer_room(&p.answer, &p.s);
    p.images = small_images(&p.s, n, random);
    p.targets = how & ALL_PAIRS ? small_images(&p.s, n, random) : p.images;
    p.other_targets = small_images(&p.s, n, random);
    for (size_t i = 0; i < n; i++) {
        p.labels[i] = (uint8_t)random_below(random, shape->classes);
        p.others[i] = i % 2 ? (uint8_t)random_below(random, shape->classes) : p.labels[i];
        if (how & ALL_PAIRS)
            p.others[i] = (uint8_t)((p.labels[i] + 1 + i % 2) % shape->classes);
    }
    p.lengths = check_floats(n * shape->classes);
    p.poses = check_floats(n * p.s.at->outputs);
    p.grad = huge_alloc(p.s.at->total * sizeof *p.grad);
    assert_non_null(p.grad);
    for (size_t t = 0; t < SMALL_TENSORS; t++) /* all of it must be overwritten */
        for (size_t i = 0; i < p.s.count[t]; i++)
            canary_fill(p.grad + small_index(&p.s, t, i), 1);
    if (workspace_create(&ws, p.s.model, n + 3, 2, 1, &error) != CAPSNET_OK)
        fail_msg("%s", error.text);
    if (how & TEACH_LENGTHS)
        p.teacher_lengths = random_targets(n * shape->classes, random);
    if (how & TEACH_POSES)
        p.teacher_poses = random_targets(n * p.s.at->outputs, random);
    const struct batch batch = {.n = n, .images = p.images, .targets = p.targets,
                                .labels = p.labels, .others = p.others,
                                .other_targets = p.other_targets, .alpha = ALPHA,
                                .teacher_lengths = p.teacher_lengths,
                                .teacher_poses = p.teacher_poses,
                                .lengths_weight = LENGTHS_WEIGHT, .poses_weight = POSES_WEIGHT};
    batch_gradient(ws, &batch, p.grad, p.lengths, p.poses, &p.result);
    check_loss(&p, worst);
    check_padding(&p);
    for (size_t t = 0; t < SMALL_TENSORS; t++)
        check_tensor(&p, t, random, worst);
    huge_free(p.grad, p.s.at->total * sizeof *p.grad);
    capsnet_workspace_free(ws);
    capsnet_model_free(p.s.model);
    check_release();
}

static void test_iterations(const struct kernels *k, struct random *random, struct worst *worst)
{
    static const size_t iterations[] = {1, 2, 3, 5};
    for (size_t i = 0; i < sizeof iterations / sizeof *iterations; i++) {
        struct capsnet_shape shape = small_shape();
        shape.routing_iterations = iterations[i];
        check_problem(k, random, worst, &shape, 3, 0);
    }
}

/* Two tiles a side that overlap, colour, channels that are no multiple of 16. */
static void test_tiles(const struct kernels *k, struct random *random, struct worst *worst)
{
    struct capsnet_shape shape = small_shape();
    shape.height = 22;
    shape.width = 25;
    shape.channels = 3;
    shape.conv1_kernel = 4;
    shape.conv1_channels = 7;
    shape.primary_kernel = 6;
    shape.primary_types = 3;
    shape.primary_dims = 5;
    check_problem(k, random, worst, &shape, 2, 0);
}

/* More images than a group of routing has lanes, and more than one panel of
 * output channels. */
static void test_groups(const struct kernels *k, struct random *random, struct worst *worst)
{
    struct capsnet_shape shape = small_shape();
    shape.height = shape.width = 9;
    shape.conv1_kernel = 3;
    shape.primary_kernel = 5;
    shape.primary_types = 5;
    shape.primary_dims = 8;
    check_problem(k, random, worst, &shape, 18, 0);
}

/* With another network's lengths, poses or both as targets. */
static void test_teacher(const struct kernels *k, struct random *random, struct worst *worst)
{
    const struct capsnet_shape shape = small_shape();
    for (int taught = 1; taught <= (TEACH_LENGTHS | TEACH_POSES); taught++)
        check_problem(k, random, worst, &shape, 3, taught);
}

/* Two digits an image, each drawn alone by a picture of its own, on the canvas of the
 * paper's pairs: 10 x 10 positions, four tiles. */
static void test_pairs(const struct kernels *k, struct random *random, struct worst *worst)
{
    struct capsnet_shape shape = small_shape();
    shape.height = shape.width = 36;
    check_problem(k, random, worst, &shape, 2, ALL_PAIRS);
}

/* ---- Products in bf16 ----------------------------------------------------- */

static struct capsnet_workspace *workspace_in(struct small *s, enum precision precision, size_t n)
{
    struct capsnet_workspace *ws = NULL;
    struct capsnet_error error = {""};
    if (model_set_products(s->model, precision, &error) != CAPSNET_OK ||
        workspace_create(&ws, s->model, n + 1, 2, 1, &error) != CAPSNET_OK)
        fail_msg("%s", error.text);
    primary_prepare(s->model, ws->pool);
    return ws;
}

/* |a - b| / |b| over one tensor. */
static double apart(const struct small *s, size_t t, const float *a, const float *b)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < s->count[t]; i++) {
        const size_t at = small_index(s, t, i);
        difference += pow((double)a[at] - (double)b[at], 2);
        size += pow((double)b[at], 2);
    }
    return sqrt(difference / size);
}

/* A bf16 is off by up to 2^-9, in the mean by 2^-9 / sqrt(3), and so a product of two by
 * 0.0016 of its size.  Through roots of unity that is what the convolution gets; the noise
 * of the points in use is 6.0^2 where theirs is 2.4^2 (network/winograd.c): 0.010.  Ten
 * times that is allowed, since what a small network sums may cancel. */
static const double BF16_BOUND = 0.1;

/* The gradients of PrimaryCaps and of conv1 from the same gradient behind them, whose
 * three products are all that differs. */
static void check_layer(const struct kernels *k, struct random *random, struct worst *worst,
                        const struct capsnet_shape *shape, size_t n)
{
    struct small s;
    small_create(&s, shape, k->level, random);
    const size_t row = s.at->primary_row, used = s.at->primary_channels;
    const size_t count = n * s.at->positions * row;
    const float *images = small_images(&s, n, random);
    float *dz = check_floats(count), *z[2], *grad[2];
    for (size_t i = 0; i < count; i++)
        dz[i] = i % row < used ? (float)random_real(random) : 0;
    for (enum precision p = PRECISION_F32; p <= PRECISION_BF16; p++) {
        struct capsnet_workspace *ws = workspace_in(&s, p, n);
        z[p] = check_floats(count);
        grad[p] = check_floats(s.at->total);
        primary_spectral(ws, n, images);
        memcpy(z[p], ws->primary, count * sizeof *dz);
        memcpy(ws->primary, dz, count * sizeof *dz);
        primary_backward(ws, n, grad[p]);
        conv1_backward(ws, n, images, grad[p]);
        capsnet_workspace_free(ws);
    }
    double difference = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        difference += pow((double)z[1][i] - (double)z[0][i], 2);
        size += pow((double)z[0][i], 2);
    }
    check_value(worst, sqrt(difference / size), 0, BF16_BOUND, "z in bf16");
    for (size_t t = T_CONV1_W; t <= T_PRIMARY_B; t++)
        check_value(worst, apart(&s, t, grad[PRECISION_BF16], grad[PRECISION_F32]), 0, BF16_BOUND,
                    "the relative error of the gradient of %s in bf16, %zu images", small_names[t],
                    n);
    capsnet_model_free(s.model);
    check_release();
}

static int is_skipped(const struct kernels *k)
{
    if (!k->gemm3_bf16)
        print_message("  skipped: level %s has no such instructions\n", k->level);
    return !k->gemm3_bf16;
}

/* One tile and several; odd batches and even ones; channels that fill no panel and more
 * than a product's columns; kernels whose phases differ and not. */
static void test_bf16_layer(const struct kernels *k, struct random *random, struct worst *worst)
{
    struct capsnet_shape shape = small_shape();
    if (is_skipped(k))
        return;
    check_layer(k, random, worst, &shape, 1);
    shape.height = shape.width = 26;
    shape.conv1_channels = 64;
    shape.primary_types = 5;
    shape.primary_dims = 8;
    check_layer(k, random, worst, &shape, 17);
    shape.primary_kernel = 10;
    check_layer(k, random, worst, &shape, 8);
    shape.primary_kernel = 6;
    shape.conv1_channels = 7;
    shape.height = 33;
    check_layer(k, random, worst, &shape, 3);
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* A whole step.  What rounding changes in z is magnified by squash, by the softmax of
 * routing and at corners of ReLUs and of the loss, in some networks of random weights
 * tenfold: the bound is for the median of several, of every tensor. */
static void test_bf16_step(const struct kernels *k, struct random *random, struct worst *worst)
{
    enum { N = 8, NETWORKS = 7 };
    double errors[SMALL_TENSORS][NETWORKS];
    if (is_skipped(k))
        return;
    for (size_t i = 0; i < NETWORKS; i++) {
        const struct capsnet_shape shape = small_shape();
        struct small s;
        struct batch_result result;
        uint8_t labels[N];
        float *grad[2];
        small_create(&s, &shape, k->level, random);
        for (size_t l = 0; l < N; l++)
            labels[l] = (uint8_t)random_below(random, shape.classes);
        const float *images = small_images(&s, N, random);
        const struct batch batch = {.n = N, .images = images, .targets = images,
                                    .labels = labels, .alpha = ALPHA};
        float *lengths = check_floats(N * shape.classes), *poses = check_floats(N * s.at->outputs);
        for (enum precision p = PRECISION_F32; p <= PRECISION_BF16; p++) {
            struct capsnet_workspace *ws = workspace_in(&s, p, N);
            grad[p] = check_floats(s.at->total);
            batch_gradient(ws, &batch, grad[p], lengths, poses, &result);
            capsnet_workspace_free(ws);
        }
        for (size_t t = 0; t < SMALL_TENSORS; t++)
            errors[t][i] = apart(&s, t, grad[PRECISION_BF16], grad[PRECISION_F32]);
        capsnet_model_free(s.model);
        check_release();
    }
    for (size_t t = 0; t < SMALL_TENSORS; t++) {
        qsort(errors[t], NETWORKS, sizeof *errors[t], compare);
        check_value(worst, errors[t][NETWORKS / 2], 0, BF16_BOUND,
                    "the relative error of the gradient of %s in bf16", small_names[t]);
    }
}

int main(void)
{
    static const struct check checks[] = {
        {"margin loss", test_margin, NULL},
        {"routing iterations", test_iterations, NULL},
        {"tiles, colour", test_tiles, NULL},
        {"groups, panels", test_groups, NULL},
        {"a teacher", test_teacher, NULL},
        {"pairs on 36 x 36", test_pairs, NULL},
        {"a layer in bf16", test_bf16_layer, NULL},
        {"a step in bf16", test_bf16_step, NULL},
    };
    return check_main(checks, sizeof checks / sizeof *checks);
}
