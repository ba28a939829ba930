/*
 * options.c - see options.h.
 */
#include "model/train/options.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((noreturn, format(printf, 1, 2))) static void complain(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("capsnet-train: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs(" (see --help)\n", stderr);
    va_end(arguments);
    exit(2);
}

static void print_default(const struct option_entry *option)
{
    const char *text = option->kind == OPTION_TEXT ? *(const char *const *)option->target : NULL;
    if (option->kind == OPTION_SIZE)
        printf(" [%zu]", *(const size_t *)option->target);
    else if (option->kind == OPTION_FLOAT && !isnan(*(const float *)option->target))
        printf(" [%g]", (double)*(const float *)option->target);
    else if (text)
        printf(" [%s]", text);
    putchar('\n');
}

static void print_help(const struct option_entry *table, size_t n, const char *usage)
{
    fputs(usage, stdout);
    if (n)
        puts("\noptions [default]:");
    for (size_t i = 0; i < n; i++) {
        char left[64];
        snprintf(left, sizeof left, "--%s %s", table[i].name, table[i].value);
        printf("  %-22s %s", left, table[i].help);
        print_default(&table[i]);
    }
    exit(0);
}

static void set_number(const struct option_entry *option, const char *text)
{
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    int whole = option->kind == OPTION_FLOAT ||
                (strspn(text, "0123456789") == strlen(text) && *text);
    if (end == text || *end || errno || !whole || !(value >= option->low && value <= option->high))
        complain(option->kind == OPTION_SIZE ? "--%s takes a whole number from %.0f to %.0f, not \"%s\""
                                             : "--%s takes a number from %g to %g, not \"%s\"",
                 option->name, option->low, option->high, text);
    if (option->kind == OPTION_SIZE)
        *(size_t *)option->target = (size_t)value;
    else
        *(float *)option->target = (float)value;
}

static void set(const struct option_entry *option, const char *text)
{
    if (option->kind == OPTION_TEXT && !*text)
        complain("--%s must not be empty", option->name);
    if (option->kind == OPTION_FLAG)
        *(int *)option->target = 1;
    else if (option->kind == OPTION_TEXT)
        *(const char **)option->target = text;
    else
        set_number(option, text);
}

void options_parse(const struct option_entry *table, size_t n, const char *usage, int argc,
                   char **argv, const char **words, size_t n_words)
{
    size_t used = 0;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
            print_help(table, n, usage);
        if (strncmp(word, "--", 2) != 0) {
            if (used == n_words)
                complain("\"%s\" is one argument too many", word);
            if (!*word)
                complain("an argument is empty");
            words[used++] = word;
            continue;
        }
        size_t length = strcspn(word + 2, "=");
        const struct option_entry *option = table;
        while (option < table + n && (strncmp(option->name, word + 2, length) != 0 ||
                                      option->name[length]))
            option++;
        if (option == table + n)
            complain("there is no option \"%s\"", word);
        const char *value = word[2 + length] ? word + 3 + length : NULL;
        if (option->kind == OPTION_FLAG && value)
            complain("--%s takes no value", option->name);
        if (option->kind != OPTION_FLAG && !value) {
            if (i + 1 == argc)
                complain("--%s needs a value", option->name);
            value = argv[++i];
        }
        set(option, value);
    }
}
