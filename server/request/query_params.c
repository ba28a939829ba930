/* query_params.c - see query_params.h. */
#include "server/request/query_params.h"

#include <stdio.h>
#include <string.h>

#include "server/basics/text.h"

/* A plain decimal number of at most 9 digits: *number and 1, or 0. */
static int whole_number(const char *value, size_t *number)
{
    size_t n = strlen(value);
    if (n == 0 || n > 9 || strspn(value, "0123456789") != n)
        return 0;
    *number = 0;
    for (; *value; value++)
        *number = *number * 10 + (size_t)(*value - '0');
    return 1;
}

static int set_switch(int *flag, const char *value)
{
    *flag = strcmp(value, "1") == 0;
    return *flag || strcmp(value, "0") == 0;
}

static int set_normalize(struct params *params, const char *value)
{
    static const char *const NAMES[] = {
        [NORMALIZE_AUTO] = "auto", [NORMALIZE_FIT] = "fit", [NORMALIZE_NONE] = "none"};
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        if (strcmp(value, NAMES[i]) == 0) {
            params->normalize = (enum normalize_mode)i;
            return 1;
        }
    }
    return 0;
}

static int set_class(struct params *params, const char *value, size_t classes)
{
    params->class_choice = strcmp(value, "detected") == 0 ? CLASS_DETECTED : CLASS_GIVEN;
    return params->class_choice == CLASS_DETECTED ||
           (whole_number(value, &params->class_index) && params->class_index < classes);
}

int params_set(struct params *params, unsigned allowed, unsigned *seen, const char *name,
               const char *value, size_t classes, char *message, size_t message_nbytes)
{
    static const struct {
        const char *name;
        unsigned flag;
    } PARAMS[] = {
        {"normalize", PARAM_NORMALIZE}, {"poses", PARAM_POSES}, {"class", PARAM_CLASS},
        {"scale", PARAM_SCALE},         {"sweep", PARAM_SWEEP},
        {"debug", PARAM_DEBUG},         {"routing", PARAM_ROUTING},
        {"model", PARAM_MODEL},         {"split", PARAM_SPLIT},
    };
    unsigned flag = 0;
    for (size_t i = 0; i < sizeof PARAMS / sizeof *PARAMS; i++)
        if (strcmp(name, PARAMS[i].name) == 0)
            flag = PARAMS[i].flag & allowed;
    char quoted[48], expected[64] = "0 or 1";
    if (!flag || *seen & flag) {
        snprintf(message, message_nbytes, "the query parameter \"%s\" %s",
                 quote_client(quoted, name),
                 flag ? "is given more than once" : "is unknown to this route");
        return -1;
    }
    *seen |= flag;

    int good = 0;
    if (!value)
        value = "";
    if (flag == PARAM_POSES) {
        good = set_switch(&params->poses, value);
    } else if (flag == PARAM_SWEEP) {
        good = set_switch(&params->sweep, value);
    } else if (flag == PARAM_ROUTING) {
        good = set_switch(&params->routing, value);
    } else if (flag == PARAM_SPLIT) {
        good = set_switch(&params->split, value);
    } else if (flag == PARAM_DEBUG) {
        strcpy(expected, "normalized");
        good = params->debug = strcmp(value, expected) == 0;
    } else if (flag == PARAM_NORMALIZE) {
        strcpy(expected, "auto, fit or none");
        good = set_normalize(params, value);
    } else if (flag == PARAM_MODEL) {
        strcpy(expected, "a model's name");
        good = *value != 0;
    } else if (flag == PARAM_SCALE) {
        strcpy(expected, "a whole number from 1 to 16");
        good = whole_number(value, &params->scale) && params->scale >= 1 && params->scale <= 16;
    } else {
        snprintf(expected, sizeof expected, "a whole number from 0 to %zu or detected",
                 classes - 1);
        good = set_class(params, value, classes);
    }
    if (good)
        return 0;
    snprintf(message, message_nbytes, "the query parameter \"%s\" must be %s, not \"%s\"", name,
             expected, quote_client(quoted, value));
    return -1;
}
