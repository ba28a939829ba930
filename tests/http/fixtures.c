/*
 * fixtures.c - see fixtures.h.
 */
#include "tests/http/fixtures.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "model/weights_file/safetensors.h"
#include "model/picture/png.h"
#include "server/basics/base64.h"
#include "tests/http/harness.h"

/* ---- Weights ---------------------------------------------------------- */

/* splitmix64 (Steele, Lea, Flood 2014): small, and the same everywhere. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Uniform in (-scale, scale). */
static float next_weight(uint64_t *state, float scale)
{
    return ((float)(next_random(state) >> 40) / 8388608.0f - 1.0f) * scale;
}

/* The tensors of a network for 28x28x1 and ten classes.  A product of the
 * dims after the first is the fan-in; weights are scaled by its root so that
 * every layer keeps its input's size, digit.weight by more so that capsule
 * lengths differ. */
void make_named_weights(const char *path, const char *name, size_t conv1_channels,
                        const char *threshold)
{
    enum { PRIMARY = 16, CAPSULES = 2 * 36, CLASSES = TEST_CLASSES, DIMS = TEST_POSE_DIMS };
    struct safetensors_entry entries[] = {
        {"conv1.weight", SAFETENSORS_F32, 4, {conv1_channels, 1, 9, 9}, NULL},
        {"conv1.bias", SAFETENSORS_F32, 1, {conv1_channels}, NULL},
        {"primary.weight", SAFETENSORS_F32, 4, {PRIMARY, conv1_channels, 9, 9}, NULL},
        {"primary.bias", SAFETENSORS_F32, 1, {PRIMARY}, NULL},
        {"digit.weight", SAFETENSORS_F32, 4, {CAPSULES, CLASSES, DIMS, 8}, NULL},
        {"decoder.0.weight", SAFETENSORS_F32, 2, {32, CLASSES * DIMS}, NULL},
        {"decoder.0.bias", SAFETENSORS_F32, 1, {32}, NULL},
        {"decoder.2.weight", SAFETENSORS_F32, 2, {48, 32}, NULL},
        {"decoder.2.bias", SAFETENSORS_F32, 1, {48}, NULL},
        {"decoder.4.weight", SAFETENSORS_F32, 2, {784, 48}, NULL},
        {"decoder.4.bias", SAFETENSORS_F32, 1, {784}, NULL},
    };
    enum { N = sizeof entries / sizeof *entries };
    char channels[24];
    snprintf(channels, sizeof channels, "%zu", conv1_channels);
    struct safetensors_metadata metadata[] = {
        {"format", "capsnet-1"}, {"name", name},
        {"labels", "[\"0\",\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"nine\"]"},
        {"height", "28"}, {"width", "28"}, {"channels", "1"}, {"classes", "10"},
        {"conv1_kernel", "9"}, {"conv1_channels", channels}, {"primary_kernel", "9"},
        {"primary_stride", "2"}, {"primary_types", "2"}, {"primary_dims", "8"},
        {"pose_dims", "16"}, {"routing_iterations", "3"}, {"decoder_hidden", "32,48"},
        {"error_threshold", threshold},
    };
    uint64_t state = 1;
    float *data[N] = {NULL};
    for (size_t e = 0; e < N; e++) {
        size_t count = 1, fan_in = 1;
        for (size_t d = 0; d < entries[e].rank; d++) count *= entries[e].dims[d];
        for (size_t d = 1; d < entries[e].rank; d++) fan_in *= entries[e].dims[d];
        float scale = entries[e].rank == 1 ? 0.1f : 3.0f / sqrtf((float)fan_in);
        if (entries[e].dims[0] == CAPSULES) scale = 0.5f;
        data[e] = malloc(count * sizeof(float));
        assert_non_null(data[e]);
        for (size_t i = 0; i < count; i++) data[e][i] = next_weight(&state, scale);
        entries[e].data = data[e];
    }
    struct capsnet_error error = {""};
    size_t n_metadata = sizeof metadata / sizeof *metadata - (threshold ? 0 : 1);
    enum capsnet_status status = safetensors_write(path, entries, N, metadata, n_metadata, &error);
    for (size_t e = 0; e < N; e++) free(data[e]);
    if (status != CAPSNET_OK) fail_msg("no test weights: %s", error.text);
}

void make_weights(const char *path, size_t conv1_channels, const char *threshold)
{
    make_named_weights(path, "capsnet-test", conv1_channels, threshold);
}

const char *test_weights(void)
{
    static char path[300];
    if (!*path) {
        snprintf(path, sizeof path, "%s/test.safetensors", test_folder());
        make_weights(path, 16, "0.2");
    }
    return path;
}

/* ---- Files ------------------------------------------------------------ */

uint8_t *read_file(const char *path, size_t *nbytes)
{
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("cannot open %s", path);
    size_t room = 65536, n = 0;
    uint8_t *bytes = malloc(room);
    assert_non_null(bytes);
    for (size_t got; (got = fread(bytes + n, 1, room - n - 1, file)) > 0;) {
        n += got;
        if (room - n > 1) continue;
        bytes = realloc(bytes, room *= 2);
        assert_non_null(bytes);
    }
    fclose(file);
    bytes[n] = 0;
    *nbytes = n;
    return bytes;
}

int file_exists(const char *path)
{
    return access(path, R_OK) == 0;
}

const char *mnist_folder(void)
{
    const char *folders[] = {getenv("MNIST_DIR"), "../shared/mnist", "data"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        if (!folders[i] || !*folders[i]) continue;
        char plain[1000], packed[1000];
        snprintf(plain, sizeof plain, "%s/t10k-images-idx3-ubyte", folders[i]);
        snprintf(packed, sizeof packed, "%s/t10k-images-idx3-ubyte.gz", folders[i]);
        if (file_exists(plain) || file_exists(packed)) return folders[i];
    }
    return NULL;
}

const char *shipped_weights(void)
{
    return "weights/capsnet-mnist.safetensors";
}

/* ---- Pictures --------------------------------------------------------- */

/* Draws a line of soft dots. */
static void draw_line(uint8_t pixels[28 * 28], float x0, float y0, float x1, float y1)
{
    for (int step = 0; step <= 40; step++) {
        float t = (float)step / 40.0f, x = x0 + t * (x1 - x0), y = y0 + t * (y1 - y0);
        for (int row = (int)y - 1; row <= (int)y + 2; row++)
            for (int column = (int)x - 1; column <= (int)x + 2; column++) {
                if (row < 4 || row > 23 || column < 4 || column > 23) continue;
                float distance = hypotf((float)column - x, (float)row - y);
                float ink = 255.0f * (distance < 0.8f ? 1.0f : 1.8f - distance);
                uint8_t *pixel = &pixels[row * 28 + column];
                if (ink > (float)*pixel) *pixel = (uint8_t)ink;
            }
    }
}

void draw_pixels(uint8_t pixels[28 * 28], unsigned number)
{
    memset(pixels, 0, 28 * 28);
    uint64_t state = 1000 + number;
    float x = 5, y = 13; /* touches the left edge of the box, so the box is full */
    for (int line = 0; line < 4; line++) {
        float to_x = line == 0 ? 22 : 13.5f + next_weight(&state, 8.5f);
        float to_y = line == 1 ? 5 : line == 2 ? 22 : 13.5f + next_weight(&state, 8.5f);
        draw_line(pixels, x, y, to_x, to_y);
        x = to_x, y = to_y;
    }
}

struct bytes gray_png(const uint8_t *pixels, size_t width, size_t height)
{
    struct bytes png = {NULL, 0};
    struct image image = {width, height, 1, NULL};
    image.pixels = malloc(width * height);
    assert_non_null(image.pixels);
    memcpy(image.pixels, pixels, width * height);
    enum image_status status = png_encode(&png.data, &png.nbytes, &image);
    free(image.pixels);
    assert_int_equal(status, IMAGE_OK);
    return png;
}

struct bytes draw_png(unsigned number)
{
    uint8_t pixels[28 * 28];
    draw_pixels(pixels, number);
    return gray_png(pixels, 28, 28);
}

struct bytes blank_png(size_t width, size_t height, uint8_t value)
{
    uint8_t *pixels = malloc(width * height);
    assert_non_null(pixels);
    memset(pixels, value, width * height);
    struct bytes png = gray_png(pixels, width, height);
    free(pixels);
    return png;
}

static void put_u32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(value >> (24 - 8 * i));
}

static uint32_t get_u32(const uint8_t *from)
{
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

void png_fix_crc(struct bytes *png, size_t offset)
{
    uint32_t length = get_u32(png->data + offset);
    assert_true(offset + 12 + length <= png->nbytes);
    put_u32(png->data + offset + 8 + length,
            (uint32_t)crc32(0, png->data + offset + 4, (uInt)(length + 4)));
}

struct bytes bomb_png(uint32_t width, uint32_t height)
{
    struct bytes png = blank_png(1, 1, 0);
    put_u32(png.data + 16, width);
    put_u32(png.data + 20, height);
    png_fix_crc(&png, 8);
    return png;
}

uint8_t *check_png(const uint8_t *bytes, size_t nbytes, size_t width, size_t height)
{
    static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    assert_true(nbytes > 33);
    assert_memory_equal(bytes, signature, 8);
    assert_memory_equal(bytes + 12, "IHDR", 4);
    assert_int_equal(get_u32(bytes + 16), width);
    assert_int_equal(get_u32(bytes + 20), height);
    assert_int_equal(bytes[24], 8); /* bits */
    assert_int_equal(bytes[25], 0); /* gray */
    struct image image = {0};
    struct image_message message = {""};
    enum image_status status = png_decode(&image, bytes, nbytes, 8192, 1, &message);
    if (status != IMAGE_OK) fail_msg("the answer is a damaged PNG: %s", message.text);
    assert_int_equal(image.width, width);
    assert_int_equal(image.height, height);
    return image.pixels;
}

char *images_json(const struct bytes *pngs, size_t n)
{
    size_t room = 32;
    for (size_t i = 0; i < n; i++) room += base64_encoded_size(pngs[i].nbytes) + 4;
    char *json = malloc(room), *to = json;
    assert_non_null(json);
    to = stpcpy(to, "{\"images\": [");
    for (size_t i = 0; i < n; i++) {
        if (i) *to++ = ',';
        *to++ = '"';
        base64_encode(to, pngs[i].data, pngs[i].nbytes);
        to += strlen(to);
        *to++ = '"';
    }
    strcpy(to, "]}");
    return json;
}
