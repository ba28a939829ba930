/* foreign_format.c - see foreign_format.h. */
#include "model/picture/foreign_format.h"

#include <string.h>

static int has(const uint8_t *bytes, size_t nbytes, size_t at, const char *text, size_t n)
{
    return nbytes >= at + n && memcmp(bytes + at, text, n) == 0;
}

/* The brand of an ISO media file, one of the main and the compatible ones. */
static int has_brand(const uint8_t *bytes, size_t nbytes, const char *brand)
{
    if (!has(bytes, nbytes, 4, "ftyp", 4))
        return 0;
    const size_t box = (size_t)bytes[2] << 8 | bytes[3]; /* never longer than that */
    for (size_t at = 8; at < box && at + 4 <= nbytes; at += at == 8 ? 8 : 4)
        if (memcmp(bytes + at, brand, 4) == 0)
            return 1;
    return 0;
}

/* A BMP's second header is of one of a few sizes; "BM" alone may begin a text. */
static int is_bmp(const uint8_t *bytes, size_t nbytes)
{
    return has(bytes, nbytes, 0, "BM", 2) && has(bytes, nbytes, 15, "\0\0", 2) &&
           memchr("\14\50\64\70\100\154\174", bytes[14], 7);
}

/* Drawn in XML, perhaps behind a byte order mark, declarations and comments. */
static int is_svg(const uint8_t *bytes, size_t nbytes)
{
    const size_t end = nbytes < 1024 ? nbytes : 1024;
    size_t at = has(bytes, nbytes, 0, "\xef\xbb\xbf", 3) ? 3 : 0;
    while (at < end && strchr(" \t\r\n", bytes[at]) && bytes[at] != 0)
        at++;
    if (at == end || bytes[at] != '<')
        return 0;
    for (; at + 4 <= end; at++)
        if (memcmp(bytes + at, "<svg", 4) == 0)
            return 1;
    return 0;
}

/* Does it begin as a PNG does that was taken for text on its way?  Line ends are
 * changed or dropped, the eighth bit is lost, or the first byte became UTF-8. */
static int is_png_as_text(const uint8_t *bytes, size_t nbytes)
{
    const size_t n = nbytes < 8 ? nbytes : 8;
    if (has(bytes, nbytes, 0, "\x89PNG", 4))
        return memcmp(bytes, "\x89PNG\r\n\x1a\n", n) != 0;
    return has(bytes, nbytes, 0, "\tPNG", 4) || has(bytes, nbytes, 0, "\xc2\x89PNG", 5) ||
           has(bytes, nbytes, 0, "\xef\xbf\xbdPNG", 6);
}

const char *foreign_format(const uint8_t *bytes, size_t nbytes)
{
    if (is_png_as_text(bytes, nbytes))
        return "this PNG was damaged on its way, where it was taken for text: send it as binary "
               "(with curl: --data-binary)";
    if (has(bytes, nbytes, 12, "CgBI", 4) && has(bytes, nbytes, 0, "\x89PNG", 4))
        return "this PNG has Apple's own form (CgBI), which only iOS can read: send it as it was "
               "before it was put into an app";
    if (has(bytes, nbytes, 0, "\xff\xd8\xff", 3))
        return "this is a JPEG, and only PNG is accepted: save it as PNG";
    if (has(bytes, nbytes, 0, "GIF8", 4))
        return "this is a GIF, and only PNG is accepted: save it as PNG";
    if (has(bytes, nbytes, 0, "RIFF", 4) && has(bytes, nbytes, 8, "WEBP", 4))
        return "this is a WebP, and only PNG is accepted: save it as PNG";
    if (has_brand(bytes, nbytes, "avif") || has_brand(bytes, nbytes, "avis"))
        return "this is an AVIF, and only PNG is accepted: save it as PNG";
    if (has_brand(bytes, nbytes, "heic") || has_brand(bytes, nbytes, "heix") ||
        has_brand(bytes, nbytes, "hevc") || has_brand(bytes, nbytes, "mif1"))
        return "this is a HEIC photo, and only PNG is accepted: save it as PNG, or send a "
               "screenshot of it";
    if (is_bmp(bytes, nbytes))
        return "this is a BMP, and only PNG is accepted: save it as PNG";
    if (has(bytes, nbytes, 0, "II*\0", 4) || has(bytes, nbytes, 0, "MM\0*", 4))
        return "this is a TIFF, and only PNG is accepted: save it as PNG";
    if (has(bytes, nbytes, 0, "\0\0\1\0", 4))
        return "this is an ICO icon, and only PNG is accepted: save it as PNG";
    if (has(bytes, nbytes, 0, "%PDF-", 5))
        return "this is a PDF, and only PNG is accepted: save its page as PNG";
    if (is_svg(bytes, nbytes))
        return "this is an SVG drawing, and only PNG is accepted: export it as PNG";
    return NULL;
}
