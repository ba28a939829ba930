/*
 * eval_command.c - `capsnet-train eval`: what a weights file makes of a data set.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/draw/label.h"
#include "model/train/commands.h"
#include "model/train/data/dataset_load.h"
#include "model/train/data/pairs.h"
#include "model/train/draw/picture_file.h"
#include "model/train/draw/sheet.h"
#include "model/train/eval_pairs.h"
#include "model/train/measure/evaluate.h"
#include "model/train/measure/trained_on.h"
#include "model/train/output/output_check.h"

static int write_answers(const char *path, const struct evaluation *e)
{
    FILE *file = fopen(path, "w");
    int bad = !file;
    for (size_t i = 0; file && i < e->n; i++)
        fprintf(file, "%u\n", e->answers[i]);
    if (file) {
        bad = ferror(file);
        bad |= fclose(file) != 0;
    }
    if (bad)
        fprintf(stderr, "capsnet-train: %s: cannot write the answers: %s\n", path,
                strerror(errno));
    return bad;
}

static enum capsnet_status draw_mistakes(const char *path, struct capsnet_workspace *ws,
                                         const struct dataset *data, const struct evaluation *e,
                                         struct capsnet_error *error)
{
    struct image picture;
    size_t shown;
    enum capsnet_status status = sheet_of_mistakes(&picture, &shown, ws, data, e, error);
    if (status != CAPSNET_OK)
        return status;
    status = picture_write(&picture, path, error);
    image_free(&picture);
    if (status == CAPSNET_OK)
        printf("\nwrote %s with %zu of %zu mistakes\n", path, shown, e->wrong);
    return status;
}

/* A label at the right of a column so many characters wide. */
static void print_label(const char *label, size_t width)
{
    const size_t length = label_length(label);
    if (length < width)
        printf("%*s", (int)(width - length), "");
    fwrite(label, 1, label_nbytes(label, width), stdout);
}

/* Rows: what the images are; columns: what the model said. */
static void print_confusion(const struct capsnet_model *model, const struct dataset *data,
                            const struct evaluation *e)
{
    const size_t classes = model->shape.classes;
    size_t *count = calloc(classes * classes, sizeof *count);
    if (!count)
        return;
    for (size_t i = 0; i < e->n; i++)
        count[data->labels[i] * classes + e->answers[i]]++;
    printf("\n%8s", "");
    for (size_t j = 0; j < classes; j++) {
        putchar(' ');
        print_label(capsnet_model_label(model, j), 6);
    }
    putchar('\n');
    for (size_t i = 0; i < classes; i++) {
        print_label(capsnet_model_label(model, i), 8);
        for (size_t j = 0; j < classes; j++)
            if (count[i * classes + j])
                printf(" %6zu", count[i * classes + j]);
            else
                printf(" %6s", ".");
        putchar('\n');
    }
    free(count);
}

/* How many images the model takes for its own kind. */
static void print_known(const struct capsnet_model *model, const struct dataset *data,
                        const struct evaluation *e)
{
    const struct capsnet_known *known = capsnet_model_known(model);
    size_t inside = 0;
    if (isnan(known->error_threshold))
        return;
    for (size_t i = 0; i < e->n; i++)
        inside += (size_t)capsnet_is_known(known, e->errors[i], e->lengths[i],
                                           dataset_ink(data, i));
    printf("in_distribution: %.2f %%\n", 100.0 * (double)inside / (double)e->n);
}

int eval_command(int argc, char **argv)
{
    const char *data = "data", *set = "t10k", *answers = NULL, *mistakes = NULL, *pictures = NULL;
    size_t batch = 128, threads = capsnet_cpu_count(), seed = PAIRS_SEED, n_pictures = 100;
    int pairs = 0;
    const struct option_entry table[] = {
        {"data", "DIR", OPTION_TEXT, &data, 0, 0, "folder with IDX files or folders of PNGs, as for train"},
        {"set", "NAME", OPTION_TEXT, &set, 0, 0, "which of its sets: t10k or train"},
        {"pairs", "", OPTION_FLAG, &pairs, 0, 0, "of a model of train --pairs: measure pairs, each image with 10 partners of other classes"},
        {"seed", "N", OPTION_SIZE, &seed, 0, 4294967295.0, "which partners, and where each image lies on the canvas of a model that has one"},
        {"answers", "FILE", OPTION_TEXT, &answers, 0, 0, "write each image's class, of pairs the two, one a line"},
        {"mistakes", "FILE.png", OPTION_TEXT, &mistakes, 0, 0, "draw every image it has wrong"},
        {"pictures", "DIR", OPTION_TEXT, &pictures, 0, 0, "write the first pairs as PNGs, and their labels as pairs.tsv"},
        {"pictures-count", "N", OPTION_SIZE, &n_pictures, 1, 1e9, "how many of them"},
        {"batch", "N", OPTION_SIZE, &batch, 1, 4096, "images per forward pass"},
        {"threads", "N", OPTION_SIZE, &threads, 1, 1024, "threads"},
    };
    const char *weights = parse_with_weights(table, sizeof table / sizeof *table,
                                             "usage: capsnet-train eval WEIGHTS [options]\n",
                                             argc, argv);
    const struct output outputs[] = {{"WEIGHTS", weights, OUTPUT_INPUT},
                                     {"--answers", answers, OUTPUT_TRUNCATED},
                                     {"--mistakes", mistakes, OUTPUT_TRUNCATED}};
    struct capsnet_error error;
    struct capsnet_model *model = NULL;
    struct capsnet_workspace *ws = NULL;
    struct dataset images = {0}, placed;
    struct evaluation e = {0};
    const struct capsnet_options options = {.cpu_level = cpu_level()};
    int status = 1;
    uint64_t start;
    if (pairs ? mistakes != NULL : pictures != NULL) {
        fprintf(stderr, "capsnet-train: %s\n",
                pairs ? "--mistakes draws single images, not --pairs"
                      : "--pictures is for --pairs: it writes pairs");
        return 2;
    }
    if (outputs_check(outputs, sizeof outputs / sizeof *outputs, &error) != CAPSNET_OK ||
        capsnet_model_load(&model, weights, &options, &error) != CAPSNET_OK ||
        capsnet_workspace_create(&ws, model, batch, threads, &error) != CAPSNET_OK ||
        dataset_load(&images, data, set, model, &error) != CAPSNET_OK)
        goto failed;
    if (pairs) {
        const struct eval_pairs_options o = {weights, answers, pictures, n_pictures, seed, threads};
        if (eval_pairs(ws, &images, &o, &error) != CAPSNET_OK)
            goto failed;
        status = 0;
        goto out;
    }
    if (trained_place(&placed, model, &images, NULL, images.n, seed, &error) != CAPSNET_OK)
        goto failed;
    if (placed.n) {
        dataset_free(&images);
        images = placed;
    }
    start = phase_clock();
    if (evaluate(&e, ws, &images, NULL, 0, &error) != CAPSNET_OK)
        goto failed;
    double seconds = (double)(phase_clock() - start) * 1e-9;
    printf("%s: error %.2f %% (%zu of %zu wrong), %.0f images/s (%zu threads, %s)\n", weights,
           100.0 * (double)e.wrong / (double)e.n, e.wrong, e.n, (double)e.n / seconds, threads,
           capsnet_model_cpu_level(model));
    printf("margin loss %.6f\n", e.margin);
    print_known(model, &images, &e);
    print_confusion(model, &images, &e);
    status = answers ? write_answers(answers, &e) : 0;
    if (mistakes && draw_mistakes(mistakes, ws, &images, &e, &error) != CAPSNET_OK)
        goto failed;
    goto out;
failed:
    status = command_fail(&error);
out:
    evaluation_free(&e);
    dataset_free(&images);
    capsnet_workspace_free(ws);
    capsnet_model_free(model);
    return status;
}
