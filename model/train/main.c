/*
 * main.c - capsnet-train: makes, measures and describes weights files.
 */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/train/measure/calibrate.h"
#include "model/train/measure/evaluate.h"
#include "model/train/draw/label.h"
#include "model/train/options.h"
#include "model/train/output_check.h"
#include "model/train/draw/sheet.h"
#include "model/train/learn/train.h"

static const char usage[] =
    "usage: capsnet-train train [options]          train on IDX or PNG images, write a weights file\n"
    "       capsnet-train eval WEIGHTS [options]   measure a weights file on a data set\n"
    "       capsnet-train calibrate WEIGHTS        measure when its images are in_distribution anew\n"
    "       capsnet-train info WEIGHTS             describe a weights file\n"
    "       capsnet-train COMMAND --help           a command's options\n"
    "       capsnet-train --version\n";

static const char *cpu_level(void)
{
    const char *level = getenv("CAPSNETD_CPU_LEVEL");
    return level && *level ? level : NULL;
}

static int fail(const struct capsnet_error *error)
{
    fprintf(stderr, "capsnet-train: %s\n", error->text);
    return 1;
}

/* ---- train --------------------------------------------------------------- */

/* Whether an option has no part in the numbers that a run gives. */
static int is_incidental(const char *word, size_t *values)
{
    static const struct {
        const char *name;
        size_t values;
    } options[] = {{"--resume", 0}, {"--no-pictures", 0}, {"--threads", 1}, {"--log", 1},
                   {"--checkpoint", 1}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        const size_t length = strlen(options[i].name);
        if (strncmp(word, options[i].name, length) != 0 || (word[length] && word[length] != '='))
            continue;
        *values = word[length] ? 0 : options[i].values;
        return 1;
    }
    return 0;
}

/* Appends a word as a POSIX shell would read it; returns the new end. */
static char *put_word(char *end, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "-_./,=:+@%";
    if (*word && word[strspn(word, plain)] == 0)
        return stpcpy(end, word);
    *end++ = '\'';
    for (; *word; word++)
        if (*word == '\'')
            end = stpcpy(end, "'\\''");
        else
            *end++ = *word;
    return stpcpy(end, "'");
}

/* The command as it was typed, with the program's plain name and without what
 * concerns this machine or this attempt only. */
static char *command_line(int argc, char **argv)
{
    size_t length = 64, values;
    for (int i = 1; i < argc; i++)
        length += 4 * strlen(argv[i]) + 3;
    char *text = malloc(length), *end = text;
    if (!text)
        return NULL;
    end = stpcpy(end, "capsnet-train train");
    for (int i = 1; i < argc; i++) {
        if (is_incidental(argv[i], &values)) {
            i += (int)values;
            continue;
        }
        *end++ = ' ';
        end = put_word(end, argv[i]);
    }
    return text;
}

static int train_command(int argc, char **argv)
{
    struct train_options o = {
        .data = "data", .out = "capsnet.safetensors", .name = "capsnet-mnist",
        .cpu_level = cpu_level(),
        .epochs = 30, .batch = 128, .threads = capsnet_cpu_count(), .rate = 1e-3f,
        .warmup = 200, .ema = 0.999f, .alpha = 0.0005f, .error_threshold = NAN,
        .dtype = SAFETENSORS_F16,
        .augmentation = {.shift = 2, .distorted = 1},
        .shape = {.conv1_kernel = 9, .conv1_channels = 256, .primary_kernel = 9,
                  .primary_stride = 2, .primary_types = 32, .primary_dims = 8, .pose_dims = 16,
                  .routing_iterations = 3, .decoder_hidden = {512, 1024}},
    };
    size_t seed = 1, shift = 2;
    const char *dtype = "f16";
    const struct option_entry table[] = {
        {"data", "DIR", OPTION_TEXT, &o.data, 0, 0, "folder with train-images-idx3-ubyte[.gz], ... or with train/LABEL/*.png or LABEL/*.png"},
        {"out", "FILE", OPTION_TEXT, &o.out, 0, 0, "the weights file to write"},
        {"checkpoint", "FILE", OPTION_TEXT, &o.checkpoint, 0, 0, "state after every epoch [OUT.checkpoint]"},
        {"init", "FILE", OPTION_TEXT, &o.init, 0, 0, "begin with the weights of FILE, of the same shape, or with a checkpoint's average [random]"},
        {"skip-misread", "", OPTION_FLAG, &o.skip_misread, 0, 0, "leave out training images that the weights of --init read as another class"},
        {"resume", "", OPTION_FLAG, &o.resume, 0, 0, "go on from the checkpoint"},
        {"log", "FILE", OPTION_TEXT, &o.log, 0, 0, "append one line of JSON per epoch"},
        {"test", "", OPTION_FLAG, &o.test, 0, 0, "at the end, measure the test set (t10k) once"},
        {"no-pictures", "", OPTION_FLAG, &o.no_pictures, 0, 0, "do not draw OUT's .curve.png and .sheet.png at the end"},
        {"epochs", "N", OPTION_SIZE, &o.epochs, 1, 100000, "times through the training images"},
        {"batch", "N", OPTION_SIZE, &o.batch, 1, 4096, "images per step"},
        {"holdout", "N", OPTION_SIZE, &o.holdout, 0, 1e9, "training images held out to choose by"},
        {"limit", "N", OPTION_SIZE, &o.limit, 0, 1e9, "use the first N training images only, 0: all"},
        {"seed", "N", OPTION_SIZE, &seed, 0, 4294967295.0, "of everything random"},
        {"rate", "X", OPTION_FLOAT, &o.rate, 0, 1, "Adam's learning rate at its highest"},
        {"final-rate", "X", OPTION_FLOAT, &o.final_rate, 0, 1, "and at the end of the cosine"},
        {"warmup", "N", OPTION_SIZE, &o.warmup, 0, 1e9, "steps of linear warm-up"},
        {"ema", "X", OPTION_FLOAT, &o.ema, 0, 0.999999, "decay of the weights' moving average, 0: none"},
        {"alpha", "X", OPTION_FLOAT, &o.alpha, 0, 1, "weight of the reconstruction loss"},
        {"shift", "N", OPTION_SIZE, &shift, 0, 16, "augmentation: whole pixels each way"},
        {"distorted", "X", OPTION_FLOAT, &o.augmentation.distorted, 0, 1, "augmentation: share of images that what follows changes; others are shifted alone"},
        {"rotate", "X", OPTION_FLOAT, &o.augmentation.rotate, 0, 180, "augmentation: degrees each way"},
        {"zoom", "X", OPTION_FLOAT, &o.augmentation.zoom, 0, 0.5, "augmentation: share of the size each way"},
        {"shear", "X", OPTION_FLOAT, &o.augmentation.shear, 0, 1, "augmentation: share of the height each way"},
        {"elastic", "X", OPTION_FLOAT, &o.augmentation.elastic, 0, 16, "augmentation: local displacement in pixels"},
        {"stroke", "X", OPTION_FLOAT, &o.augmentation.stroke, 0, 1, "augmentation: strokes grow or shrink by up to that many pixels each side"},
        {"pairs", "X", OPTION_FLOAT, &o.pairs, 0, 1, "share of images with a digit of another class on top"},
        {"conv1", "N", OPTION_SIZE, &o.shape.conv1_channels, 1, 1024, "channels of conv1"},
        {"types", "N", OPTION_SIZE, &o.shape.primary_types, 1, 256, "primary capsule types"},
        {"dims", "N", OPTION_SIZE, &o.shape.primary_dims, 1, 64, "dimensions of a primary capsule"},
        {"pose", "N", OPTION_SIZE, &o.shape.pose_dims, 1, 64, "dimensions of a class capsule"},
        {"routing", "N", OPTION_SIZE, &o.shape.routing_iterations, 1, 10, "routing iterations"},
        {"hidden1", "N", OPTION_SIZE, &o.shape.decoder_hidden[0], 1, 8192, "decoder: first hidden layer"},
        {"hidden2", "N", OPTION_SIZE, &o.shape.decoder_hidden[1], 1, 8192, "decoder: second hidden layer"},
        {"name", "TEXT", OPTION_TEXT, &o.name, 0, 0, "the model's name"},
        {"labels", "A,B,...", OPTION_TEXT, &o.labels, 0, 0, "the classes' labels [0,1,... or the folders' names]"},
        {"error-threshold", "X", OPTION_FLOAT, &o.error_threshold, 0, 1, "for in_distribution [measured]"},
        {"dtype", "TEXT", OPTION_TEXT, &dtype, 0, 0, "how the weights are stored: f16 or f32"},
        {"threads", "N", OPTION_SIZE, &o.threads, 1, 1024, "threads"},
    };
    options_parse(table, sizeof table / sizeof *table, "usage: capsnet-train train [options]\n",
                  argc, argv, NULL, 0);
    if (strcmp(dtype, "f16") != 0 && strcmp(dtype, "f32") != 0) {
        fprintf(stderr, "capsnet-train: --dtype is f16 or f32, not \"%s\"\n", dtype);
        return 2;
    }
    o.dtype = strcmp(dtype, "f32") == 0 ? SAFETENSORS_F32 : SAFETENSORS_F16;
    o.seed = seed;
    o.augmentation.shift = (int)shift;
    if (o.skip_misread && !o.init) {
        fputs("capsnet-train: --skip-misread needs --init, the weights that read the images\n", stderr);
        return 2;
    }
    char *command = command_line(argc, argv), *checkpoint = NULL;
    if (!o.checkpoint && asprintf(&checkpoint, "%s.checkpoint", o.out) >= 0)
        o.checkpoint = checkpoint;
    o.command = command;
    int status = 1;
    if (command && o.checkpoint)
        status = train(&o);
    free(command);
    free(checkpoint);
    return status;
}

/* ---- eval ---------------------------------------------------------------- */

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

static int eval_command(int argc, char **argv)
{
    const char *weights = NULL, *data = "data", *set = "t10k", *answers = NULL, *mistakes = NULL;
    size_t batch = 128, threads = capsnet_cpu_count();
    const struct option_entry table[] = {
        {"data", "DIR", OPTION_TEXT, &data, 0, 0, "folder with IDX files or folders of PNGs, as for train"},
        {"set", "NAME", OPTION_TEXT, &set, 0, 0, "which of its sets: t10k or train"},
        {"answers", "FILE", OPTION_TEXT, &answers, 0, 0, "write each image's class, one a line"},
        {"mistakes", "FILE.png", OPTION_TEXT, &mistakes, 0, 0, "draw every image it has wrong"},
        {"batch", "N", OPTION_SIZE, &batch, 1, 4096, "images per forward pass"},
        {"threads", "N", OPTION_SIZE, &threads, 1, 1024, "threads"},
    };
    options_parse(table, sizeof table / sizeof *table,
                  "usage: capsnet-train eval WEIGHTS [options]\n", argc, argv, &weights, 1);
    if (!weights) {
        fputs("capsnet-train: eval needs a weights file\n", stderr);
        return 2;
    }
    const struct output outputs[] = {{"WEIGHTS", weights, OUTPUT_INPUT},
                                     {"--answers", answers, OUTPUT_TRUNCATED},
                                     {"--mistakes", mistakes, OUTPUT_TRUNCATED}};
    struct capsnet_error error;
    struct capsnet_model *model = NULL;
    struct capsnet_workspace *ws = NULL;
    struct dataset images = {0};
    struct evaluation e = {0};
    int status = 1;
    uint64_t start;
    if (outputs_check(outputs, sizeof outputs / sizeof *outputs, &error) != CAPSNET_OK ||
        capsnet_model_load(&model, weights, &(struct capsnet_options){.cpu_level = cpu_level()}, &error) != CAPSNET_OK ||
        capsnet_workspace_create(&ws, model, batch, threads, &error) != CAPSNET_OK ||
        dataset_load(&images, data, set, model, &error) != CAPSNET_OK)
        goto failed;
    start = phase_clock();
    if (evaluate(&e, ws, &images, NULL, 0, &error) != CAPSNET_OK)
        goto failed;
    double seconds = (double)(phase_clock() - start) * 1e-9;
    printf("%s: error %.2f %% (%zu of %zu wrong), %.0f images/s (%zu threads, %s)\n", weights,
           100.0 * (double)e.wrong / (double)e.n, e.wrong, e.n, (double)e.n / seconds, threads,
           capsnet_model_cpu_level(model));
    print_known(model, &images, &e);
    print_confusion(model, &images, &e);
    status = answers ? write_answers(answers, &e) : 0;
    if (mistakes && draw_mistakes(mistakes, ws, &images, &e, &error) != CAPSNET_OK)
        goto failed;
    goto out;
failed:
    status = fail(&error);
out:
    evaluation_free(&e);
    dataset_free(&images);
    capsnet_workspace_free(ws);
    capsnet_model_free(model);
    return status;
}

/* ---- calibrate ----------------------------------------------------------- */

static int calibrate_command(int argc, char **argv)
{
    const char *weights = NULL, *data = "data", *out = NULL;
    size_t threads = capsnet_cpu_count();
    const struct option_entry table[] = {
        {"data", "DIR", OPTION_TEXT, &data, 0, 0, "the folder that it was trained on"},
        {"out", "FILE", OPTION_TEXT, &out, 0, 0, "the weights file to write [WEIGHTS]"},
        {"threads", "N", OPTION_SIZE, &threads, 1, 1024, "threads"},
    };
    options_parse(table, sizeof table / sizeof *table,
                  "usage: capsnet-train calibrate WEIGHTS [options]\n", argc, argv, &weights, 1);
    if (!weights) {
        fputs("capsnet-train: calibrate needs a weights file\n", stderr);
        return 2;
    }
    struct capsnet_error error;
    enum capsnet_status status =
        calibrate_file(weights, data, out ? out : weights, cpu_level(), threads, &error);
    return status == CAPSNET_OK ? 0 : fail(&error);
}

/* ---- info ---------------------------------------------------------------- */

static int info_command(int argc, char **argv)
{
    const char *weights = NULL, *key, *value;
    options_parse(NULL, 0, "usage: capsnet-train info WEIGHTS\n", argc, argv, &weights, 1);
    if (!weights) {
        fputs("capsnet-train: info needs a weights file\n", stderr);
        return 2;
    }
    struct capsnet_error error;
    struct capsnet_model *model;
    if (capsnet_model_load(&model, weights, &(struct capsnet_options){.cpu_level = cpu_level()}, &error) != CAPSNET_OK)
        return fail(&error);
    printf("%s: %s, %zu parameters, stored as %s\n", weights, capsnet_model_name(model),
           capsnet_model_parameters(model), capsnet_model_stored_dtype(model));
    for (size_t i = 0; capsnet_model_metadata(model, i, &key, &value); i++)
        printf("  %-22s %s\n", key, value);
    capsnet_model_free(model);
    return 0;
}

/* Whoever sends the figures to a full disk must not be told that all is well. */
static void close_output(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return;
    fprintf(stderr, "capsnet-train: the output cannot be written: %s\n", strerror(errno));
    _exit(1);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } commands[] = {{"train", train_command}, {"eval", eval_command},
                    {"calibrate", calibrate_command}, {"info", info_command}};
    const char *word = argc > 1 ? argv[1] : "";
    atexit(close_output);
    signal(SIGXFSZ, SIG_IGN); /* a file at its limit is an error like a full disk */
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(word, commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    if (strcmp(word, "--version") == 0) {
        puts("capsnet-train " CAPSNET_VERSION);
        return 0;
    }
    int asked = strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
    if (*word && !asked)
        fprintf(stderr, "capsnet-train: there is no command \"%s\"\n", word);
    fputs(usage, asked ? stdout : stderr);
    return asked ? 0 : 2;
}
