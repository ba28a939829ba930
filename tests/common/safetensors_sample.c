/*
 * safetensors_sample.c - see safetensors_sample.h.
 */
#include "tests/common/safetensors_sample.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const float sample_values[SAMPLE_N] = {0,       -0.0f,   1, -1.5f,   3.25f,
                                              1000.0f, 0x1p-20f, 5, INFINITY, 0.125f};
const struct safetensors_entry sample[N_SAMPLE] = {
    {"odd half", SAFETENSORS_F16, 1, {3}, sample_values},
    {"matrix", SAFETENSORS_F32, 2, {2, 5}, sample_values},
    {"empty", SAFETENSORS_F32, 3, {4, 0, 7}, NULL},
    {"scalar", SAFETENSORS_BF16, 0, {0}, sample_values + 3},
    {"deep", SAFETENSORS_F16, 8, {1, 2, 1, 1, 5, 1, 1, 1}, sample_values},
    {"caf\xc3\xa9 \"quoted\" \\", SAFETENSORS_BF16, 1, {SAMPLE_N}, sample_values},
};

const struct safetensors_metadata sample_metadata[N_METADATA] = {
    {"format", "capsnet-1"},
    {"labels", "[\"a\", \"\xc3\xa9\"]"},
    {"odd", "line\nbreak\ttab\x01 and \\ back"},
    {"quotes", "\"[[[[[[[[[[\\"}, /* the brackets are text, not nesting */
    {"", ""},
};

void write_sample(const char *path)
{
    struct capsnet_error error;
    assert_int_equal(
        safetensors_write(path, sample, N_SAMPLE, sample_metadata, N_METADATA, &error), CAPSNET_OK);
}

unsigned char *sample_bytes(size_t *nbytes)
{
    char path[4096];
    const char *base = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/safetensors-XXXXXX", base ? base : P_tmpdir);
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    write_sample(path);
    unsigned char *bytes = read_all(path, nbytes);
    unlink(path);
    return bytes;
}

unsigned char *read_all(const char *path, size_t *nbytes)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    unsigned char *bytes = malloc(1 << 20);
    assert_non_null(bytes);
    *nbytes = fread(bytes, 1, 1 << 20, file);
    fclose(file);
    return bytes;
}

void assert_says(const struct capsnet_error *error, const char *fragment)
{
    if (!strstr(error->text, fragment))
        fail_msg("the message is \"%s\"; it should say \"%s\"", error->text, fragment);
}

enum capsnet_status parse_copy(struct safetensors **file, unsigned char **copy,
                               const void *bytes, size_t nbytes, struct capsnet_error *error)
{
    *copy = malloc(nbytes);
    if (nbytes)
        memcpy(*copy, bytes, nbytes);
    *error = (struct capsnet_error){""};
    enum capsnet_status status = safetensors_parse(file, "the-file", *copy, nbytes, error);
    if (status)
        free(*copy);
    return status;
}
