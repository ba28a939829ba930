/* base64.c - see base64.h. */
#include "server/basics/base64.h"

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t base64_encoded_size(size_t nbytes)
{
    return (nbytes + 2) / 3 * 4 + 1;
}

void base64_encode(char *dst, const uint8_t *bytes, size_t nbytes)
{
    for (; nbytes > 0; dst += 4) {
        const size_t n = nbytes < 3 ? nbytes : 3;
        const uint32_t bits = (uint32_t)bytes[0] << 16 | (n > 1 ? (uint32_t)bytes[1] << 8 : 0) |
                              (n > 2 ? (uint32_t)bytes[2] : 0);
        dst[0] = alphabet[bits >> 18];
        dst[1] = alphabet[bits >> 12 & 63];
        dst[2] = n > 1 ? alphabet[bits >> 6 & 63] : '=';
        dst[3] = n > 2 ? alphabet[bits & 63] : '=';
        bytes += n;
        nbytes -= n;
    }
    *dst = '\0';
}

int base64_decode(uint8_t *dst, size_t *dst_nbytes, const char *text, size_t text_nbytes)
{
    enum { SPACE = 64, PAD, BAD };
    uint8_t kind[256];
    uint32_t bits = 0;
    size_t characters = 0, padding = 0, nbytes = 0;

    memset(kind, BAD, sizeof kind);
    for (size_t i = 0; i < 64; i++)
        kind[(uint8_t)alphabet[i]] = (uint8_t)i;
    kind['-'] = 62;
    kind['_'] = 63;
    kind[' '] = kind['\t'] = kind['\r'] = kind['\n'] = SPACE;
    kind['='] = PAD;

    for (size_t i = 0; i < text_nbytes; i++) {
        const uint8_t value = kind[(uint8_t)text[i]];
        if (value == SPACE)
            continue;
        if (value == BAD || (value != PAD && padding > 0))
            return -1;
        padding += value == PAD;
        bits = bits << 6 | (value == PAD ? 0u : value);
        if (++characters % 4 == 0) {
            dst[nbytes++] = (uint8_t)(bits >> 16);
            dst[nbytes++] = (uint8_t)(bits >> 8);
            dst[nbytes++] = (uint8_t)bits;
        }
    }
    /* All of the padding may be left out, but not a part of it. */
    if (characters % 4 != 0) {
        const size_t missing = 4 - characters % 4;
        if (missing == 3 || padding > 0)
            return -1;
        bits <<= 6 * missing;
        dst[nbytes++] = (uint8_t)(bits >> 16);
        dst[nbytes++] = (uint8_t)(bits >> 8);
        dst[nbytes++] = (uint8_t)bits;
        padding = missing;
    }
    /* What padding cuts off must be 0 (RFC 4648 section 3.5), else the text was
     * damaged.  It lies in the last group, which is there as padding is. */
    if (padding > 2)
        return -1;
    for (size_t i = 1; i <= padding; i++)
        if (dst[nbytes - i] != 0)
            return -1;
    *dst_nbytes = nbytes - padding;
    return 0;
}
