/* query_params.h - the query string. */
#ifndef CAPSNETD_QUERY_PARAMS_H
#define CAPSNETD_QUERY_PARAMS_H

#include <stddef.h>

#include "server/normalize/normalize.h"

/* Which parameters a route takes. */
enum {
    PARAM_NORMALIZE = 1,
    PARAM_POSES = 2,
    PARAM_CLASS = 4,
    PARAM_SCALE = 8,
    PARAM_SWEEP = 16,
    PARAM_DEBUG = 32,
    PARAM_ROUTING = 64,
    PARAM_MODEL = 128, /* judge.c has found the model by then */
    PARAM_SPLIT = 256,
};

/* Which capsules are drawn: the longest, that of class_index, or those of all that was
 * detected. */
enum class_choice { CLASS_LONGEST = 0, CLASS_GIVEN, CLASS_DETECTED };

/* The query parameters of all routes, with their defaults. */
struct params {
    enum normalize_mode normalize;
    int poses, sweep, routing;
    int split;          /* the picture may hold several digits */
    int debug;          /* show what the network saw, not what it made of it */
    size_t scale;       /* 1 .. 16 */
    enum class_choice class_choice;
    size_t class_index; /* of CLASS_GIVEN: below the model's class count */
};

/* Sets one parameter from the query.
 *
 * allowed   the PARAM_ flags of the route
 * seen      the flags of those set before; updated
 * value     NULL for a bare name
 * classes   the model's class count
 * message   [message_nbytes], one sentence on failure
 *
 * Returns 0, or -1 for an unknown, repeated or bad parameter. */
int params_set(struct params *params, unsigned allowed, unsigned *seen, const char *name,
               const char *value, size_t classes, char *message, size_t message_nbytes);

#endif
