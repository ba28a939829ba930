/*
 * label.c - see label.h.
 */
#include "model/train/draw/label.h"

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
