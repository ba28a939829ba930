/*
 * test_train.c - capsnet-train as its users run it, on a small data set of its
 * own: it learns; the same options give the same file, whatever the threads,
 * interrupted, killed, or not; every mistake gets one sentence and its exit
 * status.  BUILD tells where the program is.  SEED repeats the data and the
 * moments of the kills.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "tests/common/temp_folder.h"
#include "model/weights_file/safetensors.h"
#include "model/train/data/random.h"

enum { SIDE = 20, TRAIN = 240, TEST = 60 };
/* Runs that are compared have a precision by name: what "auto" measures may come out otherwise. */
#define NETWORK "--data . --conv1 16 --types 4 --dims 8 --pose 8 --hidden1 16 --hidden2 16 " \
                "--batch 25 --warmup 10 --shift 1 --rate 0.003 --no-pictures " \
                "--step-precision f32 "
enum { STEPS = (TRAIN + 24) / 25 }; /* of an epoch */

static struct random dice;
static char output[1 << 16];

/* ---- Data ----------------------------------------------------------------- */

/* A bar across, a bar upright, a cross: of random place and brightness. */
static void draw(uint8_t *pixels, unsigned label)
{
    const size_t middle_y = 7 + random_below(&dice, 6), middle_x = 7 + random_below(&dice, 6);
    const uint8_t ink = (uint8_t)(150 + random_below(&dice, 106));
    memset(pixels, 0, SIDE * SIDE);
    for (size_t i = 0; i < 11; i++)
        for (size_t thick = 0; thick < 2; thick++) {
            if (label != 1)
                pixels[(middle_y + thick) * SIDE + middle_x - 5 + i] = ink;
            if (label != 0)
                pixels[(middle_y - 5 + i) * SIDE + middle_x + thick] = ink;
        }
}

static void put_shapes(const char *prefix, size_t n)
{
    uint8_t *pixels = malloc(n * SIDE * SIDE), *labels = malloc(n);
    assert_true(pixels && labels);
    for (size_t i = 0; i < n; i++) {
        labels[i] = (uint8_t)(i % 3);
        draw(pixels + i * SIDE * SIDE, labels[i]);
    }
    put_idx(prefix, n, SIDE, SIDE, pixels, labels);
    free(pixels);
    free(labels);
}

static int set_up(void **state)
{
    folder_create(state);
    put_shapes("train", TRAIN);
    put_shapes("t10k", TEST);
    return 0;
}

/* ---- Running -------------------------------------------------------------- */

static void says(const char *fragment)
{
    if (!strstr(output, fragment))
        fail_msg("it said \"%s\", not \"%s\"", output, fragment);
}

/* Runs it, expects that exit status, and a text in what it says. */
__attribute__((format(printf, 3, 4))) static void expect(int status, const char *fragment,
                                                         const char *format, ...)
{
    char line[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    int got = run_trainer(output, sizeof output, "%s", line);
    if (got != status || !strstr(output, fragment))
        fail_msg("\"capsnet-train %s\" gave %d and \"%s\", expected %d and \"%s\"", line, got,
                 output, status, fragment);
}

/* Starts it in the folder, its output to the file `said` there. */
static pid_t start(const char *line)
{
    char program[PATH_MAX], path[PATH_MAX], words[1024], *argv[64] = {"capsnet-train"};
    const char *build = getenv("BUILD");
    snprintf(path, sizeof path, "%s/capsnet-train", build ? build : "build");
    assert_non_null(realpath(path, program));
    snprintf(path, sizeof path, "%s", in_folder("."));
    snprintf(words, sizeof words, "%s", line);
    size_t n = 1;
    for (char *word = strtok(words, " "); word && n < 63; word = strtok(NULL, " "))
        argv[n++] = word;
    fflush(stdout);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int said = chdir(path) == 0 ? open("said", O_WRONLY | O_CREAT | O_TRUNC, 0644) : -1;
        if (said < 0 || dup2(said, 1) < 0 || dup2(said, 2) < 0)
            _exit(126);
        execv(program, argv);
        _exit(127);
    }
    return child;
}

static void wait_ms(unsigned ms)
{
    nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * 1000000}, NULL);
}

/* Waits until the checkpoint is of another moment than before (0: exists).
 * Returns 0 when the run ends first. */
static int wait_for_checkpoint(pid_t child, const char *name, struct timespec before)
{
    for (unsigned ms = 0; ms < 60000; ms += 2, wait_ms(2)) {
        struct stat info;
        if (stat(in_folder("%s", name), &info) == 0 &&
            (info.st_mtim.tv_sec != before.tv_sec || info.st_mtim.tv_nsec != before.tv_nsec))
            return 1;
        if (waitpid(child, NULL, WNOHANG) != 0)
            return 0;
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    fail_msg("no checkpoint %s within a minute", name);
    return 0;
}

/* ---- Comparing files ------------------------------------------------------ */

static struct safetensors *open_weights(const char *name)
{
    struct safetensors *file;
    struct capsnet_error error;
    if (safetensors_open(&file, in_folder("%s", name), &error) != CAPSNET_OK)
        fail_msg("%s", error.text);
    return file;
}

/* All tensors and all metadata but the command line are the same. */
static int same_run(const char *one, const char *two)
{
    struct safetensors *a = open_weights(one), *b = open_weights(two);
    int same = 1;
    size_t i = 0;
    const struct safetensors_tensor *t, *u;
    for (; (t = safetensors_at(a, i)) && (u = safetensors_at(b, i)); i++)
        same &= strcmp(t->name, u->name) == 0 && t->dtype == u->dtype && t->count == u->count &&
                memcmp(t->data, u->data, t->count * (t->dtype == SAFETENSORS_F32 ? 4 : 2)) == 0;
    same &= i > 0 && !safetensors_at(a, i) && !safetensors_at(b, i);
    const struct safetensors_metadata *m, *n;
    for (i = 0; (m = safetensors_metadata_at(a, i)) && (n = safetensors_metadata_at(b, i)); i++)
        same &= strcmp(m->key, n->key) == 0 &&
                (strcmp(m->key, "train.command") == 0 || strcmp(m->value, n->value) == 0);
    same &= i > 0 && !safetensors_metadata_at(a, i) && !safetensors_metadata_at(b, i);
    safetensors_close(a);
    safetensors_close(b);
    return same;
}

static int same_bytes(const char *one, const char *two)
{
    size_t n, m;
    uint8_t *a = get_file(one, &n), *b = get_file(two, &m);
    int same = n == m && memcmp(a, b, n) == 0;
    free(a);
    free(b);
    return same;
}

static void move(const char *from, const char *to)
{
    assert_int_equal(rename(in_folder("%s", from), in_folder("%s", to)), 0);
}

/* ---- Learning ------------------------------------------------------------- */

/* Chance is 67 % wrong. */
static void test_learns(void **state)
{
    (void)state;
    expect(0, "wrote learnt", "train " NETWORK "--epochs 25 --threads 1 --out learnt --log=log --holdout 30 "
                              "--labels across,upright,cross --name shapes --test --ema 0.9");
    says("training images, 30 held out");
    const char *test = strstr(output, "test error ");
    assert_non_null(test);
    assert_true(strtod(test + strlen("test error "), NULL) < 15);

    size_t n, lines = 0, n_train = TRAIN - 30;
    char *log = (char *)get_file("log", &n), *rest = log;
    double first = 0, last = 0;
    for (char *line; (line = strsep(&rest, "\n")) && *line; lines++) {
        cJSON *json = cJSON_Parse(line);
        if (!cJSON_IsObject(json))
            fail_msg("not a JSON object: %s", line);
        assert_true(cJSON_GetObjectItem(json, "epoch")->valuedouble == (double)lines + 1);
        assert_true(cJSON_GetObjectItem(json, "train_images")->valuedouble == (double)n_train);
        assert_true(cJSON_GetObjectItem(json, "held_out_images")->valuedouble == 30);
        assert_true(cJSON_IsNumber(cJSON_GetObjectItem(json, "margin")));
        last = cJSON_GetObjectItem(json, "loss")->valuedouble;
        first = lines ? first : last;
        if (lines == 24) /* training error far below chance */
            assert_true(cJSON_GetObjectItem(json, "train_wrong")->valuedouble <
                        0.15 * (double)n_train);
        cJSON_Delete(json);
    }
    free(log);
    assert_int_equal(lines, 25);
    assert_true(last < first / 3);

    expect(0, "shapes", "info learnt");
    says("[\"across\",\"upright\",\"cross\"]");
    says("train.command");
    /* Incidental options left out. */
    says("--rate 0.003 --step-precision f32 --epochs 25 --out learnt --holdout 30");
    says("stored as F16");
    expect(0, "upright", "eval learnt --data . --answers answers");
}

/* --answers and the printed error tell the same; chosen sets and batches. */
static void test_eval(void **state)
{
    (void)state;
    size_t n, lines = 0, wrong = 0, printed = 0;
    expect(0, "wrote two", "train " NETWORK "--epochs 2 --out two");
    for (size_t batch = 1; batch <= 64; batch *= 8) { /* direct and spectral */
        expect(0, "wrong", "eval two --data . --answers answers --batch %zu --threads 2", batch);
        const char *at = strchr(output, '(');
        assert_true(at && sscanf(at, "(%zu of", &printed) == 1);
        char *text = (char *)get_file("answers", &n), *rest = text;
        lines = wrong = 0;
        for (char *line; (line = strsep(&rest, "\n")) && *line; lines++) {
            assert_true(strlen(line) == 1 && *line >= '0' && *line <= '2');
            wrong += (size_t)(*line - '0') != lines % 3;
        }
        free(text);
        assert_int_equal(lines, TEST);
        assert_int_equal(wrong, printed);
    }
    expect(0, "of 240 wrong", "eval two --data . --set train");
    expect(1, "answers", "eval two --data . --answers /nonexistent/answers");

    static uint8_t pixels[4 * 18 * 18], labels[4] = {0, 1, 2, 3};
    put_idx("small", 3, 18, 18, pixels, labels);
    expect(1, "18 x 18", "eval two --data . --set small");
    says("20 x 20");
    static uint8_t more[4 * SIDE * SIDE];
    put_idx("more", 4, SIDE, SIDE, more, labels);
    expect(1, "4 classes", "eval two --data . --set more");
}

/* ---- The same numbers ----------------------------------------------------- */

#define REPEATED "train " NETWORK "--epochs 3 --rotate 10 --elastic 1 "

static void test_repeatable(void **state)
{
    (void)state;
    expect(0, "wrote same", REPEATED "--out same");
    move("same", "first");
    expect(0, "wrote same", REPEATED "--out same");
    assert_true(same_bytes("same", "first"));
    for (unsigned threads = 1; threads <= 3; threads++) {
        expect(0, "wrote other", REPEATED "--out other --threads %u", threads);
        assert_true(same_run("first", "other"));
    }
    expect(0, "wrote other", REPEATED "--out other --seed 2");
    assert_false(same_run("first", "other"));
    expect(0, "wrote other", REPEATED "--out other --dtype f32");
    assert_false(same_run("first", "other"));
}

/* A second run goes on from the first one's weights, with any options but the
 * shape; with the rate at 0 it gives them back. */
static void test_init(void **state)
{
    (void)state;
    expect(0, "wrote first", "train " NETWORK "--epochs 1 --out first --dtype f32");
    expect(0, "wrote same",
           "train " NETWORK "--epochs 1 --out same --dtype f32 --init first --rate 0");
    assert_true(same_run("first", "same"));
    expect(0, "wrote other", "train " NETWORK "--epochs 1 --out other --dtype f32 --init first");
    assert_false(same_run("first", "other"));
    expect(1, "first: tensor \"conv1.weight\" is 16 x 1 x 9 x 9, not 17 x 1 x 9 x 9 as the options",
           "train " NETWORK "--epochs 1 --out x --init first --conv1 17");
    /* A finished run's file is its checkpoint's average. */
    expect(0, "wrote onward",
           "train " NETWORK "--epochs 1 --out onward --dtype f32 --init first.checkpoint --rate 0");
    assert_true(same_run("first", "onward"));
    expect(1, "none: ", "train " NETWORK "--epochs 1 --out x --init none");
}

/* What the first weights misread is skipped, whatever is resumed; the held-out
 * images stay the same. */
static void test_skip_misread(void **state)
{
    (void)state;
    expect(0, "wrote first", "train " NETWORK "--epochs 10 --out first --holdout 50 --ema 0.9");
    expect(0, "skipped that --init misread, 50 held out",
           "train " NETWORK "--epochs 2 --out skip --holdout 50 --init first --skip-misread");
    expect(0, "wrote all", "train " NETWORK "--epochs 2 --out all --holdout 50 --init first");
    assert_false(same_run("all", "skip"));
    move("skip", "again");
    expect(0, "skipped that --init misread",
           "train " NETWORK "--epochs 2 --out skip --holdout 50 --init first --skip-misread --resume");
    assert_true(same_run("skip", "again"));
    expect(1, "other options",
           "train " NETWORK "--epochs 2 --out skip --holdout 50 --init first --resume");
    expect(0, "held-out", "calibrate skip --data .");
    expect(2, "--skip-misread needs --init", "train " NETWORK "--epochs 1 --out x --skip-misread");
}

/* Strokes are drawn from the seed like all else, on any number of threads, and change
 * the run. */
static void test_strokes(void **state)
{
    (void)state;
    expect(0, "wrote plain", "train " NETWORK "--epochs 2 --out plain");
    expect(0, "wrote stroke", "train " NETWORK "--epochs 2 --out stroke --stroke 0.5");
    assert_false(same_run("plain", "stroke"));
    expect(0, "wrote other", "train " NETWORK "--epochs 2 --out other --stroke 0.5 --threads 3");
    assert_true(same_run("stroke", "other"));
}

/* ---- A canvas, and pairs on it --------------------------------------------- */

/* Images anywhere on a canvas: a network of its size, whose test images and held-out ones
 * lie on it, too. */
static void test_canvas(void **state)
{
    (void)state;
    expect(0, "held-out error", "train " NETWORK "--epochs 15 --out canvas --canvas 24 --holdout 30 --test");
    assert_null(strstr(output, "pairs"));
    says("of 60) as stored");
    expect(0, "height                 24", "info canvas");
    says("frame                  20,20,1\n");
    expect(0, "wrote other", "train " NETWORK "--epochs 15 --out other --canvas 24 --holdout 30 --test "
                             "--shift 5 --threads 3");
    assert_true(same_run("canvas", "other")); /* --shift has no part in it */
    expect(0, "wrote other", "train " NETWORK "--epochs 15 --out other --canvas 24 --holdout 30 "
                             "--skip-misread --init canvas");
    expect(1, "--canvas 19 is smaller than the images, which are 20 x 20",
           "train " NETWORK "--out x --canvas 19");
}

/* Pairs are made on a canvas of 4 pixels more each way; the run is the same on any number
 * of threads and gone on with bit for bit, and tells of pairs and of single images. */
#define PAIRS "train " NETWORK "--epochs 12 --pairs --holdout 30 "

static void test_pairs(void **state)
{
    (void)state;
    int status;
    expect(0, "wrote pairs", PAIRS "--out pairs --log pairs.log --test --threads 1");
    says("held-out pairs wrong ");
    says(" of 30; margin ");
    says("held-out error ");
    expect(0, "height                 28", "info pairs");
    size_t n;
    char *log = (char *)get_file("pairs.log", &n);
    cJSON *json = cJSON_Parse(strtok(log, "\n"));
    assert_true(cJSON_IsObject(json));
    assert_true(cJSON_GetObjectItem(json, "held_out_images")->valuedouble == 30);
    assert_true(cJSON_GetObjectItem(json, "held_out_pairs")->valuedouble == 30);
    const double wrong = cJSON_GetObjectItem(json, "held_out_pairs_wrong")->valuedouble;
    assert_true(wrong >= 0 && wrong <= 30);
    assert_true(cJSON_GetObjectItem(json, "held_out_pairs_margin")->valuedouble > 0);
    cJSON_Delete(json);
    free(log);

    unlink(in_folder("other.checkpoint"));
    pid_t child = start(PAIRS "--out other --test --threads 3");
    if (wait_for_checkpoint(child, "other.checkpoint", (struct timespec){0})) {
        kill(child, SIGTERM);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == 130) /* else it came too late */
            expect(0, "wrote other", PAIRS "--out other --test --resume");
    }
    assert_true(same_run("pairs", "other"));

    expect(1, " on a canvas of 28\", not \"pairs 0.5 on a canvas of 28\"",
           PAIRS "--out other --test --resume --singles 0.5");
    expect(1, " on a canvas of 28\", not \"pairs 0.899999999 on a canvas of 30\"", PAIRS "--out other --test --resume --canvas 30");
    expect(1, "pairs need images of two classes; these 1 are of one",
           "train " NETWORK "--out x --pairs --holdout 1");
}

/* The authors' recipe, by the options that there are for it: it learns, it is the
 * same on any number of threads, and each of them changes the run. */
#define AUTHORS "--init-scheme authors --primary-scale 0.25 --hold 1 --decay 0.96 --repeats 3 "

static void test_authors_recipe(void **state)
{
    (void)state;
    static const char *const options[] = {"--init-scheme authors", "--primary-scale 0.25",
                                          "--hold 1", "--decay 0.96", "--repeats 3"};
    expect(0, "wrote plain", "train " NETWORK "--epochs 2 --out plain");
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        expect(0, "wrote other", "train " NETWORK "--epochs 2 --out other %s", options[i]);
        assert_false(same_run("plain", "other"));
    }
    expect(0, "wrote authors", "train " NETWORK AUTHORS "--epochs 30 --out authors --test --ema 0.9");
    const char *test = strstr(output, "test error ");
    assert_non_null(test);
    assert_true(strtod(test + strlen("test error "), NULL) < 15);
    expect(0, "--init-scheme authors --primary-scale 0.25", "info authors");
    for (unsigned threads = 1; threads <= 3; threads += 2) {
        expect(0, "wrote other",
               "train " NETWORK AUTHORS "--epochs 30 --out other --test --ema 0.9 --threads %u", threads);
        assert_true(same_run("authors", "other"));
    }
}

/* A teacher changes what is learnt, and by its poses, too; the run is the same on
 * any number of threads, resumed or not, and knows its teacher again. */
#define TAUGHT "--epochs 3 --out taught --teacher master --teacher-lengths 0.5 --teacher-poses 0.1 "

/* Steps in bf16, where the CPU has it: another run than in f32, the same on any number of
 * threads; and "auto" is one of the two, which goes on in its own. */
static void test_step_precision(void **state)
{
    (void)state;
    expect(0, "steps in f32", "train " NETWORK "--epochs 4 --out f32");
    expect(0, "train.step_precision", "info f32");
    expect(0, "wrote auto", "train " NETWORK "--epochs 4 --out auto --step-precision auto");
    const int is_f32 = same_run("f32", "auto");
    const char *own = is_f32 ? "f32" : "bf16";
    move("auto", "again");
    expect(0, "wrote auto", "train " NETWORK "--epochs 4 --out auto --resume --step-precision %s",
           own);
    assert_true(same_run("auto", "again"));
    int got = run_trainer(output, sizeof output, "%s",
                          "train " NETWORK "--epochs 4 --out bf16 --step-precision bf16");
    if (got == 1) {
        says("AVX-512 BF16");
        assert_true(is_f32);
        return;
    }
    says("steps in bf16");
    expect(1, "other options: \"step precision", "train " NETWORK "--epochs 4 --out auto --resume "
           "--step-precision %s", is_f32 ? "bf16" : "f32");
    assert_false(same_run("f32", "bf16"));
    for (unsigned threads = 1; threads <= 3; threads++) {
        expect(0, "wrote other",
               "train " NETWORK "--epochs 4 --out other --step-precision bf16 --threads %u",
               threads);
        assert_true(same_run("bf16", "other"));
    }
    expect(0, "steps in bf16",
           "train " NETWORK "--epochs 4 --out bf16 --step-precision auto --resume");
    assert_true(same_run("bf16", "other"));
    expect(0, "test error",
           "train " NETWORK "--epochs 25 --out learnt --step-precision bf16 --test --ema 0.9");
    assert_true(strtod(strstr(output, "test error ") + strlen("test error "), NULL) < 15);
}

static void test_teacher(void **state)
{
    (void)state;
    static const char larger[] =
        "train --data . --conv1 24 --types 4 --dims 8 --pose 8 --hidden1 16 --hidden2 16 --batch 25 "
        "--warmup 10 --shift 1 --rate 0.003 --no-pictures --epochs 8 --out master";
    expect(0, "wrote master", "%s --dtype f32", larger);
    expect(0, "wrote alone", "train " NETWORK "--epochs 3 --out alone");
    expect(0, "wrote lengths", "train " NETWORK "--epochs 3 --out lengths --teacher master");
    expect(0, "wrote none",
           "train " NETWORK "--epochs 3 --out none --teacher master --teacher-lengths 0");
    expect(0, "wrote taught", "train " NETWORK TAUGHT);
    assert_true(same_run("alone", "none"));
    assert_false(same_run("alone", "lengths"));
    assert_false(same_run("lengths", "taught"));
    move("taught", "again");
    expect(0, "wrote taught", "train " NETWORK TAUGHT "--resume");
    assert_true(same_run("taught", "again"));
    unlink(in_folder("taught.checkpoint"));
    expect(0, "wrote taught", "train " NETWORK TAUGHT "--threads 3");
    assert_true(same_run("taught", "again"));
    expect(1, "other options", "train " NETWORK TAUGHT "--teacher-poses 0.2 --resume");
    expect(0, "wrote master", "%s --seed 2 --checkpoint y", larger); /* another of that name */
    expect(1, "other options: \"teacher ", "train " NETWORK TAUGHT "--resume");
    expect(1, "its poses have 8 dimensions, those of --pose 9",
           "train " NETWORK "--out x --teacher master --teacher-poses 1 --pose 9");
    expect(1, "--teacher and --out name the same file, master",
           "train " NETWORK "--out master --teacher master");
    expect(1, "none.st", "train " NETWORK "--out x --teacher none.st");
    static uint8_t pixels[2 * SIDE * SIDE], labels[2] = {0, 1};
    put_idx("pair/train", 2, SIDE, SIDE, pixels, labels);
    expect(1, "it knows 3 classes of images of 20 x 20 x 1; here are 2 of 20 x 20 x 1",
           "train " NETWORK "--data pair --out x --teacher master");
}

/* Writers of 8 images each, by turns of two series. */
static void put_writers(const char *name, size_t n)
{
    char text[16 * TRAIN], *end = text;
    for (size_t i = 0; i < n; i++)
        end += sprintf(end, "%zu\t%d\n", 100 + i / 8, i / 8 % 2 ? 4 : 0);
    put_file(name, text, (size_t)(end - text));
}

static void test_holdout_writers(void **state)
{
    (void)state;
    put_writers("writers", TRAIN);
    put_writers("fewer", TRAIN - 8);
    expect(0, "192 training images, 48 held out",
           "train " NETWORK "--epochs 2 --out held --holdout 50 --holdout-writers writers");
    expect(0, "192 trained on, 48 held out by writer, 50 wanted, seed 1", "info held");
    move("held", "again");
    expect(0, "wrote held",
           "train " NETWORK "--epochs 2 --out held --holdout 50 --holdout-writers writers --resume");
    assert_true(same_run("held", "again"));
    expect(1, "\"held out 50 by writer\", not \"held out 50\"",
           "train " NETWORK "--epochs 2 --out held --holdout 50 --resume");
    expect(1, "--holdout-writers is needed again", "calibrate held --data . --out c");
    expect(1, "has 232 lines", "calibrate held --data . --out c --holdout-writers fewer");
    expect(0, "from the held-out images",
           "calibrate held --data . --out c --holdout-writers writers");
    expect(1, "fewer: the file has 232 lines, but there are 240 training images",
           "train " NETWORK "--holdout 50 --holdout-writers fewer --out x");
    expect(1, "none: cannot open the file",
           "train " NETWORK "--holdout 50 --holdout-writers none --out x");
    expect(1, "images of each series of writers, but series 0 has 120",
           "train " NETWORK "--holdout 239 --holdout-writers writers --out x");
    expect(1, "--holdout 10000 leaves none", "train " NETWORK "--holdout-writers writers --out x");
}

/* ---- Broken off ----------------------------------------------------------- */

/* Long enough that a signal after the first checkpoint finds it running. */
#define LONG "train " NETWORK "--epochs 60 --threads 1 "

static void finish_unbroken(void)
{
    struct stat info;
    if (stat(in_folder("unbroken"), &info) != 0)
        expect(0, "wrote unbroken", LONG "--out unbroken");
}

static void test_interrupted(void **state)
{
    (void)state;
    static const int signals[] = {SIGINT, SIGTERM};
    finish_unbroken();
    for (size_t i = 0; i < 2; i++) {
        int status;
        size_t n;
        unlink(in_folder("broken.checkpoint"));
        pid_t child = start(LONG "--out broken");
        assert_true(wait_for_checkpoint(child, "broken.checkpoint", (struct timespec){0}));
        wait_ms((unsigned)random_below(&dice, 40));
        assert_int_equal(kill(child, signals[i]), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 130);
        char *said = (char *)get_file("said", &n);
        assert_non_null(strstr(said, "--resume"));
        free(said);
        struct stat info;
        assert_int_not_equal(stat(in_folder("broken"), &info), 0); /* no half result */
        expect(1, "of 60 epochs: --resume goes on with it", LONG "--out broken");
        struct safetensors *file = open_weights("broken.checkpoint");
        print_message("  stopped at epoch, step, ...: %s\n",
                      safetensors_get_metadata(file, "train.state"));
        safetensors_close(file);
        expect(0, "wrote broken", LONG "--out broken --resume");
        assert_true(same_run("unbroken", "broken"));
        unlink(in_folder("broken"));
    }
}

/* How many temporary files there are in the folder. */
static size_t count_temporary(void)
{
    size_t n = 0;
    DIR *folder = opendir(in_folder("."));
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));)
        n += strstr(entry->d_name, ".tmp-") != NULL;
    closedir(folder);
    return n;
}

/* Killed again and again at random moments, each time gone on with, whether there
 * are checkpoints within an epoch or not. */
static void test_killed(void **state)
{
    (void)state;
    enum { KILLS = 6 };
    finish_unbroken();
    struct timespec before = {0};
    unlink(in_folder("killed.checkpoint"));
    for (size_t i = 0; i < KILLS; i++) {
        struct stat info;
        const char *line = i == 0 ? LONG "--out killed --checkpoint-minutes 0"
                           : i % 2 ? LONG "--out killed --resume"
                                   : LONG "--out killed --resume --checkpoint-minutes 0";
        pid_t child = start(line);
        assert_true(wait_for_checkpoint(child, "killed.checkpoint", before));
        wait_ms((unsigned)random_below(&dice, 30));
        kill(child, SIGKILL);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status)); /* it was still running */
        expect(0, "train.state", "info killed.checkpoint");
        assert_int_equal(stat(in_folder("killed.checkpoint"), &info), 0);
        before = info.st_mtim;
    }
    expect(0, "wrote killed", LONG "--out killed --resume");
    assert_true(same_run("unbroken", "killed"));
    assert_int_equal(count_temporary(), 0);
}

/* Within an epoch: the first one is not over when a checkpoint stands. */
static void test_checkpoint_minutes(void **state)
{
    (void)state;
    finish_unbroken();
    size_t epoch = 1, step = 0;
    for (size_t tries = 0; tries < 20 && (epoch || !step); tries++) {
        unlink(in_folder("within.checkpoint"));
        pid_t child = start(LONG "--out within --checkpoint-minutes 0");
        assert_true(wait_for_checkpoint(child, "within.checkpoint", (struct timespec){0}));
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        struct safetensors *file = open_weights("within.checkpoint");
        assert_int_equal(sscanf(safetensors_get_metadata(file, "train.state"), "%zu %zu", &epoch,
                                &step), 2);
        safetensors_close(file);
    }
    assert_int_equal(epoch, 0);
    assert_in_range(step, 1, 9);
    expect(0, "wrote within", LONG "--out within --resume");
    assert_true(same_run("unbroken", "within"));
}

/* What a killed run left half written goes at the next start; what another process
 * may be writing stays. */
static void test_leftovers(void **state)
{
    (void)state;
    int status;
    pid_t dead = fork();
    assert_true(dead >= 0);
    if (dead == 0)
        _exit(0);
    assert_int_equal(waitpid(dead, &status, 0), dead);
    char name[2][64];
    snprintf(name[0], sizeof name[0], "left.tmp-%ld", (long)dead);
    snprintf(name[1], sizeof name[1], "left.checkpoint.tmp-%ld", (long)dead);
    static const char *const stay[] = {"left.tmp-1", "left.tmp-", "left.tmp-12x", "left.tmp",
                                       "more.left.tmp-1"};
    for (size_t i = 0; i < 2; i++)
        put_file(name[i], "half", 4);
    for (size_t i = 0; i < sizeof stay / sizeof *stay; i++)
        put_file(stay[i], "other", 5);
    expect(0, "wrote left", "train " NETWORK "--epochs 1 --out left");
    for (size_t i = 0; i < 2; i++)
        assert_int_not_equal(access(in_folder("%s", name[i]), F_OK), 0);
    for (size_t i = 0; i < sizeof stay / sizeof *stay; i++) {
        assert_int_equal(access(in_folder("%s", stay[i]), F_OK), 0);
        unlink(in_folder("%s", stay[i]));
    }
}

/* A symbolic link stays one; what it points to is written, whether it is there or
 * not. */
static void test_links(void **state)
{
    (void)state;
    struct stat info;
    put_folder("far");
    put_folder("near");
    put_file("far/there", "old", 3);
    assert_int_equal(symlink("../far/there", in_folder("near/one")), 0);
    assert_int_equal(symlink("one", in_folder("near/two")), 0);
    assert_int_equal(symlink(in_folder("far/new"), in_folder("near/three")), 0);
    assert_int_equal(symlink("round", in_folder("near/round")), 0);
    assert_int_equal(symlink("../nowhere/x", in_folder("near/lost")), 0);
    static const char *const links[] = {"near/two", "near/three"};
    static const char *const targets[] = {"far/there", "far/new"};
    for (size_t i = 0; i < 2; i++) {
        expect(0, "wrote near/", "train " NETWORK "--epochs 1 --out %s --checkpoint x", links[i]);
        assert_int_equal(lstat(in_folder("%s", links[i]), &info), 0);
        assert_true(S_ISLNK(info.st_mode));
        assert_int_equal(lstat(in_folder("%s", targets[i]), &info), 0);
        assert_true(S_ISREG(info.st_mode) && info.st_size > 1000);
        assert_true(same_bytes(links[i], targets[i]));
    }
    expect(0, "wrote near/two", "calibrate near/two --data .");
    assert_int_equal(lstat(in_folder("near/two"), &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    expect(1, "near/round cannot be written: Too many levels", "train " NETWORK "--out near/round");
    expect(1, "near/lost cannot be written: No such file", "train " NETWORK "--out near/lost");
    assert_int_equal(count_temporary(), 0);
}

static void test_other_options(void **state)
{
    (void)state;
    static const char *const others[] = {"--rate 0.002", "--seed 2", "--batch 23", "--holdout 1",
                                         "--epochs 3",   "--alpha 0.1", "--ema 0", "--shift 0",
                                         "--limit 200",  "--elastic 0.5", "--stroke 0.5", "--pairs",
                                         "--canvas 24",
                                         "--distorted 0.5", "--init first", "--name else",
                                         "--labels -,|,+", "--dtype f32", "--error-threshold 0.1",
                                         "--repeats 2", "--hold 0.5", "--decay 0.96",
                                         "--init-scheme authors", "--primary-scale 0.25",
                                         "--routing 1"};
    expect(0, "wrote done", "train " NETWORK "--epochs 2 --out done");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        expect(1, "other options", "train " NETWORK "--epochs 2 --out done --resume %s",
               others[i]);
    says("\"routing 3\", not \"routing 1\"");
    put_shapes("more/train", TRAIN); /* other pictures, as many */
    expect(1, "\"their checksum ", "train " NETWORK "--epochs 2 --out done --resume --data more");
    expect(1, "done.checkpoint: tensor \"conv1.weight\" is ",
           "train " NETWORK "--epochs 2 --out done --resume --conv1 17");
    expect(1, "none.checkpoint", "train " NETWORK "--epochs 2 --out none --resume");
    expect(1, "no checkpoint", "train " NETWORK "--epochs 2 --checkpoint done --out x --resume");
    put_file("junk", "not a checkpoint", 16);
    expect(1, "junk", "train " NETWORK "--epochs 2 --checkpoint junk --out x --resume");
    /* Resuming a finished run ends at once with the same file. */
    move("done", "again");
    expect(0, "wrote done", "train " NETWORK "--epochs 2 --out done --resume");
    assert_true(same_run("done", "again"));
}

/* ---- Mistakes ------------------------------------------------------------- */

static void test_usage(void **state)
{
    (void)state;
    static const struct {
        const char *line, *says;
    } bad[] = {
        {"", "usage:"},
        {"fly", "no command \"fly\""},
        {"train --wings 2", "--wings"},
        {"train --rat 0.1", "--rat"},
        {"train --epochs", "--epochs needs a value"},
        {"train --epochs 0", "--epochs"},
        {"train --epochs -1", "--epochs"},
        {"train --epochs 1.5", "--epochs"},
        {"train --epochs 1e3", "--epochs"},
        {"train --epochs many", "--epochs"},
        {"train --epochs=", "--epochs"},
        {"train --epochs 100001", "--epochs"},
        {"train --batch 4097", "--batch"},
        {"train --rate 2", "--rate"},
        {"train --rate nan", "--rate"},
        {"train --rate 0.1x", "--rate"},
        {"train --ema 1", "--ema"},
        {"train --threads 0", "--threads"},
        {"train --routing 11", "--routing"},
        {"train --dtype f8", "f16 or f32"},
        {"train --init-scheme best", "glorot or authors"},
        {"train --step-precision half", "auto, f32 or bf16"},
        {"train --primary-scale 0", "--primary-scale"},
        {"train --repeats 0", "--repeats"},
        {"train --resume=1", "--resume takes no value"},
        {"train --pairs=0.5", "--pairs takes no value"},
        {"train --pairs --singles 1", "--singles"},
        {"train --canvas 0", "--canvas"},
        {"train --canvas 513", "--canvas"},
        {"train more", "one argument too many"},
        {"train --out=", "--out must not be empty"},
        {"train --seed 4294967296", "from 0 to 4294967295"},
        {"eval", "needs a weights file"},
        {"eval a b", "one argument too many"},
        {"eval a --rate 1", "--rate"},
        {"info", "needs a weights file"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect(2, bad[i].says, "%s", bad[i].line);
    expect(0, "usage:", "--help");
    expect(0, "--checkpoint FILE", "train --help");
    expect(0, "--answers FILE", "eval --help");
    expect(0, "capsnet-train ", "--version");
}

static void test_failures(void **state)
{
    (void)state;
    expect(1, "nowhere", "train " NETWORK "--data nowhere");
    expect(1, "--holdout 240 leaves none", "train " NETWORK "--holdout 240");
    expect(1, "--holdout 50 leaves none", "train " NETWORK "--holdout 50 --limit 50");
    expect(1, "none is of class \"2\"", "train " NETWORK "--limit 2");
    expect(1, "3 classes", "train " NETWORK "--labels a,b");
    expect(1, "3 classes", "train " NETWORK "--labels a,b,c,d");
    expect(1, "3 classes", "train " NETWORK "--labels a,,c");
    expect(1, "\"a\" stands twice", "train " NETWORK "--labels a,b,a");
    expect(1, "a control character", "train " NETWORK "--labels a,b,c\x1b");
    expect(1, "none.safetensors", "eval none.safetensors --data .");
    expect(1, "none.safetensors", "info none.safetensors");
    put_file("junk", "no weights at all", 17);
    expect(1, "junk", "info junk");
    static uint8_t pixels[3 * 12 * 12], labels[3] = {0, 1, 2};
    put_idx("tiny/train", 3, 12, 12, pixels, labels);
    expect(1, "too small", "train " NETWORK "--data tiny");
    setenv("CAPSNETD_CPU_LEVEL", "sse9", 1);
    expect(1, "sse9", "train " NETWORK);
    unsetenv("CAPSNETD_CPU_LEVEL");
}

/* A place that cannot be written to shows before the training, not after. */
static void test_unwritable(void **state)
{
    (void)state;
    static const char *const places[] = {
        "--out nowhere/x", "--out tiny2 --checkpoint x", "--out x --checkpoint nowhere/x",
        "--out x --checkpoint tiny2", "--out x --log nowhere/x", "--out x --log tiny2"};
    put_folder("tiny2");
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        expect(1, i % 2 ? "tiny2" : "nowhere/x", "train " NETWORK "--epochs 1 %s", places[i]);
        if (strstr(output, "epoch 1/1"))
            fail_msg("%s was found after the training only: %s", places[i], output);
    }
}

/* Nor does an output take the place of another file that the command names, or of
 * a device. */
static void test_taken_outputs(void **state)
{
    (void)state;
    struct stat info;
    expect(0, "wrote first", "train " NETWORK "--epochs 1 --out first");
    assert_int_equal(symlink("first", in_folder("first-too")), 0);
    expect(1, "--init and --log name the same file, first",
           "train " NETWORK "--epochs 1 --out x --init first --log first-too");
    expect(1, "--init and --checkpoint name",
           "train " NETWORK "--epochs 1 --out x --init first --checkpoint first");
    expect(1, "--checkpoint and --log name",
           "train " NETWORK "--epochs 1 --out x --checkpoint y --log y");
    expect(1, "WEIGHTS and --mistakes name", "eval first --data . --mistakes first");
    expect(1, "WEIGHTS and --answers name", "eval first --data . --answers first-too");
    expect(0, "error ", "eval first --data .");
    assert_int_equal(mkfifo(in_folder("pipe"), 0600), 0);
    expect(1, "pipe cannot be written: this is a device", "train " NETWORK "--out pipe");
    expect(1, "pipe cannot be written: this is a device", "train " NETWORK "--checkpoint pipe");
    expect(1, "pipe: this is a device", "calibrate first --data . --out pipe");
    assert_int_equal(lstat(in_folder("pipe"), &info), 0);
    assert_true(S_ISFIFO(info.st_mode));
    put_folder("drawn.sheet.png");
    expect(1, "drawn.sheet.png cannot be written: Is a directory",
           "train --data . --epochs 1 --out drawn.safetensors");
}

/* Figures that were lost on the way out are an error. */
static void test_full_output(void **state)
{
    (void)state;
    char command[PATH_MAX + 64];
    const char *build = getenv("BUILD");
    snprintf(command, sizeof command, "exec \"%s\"/capsnet-train --help >/dev/full 2>\"%s\"",
             build ? build : "build", in_folder("said"));
    const int status = system(command);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    FILE *said = fopen(in_folder("said"), "r");
    assert_non_null(said);
    assert_non_null(fgets(output, sizeof output, said));
    fclose(said);
    says("the output cannot be written: No space left");
}

/* Puts a value into one element of a checkpoint's tensor. */
static void poison(const char *name, const char *tensor, float value)
{
    struct safetensors *file = open_weights(name);
    struct safetensors_entry entries[64];
    struct safetensors_metadata metadata[64];
    size_t n = 0, m = 0, found = 0;
    const struct safetensors_tensor *t;
    for (; (t = safetensors_at(file, n)); n++) {
        assert_true(n < 64);
        float *values = malloc(t->count * sizeof *values);
        assert_non_null(values);
        safetensors_to_f32(t, values);
        if (strcmp(t->name, tensor) == 0) {
            values[0] = value;
            found++;
        }
        entries[n] = (struct safetensors_entry){t->name, t->dtype, t->rank, {0}, values};
        memcpy(entries[n].dims, t->dims, sizeof entries[n].dims);
    }
    assert_int_equal(found, 1);
    for (; safetensors_metadata_at(file, m); m++) {
        assert_true(m < 64);
        metadata[m] = *safetensors_metadata_at(file, m);
    }
    struct capsnet_error error;
    if (safetensors_write(in_folder("%s", name), entries, n, metadata, m, &error) != CAPSNET_OK)
        fail_msg("%s", error.text);
    for (size_t i = 0; i < n; i++)
        free((void *)(uintptr_t)entries[i].data);
    safetensors_close(file);
}

/* Squash and the sigmoid keep the loss finite at the highest --rate: such a run
 * learns nothing, and is stopped before it ends. */
static void test_highest_rate(void **state)
{
    (void)state;
    struct stat info;
    expect(1, "no better than a silent network's",
           "train " NETWORK "--epochs 20 --out wild --rate 1 --final-rate 1 --warmup 0");
    says("wild.checkpoint holds the state before, which --init takes");
    assert_null(strstr(output, "epoch 20/20"));
    assert_int_not_equal(stat(in_folder("wild"), &info), 0);
    expect(0, "train.state", "info wild.checkpoint");
}

/* Leaves last.checkpoint from the middle of an epoch: what goes on behind its last step
 * writes another before it takes a step. */
static void stop_within_epoch(void)
{
    size_t step;
    do {
        unlink(in_folder("last.checkpoint"));
        pid_t child = start(LONG "--out last");
        assert_true(wait_for_checkpoint(child, "last.checkpoint", (struct timespec){0}));
        kill(child, SIGTERM);
        assert_int_equal(waitpid(child, NULL, 0), child);
        unlink(in_folder("last")); /* where the signal came too late */
        struct safetensors *file = open_weights("last.checkpoint");
        assert_int_equal(sscanf(safetensors_get_metadata(file, "train.state"), "%*u %zu", &step), 1);
        safetensors_close(file);
    } while (step % STEPS == 0);
}

/* Should numbers explode all the same - here a moment of Adam's in the
 * checkpoint makes one weight of a layer infinite - the run says so, and the
 * last good state stays. */
static void test_diverges(void **state)
{
    (void)state;
    static const char *const tensors[] = {"conv1.weight",   "primary.bias",   "digit.weight",
                                          "decoder.0.bias", "decoder.4.bias"};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        char tensor[64];
        struct stat info;
        stop_within_epoch();
        snprintf(tensor, sizeof tensor, "adam.m.%s", tensors[i]);
        poison("last.checkpoint", tensor, -1e38f);
        assert_int_equal(link(in_folder("last.checkpoint"), in_folder("kept")), 0);
        expect(1, "last.checkpoint", LONG "--out last --resume");
        if (!strstr(output, "the loss is no longer a number"))
            says("is not written, because tensor \"");
        assert_true(same_bytes("last.checkpoint", "kept"));
        expect(0, "train.state", "info last.checkpoint");
        assert_int_not_equal(stat(in_folder("last"), &info), 0);
        unlink(in_folder("kept"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_learns),      cmocka_unit_test(test_eval),
        cmocka_unit_test(test_repeatable),  cmocka_unit_test(test_init),
        cmocka_unit_test(test_skip_misread), cmocka_unit_test(test_strokes),
        cmocka_unit_test(test_canvas), cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_authors_recipe), cmocka_unit_test(test_holdout_writers),
        cmocka_unit_test(test_step_precision),
        cmocka_unit_test(test_teacher),
        cmocka_unit_test(test_checkpoint_minutes),
        cmocka_unit_test(test_leftovers),    cmocka_unit_test(test_links),
        cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_killed),      cmocka_unit_test(test_other_options),
        cmocka_unit_test(test_usage),       cmocka_unit_test(test_failures),
        cmocka_unit_test(test_unwritable),  cmocka_unit_test(test_taken_outputs),
        cmocka_unit_test(test_full_output), cmocka_unit_test(test_highest_rate),
        cmocka_unit_test(test_diverges),
    };
    const char *wanted = getenv("SEED");
    dice.state = wanted ? (uint64_t)strtoull(wanted, NULL, 0) : (uint64_t)getpid();
    printf("SEED=%llu\n", (unsigned long long)dice.state);
    unsetenv("CAPSNETD_CPU_LEVEL");
    return cmocka_run_group_tests(tests, set_up, folder_remove);
}
