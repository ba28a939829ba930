/*
 * accuracy.c - how many digits the network reads right, by kind of picture.
 *
 * Pictures are made by code from a seed, encoded as PNG, and then go the
 * server's way without its HTTP: png_decode(), normalize_image(), the library.
 *
 *   accuracy [--dev] [--seed N] [--images N] [--weights FILE] [--data FOLDER]
 *            [--only TEXT] [--dump FOLDER]
 *
 * --dev     choose by this: other seeds, and MNIST's training images
 * --images  pictures of each kind and source
 * --only    only the kinds whose name holds TEXT, and nothing else; "none":
 *           all but the kinds and MNIST; "split": only numbers of several digits
 * --dump    writes what was read wrongly there: the picture, and what the
 *           network saw
 */
#include "tests/accuracy/accuracy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/accuracy/kinds.h"
#include "tests/accuracy/numbers.h"

double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

void fail(const char *what)
{
    fprintf(stderr, "accuracy: %s\n", what);
    exit(1);
}

/* ---- A batch on its way through the network ------------------------------------- */

void batch_flush(struct batch *batch)
{
    const struct capsnet_shape *shape = capsnet_model_shape(batch->lab->model);
    size_t winners[BATCH];
    float poses[BATCH][POSE];

    if (batch->n == 0)
        return;
    capsnet_forward(batch->lab->workspace, batch->n, batch->digits[0], batch->lengths[0],
                    batch->poses[0][0]);
    for (size_t i = 0; i < batch->n; i++) {
        winners[i] = capsnet_winner(shape, batch->lengths[i]);
        memcpy(poses[i], batch->poses[i][winners[i]], sizeof poses[i]);
    }
    capsnet_decode(batch->lab->workspace, batch->n, poses[0], winners, batch->pictures[0]);
    for (size_t i = 0; i < batch->n; i++) {
        struct reading reading = {.label = batch->labels[i], .winner = winners[i],
                                  .lengths = batch->lengths[i]};
        reading.error = capsnet_pixel_error(shape, batch->digits[i], batch->pictures[i]);
        reading.ink = capsnet_ink(shape, batch->digits[i]);
        reading.is_known = capsnet_is_known(capsnet_model_known(batch->lab->model), reading.error,
                                            reading.lengths[winners[i]], reading.ink) &&
                           normalize_has_strokes(batch->digits[i], SIDE, SIDE, 1);
        batch->done(batch->context, &reading);
    }
    batch->n = 0;
}

float *batch_next(struct batch *batch, size_t label)
{
    if (batch->n == BATCH)
        batch_flush(batch);
    batch->labels[batch->n] = label;
    return batch->digits[batch->n++];
}

void batch_png(struct batch *batch, size_t label, const uint8_t *png, size_t nbytes)
{
    const struct normalize_form form = normalize_whole(SIDE, SIDE, 1);
    struct image_message message;
    struct image image;
    const double start = now_ms();
    if (png_decode(&image, png, nbytes, 4096, 0, &message) != IMAGE_OK)
        fail(message.text);
    const double decoded = now_ms();
    float *digit = batch_next(batch, label);
    if (normalize_image(digit, &form, &image, NORMALIZE_AUTO, &message) != IMAGE_OK)
        fail("a picture could not be normalised");
    batch->decode_ms += decoded - start;
    batch->normalize_ms += now_ms() - decoded;
    image_free(&image);
}

/* ---- Tables ------------------------------------------------------------------------- */

struct count {
    size_t n, right, known; /* known: right, and in distribution */
};

static void count_reading(void *context, const struct reading *reading)
{
    struct count *count = context;
    count->n++;
    count->right += reading->winner == reading->label;
    count->known += reading->winner == reading->label && reading->is_known;
}

static void add_count(struct count *all, const struct count *count)
{
    all->n += count->n;
    all->right += count->right;
    all->known += count->known;
}

static void print_row(const char *kind, const char *source, const struct count *count, double ms)
{
    const double percent = 100.0 / (double)count->n;
    printf("| %-22s | %-11s | %6zu | %6zu | %6.2f | %6.2f | %6.2f |\n", kind, source, count->n,
           count->right, percent * (double)count->right, percent * (double)count->known, ms);
    fflush(stdout);
}

static void print_head(const char *title)
{
    printf("\n%s\n\n"
           "| kind                   | source      | images |  right |      %% |  known |     ms |\n"
           "|---|---|--:|--:|--:|--:|--:|\n", title);
}

/* MNIST's own images, in each of the three modes. */
static void measure_mnist(struct lab *lab)
{
    static const char *const names[] = {"normalize=auto", "normalize=fit", "normalize=none"};
    const struct normalize_form form = normalize_whole(SIDE, SIDE, 1);
    struct batch *batch = &lab->batch;
    print_head("MNIST's images as they are");
    for (int mode = NORMALIZE_AUTO; mode <= NORMALIZE_NONE; mode++) {
        struct count count = {0};
        const size_t n = lab->dev ? 5000 : lab->mnist.n;
        batch->done = count_reading, batch->context = &count;
        batch->normalize_ms = 0;
        for (size_t i = 0; i < n; i++) {
            struct image image = {SIDE, SIDE, 1, lab->mnist.pixels + i * SIDE * SIDE};
            struct image_message message;
            float *digit = batch_next(batch, lab->mnist.labels[i]);
            const double start = now_ms();
            if (normalize_image(digit, &form, &image, (enum normalize_mode)mode,
                                &message) != IMAGE_OK)
                fail("an image of MNIST could not be normalised");
            batch->normalize_ms += now_ms() - start;
        }
        batch_flush(batch);
        print_row(names[mode], "MNIST", &count, batch->normalize_ms / (double)n);
    }
}

/* ---- What was read wrongly, to look at ------------------------------------------------ */

void write_file(const struct lab *lab, const char *name, const uint8_t *bytes, size_t nbytes)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", lab->dump, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, nbytes, file) != nbytes || fclose(file) != 0)
        fail("cannot write into the folder of --dump");
}

/* With --dump a batch is one picture, so that its PNG is still at hand. */
static void dump_wrong(struct lab *lab, size_t before, const char *kind,
                       const struct source *source, const uint8_t *png, size_t nbytes,
                       const struct count *count, size_t number)
{
    struct image image;
    uint8_t *seen;
    size_t seen_bytes;
    char name[100], kind_part[40];

    batch_flush(&lab->batch);
    if (count->right > before)
        return;
    snprintf(kind_part, sizeof kind_part, "%s", kind);
    for (char *c = kind_part; *c; c++)
        *c = *c == ' ' || *c == ',' ? '_' : *c;
    snprintf(name, sizeof name, "%s-%d-%zu-%zu.png", kind_part, (int)source->type, number,
             source->digit);
    write_file(lab, name, png, nbytes);
    if (image_from_digit(&image, lab->batch.digits[0], SIDE, SIDE, 1, 8) != IMAGE_OK ||
        png_encode(&seen, &seen_bytes, &image) != IMAGE_OK)
        fail("no memory");
    snprintf(name, sizeof name, "%s-%d-%zu-%zu-seen.png", kind_part, (int)source->type, number,
             source->digit);
    write_file(lab, name, seen, seen_bytes);
    free(seen);
    image_free(&image);
}

/* ---- Kinds ------------------------------------------------------------------------------ */

/* A kind's chance depends on seed, source and kind alone, so that one kind can
 * be looked at without the others. */
static struct chance chance_for(const struct lab *lab, size_t kind, size_t salt)
{
    struct chance chance = {lab->seed * 1000003 + kind * 1009 + salt};
    chance_bits(&chance);
    return chance;
}

static void measure_kind(struct lab *lab, size_t kind, enum source_type type, const char *name,
                         struct count *all)
{
    struct batch *batch = &lab->batch;
    struct chance chance = chance_for(lab, kind, (size_t)type);
    struct count count = {0};

    batch->done = count_reading, batch->context = &count;
    batch->normalize_ms = 0;
    /* Four million pixels take long to draw: a fifth as many of those. */
    const size_t n = strncmp(kind_name(kind), "2000", 4) == 0 ? lab->images / 5 : lab->images;
    for (size_t i = 0; i < n; i++) {
        struct source source = {.type = type, .digit = i % 10};
        if (type == SOURCE_MNIST) {
            const size_t at = chance_below(&chance, lab->mnist.n);
            source.pixels = lab->mnist.pixels + at * SIDE * SIDE;
            source.digit = lab->mnist.labels[at];
        }
        const size_t before = count.right;
        size_t nbytes;
        uint8_t *png = kind_make(kind, &source, &chance, &nbytes);
        batch_png(batch, source.digit, png, nbytes);
        if (lab->dump)
            dump_wrong(lab, before, kind_name(kind), &source, png, nbytes, &count, i);
        free(png);
    }
    batch_flush(batch);
    add_count(all, &count);
    print_row(kind_name(kind), name, &count, batch->normalize_ms / (double)count.n);
}

/* Of the kinds that are a matter of the pen, or of the others. */
static void measure_kinds(struct lab *lab, int are_pens)
{
    struct count strokes = {0}, mnist = {0};
    print_head(are_pens ? "Pens on pads of 100 to 1000 pixels, black on transparent"
                        : "Pictures as people send them (ms: normalisation alone)");
    for (size_t kind = 0; kind < kinds_count(); kind++) {
        if (kind_has_pen(kind) != are_pens || (lab->only && !strstr(kind_name(kind), lab->only)))
            continue;
        measure_kind(lab, kind, SOURCE_STROKES, "own strokes", &strokes);
        if (!are_pens)
            measure_kind(lab, kind, SOURCE_MNIST, "MNIST", &mnist);
    }
    if (strokes.n > 0)
        print_row("all kinds", "own strokes", &strokes, 0);
    if (mnist.n > 0)
        print_row("all kinds", "MNIST", &mnist, 0);
}

/* ---- Fonts ------------------------------------------------------------------------------ */

static void measure_font(struct lab *lab, const char *path, struct count *all)
{
    struct font *font = font_open(path);
    struct chance chance = chance_for(lab, 500, strlen(path));
    struct count count = {0};
    const char *slash = strrchr(path, '/');

    if (!font) {
        printf("skipped: %s is not installed, or not readable\n", path);
        return;
    }
    lab->batch.done = count_reading, lab->batch.context = &count;
    lab->batch.normalize_ms = 0;
    for (size_t i = 0; i < 50; i++) {
        const struct source source = {.type = SOURCE_FONT, .digit = i % 10, .font = font};
        const size_t before = count.right;
        size_t nbytes;
        uint8_t *png = kind_make(i % 3, &source, &chance, &nbytes);
        batch_png(&lab->batch, source.digit, png, nbytes);
        if (lab->dump)
            dump_wrong(lab, before, slash + 1, &source, png, nbytes, &count, i);
        free(png);
    }
    batch_flush(&lab->batch);
    font_close(font);
    add_count(all, &count);
    print_row(slash + 1, "font", &count, lab->batch.normalize_ms / (double)count.n);
}

static void measure_fonts(struct lab *lab)
{
    static const char *const hands[] = {
        "fifthhorseman/dkg.ttf", "fifthhorseman/dkgBd.ttf", "breip/Breip.ttf",
        "breip/breipfont.ttf", "humor-sans/Humor-Sans.ttf", "klee/KleeOne-Regular.ttf",
        "kristi/Kristi.ttf", "ecolier-court/Ecolier-court.ttf"};
    static const char *const prints[] = {
        "dejavu/DejaVuSans.ttf", "dejavu/DejaVuSans-ExtraLight.ttf", "dejavu/DejaVuSans-Bold.ttf",
        "dejavu/DejaVuSerif.ttf", "dejavu/DejaVuSansMono-Oblique.ttf",
        "liberation/LiberationSans-Regular.ttf", "liberation/LiberationSerif-Italic.ttf",
        "liberation/LiberationSansNarrow-Regular.ttf"};
    struct count count;
    char path[200];

    for (int group = 0; group < 2; group++) {
        print_head(group ? "Printed fonts" : "Fonts made from handwriting");
        count = (struct count){0};
        for (size_t i = 0; i < 8; i++) {
            snprintf(path, sizeof path, "/usr/share/fonts/truetype/%s",
                     group ? prints[i] : hands[i]);
            measure_font(lab, path, &count);
        }
        if (count.n > 0)
            print_row("all", "font", &count, 0);
    }
}

/* ---- Main -------------------------------------------------------------------------------- */

static const char *mnist_folder(const char *given)
{
    const char *folder = getenv("MNIST_DIR");
    return given ? given : folder && *folder ? folder : "../shared/mnist";
}

static void read_options(struct lab *lab, int argc, char **argv, const char **weights,
                         const char **data)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--dev") == 0) {
            lab->dev = 1;
            continue;
        }
        if (!value)
            fail("an option is unknown or lacks its value; accuracy.c tells which there are");
        if (strcmp(argv[i], "--seed") == 0)
            lab->seed = strtoul(value, NULL, 10);
        else if (strcmp(argv[i], "--images") == 0)
            lab->images = strtoul(value, NULL, 10);
        else if (strcmp(argv[i], "--weights") == 0)
            *weights = value;
        else if (strcmp(argv[i], "--data") == 0)
            *data = value;
        else if (strcmp(argv[i], "--only") == 0)
            lab->only = value;
        else if (strcmp(argv[i], "--dump") == 0)
            lab->dump = value;
        else
            fail("an option is unknown or lacks its value; accuracy.c tells which there are");
        i++;
    }
    if (lab->seed == 0)
        lab->seed = lab->dev ? 1 : 7001;
}

int main(int argc, char **argv)
{
    const char *weights = "weights/capsnet-mnist.safetensors", *data = NULL;
    struct lab *lab = calloc(1, sizeof *lab);
    struct capsnet_error error;

    if (!lab)
        fail("no memory");
    lab->images = 200;
    lab->batch.lab = lab;
    read_options(lab, argc, argv, &weights, &data);
    if (capsnet_model_load(&lab->model, weights, NULL, &error) != CAPSNET_OK ||
        capsnet_workspace_create(&lab->workspace, lab->model, BATCH, 1, &error) != CAPSNET_OK ||
        dataset_load_idx(&lab->mnist, mnist_folder(data), lab->dev ? "train" : "t10k", &error) !=
            CAPSNET_OK)
        fail(error.text);
    const struct capsnet_shape *shape = capsnet_model_shape(lab->model);
    if (shape->height != SIDE || shape->width != SIDE || shape->channels != 1 ||
        shape->classes != CLASSES || shape->pose_dims != POSE)
        fail("these are not weights for MNIST");
    printf("weights: %s; seed %lu; MNIST's %s images\n", capsnet_model_name(lab->model), lab->seed,
           lab->dev ? "training" : "test");

    const int is_split = lab->only && strcmp(lab->only, "split") == 0;
    if (is_split)
        measure_numbers(lab);
    if (!lab->only)
        measure_mnist(lab);
    if (!is_split && (!lab->only || strcmp(lab->only, "none") != 0))
        for (int are_pens = 0; are_pens < 2; are_pens++)
            measure_kinds(lab, are_pens);
    if (!lab->only || strcmp(lab->only, "none") == 0) {
        measure_fonts(lab);
        measure_negatives(lab);
        measure_pairs(lab);
    }
    dataset_free(&lab->mnist);
    capsnet_workspace_free(lab->workspace);
    capsnet_model_free(lab->model);
    free(lab);
    return 0;
}
