/*
 * train_command.c - `capsnet-train train`: its options.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/train/commands.h"
#include "model/train/learn/train.h"

/* Whether an option has no part in the numbers that a run gives. */
static int is_incidental(const char *word, size_t *values)
{
    static const struct {
        const char *name;
        size_t values;
    } options[] = {{"--resume", 0}, {"--no-pictures", 0}, {"--threads", 1}, {"--log", 1},
                   {"--checkpoint", 1}, {"--checkpoint-minutes", 1}};
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

/* Which word of auto, f32 and bf16 a value is.  Ends the process when it is none. */
static enum step_precision step_precision(const char *value)
{
    enum step_precision p = 0;
    while (p < STEP_PRECISIONS && strcmp(value, step_precision_names[p]) != 0)
        p++;
    if (p < STEP_PRECISIONS)
        return p;
    fprintf(stderr, "capsnet-train: --step-precision is auto, f32 or bf16, not \"%s\"\n", value);
    exit(2);
}

/* Which of two words an option's value is: 0 or 1.  Ends the process when it is
 * neither. */
static int choice(const char *option, const char *value, const char *first, const char *second)
{
    if (strcmp(value, first) == 0 || strcmp(value, second) == 0)
        return strcmp(value, second) == 0;
    fprintf(stderr, "capsnet-train: --%s is %s or %s, not \"%s\"\n", option, first, second, value);
    exit(2);
}

int train_command(int argc, char **argv)
{
    struct train_options o = {
        .data = "data", .out = "capsnet.safetensors", .name = "capsnet-mnist",
        .cpu_level = cpu_level(),
        .epochs = 30, .batch = 128, .repeats = 1, .primary_scale = 1, .decay = 1, .teacher_lengths = 1, .singles = 0.1f,
        .checkpoint_minutes = 2, .threads = capsnet_cpu_count(), .rate = 1e-3f,
        .warmup = 200, .ema = 0.999f, .alpha = 0.0005f, .error_threshold = NAN,
        .dtype = SAFETENSORS_F16,
        .augmentation = {.shift = 2, .distorted = 1},
        .shape = {.conv1_kernel = 9, .conv1_channels = 256, .primary_kernel = 9,
                  .primary_stride = 2, .primary_types = 32, .primary_dims = 8, .pose_dims = 16,
                  .routing_iterations = 3, .decoder_hidden = {512, 1024}},
    };
    size_t seed = 1, shift = 2;
    const char *dtype = "f16", *scheme = "glorot", *precision = "auto";
    const struct option_entry table[] = {
        {"data", "DIR", OPTION_TEXT, &o.data, 0, 0, "folder with train-images-idx3-ubyte[.gz], ... or with train/LABEL/*.png or LABEL/*.png"},
        {"out", "FILE", OPTION_TEXT, &o.out, 0, 0, "the weights file to write"},
        {"checkpoint", "FILE", OPTION_TEXT, &o.checkpoint, 0, 0, "state after every epoch [OUT.checkpoint]"},
        {"checkpoint-minutes", "X", OPTION_FLOAT, &o.checkpoint_minutes, 0, 1e6, "and within an epoch, that long after the last one"},
        {"init", "FILE", OPTION_TEXT, &o.init, 0, 0, "begin with the weights of FILE, of the same shape, or with a checkpoint's average [random]"},
        {"skip-misread", "", OPTION_FLAG, &o.skip_misread, 0, 0, "leave out training images that the weights of --init read as another class"},
        {"resume", "", OPTION_FLAG, &o.resume, 0, 0, "go on from the checkpoint"},
        {"log", "FILE", OPTION_TEXT, &o.log, 0, 0, "append one line of JSON per epoch"},
        {"test", "", OPTION_FLAG, &o.test, 0, 0, "at the end, measure the test set (t10k) once"},
        {"no-pictures", "", OPTION_FLAG, &o.no_pictures, 0, 0, "do not draw OUT's .curve.png and .sheet.png at the end"},
        {"epochs", "N", OPTION_SIZE, &o.epochs, 1, 100000, "times through the training images"},
        {"batch", "N", OPTION_SIZE, &o.batch, 1, 4096, "images per step"},
        {"holdout", "N", OPTION_SIZE, &o.holdout, 0, 1e9, "training images held out to choose by"},
        {"holdout-writers", "FILE", OPTION_TEXT, &o.holdout_writers, 0, 0, "hold out whole writers, drawn by the seed, half of each series, as many as make --holdout images [10000]; line i of FILE: training image i's writer, tab, series"},
        {"limit", "N", OPTION_SIZE, &o.limit, 0, 1e9, "use the first N training images only, 0: all"},
        {"seed", "N", OPTION_SIZE, &seed, 0, 4294967295.0, "of everything random"},
        {"repeats", "N", OPTION_SIZE, &o.repeats, 1, 1000, "each image stands N times in a row, changed each time anew; N epochs then show all images N times"},
        {"init-scheme", "TEXT", OPTION_TEXT, &scheme, 0, 0, "first weights: glorot, or authors (truncated normal, biases 0.1)"},
        {"primary-scale", "X", OPTION_FLOAT, &o.primary_scale, 1e-4, 1, "factor behind PrimaryCaps' convolution while it learns; the file holds the product (the authors: 1 / types, 0.03125)"},
        {"step-precision", "TEXT", OPTION_TEXT, &precision, 0, 0, "of the products in PrimaryCaps, routing and the decoder and of conv1's gradient while it learns: f32, bf16 (with fp32 sums and weights), or auto, the faster by a measurement; a resumed run keeps its own"},
        {"rate", "X", OPTION_FLOAT, &o.rate, 0, 1, "Adam's learning rate at its highest"},
        {"final-rate", "X", OPTION_FLOAT, &o.final_rate, 0, 1, "and at the end of the cosine"},
        {"warmup", "N", OPTION_SIZE, &o.warmup, 0, 1e9, "steps of linear warm-up"},
        {"hold", "X", OPTION_FLOAT, &o.hold, 0, 1, "share of the steps behind it that the rate stays high before the cosine; 1: to the end"},
        {"decay", "X", OPTION_FLOAT, &o.decay, 0.01, 1, "the rate is multiplied by X every 2000 steps (the authors, with --hold 1: 0.96)"},
        {"ema", "X", OPTION_FLOAT, &o.ema, 0, 0.999999, "decay of the weights' moving average, 0: none"},
        {"alpha", "X", OPTION_FLOAT, &o.alpha, 0, 1, "weight of the reconstruction loss"},
        {"teacher", "FILE", OPTION_TEXT, &o.teacher, 0, 0, "learn from the answers of another weights file, too"},
        {"teacher-lengths", "X", OPTION_FLOAT, &o.teacher_lengths, 0, 1000, "weight of the squared distance from its capsules' lengths"},
        {"teacher-poses", "X", OPTION_FLOAT, &o.teacher_poses, 0, 1000, "and from their poses"},
        {"shift", "N", OPTION_SIZE, &shift, 0, 16, "augmentation: whole pixels each way, without a canvas"},
        {"distorted", "X", OPTION_FLOAT, &o.augmentation.distorted, 0, 1, "augmentation: share of images that what follows changes; others are shifted alone"},
        {"rotate", "X", OPTION_FLOAT, &o.augmentation.rotate, 0, 180, "augmentation: degrees each way"},
        {"zoom", "X", OPTION_FLOAT, &o.augmentation.zoom, 0, 0.5, "augmentation: share of the size each way"},
        {"shear", "X", OPTION_FLOAT, &o.augmentation.shear, 0, 1, "augmentation: share of the height each way"},
        {"elastic", "X", OPTION_FLOAT, &o.augmentation.elastic, 0, 16, "augmentation: local displacement in pixels"},
        {"stroke", "X", OPTION_FLOAT, &o.augmentation.stroke, 0, 1, "augmentation: strokes grow or shrink by up to that many pixels each side"},
        {"canvas", "N", OPTION_SIZE, &o.augmentation.canvas, 1, 512, "a canvas of N x N pixels that images lie on, anywhere, instead of --shift; the network takes that size [none; with --pairs 8 more than the images]"},
        {"pairs", "", OPTION_FLAG, &o.pairs, 0, 0, "two images of different classes on top of each other on the canvas, as the paper's MultiMNIST"},
        {"singles", "X", OPTION_FLOAT, &o.singles, 0, 0.99, "with --pairs: share of images that stay alone on the canvas"},
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
    parse_options(table, sizeof table / sizeof *table, "usage: capsnet-train train [options]\n",
                  argc, argv, NULL, 0);
    o.dtype = choice("dtype", dtype, "f16", "f32") ? SAFETENSORS_F32 : SAFETENSORS_F16;
    o.init_scheme = choice("init-scheme", scheme, "glorot", "authors") ? INIT_AUTHORS : INIT_GLOROT;
    o.step_precision = step_precision(precision);
    o.seed = seed;
    o.augmentation.shift = (int)shift;
    if (o.holdout_writers && !o.holdout)
        o.holdout = 10000;
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
