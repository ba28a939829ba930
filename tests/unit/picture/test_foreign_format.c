/*
 * test_foreign_format.c - pictures that are no PNG are called by their names, and
 * nothing else is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "model/picture/foreign_format.h"

/* The beginning of a file. */
struct start {
    const char *bytes;
    size_t nbytes;
    const char *named; /* what the sentence must hold */
};
#define START(bytes, named) {bytes, sizeof bytes - 1, named}

static void test_names(void **state)
{
    static const struct start starts[] = {
        START("\xff\xd8\xff\xe0\0\20JFIF", "a JPEG"),
        START("GIF89a\1\0\1\0", "a GIF"),
        START("RIFF\1\2\3\4WEBPVP8 ", "a WebP"),
        START("\0\0\0\30ftypheic\0\0\0\0mif1heic", "a HEIC photo"),
        START("\0\0\0\34ftypmif1\0\0\0\0mif1heicmiaf", "a HEIC photo"),
        START("\0\0\0\34ftypmif1\0\0\0\0mif1avifmiaf", "an AVIF"),
        START("\0\0\0\34ftypavif\0\0\0\0avifmif1miaf", "an AVIF"),
        START("BM\66\0\0\0\0\0\0\0\66\0\0\0\50\0\0\0", "a BMP"),
        START("BM\66\0\0\0\0\0\0\0\212\0\0\0\174\0\0\0", "a BMP"),
        START("II*\0\10\0\0\0", "a TIFF"),
        START("MM\0*\0\0\0\10", "a TIFF"),
        START("\0\0\1\0\1\0\20\20", "an ICO icon"),
        START("%PDF-1.7\n", "a PDF"),
        START("<svg xmlns=\"http://www.w3.org/2000/svg\"/>", "an SVG drawing"),
        START("\xef\xbb\xbf \n<?xml version=\"1.0\"?>\n<!-- pen --><svg/>", "an SVG drawing"),
        START("\x89PNG\r\n\x1a\n\0\0\0\4CgBI\x50\0\x20\2", "CgBI"),
        /* Line ends to Unix's, to Windows', dropped; seven bits; two kinds of UTF-8. */
        START("\x89PNG\n\x1a\n\0\0\0\15IHDR", "taken for text"),
        START("\x89PNG\r\r\n\x1a\r\n\0\0\0\15IHDR", "taken for text"),
        START("\x89PNG\x1a\0\0\0\15IHDR", "taken for text"),
        START("\tPNG\r\n\x1a\n\0\0\0\15IHDR", "taken for text"),
        START("\xc2\x89PNG\r\n\x1a\n\0\0\0\15IHDR", "taken for text"),
        START("\xef\xbf\xbdPNG\r\n\x1a\n\0\0\0\15IHDR", "taken for text"),
    };
    (void)state;
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        const char *sentence =
            foreign_format((const uint8_t *)starts[i].bytes, starts[i].nbytes);
        if (!sentence || !strstr(sentence, starts[i].named))
            fail_msg("start %zu is not called %s: %s", i, starts[i].named,
                     sentence ? sentence : "nothing");
    }
}

static void test_what_has_no_name(void **state)
{
    static const struct start starts[] = {
        START("", ""), START("hello", ""), START("BM", ""), START("BMW is a maker of cars", ""),
        START("<html><body>404</body></html>", ""), START("{\"images\": []}", ""),
        START("\x89PNG\r\n\x1a\n\0\0\0\15IHDR", ""), START("\x89PNG\r\n", ""),
        START("\x89PNG", ""), START("RIFF\1\2\3\4WAVE", ""),
        START("\0\0\0\34ftypisom\0\0\0\0mp41", ""), START("PNG", ""), START("\0\0\0", ""),
    };
    (void)state;
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        assert_null(foreign_format((const uint8_t *)starts[i].bytes, starts[i].nbytes));
}

/* Cut short anywhere: no byte beyond the end is read (run under a sanitizer). */
static void test_cut_short(void **state)
{
    static const char whole[] = "\0\0\0\34ftypmif1\0\0\0\0mif1avifmiaf";
    (void)state;
    for (size_t n = 0; n < sizeof whole; n++) {
        uint8_t *copy = test_malloc(n + !n);
        memcpy(copy, whole, n);
        const char *sentence = foreign_format(copy, n);
        assert_true(!sentence == (n < 12));
        test_free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_what_has_no_name),
        cmocka_unit_test(test_cut_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
