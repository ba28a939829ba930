/* text.c - see text.h. */
#include "server/basics/text.h"

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

char *text_add_space(struct text *text, size_t n)
{
    if (text->failed || n >= SIZE_MAX / 2 - text->n) {
        text->failed = 1;
        return NULL;
    }
    if (text->n + n + 1 > text->capacity) {
        size_t capacity = text->capacity ? text->capacity * 2 : 256;
        if (capacity < text->n + n + 1)
            capacity = text->n + n + 1;
        char *bytes = realloc(text->bytes, capacity);
        if (!bytes) {
            text->failed = 1;
            return NULL;
        }
        text->bytes = bytes;
        text->capacity = capacity;
    }
    char *space = text->bytes + text->n;
    text->n += n;
    text->bytes[text->n] = 0;
    return space;
}

void text_add_bytes(struct text *text, const void *bytes, size_t n)
{
    char *space = text_add_space(text, n);
    if (space && n)
        memcpy(space, bytes, n);
}

void text_add(struct text *text, const char *string)
{
    text_add_bytes(text, string, strlen(string));
}

void text_addf(struct text *text, const char *format, ...)
{
    char most[128]; /* of what is added is shorter */
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    const int n = vsnprintf(most, sizeof most, format, arguments);
    char *space = n < 0 ? NULL : text_add_space(text, (size_t)n);
    if (!space)
        text->failed = 1;
    else if ((size_t)n < sizeof most)
        memcpy(space, most, (size_t)n);
    else /* the terminating 0 lands on the one text_add_space() keeps */
        vsnprintf(space, (size_t)n + 1, format, again);
    va_end(again);
    va_end(arguments);
}

const char *quote_client(char quoted[48], const char *text)
{
    size_t n = 0;
    for (; text[n] && n < 40; n++)
        quoted[n] = text[n] >= ' ' && text[n] <= '~' && text[n] != '"' ? text[n] : '?';
    strcpy(quoted + n, text[n] ? "..." : "");
    return quoted;
}

void json_add_string(struct text *text, const char *string)
{
    if (!string) {
        text_add(text, "null");
        return;
    }
    cJSON *item = cJSON_CreateStringReference(string);
    char *printed = item ? cJSON_PrintUnformatted(item) : NULL;
    if (printed)
        text_add(text, printed);
    else
        text->failed = 1;
    cJSON_free(printed);
    cJSON_Delete(item);
}

/* Most values are in [0.0001, 1): there `digits` significant digits are a
 * whole number divided by a power of ten, which needs no printf.  Returns the
 * length, or 0 when that form does not certainly read back as value: the
 * double quotient is within 2^-53 of the decimal, so when its neighbours
 * 2^-50 away round to the same float, so does the decimal itself. */
static size_t write_fraction(char out[16], float value, int digits)
{
    static const double POWERS[] = {1e0, 1e1, 1e2, 1e3, 1e4,  1e5,  1e6,
                                    1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13};
    double magnitude = fabs((double)value);
    int places = digits;
    for (double edge = 0.1; magnitude < edge; edge /= 10)
        places++;
    double whole = nearbyint(magnitude * POWERS[places]);
    double back = whole / POWERS[places];
    if ((float)(back * (1 - 0x1p-50)) != (float)magnitude ||
        (float)(back * (1 + 0x1p-50)) != (float)magnitude || whole >= POWERS[places])
        return 0;

    uint64_t rest = (uint64_t)whole;
    while (rest % 10 == 0) {
        rest /= 10;
        places--;
    }
    size_t n = 0;
    if (value < 0)
        out[n++] = '-';
    out[n++] = '0';
    out[n++] = '.';
    for (int i = places - 1; i >= 0; i--, rest /= 10)
        out[n + (size_t)i] = (char)('0' + rest % 10);
    return n + (size_t)places;
}

void json_add_float(struct text *text, float value)
{
    char out[32];
    if (!isfinite(value)) {
        text_add(text, "null");
        return;
    }
    float magnitude = fabsf(value);
    if (magnitude >= 0.0001f && magnitude < 1) {
        for (int digits = 6; digits <= 9; digits++) {
            size_t n = write_fraction(out, value, digits);
            if (n) {
                text_add_bytes(text, out, n);
                return;
            }
        }
    }
    for (int digits = 6; digits <= 9; digits++) { /* 9 always suffice for a float */
        snprintf(out, sizeof out, "%.*g", digits, (double)value);
        if (strtof(out, NULL) == value)
            break;
    }
    text_add(text, out);
}

void json_add_floats(struct text *text, const float *values, size_t n)
{
    text_add(text, "[");
    for (size_t i = 0; i < n; i++) {
        if (i)
            text_add(text, ",");
        json_add_float(text, values[i]);
    }
    text_add(text, "]");
}

void json_add_rows(struct text *text, const float *values, size_t rows, size_t columns)
{
    text_add(text, "[");
    for (size_t i = 0; i < rows; i++) {
        if (i)
            text_add(text, ",");
        json_add_floats(text, values + i * columns, columns);
    }
    text_add(text, "]");
}

char *text_take(struct text *text, size_t *n)
{
    if (text->failed || !text_add_space(text, 0)) {
        text_free(text);
        return NULL;
    }
    char *bytes = text->bytes;
    *n = text->n;
    *text = (struct text){0};
    return bytes;
}

void text_free(struct text *text)
{
    free(text->bytes);
    *text = (struct text){0};
}
