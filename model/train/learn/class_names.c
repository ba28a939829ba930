/*
 * class_names.c - what the model and its classes are called: by the command line,
 * the data's folders, or numbers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/train/data/dataset_load.h"
#include "model/train/learn/run_state.h"
#include "model/train/measure/evaluate.h"

/* "a,b,c" into the model's labels. */
static enum capsnet_status set_labels(struct capsnet_model *model, const char *labels,
                                      struct capsnet_error *error)
{
    for (size_t j = 0; j < model->shape.classes; j++) {
        size_t length = strcspn(labels, ",");
        char *label = strndup(labels, length);
        if (!label)
            return trainer_no_memory(error);
        free(model->labels[j]);
        model->labels[j] = label;
        labels += length;
        int last = j + 1 == model->shape.classes;
        if (length == 0 || *labels != (last ? 0 : ',')) {
            snprintf(error->text, sizeof error->text,
                     "--labels must name %zu classes, separated by commas", model->shape.classes);
            return CAPSNET_ERR_ARGUMENT;
        }
        labels += !last;
    }
    return CAPSNET_OK;
}

/* By the folders' names a later set's classes are told, or by their order when the
 * model has none of them (dataset.c): labels that are names of other folders would
 * be taken for those. */
static enum capsnet_status check_labels(const struct trainer *t, struct capsnet_error *error)
{
    const char *reused = NULL;
    size_t kept = 0;
    for (size_t j = 0; j < t->data.classes; j++)
        for (size_t k = 0; k < j; k++)
            if (strcmp(capsnet_model_label(t->model, j), capsnet_model_label(t->model, k)) == 0) {
                snprintf(error->text, sizeof error->text, "--labels: \"%.100s\" stands twice",
                         capsnet_model_label(t->model, j));
                return CAPSNET_ERR_ARGUMENT;
            }
    for (size_t j = 0; t->data.names && j < t->data.classes; j++) {
        const char *label = capsnet_model_label(t->model, j);
        kept += strcmp(label, t->data.names[j]) == 0;
        for (size_t k = 0; k < t->data.classes; k++)
            reused = strcmp(label, t->data.names[k]) == 0 ? label : reused;
    }
    if (!reused || kept == t->data.classes)
        return CAPSNET_OK;
    snprintf(error->text, sizeof error->text,
             "--labels: \"%.100s\" is the name of a folder of images already; call all classes "
             "otherwise, or rename the folders",
             reused);
    return CAPSNET_ERR_ARGUMENT;
}

static int has_control(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return 1;
    return 0;
}

/* The weights file holds these texts, and must be UTF-8; the names are printed,
 * too. */
static enum capsnet_status check_text(const struct trainer *t, struct capsnet_error *error)
{
    const char *bad = safetensors_is_utf8(t->options->command) ? NULL : "the command line";
    int control = has_control(t->options->name);
    for (size_t j = 0; !bad && j < t->model->shape.classes; j++) {
        control |= has_control(t->model->labels[j]);
        if (!safetensors_is_utf8(t->model->labels[j]))
            bad = t->model->labels[j];
    }
    if (!bad && !control)
        return CAPSNET_OK;
    if (bad)
        snprintf(error->text, sizeof error->text,
                 "%.200s: this is not UTF-8, as all text in a weights file must be", bad);
    else
        snprintf(error->text, sizeof error->text,
                 "the name of the model or of a class holds a control character, such as a line "
                 "break");
    return CAPSNET_ERR_ARGUMENT;
}

/* The test set, on the canvas where there is one. */
static enum capsnet_status load_test(struct trainer *t, struct capsnet_error *error)
{
    struct dataset *loaded = t->augmentation.canvas ? &t->test_pictures : &t->test;
    enum capsnet_status status = dataset_load(loaded, t->options->data, "t10k", t->model, error);
    if (status == CAPSNET_OK && t->augmentation.canvas)
        status = trainer_place(t, &t->test, loaded, NULL, loaded->n, error);
    return status == CAPSNET_OK ? evaluate_check(&t->model->shape, &t->test, error) : status;
}

enum capsnet_status trainer_set_names(struct trainer *t, struct capsnet_error *error)
{
    const struct train_options *o = t->options;
    struct capsnet_model *model = t->model;
    enum capsnet_status status = CAPSNET_OK;
    free(model->name);
    model->name = strdup(o->name);
    if (!model->name)
        return trainer_no_memory(error);
    for (size_t j = 0; t->data.names && j < model->shape.classes; j++) {
        free(model->labels[j]);
        model->labels[j] = strdup(t->data.names[j]);
        if (!model->labels[j])
            return trainer_no_memory(error);
    }
    if (o->test)
        status = load_test(t, error);
    if (status == CAPSNET_OK && o->labels)
        status = set_labels(model, o->labels, error);
    if (status == CAPSNET_OK && o->labels)
        status = check_labels(t, error);
    return status == CAPSNET_OK ? check_text(t, error) : status;
}
