/*
 * im2col.c - see im2col.h.
 *
 * With P the patches [images * positions][taps * c], W [taps * c][o], z and dz
 * [images * positions][o]:
 *   forward z = P W + b;  backward dW = P^T dz,  dP = dz W^T,  da = col2im(dP).
 * Threads take CHUNK images at a time, each product single-threaded; each
 * thread sums its own dW, and the sums are added at the end.
 */
#include "tests/bench/im2col.h"
#include "model/machine/huge_pages.h"
#include "model/layers/layers.h"

#include <cblas.h>
#include <string.h>

#include "tests/bench/yardstick.h"

/* Images per product.  Measured on an EPYC 9005 (1 MB of second-level cache)
 * with 2 threads: README.md. */
enum { CHUNK = 8 };

int im2col_on;

static struct {
    const struct capsnet_workspace *ws;
    size_t threads;
    float *patches; /* [threads][CHUNK * positions][k] */
    float *dw;      /* [threads][k][primary_row] */
    float *conv1, *dconv1; /* [max_batch][conv1_size] */
} memory;

/* Rows of W. */
static size_t k_of(const struct capsnet_model *model)
{
    return model->shape.primary_kernel * model->shape.primary_kernel * model->at.conv1_row;
}

static size_t patches_size(const struct capsnet_model *model)
{
    return CHUNK * model->at.positions * k_of(model);
}

static size_t weights_size(const struct capsnet_model *model)
{
    return k_of(model) * model->at.primary_row;
}

int im2col_open(const struct capsnet_workspace *ws)
{
    const struct capsnet_model *model = ws->model;
    memory.ws = ws;
    memory.threads = pool_threads(ws->pool);
    memory.patches = huge_alloc(memory.threads * patches_size(model) * sizeof(float));
    memory.dw = huge_alloc(memory.threads * weights_size(model) * sizeof(float));
    memory.conv1 = huge_alloc(ws->max_batch * model->at.conv1_size * sizeof(float));
    memory.dconv1 = huge_alloc(ws->max_batch * model->at.conv1_size * sizeof(float));
    return memory.patches && memory.dw && memory.conv1 && memory.dconv1;
}

void im2col_close(void)
{
    const struct capsnet_model *model = memory.ws->model;
    huge_free(memory.patches, memory.threads * patches_size(model) * sizeof(float));
    huge_free(memory.dw, memory.threads * weights_size(model) * sizeof(float));
    huge_free(memory.conv1, memory.ws->max_batch * model->at.conv1_size * sizeof(float));
    huge_free(memory.dconv1, memory.ws->max_batch * model->at.conv1_size * sizeof(float));
}

void im2col_pack(const struct capsnet_model *model, float *panels, const float *rows)
{
    const size_t k = k_of(model), n = model->at.primary_row;
    for (size_t i = 0; i < k; i++)
        for (size_t o = 0; o < n; o++)
            panels[o / KERNEL_PANEL * k * KERNEL_PANEL + i * KERNEL_PANEL + o % KERNEL_PANEL] =
                rows[i * n + o];
}

void im2col_unpack(const struct capsnet_model *model, float *rows, const float *panels)
{
    const size_t k = k_of(model), n = model->at.primary_row;
    for (size_t i = 0; i < k; i++)
        for (size_t o = 0; o < n; o++)
            rows[i * n + o] =
                panels[o / KERNEL_PANEL * k * KERNEL_PANEL + i * KERNEL_PANEL + o % KERNEL_PANEL];
}

struct pass {
    struct capsnet_workspace *ws;
    size_t n;
    const float *images;
    float *grad;
};

static void col2im(const struct capsnet_model *model, float *a, const float *patches)
{
    const struct layout *at = &model->at;
    const size_t kernel = model->shape.primary_kernel, stride = model->shape.primary_stride;
    const size_t run = kernel * at->conv1_row;
    memset(a, 0, at->conv1_size * sizeof *a);
    for (size_t y = 0; y < at->primary_h; y++)
        for (size_t x = 0; x < at->primary_w; x++)
            for (size_t ky = 0; ky < kernel; ky++, patches += run) {
                float *dst = a + ((y * stride + ky) * at->conv1_w + x * stride) * at->conv1_row;
                for (size_t i = 0; i < run; i++)
                    dst[i] += patches[i];
            }
}

static void conv1_image(void *context, size_t image, size_t thread)
{
    const struct pass *p = context;
    const struct layout *at = &p->ws->model->at;
    float *out = memory.conv1 + image * at->conv1_size;
    conv1_rows(p->ws, p->images + image * at->pixels, 0, at->conv1_h, thread, out, NULL);
    p->ws->model->kernels->positive(p->ws->conv1_positive + image * at->conv1_size / 16, out,
                                    at->conv1_size);
}

/* Images of a chunk, and its patches made. */
static size_t fill_chunk(const struct pass *p, size_t chunk, float *patches)
{
    const struct capsnet_model *model = p->ws->model;
    const size_t left = p->n - chunk * CHUNK, count = left < CHUNK ? left : CHUNK;
    for (size_t i = 0; i < count; i++)
        yardstick_im2col_f32(patches + i * model->at.positions * k_of(model),
                             memory.conv1 + (chunk * CHUNK + i) * model->at.conv1_size,
                             model->at.conv1_w, model->at.conv1_row, model->shape.primary_kernel,
                             model->shape.primary_stride, model->at.primary_h,
                             model->at.primary_w);
    return count;
}

static void forward_chunk(void *context, size_t chunk, size_t thread)
{
    const struct pass *p = context;
    const struct capsnet_model *model = p->ws->model;
    const struct layout *at = &model->at;
    const int k = (int)k_of(model), n = (int)at->primary_row;
    float *patches = memory.patches + thread * patches_size(model);
    const size_t rows = fill_chunk(p, chunk, patches) * at->positions;
    float *z = p->ws->primary + chunk * CHUNK * at->positions * at->primary_row;
    for (size_t i = 0; i < rows; i++)
        memcpy(z + i * at->primary_row, model->parameters + at->primary_bias,
               at->primary_row * sizeof *z);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, n, k, 1, patches, k,
                model->parameters + at->primary_weight, n, 1, z, n);
}

static void backward_chunk(void *context, size_t chunk, size_t thread)
{
    const struct pass *p = context;
    const struct capsnet_model *model = p->ws->model;
    const struct layout *at = &model->at;
    const int k = (int)k_of(model), n = (int)at->primary_row;
    float *patches = memory.patches + thread * patches_size(model);
    const size_t count = fill_chunk(p, chunk, patches);
    const int rows = (int)(count * at->positions);
    const float *dz = p->ws->primary + chunk * CHUNK * at->positions * at->primary_row;
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, k, n, rows, 1, patches, k, dz, n, 1,
                memory.dw + thread * weights_size(model), n);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, k, n, 1, dz, n,
                model->parameters + at->primary_weight, n, 0, patches, k);
    for (size_t i = 0; i < count; i++)
        col2im(model, memory.dconv1 + (chunk * CHUNK + i) * at->conv1_size,
               patches + i * at->positions * k_of(model));
}

enum { PIECE = 1 << 16 };

/* Item: a piece of dW, summed over threads; the sums are zero again for the
 * next step. */
static void add_piece(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct pass *p = context;
    const struct capsnet_model *model = p->ws->model;
    const size_t size = weights_size(model), first = item * PIECE;
    const size_t last = size - first < PIECE ? size : first + PIECE;
    float *dw = p->grad + model->at.primary_weight;
    memset(dw + first, 0, (last - first) * sizeof *dw);
    for (size_t t = 0; t < memory.threads; t++) {
        float *own = memory.dw + t * size;
        for (size_t i = first; i < last; i++)
            dw[i] += own[i];
        memset(own + first, 0, (last - first) * sizeof *own);
    }
}

/* ---- In place of primary_spectral.c ----------------------------------------------- */

void __real_primary_spectral(struct capsnet_workspace *ws, size_t n, const float *images);
void __wrap_primary_spectral(struct capsnet_workspace *ws, size_t n, const float *images);
void __real_primary_backward(struct capsnet_workspace *ws, size_t n, float *grad);
void __wrap_primary_backward(struct capsnet_workspace *ws, size_t n, float *grad);
void __real_primary_input_gradient(const struct capsnet_workspace *ws, size_t n, size_t image,
                                   float *dconv1);
void __wrap_primary_input_gradient(const struct capsnet_workspace *ws, size_t n, size_t image,
                                   float *dconv1);

void __wrap_primary_spectral(struct capsnet_workspace *ws, size_t n, const float *images)
{
    if (!im2col_on) {
        __real_primary_spectral(ws, n, images);
        return;
    }
    uint64_t clock = phase_clock();
    struct pass p = {.ws = ws, .n = n, .images = images};
    pool_run(ws->pool, n, conv1_image, &p);
    phase_end(ws, PHASE_CONV1, &clock);
    pool_run(ws->pool, (n + CHUNK - 1) / CHUNK, forward_chunk, &p);
    phase_end(ws, PHASE_PRIMARY, &clock);
}

void __wrap_primary_backward(struct capsnet_workspace *ws, size_t n, float *grad)
{
    if (!im2col_on) {
        __real_primary_backward(ws, n, grad);
        return;
    }
    const struct layout *at = &ws->model->at;
    uint64_t clock = phase_clock();
    struct pass p = {.ws = ws, .n = n, .grad = grad};
    float *db = grad + at->primary_bias;
    memset(db, 0, at->primary_row * sizeof *db);
    for (size_t row = 0; row < n * at->positions; row++)
        for (size_t o = 0; o < at->primary_row; o++)
            db[o] += ws->primary[row * at->primary_row + o];
    pool_run(ws->pool, (n + CHUNK - 1) / CHUNK, backward_chunk, &p);
    pool_run(ws->pool, (weights_size(ws->model) + PIECE - 1) / PIECE, add_piece, &p);
    phase_end(ws, PHASE_PRIMARY_BACK, &clock);
}

void __wrap_primary_input_gradient(const struct capsnet_workspace *ws, size_t n, size_t image,
                                   float *dconv1)
{
    if (im2col_on)
        memcpy(dconv1, memory.dconv1 + image * ws->model->at.conv1_size,
               ws->model->at.conv1_size * sizeof *dconv1);
    else
        __real_primary_input_gradient(ws, n, image, dconv1);
}
