/*
 * label.c - see label.h.
 */
#include "model/draw/label.h"

#include <stdio.h>
#include <string.h>

/* Not one of the later bytes of a character. */
static int is_first(char c)
{
    return ((unsigned char)c & 0xc0) != 0x80;
}

size_t label_length(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += (size_t)is_first(*text);
    return n;
}

size_t label_nbytes(const char *text, size_t characters)
{
    size_t i = 0, n = 0;
    for (; text[i]; i++) {
        n += (size_t)is_first(text[i]);
        if (n > characters)
            break;
    }
    return i;
}

const char *label_of_class(char text[64], const struct capsnet_model *model, size_t class_index,
                           size_t most)
{
    const char *label = capsnet_model_label(model, class_index);
    if (label_length(label) == strlen(label))
        snprintf(text, 64, "%.*s", (int)(most < 63 ? most : 63), label);
    else
        snprintf(text, 64, "#%zu", class_index);
    return text;
}
