/*
 * fuzz_split.c - any picture cut into candidates, and any reading of them chosen from.
 *
 * The first byte is the width, the second chooses: bit 0 three channels, bits 1 and 2 that
 * each pixel of the input is 1, 2, 4 or 8 wide and high.  The pixels follow, and are the
 * readings too.
 */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "server/split/split.h"

enum { SIDE = 28, MOST_SIDE = 128 };

static void check_candidates(const struct split *split, const struct image *image)
{
    MUST(split->n <= SPLIT_MOST_CANDIDATES && split->n_pieces <= SPLIT_MOST_PIECES);
    for (size_t i = 0; i < split->n; i++) {
        const struct split_candidate *candidate = &split->candidates[i];
        MUST(candidate->first < candidate->end && candidate->end <= split->n_pieces);
        MUST(i == 0 || candidate->end >= candidate[-1].end);
        MUST(candidate->box.x0 < candidate->box.x1 && candidate->box.x1 <= image->width);
        MUST(candidate->box.y0 < candidate->box.y1 && candidate->box.y1 <= image->height);
    }
    for (size_t i = 0; i < split->n * SIDE * SIDE; i++)
        MUST(split->digits[i] >= 0 && split->digits[i] <= 1);
}

static void check_choice(const struct split *split, const uint8_t *bytes, size_t nbytes)
{
    static struct split_reading readings[SPLIT_MOST_CANDIDATES];
    size_t chosen[SPLIT_MOST_PIECES];
    for (size_t i = 0; i < split->n; i++) {
        const float value = (float)bytes[i % nbytes] / 255;
        readings[i] = (struct split_reading){value, value / 2, 1 - value, value};
    }
    const size_t n = split_choose(chosen, split, readings);
    MUST(n <= split->n_pieces);
    for (size_t i = 0; i < n; i++) {
        MUST(chosen[i] < split->n);
        MUST(i == 0 ||
             split->candidates[chosen[i]].first >= split->candidates[chosen[i - 1]].end);
        MUST(i == 0 || split->candidates[chosen[i]].line >= split->candidates[chosen[i - 1]].line);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nbytes)
{
    if (nbytes < 3)
        return 0;
    const size_t channels = bytes[1] & 1 ? 3 : 1, times = (size_t)1 << (bytes[1] >> 1 & 3);
    const size_t across = 1 + bytes[0] % (MOST_SIDE / times);
    bytes += 2, nbytes -= 2;
    size_t down = (nbytes / channels + across - 1) / across;
    down = down < 1 ? 1 : down > MOST_SIDE / times ? MOST_SIDE / times : down;
    struct image image = {across * times, down * times, channels, NULL};
    image.pixels = malloc(image.width * image.height * channels);
    MUST(image.pixels);
    for (size_t i = 0; i < image.width * image.height * channels; i++) {
        const size_t x = i / channels % image.width / times, y = i / channels / image.width / times;
        image.pixels[i] = bytes[((y * across + x) * channels + i % channels) % nbytes];
    }
    struct image_message message = {""};
    struct split split;
    const struct normalize_form form = normalize_whole(SIDE, SIDE, 1);
    const enum image_status status = split_image(&split, &form, &image, &message);
    MUST(status == IMAGE_OK || status == IMAGE_TOO_LARGE);
    if (status == IMAGE_TOO_LARGE)
        fuzz_check_message(message.text);
    check_candidates(&split, &image);
    check_choice(&split, bytes, nbytes);
    split_free(&split);
    image_free(&image);
    return 0;
}
