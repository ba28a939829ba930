/* accept_header.c - see accept_header.h. */
#include "server/request/accept_header.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The q parameter of one list element [n], in thousandths; 1000 when absent. */
static int quality(const char *element, size_t n)
{
    for (size_t i = 0; i + 1 < n; i++) {
        if (element[i] != ';')
            continue;
        size_t at = i + 1;
        while (at < n && (element[at] == ' ' || element[at] == '\t'))
            at++;
        if (at + 2 >= n || (element[at] | 0x20) != 'q' || element[at + 1] != '=')
            continue;
        char number[8] = "";
        size_t digits = n - (at + 2) < sizeof number - 1 ? n - (at + 2) : sizeof number - 1;
        memcpy(number, element + at + 2, digits);
        double q = strtod(number, NULL);
        return q >= 1 ? 1000 : q > 0 ? (int)(q * 1000 + 0.5) : 0;
    }
    return 1000;
}

static int is_type(const char *element, size_t n, const char *type)
{
    size_t length = strlen(type);
    return n >= length && strncasecmp(element, type, length) == 0 &&
           (n == length || strchr("; \t", element[length]));
}

int accept_prefers_json(const char *accept)
{
    int json = 0, png = 0;
    while (accept && *accept) {
        accept += strspn(accept, ", \t");
        size_t n = strcspn(accept, ",");
        if (is_type(accept, n, "application/json"))
            json = quality(accept, n);
        else if (is_type(accept, n, "image/png"))
            png = quality(accept, n);
        accept += n;
    }
    return json > 0 && json >= png;
}
