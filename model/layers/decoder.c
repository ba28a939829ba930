/*
 * decoder.c - the reconstruction network (section 4.1 of the paper): the pose
 * of one class, all others masked with zero, through three dense layers,
 *   x1 = relu(W0 x0 + b0);  x2 = relu(W1 x1 + b1);  picture = sigmoid(W2 x2 + b2).
 * 1.4 M multiply-adds an image.
 */
#include <string.h>

#include "model/layers/layers.h"

enum { COLUMNS = 64 }; /* output columns per item */

struct pass {
    struct capsnet_workspace *ws;
    size_t n, layer;
    float *grad;
};

void decoder_input(struct capsnet_workspace *ws, size_t i, size_t class_index, const float *pose)
{
    const struct layout *at = &ws->model->at;
    const size_t dims = ws->model->shape.pose_dims;
    float *x = ws->decoder[0] + i * at->in_row[0];
    memset(x, 0, at->in_row[0] * sizeof *x);
    memcpy(x + class_index * dims, pose, dims * sizeof *x);
}

static void columns_bf16(const struct pass *pass, size_t j, size_t columns)
{
    const struct capsnet_workspace *ws = pass->ws;
    const struct capsnet_model *model = ws->model;
    const struct layout *at = &model->at;
    const size_t l = pass->layer, row = at->out_row[l], words = at->in_row[l] / 2;
    const struct narrow g = {
        .m = pass->n,
        .n = columns,
        .words = words,
        .runs = 1,
        .a = {ws->decoder16[l], pass->n, 2 * at->in_row[l], 0, 0},
        .b = model->packed.decoder[l] + j * words,
        .b_panel = words * KERNEL_PANEL,
        .bias = model->parameters + at->decoder_bias[l] + j,
        .relu = l < 2,
        .c = l < 2 ? NULL : ws->decoder[3] + j,
        .c16 = l < 2 ? ws->decoder16[l + 1] + j : NULL,
        .c_stride = row,
    };
    model->kernels->gemm_bf16(&g);
}

static void forward_columns(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct pass *pass = context;
    const struct capsnet_workspace *ws = pass->ws;
    const struct capsnet_model *model = ws->model;
    const struct layout *at = &model->at;
    const size_t l = pass->layer, j = item * COLUMNS, row = at->out_row[l];
    const size_t columns = smaller(COLUMNS, row - j);
    struct gemm g = {
        .m = pass->n,
        .n = columns,
        .k = at->in[l],
        .a = {ws->decoder[l], at->in_row[l], 1},
        .b = {model->parameters + at->decoder_weight[l] + j, row, KERNEL_PANEL},
        .c = {ws->decoder[l + 1] + j, row, KERNEL_PANEL},
        .epilogue = l < 2 ? GEMM_BIAS_RELU : GEMM_BIAS,
        .bias = model->parameters + at->decoder_bias[l] + j,
    };
    if (ws->model->packed.has_bf16_layers)
        columns_bf16(pass, j, columns);
    else
        model->kernels->gemm(&g);
    for (size_t i = 0; l == 2 && i < pass->n; i++)
        model->kernels->sigmoid(ws->decoder[3] + i * row + j, columns);
}

void decoder_forward(struct capsnet_workspace *ws, size_t n)
{
    uint64_t clock = phase_clock();
    if (ws->model->packed.has_bf16_layers)
        ws->model->kernels->to_bf16(ws->decoder16[0], ws->decoder[0],
                                    n * ws->model->at.in_row[0]);
    for (size_t l = 0; l < 3; l++) {
        struct pass pass = {.ws = ws, .n = n, .layer = l};
        pool_run(ws->pool, (ws->model->at.out_row[l] + COLUMNS - 1) / COLUMNS, forward_columns,
                 &pass);
    }
    phase_end(ws, PHASE_DECODER, &clock);
}

/* Item: 32 inputs of the layer: their rows of dW = x^T dy, and their columns
 * of dx = (dy W^T) [x > 0]. */
static void backward_inputs(void *context, size_t item, size_t thread)
{
    const struct pass *pass = context;
    struct capsnet_workspace *ws = pass->ws;
    const struct capsnet_model *model = ws->model;
    const struct layout *at = &model->at;
    const size_t l = pass->layer, i0 = item * KERNEL_PANEL;
    const size_t padded = smaller(KERNEL_PANEL, at->in_row[l] - i0);
    const float *x = ws->decoder[l] + i0, *dy = ws->ddecoder[l + 1];
    float *dx = ws->ddecoder[l] + i0, *transposed = ws->scratch[thread].transposed;
    const size_t weight = at->decoder_weight[l] + i0 * at->out_row[l];
    struct gemm dw = {
        .m = smaller(KERNEL_PANEL, at->in[l] - i0),
        .n = at->out_row[l],
        .k = pass->n,
        .a = {x, 1, at->in_row[l]},
        .b = {dy, at->out_row[l], KERNEL_PANEL},
        .c = {pass->grad + weight, at->out_row[l], KERNEL_PANEL},
    };
    model->kernels->gemm(&dw);
    model->kernels->transpose(transposed, KERNEL_PANEL, model->parameters + weight,
                              at->out_row[l], padded, at->out_row[l]);
    struct gemm back = {
        .m = pass->n,
        .n = padded,
        .k = at->out[l],
        .a = {dy, at->out_row[l], 1},
        .b = {transposed, KERNEL_PANEL, KERNEL_PANEL},
        .c = {dx, at->in_row[l], KERNEL_PANEL},
    };
    model->kernels->gemm(&back);
    if (l == 0)
        return;
    for (size_t i = 0; i < pass->n; i++)
        for (size_t k = i * at->in_row[l]; k < i * at->in_row[l] + padded; k++)
            dx[k] = x[k] > 0 ? dx[k] : 0; /* the ReLU below */
}

void decoder_backward(struct capsnet_workspace *ws, size_t n, float *grad)
{
    const struct layout *at = &ws->model->at;
    uint64_t clock = phase_clock();
    for (size_t l = 3; l-- > 0;) {
        struct pass pass = {ws, n, l, grad};
        float *db = grad + at->decoder_bias[l];
        memset(db, 0, at->out_row[l] * sizeof *db);
        for (size_t i = 0; i < n; i++)
            for (size_t o = 0; o < at->out[l]; o++)
                db[o] += ws->ddecoder[l + 1][i * at->out_row[l] + o];
        pool_run(ws->pool, (at->in_row[l] + KERNEL_PANEL - 1) / KERNEL_PANEL, backward_inputs,
                 &pass);
    }
    phase_end(ws, PHASE_DECODER_BACK, &clock);
}
