/*
 * calibrate.c - see calibrate.h.
 */
#include "model/train/measure/calibrate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/weights_file/model_file.h"
#include "model/train/measure/evaluate.h"
#include "model/train/measure/trained_on.h"
#include "model/train/data/dataset_load.h"
#include "model/train/data/holdout_split.h"
#include "model/train/data/pairs.h"

enum { BATCH = 128 };

/* ---- Measuring ----------------------------------------------------------- */

/* What the numbers are made of, image by image; and of those whose picture errs
 * less than an empty one would, the only ones that thresholds decide on, the
 * error divided by what the ink allows, and the length, both sorted. */
struct measured {
    size_t n, n_sorted;
    float *inks;
    const float *lengths, *errors;
    float *sorted_ratios, *sorted_lengths;
};

/* The largest threshold that a weights file may have. */
#define MAX_RATIO 1000.0f

static int compare(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The line log error = a + ink_power * log ink, typical_ink being where the
 * images' logarithms have their mean.  Blank images take no part. */
static void fit_ink(struct capsnet_known *known, const struct measured *m)
{
    double n = 0, x = 0, y = 0, xx = 0, xy = 0;
    for (size_t i = 0; i < m->n; i++) {
        if (!(m->inks[i] > 1e-6f && m->errors[i] > 0))
            continue;
        const double log_ink = log((double)m->inks[i]), log_error = log((double)m->errors[i]);
        n += 1, x += log_ink, y += log_error;
        xx += log_ink * log_ink, xy += log_ink * log_error;
    }
    const double spread = xx - x * x / fmax(n, 1);
    const double slope = spread > 1e-9 * n ? (xy - x * y / n) / spread : 0;
    known->ink_power = (float)fmin(fmax(slope, 0), 8);
    known->typical_ink = n > 0 ? (float)exp(x / n) : 1;
}

/* Thresholds beyond which k images lie by each of the two signs.  A millionth
 * beyond the image next to them, so that no rounding refuses that too. */
static void set_thresholds(struct capsnet_known *known, const struct measured *m, size_t k)
{
    known->error_threshold = m->sorted_ratios[m->n_sorted - 1 - k] * (1 + 1e-6f);
    known->length_threshold = m->sorted_lengths[k] * (1 - 1e-6f);
}

static size_t count_refused(const struct capsnet_known *known, const struct measured *m)
{
    size_t refused = 0;
    for (size_t i = 0; i < m->n; i++)
        refused += !capsnet_is_known(known, m->errors[i], m->lengths[i], m->inks[i]);
    return refused;
}

static void sort_measured(struct measured *m, const struct capsnet_known *known)
{
    for (size_t i = 0; i < m->n; i++) {
        if (!(m->errors[i] < m->inks[i]))
            continue;
        const float allowed = powf(m->inks[i] / known->typical_ink, known->ink_power);
        m->sorted_ratios[m->n_sorted] = fminf(m->errors[i] / allowed, MAX_RATIO / 2);
        m->sorted_lengths[m->n_sorted++] = m->lengths[i];
    }
    qsort(m->sorted_ratios, m->n_sorted, sizeof(float), compare);
    qsort(m->sorted_lengths, m->n_sorted, sizeof(float), compare);
}

static void find_thresholds(struct capsnet_known *known, struct measured *m)
{
    const size_t most = (size_t)(CALIBRATE_REFUSED * (double)m->n);
    sort_measured(m, known);
    if (!m->n_sorted) { /* nothing that the model draws is like its image */
        known->error_threshold = known->length_threshold = 0;
        return;
    }
    /* The largest k that refuses at most that many. */
    size_t low = 0, high = most < m->n_sorted ? most : m->n_sorted - 1;
    while (low < high) {
        const size_t middle = (low + high + 1) / 2;
        set_thresholds(known, m, middle);
        if (count_refused(known, m) <= most)
            low = middle;
        else
            high = middle - 1;
    }
    set_thresholds(known, m, low);
}

enum capsnet_status calibrate(struct capsnet_known *known, struct capsnet_workspace *ws,
                              const struct dataset *data, const uint32_t *index, size_t n,
                              struct capsnet_error *error)
{
    struct evaluation e;
    enum capsnet_status status = evaluate(&e, ws, data, index, n, error);
    if (status != CAPSNET_OK)
        return status;
    float *memory = malloc((3 * n + 1) * sizeof *memory);
    if (memory && n > 0) {
        struct measured m = {n, 0, memory, e.lengths, e.errors, memory + n, memory + 2 * n};
        for (size_t i = 0; i < n; i++)
            m.inks[i] = dataset_ink(data, index ? index[i] : i);
        struct capsnet_known found;
        fit_ink(&found, &m);
        find_thresholds(&found, &m);
        *known = found;
    } else {
        snprintf(error->text, sizeof error->text, "no images, or no memory, to calibrate with");
        status = CAPSNET_ERR_MEMORY;
    }
    free(memory);
    evaluation_free(&e);
    return status;
}

const char *calibrate_source(size_t n_holdout)
{
    return n_holdout ? "held-out images" : "training images";
}

void calibrate_print(const struct capsnet_known *known, const char *source)
{
    printf("in_distribution, from the %s: error at most %.5f at an ink of %.4f, to the power of "
           "%.3f; length at least %.4f\n", source, (double)known->error_threshold,
           (double)known->typical_ink, (double)known->ink_power, (double)known->length_threshold);
}

/* ---- A file's ------------------------------------------------------------ */

/* Writes the model as it was read, but for its numbers and where they come
 * from. */
static enum capsnet_status rewrite(const struct capsnet_model *model, const char *out,
                                   const char *source, struct capsnet_error *error)
{
    static const char from[] = "error_threshold_from";
    enum safetensors_dtype dtype = SAFETENSORS_F32;
    struct safetensors_metadata *extra = calloc(model->n_metadata + 1, sizeof *extra);
    size_t n = 0;
    if (!extra) {
        snprintf(error->text, sizeof error->text, "not enough memory to write %.200s", out);
        return CAPSNET_ERR_MEMORY;
    }
    while (strcmp(safetensors_dtype_name(dtype), capsnet_model_stored_dtype(model)) != 0)
        dtype++;
    const char *old = trained_metadata(model, from);
    for (size_t i = 0; i < model->n_metadata; i++) {
        const struct model_metadata *mine = &model->metadata[i];
        extra[n++] = (struct safetensors_metadata){mine->key,
                                                   mine->value == old ? source : mine->value};
    }
    if (!old)
        extra[n++] = (struct safetensors_metadata){from, source};
    const struct model_block block = {"", model->parameters};
    enum capsnet_status status = model_save(model, out, dtype, &block, 1, extra, n, error);
    free(extra);
    return status;
}

/* The split of the file's training: writers is needed for one by writer. */
static enum capsnet_status split_again(uint32_t **split, const struct split_record *record,
                                       const struct dataset *data, const char *path,
                                       const char *writers_path, struct capsnet_error *error)
{
    const size_t n = record->n_train + record->n_skipped + record->n_holdout;
    size_t n_holdout;
    struct writers writers;
    if (n > data->n) {
        snprintf(error->text, sizeof error->text, "%.150s was made from %zu images; there are %zu",
                 path, n, data->n);
        return CAPSNET_ERR_FORMAT;
    }
    if (!record->wanted) {
        *split = split_images(n, record->n_holdout);
        if (*split)
            return CAPSNET_OK;
        snprintf(error->text, sizeof error->text, "not enough memory to split %zu images", n);
        return CAPSNET_ERR_MEMORY;
    }
    if (!writers_path) {
        snprintf(error->text, sizeof error->text,
                 "%.200s was made with whole writers held out: --holdout-writers is needed again",
                 path);
        return CAPSNET_ERR_ARGUMENT;
    }
    enum capsnet_status status = writers_load(&writers, writers_path, data->n, error);
    if (status != CAPSNET_OK)
        return status;
    status = split_writers(split, &n_holdout, &writers, n, record->wanted, record->seed, error);
    writers_free(&writers);
    if (status != CAPSNET_OK || n_holdout == record->n_holdout)
        return status;
    snprintf(error->text, sizeof error->text,
             "%.150s: these are not the writers that %.150s was made with", writers_path, path);
    return CAPSNET_ERR_FORMAT;
}

/* The images that the file's training held out, or all that it saw. */
static enum capsnet_status measure_file(struct capsnet_model *model, const char *path,
                                        const char *folder, const char *writers, size_t threads,
                                        const char **source, struct capsnet_error *error)
{
    struct dataset data = {0}, placed = {0};
    struct capsnet_workspace *ws = NULL;
    uint32_t *split = NULL;
    struct split_record record;
    enum capsnet_status status = CAPSNET_ERR_FORMAT;
    if (!split_parse(trained_metadata(model, "train.images"), &record)) {
        snprintf(error->text, sizeof error->text,
                 "%.200s does not say which images were held out: its metadata lacks a "
                 "\"train.images\" of capsnet-train", path);
        return status;
    }
    if (trained_on_pairs(model)) {
        snprintf(error->text, sizeof error->text,
                 "%.200s was trained on pairs: the picture of the winning capsule lacks the other "
                 "digit, so it cannot tell whether an image is in_distribution", path);
        return CAPSNET_ERR_ARGUMENT;
    }
    status = dataset_load(&data, folder, "train", model, error);
    if (status == CAPSNET_OK)
        status = capsnet_workspace_create(&ws, model, BATCH, threads, error);
    if (status == CAPSNET_OK)
        status = split_again(&split, &record, &data, path, writers, error);
    if (status == CAPSNET_OK) {
        const size_t n_shown = record.n_train + record.n_skipped, n_holdout = record.n_holdout;
        const uint32_t *index = split + (n_holdout ? n_shown : 0);
        const size_t n = n_holdout ? n_holdout : n_shown;
        *source = calibrate_source(n_holdout);
        status = trained_place(&placed, model, &data, index, n, PAIRS_SEED, error);
        if (status == CAPSNET_OK)
            status = placed.n ? calibrate(&model->known, ws, &placed, NULL, n, error)
                              : calibrate(&model->known, ws, &data, index, n, error);
    }
    dataset_free(&placed);
    free(split);
    capsnet_workspace_free(ws);
    dataset_free(&data);
    return status;
}

enum capsnet_status calibrate_file(const char *weights, const char *data, const char *writers,
                                   const char *out, const char *cpu_level, size_t threads,
                                   struct capsnet_error *error)
{
    struct capsnet_model *model = NULL;
    const char *source;
    const struct capsnet_options options = {.cpu_level = cpu_level};
    enum capsnet_status status = model_load_whole(&model, weights, &options, error);
    if (status == CAPSNET_OK)
        status = measure_file(model, weights, data, writers, threads, &source, error);
    if (status == CAPSNET_OK)
        status = rewrite(model, out, source, error);
    if (status == CAPSNET_OK) {
        calibrate_print(&model->known, source);
        printf("wrote %s\n", out);
    }
    capsnet_model_free(model);
    return status;
}
