/*
 * model.c - a model's life: how it is to run, its memory, what it tells of itself.
 */
#include "model/network/model.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/machine/huge_pages.h"
#include "model/network/product_speed.h"

enum capsnet_status model_no_memory(struct capsnet_error *error)
{
    snprintf(error->text, sizeof error->text, "not enough memory for the model");
    return CAPSNET_ERR_MEMORY;
}

static size_t spectrum_bytes(const struct capsnet_model *model)
{
    return model->winograd.x_planes * model->spectrum_plane * sizeof(float);
}

/* ---- Options ------------------------------------------------------------- */

/* The largest batch that is computed directly without a measurement: any, which is the best for
 * the networks of weights/ on Zen 4 and 5, but for the slim one; with OpenBLAS's products about
 * this. */
static size_t direct_unmeasured(const struct kernels *kernels)
{
    return strcmp(kernels->level, "openblas") == 0 ? 12 : SIZE_MAX;
}

/* The points of the spectral plan: what winograd.h says of their noise. */
static const struct point_set *const points_of[PRECISIONS] = {&points_real, &points_imaginary,
                                                              &points_roots};

static const char *const precision_names[PRECISIONS] = {"f32", "bf16", "int8"};

/* The index of a word in a list of n, 0 for NULL, n when it is not there. */
static size_t choice(const char *word, const char *const *words, size_t n)
{
    size_t i = 0;
    while (word && i < n && strcmp(word, words[i]) != 0)
        i++;
    return i;
}

/* Each precision's time for a channel pair's multiplications, in units of f32's: found out
 * once for a level, so that a process chooses alike for all its models and their reloads. */
static enum capsnet_status measure_costs(double costs[PRECISIONS], const struct kernels *kernels,
                                         struct capsnet_error *error)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static const struct kernels *measured;
    static double known[PRECISIONS];
    enum capsnet_status status = CAPSNET_OK;
    double ns[PRECISIONS];
    pthread_mutex_lock(&lock);
    if (measured != kernels)
        status = product_speed(ns, kernels, error);
    for (size_t p = 0; p < PRECISIONS && status == CAPSNET_OK && measured != kernels; p++) {
        struct winograd w;
        winograd_init(&w, points_of[p], 2 * TAPS - 1, KERNEL_PAD);
        known[p] = ns[p] * winograd_multiplications(&w);
    }
    if (status == CAPSNET_OK)
        measured = kernels;
    for (size_t p = 0; p < PRECISIONS && status == CAPSNET_OK; p++)
        costs[p] = known[p] / known[PRECISION_F32];
    pthread_mutex_unlock(&lock);
    return status;
}

/* Does the level multiply in that precision? */
static int can_multiply(const struct kernels *kernels, size_t precision)
{
    return precision == PRECISION_F32    ? 1
           : precision == PRECISION_BF16 ? kernels->gemm_bf16 != NULL
                                         : kernels->gemm_int8 != NULL;
}

static enum capsnet_status choose_kernels(struct capsnet_model *model,
                                          const struct capsnet_options *options,
                                          struct capsnet_error *error)
{
    size_t precision = choice(options->precision, precision_names, PRECISIONS);
    const int is_auto = options->precision && strcmp(options->precision, "auto") == 0;
    double costs[PRECISIONS] = {1};
    model->kernels = kernels_find(options->cpu_level);
    if (!model->kernels) {
        snprintf(error->text, sizeof error->text,
                 "CPU level \"%.32s\" is unknown, or this CPU does not have it",
                 options->cpu_level);
        return CAPSNET_ERR_ARGUMENT;
    }
    if (precision == PRECISIONS && !is_auto) {
        snprintf(error->text, sizeof error->text,
                 "precision \"%.32s\" is unknown: it is f32, bf16, int8 or auto",
                 options->precision);
        return CAPSNET_ERR_ARGUMENT;
    }
    if (!is_auto && !can_multiply(model->kernels, precision)) {
        snprintf(error->text, sizeof error->text,
                 "precision %s needs a CPU with %s; this one runs at level %s", options->precision,
                 precision == PRECISION_BF16 ? "AVX-512 BF16" : "AVX-512 VNNI",
                 model->kernels->level);
        return CAPSNET_ERR_ARGUMENT;
    }
    if (precision != PRECISION_F32) {
        const enum capsnet_status status = measure_costs(costs, model->kernels, error);
        if (status != CAPSNET_OK)
            return status;
    }
    if (is_auto) {
        precision = PRECISION_F32;
        for (size_t p = 1; p < PRECISIONS; p++)
            precision = costs[p] < costs[precision] ? p : precision;
    }
    model->precision = (enum precision)precision;
    model->cost = costs[precision];
    return CAPSNET_OK;
}

/* What room the plan "full" needs beside "low": twice the weights in the transform domain. */
static size_t transform_bytes(const struct capsnet_model *model)
{
    return 2 * spectrum_bytes(model) / values_per_word(model->precision);
}

struct capsnet_sizes model_sizes(const struct capsnet_model *model)
{
    const size_t weight = model->precision == PRECISION_F32 ? 4 : 2;
    return (struct capsnet_sizes){2 * weight * model->at.total + ((size_t)32 << 20),
                                  transform_bytes(model)};
}

/* What such a model and its batches take, a second one without beside them during a
 * reload, and some for requests. */
int capsnet_may_be_full(const struct capsnet_sizes *sizes, size_t others_bytes)
{
    const size_t limit = capsnet_memory_limit();
    return limit == 0 || sizes->transform + ((size_t)96 << 20) + others_bytes <= limit;
}

/* Memory and plan. */
static enum capsnet_status choose_memory(struct capsnet_model *model,
                                         const struct capsnet_options *options,
                                         struct capsnet_error *error)
{
    enum { AUTO, FULL, LOW, MEMORIES };
    static const char *const names[MEMORIES] = {"auto", "full", "low"};
    static const char *const plans[] = {"auto", "direct", "spectral"};
    enum { PLAN_AUTO, PLAN_ALWAYS_DIRECT, PLAN_ALWAYS_SPECTRAL, PLAN_CHOICES };
    size_t memory = choice(options->memory, names, MEMORIES);
    const size_t plan = choice(options->plan, plans, PLAN_CHOICES);
    const struct capsnet_sizes sizes = model_sizes(model);
    if (memory == MEMORIES) {
        snprintf(error->text, sizeof error->text,
                 "memory \"%.32s\" is unknown: it is auto, full or low", options->memory);
        return CAPSNET_ERR_ARGUMENT;
    }
    if (plan == PLAN_CHOICES) {
        snprintf(error->text, sizeof error->text,
                 "plan \"%.32s\" is unknown: it is auto, direct or spectral", options->plan);
        return CAPSNET_ERR_ARGUMENT;
    }
    if (plan == PLAN_ALWAYS_SPECTRAL && memory == LOW) {
        strcpy(error->text, "plan spectral needs the weights that memory low leaves out: ask for "
                            "memory full, or plan direct");
        return CAPSNET_ERR_ARGUMENT;
    }
    if (plan != PLAN_AUTO && memory == AUTO)
        memory = plan == PLAN_ALWAYS_DIRECT ? LOW : FULL;
    model->is_plan_fixed = plan != PLAN_AUTO;
    model->direct_max = plan == PLAN_AUTO            ? direct_unmeasured(model->kernels)
                        : plan == PLAN_ALWAYS_DIRECT ? SIZE_MAX
                                                     : 0;
    model->is_spectral = memory == FULL || (memory != LOW && capsnet_may_be_full(&sizes, 0));
    return CAPSNET_OK;
}

/* ---- Making and freeing -------------------------------------------------- */

enum capsnet_status model_create(struct capsnet_model **out, const struct capsnet_shape *shape,
                                 const struct capsnet_options *options,
                                 struct capsnet_error *error)
{
    static const struct capsnet_options defaults;
    struct capsnet_model *model = calloc(1, sizeof *model);
    if (!model)
        return model_no_memory(error);
    options = options ? options : &defaults;
    model->shape = *shape;
    model->known = (struct capsnet_known){NAN, 1, 0, 0};
    model->frame = (struct capsnet_frame){shape->height, shape->width, 1};
    model->stored_dtype = "F32";
    enum capsnet_status status = layout_of(&model->at, shape, error);
    if (status == CAPSNET_OK)
        status = choose_kernels(model, options, error);
    /* 48 floats keep the planes from lying whole pages apart, where their
     * lines would compete for one set of the caches. */
    model->spectrum_plane = model->at.spectral_k * model->at.primary_row + 3 * KERNEL_PAD;
    if (status == CAPSNET_OK) {
        model->products = model->precision;
        winograd_init(&model->winograd, points_of[model->products], shape->primary_kernel,
                      model->at.conv1_row);
        status = choose_memory(model, options, error);
    }
    if (status != CAPSNET_OK)
        goto out;
    status = CAPSNET_ERR_MEMORY;
    model->parameters = huge_alloc(model->at.total * sizeof(float));
    const int needs_spectrum = model->is_spectral && model->precision == PRECISION_F32;
    model->spectrum = needs_spectrum ? huge_alloc(spectrum_bytes(model)) : NULL;
    model->labels = calloc(shape->classes, sizeof *model->labels);
    model->name = strdup("capsnet");
    if (!model->parameters || (needs_spectrum && !model->spectrum) || !model->labels || !model->name)
        goto out;
    for (size_t j = 0; j < shape->classes; j++)
        if (asprintf(&model->labels[j], "%zu", j) < 0) {
            model->labels[j] = NULL;
            goto out;
        }
    status = CAPSNET_OK;
    *out = model;
out:
    if (status == CAPSNET_ERR_MEMORY)
        model_no_memory(error);
    if (status != CAPSNET_OK)
        capsnet_model_free(model);
    return status;
}

static void free_spectrum(struct capsnet_model *model)
{
    if (model->spectrum)
        huge_free(model->spectrum, spectrum_bytes(model));
    model->spectrum = NULL;
}

static void free_weights(struct capsnet_model *model)
{
    huge_free(model->packed.memory, model->packed.bytes);
    memset(&model->packed, 0, sizeof model->packed);
    free_spectrum(model);
}

/* What the packed block has of them lies at its end (pack_weights.c). */
void capsnet_model_trim(struct capsnet_model *model, size_t max_batch)
{
    struct packed *packed = &model->packed;
    if (!model->is_spectral || max_batch > model->direct_max)
        return;
    model->is_spectral = 0;
    free_spectrum(model);
    if (packed->spectrum) {
        const size_t before = (size_t)((char *)packed->spectrum - (char *)packed->memory);
        model->released_bytes += huge_release(packed->spectrum, packed->bytes - before);
        packed->spectrum = NULL;
    }
}

void capsnet_model_free(struct capsnet_model *model)
{
    if (!model)
        return;
    huge_free(model->parameters, model->at.total * sizeof(float));
    free_weights(model);
    for (size_t j = 0; model->labels && j < model->shape.classes; j++)
        free(model->labels[j]);
    free(model->labels);
    for (size_t i = 0; i < model->n_metadata; i++) {
        free(model->metadata[i].key);
        free(model->metadata[i].value);
    }
    free(model->metadata);
    free(model->name);
    free(model);
}

enum capsnet_status model_set_products(struct capsnet_model *model, enum precision precision,
                                       struct capsnet_error *error)
{
    struct packed *packed = &model->packed;
    free_weights(model);
    model->products = precision;
    winograd_init(&model->winograd, points_of[precision], model->shape.primary_kernel,
                  model->at.conv1_row);
    if (precision == PRECISION_F32) {
        model->spectrum = huge_alloc(spectrum_bytes(model));
        return model->spectrum ? CAPSNET_OK : model_no_memory(error);
    }
    packed->spectrum_plane = packed_spectrum_plane(&model->at, precision);
    packed->bytes = model->winograd.x_planes * packed->spectrum_plane * sizeof(uint32_t);
    packed->memory = huge_alloc(packed->bytes);
    packed->spectrum = packed->memory;
    return packed->memory ? CAPSNET_OK : model_no_memory(error);
}

/* ---- Telling of it ------------------------------------------------------- */

const struct capsnet_shape *capsnet_model_shape(const struct capsnet_model *model)
{
    return &model->shape;
}

const char *capsnet_model_name(const struct capsnet_model *model)
{
    return model->name;
}

const char *capsnet_model_label(const struct capsnet_model *model, size_t class_index)
{
    return model->labels[class_index];
}

const char *capsnet_model_stored_dtype(const struct capsnet_model *model)
{
    return model->stored_dtype;
}

const char *capsnet_model_precision(const struct capsnet_model *model)
{
    return precision_names[model->precision];
}

double capsnet_model_cost(const struct capsnet_model *model)
{
    return model->cost;
}

int capsnet_model_measured_as(struct capsnet_model *model, const struct capsnet_model *other)
{
    const int is_same = memcmp(&model->shape, &other->shape, sizeof model->shape) == 0 &&
                        model->kernels == other->kernels && model->precision == other->precision;
    if (is_same && !model->is_plan_fixed)
        model->direct_max = other->direct_max;
    return is_same;
}

const char *capsnet_model_cpu_level(const struct capsnet_model *model)
{
    return model->kernels->level;
}

const char *capsnet_model_memory(const struct capsnet_model *model)
{
    return model->is_spectral ? "full" : "low";
}

size_t capsnet_model_bytes(const struct capsnet_model *model)
{
    return model->at.total * sizeof(float) - model->released_bytes + model->packed.bytes +
           (model->spectrum ? spectrum_bytes(model) : 0);
}

const struct capsnet_known *capsnet_model_known(const struct capsnet_model *model)
{
    return &model->known;
}

const struct capsnet_frame *capsnet_model_frame(const struct capsnet_model *model)
{
    return &model->frame;
}

int capsnet_model_metadata(const struct capsnet_model *model, size_t i, const char **key,
                           const char **value)
{
    if (i >= model->n_metadata)
        return 0;
    *key = model->metadata[i].key;
    *value = model->metadata[i].value;
    return 1;
}
