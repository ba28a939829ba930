/*
 * fuzz_png.c - a picture all the way to a digit.
 *
 * The first byte chooses: bits 0 and 1 the normalize mode, bit 2 three
 * channels, bit 3 that the chunks' CRCs are put right first, without which
 * hardly a changed file would get past libpng's door.
 */
#include "tests/fuzz/fuzz.h"

#include <math.h>
#include <string.h>
#include <zlib.h>

#include "model/picture/png.h"
#include "server/normalize/normalize.h"

enum { MAX_SIDE = 64, SIDE = 28 };

static uint32_t big_endian(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void fix_crcs(uint8_t *png, size_t nbytes)
{
    for (size_t at = 8; nbytes - at >= 12 && at < nbytes;) {
        size_t n = big_endian(png + at);
        if (n > nbytes - at - 12)
            return;
        uint32_t crc = (uint32_t)crc32(0, png + at + 4, (unsigned)n + 4);
        for (unsigned i = 0; i < 4; i++)
            png[at + 8 + n + i] = (uint8_t)(crc >> (24 - 8 * i));
        at += 12 + n;
    }
}

static void take(const uint8_t *png, size_t nbytes, enum normalize_mode mode, size_t channels)
{
    static float digit[SIDE * SIDE * 3];
    const struct normalize_form form = normalize_whole(SIDE, SIDE, channels);
    struct image image;
    struct image_message message = {""};
    enum image_status status = png_decode(&image, png, nbytes, MAX_SIDE, channels, &message);
    if (status != IMAGE_OK) {
        MUST(status == IMAGE_INVALID || status == IMAGE_TOO_LARGE);
        fuzz_check_message(message.text);
        return;
    }
    MUST(image.width >= 1 && image.width <= MAX_SIDE);
    MUST(image.height >= 1 && image.height <= MAX_SIDE && image.channels == channels);
    memset(digit, 0xff, sizeof digit); /* NaN: each pixel must be written */
    status = normalize_image(digit, &form, &image, mode, &message);
    MUST(status == IMAGE_OK || (status == IMAGE_INVALID && mode == NORMALIZE_NONE));
    for (size_t i = 0; status == IMAGE_OK && i < SIDE * SIDE * channels; i++)
        MUST(digit[i] >= 0 && digit[i] <= 1);
    image_free(&image);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nbytes)
{
    static const enum normalize_mode MODES[] = {NORMALIZE_AUTO, NORMALIZE_FIT, NORMALIZE_NONE,
                                                NORMALIZE_FIT};
    if (nbytes < 1)
        return 0;
    const unsigned choice = *bytes++;
    uint8_t *png = malloc(nbytes--);
    MUST(png);
    memcpy(png, bytes, nbytes);
    if (choice & 8 && nbytes > 8)
        fix_crcs(png, nbytes);
    take(png, nbytes, MODES[choice & 3], choice & 4 ? 3 : 1);
    free(png);
    return 0;
}
