/* json_numbers.c - see json_numbers.h. */
#include "server/input/json_numbers.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RANK = 8 };

static int is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* ---- Finding ----------------------------------------------------------------- */

/* From an opening bracket to behind the matching one; 0 when a string or an
 * object comes first, or the end. */
static size_t array_end(const char *bytes, size_t nbytes, size_t at)
{
    size_t depth = 0;
    for (; at < nbytes; at++) {
        switch (bytes[at]) {
        case '[':
            depth++;
            break;
        case ']':
            if (--depth == 0)
                return at + 1;
            break;
        case '"':
        case '{':
        case '}':
            return 0;
        default:
            break;
        }
    }
    return 0;
}

/* Behind spaces and then, when it comes next, c; else where it was. */
static size_t pass(const char *bytes, size_t nbytes, size_t at, char c)
{
    size_t next = at;
    while (next < nbytes && is_space(bytes[next]))
        next++;
    return next < nbytes && bytes[next] == c ? next + 1 : at;
}

/* Behind the string that begins at `at`; nbytes when it does not end. */
static size_t string_end(const char *bytes, size_t nbytes, size_t at)
{
    for (at++; at < nbytes && bytes[at] != '"'; at++)
        at += bytes[at] == '\\';
    return at < nbytes ? at + 1 : nbytes;
}

/* A string has been read: at its level, the key of what comes next, or no key. */
static void see_string(struct numbers_scan *scan, const char *string, size_t n)
{
    static const char INPUTS[] = "\"inputs\"", DATA[] = "\"data\"";
    const int is_key = pass(scan->bytes, scan->nbytes, scan->at, ':') != scan->at;
    if (scan->depth == NUMBERS_ROOT)
        scan->is_inputs = is_key && n == sizeof INPUTS - 1 && memcmp(string, INPUTS, n) == 0;
    else if (scan->depth == NUMBERS_TENSOR)
        scan->is_data = is_key && n == sizeof DATA - 1 && memcmp(string, DATA, n) == 0;
}

/* Does the bracket that comes next open inputs[i].data? */
static int is_at_data(const struct numbers_scan *scan)
{
    return scan->depth == NUMBERS_TENSOR && scan->is_inputs && scan->is_data &&
           memcmp(scan->open + NUMBERS_ROOT, "{[{", NUMBERS_TENSOR) == 0;
}

size_t numbers_next(struct numbers_scan *scan, size_t *found)
{
    while (scan->at < scan->nbytes) {
        const size_t at = scan->at++;
        const char c = scan->bytes[at];
        size_t end;
        switch (c) {
        case '"':
            scan->at = string_end(scan->bytes, scan->nbytes, at);
            see_string(scan, scan->bytes + at, scan->at - at);
            break;
        case '[':
        case '{':
            end = c == '[' && is_at_data(scan) ? array_end(scan->bytes, scan->nbytes, at) : 0;
            scan->is_data &= scan->depth != NUMBERS_TENSOR;
            if (end) {
                scan->at = end;
                *found = at;
                return end - at;
            }
            if (++scan->depth <= NUMBERS_TENSOR)
                scan->open[scan->depth] = c;
            break;
        case ']':
        case '}':
            scan->depth -= scan->depth > 0;
            break;
        case ',':
            scan->is_inputs &= scan->depth != NUMBERS_ROOT;
            scan->is_data &= scan->depth != NUMBERS_TENSOR;
            break;
        default:
            break;
        }
    }
    return 0;
}

/* ---- Reading ------------------------------------------------------------------ */

/* Reads digits into *whole, which may overflow, and returns how many. */
static size_t read_digits(const char **at, uint64_t *whole)
{
    const char *start = *at;
    while (is_digit(**at))
        *whole = *whole * 10 + (uint64_t)(*(*at)++ - '0');
    return (size_t)(*at - start);
}

/* Reads a number as JSON writes it; behind it, or NULL when it is none.
 *
 * Up to 19 digits fit a uint64_t, and powers of ten up to 1e22 are exact, so
 * that the double quotient or product is within 2^-52 of the decimal: when its
 * neighbours 2^-50 away round to the same float, so does the decimal.  Anything
 * else is strtof()'s. */
static const char *read_number(float *value, const char *at)
{
    static const double POWERS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const char *start = at;
    uint64_t whole = 0, power = 0;
    at += *at == '-';
    const char *first = at;
    size_t digits = read_digits(&at, &whole), places = 0;
    if (digits == 0 || (digits > 1 && *first == '0'))
        return NULL;
    if (*at == '.') {
        at++;
        places = read_digits(&at, &whole);
        if (places == 0)
            return NULL;
    }
    long exponent = -(long)places;
    if (*at == 'e' || *at == 'E') {
        int is_negative = *++at == '-';
        at += is_negative || *at == '+';
        size_t n = read_digits(&at, &power);
        if (n == 0)
            return NULL;
        power = n > 4 ? 9999 : power;
        exponent += is_negative ? -(long)power : (long)power;
    }
    if (digits + places <= 19 && exponent >= -22 && exponent <= 0) {
        double magnitude = (double)whole / POWERS[-exponent];
        float rounded = (float)(magnitude * (1 - 0x1p-50));
        if (rounded == (float)(magnitude * (1 + 0x1p-50))) {
            *value = *start == '-' ? -rounded : rounded;
            return at;
        }
    }
    *value = strtof(start, NULL);
    return at;
}

static const char *skip_space(const char *at)
{
    while (is_space(*at))
        at++;
    return at;
}

enum numbers_status numbers_read(float *values, const size_t *dims, size_t rank, const char *text,
                                 size_t *n)
{
    size_t total = 1, depth = 0, counts[MAX_RANK + 1] = {0};
    for (size_t i = 0; i < rank; i++)
        total *= dims[i];
    int is_nested = *skip_space(text + 1) == '[';
    const size_t levels = is_nested ? rank : 1;
    *n = 0;
    for (;;) {
        text = skip_space(text);
        if (*text == '[') {
            if (depth == levels)
                return NUMBERS_SHAPE;
            counts[++depth] = 0;
            text++;
            continue;
        }
        if (*text == ']' || (*text != ',' && depth < levels) || *n == total)
            return NUMBERS_SHAPE;
        text = read_number(&values[*n], text);
        if (!text)
            return NUMBERS_MALFORMED;
        ++*n;
        counts[depth]++;
        /* Behind a value: a comma, or brackets that close, then a comma or the end. */
        while (*(text = skip_space(text)) != ',') {
            if (*text != ']')
                return NUMBERS_MALFORMED;
            if (counts[depth] != (is_nested ? dims[depth - 1] : total))
                return NUMBERS_SHAPE;
            if (--depth == 0)
                return NUMBERS_OK;
            counts[depth]++;
            text++;
        }
        text++;
    }
}
