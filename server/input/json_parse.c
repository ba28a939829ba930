/* json_parse.c - see json_parse.h. */
#include "server/input/json_parse.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_DEPTH = 16 }; /* no request of ours nests deeper than 5 */

/* Counts what lies outside strings.  A value more costs a comma or an opening
 * bracket, so that their sum + 1 bounds the number of values from above.  Returns
 * whether a string holds a character 0, which for cJSON would be its end. */
static int count(const char *bytes, size_t nbytes, size_t *values, size_t *depth)
{
    int has_zero = 0;
    size_t open = 0;
    int in_string = 0;
    *values = 1;
    *depth = 0;
    for (size_t i = 0; i < nbytes; i++) {
        char c = bytes[i];
        if (in_string) {
            if (c == '\\')
                has_zero |= ++i + 5 <= nbytes && memcmp(bytes + i, "u0000", 5) == 0;
            else if (c == '"')
                in_string = 0;
        } else if (c == '"') {
            in_string = 1;
        } else if (c == ',') {
            ++*values;
        } else if (c == '[' || c == '{') {
            ++*values;
            if (++open > *depth)
                *depth = open;
        } else if ((c == ']' || c == '}') && open) {
            open--;
        }
    }
    return has_zero;
}

enum json_status json_parse(cJSON **root, const char *bytes, size_t nbytes, size_t max_values,
                            char *message, size_t message_nbytes)
{
    size_t values, depth;
    const int has_zero = count(bytes, nbytes, &values, &depth);
    if (depth > MAX_DEPTH) {
        snprintf(message, message_nbytes, "the JSON is nested more than %d deep", MAX_DEPTH);
        return JSON_MALFORMED;
    }
    if (values > max_values) {
        snprintf(message, message_nbytes, "the JSON holds more than %zu values", max_values);
        return JSON_TOO_MANY;
    }

    if (has_zero) {
        snprintf(message, message_nbytes, "a string in the JSON holds the character \\u0000");
        return JSON_MALFORMED;
    }

    const char *end = bytes;
    cJSON *parsed = cJSON_ParseWithLengthOpts(bytes, nbytes, &end, 0);
    size_t at = (size_t)(end - bytes);
    /* The end is checked here: cJSON would take a 0 byte for it. */
    while (parsed && at < nbytes && (bytes[at] == ' ' || (bytes[at] >= '\t' && bytes[at] <= '\r')))
        at++;
    if (!parsed || at < nbytes) {
        cJSON_Delete(parsed);
        snprintf(message, message_nbytes, "the JSON is malformed at byte %zu", at);
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
