/*
 * options.h - command-line options as a table that drives parsing and help.
 */
#ifndef CAPSNET_OPTIONS_H
#define CAPSNET_OPTIONS_H

#include <stddef.h>

enum option_kind { OPTION_FLAG, OPTION_TEXT, OPTION_SIZE, OPTION_FLOAT };

/* One option: --name VALUE.  target is an int (FLAG), const char * (TEXT),
 * size_t (SIZE) or float (FLOAT); numbers must lie in low .. high. */
struct option_entry {
    const char *name, *value; /* value: its name in the help, e.g. "N" */
    enum option_kind kind;
    void *target;
    double low, high;
    const char *help;
};

/* Parses argv[1 ..]; up to n_words arguments that are no options go to words.
 * --help prints usage and the table, with the defaults found in the targets,
 * and exits 0.  Anything wrong prints one sentence and exits 2. */
void options_parse(const struct option_entry *table, size_t n, const char *usage, int argc,
                   char **argv, const char **words, size_t n_words);

#endif
