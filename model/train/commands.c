/*
 * commands.c - see commands.h.
 */
#include "model/train/commands.h"

#include <stdio.h>
#include <stdlib.h>

const char *parse_with_weights(const struct option_entry *table, size_t n, const char *usage,
                               int argc, char **argv)
{
    const char *weights = NULL;
    options_parse(table, n, usage, argc, argv, &weights, 1);
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
