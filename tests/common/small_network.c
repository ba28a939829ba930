/*
 * small_network.c - see small_network.h.
 */
#include "tests/common/small_network.h"
#include "model/inference/inference.h"

#include <math.h>
#include <string.h>

#include "model/weights_file/model_file.h"
#include "tests/common/reference.h"

const char *const small_names[SMALL_TENSORS] = {
    "conv1.weight",     "conv1.bias",     "primary.weight",   "primary.bias",
    "digit.weight",     "decoder.0.weight", "decoder.0.bias", "decoder.2.weight",
    "decoder.2.bias",   "decoder.4.weight", "decoder.4.bias",
};

struct capsnet_shape small_shape(void)
{
    return (struct capsnet_shape){
        .height = 18, .width = 18, .channels = 1, .classes = 3,
        .conv1_kernel = 9, .conv1_channels = 16,
        .primary_kernel = 9, .primary_stride = 2, .primary_types = 2, .primary_dims = 4,
        .pose_dims = 4, .routing_iterations = 3, .decoder_hidden = {5, 6},
    };
}

/* ---- The model ------------------------------------------------------------ */

static void count_tensors(struct small *s)
{
    const struct capsnet_shape *h = &s->shape;
    const size_t taps1 = h->conv1_kernel * h->conv1_kernel * h->channels;
    const size_t taps2 = h->primary_kernel * h->primary_kernel * h->conv1_channels;
    const size_t channels = h->primary_types * h->primary_dims;
    const size_t side_y = (h->height - h->conv1_kernel + 1 - h->primary_kernel) / 2 + 1;
    const size_t side_x = (h->width - h->conv1_kernel + 1 - h->primary_kernel) / 2 + 1;
    const size_t widths[4] = {h->classes * h->pose_dims, h->decoder_hidden[0],
                              h->decoder_hidden[1], h->height * h->width * h->channels};
    s->count[T_CONV1_W] = h->conv1_channels * taps1;
    s->count[T_CONV1_B] = h->conv1_channels;
    s->count[T_PRIMARY_W] = channels * taps2;
    s->count[T_PRIMARY_B] = channels;
    s->count[T_DIGIT_W] = h->primary_types * side_y * side_x * widths[0] * h->primary_dims;
    for (size_t l = 0; l < 3; l++) {
        s->count[T_DENSE0_W + 2 * l] = widths[l] * widths[l + 1];
        s->count[T_DENSE0_B + 2 * l] = widths[l + 1];
    }
}

/* Weights of variance 1 / inputs keep each layer's outputs at the size of its
 * inputs.  The capsules' are larger, because their sum is over many small ones
 * of which squash leaves little; but not so large that softmax is all or
 * nothing, where routing magnifies every rounding error. */
static double tensor_scale(const struct small *s, size_t t)
{
    const struct capsnet_shape *h = &s->shape;
    const double taps1 = (double)(h->conv1_kernel * h->conv1_kernel * h->channels);
    const double taps2 =
        (double)(h->primary_kernel * h->primary_kernel * h->conv1_channels);
    switch (t) {
    case T_CONV1_W: return 3 / sqrt(taps1);
    case T_PRIMARY_W: return 3 / sqrt(taps2);
    case T_DIGIT_W:
        return fmin(6 * (double)h->classes / sqrt((double)(s->at->capsules * h->primary_dims)),
                    3 / sqrt((double)h->primary_dims));
    case T_DENSE0_W: return 2;
    case T_DENSE1_W: case T_DENSE2_W: return 1;
    default: return 0.3; /* biases */
    }
}

void small_create(struct small *s, const struct capsnet_shape *shape, const char *level,
                  struct random *random)
{
    small_create_in(s, shape, level, "f32", random);
}

void small_create_in(struct small *s, const struct capsnet_shape *shape, const char *level,
                     const char *precision, struct random *random)
{
    const struct capsnet_options options = {level, precision, "full", NULL};
    struct capsnet_error error = {""};
    s->shape = *shape;
    if (model_create(&s->model, shape, &options, &error) != CAPSNET_OK)
        fail_msg("%s", error.text);
    s->at = &s->model->at;
    count_tensors(s);
    for (size_t t = 0; t < SMALL_TENSORS; t++) {
        s->tensor[t] = check_doubles(s->count[t]);
        for (size_t i = 0; i < s->count[t]; i++)
            s->tensor[t][i] = (double)(float)(tensor_scale(s, t) * random_real(random));
    }
    small_load(s);
}

void small_load(struct small *s)
{
    struct capsnet_error error = {""};
    for (size_t t = 0; t < SMALL_TENSORS; t++)
        for (size_t i = 0; i < s->count[t]; i++)
            s->model->parameters[small_index(s, t, i)] = (float)s->tensor[t][i];
    if (model_pack(s->model, &error) != CAPSNET_OK)
        fail_msg("%s", error.text);
}

size_t small_index(const struct small *s, enum small_tensor tensor, size_t i)
{
    const struct layout *at = s->at;
    const struct capsnet_shape *h = &s->shape;
    const size_t k1 = h->conv1_kernel, k2 = h->primary_kernel, layer = (tensor - T_DENSE0_W) / 2;
    size_t o, c, y, x;
    switch (tensor) {
    case T_CONV1_W: /* file [o][c][y][x], memory [y][x][c][o] */
        x = i % k1, y = i / k1 % k1, c = i / (k1 * k1) % h->channels;
        o = i / (k1 * k1 * h->channels);
        return at->conv1_weight + ((y * k1 + x) * h->channels + c) * at->conv1_weight_row + o;
    case T_PRIMARY_W: /* file [o][c][y][x], memory [o / 32][y][x][c][o % 32] */
        x = i % k2, y = i / k2 % k2, c = i / (k2 * k2) % h->conv1_channels;
        o = i / (k2 * k2 * h->conv1_channels);
        return at->primary_weight +
               (((o / 32 * k2 + y) * k2 + x) * at->conv1_row + c) * 32 + o % 32;
    case T_DENSE0_W: case T_DENSE1_W: case T_DENSE2_W: /* file [out][in], memory [in][out] */
        return at->decoder_weight[layer] + i % at->in[layer] * at->out_row[layer] +
               i / at->in[layer];
    case T_DENSE0_B: case T_DENSE1_B: case T_DENSE2_B:
        return at->decoder_bias[layer] + i;
    case T_CONV1_B: return at->conv1_bias + i;
    case T_PRIMARY_B: return at->primary_bias + i;
    default: return at->digit_weight + i;
    }
}

float *small_images(const struct small *s, size_t n, struct random *random)
{
    float *images = check_floats(n * s->at->pixels);
    for (size_t i = 0; i < n * s->at->pixels; i++)
        images[i] = (float)fmax(0, 0.25 + 0.75 * random_real(random));
    return images;
}

/* ---- The equations -------------------------------------------------------- */

void small_answer_room(struct small_answer *answer, const struct small *s)
{
    const struct layout *at = s->at;
    answer->conv1 = check_doubles(at->conv1_h * at->conv1_w * s->shape.conv1_channels);
    answer->primary = check_doubles(at->positions * at->primary_channels);
    answer->u = check_doubles(at->capsules * s->shape.primary_dims);
    answer->poses = check_doubles(at->outputs);
    answer->lengths = check_doubles(s->shape.classes);
    answer->picture = check_doubles(at->pixels);
}

static void reference_primary(struct small_answer *a, const struct small *s,
                              double *const *tensor, const float *image)
{
    const struct capsnet_shape *h = &s->shape;
    const struct layout *at = s->at;
    const struct reference_conv first = {h->height, h->width, h->channels,
                                         h->conv1_channels, h->conv1_kernel, 1};
    const struct reference_conv second = {at->conv1_h, at->conv1_w, h->conv1_channels,
                                          at->primary_channels, h->primary_kernel, 2};
    double pixels[8192];
    assert_true(at->pixels <= 8192);
    for (size_t i = 0; i < at->pixels; i++)
        pixels[i] = (double)image[i];
    reference_conv(a->conv1, &first, pixels, tensor[T_CONV1_W], tensor[T_CONV1_B]);
    for (size_t i = 0; i < at->conv1_h * at->conv1_w * h->conv1_channels; i++)
        a->conv1[i] = fmax(0, a->conv1[i]);
    reference_conv(a->primary, &second, a->conv1, tensor[T_PRIMARY_W], tensor[T_PRIMARY_B]);
}

/* Procedure 1 of the paper: capsule t * positions + p, dimension d, is channel
 * t * dims + d at position p. */
static void reference_digit(struct small_answer *a, const struct small *s,
                            double *const *tensor)
{
    const struct capsnet_shape *h = &s->shape;
    const struct layout *at = s->at;
    const struct reference_routing routing = {at->capsules, h->classes, h->pose_dims,
                                              h->primary_dims, tensor[T_DIGIT_W]};
    double raw[64], sum[1024] = {0}, pass[1024], c[16384];
    assert_true(at->outputs <= 1024 && at->capsules * h->classes <= 16384);
    for (size_t i = 0; i < at->capsules; i++) {
        for (size_t d = 0; d < h->primary_dims; d++)
            raw[d] = a->primary[i % at->positions * at->primary_channels +
                                i / at->positions * h->primary_dims + d];
        reference_squash(a->u + i * h->primary_dims, raw, h->primary_dims);
    }
    for (size_t r = 0; r < h->routing_iterations; r++) {
        reference_route(pass, c, &routing, a->u, sum);
        for (size_t j = 0; j < h->classes; j++)
            reference_squash(a->poses + j * h->pose_dims, pass + j * h->pose_dims, h->pose_dims);
        for (size_t k = 0; k < at->outputs; k++)
            sum[k] += a->poses[k];
    }
    for (size_t j = 0; j < h->classes; j++) {
        double square = 0;
        for (size_t e = 0; e < h->pose_dims; e++)
            square += a->poses[j * h->pose_dims + e] * a->poses[j * h->pose_dims + e];
        a->lengths[j] = sqrt(square);
    }
}

/* The decoder with all poses but one masked by zeros. */
static void reference_decoder(struct small_answer *a, const struct small *s,
                              double *const *tensor, size_t class_index)
{
    const struct capsnet_shape *h = &s->shape;
    const struct layout *at = s->at;
    double buffer[2][1024] = {{0}}, *in = buffer[0], *out = buffer[1];
    assert_true(at->outputs <= 1024 && at->in[1] <= 1024 && at->in[2] <= 1024);
    for (size_t e = 0; e < h->pose_dims; e++)
        in[class_index * h->pose_dims + e] = a->poses[class_index * h->pose_dims + e];
    for (size_t l = 0; l < 3; l++) {
        double *to = l == 2 ? a->picture : out;
        for (size_t o = 0; o < at->out[l]; o++) {
            double sum = tensor[T_DENSE0_B + 2 * l][o];
            for (size_t i = 0; i < at->in[l]; i++)
                sum += tensor[T_DENSE0_W + 2 * l][o * at->in[l] + i] * in[i];
            to[o] = l == 2 ? 1 / (1 + exp(-sum)) : fmax(0, sum);
        }
        out = in;
        in = to;
    }
}

double small_pixel_loss(struct small_answer *a, const struct small *s, double *const *tensor,
                        const float *target, size_t class_index)
{
    double sum = 0;
    reference_decoder(a, s, tensor, class_index);
    for (size_t p = 0; p < s->at->pixels; p++) {
        const double error = a->picture[p] - (double)target[p];
        sum += error * error;
    }
    return sum;
}

void small_reference(struct small_answer *a, const struct small *s, double *const *tensor,
                     const float *image, size_t class_index, size_t other)
{
    reference_primary(a, s, tensor, image);
    small_reference_on(a, s, tensor, image, class_index, other);
}

void small_reference_on(struct small_answer *a, const struct small *s, double *const *tensor,
                        const float *image, size_t class_index, size_t other)
{
    reference_digit(a, s, tensor);
    a->margin = 0;
    for (size_t j = 0; j < s->shape.classes; j++) { /* equation 4 */
        double short_by = fmax(0, 0.9 - a->lengths[j]), long_by = fmax(0, a->lengths[j] - 0.1);
        a->margin += j == class_index || j == other ? short_by * short_by : 0.5 * long_by * long_by;
    }
    a->pixels = small_pixel_loss(a, s, tensor, image, class_index);
}
