/*
 * digit_capsules.c - the digit capsules: squash of the primary capsules, prediction
 * vectors and routing by agreement (section 2 of the paper, procedure 1).
 *
 *   u_i = squash(primary capsule i);  u_hat_ij = W_ij u_i;  b_ij = 0
 *   R times: c_i = softmax(b_i);  s_j = sum_i c_ij u_hat_ij;  v_j = squash(s_j);
 *            b_ij += u_hat_ij . v_j
 *
 * b is never stored: before iteration r, b_ij = u_hat_ij . vsum_j with vsum
 * the sum of the v so far.  The backward pass follows from that form.  With
 * dv of the last iteration given, for r = R-1 .. 1:
 *   ds = squash'(s_r) dv_r;  dc_ij = u_hat_ij . ds_j;
 *   gb_ij = c_ij (dc_ij - sum_k c_ik dc_ik);
 *   dvsum_j = sum_i gb_ij u_hat_ij, which goes to dv of every earlier iteration;
 * and at the end, over all iterations,
 *   du_hat_ij = sum_r c^r_ij ds^r_j + sum_{r>0} gb^r_ij vsum^r_j.
 *
 * Training takes images KERNEL_LANES at a time, one per vector lane; lanes past
 * n hold zero capsules, whose gradients are zero.  Inference takes them one by
 * one, KERNEL_LANES capsules side by side (kernels/routing.c).
 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "model/layers/layers.h"

struct pass {
    struct capsnet_workspace *ws;
    size_t n;
    const struct capsnet_routing *const *routing;
    const float *dposes;
    float *grad;
};

static struct routing routing_of(const struct capsnet_workspace *ws)
{
    const struct capsnet_model *model = ws->model;
    return (struct routing){model->at.capsules, model->shape.classes, model->shape.pose_dims,
                            model->shape.primary_dims, model->parameters + model->at.digit_weight,
                            ws->dim_words, ws->output_words};
}

/* Floats of one iteration's s or v, and of one group's capsules. */
static size_t routed_size(const struct capsnet_model *model)
{
    return model->at.outputs * KERNEL_LANES;
}
static size_t capsules_size(const struct capsnet_model *model)
{
    return model->at.capsules * model->shape.primary_dims * KERNEL_LANES;
}

static size_t lanes_of(size_t n, size_t group)
{
    size_t left = n - group * KERNEL_LANES;
    return left < KERNEL_LANES ? left : KERNEL_LANES;
}

/* Between primary output [positions][primary_row] of a group's images, at z, and
 * capsules [type][position][dim][lane]: KERNEL_LANES channels of all images at a
 * time are a square that is transposed. */
enum { SQUARE = KERNEL_LANES };

/* Where channel k of position p lies in the capsules. */
static size_t capsule_row(const struct capsnet_model *model, size_t p, size_t k)
{
    const size_t dims = model->shape.primary_dims;
    return (k / dims * model->at.positions + p) * dims + k % dims;
}

static void gather(const struct capsnet_workspace *ws, size_t n, size_t group, float *capsules)
{
    const struct layout *at = &ws->model->at;
    const size_t lanes = lanes_of(n, group), image = at->positions * at->primary_row;
    const float *z = ws->primary + group * KERNEL_LANES * image;
    _Alignas(64) float in[SQUARE * SQUARE] = {0}, out[SQUARE * SQUARE];
    for (size_t k = 0; k < at->primary_channels; k += SQUARE)
        for (size_t p = 0; p < at->positions; p++) {
            for (size_t lane = 0; lane < lanes; lane++)
                memcpy(in + lane * SQUARE, z + lane * image + p * at->primary_row + k,
                       SQUARE * sizeof *in);
            ws->model->kernels->transpose(out, SQUARE, in, SQUARE, SQUARE, SQUARE);
            for (size_t i = 0; i < smaller(SQUARE, at->primary_channels - k); i++)
                memcpy(capsules + capsule_row(ws->model, p, k + i) * KERNEL_LANES,
                       out + i * SQUARE, KERNEL_LANES * sizeof *out);
        }
}

/* The way back. */
static void scatter(struct capsnet_workspace *ws, size_t n, size_t group, const float *capsules)
{
    const struct layout *at = &ws->model->at;
    const size_t lanes = lanes_of(n, group), image = at->positions * at->primary_row;
    float *z = ws->primary + group * KERNEL_LANES * image;
    _Alignas(64) float in[SQUARE * SQUARE], out[SQUARE * SQUARE];
    for (size_t k = 0; k < at->primary_channels; k += SQUARE)
        for (size_t p = 0; p < at->positions; p++) {
            const size_t channels = smaller(SQUARE, at->primary_channels - k);
            memset(in + channels * SQUARE, 0, (SQUARE - channels) * SQUARE * sizeof *in);
            for (size_t i = 0; i < channels; i++)
                memcpy(in + i * SQUARE, capsules + capsule_row(ws->model, p, k + i) * KERNEL_LANES,
                       KERNEL_LANES * sizeof *in);
            ws->model->kernels->transpose(out, SQUARE, in, SQUARE, SQUARE, SQUARE);
            for (size_t lane = 0; lane < lanes; lane++)
                memcpy(z + lane * image + p * at->primary_row + k, out + lane * SQUARE,
                       SQUARE * sizeof *out);
        }
}

/* ---- Forward, inference -------------------------------------------------- */

static size_t scratch_row(const struct layout *at)
{
    return (at->outputs + KERNEL_LANES - 1) / KERNEL_LANES * KERNEL_LANES;
}

/* Capsules of a type lie a row of z apart, so that no CPU guesses which comes next: those of so
 * many types further on are asked for. */
enum { TYPES_AHEAD = 2 };

/* z of one image [positions][primary_row] to u [group][dim][lane], as far as r's groups go. */
static void gather_groups(const struct capsnet_model *model, const struct image_routing *r,
                          const float *z, float *u)
{
    const struct layout *at = &model->at;
    static const float none[KERNEL_MAX_DIMS];
    const size_t dims = r->dims, first = r->first * KERNEL_LANES;
    size_t t = first / at->positions, p = first % at->positions;
    for (size_t g = r->first; g < r->first + r->count; g++) {
        const float *from[KERNEL_LANES];
        for (size_t lane = 0; lane < KERNEL_LANES; lane++) {
            from[lane] = t < model->shape.primary_types ? z + p * at->primary_row + t * dims : none;
            if (++p == at->positions) {
                p = 0;
                t++;
            }
        }
        for (size_t lane = 0; lane < KERNEL_LANES; lane++)
            __builtin_prefetch(from[lane] + TYPES_AHEAD * dims);
        model->kernels->gather_capsules(u + g * dims * KERNEL_LANES, from, dims);
    }
}

/* v = squash(s) of every class, and vsum += v. */
static void squash_poses(const struct capsnet_model *model, const float *s, float *v, float *vsum)
{
    const size_t pose = model->shape.pose_dims;
    for (size_t j = 0; j < model->shape.classes; j++, s += pose, v += pose, vsum += pose) {
        float sum = 0;
        for (size_t e = 0; e < pose; e++)
            sum += s[e] * s[e];
        const float h = sqrtf(sum) / (1 + sum);
        for (size_t e = 0; e < pose; e++) {
            v[e] = h * s[e];
            vsum[e] += v[e];
        }
    }
}

/* |v| of one capsule, its values step floats apart.  The squares of a long capsule may
 * round to a sum above 1.  Not fminf, which would make 1 of a NaN. */
static float length_of(const float *v, size_t pose, size_t step)
{
    float sum = 0;
    for (size_t e = 0; e < pose; e++)
        sum += v[e * step] * v[e * step];
    return sum > 1 ? 1 : sqrtf(sum);
}

/* Images first .. end - 1 of those in a scratch, of which the first is `image` of the pass, on
 * the way through their iterations. */
struct routed {
    const struct pass *pass;
    struct routing_scratch *in;
    size_t image, first, end, iteration;
};

/* Prediction vectors of image b of the scratch. */
static struct predictions predictions_of(const struct routed *images, size_t b)
{
    const struct capsnet_model *model = images->pass->ws->model;
    const float *u_hat = images->in->u_hat + b * prediction_size(model);
    if (model->packed.has_bf16_layers)
        return (struct predictions){.bf16 = (const uint32_t *)(const void *)u_hat};
    return (struct predictions){.f32 = u_hat};
}

/* The groups of a part: two by two, as they are routed, of all. */
static struct image_routing part_of(const struct capsnet_model *model, size_t part)
{
    const struct layout *at = &model->at;
    const size_t pairs = (at->groups + 1) / 2, first = part * pairs / ROUTING_PARTS * 2;
    const size_t end = smaller((part + 1) * pairs / ROUTING_PARTS * 2, at->groups);
    return (struct image_routing){at->groups, first, end - first, model->shape.classes,
                                  model->shape.pose_dims, model->shape.primary_dims,
                                  model->packed.digit, model->packed.digit_scales};
}

/* The first iteration of one part, of all images of the scratch. */
static void predict_part(const struct routed *images, const struct image_routing *part, float *s,
                         float *sums)
{
    const struct capsnet_workspace *ws = images->pass->ws;
    const struct capsnet_model *model = ws->model;
    const struct kernels *kernels = model->kernels;
    const struct layout *at = &model->at;
    const struct routing_scratch *in = images->in;
    const size_t size = at->positions * at->primary_row, group = part->dims * KERNEL_LANES;
    for (size_t b = 0; b < images->end; b++) {
        float *u = in->u + b * at->groups * group;
        gather_groups(model, part, ws->primary + (images->image + b) * size, u);
        kernels->squash(u + part->first * group, u + part->first * group, part->count, part->dims);
    }
    uint32_t *words = (uint32_t *)(void *)in->u_hat;
    switch (model->packed.digit_form) {
    case FORM_F32: kernels->predict_images(part, images->end, in->u, in->u_hat, s, sums); break;
    case FORM_F16: kernels->predict_images_f16(part, images->end, in->u, in->u_hat, s, sums); break;
    case FORM_BF16: kernels->predict_images_bf16(part, images->end, in->u, words, s, sums); break;
    case FORM_INT8: kernels->predict_images_int8(part, images->end, in->u, words, s, sums); break;
    }
}

/* Item: an iteration of one part of the images. */
static void route_part(void *context, size_t item, size_t thread)
{
    const struct routed *images = context;
    const struct capsnet_workspace *ws = images->pass->ws;
    const struct kernels *kernels = ws->model->kernels;
    const struct image_routing part = part_of(ws->model, item);
    const size_t row = scratch_row(&ws->model->at);
    float *s = images->in->s + item * ROUTED_AT_ONCE * row, *sums = ws->scratch[thread].sums;
    if (images->iteration == 0)
        predict_part(images, &part, s, sums);
    for (size_t b = images->first; images->iteration > 0 && b < images->end; b++) {
        const struct predictions u_hat = predictions_of(images, b);
        const float *vsum = images->in->vsum + b * row;
        if (u_hat.bf16)
            kernels->route_image_bf16(&part, u_hat.bf16, vsum, s + b * row, sums);
        else
            kernels->route_image(&part, u_hat.f32, vsum, s + b * row, sums);
    }
}

/* What an iteration of image b makes of its parts. */
static void end_iteration(const struct routed *images, size_t b)
{
    const struct pass *pass = images->pass;
    const struct capsnet_model *model = pass->ws->model;
    const size_t row = scratch_row(&model->at), i = images->image + b, r = images->iteration;
    const struct capsnet_routing *told = pass->routing ? pass->routing[i] : NULL;
    float *s = images->in->s + b * row, *vsum = images->in->vsum + b * row;
    float *v = pass->ws->v + i * model->at.outputs;
    for (size_t part = 1; part < ROUTING_PARTS; part++)
        for (size_t k = 0; k < row; k++)
            s[k] += s[part * ROUTED_AT_ONCE * row + k];
    if (told)
        routing_round(model, r, predictions_of(images, b), vsum, s, told);
    squash_poses(model, s, v, vsum);
    const size_t classes = model->shape.classes, pose = model->shape.pose_dims;
    for (size_t j = 0; told && told->lengths && j < classes; j++)
        told->lengths[r * classes + j] = length_of(v + j * pose, pose, 1);
}

/* An iteration of them by one thread, or, where that is NULL, by all. */
static void iterate(struct routed *images, const size_t *thread)
{
    if (!thread)
        pool_run(images->pass->ws->pool, ROUTING_PARTS, route_part, images);
    for (size_t part = 0; thread && part < ROUTING_PARTS; part++)
        route_part(images, part, *thread);
    for (size_t b = images->first; b < images->end; b++)
        end_iteration(images, b);
}

/* Routes up to ROUTED_AT_ONCE images, from that image of the pass on.  One thread iterates them one
 * after the other, since its second-level cache keeps the prediction vectors of one. */
static void route_images(const struct pass *pass, size_t image, size_t count,
                         const size_t *thread)
{
    struct capsnet_workspace *ws = pass->ws;
    struct routing_scratch *in = thread ? &ws->scratch[*thread].routing : &ws->routing;
    struct routed images = {pass, in, image, 0, count, 0};
    const size_t step = thread ? 1 : count;
    memset(in->vsum, 0, count * scratch_row(&ws->model->at) * sizeof(float));
    iterate(&images, thread);
    for (images.end = step; images.end <= count; images.first = images.end, images.end += step)
        for (images.iteration = 1; images.iteration < ws->model->shape.routing_iterations;
             images.iteration++)
            iterate(&images, thread);
}

/* Item: ROUTED_AT_ONCE images. */
static void forward_images(void *context, size_t item, size_t thread)
{
    route_images(context, item * ROUTED_AT_ONCE, ROUTED_AT_ONCE, &thread);
}

/* Item: one of the images past the last of these. */
static void forward_image(void *context, size_t item, size_t thread)
{
    const struct pass *pass = context;
    const size_t round = ROUTED_AT_ONCE * pool_threads(pass->ws->pool);
    route_images(pass, pass->n / round * round + item, 1, &thread);
}

/* Each thread has its own images, ROUTED_AT_ONCE at a time.  Where too few are left for that, each
 * has its own part of the capsules of all, unless it takes less time to have one image each. */
static void forward_all(struct pass *pass)
{
    struct capsnet_workspace *ws = pass->ws;
    const size_t threads = pool_threads(ws->pool), round = ROUTED_AT_ONCE * threads;
    const size_t own = pass->n / round * round, left = pass->n - own;
    const size_t sharers = smaller(threads, ROUTING_PARTS);
    pool_run(ws->pool, own / ROUTED_AT_ONCE, forward_images, pass);
    if (threads == 1 || left >= (left + threads - 1) / threads * sharers)
        pool_run(ws->pool, left, forward_image, pass);
    else
        for (size_t i = own; i < pass->n; i += ROUTED_AT_ONCE)
            route_images(pass, i, smaller(ROUTED_AT_ONCE, pass->n - i), NULL);
}

/* ---- Forward, training --------------------------------------------------- */

/* Item: the W of so many capsules, a multiple of KERNEL_PAD of them, to bf16. */
enum { ROUNDED = KERNEL_PAD };

static void round_weights(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct capsnet_workspace *ws = ((const struct pass *)context)->ws;
    const struct routing r = routing_of(ws);
    const size_t outputs = r.classes * r.pose, first = item * ROUNDED * outputs * r.dims;
    const size_t rows = smaller(ROUNDED, r.capsules - item * ROUNDED) * outputs;
    const size_t padded = (rows * r.dims + KERNEL_PAD - 1) / KERNEL_PAD * KERNEL_PAD;
    ws->model->kernels->to_bf16((uint16_t *)(void *)(ws->dim_words + first / 2), r.weight + first,
                                padded);
    ws->model->kernels->pair_rows_bf16(ws->output_words + first / 2, r.dims, r.weight + first, r.dims,
                                       rows / 2, r.dims);
}

static void forward_group(void *context, size_t group, size_t thread)
{
    const struct pass *pass = context;
    struct capsnet_workspace *ws = pass->ws;
    const struct capsnet_model *model = ws->model;
    const struct kernels *kernels = model->kernels;
    const struct routing routing = routing_of(ws);
    const size_t iterations = model->shape.routing_iterations, routed = routed_size(model);
    float *u = ws->capsules + group * capsules_size(model);
    float *s = ws->s + group * iterations * routed, *v = ws->v + group * iterations * routed;
    float *vsum = ws->vsum + group * iterations * routed;
    float *raw = ws->raw + group * capsules_size(model);
    gather(ws, pass->n, group, raw);
    kernels->squash(u, raw, model->at.capsules, model->shape.primary_dims);
    for (size_t r = 0; r < iterations; r++, s += routed, v += routed) {
        float *sum = vsum + r * routed;
        const float *last_v = r > 0 ? v - routed : NULL, *last_sum = r > 1 ? sum - routed : NULL;
        for (size_t k = 0; last_v && k < routed; k++)
            sum[k] = last_v[k] + (last_sum ? last_sum[k] : 0);
        kernels->route(&routing, u, r > 0 ? sum : NULL, s, ws->scratch[thread].u_hat);
        kernels->squash(v, s, model->shape.classes, model->shape.pose_dims);
    }
}

void digit_forward(struct capsnet_workspace *ws, size_t n,
                   const struct capsnet_routing *const *routing)
{
    uint64_t clock = phase_clock();
    struct pass pass = {.ws = ws, .n = n, .routing = routing};
    assert(!routing || !ws->training);
    if (ws->training && ws->dim_words)
        pool_run(ws->pool, (ws->model->at.capsules + ROUNDED - 1) / ROUNDED, round_weights, &pass);
    if (ws->training)
        pool_run(ws->pool, (n + KERNEL_LANES - 1) / KERNEL_LANES, forward_group, &pass);
    else
        forward_all(&pass);
    phase_end(ws, PHASE_ROUTING, &clock);
}

/* The last v of image i, its values *step floats apart. */
static const float *last_v(const struct capsnet_workspace *ws, size_t i, size_t *step)
{
    const size_t iterations = ws->model->shape.routing_iterations;
    *step = ws->training ? KERNEL_LANES : 1;
    if (!ws->training)
        return ws->v + i * ws->model->at.outputs;
    return ws->v + i % KERNEL_LANES +
           (i / KERNEL_LANES * iterations + iterations - 1) * routed_size(ws->model);
}

void digit_read(const struct capsnet_workspace *ws, size_t n, float *lengths, float *poses)
{
    const struct capsnet_model *model = ws->model;
    const size_t pose = model->shape.pose_dims;
    for (size_t i = 0; i < n; i++) {
        size_t step;
        const float *v = last_v(ws, i, &step);
        for (size_t j = 0; j < model->shape.classes; j++) {
            const float *own = v + j * pose * step;
            for (size_t e = 0; poses && e < pose; e++)
                poses[i * model->at.outputs + j * pose + e] = own[e * step];
            if (lengths)
                lengths[i * model->shape.classes + j] = length_of(own, pose, step);
        }
    }
}

/* ---- Backward ------------------------------------------------------------ */

/* Floats of coef for one capsule: c and gb of iterations 1 .. R-1. */
static size_t coef_size(const struct capsnet_model *model)
{
    return 2 * (model->shape.routing_iterations - 1) * model->shape.classes * KERNEL_LANES;
}

/* Item: one group back through its iterations, to ds and coef. */
static void backward_group(void *context, size_t group, size_t thread)
{
    const struct pass *pass = context;
    struct capsnet_workspace *ws = pass->ws;
    const struct capsnet_model *model = ws->model;
    const struct kernels *kernels = model->kernels;
    const struct routing routing = routing_of(ws);
    const size_t classes = model->shape.classes, pose = model->shape.pose_dims;
    const size_t iterations = model->shape.routing_iterations, routed = routed_size(model);
    const size_t first = group * iterations * routed;
    const float *u = ws->capsules + group * capsules_size(model);
    float *dv = ws->dv + first, *ds = ws->ds + first;
    float *coef = ws->coef + group * model->at.capsules * coef_size(model);

    float *last = dv + (iterations - 1) * routed;
    memset(last, 0, routed * sizeof *last);
    for (size_t lane = 0; lane < lanes_of(pass->n, group); lane++)
        for (size_t je = 0; je < model->at.outputs; je++)
            last[je * KERNEL_LANES + lane] =
                pass->dposes[(group * KERNEL_LANES + lane) * model->at.outputs + je];

    for (size_t r = iterations - 1;; r--) {
        const size_t now = r * routed;
        kernels->squash_backward(ds + now, ws->s + first + now, dv + now, classes, pose);
        if (r == 0)
            return;
        float *c = coef + 2 * (r - 1) * classes * KERNEL_LANES;
        float *before = dv + now - routed;
        kernels->route_backward(&routing, u, ws->vsum + first + now, ds + now, before, c,
                                c + classes * KERNEL_LANES, coef_size(model),
                                ws->scratch[thread].u_hat);
        /* dv[r-1] collects the dvsum of every later iteration; the last
         * iteration's own dv came from the loss and goes nowhere else. */
        for (size_t k = 0; r + 1 < iterations && k < routed; k++)
            before[k] += dv[now + k];
    }
}

static const float *coef_of(const struct capsnet_workspace *ws, size_t group, size_t capsule)
{
    return ws->coef + (group * ws->model->at.capsules + capsule) * coef_size(ws->model);
}

/* A batch's coef (24 MB for 128 images) lie in memory by now: waiting for them was
 * most of the time that combine took. */
static void prefetch(const float *p, size_t floats)
{
    for (size_t i = 0; i < floats; i += 64 / sizeof *p)
        __builtin_prefetch(p + i);
}

/* The terms of du_hat of one group, of capsules from the first on; returns how many. */
static size_t gradient_terms(const struct capsnet_workspace *ws, size_t group, size_t first,
                             struct routing_term *terms)
{
    const struct capsnet_model *model = ws->model;
    const size_t iterations = model->shape.routing_iterations, routed = routed_size(model);
    const size_t class_lanes = model->shape.classes * KERNEL_LANES, stride = coef_size(model);
    const float *coef = coef_of(ws, group, first);
    const float *ds = ws->ds + group * iterations * routed;
    const float *vsum = ws->vsum + group * iterations * routed;
    size_t n = 0;
    terms[n++] = (struct routing_term){ws->uniform, 0, ds};
    for (size_t r = 1; r < iterations; r++, coef += 2 * class_lanes) {
        terms[n++] = (struct routing_term){coef, stride, ds + r * routed};
        terms[n++] = (struct routing_term){coef + class_lanes, stride, vsum + r * routed};
    }
    return n;
}

/* Item: GRADIENT_CAPSULES capsules of all images: du and their W's gradient. */
static void backward_capsules(void *context, size_t item, size_t thread)
{
    const struct pass *pass = context;
    struct capsnet_workspace *ws = pass->ws;
    const struct capsnet_model *model = ws->model;
    const struct routing routing = routing_of(ws);
    const size_t routed = routed_size(model), groups = (pass->n + KERNEL_LANES - 1) / KERNEL_LANES;
    const size_t first = item * GRADIENT_CAPSULES;
    const size_t count = smaller(GRADIENT_CAPSULES, model->at.capsules - first);
    float *du_hat = ws->scratch[thread].du_hat;
    for (size_t g = 0; g < groups; g++) {
        struct routing_term terms[2 * 10];
        const size_t n_terms = gradient_terms(ws, g, first, terms);
        if (g + 1 < groups)
            prefetch(coef_of(ws, g + 1, first), count * coef_size(model));
        model->kernels->combine(&routing, count, du_hat + g * routed, groups * routed, n_terms,
                                terms);
    }
    for (size_t i = first; i < first + count; i++, du_hat += groups * routed) {
        const size_t offset = i * model->shape.primary_dims * KERNEL_LANES;
        model->kernels->predict_backward(
            &routing, i, groups, du_hat, ws->capsules + offset, ws->du + offset,
            capsules_size(model),
            pass->grad + model->at.digit_weight + i * model->at.outputs * routing.dims,
            ws->scratch[thread].u_words);
    }
}

/* Item: one group's capsules back through their squash. */
static void backward_squash(void *context, size_t group, size_t thread)
{
    (void)thread;
    const struct pass *pass = context;
    struct capsnet_workspace *ws = pass->ws;
    const size_t size = capsules_size(ws->model);
    float *du = ws->du + group * size;
    ws->model->kernels->squash_backward(du, ws->raw + group * size, du, ws->model->at.capsules,
                                        ws->model->shape.primary_dims);
    scatter(ws, pass->n, group, du);
}

void digit_backward(struct capsnet_workspace *ws, size_t n, const float *dposes, float *grad)
{
    const size_t groups = (n + KERNEL_LANES - 1) / KERNEL_LANES;
    uint64_t clock = phase_clock();
    struct pass pass = {.ws = ws, .n = n, .dposes = dposes, .grad = grad};
    pool_run(ws->pool, groups, backward_group, &pass);
    pool_run(ws->pool, (ws->model->at.capsules + GRADIENT_CAPSULES - 1) / GRADIENT_CAPSULES,
             backward_capsules, &pass);
    pool_run(ws->pool, groups, backward_squash, &pass);
    phase_end(ws, PHASE_ROUTING_BACK, &clock);
}
