/* json_parse.c - see json_parse.h. */
#include "server/input/json_parse.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "server/basics/text.h"

enum { MAX_DEPTH = 16 }; /* no request of ours nests deeper than 5 */

/* What is known of a text before cJSON sees it. */
struct survey {
    size_t values, depth; /* bounds from above */
    size_t wrong_at;      /* where it is malformed in a way that cJSON lets pass; or its end */
    int has_zero;         /* a string holds a character 0, which for cJSON would be its end */
};

static size_t pass_digits(const char *bytes, size_t nbytes, size_t at)
{
    while (at < nbytes && bytes[at] >= '0' && bytes[at] <= '9')
        at++;
    return at;
}

/* Passes a number (RFC 8259, section 6), which cJSON leaves to strtod().  Returns what is
 * behind it, or `at` when it is none. */
static size_t pass_number(const char *bytes, size_t nbytes, size_t at)
{
    const size_t whole = at + (bytes[at] == '-');
    size_t end = pass_digits(bytes, nbytes, whole);
    if (end == whole || (bytes[whole] == '0' && end > whole + 1))
        return at;
    if (end < nbytes && bytes[end] == '.') {
        const size_t places = end + 1;
        end = pass_digits(bytes, nbytes, places);
        if (end == places)
            return at;
    }
    if (end < nbytes && (bytes[end] | 0x20) == 'e') {
        size_t power = end + 1;
        power += power < nbytes && (bytes[power] == '-' || bytes[power] == '+');
        end = pass_digits(bytes, nbytes, power);
        if (end == power)
            return at;
    }
    return end;
}

/* Passes the string that begins at `at`; nbytes when it does not end. */
static size_t pass_string(struct survey *survey, const char *bytes, size_t nbytes, size_t at)
{
    for (at++; at < nbytes && bytes[at] != '"'; at++) {
        if (bytes[at] == '\\')
            survey->has_zero |= ++at + 5 <= nbytes && memcmp(bytes + at, "u0000", 5) == 0;
        else if ((unsigned char)bytes[at] < ' ' && at < survey->wrong_at)
            survey->wrong_at = at; /* section 7: it must be escaped */
    }
    return at < nbytes ? at + 1 : nbytes;
}

/* A value more costs a comma or an opening bracket, so that their sum + 1 bounds the
 * number of values. */
static struct survey look_through(const char *bytes, size_t nbytes)
{
    struct survey survey = {.values = 1, .wrong_at = nbytes};
    size_t open = 0, next;
    for (size_t at = 0; at < nbytes; at = next) {
        const char c = bytes[at];
        next = at + 1;
        if (c == '"') {
            next = pass_string(&survey, bytes, nbytes, at);
        } else if (c == ',') {
            survey.values++;
        } else if (c == '[' || c == '{') {
            survey.values++;
            if (++open > survey.depth)
                survey.depth = open;
        } else if (c == ']' || c == '}') {
            open -= open > 0;
        } else if (c == '-' || (c >= '0' && c <= '9')) {
            next = pass_number(bytes, nbytes, at);
            if (next == at && at < survey.wrong_at)
                survey.wrong_at = at;
            next += next == at;
        } else if ((unsigned char)c < ' ' && c != '\t' && c != '\n' && c != '\r' &&
                   at < survey.wrong_at) {
            survey.wrong_at = at; /* section 2: no white space */
        }
    }
    return survey;
}

/* A member name that an object has twice; NULL when none has. */
static const char *find_twin(const cJSON *value)
{
    const cJSON *item;
    const char *twin = NULL;
    cJSON_ArrayForEach(item, value)
    {
        for (const cJSON *other = item->next; !twin && item->string && other; other = other->next)
            if (strcmp(other->string, item->string) == 0)
                twin = item->string;
        if (!twin)
            twin = find_twin(item);
        if (twin)
            return twin;
    }
    return NULL;
}

enum json_status json_parse(cJSON **root, const char *bytes, size_t nbytes, size_t max_values,
                            char *message, size_t message_nbytes)
{
    const struct survey survey = look_through(bytes, nbytes);
    if (survey.depth > MAX_DEPTH) {
        snprintf(message, message_nbytes, "the JSON is nested more than %d deep", MAX_DEPTH);
        return JSON_MALFORMED;
    }
    if (survey.values > max_values) {
        snprintf(message, message_nbytes, "the JSON holds more than %zu values", max_values);
        return JSON_TOO_MANY;
    }
    if (survey.has_zero) {
        snprintf(message, message_nbytes, "a string in the JSON holds the character \\u0000");
        return JSON_MALFORMED;
    }

    const char *end = bytes;
    cJSON *parsed = cJSON_ParseWithLengthOpts(bytes, nbytes, &end, 0);
    size_t at = (size_t)(end - bytes);
    /* The end is checked here: cJSON would take a 0 byte for it. */
    while (parsed && at < nbytes && strchr(" \t\r\n", bytes[at]) && bytes[at])
        at++;
    at = at < survey.wrong_at ? at : survey.wrong_at;
    const char *twin = parsed ? find_twin(parsed) : NULL;
    if (!parsed || at < nbytes || twin) {
        char quoted[48];
        if (at < nbytes || !twin)
            snprintf(message, message_nbytes, "the JSON is malformed at byte %zu", at);
        else
            snprintf(message, message_nbytes, "the field \"%s\" is given more than once",
                     quote_client(quoted, twin));
        cJSON_Delete(parsed);
        return JSON_MALFORMED;
    }
    *root = parsed;
    return JSON_OK;
}

int json_get_float(float *value, const cJSON *item)
{
    if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble) ||
        !isfinite((float)item->valuedouble))
        return 0;
    *value = (float)item->valuedouble;
    return 1;
}

int json_get_index(size_t *value, const cJSON *item, size_t limit)
{
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0) || item->valuedouble >= (double)limit ||
        item->valuedouble != floor(item->valuedouble))
        return 0;
    *value = (size_t)item->valuedouble;
    return 1;
}
