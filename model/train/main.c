/*
 * main.c - capsnet-train: makes, measures and describes weights files.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/train/commands.h"
#include "model/train/measure/calibrate.h"

static const char usage[] =
    "usage: capsnet-train train [options]          train on IDX or PNG images, write a weights file\n"
    "       capsnet-train eval WEIGHTS [options]   measure a weights file on a data set\n"
    "       capsnet-train calibrate WEIGHTS        measure when its images are in_distribution anew\n"
    "       capsnet-train info WEIGHTS             describe a weights file\n"
    "       capsnet-train COMMAND --help           a command's options\n"
    "       capsnet-train --version\n";

/* ---- calibrate, info ----------------------------------------------------- */

static int calibrate_command(int argc, char **argv)
{
    const char *data = "data", *writers = NULL, *out = NULL;
    size_t threads = capsnet_cpu_count();
    const struct option_entry table[] = {
        {"data", "DIR", OPTION_TEXT, &data, 0, 0, "the folder that it was trained on"},
        {"holdout-writers", "FILE", OPTION_TEXT, &writers, 0, 0, "what its training had, if that was with this option"},
        {"out", "FILE", OPTION_TEXT, &out, 0, 0, "the weights file to write [WEIGHTS]"},
        {"threads", "N", OPTION_SIZE, &threads, 1, 1024, "threads"},
    };
    const char *weights =
        parse_with_weights(table, sizeof table / sizeof *table,
                           "usage: capsnet-train calibrate WEIGHTS [options]\n", argc, argv);
    struct capsnet_error error;
    enum capsnet_status status =
        calibrate_file(weights, data, writers, out ? out : weights, cpu_level(), threads, &error);
    return status == CAPSNET_OK ? 0 : command_fail(&error);
}

static int info_command(int argc, char **argv)
{
    const char *key, *value;
    const char *weights =
        parse_with_weights(NULL, 0, "usage: capsnet-train info WEIGHTS\n", argc, argv);
    struct capsnet_error error;
    struct capsnet_model *model;
    const struct capsnet_options options = {.cpu_level = cpu_level()};
    if (capsnet_model_load(&model, weights, &options, &error) != CAPSNET_OK)
        return command_fail(&error);
    printf("%s: %s, %zu parameters, stored as %s\n", weights, capsnet_model_name(model),
           capsnet_model_parameters(model), capsnet_model_stored_dtype(model));
    for (size_t i = 0; capsnet_model_metadata(model, i, &key, &value); i++)
        printf("  %-22s %s\n", key, value);
    capsnet_model_free(model);
    return 0;
}

/* ---- The program --------------------------------------------------------- */

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
