/*
 * options.c - see options.h.
 */
#include "model/command_line/options.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* Where a sentence about a mistake goes. */
struct message {
    char *text;
    size_t nbytes;
};

__attribute__((format(printf, 2, 3))) static int bad(const struct message *message,
                                                     const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message->text, message->nbytes, format, arguments);
    va_end(arguments);
    return -1;
}

static void variable_name(char name[64], const struct option_table *table,
                          const struct option_entry *option)
{
    snprintf(name, 64, "%s%s", table->environment, option->name);
    for (char *c = name; *c; c++)
        *c = *c == '-' ? '_' : *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c;
}

/* ---- Values -------------------------------------------------------------- */

/* Is the value one of a|b|c? */
static int is_choice(const char *choices, const char *value)
{
    const size_t n = strlen(value);
    for (const char *choice = choices; choice; choice = strchr(choice, '|')) {
        choice += *choice == '|';
        if (!strchr(value, '|') && strncmp(choice, value, n) == 0 &&
            (choice[n] == '|' || choice[n] == 0))
            return 1;
    }
    return 0;
}

static int set_text(const struct option_entry *option, const char *source, const char *value,
                    const struct message *message)
{
    if (!*value)
        return bad(message, "%s must not be empty", source);
    if (strchr(option->value, '|') && !is_choice(option->value, value))
        return bad(message, "%s must be one of %s, not \"%.64s\"", source, option->value, value);
    *(const char **)option->target = value;
    return 0;
}

static int in_range(const struct option_entry *option, double number)
{
    return number >= option->low && number <= option->high;
}

static int set_size(const struct option_entry *option, const char *source, const char *value,
                    const struct message *message)
{
    errno = 0;
    const unsigned long long number = strtoull(value, NULL, 10);
    if (!*value || value[strspn(value, "0123456789")] || errno ||
        !in_range(option, (double)number))
        return bad(message, "%s must be a whole number from %.0f to %.0f, not \"%.64s\"", source,
                   option->low, option->high, value);
    *(size_t *)option->target = (size_t)number;
    return 0;
}

static int set_float(const struct option_entry *option, const char *source, const char *value,
                     const struct message *message)
{
    char *end;
    errno = 0;
    const double number = strtod(value, &end);
    if (end == value || *end || errno || !in_range(option, number))
        return bad(message, "%s must be a number from %g to %g, not \"%.64s\"", source,
                   option->low, option->high, value);
    *(float *)option->target = (float)number;
    return 0;
}

/* Adds the next value of a list. */
static int add_item(const struct option_entry *option, const char *source,
                    struct option_item item, const struct message *message)
{
    struct option_list *list = option->target;
    if (item.nbytes == 0)
        return bad(message, "%s must not be empty", source);
    if (list->is_default)
        *list = (struct option_list){0};
    if (list->n == OPTION_LIST_MAX)
        return bad(message, "%s may be given at most %d times", source, OPTION_LIST_MAX);
    list->items[list->n++] = item;
    return 0;
}

/* Adds all values of a variable. */
static int add_items(const struct option_entry *option, const char *source, const char *values,
                     const struct message *message)
{
    for (;; values++) {
        const size_t n = strcspn(values, ":");
        if (n == 0)
            return bad(message, "%s must not be empty, nor a part of it", source);
        if (add_item(option, source, (struct option_item){values, n}, message) != 0)
            return -1;
        values += n;
        if (!*values)
            return 0;
    }
}

/* Stores a value.  source names where it came from: an option or a variable. */
static int set(const struct option_entry *option, const char *source, const char *value,
               const struct message *message)
{
    switch (option->kind) {
    case OPTION_TEXT: return set_text(option, source, value, message);
    case OPTION_SIZE: return set_size(option, source, value, message);
    case OPTION_FLOAT: return set_float(option, source, value, message);
    case OPTION_LIST:
        return add_item(option, source, (struct option_item){value, strlen(value)}, message);
    default: *(int *)option->target = 1; return 0;
    }
}

/* ---- Arguments and variables --------------------------------------------- */

/* The option that an argument --name or --name=value names, or NULL. */
static const struct option_entry *find(const struct option_table *table, const char *argument)
{
    if (strncmp(argument, "--", 2) != 0)
        return NULL;
    const char *name = argument + 2;
    const size_t n = strcspn(name, "=");
    for (size_t i = 0; i < table->n; i++)
        if (strlen(table->entries[i].name) == n && strncmp(table->entries[i].name, name, n) == 0)
            return &table->entries[i];
    return NULL;
}

static int is_given(const struct option_table *table, const struct option_entry *option, int argc,
                    char **argv)
{
    for (int i = 1; i < argc; i++)
        if (find(table, argv[i]) == option)
            return 1;
    return 0;
}

/* What no argument says. */
static int from_environment(const struct option_table *table, int argc, char **argv,
                            const struct message *message)
{
    for (size_t i = 0; i < table->n; i++) {
        const struct option_entry *option = &table->entries[i];
        char name[64];
        variable_name(name, table, option);
        const char *value = getenv(name);
        if (!value || !*value || is_given(table, option, argc, argv))
            continue;
        if ((option->kind == OPTION_LIST ? add_items : set)(option, name, value, message) != 0)
            return -1;
    }
    return 0;
}

/* The option at argv[*i], which moves on to its value when that stands apart. */
static int take_option(const struct option_table *table, char **argv, int *i,
                       const struct message *message)
{
    const char *argument = argv[*i];
    const struct option_entry *option = find(table, argument);
    if (!option)
        return bad(message, "there is no option \"%.64s\"; see --help", argument);
    char source[64];
    snprintf(source, sizeof source, "--%s", option->name);
    const char *equals = strchr(argument, '=');
    const char *value = equals ? equals + 1 : NULL;
    if (option->kind == OPTION_FLAG && value)
        return bad(message, "%s takes no value", source);
    if (option->kind != OPTION_FLAG && !value) {
        value = argv[++*i];
        if (!value) /* argv ends in NULL */
            return bad(message, "%s needs a value", source);
    }
    return set(option, source, value, message);
}

enum options_status options_parse(const struct option_table *table, int argc, char **argv,
                                  const char **words, size_t n_words, char *text, size_t nbytes)
{
    const struct message message = {text, nbytes};
    size_t used = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return OPTIONS_HELP;
        if (strcmp(argv[i], "--version") == 0)
            return OPTIONS_VERSION;
    }
    if (table->environment && from_environment(table, argc, argv, &message) != 0)
        return OPTIONS_BAD;
    for (int i = 1; i < argc; i++) {
        int failed = 0;
        if (strncmp(argv[i], "--", 2) == 0)
            failed = take_option(table, argv, &i, &message);
        else if (!*argv[i])
            failed = bad(&message, "an argument is empty");
        else if (used == n_words)
            failed = bad(&message, "\"%.64s\" is one argument too many; see --help", argv[i]);
        else
            words[used++] = argv[i];
        if (failed)
            return OPTIONS_BAD;
    }
    return OPTIONS_RUN;
}

/* ---- Help ---------------------------------------------------------------- */

/* The default between two texts, nothing where there is none. */
static void print_default(FILE *out, const struct option_entry *option, const char *before,
                          const char *after)
{
    const void *target = option->target;
    if (option->kind == OPTION_TEXT && *(const char *const *)target)
        fprintf(out, "%s%s%s", before, *(const char *const *)target, after);
    if (option->kind == OPTION_SIZE && in_range(option, (double)*(const size_t *)target))
        fprintf(out, "%s%zu%s", before, *(const size_t *)target, after);
    if (option->kind == OPTION_FLOAT && in_range(option, (double)*(const float *)target))
        fprintf(out, "%s%g%s", before, (double)*(const float *)target, after);
    if (option->kind == OPTION_LIST) {
        const struct option_list *list = target;
        for (size_t i = 0; i < list->n; i++)
            fprintf(out, "%s%.*s", i ? ":" : before, (int)list->items[i].nbytes,
                    list->items[i].at);
        fputs(list->n ? after : "", out);
    }
}

static void print_line(FILE *out, const struct option_entry *option)
{
    char left[64];
    snprintf(left, sizeof left, "--%s %s", option->name, option->value);
    fprintf(out, "  %-22s %s", left, option->help);
    print_default(out, option, " [", "]");
    putc('\n', out);
}

static void print_with_variable(FILE *out, const struct option_table *table,
                                const struct option_entry *option)
{
    char name[64];
    variable_name(name, table, option);
    fprintf(out, "  --%s %s\n      %s\n      %s", option->name, option->value, option->help, name);
    print_default(out, option, ", default ", "");
    putc('\n', out);
}

void options_print_help(FILE *out, const struct option_table *table)
{
    fputs(table->usage, out);
    if (table->n && !table->environment)
        fputs("\noptions [default]:\n", out);
    for (size_t i = 0; i < table->n; i++)
        if (table->environment)
            print_with_variable(out, table, &table->entries[i]);
        else
            print_line(out, &table->entries[i]);
}
