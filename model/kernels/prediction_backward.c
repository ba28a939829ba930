/*
 * prediction_backward.c - from the gradients of routing's iterations to that of u_hat,
 * and of W and u, KERNEL_LANES images side by side.
 *
 * As in routing_training.c a lane is an image; lanes are summed once per weight and step.
 */
#include "model/kernels/routing.h"

/* du of count (a constant) groups from g on: each weight is read once for all. */
ALWAYS_INLINE void input_gradient(const struct routing *r, struct form form, size_t count,
                                  size_t capsule, const float *du_hat, float *du,
                                  size_t group_stride)
{
    const size_t outputs = r->classes * r->pose, dims = form.dims;
    const float *w = form.is_bf16 ? NULL : r->weight + capsule * outputs * dims;
    for (int q = 0; q < PER_LANE; q++) {
        vec sum[AT_ONCE][KERNEL_MAX_DIMS];
        for (size_t b = 0; b < count; b++)
            for (size_t d = 0; d < dims; d++)
                sum[b][d] = vec_set(0);
        for (size_t je = 0; je < outputs && !form.is_bf16; je++) {
            vec x[AT_ONCE];
            for (size_t b = 0; b < count; b++)
                x[b] = vec_load(du_hat + (b * outputs + je) * KERNEL_LANES + q * VEC);
            for (size_t d = 0; d < dims; d++)
                for (size_t b = 0; b < count; b++)
                    sum[b][d] += w[je * dims + d] * x[b];
        }
#if defined(__AVX512BF16__)
        const uint32_t *words = r->output_words + capsule * outputs / 2 * dims;
        for (size_t je = 0; je < outputs && form.is_bf16; je += 2, words += dims) {
            vec x[AT_ONCE];
            for (size_t b = 0; b < count; b++) {
                const float *from = du_hat + (b * outputs + je) * KERNEL_LANES;
                x[b] = (vec)words_of(vec_load(from), vec_load(from + KERNEL_LANES));
            }
            for (size_t d = 0; d < dims; d++)
                for (size_t b = 0; b < count; b++)
                    sum[b][d] = add_products(sum[b][d], words[d], x[b]);
        }
#endif
        for (size_t b = 0; b < count; b++)
            for (size_t d = 0; d < dims; d++)
                vec_store(du + b * group_stride + d * KERNEL_LANES + q * VEC, sum[b][d]);
    }
}

#if defined(__AVX512BF16__)

/* u of a capsule as words of an image of two groups each; the last of an odd number has
 * zeros beside it. */
ALWAYS_INLINE void pair_groups(const float *u, size_t dims, size_t groups, size_t group_stride,
                               uint32_t *words)
{
    for (size_t g = 0; g < groups; g += 2)
        for (size_t d = 0; d < dims; d++, words += KERNEL_LANES) {
            const float *from = u + g * group_stride + d * KERNEL_LANES;
            const vec second = g + 1 < groups ? vec_load(from + group_stride) : vec_set(0);
            _mm512_storeu_si512(words, words_of(vec_load(from), second));
        }
}

/* As weight_gradient, u as pair_groups() has it. */
ALWAYS_INLINE void weight_gradient_bf16(size_t outputs, size_t dims, size_t count, size_t je,
                                        size_t groups, const float *du_hat, const uint32_t *u,
                                        struct row *rows)
{
    for (size_t i = 0; i < count * dims; i++)
        rows[i].v[0] = vec_set(0);
    for (size_t g = 0; g < groups; g += 2, u += dims * KERNEL_LANES) {
        __m512bh x[AT_ONCE];
        for (size_t b = 0; b < count; b++) {
            const float *from = du_hat + (g * outputs + je + b) * KERNEL_LANES;
            const vec second =
                g + 1 < groups ? vec_load(from + outputs * KERNEL_LANES) : vec_set(0);
            x[b] = (__m512bh)words_of(vec_load(from), second);
        }
        for (size_t d = 0; d < dims; d++) {
            const __m512bh ud = (__m512bh)_mm512_loadu_si512(u + d * KERNEL_LANES);
            for (size_t b = 0; b < count; b++)
                rows[b * dims + d].v[0] =
                    (vec)_mm512_dpbf16_ps((__m512)rows[b * dims + d].v[0], x[b], ud);
        }
    }
}

#endif

/* The gradients of outputs je .. je + count - 1 (a constant), lanes still to be
 * summed: rows [count][dims]. */
ALWAYS_INLINE void weight_gradient(const struct routing *r, size_t dims, size_t count, size_t je,
                                   size_t groups, const float *du_hat, const float *u,
                                   size_t group_stride, struct row *rows)
{
    const size_t outputs = r->classes * r->pose;
    for (int q = 0; q < PER_LANE; q++) {
        vec sum[AT_ONCE][KERNEL_MAX_DIMS];
        for (size_t b = 0; b < count; b++)
            for (size_t d = 0; d < dims; d++)
                sum[b][d] = vec_set(0);
        for (size_t g = 0; g < groups; g++) {
            vec x[AT_ONCE];
            for (size_t b = 0; b < count; b++)
                x[b] = vec_load(du_hat + (g * outputs + je + b) * KERNEL_LANES + q * VEC);
            for (size_t d = 0; d < dims; d++) {
                const vec ud = vec_load(u + g * group_stride + d * KERNEL_LANES + q * VEC);
                for (size_t b = 0; b < count; b++)
                    sum[b][d] += x[b] * ud;
            }
        }
        for (size_t b = 0; b < count; b++)
            for (size_t d = 0; d < dims; d++)
                rows[b * dims + d].v[q] = sum[b][d];
    }
}

/* The same, where is_bf16 u as pair_groups() has it in words. */
ALWAYS_INLINE void weight_rows(const struct routing *r, struct form form, size_t count, size_t je,
                               size_t groups, const float *du_hat, const float *u,
                               size_t group_stride, const uint32_t *words, struct row *rows)
{
#if defined(__AVX512BF16__)
    if (form.is_bf16) {
        weight_gradient_bf16(r->classes * r->pose, form.dims, count, je, groups, du_hat, words,
                             rows);
        return;
    }
#endif
    (void)words;
    weight_gradient(r, form.dims, count, je, groups, du_hat, u, group_stride, rows);
}

ALWAYS_INLINE void predict_backward(const struct routing *r, struct form form, size_t capsule,
                                    size_t groups, const float *du_hat, const float *u,
                                    float *du, size_t group_stride, float *dw, uint32_t *scratch)
{
    const size_t outputs = r->classes * r->pose, dims = form.dims;
    size_t g = 0, je = 0;
    for (; g + AT_ONCE <= groups; g += AT_ONCE)
        input_gradient(r, form, AT_ONCE, capsule, du_hat + g * outputs * KERNEL_LANES,
                       du + g * group_stride, group_stride);
    if (g < groups)
        input_gradient(r, form, 1, capsule, du_hat + g * outputs * KERNEL_LANES,
                       du + g * group_stride, group_stride);
#if defined(__AVX512BF16__)
    if (form.is_bf16)
        pair_groups(u, dims, groups, group_stride, scratch);
#endif

    struct row full[KERNEL_LANES + AT_ONCE * KERNEL_MAX_DIMS]; /* whose lanes are still to be summed */
    size_t waiting = 0;
    while (je < outputs) {
        const size_t count = je + AT_ONCE <= outputs ? AT_ONCE : 1;
        if (count == AT_ONCE)
            weight_rows(r, form, AT_ONCE, je, groups, du_hat, u, group_stride, scratch,
                        full + waiting);
        else
            weight_rows(r, form, 1, je, groups, du_hat, u, group_stride, scratch, full + waiting);
        je += count;
        waiting += count * dims;
        size_t done = 0;
        for (; done + KERNEL_LANES <= waiting; done += KERNEL_LANES, dw += KERNEL_LANES)
            sum_lanes(dw, full + done, KERNEL_LANES);
        waiting -= done;
        for (size_t i = 0; done > 0 && i < waiting; i++)
            full[i] = full[done + i];
    }
    if (waiting > 0) {
        memset(full + waiting, 0, (KERNEL_LANES - waiting) * sizeof *full);
        sum_lanes(dw, full, waiting);
    }
}

void KERNEL(predict_backward)(const struct routing *r, size_t capsule, size_t groups,
                              const float *du_hat, const float *u, float *du,
                              size_t group_stride, float *dw, uint32_t *scratch)
{
    const struct routing own = *r; /* no store can change it: it stays in registers */
    WITH_FORM(predict_backward, &own, capsule, groups, du_hat, u, du, group_stride, dw, scratch);
}

enum { MAX_TERMS = 2 * 10 - 1 }; /* of ten iterations, the most that a shape may have */

/* Capsules that share a reading of the terms' vectors: as many as the level has
 * registers for, of five terms. */
enum { COMBINED = VEC == 16 ? 4 : 2 };

/* count (a constant) capsules from the first on. */
ALWAYS_INLINE void combine_capsules(const struct routing *r, size_t count, size_t first,
                                    float *du_hat, size_t du_hat_stride, size_t n_terms,
                                    const struct routing_term *terms)
{
    const size_t classes = r->classes, pose = r->pose;
    const float *vec_of[MAX_TERMS];
    for (size_t t = 0; t < n_terms; t++)
        vec_of[t] = terms[t].vec;
    for (size_t j = 0; j < classes; j++)
        for (int q = 0; q < PER_LANE; q++) {
            vec c[MAX_TERMS][COMBINED];
            for (size_t t = 0; t < n_terms; t++)
                for (size_t b = 0; b < count; b++)
                    c[t][b] = vec_load(terms[t].coef + (first + b) * terms[t].stride +
                                       j * KERNEL_LANES + q * VEC);
            for (size_t e = 0; e < pose; e++) {
                const size_t at = (j * pose + e) * KERNEL_LANES + (size_t)q * VEC;
                vec sum[COMBINED];
                for (size_t b = 0; b < count; b++)
                    sum[b] = vec_set(0);
                for (size_t t = 0; t < n_terms; t++) {
                    const vec x = vec_load(vec_of[t] + at);
                    for (size_t b = 0; b < count; b++)
                        sum[b] += c[t][b] * x;
                }
                for (size_t b = 0; b < count; b++)
                    vec_store(du_hat + (first + b) * du_hat_stride + at, sum[b]);
            }
        }
}

ALWAYS_INLINE void combine(const struct routing *r, size_t capsules, float *du_hat,
                           size_t du_hat_stride, size_t n_terms, const struct routing_term *terms)
{
    size_t i = 0;
    for (; i + COMBINED <= capsules; i += COMBINED)
        combine_capsules(r, COMBINED, i, du_hat, du_hat_stride, n_terms, terms);
    for (; i < capsules; i++)
        combine_capsules(r, 1, i, du_hat, du_hat_stride, n_terms, terms);
}

void KERNEL(combine)(const struct routing *r, size_t capsules, float *du_hat,
                     size_t du_hat_stride, size_t n_terms, const struct routing_term *terms)
{
    const struct routing own = *r;
    if (n_terms == 5) /* three iterations: the loops over terms unroll */
        combine(&own, capsules, du_hat, du_hat_stride, 5, terms);
    else
        combine(&own, capsules, du_hat, du_hat_stride, n_terms, terms);
}
