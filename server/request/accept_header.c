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

/* The qualities that the header gives the two; 0 for one that it does not name. */
struct qualities {
    int json, png;
};

static struct qualities qualities_of(const char *accept)
{
    struct qualities q = {0, 0};
    while (accept && *accept) {
        accept += strspn(accept, ", \t");
        size_t n = strcspn(accept, ",");
        if (is_type(accept, n, "application/json"))
            q.json = quality(accept, n);
        else if (is_type(accept, n, "image/png"))
            q.png = quality(accept, n);
        accept += n;
    }
    return q;
}

int accept_prefers_json(const char *accept)
{
    const struct qualities q = qualities_of(accept);
    return q.json > 0 && q.json >= q.png;
}

int accept_prefers_png(const char *accept)
{
    const struct qualities q = qualities_of(accept);
    return q.png > q.json;
}
