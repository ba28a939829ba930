/*
 * png.c - PNG bytes to pixels and back, through libpng's low-level API.
 *
 * Everything that libpng calls and everything that changes while it runs
 * lives in one struct outside the function that calls setjmp, so that no
 * local variable is in doubt after an error jumps back into it.
 *
 * gAMA and all other ancillary chunks but tRNS and eXIf are skipped: the network
 * has learned raw pixel values, and what files state about gamma is more often a
 * default of the program that wrote them than a wish of the person who drew.  Nor
 * does a wrong checksum matter in what is skipped: viewers show such files.
 */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include "model/picture/exif.h"
#include "model/picture/foreign_format.h"
#include "model/picture/luma.h"
#include "model/picture/png.h"

enum {
    SIGNATURE_BYTES = 8,
    IHDR_TYPE = 12, IHDR_WIDTH = 16, IHDR_HEIGHT = 20, /* where they are */
    IHDR_END = 33,        /* signature, length, type, 13 bytes, CRC */
    DEFLATE_RATIO = 1032, /* deflate cannot shrink by more: 258 bytes in 2 bits */
    /* Drawing programs put whole documents into text chunks and cameras big
     * colour profiles.  They are skipped, never held in memory. */
    CHUNK_BYTES = 16 << 20,
};

struct decoder {
    png_structp png;
    png_infop info;
    const uint8_t *bytes;
    size_t nbytes, position;
    size_t width, height;
    size_t channels;        /* of the result: 1 or 3; 0 until the file has told */
    size_t source_channels; /* of libpng's rows: 1 gray, 2 with alpha, 3 RGB, 4 with alpha */
    uint8_t *pixels;        /* [height][width][channels] */
    uint8_t *alpha;         /* [height][width], NULL when the picture has none */
    uint8_t *row;           /* [width][source_channels] */
    unsigned orientation;   /* as exif.h has it */
    enum { AT_START, AT_ROWS, AT_END } stage;
    enum image_status status;
    struct image_message *message;
};

int png_has_signature(const uint8_t *bytes, size_t nbytes)
{
    static const uint8_t signature[SIGNATURE_BYTES] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    return nbytes >= SIGNATURE_BYTES && memcmp(bytes, signature, SIGNATURE_BYTES) == 0;
}

static uint32_t big_endian(const uint8_t at[4])
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

int png_is_small(const uint8_t *bytes, size_t nbytes, size_t max_pixels)
{
    return nbytes >= IHDR_END && png_has_signature(bytes, nbytes) &&
           memcmp(bytes + IHDR_TYPE, "IHDR", 4) == 0 &&
           (uint64_t)big_endian(bytes + IHDR_WIDTH) * big_endian(bytes + IHDR_HEIGHT) <= max_pixels;
}

/* ---- What libpng calls ------------------------------------------------------ */

static void on_error(png_structp png, png_const_charp text)
{
    struct decoder *decoder = png_get_error_ptr(png);
    if (decoder->status == IMAGE_OK) {
        decoder->status = IMAGE_INVALID;
        snprintf(decoder->message->text, sizeof decoder->message->text, "the PNG is damaged (%s)",
                 text);
    }
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

/* Transparency is part of the picture, though libpng calls its chunk ancillary. */
static void on_read_warning(png_structp png, png_const_charp text)
{
    if (strstr(text, "tRNS") && strstr(text, "CRC error"))
        png_error(png, text);
}

static void no_memory(struct decoder *decoder)
{
    decoder->status = IMAGE_MEMORY;
    snprintf(decoder->message->text, sizeof decoder->message->text,
             "there is no memory to decode the PNG");
}

/* A chunk that states more than CHUNK_BYTES is a warning to libpng, which asks for the room
 * all the same; refused, it skips the chunk. */
static png_voidp on_malloc(png_structp png, png_alloc_size_t nbytes)
{
    struct decoder *decoder = png_get_mem_ptr(png);
    if (nbytes > CHUNK_BYTES)
        return NULL;
    void *memory = malloc(nbytes);
    if (!memory)
        no_memory(decoder);
    return memory;
}

static void on_free(png_structp png, png_voidp memory)
{
    (void)png;
    free(memory);
}

/* The file is shorter than its chunks say: tells where. */
static void ends_early(struct decoder *decoder)
{
    char *text = decoder->message->text;
    const size_t size = sizeof decoder->message->text;
    const png_uint_32 type = png_get_io_chunk_type(decoder->png);

    decoder->status = IMAGE_INVALID;
    if ((png_get_io_state(decoder->png) & PNG_IO_MASK_LOC) != PNG_IO_CHUNK_HDR)
        snprintf(text, size, "the PNG ends in the middle of its %c%c%c%c", (char)(type >> 24 & 127),
                 (char)(type >> 16 & 127), (char)(type >> 8 & 127), (char)(type & 127));
    else if (decoder->stage == AT_ROWS)
        snprintf(text, size, "the PNG ends in the middle of its IDAT");
    else
        snprintf(text, size, "the PNG ends before its %s",
                 decoder->stage == AT_START ? "IDAT" : "IEND");
    png_error(decoder->png, "truncated");
}

static void on_read(png_structp png, png_bytep out, size_t nbytes)
{
    struct decoder *decoder = png_get_io_ptr(png);
    if (nbytes > decoder->nbytes - decoder->position)
        ends_early(decoder);
    memcpy(out, decoder->bytes + decoder->position, nbytes);
    decoder->position += nbytes;
}

/* ---- Decoding ----------------------------------------------------------------- */

static size_t read_u32(const uint8_t *bytes)
{
    return (size_t)bytes[0] << 24 | (size_t)bytes[1] << 16 | (size_t)bytes[2] << 8 | bytes[3];
}

/* Checks the signature and the size that IHDR states, before anything is
 * allocated.  The rest of IHDR is libpng's to check. */
static enum image_status check_header(const struct decoder *decoder, size_t max_side)
{
    static const size_t samples[8] = {1, 0, 3, 1, 2, 0, 4, 0}; /* by colour type */
    const uint8_t *bytes = decoder->bytes;
    const size_t nbytes = decoder->nbytes;
    char *text = decoder->message->text;
    const size_t size = sizeof decoder->message->text;

    if (nbytes == 0) {
        snprintf(text, size, "the image is empty");
        return IMAGE_INVALID;
    }
    const char *foreign = foreign_format(bytes, nbytes);
    if (foreign || !png_has_signature(bytes, nbytes)) {
        snprintf(text, size, "%s",
                 foreign ? foreign
                         : "this is not a PNG: it does not begin with the PNG signature");
        return IMAGE_INVALID;
    }
    if (nbytes < IHDR_END) {
        snprintf(text, size, "the PNG ends in the middle of its IHDR");
        return IMAGE_INVALID;
    }
    if (memcmp(bytes + 8, "\0\0\0\15IHDR", 8) != 0) {
        snprintf(text, size, "the PNG does not begin with an IHDR of 13 bytes");
        return IMAGE_INVALID;
    }
    const size_t width = read_u32(bytes + 16), height = read_u32(bytes + 20);
    if (width == 0 || height == 0) {
        snprintf(text, size, "the PNG has no pixels: its size is %zu x %zu", width, height);
        return IMAGE_INVALID;
    }
    if (width > max_side || height > max_side) {
        snprintf(text, size, "the PNG is %zu x %zu pixels, and at most %zu x %zu are accepted",
                 width, height, max_side, max_side);
        return IMAGE_TOO_LARGE;
    }
    /* width, height < 2^32, so that their product times 64 bits a pixel may
     * overflow: divide first. */
    const size_t bits = bytes[24] * samples[bytes[25] & 7];
    if (width * height / 8 / DEFLATE_RATIO * bits > nbytes) {
        snprintf(text, size, "the PNG has %zu bytes, too few to hold its %zu x %zu pixels", nbytes,
                 width, height);
        return IMAGE_INVALID;
    }
    return IMAGE_OK;
}

/* Stores n pixels of decoder->row in row y, at columns x, x + step, ... */
static void store_row(const struct decoder *decoder, size_t y, size_t x, size_t step, size_t n)
{
    const size_t source = decoder->source_channels;
    const uint8_t *from = decoder->row;

    for (size_t i = 0; i < n; i++, from += source) {
        const size_t at = y * decoder->width + x + i * step;
        uint8_t *to = decoder->pixels + at * decoder->channels;
        if (decoder->channels == 1)
            *to = source < 3 ? *from : luma_of(from);
        else
            for (size_t c = 0; c < 3; c++)
                to[c] = source < 3 ? *from : from[c];
        if (decoder->alpha)
            decoder->alpha[at] = from[source - 1];
    }
}

static void *allocate(struct decoder *decoder, size_t nbytes)
{
    void *memory = on_malloc(decoder->png, nbytes);
    if (!memory)
        png_error(decoder->png, "memory");
    return memory;
}

/* Reads everything up to the first IDAT and asks for rows of 8-bit gray or
 * RGB, with alpha when there is any. */
static void read_header(struct decoder *decoder, size_t max_side)
{
    png_structp png = decoder->png;
    const png_uint_32 side = max_side < PNG_UINT_31_MAX ? (png_uint_32)max_side : PNG_UINT_31_MAX;

    png_set_read_fn(png, decoder, on_read);
    png_set_user_limits(png, side, side);
    png_set_chunk_malloc_max(png, CHUNK_BYTES);
    png_set_chunk_cache_max(png, 1);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_AS_DEFAULT, (png_const_bytep) "eXIf", 1);
    png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_WARN_DISCARD);
    png_read_info(png, decoder->info);

    png_set_expand(png); /* palette to RGB, tRNS to alpha, 1, 2 and 4 bits to 8 */
    png_set_scale_16(png);
    png_read_update_info(png, decoder->info);

    decoder->width = png_get_image_width(png, decoder->info);
    decoder->height = png_get_image_height(png, decoder->info);
    decoder->source_channels = png_get_channels(png, decoder->info);
    if (decoder->channels == 0)
        decoder->channels = decoder->source_channels < 3 ? 1 : 3;
}

/* What eXIf says, wherever in the file it stood. */
static void read_orientation(struct decoder *decoder)
{
    png_bytep exif;
    png_uint_32 nbytes;
    if (png_get_eXIf_1(decoder->png, decoder->info, &nbytes, &exif) == PNG_INFO_eXIf)
        decoder->orientation = exif_orientation(exif, nbytes);
}

/* Reads the rows.  Interlaced pictures arrive in seven passes of narrow rows,
 * placed here: libpng's own handling would need the whole picture in its
 * widest form. */
static void read_rows(struct decoder *decoder)
{
    png_structp png = decoder->png;
    const int interlaced = png_get_interlace_type(png, decoder->info) == PNG_INTERLACE_ADAM7;
    const size_t count = decoder->width * decoder->height;

    decoder->row = allocate(decoder, png_get_rowbytes(png, decoder->info));
    decoder->pixels = allocate(decoder, count * decoder->channels);
    if (decoder->source_channels % 2 == 0)
        decoder->alpha = allocate(decoder, count);

    decoder->stage = AT_ROWS;
    for (unsigned pass = 0; pass < (interlaced ? PNG_INTERLACE_ADAM7_PASSES : 1); pass++) {
        const size_t x = interlaced ? PNG_PASS_START_COL(pass) : 0;
        const size_t y = interlaced ? PNG_PASS_START_ROW(pass) : 0;
        const size_t dx = interlaced ? (size_t)PNG_PASS_COL_OFFSET(pass) : 1;
        const size_t dy = interlaced ? (size_t)PNG_PASS_ROW_OFFSET(pass) : 1;
        if (x >= decoder->width || y >= decoder->height)
            continue; /* an empty pass is not in the file */
        const size_t n = (decoder->width - x + dx - 1) / dx;
        for (size_t at = y; at < decoder->height; at += dy) {
            png_read_row(png, decoder->row, NULL);
            store_row(decoder, at, x, dx, n);
        }
    }
    decoder->stage = AT_END;
    png_read_end(png, decoder->info);
    read_orientation(decoder);
}

/* The one function whose frame libpng's errors jump back into.  It has no
 * variable of its own that changes. */
static void run_libpng(struct decoder *decoder, size_t max_side)
{
    decoder->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, decoder, on_error, on_read_warning,
                                            decoder, on_malloc, on_free);
    if (decoder->png)
        decoder->info = png_create_info_struct(decoder->png);
    if (!decoder->info) {
        no_memory(decoder);
    } else if (setjmp(png_jmpbuf(decoder->png)) == 0) {
        read_header(decoder, max_side);
        read_rows(decoder);
    }
    png_destroy_read_struct(&decoder->png, &decoder->info, NULL);
}

/* Lays the picture on white when what is opaque of it is dark, on black when
 * it is light: whatever was drawn stays visible. */
static void composite(const struct decoder *decoder)
{
    const size_t count = decoder->width * decoder->height, channels = decoder->channels;
    uint64_t light = 0, opaque = 0;

    for (size_t i = 0; i < count; i++) {
        const uint8_t *pixel = decoder->pixels + i * channels;
        light += (uint64_t)decoder->alpha[i] * (channels == 1 ? *pixel : luma_of(pixel));
        opaque += decoder->alpha[i];
    }
    const unsigned background = light < opaque * 128 ? 255 : 0;
    for (size_t i = 0; i < count; i++) {
        const unsigned alpha = decoder->alpha[i];
        for (size_t c = 0; c < channels; c++) {
            uint8_t *value = decoder->pixels + i * channels + c;
            *value = (uint8_t)((*value * alpha + background * (255 - alpha) + 127) / 255);
        }
    }
}

enum image_status png_decode(struct image *image, const uint8_t *bytes, size_t nbytes,
                             size_t max_side, size_t channels, struct image_message *message)
{
    struct decoder decoder = {.bytes = bytes, .nbytes = nbytes, .channels = channels,
                              .orientation = 1, .message = message};
    struct image decoded;

    decoder.status = check_header(&decoder, max_side);
    if (decoder.status != IMAGE_OK)
        return decoder.status;
    run_libpng(&decoder, max_side);
    if (decoder.status == IMAGE_OK && decoder.alpha)
        composite(&decoder);
    free(decoder.alpha);
    free(decoder.row);
    decoded = (struct image){decoder.width, decoder.height, decoder.channels, decoder.pixels};
    if (decoder.status == IMAGE_OK) {
        decoder.status = image_orient(&decoded, decoder.orientation);
        if (decoder.status == IMAGE_MEMORY)
            no_memory(&decoder);
    }
    if (decoder.status == IMAGE_OK)
        *image = decoded;
    else
        image_free(&decoded);
    return decoder.status;
}

/* ---- Encoding ----------------------------------------------------------------- */

struct encoder {
    png_structp png;
    png_infop info;
    uint8_t *bytes;
    size_t nbytes, capacity;
};

static void on_encode_error(png_structp png, png_const_charp text)
{
    (void)text;
    png_longjmp(png, 1);
}

static void on_write(png_structp png, png_bytep bytes, size_t nbytes)
{
    struct encoder *encoder = png_get_io_ptr(png);
    if (nbytes > encoder->capacity - encoder->nbytes) {
        const size_t capacity = 2 * encoder->capacity + nbytes + 1024;
        uint8_t *grown = realloc(encoder->bytes, capacity);
        if (!grown)
            png_error(png, "memory");
        encoder->bytes = grown;
        encoder->capacity = capacity;
    }
    memcpy(encoder->bytes + encoder->nbytes, bytes, nbytes);
    encoder->nbytes += nbytes;
}

static void on_flush(png_structp png)
{
    (void)png;
}

static void write_image(struct encoder *encoder, const struct image *image)
{
    png_structp png = encoder->png;
    png_set_write_fn(png, encoder, on_write, on_flush);
    /* Pictures of digits are small and their enlarged rows repeat: level 1
     * without filters is within a few bytes of the best and far quicker. */
    png_set_compression_level(png, 1);
    png_set_filter(png, PNG_FILTER_TYPE_BASE, PNG_FILTER_NONE);
    png_set_IHDR(png, encoder->info, (png_uint_32)image->width, (png_uint_32)image->height, 8,
                 image->channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, encoder->info);
    for (size_t y = 0; y < image->height; y++)
        png_write_row(png, image->pixels + y * image->width * image->channels);
    png_write_end(png, NULL);
}

enum image_status png_encode(uint8_t **png, size_t *png_nbytes, const struct image *image)
{
    struct encoder encoder = {0};
    volatile enum image_status status = IMAGE_MEMORY;

    encoder.png =
        png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, on_encode_error, on_warning);
    if (encoder.png)
        encoder.info = png_create_info_struct(encoder.png);
    if (encoder.info && setjmp(png_jmpbuf(encoder.png)) == 0) {
        write_image(&encoder, image);
        status = IMAGE_OK;
    }
    png_destroy_write_struct(&encoder.png, &encoder.info);
    if (status == IMAGE_OK) {
        *png = encoder.bytes;
        *png_nbytes = encoder.nbytes;
    } else {
        free(encoder.bytes);
    }
    return status;
}
