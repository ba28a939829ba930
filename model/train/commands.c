/*
 * commands.c - see commands.h.
 */
#include "model/train/commands.h"

#include <stdio.h>
#include <stdlib.h>

void parse_options(const struct option_entry *entries, size_t n, const char *usage, int argc,
                   char **argv, const char **words, size_t n_words)
{
    const struct option_table table = {entries, n, usage, NULL};
    char message[256];
    switch (options_parse(&table, argc, argv, words, n_words, message, sizeof message)) {
    case OPTIONS_HELP:
        options_print_help(stdout, &table);
        exit(0);
    case OPTIONS_VERSION:
        puts("capsnet-train " CAPSNET_VERSION);
        exit(0);
    case OPTIONS_BAD:
        fprintf(stderr, "capsnet-train: %s\n", message);
        exit(2);
    case OPTIONS_RUN:
        return;
    }
}

const char *parse_with_weights(const struct option_entry *entries, size_t n, const char *usage,
                               int argc, char **argv)
{
    const char *weights = NULL;
    parse_options(entries, n, usage, argc, argv, &weights, 1);
    if (weights)
        return weights;
    fprintf(stderr, "capsnet-train: %s needs a weights file\n", argv[0]);
    exit(2);
}

const char *cpu_level(void)
{
    const char *level = getenv("CAPSNETD_CPU_LEVEL");
    return level && *level ? level : NULL;
}

int command_fail(const struct capsnet_error *error)
{
    fprintf(stderr, "capsnet-train: %s\n", error->text);
    return 1;
}
