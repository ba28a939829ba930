/*
 * test_compressed.c - bodies that come compressed (Content-Encoding): the same answers
 * as plain ones on every route that takes a body, the same limits, and what is damaged.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "tests/http/fixtures.h"
#include "tests/http/harness.h"

enum { MAX_BODY = 20000 };

static struct server *server;

static int start(void **state)
{
    (void)state;
    server = server_start(ARGS("--max-body-bytes", "20000"), NO_ARGS);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    server_stop(server);
    return 0;
}

/* What is around the deflated data: zlib's windowBits. */
enum { GZIP = 31, ZLIB = 15, RAW = -15 };

static struct bytes pack(const void *bytes, size_t nbytes, int window_bits)
{
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)bytes, .avail_in = (uInt)nbytes};
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY),
                     Z_OK);
    size_t size = deflateBound(&stream, nbytes);
    struct bytes packed = {malloc(size), 0};
    assert_non_null(packed.data);
    stream.next_out = packed.data;
    stream.avail_out = (uInt)size;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    packed.nbytes = size - stream.avail_out;
    deflateEnd(&stream);
    return packed;
}

static const char *const FORMS[] = {"Content-Encoding: gzip", "Content-Encoding: X-GZip",
                                    "Content-Encoding: deflate", "Content-Encoding: deflate"};
static const int WINDOWS[] = {GZIP, GZIP, ZLIB, RAW};
enum { N_FORMS = sizeof WINDOWS / sizeof *WINDOWS };

/* Plain and in every coding, at once and in chunks, the answer is byte for byte the same. */
static void assert_all_forms(const char *path, const void *body, size_t nbytes, const char *header,
                             const char *accept)
{
    struct request request = {.path = path, .body = body, .nbytes = nbytes,
                              .headers = {header, accept}};
    struct reply *plain = http_send(server, &request);
    if (plain->status != 200)
        fail_msg("%s: %ld: %.300s", path, plain->status, (const char *)plain->body);
    for (size_t form = 0; form < 2 * N_FORMS; form++) {
        struct bytes packed = pack(body, nbytes, WINDOWS[form % N_FORMS]);
        request.body = packed.data;
        request.nbytes = packed.nbytes;
        request.chunked = form >= N_FORMS;
        request.headers[2] = FORMS[form % N_FORMS];
        struct reply *reply = http_send(server, &request);
        if (reply->status != 200)
            fail_msg("%s, %s: %ld: %.300s", path, request.headers[2], reply->status,
                     (const char *)reply->body);
        assert_int_equal(reply->nbytes, plain->nbytes);
        assert_memory_equal(reply->body, plain->body, plain->nbytes);
        reply_free(reply);
        free(packed.data);
    }
    reply_free(plain);
}

static void every_route_takes_compressed_bodies(void **state)
{
    (void)state;
    static const char JSON[] = "Content-Type: application/json", ACCEPT[] = "Accept: */*";
    static const char OIP[] =
        "{\"inputs\":[{\"name\":\"image\",\"datatype\":\"UINT8\",\"shape\":[1,28,28],"
        "\"parameters\":{\"binary_data_size\":784}}],\"parameters\":{\"binary_data_output\":true}}";
    struct bytes png = draw_png(4);
    char *images = images_json(&png, 1), header[60], pose[300];
    uint8_t oip[sizeof OIP - 1 + 28 * 28];
    assert_all_forms("/classify", png.data, png.nbytes, "Content-Type: image/png", ACCEPT);
    assert_all_forms("/classify", images, strlen(images), JSON, ACCEPT);
    assert_all_forms("/pose", images, strlen(images), JSON, ACCEPT);
    assert_all_forms("/reconstruct", png.data, png.nbytes, "Content-Type: image/png", ACCEPT);
    strcpy(pose, "{\"class\": 1, \"pose\": [0");
    for (int i = 1; i < TEST_POSE_DIMS; i++)
        strcat(pose, ", 0.1");
    strcat(pose, "]}");
    assert_all_forms("/reconstruct", pose, strlen(pose), JSON, "Accept: application/json");
    memcpy(oip, OIP, sizeof OIP - 1);
    draw_pixels(oip + sizeof OIP - 1, 4);
    snprintf(header, sizeof header, "Inference-Header-Content-Length: %zu", sizeof OIP - 1);
    assert_all_forms("/v2/models/capsnet-test/infer", oip, sizeof oip, header, ACCEPT);
    assert_all_forms("/v2/models/capsnet-test/versions/1/infer", oip, sizeof oip, header, ACCEPT);
    free(images), free(png.data);
}

static struct request classify(const struct bytes *body, const char *coding)
{
    return (struct request){.path = "/classify", .body = body->data, .nbytes = body->nbytes,
                            .headers = {"Content-Type: application/json", coding}};
}

/* JSON of one image, padded with spaces to the limit, and to one more. */
static void the_limit_is_that_of_the_inflated_body(void **state)
{
    (void)state;
    struct bytes png = draw_png(4);
    char *images = images_json(&png, 1), *padded = malloc(MAX_BODY + 2);
    assert_non_null(padded);
    memset(padded, ' ', MAX_BODY + 2);
    memcpy(padded, images, strlen(images));
    for (size_t form = 0; form < N_FORMS; form++)
        for (size_t more = 0; more < 2; more++) {
            struct bytes packed = pack(padded, MAX_BODY + more, WINDOWS[form]);
            struct request request = classify(&packed, FORMS[form]);
            struct reply *reply = http_send(server, &request);
            if (more)
                assert_error(reply, 413, "too_large", "inflates to more than 20000 bytes");
            else
                assert_int_equal(reply->status, 200);
            reply_free(reply);
            free(packed.data);
        }
    free(padded), free(images), free(png.data);
}

static void bombs_are_refused(void **state)
{
    (void)state;
    const size_t nbytes = 16 << 20; /* of zeros: a thousandth of that when packed */
    uint8_t *zeros = calloc(nbytes, 1);
    assert_non_null(zeros);
    for (size_t form = 0; form < N_FORMS; form++) {
        struct bytes bomb = pack(zeros, nbytes, WINDOWS[form]);
        assert_in_range(bomb.nbytes, 1, MAX_BODY);
        struct request request = classify(&bomb, FORMS[form]);
        expect_refused(server, &request, 413, "too_large", "inflates to more than 20000 bytes");
        free(bomb.data);
    }
    /* Packed it is too large already. */
    struct bytes large = {zeros, MAX_BODY + 1};
    struct request request = classify(&large, FORMS[0]);
    expect_refused(server, &request, 413, "too_large", "more than 20000");
    free(zeros);
}

/* Two gzip members, one behind the other, are one body. */
static void members_are_joined(void **state)
{
    (void)state;
    struct bytes png = draw_png(4);
    char *images = images_json(&png, 1);
    struct bytes head = pack(images, 10, GZIP), tail = pack(images + 10, strlen(images) - 10, GZIP);
    struct bytes both = {malloc(head.nbytes + tail.nbytes), head.nbytes + tail.nbytes};
    assert_non_null(both.data);
    memcpy(both.data, head.data, head.nbytes);
    memcpy(both.data + head.nbytes, tail.data, tail.nbytes);
    struct request request = classify(&both, FORMS[0]);
    struct reply *reply = http_send(server, &request);
    assert_int_equal(reply->status, 200);
    reply_free(reply);
    free(png.data), free(images), free(head.data), free(tail.data), free(both.data);
}

static void damaged_bodies_are_refused(void **state)
{
    (void)state;
    static const char CODE[] = "invalid_parameter";
    struct bytes png = draw_png(4);
    char *images = images_json(&png, 1);
    for (size_t form = 0; form < N_FORMS; form++) {
        struct bytes packed = pack(images, strlen(images), WINDOWS[form]);
        struct bytes longer = {malloc(packed.nbytes + 1), packed.nbytes + 1};
        assert_non_null(longer.data);
        memcpy(longer.data, packed.data, packed.nbytes);
        longer.data[packed.nbytes] = 'x';
        struct request request = classify(&longer, FORMS[form]);
        /* A gzip member may follow, so that one byte is one that ends too early. */
        expect_refused(server, &request, 400, CODE, WINDOWS[form] == GZIP ? "ends too early"
                                                                          : "follows it");
        request.nbytes = packed.nbytes - 1;
        expect_refused(server, &request, 400, CODE, "ends too early");
        request.nbytes = 1;
        expect_refused(server, &request, 400, CODE, NULL);
        if (WINDOWS[form] != RAW) { /* which has no checksum */
            longer.data[packed.nbytes - (WINDOWS[form] == GZIP ? 5 : 1)] ^= 1;
            request.nbytes = packed.nbytes;
            expect_refused(server, &request, 400, CODE, "damaged");
        }
        request.body = images;
        request.nbytes = strlen(images);
        expect_refused(server, &request, 400, CODE, "not ");
        free(packed.data), free(longer.data);
    }
    static const char *const OTHERS[] = {"Content-Encoding: br", "Content-Encoding: gzip, gzip",
                                         "Content-Encoding: zstd"};
    struct bytes body = {(uint8_t *)images, strlen(images)};
    for (size_t i = 0; i < sizeof OTHERS / sizeof *OTHERS; i++) {
        struct request request = classify(&body, OTHERS[i]);
        expect_refused(server, &request, 415, "unsupported_media_type", "only gzip and deflate");
    }
    /* Nothing, compressed or not, is no image. */
    struct bytes nothing = pack("", 0, GZIP);
    struct request request = classify(&nothing, FORMS[0]);
    expect_refused(server, &request, 400, "no_image", NULL);
    free(nothing.data), free(images), free(png.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_takes_compressed_bodies),
        cmocka_unit_test(the_limit_is_that_of_the_inflated_body),
        cmocka_unit_test(bombs_are_refused),
        cmocka_unit_test(members_are_joined),
        cmocka_unit_test(damaged_bodies_are_refused),
    };
    int failed = cmocka_run_group_tests_name("compressed", tests, start, stop);
    server_kill_leftovers(NULL);
    return failed;
}
