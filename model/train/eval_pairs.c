/*
 * eval_pairs.c - see eval_pairs.h.
 */
#include "model/train/eval_pairs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model/train/draw/picture_file.h"

static double percent(size_t part, size_t n)
{
    return n ? 100.0 * (double)part / (double)n : 0;
}

/* What went wrong with a file; its name leads the sentence. */
static enum capsnet_status file_failed(struct capsnet_error *error, const char *path,
                                       const char *what)
{
    snprintf(error->text, sizeof error->text, "%.300s: cannot write the %.50s: %.100s", path, what,
             strerror(errno));
    return CAPSNET_ERR_IO;
}

static enum capsnet_status write_answers(const char *path, const struct pairs_evaluation *e,
                                         struct capsnet_error *error)
{
    FILE *file = fopen(path, "w");
    int bad = !file;
    for (size_t i = 0; file && i < e->n; i++)
        fprintf(file, "%u %u\n", e->answers[i][0], e->answers[i][1]);
    if (file) {
        bad = ferror(file);
        bad |= fclose(file) != 0;
    }
    return bad ? file_failed(error, path, "answers") : CAPSNET_OK;
}

/* ---- Pictures -------------------------------------------------------------- */

/* One pair to FOLDER/NAME; bytes: [3][pixels]. */
static enum capsnet_status write_picture(const char *folder, const char *name,
                                         const struct dataset *data, const struct pair *pair,
                                         size_t canvas, uint8_t *bytes,
                                         struct capsnet_error *error)
{
    const size_t pixels = canvas * canvas * data->channels;
    const struct image picture = {canvas, canvas, data->channels, bytes};
    char path[4096];
    pair_picture(bytes + pixels, data, pair, 0, canvas);
    pair_picture(bytes + 2 * pixels, data, pair, 1, canvas);
    pair_overlay(bytes, bytes + pixels, bytes + 2 * pixels, pixels);
    if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) >= sizeof path) {
        errno = ENAMETOOLONG;
        return file_failed(error, folder, "pictures");
    }
    return picture_write(&picture, path, error);
}

/* The first n pairs, and the list of them: name, tab, first label, tab, second label. */
static enum capsnet_status write_pictures(const struct capsnet_model *model,
                                          const struct dataset *data, const struct pair *pairs,
                                          size_t n, const char *folder,
                                          struct capsnet_error *error)
{
    const size_t canvas = model->shape.width;
    char path[4096];
    uint8_t *bytes = malloc(3 * canvas * canvas * data->channels);
    FILE *list = NULL;
    enum capsnet_status status = CAPSNET_OK;
    if ((mkdir(folder, 0777) != 0 && errno != EEXIST) ||
        (size_t)snprintf(path, sizeof path, "%s/pairs.tsv", folder) >= sizeof path ||
        !(list = fopen(path, "w")) || !bytes)
        status = file_failed(error, folder, "pictures");
    for (size_t i = 0; i < n && status == CAPSNET_OK; i++) {
        char name[32];
        snprintf(name, sizeof name, "%06zu.png", i);
        fprintf(list, "%s\t%s\t%s\n", name,
                capsnet_model_label(model, data->labels[pairs[i].image[0]]),
                capsnet_model_label(model, data->labels[pairs[i].image[1]]));
        status = write_picture(folder, name, data, &pairs[i], canvas, bytes, error);
    }
    if (list) {
        const int bad = ferror(list);
        if ((fclose(list) != 0 || bad) && status == CAPSNET_OK)
            status = file_failed(error, path, "list");
    }
    if (status == CAPSNET_OK)
        printf("wrote %zu pairs and pairs.tsv to %s\n", n, folder);
    free(bytes);
    return status;
}

/* ---- All of it ------------------------------------------------------------- */

static enum capsnet_status measure_singles(struct capsnet_workspace *ws,
                                           const struct dataset *data, uint64_t seed,
                                           struct capsnet_error *error)
{
    struct pair *places;
    struct pairs_evaluation e;
    enum capsnet_status status = pairs_draw(&places, data, NULL, data->n, 0,
                                            ws->model->shape.width, seed, error);
    if (status != CAPSNET_OK)
        return status;
    status = evaluate_pairs(&e, ws, data, places, data->n, error);
    free(places);
    if (status != CAPSNET_OK)
        return status;
    printf("single images on the canvas: error %.2f %% (%zu of %zu wrong), detected exactly that "
           "class %.2f %%; mean squared error of the reconstruction %.5f\n",
           percent(e.wrong, e.n), e.wrong, e.n, percent(e.n - e.not_detected, e.n), e.own_error);
    pairs_evaluation_free(&e);
    return CAPSNET_OK;
}

static void print_pairs(const struct capsnet_workspace *ws, const struct dataset *data,
                        const struct eval_pairs_options *o, const struct pairs_evaluation *e,
                        double seconds)
{
    const size_t canvas = ws->model->shape.width;
    printf("%zu images with %d partners of other classes each, anywhere on %zu x %zu, seed %llu\n",
           data->n, PAIRS_PARTNERS, canvas, canvas, (unsigned long long)o->seed);
    printf("%s: pairs wrong %.2f %% (%zu of %zu), %.0f pairs/s (%zu threads, %s)\n", o->weights,
           percent(e->wrong, e->n), e->wrong, e->n, (double)e->n / seconds, o->threads,
           capsnet_model_cpu_level(ws->model));
    printf("detected exactly the pair %.2f %% (%zu)\n", percent(e->n - e->not_detected, e->n),
           e->n - e->not_detected);
    printf("margin loss %.6f\n", e->margin);
    printf("mean squared error of each capsule drawn alone: %.5f from its own image, %.5f from the "
           "other\n", e->own_error, e->other_error);
}

enum capsnet_status eval_pairs(struct capsnet_workspace *ws, const struct dataset *data,
                               const struct eval_pairs_options *o, struct capsnet_error *error)
{
    struct pair *pairs;
    struct pairs_evaluation e = {0};
    const size_t n = data->n * PAIRS_PARTNERS;
    enum capsnet_status status = pairs_draw(&pairs, data, NULL, data->n, PAIRS_PARTNERS,
                                            ws->model->shape.width, o->seed, error);
    if (status != CAPSNET_OK)
        return status;
    const uint64_t start = phase_clock();
    status = evaluate_pairs(&e, ws, data, pairs, n, error);
    if (status == CAPSNET_OK) {
        print_pairs(ws, data, o, &e, (double)(phase_clock() - start) * 1e-9);
        status = measure_singles(ws, data, o->seed, error);
    }
    if (status == CAPSNET_OK && o->answers)
        status = write_answers(o->answers, &e, error);
    if (status == CAPSNET_OK && o->pictures)
        status = write_pictures(ws->model, data, pairs, n < o->n_pictures ? n : o->n_pictures,
                                o->pictures, error);
    pairs_evaluation_free(&e);
    free(pairs);
    return status;
}
