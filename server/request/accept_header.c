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

/* How precisely an element [n] names a type: 3 by its name, 2 with a star behind the slash,
 * 1 with two stars, 0 not at all. */
static int precision_of(const char *element, size_t n, const char *type)
{
    const size_t name = strcspn(element, "; \t,") < n ? strcspn(element, "; \t,") : n;
    const size_t group = strcspn(type, "/") + 1;
    if (name == strlen(type) && strncasecmp(element, type, name) == 0)
        return 3;
    if (name == group + 1 && strncasecmp(element, type, group) == 0 && element[group] == '*')
        return 2;
    return name == 3 && memcmp(element, "*/*", 3) == 0;
}

/* What the header says of one type. */
struct wish {
    int quality;   /* 0 to 1000; 0 for one that it does not name */
    int precision; /* of the element that says so: the most precise one does */
};

static void weigh(struct wish *wish, const char *element, size_t n, const char *type)
{
    const int precision = precision_of(element, n, type);
    if (precision && precision >= wish->precision)
        *wish = (struct wish){quality(element, n), precision};
}

struct wishes {
    struct wish json, png;
};

static struct wishes wishes_of(const char *accept)
{
    struct wishes wishes = {{0, 0}, {0, 0}};
    while (accept && *accept) {
        accept += strspn(accept, ", \t");
        size_t n = strcspn(accept, ",");
        weigh(&wishes.json, accept, n, "application/json");
        weigh(&wishes.png, accept, n, "image/png");
        accept += n;
    }
    return wishes;
}

int accept_prefers_json(const char *accept)
{
    const struct wishes w = wishes_of(accept);
    return w.json.quality > w.png.quality ||
           (w.json.quality == w.png.quality && w.json.quality > 0 && w.json.precision == 3);
}

int accept_prefers_png(const char *accept)
{
    const struct wishes w = wishes_of(accept);
    return w.png.quality > w.json.quality ||
           (w.png.quality == w.json.quality && w.png.quality > 0 && w.png.precision == 3 &&
            w.json.precision < 3);
}
