/* numbers.c - see numbers.h. */
#include "numbers.h"

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

size_t numbers_find(const char *bytes, size_t nbytes, size_t *at)
{
    static const char KEY[] = {'"', 'd', 'a', 't', 'a', '"'};
    size_t i = *at;
    while (i < nbytes) {
        size_t string = i;
        if (bytes[i++] != '"')
            continue;
        while (i < nbytes && bytes[i] != '"')
            i += bytes[i] == '\\' ? 2 : 1;
        if (i >= nbytes)
            return 0;
        i++;
        if (i - string != sizeof KEY || memcmp(bytes + string, KEY, sizeof KEY) != 0)
            continue;
        size_t colon = pass(bytes, nbytes, i, ':');
        size_t bracket = colon == i ? i : pass(bytes, nbytes, colon, '[');
        size_t end = bracket == i || bracket == colon ? 0 : array_end(bytes, nbytes, bracket - 1);
        if (end) {
            *at = bracket - 1;
            return end - *at;
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
