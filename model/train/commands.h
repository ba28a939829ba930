/*
 * commands.h - the commands of capsnet-train, and what they share.
 */
#ifndef CAPSNET_COMMANDS_H
#define CAPSNET_COMMANDS_H

#include "model/capsnet.h"
#include "model/command_line/options.h"

/* Each runs a command: argv[0] is its name, options and files follow.  Returns
 * the process's exit status; a mistake in the options ends the process with 2. */
int train_command(int argc, char **argv);
int eval_command(int argc, char **argv);

/* options_parse() for a command: --help and --version print and exit 0, a mistake
 * prints one sentence and exits 2. */
void parse_options(const struct option_entry *entries, size_t n, const char *usage, int argc,
                   char **argv, const char **words, size_t n_words);

/* The same for a command that takes one file; returns its name. */
const char *parse_with_weights(const struct option_entry *entries, size_t n, const char *usage,
                               int argc, char **argv);

/* The CPU level that the environment asks for, or NULL. */
const char *cpu_level(void);

/* Says what went wrong; returns exit status 1. */
int command_fail(const struct capsnet_error *error);

#endif
