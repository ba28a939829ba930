/*
 * test_initial_weights.c - what the weights of a run are drawn from: each scheme's
 * spread, tensor by tensor, its biases, and padding that stays zero.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/train/learn/run_state.h"
#include "model/weights_file/model_file.h"

/* Sizes of no multiple of a vector, and more than one panel of channels. */
static const struct capsnet_shape shape = {
    .height = 22, .width = 20, .channels = 1, .classes = 3, .conv1_kernel = 9,
    .conv1_channels = 37, .primary_kernel = 9, .primary_stride = 2, .primary_types = 7,
    .primary_dims = 5, .pose_dims = 6, .routing_iterations = 3, .decoder_hidden = {45, 70}};

struct drawn {
    struct capsnet_model *model;
    size_t checked; /* values of the flat array that some tensor has */
};

static struct drawn draw(enum init_scheme scheme, float primary_scale, uint64_t seed)
{
    const struct train_options o = {.seed = seed, .init_scheme = scheme,
                                    .primary_scale = primary_scale};
    const struct capsnet_options how = {"ref", "f32", "full", NULL};
    struct drawn d = {0};
    struct capsnet_error error;
    if (model_create(&d.model, &shape, &how, &error) != CAPSNET_OK)
        fail_msg("%s", error.text);
    struct trainer t = {.options = &o, .model = d.model};
    if (trainer_init_weights(&t, &error) != CAPSNET_OK)
        fail_msg("%s", error.text);
    return d;
}

/* count weights between offset and end, the others padding: none of them beyond
 * most, the largest near it, and the mean square that of the distribution, to five
 * standard errors of so many (no square is above 4 times their mean). */
static void check_weights(struct drawn *d, const char *name, size_t offset, size_t end,
                          size_t count, double most, double mean_square)
{
    const float *w = d->model->parameters;
    double largest = 0, sum = 0, squares = 0;
    size_t drawn = 0;
    for (size_t i = offset; i < end; i++) {
        const double x = (double)w[i];
        drawn += x != 0;
        sum += x;
        squares += x * x;
        largest = fmax(largest, fabs(x));
    }
    if (drawn != count)
        fail_msg("%s: %zu of %zu weights are not 0", name, drawn, count);
    const double n = (double)count, slack = 5 * 2 / sqrt(n);
    if (!(largest <= most && largest > 0.9 * most) ||
        !(fabs(squares / n / mean_square - 1) < slack) ||
        !(fabs(sum / n) < 5 * sqrt(mean_square / n)))
        fail_msg("%s: largest %g of %g, mean square %g of %g, mean %g", name, largest, most,
                 squares / n, mean_square, sum / n);
    d->checked += end - offset;
}

static void check_biases(struct drawn *d, const char *name, size_t offset, size_t n, size_t row,
                         float value)
{
    for (size_t i = 0; i < row; i++)
        if (d->model->parameters[offset + i] != (i < n ? value : 0))
            fail_msg("%s %zu is %g", name, i, (double)d->model->parameters[offset + i]);
    d->checked += row;
}

/* A normal cut off at two deviations has this share of its variance. */
static const double CUT = 0.7737413;

struct expected {
    double most, mean_square;
};

static struct expected normal(double deviation)
{
    return (struct expected){2 * deviation, CUT * deviation * deviation};
}

static struct expected glorot(size_t in, size_t out)
{
    const double limit = sqrt(6.0 / (double)(in + out));
    return (struct expected){limit, limit * limit / 3};
}

static void check_scheme(enum init_scheme scheme, float scale)
{
    struct drawn d = draw(scheme, scale, 1);
    const struct layout *at = &d.model->at;
    const int authors = scheme == INIT_AUTHORS;
    const float bias = authors ? 0.1f : 0;
    const size_t digit = at->capsules * at->outputs * shape.primary_dims;
    struct expected e = authors ? normal(0.05) : glorot(81, 81 * 37);
    check_weights(&d, "conv1.weight", at->conv1_weight, at->conv1_bias, 81 * 37, e.most,
                  e.mean_square);
    check_biases(&d, "conv1.bias", at->conv1_bias, 37, at->conv1_row, bias);
    e = authors ? normal(0.1 * (double)scale) : glorot(81 * 37, 81 * 35);
    check_weights(&d, "primary.weight", at->primary_weight, at->primary_bias, 81 * 37 * 35, e.most,
                  e.mean_square);
    check_biases(&d, "primary.bias", at->primary_bias, 35, at->primary_row, bias);
    e = normal(0.1);
    check_weights(&d, "digit.weight", at->digit_weight, at->digit_weight + digit, digit, e.most,
                  e.mean_square);
    for (size_t l = 0; l < 3; l++) {
        e = authors ? normal(0.1) : glorot(at->in[l], at->out[l]);
        check_weights(&d, "decoder weight", at->decoder_weight[l], at->decoder_bias[l],
                      at->in[l] * at->out[l], e.most, e.mean_square);
        check_biases(&d, "decoder bias", at->decoder_bias[l], at->out[l], at->out_row[l], bias);
    }
    assert_in_range(d.checked, capsnet_model_parameters(d.model), at->total);
    capsnet_model_free(d.model);
}

static void test_glorot(void **state)
{
    (void)state;
    check_scheme(INIT_GLOROT, 1);
    check_scheme(INIT_GLOROT, 0.25f); /* of what is computed, whatever its scale */
}

static void test_authors(void **state)
{
    (void)state;
    check_scheme(INIT_AUTHORS, 1);
    check_scheme(INIT_AUTHORS, 1.0f / 7);
}

static void test_seed(void **state)
{
    (void)state;
    struct drawn a = draw(INIT_GLOROT, 1, 1), b = draw(INIT_GLOROT, 1, 1);
    struct drawn c = draw(INIT_GLOROT, 1, 2);
    const size_t bytes = a.model->at.total * sizeof(float);
    assert_memory_equal(a.model->parameters, b.model->parameters, bytes);
    assert_memory_not_equal(a.model->parameters, c.model->parameters, bytes);
    capsnet_model_free(a.model);
    capsnet_model_free(b.model);
    capsnet_model_free(c.model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_glorot),
        cmocka_unit_test(test_authors),
        cmocka_unit_test(test_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
