/*
 * test_png.c - PNGs of every kind that the format has, built here with libpng
 * and decoded to pixels worked out independently; and files that are damaged,
 * cut short or lie about their size.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <png.h>
#include <zlib.h>

#include "model/picture/png.h"

enum { SIDE = 4096 };

/* ---- Random numbers: xorshift, seeded by SEED ---------------------------------- */

static uint32_t random_state;

static void seed_random(void)
{
    const char *seed = getenv("SEED");
    random_state = seed ? (uint32_t)strtoul(seed, NULL, 10) : 20171105;
    printf("SEED=%u\n", random_state);
    random_state = random_state ? random_state : 1;
}

static uint32_t random_below(uint32_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % n;
}

/* ---- Building PNGs ----------------------------------------------------------------- */

/* What to write.  samples: [height][width][channels of the colour type], each
 * below 2^depth. */
struct source {
    int colour, depth, interlace;
    size_t width, height;
    const uint16_t *samples;
    png_color *palette;
    int n_palette;
    uint8_t *trans; /* alpha of the first palette entries */
    int n_trans;
    png_color_16 *key; /* the transparent gray or colour */
    double gamma;      /* written as gAMA when not 0 */
    size_t text_bytes; /* length of a tEXt chunk, when not 0 */
};

struct file {
    uint8_t *bytes;
    size_t nbytes;
};

static void on_error(png_structp png, png_const_charp text)
{
    (void)png;
    fail_msg("libpng while writing: %s", text);
}

static void on_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static void on_write(png_structp png, png_bytep bytes, size_t nbytes)
{
    struct file *file = png_get_io_ptr(png);
    file->bytes = realloc(file->bytes, file->nbytes + nbytes);
    assert_non_null(file->bytes);
    memcpy(file->bytes + file->nbytes, bytes, nbytes);
    file->nbytes += nbytes;
}

static size_t samples_of(int colour)
{
    return colour == PNG_COLOR_TYPE_RGB          ? 3
           : colour == PNG_COLOR_TYPE_RGB_ALPHA  ? 4
           : colour == PNG_COLOR_TYPE_GRAY_ALPHA ? 2
                                                 : 1;
}

/* Packs n samples of one row as the format wants them, big-endian. */
static void pack_row(uint8_t *row, const uint16_t *samples, size_t n, int depth)
{
    memset(row, 0, n * 2);
    for (size_t i = 0; i < n; i++) {
        const size_t bit = i * (size_t)depth;
        if (depth == 16) {
            row[2 * i] = (uint8_t)(samples[i] >> 8);
            row[2 * i + 1] = (uint8_t)samples[i];
        } else {
            const unsigned shift = (unsigned)(8 - depth) - (unsigned)(bit % 8);
            row[bit / 8] = (uint8_t)(row[bit / 8] | samples[i] << shift);
        }
    }
}

static void write_ancillary(png_structp png, png_infop info, const struct source *source)
{
    if (source->palette)
        png_set_PLTE(png, info, source->palette, source->n_palette);
    if (source->n_trans > 0)
        png_set_tRNS(png, info, source->trans, source->n_trans, NULL);
    if (source->key)
        png_set_tRNS(png, info, NULL, 0, source->key);
    if (source->gamma > 0)
        png_set_gAMA(png, info, source->gamma);
    if (source->text_bytes > 0) {
        char *text = malloc(source->text_bytes + 1);
        assert_non_null(text);
        memset(text, 'x', source->text_bytes);
        text[source->text_bytes] = '\0';
        char key[] = "Comment";
        png_text entry = {.compression = PNG_TEXT_COMPRESSION_NONE, .key = key, .text = text};
        png_set_text(png, info, &entry, 1);
        free(text);
    }
}

static struct file build(const struct source *source)
{
    const size_t per_row = source->width * samples_of(source->colour);
    struct file file = {0};
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, on_error, on_warning);
    png_infop info = png_create_info_struct(png);
    uint8_t *rows = malloc(source->height * per_row * 2);
    uint8_t **pointers = malloc(source->height * sizeof *pointers);

    assert_true(info && rows && pointers);
    png_set_write_fn(png, &file, on_write, NULL);
    png_set_benign_errors(png, 1);
    png_set_check_for_invalid_index(png, 0);
    png_set_compression_buffer_size(png, 64); /* several IDAT chunks */
    png_set_IHDR(png, info, (png_uint_32)source->width, (png_uint_32)source->height, source->depth,
                 source->colour, source->interlace, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    write_ancillary(png, info, source);
    for (size_t y = 0; y < source->height; y++) {
        pointers[y] = rows + y * per_row * 2;
        pack_row(pointers[y], source->samples + y * per_row, per_row, source->depth);
    }
    png_write_info(png, info);
    png_write_image(png, pointers);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    free(pointers);
    free(rows);
    return file;
}

/* A small gray picture to be damaged: 9 x 7, all values different. */
static struct file build_small(int interlace, size_t text_bytes)
{
    uint16_t samples[7 * 9];
    for (size_t i = 0; i < 7 * 9; i++)
        samples[i] = (uint16_t)(i * 37 % 256);
    return build(&(struct source){.colour = PNG_COLOR_TYPE_GRAY, .depth = 8, .width = 9,
                                  .interlace = interlace, .height = 7, .samples = samples,
                                  .text_bytes = text_bytes});
}

/* Where the n-th chunk of that type starts (its length field). */
static size_t find_chunk(const struct file *file, const char *type)
{
    for (size_t at = 8; at + 12 <= file->nbytes;) {
        const uint8_t *b = file->bytes + at;
        if (memcmp(b + 4, type, 4) == 0)
            return at;
        at += 12 + ((size_t)b[0] << 24 | (size_t)b[1] << 16 | (size_t)b[2] << 8 | b[3]);
    }
    fail_msg("no %s", type);
    return 0;
}

static void put_u32(uint8_t *to, size_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* Makes every chunk's CRC right again, so that damage reaches what is behind
 * that check. */
static void repair_crcs(struct file *file)
{
    for (size_t at = 8; at + 12 <= file->nbytes;) {
        uint8_t *b = file->bytes + at;
        const size_t length = (size_t)b[0] << 24 | (size_t)b[1] << 16 | (size_t)b[2] << 8 | b[3];
        if (length > file->nbytes - at - 12)
            return;
        put_u32(b + 8 + length, crc32(0, b + 4, (uInt)length + 4));
        at += 12 + length;
    }
}

/* ---- What they must decode to ------------------------------------------------------ */

/* One pixel as 8-bit red, green, blue and alpha. */
static void expected_rgba(double rgba[4], const struct source *source, size_t at)
{
    const uint16_t *s = source->samples + at * samples_of(source->colour);
    const double scale = 255.0 / ((1 << source->depth) - 1);
    const int coloured = source->colour & PNG_COLOR_MASK_COLOR;

    rgba[3] = 255;
    if (source->colour == PNG_COLOR_TYPE_PALETTE) {
        rgba[0] = source->palette[*s].red;
        rgba[1] = source->palette[*s].green;
        rgba[2] = source->palette[*s].blue;
        if (*s < source->n_trans)
            rgba[3] = source->trans[*s];
        return;
    }
    for (int c = 0; c < 3; c++)
        rgba[c] = round(s[coloured ? c : 0] * scale);
    if (source->colour & PNG_COLOR_MASK_ALPHA)
        rgba[3] = round(s[coloured ? 3 : 1] * scale);
    if (source->key && coloured)
        rgba[3] = s[0] == source->key->red && s[1] == source->key->green && s[2] == source->key->blue
                      ? 0 : 255;
    else if (source->key)
        rgba[3] = *s == source->key->gray ? 0 : 255;
}

static double expected_luma(const double *rgba)
{
    return 0.299 * rgba[0] + 0.587 * rgba[1] + 0.114 * rgba[2];
}

static void check_decoded(const struct source *source, const struct file *file, size_t channels)
{
    const size_t count = source->width * source->height;
    double light = 0, opaque = 0, rgba[4];
    struct image_message message = {"?"};
    struct image image;

    if (png_decode(&image, file->bytes, file->nbytes, SIDE, channels, &message) != IMAGE_OK)
        fail_msg("colour type %d depth %d interlace %d %zux%zu: %s", source->colour, source->depth,
                 source->interlace, source->width, source->height, message.text);
    assert_int_equal(image.width, source->width);
    assert_int_equal(image.height, source->height);
    assert_int_equal(image.channels, channels);
    for (size_t i = 0; i < count; i++) {
        expected_rgba(rgba, source, i);
        light += round(expected_luma(rgba)) * rgba[3];
        opaque += rgba[3];
    }
    const double background = light < 128 * opaque ? 255 : 0;
    for (size_t i = 0; i < count; i++) {
        expected_rgba(rgba, source, i);
        for (size_t c = 0; c < channels; c++) {
            const double value = channels == 1 ? expected_luma(rgba) : rgba[c];
            const double wanted = (value * rgba[3] + background * (255 - rgba[3])) / 255;
            /* Rounded twice (luma, then compositing): within 1. */
            if (fabs(image.pixels[i * channels + c] - wanted) > 1.01)
                fail_msg("colour type %d depth %d interlace %d %zux%zu pixel %zu: %d, not %g",
                         source->colour, source->depth, source->interlace, source->width,
                         source->height, i, image.pixels[i * channels + c], wanted);
            if (rgba[3] >= 255 && channels == 3)
                assert_int_equal(image.pixels[i * 3 + c], (int)rgba[c]);
        }
    }
    image_free(&image);
}

/* ---- Tests: good files -------------------------------------------------------------- */

static void check_kind(int colour, int depth, int interlace, size_t width, size_t height, int trans)
{
    png_color palette[256];
    uint8_t alphas[256];
    uint16_t *samples = malloc(width * height * 4 * sizeof *samples);
    png_color_16 key;
    struct source source = {.colour = colour, .depth = depth, .interlace = interlace,
                            .width = width, .height = height, .samples = samples};

    assert_non_null(samples);
    for (size_t i = 0; i < width * height * samples_of(colour); i++)
        samples[i] = (uint16_t)random_below(1u << depth);
    for (int i = 0; i < 256; i++) {
        palette[i] = (png_color){(uint8_t)random_below(256), (uint8_t)random_below(256),
                                 (uint8_t)random_below(256)};
        alphas[i] = (uint8_t)random_below(256);
    }
    if (colour == PNG_COLOR_TYPE_PALETTE) {
        source.palette = palette;
        source.n_palette = 1 << depth;
        source.trans = alphas;
        source.n_trans = trans ? (1 << depth) - 1 : 0;
    } else if (trans) {
        key = (png_color_16){.gray = samples[0], .red = samples[0]};
        if (colour == PNG_COLOR_TYPE_RGB) {
            key.green = samples[1];
            key.blue = samples[2];
        }
        source.key = &key;
    }
    struct file file = build(&source);
    check_decoded(&source, &file, 1);
    check_decoded(&source, &file, 3);
    free(file.bytes);
    free(samples);
}

static void test_every_kind(void **state)
{
    static const struct { int colour, depth; } kinds[] = {
        {0, 1}, {0, 2}, {0, 4}, {0, 8}, {0, 16}, {2, 8}, {2, 16}, {3, 1},
        {3, 2}, {3, 4}, {3, 8}, {4, 8}, {4, 16}, {6, 8}, {6, 16}};
    /* Widths and heights up to 5 leave passes of Adam7 empty. */
    static const size_t sizes[][2] = {{1, 1}, {2, 1}, {1, 3}, {3, 2},  {4, 5},
                                      {5, 4}, {8, 8}, {9, 17}, {33, 31}};
    (void)state;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
            for (int interlace = 0; interlace < 2; interlace++)
                for (int trans = 0; trans < (kinds[k].colour < 4 ? 2 : 1); trans++)
                    check_kind(kinds[k].colour, kinds[k].depth, interlace, sizes[s][0],
                               sizes[s][1], trans);
}

static void test_depth_16_is_scaled(void **state)
{
    /* Rounded to the nearest, not cut: 0x80ff is 128.5 of 257ths. */
    uint16_t samples[] = {0, 0xffff, 0x0080, 0x0081, 0x80ff, 0x7fff, 0xff7e, 0xff80};
    struct source source = {.colour = 0, .depth = 16, .width = 8, .height = 1, .samples = samples};
    struct file file = build(&source);
    struct image_message message;
    struct image image;

    (void)state;
    assert_int_equal(png_decode(&image, file.bytes, file.nbytes, SIDE, 1, &message), IMAGE_OK);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(image.pixels[i], (int)floor(samples[i] / 257.0 + 0.5));
    image_free(&image);
    free(file.bytes);
}

/* Decodes gray+alpha pixels. */
static struct image decode_gray_alpha(uint16_t *samples, size_t width)
{
    struct source source = {.colour = PNG_COLOR_TYPE_GRAY_ALPHA, .depth = 8, .width = width,
                            .height = 1, .samples = samples};
    struct file file = build(&source);
    struct image_message message;
    struct image image = {0};
    assert_int_equal(png_decode(&image, file.bytes, file.nbytes, SIDE, 1, &message), IMAGE_OK);
    free(file.bytes);
    return image;
}

static void test_compositing(void **state)
{
    (void)state;
    struct image image = decode_gray_alpha((uint16_t[]){0, 255, 77, 0, 0, 128}, 3);
    assert_int_equal(image.pixels[0], 0); /* dark ink: on white */
    assert_int_equal(image.pixels[1], 255);
    assert_int_equal(image.pixels[2], 127);
    image_free(&image);

    image = decode_gray_alpha((uint16_t[]){255, 255, 77, 0, 255, 128}, 3);
    assert_int_equal(image.pixels[0], 255); /* light ink: on black */
    assert_int_equal(image.pixels[1], 0);
    assert_int_equal(image.pixels[2], 128);
    image_free(&image);

    /* Nothing is opaque: one colour, whatever lies hidden below. */
    image = decode_gray_alpha((uint16_t[]){10, 0, 200, 0, 90, 0}, 3);
    assert_int_equal(image.pixels[0], image.pixels[1]);
    assert_int_equal(image.pixels[1], image.pixels[2]);
    image_free(&image);
}

static void test_ancillary_chunks_are_skipped(void **state)
{
    uint16_t samples[] = {128, 64};
    struct source source = {.colour = 0, .depth = 8, .width = 2, .height = 1, .samples = samples,
                            .gamma = 1.0, .text_bytes = 3 << 20};
    struct file file = build(&source);
    struct image_message message;
    struct image image;

    (void)state;
    assert_int_equal(png_decode(&image, file.bytes, file.nbytes, SIDE, 1, &message), IMAGE_OK);
    assert_int_equal(image.pixels[0], 128);
    assert_int_equal(image.pixels[1], 64);
    image_free(&image);
    free(file.bytes);
}

static void test_palette_index_out_of_range(void **state)
{
    /* The specification calls it an error; every browser shows black. */
    uint16_t samples[] = {0, 1, 2, 200};
    png_color palette[] = {{250, 250, 250}, {90, 90, 90}};
    struct source source = {.colour = PNG_COLOR_TYPE_PALETTE, .depth = 8, .width = 4, .height = 1,
                            .samples = samples, .palette = palette, .n_palette = 2};
    struct file file = build(&source);
    struct image_message message;
    struct image image;

    (void)state;
    assert_int_equal(png_decode(&image, file.bytes, file.nbytes, SIDE, 1, &message), IMAGE_OK);
    assert_memory_equal(image.pixels, ((uint8_t[]){250, 90, 0, 0}), 4);
    image_free(&image);
    free(file.bytes);
}

static void test_largest_picture(void **state)
{
    /* Two megabytes of zeros unpacked from a few kilobytes. */
    uint16_t *samples = calloc((size_t)SIDE * SIDE, sizeof *samples);
    struct source source = {.colour = 0, .depth = 1, .width = SIDE, .height = SIDE,
                            .samples = samples};
    struct image_message message;
    struct image image;

    (void)state;
    assert_non_null(samples);
    samples[(size_t)SIDE * SIDE - 1] = 1;
    struct file file = build(&source);
    free(samples);
    assert_true(file.nbytes < 20000);
    assert_int_equal(png_decode(&image, file.bytes, file.nbytes, SIDE, 1, &message), IMAGE_OK);
    assert_int_equal(image.pixels[0], 0);
    assert_int_equal(image.pixels[(size_t)SIDE * SIDE - 1], 255);
    image_free(&image);
    free(file.bytes);
}

/* ---- Tests: bad files ------------------------------------------------------------------ */

static void expect_refusal(const uint8_t *bytes, size_t nbytes, size_t max_side,
                           enum image_status wanted, const char *sentence)
{
    struct image image = {.pixels = NULL};
    struct image_message message = {""};
    /* A copy of exactly that size, so that a sanitizer sees a read past it. */
    uint8_t *copy = malloc(nbytes + !nbytes);

    assert_non_null(copy);
    memcpy(copy, bytes, nbytes);
    const enum image_status status = png_decode(&image, copy, nbytes, max_side, 1, &message);
    free(copy);
    if (status != wanted || !strstr(message.text, sentence))
        fail_msg("status %d, not %d: \"%s\" does not say \"%s\"", status, wanted, message.text,
                 sentence);
    assert_null(image.pixels); /* written only on success */
}

static void test_not_a_png(void **state)
{
    (void)state;
    const uint8_t nothing = 0;
    expect_refusal(&nothing, 0, SIDE, IMAGE_INVALID, "the image is empty");
    expect_refusal((const uint8_t *)"\xff\xd8\xff\xe0..JFIF", 10, SIDE, IMAGE_INVALID, "a JPEG");
    expect_refusal((const uint8_t *)"GIF89a......", 12, SIDE, IMAGE_INVALID, "a GIF");
    expect_refusal((const uint8_t *)"RIFF....WEBPVP8 ", 16, SIDE, IMAGE_INVALID, "a WebP");
    expect_refusal((const uint8_t *)"RIFF", 4, SIDE, IMAGE_INVALID, "not a PNG");
    expect_refusal((const uint8_t *)"hello", 5, SIDE, IMAGE_INVALID, "not a PNG");
}

static void test_truncated_anywhere(void **state)
{
    (void)state;
    for (int interlace = 0; interlace < 2; interlace++) {
        struct file file = build_small(interlace, 20);
        const size_t first = find_chunk(&file, "IDAT"), last = find_chunk(&file, "IEND");
        const size_t text = find_chunk(&file, "tEXt");
        for (size_t n = 0; n < file.nbytes; n++) {
            const char *sentence = "the PNG ends";
            if (n < 8)
                sentence = n == 0 ? "the image is empty" : "not a PNG";
            else if (n < 33)
                sentence = "the PNG ends in the middle of its IHDR";
            else if (n >= text + 8 && n < text + 12 + 20)
                sentence = "the PNG ends in the middle of its tEXt";
            else if (n >= first + 8 && n < first + 20)
                sentence = "the PNG ends in the middle of its IDAT";
            expect_refusal(file.bytes, n, SIDE, IMAGE_INVALID, sentence);
        }
        expect_refusal(file.bytes, last, SIDE, IMAGE_INVALID, "the PNG ends before its IEND");
        free(file.bytes);
    }
}

static void test_sizes(void **state)
{
    static const struct {
        size_t width, height, max_side;
        enum image_status status;
        const char *sentence;
    } cases[] = {
        {0, 7, SIDE, IMAGE_INVALID, "no pixels"},
        {9, 0, SIDE, IMAGE_INVALID, "no pixels"},
        {4097, 7, SIDE, IMAGE_TOO_LARGE,
         "the PNG is 4097 x 7 pixels, and at most 4096 x 4096 are accepted"},
        {9, 4097, SIDE, IMAGE_TOO_LARGE, "9 x 4097"},
        {0x7fffffff, 0x7fffffff, SIDE, IMAGE_TOO_LARGE, "2147483647 x 2147483647"},
        {0xffffffff, 0xffffffff, SIDE, IMAGE_TOO_LARGE, "4294967295"},
        {9, 7, 8, IMAGE_TOO_LARGE, "at most 8 x 8"},
        /* Were the limits that wide, the file still could not hold so much:
         * refused as such, and not for want of memory. */
        {0x7fffffff, 0x7fffffff, SIZE_MAX, IMAGE_INVALID, "too few to hold"},
        {0xffffffff, 0xffffffff, SIZE_MAX, IMAGE_INVALID, "too few to hold"},
        {4096, 4096, SIDE, IMAGE_INVALID, "too few to hold"},
        {9, 8, SIDE, IMAGE_INVALID, "damaged"},
    };
    (void)state;
    struct file file = build_small(0, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_u32(file.bytes + 16, cases[i].width);
        put_u32(file.bytes + 20, cases[i].height);
        repair_crcs(&file);
        expect_refusal(file.bytes, file.nbytes, cases[i].max_side, cases[i].status,
                       cases[i].sentence);
    }
    file.bytes[11] = 12; /* the length of IHDR */
    expect_refusal(file.bytes, file.nbytes, SIDE, IMAGE_INVALID, "IHDR of 13 bytes");
    free(file.bytes);
}

/* A picture of two palette colours, one of them transparent. */
static struct file build_palette(void)
{
    static uint16_t samples[] = {0, 1, 1};
    static png_color palette[] = {{250, 250, 250}, {90, 90, 90}};
    static uint8_t alphas[] = {0};
    return build(&(struct source){.colour = PNG_COLOR_TYPE_PALETTE, .depth = 8, .width = 3,
                                  .height = 1, .samples = samples, .palette = palette,
                                  .n_palette = 2, .trans = alphas, .n_trans = 1, .gamma = 0.45,
                                  .text_bytes = 20});
}

/* What the picture depends on must have its right checksum. */
static void test_checksums(void **state)
{
    static const char *const chunks[] = {"IHDR", "PLTE", "tRNS", "IDAT", "IEND"};
    (void)state;
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        struct file file = build_palette();
        const size_t at = find_chunk(&file, chunks[i]);
        const size_t length = file.bytes[at + 3]; /* all are short */
        file.bytes[at + 8 + length] ^= 1;
        expect_refusal(file.bytes, file.nbytes, SIDE, IMAGE_INVALID, "CRC error");
        free(file.bytes);
    }
}

/* What it does not depend on is passed over, as viewers do. */
static void test_checksums_that_do_not_matter(void **state)
{
    static const char *const chunks[] = {"gAMA", "tEXt"};
    struct image_message message;
    struct image image;
    (void)state;
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        struct file file = build_palette();
        const size_t at = find_chunk(&file, chunks[i]);
        file.bytes[at + 8 + file.bytes[at + 3]] ^= 1;
        if (png_decode(&image, file.bytes, file.nbytes, SIDE, 1, &message) != IMAGE_OK)
            fail_msg("%s: %s", chunks[i], message.text);
        assert_memory_equal(image.pixels, ((uint8_t[]){255, 90, 90}), 3);
        image_free(&image);
        free(file.bytes);
    }
}

/* ---- Tests: orientation ------------------------------------------------------------------ */

/* Puts a chunk of that type before the file's first one of another. */
static void insert_chunk(struct file *file, const char *before, const char *type,
                         const uint8_t *data, size_t nbytes)
{
    const size_t at = find_chunk(file, before);
    file->bytes = realloc(file->bytes, file->nbytes + 12 + nbytes);
    assert_non_null(file->bytes);
    uint8_t *to = file->bytes + at;
    memmove(to + 12 + nbytes, to, file->nbytes - at);
    put_u32(to, nbytes);
    memcpy(to + 4, type, 4);
    memcpy(to + 8, data, nbytes);
    file->nbytes += 12 + nbytes;
    repair_crcs(file);
}

/* The stored picture is 0 1 2 / 3 4 5; eXIf says how it is seen. */
static void check_orientation(const uint8_t *exif, size_t nbytes, const char *before,
                              const char *seen, size_t channels)
{
    uint16_t samples[] = {'0', '1', '2', '3', '4', '5'};
    struct source source = {.colour = PNG_COLOR_TYPE_GRAY, .depth = 8, .width = 3, .height = 2,
                            .samples = samples};
    struct file file = build(&source);
    struct image_message message;
    struct image image;
    insert_chunk(&file, before, "eXIf", exif, nbytes);
    assert_int_equal(png_decode(&image, file.bytes, file.nbytes, SIDE, channels, &message),
                     IMAGE_OK);
    assert_int_equal(image.width, strchr(seen, ' ') - seen);
    assert_int_equal(image.width * image.height, 6);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(image.pixels[i * channels], seen[i + i / image.width]);
    image_free(&image);
    free(file.bytes);
}

static void test_orientation(void **state)
{
    static const char *const seen[] = {"012 345", "210 543", "543 210", "345 012",
                                       "03 14 25", "30 41 52", "52 41 30", "25 14 03"};
    (void)state;
    for (uint8_t i = 0; i < 8; i++) {
        const uint8_t big[] = {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1,
                               0, (uint8_t)(i + 1), 0, 0, 0, 0, 0, 0};
        const uint8_t little[] = {'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0,
                                  (uint8_t)(i + 1), 0, 0, 0, 0, 0, 0, 0};
        check_orientation(big, sizeof big, "IDAT", seen[i], 1);
        check_orientation(big, sizeof big, "IDAT", seen[i], 3);
        check_orientation(little, sizeof little, "IEND", seen[i], 1); /* behind the picture */
    }
}

/* Damaged or strange Exif data leave the picture as it is stored. */
static void test_orientation_that_is_none(void **state)
{
    static const uint8_t good[] = {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3,
                                   0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0};
    static const struct { size_t at; uint8_t value; } damages[] = {
        {1, 'I'}, {3, 43}, {4, 0xff}, {7, 25}, {9, 0}, {11, 0x13}, {13, 4}, {18, 1}, {19, 0},
        {19, 9}};
    (void)state;
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        uint8_t exif[sizeof good];
        memcpy(exif, good, sizeof good);
        exif[damages[i].at] = damages[i].value;
        check_orientation(exif, sizeof exif, "IDAT", "012 345", 1);
    }
    for (size_t n = 4; n < 22; n++)
        check_orientation(good, n, "IDAT", "012 345", 1);
}

/* ---- Tests: more bad files --------------------------------------------------------------- */

static void test_trailing_garbage(void **state)
{
    struct file file = build_small(0, 0);
    struct image_message message;
    struct image image;

    (void)state;
    file.bytes = realloc(file.bytes, file.nbytes + 100);
    assert_non_null(file.bytes);
    memset(file.bytes + file.nbytes, 0xa5, 100);
    assert_int_equal(png_decode(&image, file.bytes, file.nbytes + 100, SIDE, 1, &message), IMAGE_OK);
    assert_int_equal(image.pixels[1], 37);
    image_free(&image);
    free(file.bytes);
}

/* Flips bits at random, with and without repairing the CRCs: either an image
 * of the stated size or a message, never a crash (run under a sanitizer). */
static void test_flipped_bits(void **state)
{
    size_t decoded = 0, refused = 0;
    (void)state;
    for (int round_ = 0; round_ < 20000; round_++) {
        struct file file = build_small(round_ & 1, round_ & 2 ? 20 : 0);
        for (uint32_t flips = 1 + random_below(4); flips > 0; flips--)
            file.bytes[8 + random_below((uint32_t)file.nbytes - 8)] ^=
                (uint8_t)(1u << random_below(8));
        if (round_ & 4)
            repair_crcs(&file);
        struct image_message message = {""};
        struct image image = {0};
        const size_t channels = round_ & 8 ? 3 : 1;
        if (png_decode(&image, file.bytes, file.nbytes, 64, channels, &message) == IMAGE_OK) {
            assert_in_range(image.width, 1, 64);
            assert_in_range(image.height, 1, 64);
            assert_int_equal(image.channels, channels);
            decoded++;
        } else {
            assert_true(message.text[0] != '\0');
            assert_null(image.pixels);
            refused++;
        }
        image_free(&image);
        free(file.bytes);
    }
    printf("%zu decoded, %zu refused\n", decoded, refused);
    assert_true(decoded > 0 && refused > 0);
}

/* ---- Tests: encoding --------------------------------------------------------------------- */

static void test_encode(void **state)
{
    (void)state;
    for (size_t channels = 1; channels <= 3; channels += 2) {
        uint8_t pixels[19 * 23 * 3];
        for (size_t i = 0; i < sizeof pixels; i++)
            pixels[i] = (uint8_t)random_below(256);
        const struct image image = {19, 23, channels, pixels};
        struct image_message message;
        struct image back;
        uint8_t *png;
        size_t nbytes;
        assert_int_equal(png_encode(&png, &nbytes, &image), IMAGE_OK);
        assert_true(png_has_signature(png, nbytes));
        assert_int_equal(png_decode(&back, png, nbytes, SIDE, channels, &message), IMAGE_OK);
        assert_int_equal(back.width, 19);
        assert_int_equal(back.height, 23);
        assert_memory_equal(back.pixels, pixels, 19 * 23 * channels);
        image_free(&back);
        free(png);
    }
}

static void test_image_from_digit(void **state)
{
    const float digit[] = {0.0f, 1.0f, 0.5f, -3.0f, 7.0f, NAN};
    const uint8_t wanted[] = {0, 255, 128, 0, 255, 0};
    struct image image;

    (void)state;
    assert_int_equal(image_from_digit(&image, digit, 2, 3, 1, 4), IMAGE_OK);
    assert_int_equal(image.width, 12);
    assert_int_equal(image.height, 8);
    for (size_t y = 0; y < 8; y++)
        for (size_t x = 0; x < 12; x++)
            assert_int_equal(image.pixels[y * 12 + x], wanted[y / 4 * 3 + x / 4]);
    image_free(&image);

    assert_int_equal(image_from_digit(&image, digit, 1, 2, 3, 2), IMAGE_OK);
    assert_memory_equal(image.pixels, ((uint8_t[]){0, 255, 128, 0, 255, 128, 0, 255, 0, 0, 255, 0}),
                        12);
    assert_memory_equal(image.pixels, image.pixels + 12, 12);
    image_free(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind),
        cmocka_unit_test(test_depth_16_is_scaled),
        cmocka_unit_test(test_compositing),
        cmocka_unit_test(test_ancillary_chunks_are_skipped),
        cmocka_unit_test(test_palette_index_out_of_range),
        cmocka_unit_test(test_largest_picture),
        cmocka_unit_test(test_not_a_png),
        cmocka_unit_test(test_truncated_anywhere),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_checksums),
        cmocka_unit_test(test_checksums_that_do_not_matter),
        cmocka_unit_test(test_orientation),
        cmocka_unit_test(test_orientation_that_is_none),
        cmocka_unit_test(test_trailing_garbage),
        cmocka_unit_test(test_flipped_bits),
        cmocka_unit_test(test_encode),
        cmocka_unit_test(test_image_from_digit),
    };
    seed_random();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
