/*
 * test_refusals.c - what is no image, or not asked for properly: one test per
 * kind of fault, and after each the next good request works.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/http/fixtures.h"
#include "tests/http/harness.h"
#include "tests/http/one_server.h"

/* ---- Helpers ---------------------------------------------------------- */

static void refuse(const void *body, size_t nbytes, const char *type, long status,
                   const char *code, const char *fragment)
{
    expect_refused(server,
                   &(struct request){.path = "/classify",
                                     .body = body,
                                     .nbytes = nbytes,
                                     .headers = {type}},
                   status, code, fragment);
}

static void refuse_png(const struct bytes *png, const char *fragment)
{
    refuse(png->data, png->nbytes, "Content-Type: image/png", 400, "invalid_png", fragment);
}

static void refuse_json(const char *body, const char *code, const char *fragment)
{
    refuse(body, strlen(body), "Content-Type: application/json", 400, code, fragment);
}

#define TYPE_OF_PARTS "Content-Type: multipart/form-data; boundary=frontier"

static void refuse_multipart(const char *body, const char *type, const char *code)
{
    refuse(body, strlen(body), type, 400, code, NULL);
}

/* ---- Not an image ----------------------------------------------------- */

static void an_empty_body_is_no_image(void **state)
{
    (void)state;
    refuse("", 0, "Content-Type: image/png", 400, "no_image", NULL);
    refuse("", 0, "Content-Type: application/json", 400, "no_image", NULL);
    expect_refused(server, &(struct request){.method = "POST", .path = "/classify"}, 400,
                   "no_image", NULL);
    expect_refused(server,
                   &(struct request){.path = "/pose", .body = "", .nbytes = 0, .chunked = 1}, 400,
                   "no_image", NULL);
}

static void a_jpeg_is_unsupported(void **state)
{
    (void)state;
    static const char jpeg[] = "\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1";
    refuse(jpeg, sizeof jpeg, "Content-Type: image/jpeg", 415, "unsupported_media_type", "a JPEG");
    static const char gif[] = "GIF89a\1\0\1\0\0\0\0;";
    refuse(gif, sizeof gif, "Content-Type: image/gif", 415, "unsupported_media_type", "PNG");
    static const char bmp[] = "BM\66\0\0\0\0\0\0\0\66\0\0\0\50\0\0\0";
    refuse(bmp, sizeof bmp, "Content-Type: image/bmp", 415, "unsupported_media_type", "a BMP");
    refuse("image=7", 7, "Content-Type: application/x-www-form-urlencoded", 415,
           "unsupported_media_type", NULL);
    refuse("hello", 5, "Content-Type: text/plain", 415, "unsupported_media_type", NULL);
    refuse("hello", 5, "Content-Type:", 415, "unsupported_media_type", NULL);
    /* It says that it is a PNG, so it is a bad one. */
    refuse(jpeg, sizeof jpeg, "Content-Type: image/png", 400, "invalid_png", NULL);
}

static void a_truncated_png_is_refused(void **state)
{
    (void)state;
    struct bytes png = draw_png(1);
    for (size_t n = 8; n < png.nbytes; n += n < 60 ? 3 : png.nbytes / 9) {
        struct bytes cut = {png.data, n};
        refuse_png(&cut, NULL);
    }
    /* Without its IEND, or with its first half twice. */
    struct bytes cut = {png.data, png.nbytes - 12};
    refuse_png(&cut, NULL);
    free(png.data);
}

static void a_damaged_png_is_refused(void **state)
{
    (void)state;
    struct bytes png = draw_png(1);
    /* One bit of the compressed pixels: the CRC tells. */
    png.data[png.nbytes / 2] ^= 0x10;
    refuse_png(&png, NULL);
    free(png.data);

    png = draw_png(1);
    png.data[29] ^= 1; /* IHDR's CRC */
    refuse_png(&png, NULL);
    free(png.data);

    static const struct {
        size_t offset;
        uint8_t value;
    } headers[] = {{24, 3}, {24, 0}, {25, 1}, {25, 255}, {26, 1}, {27, 7}, {28, 2}};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        png = draw_png(1);
        png.data[headers[i].offset] = headers[i].value;
        png_fix_crc(&png, 8);
        refuse_png(&png, NULL);
        free(png.data);
    }
    refuse("\x89PNG\r\n\x1a\n", 8, "Content-Type: image/png", 400, "invalid_png", NULL);
}

static void a_bomb_is_refused_by_its_header(void **state)
{
    (void)state;
    static const uint32_t sides[][2] = {{4097, 1}, {1, 4097}, {60000, 60000}, {0x7fffffff, 0x7fffffff}};
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        struct bytes bomb = bomb_png(sides[i][0], sides[i][1]);
        refuse(bomb.data, bomb.nbytes, "Content-Type: image/png", 413, "too_large", "4096");
        free(bomb.data);
    }
    static const uint32_t wrong[][2] = {{0, 28}, {28, 0}, {0xffffffff, 28}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct bytes bomb = bomb_png(wrong[i][0], wrong[i][1]);
        struct reply *reply =
            http_send(server, &(struct request){
                                  .path = "/classify", .body = bomb.data, .nbytes = bomb.nbytes});
        assert_error(reply, reply->status == 413 ? 413 : 400,
                     reply->status == 413 ? "too_large" : "invalid_png", NULL);
        reply_free(reply);
        free(bomb.data);
    }
    /* A legal size whose data is missing. */
    struct bytes hollow = bomb_png(4096, 4096);
    refuse_png(&hollow, NULL);
    free(hollow.data);
    expect_well(server);
}

/* ---- JSON ------------------------------------------------------------- */

static void bad_json_is_refused(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{", "nonsense", "{\"images\": [}", "{\"images\": []} and more", "{\"images\": [\"\"",
        "[]", "null", "7", "\"images\"", "{}", "{\"image\": \"\"}", "{\"images\": 7}",
        "{\"images\": null}", "{\"images\": \"iVBORw0KGgo=\"}", "{\"images\": {}}", "\xff\xfe{",
        "{\"images\": [7]}", "{\"images\": [null]}", "{\"images\": [[]]}", " ", "\n\n",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        refuse_json(bodies[i], "invalid_json", NULL);
    refuse_json("{\"images\": 7}", "invalid_json", "images");
    refuse_json("{\"images\": []}", "no_image", NULL);
}

static void deeply_nested_json_is_refused(void **state)
{
    (void)state;
    enum { DEPTH = 200000 };
    char *body = malloc(DEPTH + 1);
    assert_non_null(body);
    memset(body, '[', DEPTH);
    body[DEPTH] = 0;
    refuse_json(body, "invalid_json", NULL);
    for (int i = 0; i + 5 <= DEPTH; i += 5) memcpy(body + i, "{\"a\":", 5);
    refuse_json(body, "invalid_json", NULL);
    free(body);
}

static void a_zero_byte_does_not_end_json(void **state)
{
    (void)state;
    struct bytes png = draw_png(0);
    char *json = images_json(&png, 1);
    size_t n = strlen(json);
    json = realloc(json, n + 4);
    assert_non_null(json);
    memcpy(json + n, "\0xx", 3);
    refuse(json, n + 3, "Content-Type: application/json", 400, "invalid_json", NULL);
    free(json);
    free(png.data);
}

static void wrong_base64_is_refused(void **state)
{
    (void)state;
    struct bytes png = draw_png(0);
    char *json = images_json(&png, 1);
    char *text = strchr(json, '[') + 6;
    *text = '*';
    refuse_json(json, "invalid_json", "images[0]");
    free(json);
    free(png.data);
    refuse_json("{\"images\": [\"a\"]}", "invalid_json", "images[0]");
    /* Good base64 of what is no PNG. */
    refuse_json("{\"images\": [\"aGVsbG8gd29ybGQ=\"]}", "invalid_png", "images[0]");
    refuse_json("{\"images\": [\"\"]}", "invalid_png", "images[0]");
}

static void one_bad_image_refuses_the_batch(void **state)
{
    (void)state;
    struct bytes pngs[5];
    for (unsigned i = 0; i < 5; i++) pngs[i] = draw_png(i);
    size_t whole = pngs[2].nbytes;
    pngs[2].nbytes = whole / 2;
    char *body = images_json(pngs, 5);
    refuse_json(body, "invalid_png", "images[2]");
    free(body);

    struct part parts[5];
    for (unsigned i = 0; i < 5; i++)
        parts[i] = (struct part){"image", "digit.png", pngs[i].data, pngs[i].nbytes};
    expect_refused(server, &(struct request){.path = "/classify", .parts = parts, .n_parts = 5},
                   400, "invalid_png", "images[2]");
    expect_refused(server, &(struct request){.path = "/pose", .parts = parts, .n_parts = 5}, 400,
                   "invalid_png", "images[2]");
    for (unsigned i = 0; i < 5; i++) free(pngs[i].data);

    struct bytes good = draw_png(0), bomb = bomb_png(5000, 5000);
    struct bytes mixed[2] = {good, bomb};
    body = images_json(mixed, 2);
    refuse(body, strlen(body), "Content-Type: application/json", 413, "too_large", "images[1]");
    free(body);
    free(good.data);
    free(bomb.data);
}

/* ---- Multipart -------------------------------------------------------- */

static void bad_multipart_is_refused(void **state)
{
    (void)state;
    refuse_multipart("x", "Content-Type: multipart/form-data", "invalid_multipart");
    refuse_multipart("x", "Content-Type: multipart/form-data; boundary=", "invalid_multipart");
    refuse_multipart("x", TYPE_OF_PARTS, "invalid_multipart");
    refuse_multipart("--other\r\n\r\nx\r\n--other--\r\n", TYPE_OF_PARTS, "invalid_multipart");
    refuse_multipart("--frontier\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx",
                     TYPE_OF_PARTS, "invalid_multipart");
    refuse_multipart("--frontier\r\nno header end", TYPE_OF_PARTS, "invalid_multipart");
    refuse_multipart("--frontier--\r\n", TYPE_OF_PARTS, "no_image");
    refuse_multipart("--frontier\r\nContent-Disposition: form-data; name=\"image\"; "
                     "filename=\"a.png\"\r\n\r\nhello\r\n--frontier--\r\n",
                     TYPE_OF_PARTS, "invalid_png");
    refuse_multipart("--frontier\r\nContent-Disposition: form-data; name=\"image\"; "
                     "filename=\"a.png\"\r\n\r\n\r\n--frontier--\r\n",
                     TYPE_OF_PARTS, "invalid_png");
}

static void a_boundary_within_an_image_is_harmless(void **state)
{
    (void)state;
    struct bytes png = draw_png(0);
    /* A part whose bytes hold "\r\n--" and a boundary's beginning: appended
     * behind IEND, where decoders stop reading. */
    static const char head[] =
        "preamble\r\n--frontier\r\nContent-Disposition: form-data; name=\"image\"; "
        "filename=\"a\\\"b.png\"\r\nContent-Type: image/png\r\n\r\n";
    static const char tail[] = "\r\n--frontie\r\n--\r\n\r\n--frontier--\r\nepilogue";
    size_t n = sizeof head - 1 + png.nbytes + sizeof tail - 1;
    uint8_t *body = malloc(n);
    assert_non_null(body);
    memcpy(body, head, sizeof head - 1);
    memcpy(body + sizeof head - 1, png.data, png.nbytes);
    memcpy(body + sizeof head - 1 + png.nbytes, tail, sizeof tail - 1);
    struct reply *reply = http_send(server, &(struct request){.path = "/classify",
                                                              .body = body,
                                                              .nbytes = n,
                                                              .headers = {TYPE_OF_PARTS}});
    if (reply->status != 200 && reply->status != 400) /* trailing bytes may be refused */
        fail_msg("%ld %s", reply->status, (const char *)reply->body);
    reply_free(reply);
    expect_well(server);
    free(body);
    free(png.data);
}

/* ---- Parameters ------------------------------------------------------- */

static void bad_parameters_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *path, *fragment;
    } cases[] = {
        {"/classify?poses=2", "poses"},       {"/classify?poses=", "poses"},
        {"/classify?poses", "poses"},         {"/classify?normalize=never", "normalize"},
        {"/classify?normalize=AUTO", "normalize"}, {"/classify?pose=1", "pose"},
        {"/classify?scale=2", "scale"},       {"/classify?=1", NULL},
        {"/pose?poses=1", "poses"},           {"/pose?class=1", "class"},
        {"/classify?poses=1&poses=0", "poses"}, {"/classify?x%00y=1", NULL},
        {"/classify?%ff%fe=1", NULL},         {"/classify?a%0d%0aSet-Cookie:%20b=1", NULL},
    };
    struct bytes png = draw_png(0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_refused(server,
                       &(struct request){
                           .path = cases[i].path, .body = png.data, .nbytes = png.nbytes},
                       400, "invalid_parameter", cases[i].fragment);
    free(png.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_body_is_no_image),
        cmocka_unit_test(a_jpeg_is_unsupported),
        cmocka_unit_test(a_truncated_png_is_refused),
        cmocka_unit_test(a_damaged_png_is_refused),
        cmocka_unit_test(a_bomb_is_refused_by_its_header),
        cmocka_unit_test(bad_json_is_refused),
        cmocka_unit_test(deeply_nested_json_is_refused),
        cmocka_unit_test(a_zero_byte_does_not_end_json),
        cmocka_unit_test(wrong_base64_is_refused),
        cmocka_unit_test(one_bad_image_refuses_the_batch),
        cmocka_unit_test(bad_multipart_is_refused),
        cmocka_unit_test(a_boundary_within_an_image_is_harmless),
        cmocka_unit_test(bad_parameters_are_refused),
    };
    int failed = cmocka_run_group_tests_name("refusals", tests, start, stop);
    server_kill_leftovers(NULL);
    return failed;
}
