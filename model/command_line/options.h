/*
 * options.h - command-line options as one table, which drives parsing, their twins
 * in the environment, --help and what is said of a mistake.  In: a table and argv.
 * Out: the table's targets, or one sentence.  For both programs; no part of
 * libcapsnet.
 */
#ifndef CAPSNET_OPTIONS_H
#define CAPSNET_OPTIONS_H

#include <stddef.h>
#include <stdio.h>

enum option_kind { OPTION_FLAG, OPTION_TEXT, OPTION_SIZE, OPTION_FLOAT, OPTION_LIST };

enum { OPTION_LIST_MAX = 64 };

/* The values of an option that may be given several times, in the order given; in the
 * environment they stand in one variable, separated by colons. */
struct option_list {
    struct option_item {
        const char *at; /* not ended by a 0 */
        size_t nbytes;
    } items[OPTION_LIST_MAX];
    size_t n;
    int is_default; /* what is given takes their place */
};

/* One option: --name VALUE or --name=VALUE.  target is an int (FLAG), const char *
 * (TEXT), size_t (SIZE), float (FLOAT) or struct option_list (LIST), and holds the
 * default: NULL, or a number that is not in low .. high, is none. */
struct option_entry {
    const char *name, *value; /* value: its name in the help; a|b: one of these texts */
    enum option_kind kind;
    void *target;
    double low, high; /* of a number */
    const char *help;
};

/* The options of a program or of a command. */
struct option_table {
    const struct option_entry *entries;
    size_t n;
    const char *usage;       /* what --help says before them */
    const char *environment; /* --max-side is NAME_MAX_SIDE with "NAME_" here; NULL: no twins */
};

enum options_status {
    OPTIONS_RUN = 0, /* all is well */
    OPTIONS_HELP,    /* --help or -h was given */
    OPTIONS_VERSION, /* --version was given */
    OPTIONS_BAD,     /* one sentence in message */
};

/* Parses argv[1 ..] into the targets; up to n_words arguments that are no options
 * go to words, the rest of which stays as it is.  --help and --version come before
 * anything that could be wrong.  An argument beats the environment, which beats the
 * default; an empty variable counts as unset.  Texts point into argv or the
 * environment. */
enum options_status options_parse(const struct option_table *table, int argc, char **argv,
                                  const char **words, size_t n_words, char *message,
                                  size_t message_nbytes);

/* The usage and every option with its default, taken from the targets: one line
 * each, or, where options have twins, three with the variable's name. */
void options_print_help(FILE *out, const struct option_table *table);

#endif
