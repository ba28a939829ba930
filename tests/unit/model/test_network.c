/*
 * test_network.c - the layers, forward, one after the other and together,
 * against plain loops in double precision and against routing worked out by
 * hand; at every CPU level.  SEED repeats the random shapes and weights.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/common/reference.h"
#include "model/inference/inference.h"
#include "model/layers/layers.h"
#include "tests/common/small_network.h"

/* Shapes with a reason each; `random` is added to them. */
static const struct {
    const char *why;
    size_t height, width, channels, classes, conv1_kernel, conv1_channels, primary_kernel, types,
        dims, pose, iterations;
} shapes[] = {
    {"like MNIST", 28, 28, 1, 10, 9, 32, 9, 4, 8, 16, 3},
    {"like the paper's pairs, 4 tiles", 36, 36, 1, 10, 9, 16, 9, 2, 8, 16, 3},
    {"colour, 4 tiles, not square", 40, 35, 3, 3, 9, 16, 9, 2, 4, 4, 3},
    {"kernels of 5, 3 x 1 tiles", 41, 18, 1, 2, 5, 16, 5, 4, 4, 3, 2},
    {"kernels of 3 and 10", 22, 25, 2, 4, 3, 16, 10, 2, 8, 5, 5},
    {"channels no multiple of 16", 20, 20, 1, 3, 9, 17, 9, 11, 3, 7, 1},
    {"smallest image and kernels", 9, 9, 1, 2, 1, 1, 1, 1, 1, 1, 3},
    {"one position, even kernels", 19, 18, 1, 17, 8, 33, 10, 3, 5, 2, 3},
    {"kernel of 2", 12, 13, 1, 3, 4, 5, 2, 1, 16, 4, 3},
};
enum { SHAPES = sizeof shapes / sizeof *shapes, RANDOM_SHAPES = 4 };

static struct capsnet_shape shape_at(size_t i, struct random *random)
{
    struct capsnet_shape h = small_shape();
    if (i < SHAPES) {
        h.height = shapes[i].height;
        h.width = shapes[i].width;
        h.channels = shapes[i].channels;
        h.classes = shapes[i].classes;
        h.conv1_kernel = shapes[i].conv1_kernel;
        h.conv1_channels = shapes[i].conv1_channels;
        h.primary_kernel = shapes[i].primary_kernel;
        h.primary_types = shapes[i].types;
        h.primary_dims = shapes[i].dims;
        h.pose_dims = shapes[i].pose;
        h.routing_iterations = shapes[i].iterations;
        return h;
    }
    h.conv1_kernel = 1 + random_below(random, 11);
    h.primary_kernel = 1 + random_below(random, 10);
    size_t least = h.conv1_kernel + h.primary_kernel - 1;
    least = least < 9 ? 9 : least;
    h.height = least + random_below(random, 20);
    h.width = least + random_below(random, 20);
    h.channels = 1 + random_below(random, 4);
    h.classes = 2 + random_below(random, 11);
    h.conv1_channels = 1 + random_below(random, 20);
    h.primary_types = 1 + random_below(random, 5);
    h.primary_dims = 1 + random_below(random, 9);
    h.pose_dims = 1 + random_below(random, 17);
    h.routing_iterations = 1 + random_below(random, 5);
    h.decoder_hidden[0] = 1 + random_below(random, 40);
    h.decoder_hidden[1] = 1 + random_below(random, 40);
    return h;
}

static void describe(char text[160], const struct capsnet_shape *h)
{
    snprintf(text, 160, "%zux%zux%zu, kernels %zu and %zu, %zu -> %zu x %zu -> %zu x %zu, R %zu",
             h->height, h->width, h->channels, h->conv1_kernel, h->primary_kernel,
             h->conv1_channels, h->primary_types, h->primary_dims, h->classes, h->pose_dims,
             h->routing_iterations);
}

static struct capsnet_workspace *workspace(const struct small *s, size_t n, size_t threads,
                                           int training)
{
    struct capsnet_workspace *ws = NULL;
    struct capsnet_error error = {""};
    if (workspace_create(&ws, s->model, n, threads, training, &error) != CAPSNET_OK)
        fail_msg("%s", error.text);
    return ws;
}

/* ---- Convolutions --------------------------------------------------------- */

/* The same layer over absolute values: what rounding errors are measured by. */
static double *absolute(const double *values, size_t n)
{
    double *out = check_doubles(n);
    for (size_t i = 0; i < n; i++)
        out[i] = fabs(values[i]);
    return out;
}

/* A sum of k products and a bias in fp32, in any order, is off by at most
 * (k + 2) roundings of the sum of absolute values. */
static void check_conv1(const struct small *s, const struct capsnet_workspace *ws,
                        const float *image, const struct small_answer *want,
                        struct worst *worst, const char *what)
{
    const struct capsnet_shape *h = &s->shape;
    const struct layout *at = s->at;
    const struct reference_conv layer = {h->height, h->width, h->channels, h->conv1_channels,
                                         h->conv1_kernel, 1};
    double *size = check_doubles(at->conv1_h * at->conv1_w * h->conv1_channels);
    reference_conv(size, &layer, absolute(check_to_doubles(image, at->pixels), at->pixels),
                   absolute(s->tensor[T_CONV1_W], s->count[T_CONV1_W]),
                   absolute(s->tensor[T_CONV1_B], s->count[T_CONV1_B]));
    float *out = ws->scratch[0].conv1;
    canary_fill(out, at->conv1_size);
    const size_t middle = at->conv1_h / 3; /* in two bands */
    conv1_rows(ws, image, middle, at->conv1_h, 0, out, NULL);
    conv1_rows(ws, image, 0, middle, 0, out, NULL);
    for (size_t p = 0; p < at->conv1_h * at->conv1_w; p++)
        for (size_t o = 0; o < at->conv1_row; o++) {
            const size_t i = p * h->conv1_channels + o;
            const int padding = o >= h->conv1_channels;
            check_value(worst, (double)out[p * at->conv1_row + o], padding ? 0 : want->conv1[i],
                        padding ? 0 : (double)(at->conv1_taps + 2) * ROUNDING * size[i],
                        "conv1 of %s, position %zu, channel %zu", what, p, o);
        }
}

/* The spectral product mixes all pixels and taps, so that its error is
 * measured by the image's largest sum of absolute values.  Rounding errors of
 * n independent operations grow as sqrt(n); 4 is margin.  The transforms' 28, of
 * each channel of each phase, count by the points' noise (network/winograd.c), 34
 * in each direction for the worst output, whatever the number of taps. */
static double primary_bound(const struct small *s, const struct small_answer *want,
                            enum plan plan)
{
    const struct capsnet_shape *h = &s->shape;
    const struct layout *at = s->at;
    const struct reference_conv layer = {at->conv1_h, at->conv1_w, h->conv1_channels,
                                         at->primary_channels, h->primary_kernel, 2};
    const size_t values = at->positions * at->primary_channels;
    double *size = check_doubles(values), largest = 0;
    reference_conv(size, &layer, want->conv1, /* not negative, after the ReLU */
                   absolute(s->tensor[T_PRIMARY_W], s->count[T_PRIMARY_W]),
                   absolute(s->tensor[T_PRIMARY_B], s->count[T_PRIMARY_B]));
    for (size_t i = 0; i < values; i++)
        largest = fmax(largest, size[i]);
    const double taps = (double)(h->primary_kernel * h->primary_kernel * h->conv1_channels);
    const double noise = plan == PLAN_SPECTRAL ? 34 * 34 * sqrt(28 * (double)at->spectral_k) / taps : 0;
    return 4 * (sqrt(taps + (double)at->conv1_taps) + noise) * ROUNDING * largest;
}

static void check_primary(const struct small *s, const struct capsnet_workspace *ws, size_t image,
                          const struct small_answer *want, double bound, struct worst *worst,
                          const char *what)
{
    const struct layout *at = s->at;
    const float *z = ws->primary + image * at->positions * at->primary_row;
    for (size_t p = 0; p < at->positions; p++)
        for (size_t o = 0; o < at->primary_channels; o++)
            check_value(worst, (double)z[p * at->primary_row + o],
                        want->primary[p * at->primary_channels + o], bound,
                        "PrimaryCaps of %s, image %zu, position %zu, channel %zu", what, image, p,
                        o);
}

/* ---- The whole network ---------------------------------------------------- */

/* The direct plan is exact to 1e-5, the spectral one with kernels of 9x9 to the 1e-4
 * that capsnet.h promises; kernels of 1x1, whose taps do not average anything,
 * make up to three times that.  Lengths and pixels lie in [0,1]. */
static void check_answers(const struct small *s, struct capsnet_workspace *ws, size_t n,
                          const float *images, const struct small_answer *want,
                          const size_t *classes, struct worst *worst, const char *what)
{
    const struct layout *at = s->at;
    const double bound = ws->training || plan_for(s->model, n) == PLAN_SPECTRAL ? 3e-4 : 1e-5;
    const size_t pose = s->shape.pose_dims;
    float *lengths = check_floats(n * s->shape.classes), *poses = check_floats(n * at->outputs);
    float *one = check_floats(n * pose), *pictures = check_floats(n * at->pixels);
    canary_fill(lengths, n * s->shape.classes);
    canary_fill(poses, n * at->outputs);
    canary_fill(pictures, n * at->pixels);
    capsnet_forward(ws, n, images, lengths, poses);
    for (size_t i = 0; i < n; i++)
        memcpy(one + i * pose, poses + i * at->outputs + classes[i] * pose, pose * sizeof *one);
    capsnet_decode(ws, n, one, classes, pictures);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < s->shape.classes; j++)
            check_value(worst, (double)lengths[i * s->shape.classes + j], want[i].lengths[j], bound,
                        "length of %s, image %zu, class %zu", what, i, j);
        for (size_t k = 0; k < at->outputs; k++)
            check_value(worst, (double)poses[i * at->outputs + k], want[i].poses[k], bound,
                        "pose of %s, image %zu, value %zu", what, i, k);
        for (size_t p = 0; p < at->pixels; p++)
            check_value(worst, (double)pictures[i * at->pixels + p], want[i].picture[p], bound,
                        "picture of %s, image %zu, pixel %zu", what, i, p);
    }
}

static void check_shape(const struct kernels *k, struct random *random, struct worst *worst,
                        const struct capsnet_shape *shape)
{
    enum { N = 5, DIRECT = 2 };
    struct small s;
    struct small_answer want[N];
    size_t classes[N];
    char what[160];
    describe(what, shape);
    small_create(&s, shape, k->level, random);
    const float *images = small_images(&s, N, random);
    struct capsnet_workspace *ws = workspace(&s, N, 1, 0), *training = workspace(&s, N, 1, 1);
    for (size_t i = 0; i < N; i++) {
        classes[i] = random_below(random, shape->classes);
        small_answer_room(&want[i], &s);
        small_reference(&want[i], &s, s.tensor, images + i * s.at->pixels, classes[i],
                        classes[i]);
    }
    check_conv1(&s, ws, images, &want[0], worst, what);
    canary_fill(ws->primary, N * s.at->positions * s.at->primary_row);
    primary_direct(ws, DIRECT, images);
    for (size_t i = 0; i < DIRECT; i++)
        check_primary(&s, ws, i, &want[i], primary_bound(&s, &want[i], PLAN_DIRECT), worst, what);
    canary_fill(ws->primary, N * s.at->positions * s.at->primary_row);
    primary_spectral(ws, N, images);
    for (size_t i = 0; i < N; i++)
        check_primary(&s, ws, i, &want[i], primary_bound(&s, &want[i], PLAN_SPECTRAL), worst,
                      what);
    check_answers(&s, ws, DIRECT, images, want, classes, worst, what);
    check_answers(&s, ws, N, images, want, classes, worst, what);
    check_answers(&s, training, N, images, want, classes, worst, what);
    capsnet_workspace_free(ws);
    capsnet_workspace_free(training);
    capsnet_model_free(s.model);
}

static void test_shapes(const struct kernels *k, struct random *random, struct worst *worst)
{
    for (size_t i = 0; i < SHAPES + RANDOM_SHAPES; i++) {
        struct capsnet_shape shape = shape_at(i, random);
        struct worst one = {0, 0};
        char what[160];
        describe(what, &shape);
        check_shape(k, random, &one, &shape);
        print_message("  %s%s%s: %.3f of the bound\n", what, i < SHAPES ? ", " : "",
                      i < SHAPES ? shapes[i].why : "", one.ratio);
        check_release();
        worst->values += one.values;
        worst->ratio = fmax(worst->ratio, one.ratio);
    }
}

/* ---- Routing by hand ------------------------------------------------------ */

/* A network of `capsules` primary capsules at one position and two classes,
 * all 2-D, whose capsules all are u = (1/2, 0) - what squash makes of (1, 0) -
 * so that prediction vectors are half of the first column of W. */
static void hand_create(struct small *s, const struct kernels *k, struct random *random,
                        size_t capsules, size_t iterations)
{
    struct capsnet_shape shape = small_shape();
    shape.height = shape.width = 17;
    shape.classes = 2;
    shape.primary_types = capsules;
    shape.primary_dims = shape.pose_dims = 2;
    shape.routing_iterations = iterations;
    small_create(s, &shape, k->level, random);
    memset(s->tensor[T_DIGIT_W], 0, s->count[T_DIGIT_W] * sizeof(double));
}

/* Capsule i predicts (x, y) for class j. */
static void hand_predict(struct small *s, size_t i, size_t j, double x, double y)
{
    double *w = s->tensor[T_DIGIT_W] + (i * 2 + j) * 4; /* [pose][dims] */
    w[0] = 2 * x;
    w[2] = 2 * y;
}

/* Routes, and frees the model. */
static void hand_route(struct small *s, float lengths[2], float poses[4])
{
    struct capsnet_workspace *ws = workspace(s, 1, 1, 0);
    small_load(s);
    for (size_t i = 0; i < s->at->capsules; i++) {
        ws->primary[2 * i] = 1;
        ws->primary[2 * i + 1] = 0;
    }
    digit_forward(ws, 1, NULL);
    digit_read(ws, 1, lengths, poses);
    capsnet_workspace_free(ws);
    capsnet_model_free(s->model);
}

/* One capsule that predicts (1, 0) and (0, 1): agreement is the same for both
 * classes, so c stays 1/2, s = 1/2, v = 1/2 * 1/2 / (5/4) = 1/5. */
static void test_one_capsule(const struct kernels *k, struct random *random, struct worst *worst)
{
    for (size_t r = 1; r <= 5; r++) {
        struct small s;
        float lengths[2], poses[4];
        const double want[4] = {0.2, 0, 0, 0.2};
        hand_create(&s, k, random, 1, r);
        hand_predict(&s, 0, 0, 1, 0);
        hand_predict(&s, 0, 1, 0, 1);
        hand_route(&s, lengths, poses);
        for (size_t i = 0; i < 4; i++)
            check_value(worst, (double)poses[i], want[i], 4 * ROUNDING, "R %zu, pose %zu", r, i);
        for (size_t j = 0; j < 2; j++)
            check_value(worst, (double)lengths[j], 0.2, 4 * ROUNDING, "R %zu, length %zu", r, j);
    }
}

/* Six capsules that all predict (3/5, 4/5) everywhere: s = 3 (3/5, 4/5) at any
 * R, and |v| = 9 / 10. */
static void test_all_equal(const struct kernels *k, struct random *random, struct worst *worst)
{
    for (size_t r = 1; r <= 5; r++) {
        struct small s;
        float lengths[2], poses[4];
        hand_create(&s, k, random, 6, r);
        for (size_t i = 0; i < 12; i++)
            hand_predict(&s, i / 2, i % 2, 0.6, 0.8);
        hand_route(&s, lengths, poses);
        for (size_t j = 0; j < 2; j++) {
            check_value(worst, (double)lengths[j], 0.9, 8 * ROUNDING, "R %zu, length", r);
            check_value(worst, (double)poses[2 * j], 0.54, 8 * ROUNDING, "R %zu, x", r);
            check_value(worst, (double)poses[2 * j + 1], 0.72, 8 * ROUNDING, "R %zu, y", r);
        }
    }
}

/* Two capsules predict (1, 0) for class 0, a third (-1, 0); nothing for class
 * 1.  With sigma the logistic function:
 *   R = 1: s = (1 + 1 - 1) / 2 = 1/2, v = 1/5 along x, so b = 1/5, 1/5, -1/5;
 *   R = 2: s = 2 sigma(1/5) - sigma(-1/5) = 3 sigma(1/5) - 1;
 *   R = 3: b = +- (1/5 + v2), s = 3 sigma(1/5 + v2) - 1. */
static void test_agreement(const struct kernels *k, struct random *random, struct worst *worst)
{
    double b = 0, v = 0;
    for (size_t r = 1; r <= 5; r++) {
        struct small s;
        float lengths[2], poses[4];
        b += v;
        const double sum = 3 / (1 + exp(-b)) - 1, before = v;
        v = sum * sum / (1 + sum * sum);
        assert_true(v > before); /* the agreeing two win the vote */
        hand_create(&s, k, random, 3, r);
        hand_predict(&s, 0, 0, 1, 0);
        hand_predict(&s, 1, 0, 1, 0);
        hand_predict(&s, 2, 0, -1, 0);
        hand_route(&s, lengths, poses);
        check_value(worst, (double)poses[0], v, 32 * ROUNDING, "R %zu, v", r);
        check_value(worst, (double)lengths[0], v, 32 * ROUNDING, "R %zu, |v|", r);
        for (size_t i = 1; i < 4; i++)
            check_value(worst, (double)poses[i], 0, 0, "R %zu, pose %zu", r, i);
        check_value(worst, (double)lengths[1], 0, 0, "R %zu, length 1", r);
        if (r == 2) /* by pocket calculator */
            check_value(worst, v, 0.296692, 1e-6, "R 2");
    }
}

/* One iteration is the plain mean over the classes: s_j = sum_i u_hat_ij / 2. */
static void test_one_iteration(const struct kernels *k, struct random *random,
                               struct worst *worst)
{
    enum { CAPSULES = 37 };
    struct small s;
    double sum[4] = {0}, size = 0;
    float lengths[2], poses[4];
    hand_create(&s, k, random, CAPSULES, 1);
    for (size_t i = 0; i < 2 * CAPSULES; i++) {
        const double x = (double)(float)random_real(random), y = (double)(float)random_real(random);
        hand_predict(&s, i / 2, i % 2, x, y);
        sum[i % 2 * 2] += x / 2;
        sum[i % 2 * 2 + 1] += y / 2;
        size += fabs(x) + fabs(y);
    }
    hand_route(&s, lengths, poses);
    for (size_t j = 0; j < 2; j++) {
        double v[2];
        reference_squash(v, sum + 2 * j, 2);
        for (size_t e = 0; e < 2; e++)
            check_value(worst, (double)poses[2 * j + e], v[e], 4 * ROUNDING * size,
                        "class %zu, pose %zu", j, e);
        check_value(worst, (double)lengths[j], hypot(v[0], v[1]), 4 * ROUNDING * size,
                    "length %zu", j);
    }
}

/* ---- Decoder and small functions ------------------------------------------ */

/* Poses of capsules other than the chosen one are masked: an image of a batch
 * decodes as it does alone, whatever was decoded before it. */
static void test_mask(const struct kernels *k, struct random *random, struct worst *worst)
{
    enum { N = 6 };
    struct small s;
    struct capsnet_shape shape = small_shape();
    small_create(&s, &shape, k->level, random);
    struct capsnet_workspace *ws = workspace(&s, N, 1, 0);
    float *poses = check_floats(N * shape.pose_dims);
    float *pictures = check_floats(N * s.at->pixels), *alone = check_floats(s.at->pixels);
    random_fill(random, poses, N * shape.pose_dims, MAGNITUDE_ONE);
    for (size_t i = 0; i < N; i++) /* the same pose through two classes each */
        memcpy(poses + i * shape.pose_dims, poses + i / 2 * 2 * shape.pose_dims,
               shape.pose_dims * sizeof *poses);
    for (size_t turn = 0; turn < 3; turn++) {
        size_t classes[N];
        for (size_t i = 0; i < N; i++)
            classes[i] = (i + turn) % shape.classes;
        capsnet_decode(ws, N, poses, classes, pictures);
        assert_true(memcmp(pictures, pictures + s.at->pixels,
                           s.at->pixels * sizeof *pictures) != 0);
        for (size_t i = 0; i < N; i++) {
            capsnet_decode(ws, 1, poses + i * shape.pose_dims, classes + i, alone);
            for (size_t p = 0; p < s.at->pixels; p++) {
                assert_true(alone[p] > 0 && alone[p] < 1);
                check_value(worst, (double)alone[p], (double)pictures[i * s.at->pixels + p],
                            32 * ROUNDING, "class %zu, pixel %zu", classes[i], p);
            }
        }
    }
    capsnet_workspace_free(ws);
    capsnet_model_free(s.model);
}

static void test_winner(const struct kernels *k, struct random *random, struct worst *worst)
{
    (void)k;
    (void)random;
    const struct capsnet_shape shape = small_shape();
    assert_int_equal(capsnet_winner(&shape, (float[]){0.1f, 0.3f, 0.2f}), 1);
    assert_int_equal(capsnet_winner(&shape, (float[]){0.1f, 0.3f, 0.3f}), 1);
    assert_int_equal(capsnet_winner(&shape, (float[]){0, 0, 0}), 0);
    assert_int_equal(capsnet_winner(&shape, (float[]){0.1f, 0.3f, 0.9f}), 2);

    float a[18 * 18] = {0}, b[18 * 18] = {0};
    assert_true(capsnet_pixel_error(&shape, a, b) == 0);
    a[0] = 1;
    b[18 * 18 - 1] = 0.5f;
    check_value(worst, (double)capsnet_pixel_error(&shape, a, b), 1.25 / (18 * 18), ROUNDING,
                "pixel error");
    struct capsnet_shape odd = shape;
    odd.height = odd.width = 17;
    b[18 * 18 - 1] = 0;
    b[17 * 17 - 1] = 0.5f;
    check_value(worst, (double)capsnet_pixel_error(&odd, a, b), 1.25 / (17 * 17), ROUNDING,
                "pixel error");
    check_value(worst, (double)capsnet_ink(&odd, b), 0.25 / (17 * 17), ROUNDING, "ink");
}

int main(void)
{
    static const struct check checks[] = {
        {"shapes", test_shapes, NULL},
        {"one capsule", test_one_capsule, NULL},
        {"all predictions equal", test_all_equal, NULL},
        {"two agree, one does not", test_agreement, NULL},
        {"one iteration", test_one_iteration, NULL},
        {"decoder mask", test_mask, NULL},
        {"winner, pixel error", test_winner, NULL},
    };
    return check_main(checks, sizeof checks / sizeof *checks);
}
