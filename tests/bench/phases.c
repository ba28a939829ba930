/*
 * phases.c - see phases.h.
 */
#include "tests/bench/phases.h"
#include "model/machine/huge_pages.h"

#include <stdio.h>
#include <string.h>

#include "tests/bench/bench.h"

/* Multiply-adds of a phase, as if no value were zero - conv1 and the direct plan leave zeros out,
 * and may come out faster than the CPU multiplies - and bytes read and written if each weight
 * and each value between two phases passes once. */
struct work {
    double multiply_adds, bytes;
    enum precision precision; /* of its multiply-adds */
};

/* All counts are for n images.  Transforms are counted by their bytes only. */
static struct work work_of(const struct variant *variant, enum phase phase, double n)
{
    static const double sizes[PRECISIONS] = {4, 2, 1};
    static const double form_sizes[] = {4, 2, 2, 1}; /* by enum weight_form */
    const struct capsnet_model *model = variant->model;
    const struct capsnet_shape *h = &model->shape;
    const struct layout *at = &model->at;
    const enum precision layers = model->packed.has_bf16_layers ? PRECISION_BF16 : PRECISION_F32;
    const double size = sizes[model->precision], layer_size = sizes[layers];
    const double rows = n * (double)at->tiles, channels = (double)at->primary_row;
    const double spectral = (double)(model->winograd.x_planes * at->spectral_k);
    const double k = (double)(h->primary_kernel * h->primary_kernel * at->conv1_row);
    const double a = variant->plan == PLAN_SPECTRAL ? rows * spectral * size
                                                    : n * (double)at->conv1_size * size;
    const double y = variant->plan == PLAN_SPECTRAL ? rows * (double)model->winograd.y_planes * channels * 4 : 0;
    const double z = n * (double)at->positions * channels * 4;
    const double w1 = (double)(at->conv1_taps * at->conv1_row);
    const double digit = (double)(at->capsules * at->outputs);
    double dense = 0, dense_bytes = 0;
    for (size_t l = 0; l < 3; l++) {
        const double weights = (double)(at->in[l] * at->out[l]);
        dense += weights;
        dense_bytes += weights * form_sizes[model->packed.decoder_form[l]];
    }
    switch (phase) {
    case PHASE_CONV1:
        return (struct work){n * (double)(at->conv1_h * at->conv1_w) * w1,
                             n * (double)at->pixels * 4 + w1 * layer_size + a, layers};
    case PHASE_PRIMARY:
        return variant->plan == PLAN_SPECTRAL
                   ? (struct work){rows * spectral * channels, spectral * channels * size + a + y,
                                   model->precision}
                   : (struct work){n * (double)at->positions * k * channels,
                                   k * channels * size + a + z, model->precision};
    case PHASE_PRIMARY_OUT:
        return (struct work){0, y + z, PRECISION_F32};
    case PHASE_ROUTING:
        return (struct work){n * digit * (double)(h->primary_dims + 2 * h->routing_iterations - 1),
                             digit * (double)h->primary_dims *
                                     form_sizes[model->packed.digit_form] + z,
                             PRECISION_F32};
    case PHASE_DECODER:
        return (struct work){n * dense, dense_bytes, layers};
    default:
        return (struct work){0, 0, PRECISION_F32};
    }
}

static void print_phase(const struct variant *variant, const struct peaks *peaks, size_t n,
                        enum phase phase, double seconds, double total)
{
    const struct work work = work_of(variant, phase, (double)n);
    const double multiply = work.multiply_adds / seconds, bytes = work.bytes / seconds;
    printf("  %-14s %-22s %9.3f %5.1f %%", phase == PHASE_CONV1 ? variant->name : "",
           phase_names[phase], seconds * 1e3 / (double)n, 100 * seconds / total);
    if (multiply > 0)
        printf("  %-4s %6.0f %4.0f %%",
               (const char *[]){"f32", "bf16", "int8"}[work.precision], 2e-9 * multiply,
               100 * multiply / peaks->multiply_adds[work.precision]);
    else
        printf("  %-4s %6s %4s  ", "", "", "");
    printf(" %8.1f %4.0f %%\n", 1e-9 * bytes, 100 * bytes / peaks->memory_bytes);
}

/* The phases of one plan: of enough passes for a quarter of a second. */
static void print_variant(const struct variant *variant, const struct peaks *peaks, size_t n,
                          const float *images)
{
    const struct layout *at = &variant->model->at;
    const size_t counts[] = {BENCH_BATCH * variant->model->shape.classes,
                             BENCH_BATCH * at->outputs, BENCH_BATCH * at->pixels};
    float *lengths = bench_noise(counts[0], 0), *poses = bench_noise(counts[1], 0);
    float *pictures = bench_noise(counts[2], 0);
    struct capsnet_workspace *ws;
    struct capsnet_error error;
    size_t passes = 0;
    double total = 0;
    if (workspace_create(&ws, variant->model, BENCH_BATCH, 1, 0, &error) != CAPSNET_OK)
        bench_die(error.text);
    variant_run(variant, ws, n, images, lengths, poses, pictures);
    memset(ws->phase_ns, 0, sizeof ws->phase_ns);
    for (const uint64_t begin = phase_clock(); phase_clock() - begin < 250000000; passes++)
        variant_run(variant, ws, n, images, lengths, poses, pictures);
    for (size_t p = 0; p < PHASES; p++)
        total += 1e-9 * (double)ws->phase_ns[p] / (double)passes;
    for (size_t p = 0; p < PHASES; p++)
        if (ws->phase_ns[p])
            print_phase(variant, peaks, n, (enum phase)p,
                        1e-9 * (double)ws->phase_ns[p] / (double)passes, total);
    capsnet_workspace_free(ws);
    huge_free(lengths, counts[0] * sizeof(float));
    huge_free(poses, counts[1] * sizeof(float));
    huge_free(pictures, counts[2] * sizeof(float));
}

void phases_print(const struct variants *variants, const struct peaks *peaks, size_t n,
                  const float *images)
{
    printf("\nphases, batch %zu, 1 thread: what each needs at least, a second; conv1 and\n"
           "PrimaryCaps as if nothing were zero, which they leave out\n", n);
    printf("  %-14s %-22s %9s %7s  %-18s %s\n", "plan", "", "ms/image", "share",
           "Gop/s    of peak", "   GB/s of memory's");
    for (size_t k = 0; k < variants->n; k++) {
        const struct variant *variant = &variants->list[k];
        if (plan_for(variant->model, n) == variant->plan)
            print_variant(variant, peaks, n, images);
    }
}
