/*
 * decoder.c - the reconstruction network (section 4.1 of the paper): the pose
 * of one class, all others masked with zero, through three dense layers,
 *   x1 = relu(W0 x0 + b0);  x2 = relu(W1 x1 + b1);  picture = sigmoid(W2 x2 + b2).
 * 1.4 M multiply-adds an image, but what a few take is to read W: in fp32 it is read in fp16 where
 * that is the same, and of few images the rows whose input is zero are left out.
 * int8 has the second W in 8 bits, and its input with a scale an image: what comes from a ReLU is
 * not negative, as u8 are not.  Of the first the input can be, and the third's weights, of which
 * few are large, would be seen in the picture: they are in bf16.  Where a training step is in bf16
 * so are its three products, with W rounded once a step and hidden layers in bf16 alone, as in
 * inference.
 */
#include <string.h>

#include "model/layers/layers.h"

enum { COLUMNS = 64 }; /* output columns per item */

struct pass {
    struct capsnet_workspace *ws;
    size_t n, layer;
    float *grad;
    int is_listed;                /* ws->decoder_lists hold the inputs, */
    size_t listed[DECODER_LISTS]; /* so many of an image */
};

void decoder_input(struct capsnet_workspace *ws, size_t i, size_t class_index, const float *pose)
{
    const struct layout *at = &ws->model->at;
    const size_t dims = ws->model->shape.pose_dims;
    float *x = ws->decoder[0] + i * at->in_row[0];
    memset(x, 0, at->in_row[0] * sizeof *x);
    memcpy(x + class_index * dims, pose, dims * sizeof *x);
}

/* Whether a training step multiplies in bf16, with W rounded anew. */
static int step_is_bf16(const struct capsnet_workspace *ws)
{
    return ws->training && ws->model->products == PRECISION_BF16;
}

/* Item: rows 2 pair and 2 pair + 1 of W to bf16 words. */
static void round_weights(void *context, size_t pair, size_t thread)
{
    (void)thread;
    const struct pass *pass = context;
    const struct capsnet_workspace *ws = pass->ws;
    const struct layout *at = &ws->model->at;
    const size_t l = pass->layer, row = at->out_row[l], panel = at->in_row[l] / 2 * KERNEL_PANEL;
    const float *w = ws->model->parameters + at->decoder_weight[l] + 2 * pair * row;
    uint32_t *words = ws->decoder_words[l] + pair * KERNEL_PANEL;
    for (size_t j = 0; j < row; j += KERNEL_PANEL, words += panel)
        ws->model->kernels->pair_rows_bf16(words, 0, w + j, row, 1, smaller(KERNEL_PANEL, row - j));
}

/* Whether the next layer reads what this one gives in bf16. */
static int is_next_bf16(const struct pass *pass)
{
    const struct capsnet_workspace *ws = pass->ws;
    const enum weight_form *form = ws->model->packed.decoder_form;
    const size_t next = pass->layer + 1;
    return next < 3 && (ws->training ? step_is_bf16(ws) : form[next] == FORM_BF16);
}

/* In bf16, or in 8 bits. */
static void columns_narrow(const struct pass *pass, int is_int8, size_t j, size_t columns)
{
    const struct capsnet_workspace *ws = pass->ws;
    const struct capsnet_model *model = ws->model;
    const struct layout *at = &model->at;
    const size_t l = pass->layer, row = at->out_row[l];
    const size_t size = is_int8 ? 1 : 2, words = at->in_row[l] * size / 4;
    const uint32_t *w = ws->training ? ws->decoder_words[l] : model->packed.decoder[l];
    const void *x = is_int8 ? (const void *)ws->decoder8 : ws->decoder16[l];
    const int to_bf16 = is_next_bf16(pass);
    const struct narrow g = {
        .m = pass->n,
        .n = columns,
        .words = words,
        .runs = 1,
        .a = {x, pass->n, size * at->in_row[l], 0, 0, 0},
        .b = w + j * words,
        .b_panel = words * KERNEL_PANEL,
        .row_scales = is_int8 ? ws->decoder_scales : NULL,
        .row_step = 1,
        .scales = is_int8 ? model->packed.decoder_scales[l] + j : NULL,
        .bias = model->parameters + at->decoder_bias[l] + j,
        .relu = l < 2,
        .c = to_bf16 ? NULL : ws->decoder[l + 1] + j,
        .c16 = to_bf16 ? ws->decoder16[l + 1] + j : NULL,
        .c_stride = row,
    };
    (is_int8 ? model->kernels->gemm_int8 : model->kernels->gemm_bf16)(&g);
}

/* The layer's inputs to u8. */
static void quantise_inputs(const struct pass *pass)
{
    const struct capsnet_workspace *ws = pass->ws;
    const struct kernels *kernels = ws->model->kernels;
    const size_t row = ws->model->at.in_row[pass->layer];
    for (size_t i = 0; i < pass->n; i++) {
        const float *x = ws->decoder[pass->layer] + i * row;
        const float largest = kernels->largest(x, row);
        const int has_unit = largest > 1e-30f; /* that has an inverse */
        ws->decoder_scales[i] = has_unit ? largest / 255 : 0;
        kernels->quantise(ws->decoder8 + i * row, x, row, has_unit ? 255 / largest : 0);
    }
}

/* Behind ReLU, and of all poses but one, much is zero, a third of an image's hidden layers: of
 * few images what is not is listed, of each by itself, so that its sums are the same beside
 * any other, and the rest's rows of W are not read, which is what takes the time. */
static void list_inputs(struct pass *pass)
{
    const struct capsnet_workspace *ws = pass->ws;
    const struct kernels *kernels = ws->model->kernels;
    const struct layout *at = &ws->model->at;
    const size_t l = pass->layer;
    pass->is_listed = ws->decoder_lists && pass->n <= DECODER_LISTS &&
                      ws->model->packed.decoder_form[l] != FORM_INT8;
    for (size_t i = 0; pass->is_listed && i < pass->n; i++) {
        const float *x = ws->decoder[l] + i * at->in_row[l];
        struct sparse_word *list = ws->decoder_lists + i * ws->decoder_list_words;
        kernels->find_words(ws->decoder_set, x, at->in[l]);
        const void *const from[SPARSE_ROWS] = {x};
        const uint64_t *const set[SPARSE_ROWS] = {ws->decoder_set};
        pass->listed[i] = kernels->list_words(list, 1, from, set, at->in[l], 0);
        /* In fp16 the same rows of the next panels, in_row further on each, come next. */
        sparse_end(list + pass->listed[i], list,
                   ws->model->packed.decoder_form[l] == FORM_F16 ? pass->listed[i] : 0,
                   SPARSE_PANELS * at->in_row[l]);
    }
}

/* Whole panels of the columns from j on, where there are lists.  How many columns. */
static size_t listed_columns(const struct pass *pass, size_t j, size_t columns)
{
    const struct capsnet_workspace *ws = pass->ws;
    const struct layout *at = &ws->model->at;
    const size_t l = pass->layer, row = at->out_row[l];
    const size_t n = pass->is_listed ? columns / KERNEL_PANEL * KERNEL_PANEL : 0;
    const struct kernels *kernels = ws->model->kernels;
    const uint16_t *halves = ws->model->packed.decoder[l]; /* or NULL */
    const float *w = ws->model->parameters + at->decoder_weight[l];
    for (size_t o = j; o < j + n; o += SPARSE_PANELS * KERNEL_PANEL)
        for (size_t i = 0; i < pass->n; i++)
            (halves ? kernels->gemm_sparse_f16 : kernels->gemm_sparse)(&(struct sparse_product){
                .rows = 1,
                .count = pass->listed[i],
                .panels = smaller(SPARSE_PANELS, (j + n - o) / KERNEL_PANEL),
                .words = ws->decoder_lists + i * ws->decoder_list_words,
                .b = halves ? (const void *)(halves + o * at->in_row[l]) : w + o,
                .b_row = halves ? KERNEL_PANEL : row,
                .b_panel = halves ? at->in_row[l] * KERNEL_PANEL : KERNEL_PANEL,
                .bias = ws->model->parameters + at->decoder_bias[l] + o,
                .relu = l < 2,
                .c = ws->decoder[l + 1] + i * row + o,
            });
    return n;
}

static void forward_columns(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct pass *pass = context;
    const struct capsnet_workspace *ws = pass->ws;
    const struct capsnet_model *model = ws->model;
    const struct layout *at = &model->at;
    const size_t l = pass->layer, first = item * COLUMNS, row = at->out_row[l];
    const size_t end = first + smaller(COLUMNS, row - first);
    const size_t j = first + listed_columns(pass, first, end - first), columns = end - j;
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
    const enum weight_form form = ws->training ? FORM_F32 : model->packed.decoder_form[l];
    if (form == FORM_F16) {
        g.halves = (const uint16_t *)model->packed.decoder[l] + j * at->in_row[l];
        g.b = (struct const_matrix){NULL, KERNEL_PANEL, at->in_row[l] * KERNEL_PANEL};
    }
    if (form >= FORM_BF16 || step_is_bf16(ws))
        columns_narrow(pass, form == FORM_INT8, j, columns);
    else if (columns > 0)
        (form == FORM_F16 ? model->kernels->gemm_f16 : model->kernels->gemm)(&g);
    for (size_t i = 0; l == 2 && i < pass->n; i++)
        model->kernels->sigmoid(ws->decoder[3] + i * row + first, end - first);
}

void decoder_forward(struct capsnet_workspace *ws, size_t n)
{
    const struct layout *at = &ws->model->at;
    const int rounds = step_is_bf16(ws);
    uint64_t clock = phase_clock();
    if (rounds || ws->model->packed.has_bf16_layers)
        ws->model->kernels->to_bf16(ws->decoder16[0], ws->decoder[0], n * at->in_row[0]);
    for (size_t l = 0; l < 3; l++) {
        struct pass pass = {.ws = ws, .n = n, .layer = l};
        list_inputs(&pass);
        if (!ws->training && ws->model->packed.decoder_form[l] == FORM_INT8)
            quantise_inputs(&pass);
        if (rounds)
            pool_run(ws->pool, at->in_row[l] / 2, round_weights, &pass);
        pool_run(ws->pool, (at->out_row[l] + COLUMNS - 1) / COLUMNS, forward_columns, &pass);
    }
    phase_end(ws, PHASE_DECODER, &clock);
}

/* Inputs [i0, i0 + padded) of the layer, which are as many rows of W from `weight` on: their
 * rows of dW = x^T dy, and their columns of dx = (dy W^T) [x > 0]. */
struct inputs {
    const struct pass *pass;
    size_t i0, padded, weight;
    const struct scratch *scratch;
};

static void backward_f32(const struct inputs *in)
{
    const struct capsnet_workspace *ws = in->pass->ws;
    const struct capsnet_model *model = ws->model;
    const struct layout *at = &model->at;
    const size_t l = in->pass->layer, n = in->pass->n, row = at->in_row[l];
    const float *x = ws->decoder[l] + in->i0, *dy = ws->ddecoder[l + 1];
    float *dx = ws->ddecoder[l] + in->i0, *transposed = in->scratch->transposed;
    const struct gemm dw = {
        .m = smaller(KERNEL_PANEL, at->in[l] - in->i0),
        .n = at->out_row[l],
        .k = n,
        .a = {x, 1, row},
        .b = {dy, at->out_row[l], KERNEL_PANEL},
        .c = {in->pass->grad + in->weight, at->out_row[l], KERNEL_PANEL},
    };
    model->kernels->gemm(&dw);
    model->kernels->transpose(transposed, KERNEL_PANEL, model->parameters + in->weight,
                              at->out_row[l], in->padded, at->out_row[l]);
    const struct gemm back = {
        .m = n,
        .n = in->padded,
        .k = at->out[l],
        .a = {dy, at->out_row[l], 1},
        .b = {transposed, KERNEL_PANEL, KERNEL_PANEL},
        .c = {dx, row, KERNEL_PANEL},
    };
    model->kernels->gemm(&back);
    if (l == 0)
        return;
    for (size_t i = 0; i < n; i++)
        for (size_t k = i * row; k < i * row + in->padded; k++)
            dx[k] = x[k] > 0 ? dx[k] : 0; /* the ReLU below */
}

/* The same in bf16, of what round_pair() has made. */
static void backward_bf16(const struct inputs *in)
{
    const struct capsnet_workspace *ws = in->pass->ws;
    const struct kernels *kernels = ws->model->kernels;
    const struct layout *at = &ws->model->at;
    const size_t l = in->pass->layer, n = in->pass->n, pairs = (n + 1) / 2;
    const size_t row = at->in_row[l], out = at->out_row[l];
    const uint16_t *x = ws->decoder16[l] + in->i0;
    const uint32_t *w = ws->decoder_words[l] + in->i0 / 2 * KERNEL_PANEL;
    uint32_t *words = in->scratch->decoder_words;
    float *dx = ws->ddecoder[l] + in->i0;
    const struct narrow dw = {
        .m = smaller(KERNEL_PANEL, at->in[l] - in->i0),
        .n = out,
        .words = pairs,
        .runs = 1,
        .a = {.data = ws->x_pairs + in->i0, .width = KERNEL_PANEL, .row = sizeof *words,
              .gap = (row - 1) * sizeof *words},
        .b = ws->dy_pairs,
        .b_panel = pairs * KERNEL_PANEL,
        .c = in->pass->grad + in->weight,
        .c_stride = out,
    };
    const struct narrow back = {
        .m = n,
        .n = in->padded,
        .words = out / 2,
        .runs = 1,
        .a = {.data = ws->dy16, .width = n, .row = 2 * out},
        .b = words,
        .c = dx,
        .c_stride = row,
    };
    kernels->gemm_bf16(&dw);
    for (size_t o = 0; o < out; o += KERNEL_PANEL)
        kernels->transpose_bf16(words + o / 2 * KERNEL_PANEL, w + o * row / 2);
    kernels->gemm_bf16(&back);
    for (size_t i = 0; l > 0 && i < n; i++)
        for (size_t k = i * row; k < i * row + in->padded; k++)
            dx[k] = x[k] ? dx[k] : 0; /* the ReLU below */
}

/* Item: rows 2 pair and 2 pair + 1: of dy to bf16, and of dy and x to words of both. */
static void round_pair(void *context, size_t pair, size_t thread)
{
    (void)thread;
    const struct pass *pass = context;
    const struct capsnet_workspace *ws = pass->ws;
    const struct kernels *kernels = ws->model->kernels;
    const size_t l = pass->layer, in = ws->model->at.in_row[l], out = ws->model->at.out_row[l];
    const size_t pairs = (pass->n + 1) / 2, has_two = 2 * pair + 1 < pass->n;
    const uint16_t *x = ws->decoder16[l] + 2 * pair * in;
    uint16_t *dy = ws->dy16 + 2 * pair * out;
    kernels->to_bf16(dy, ws->ddecoder[l + 1] + 2 * pair * out, (1 + has_two) * out);
    kernels->zip_bf16(ws->x_pairs + pair * in, x, has_two ? x + in : NULL, in);
    for (size_t o = 0; o < out; o += KERNEL_PANEL)
        kernels->zip_bf16(ws->dy_pairs + o * pairs + pair * KERNEL_PANEL, dy + o,
                          has_two ? dy + out + o : NULL, smaller(KERNEL_PANEL, out - o));
}

/* Item: 32 inputs of the layer. */
static void backward_inputs(void *context, size_t item, size_t thread)
{
    const struct pass *pass = context;
    const struct layout *at = &pass->ws->model->at;
    const size_t l = pass->layer, i0 = item * KERNEL_PANEL;
    const struct inputs in = {pass, i0, smaller(KERNEL_PANEL, at->in_row[l] - i0),
                              at->decoder_weight[l] + i0 * at->out_row[l],
                              &pass->ws->scratch[thread]};
    if (step_is_bf16(pass->ws))
        backward_bf16(&in);
    else
        backward_f32(&in);
}

void decoder_backward(struct capsnet_workspace *ws, size_t n, float *grad)
{
    const struct layout *at = &ws->model->at;
    uint64_t clock = phase_clock();
    for (size_t l = 3; l-- > 0;) {
        struct pass pass = {.ws = ws, .n = n, .layer = l, .grad = grad};
        float *db = grad + at->decoder_bias[l];
        memset(db, 0, at->out_row[l] * sizeof *db);
        for (size_t i = 0; i < n; i++)
            for (size_t o = 0; o < at->out[l]; o++)
                db[o] += ws->ddecoder[l + 1][i * at->out_row[l] + o];
        if (step_is_bf16(ws))
            pool_run(ws->pool, (n + 1) / 2, round_pair, &pass);
        pool_run(ws->pool, (at->in_row[l] + KERNEL_PANEL - 1) / KERNEL_PANEL, backward_inputs,
                 &pass);
    }
    phase_end(ws, PHASE_DECODER_BACK, &clock);
}
