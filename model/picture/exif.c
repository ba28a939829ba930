/* exif.c - see exif.h.  The format is TIFF's: a header, and at the place that it
 * states a directory of entries of 12 bytes: tag, type, count, value. */
#include "model/picture/exif.h"

#include <string.h>

enum { TAG_ORIENTATION = 0x112, TYPE_SHORT = 3, ENTRY_BYTES = 12 };

static size_t read_uint(const uint8_t *bytes, size_t n, int is_big_endian)
{
    size_t value = 0;
    for (size_t i = 0; i < n; i++)
        value = value << 8 | bytes[is_big_endian ? i : n - 1 - i];
    return value;
}

unsigned exif_orientation(const uint8_t *bytes, size_t nbytes)
{
    const int is_big = nbytes >= 8 && memcmp(bytes, "MM\0*", 4) == 0;
    if (!is_big && (nbytes < 8 || memcmp(bytes, "II*\0", 4) != 0))
        return 1;
    const size_t at = read_uint(bytes + 4, 4, is_big);
    if (at > nbytes || nbytes - at < 2)
        return 1;
    const size_t room = (nbytes - at - 2) / ENTRY_BYTES, stated = read_uint(bytes + at, 2, is_big);
    for (size_t i = 0; i < stated && i < room; i++) {
        const uint8_t *entry = bytes + at + 2 + i * ENTRY_BYTES;
        const size_t value = read_uint(entry + 8, 2, is_big);
        if (read_uint(entry, 2, is_big) == TAG_ORIENTATION)
            return read_uint(entry + 2, 2, is_big) == TYPE_SHORT && value >= 1 && value <= 8
                       ? (unsigned)value : 1;
    }
    return 1;
}
