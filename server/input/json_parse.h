/*
 * json_parse.h - JSON from a stranger: cJSON behind limits.
 *
 * cJSON makes a node of some 80 bytes for each value, so that 16 MiB of "1,1,"
 * would become a gigabyte.  The text is therefore counted before it is parsed.
 */
#ifndef CAPSNETD_JSON_IN_H
#define CAPSNETD_JSON_IN_H

#include <stddef.h>

#include <cjson/cJSON.h>

enum json_status {
    JSON_OK = 0,
    JSON_MALFORMED, /* not JSON (RFC 8259), nested too deep, more than one value, \u0000 in a
                       string, or an object with two members of one name */
    JSON_TOO_MANY,  /* more values than allowed */
};

/* Parses exactly one JSON value.
 *
 * *root       the value, on JSON_OK only; cJSON_Delete() it
 * bytes       [nbytes], need not end in 0
 * max_values  the most values (numbers, strings, members ...) accepted
 * message     [message_nbytes], one clause on failure */
__attribute__((warn_unused_result)) enum json_status
json_parse(cJSON **root, const char *bytes, size_t nbytes, size_t max_values, char *message,
           size_t message_nbytes);

/* A finite number that a float can hold: *value and 1, or 0. */
int json_get_float(float *value, const cJSON *item);

/* A whole number 0 .. limit - 1: *value and 1, or 0. */
int json_get_index(size_t *value, const cJSON *item, size_t limit);

#endif
