/*
 * test_safetensors.c - the weights file: every number conversion, round trips, paths
 * that hold no weights file, and writes that fail.
 */
#include <dirent.h>
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/common/safetensors_sample.h"

/* ---- Helpers ---------------------------------------------------------------- */

static char folder[4096];

/* FOLDER/NAME in one of a few static buffers. */
static const char *in_folder(const char *name)
{
    static char paths[4][8192];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void write_all(const char *path, const void *bytes, size_t nbytes)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, nbytes, file), nbytes);
    assert_int_equal(fclose(file), 0);
}

/* ---- Numbers ---------------------------------------------------------------- */

static void test_f16_exhaustive(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        float value = safetensors_f32_from_f16((unsigned short)h);
        uint32_t exponent = h >> 10 & 0x1f, mantissa = h & 0x3ff;
        double expected = exponent == 0 ? ldexp(mantissa, -24)
                                        : ldexp(1024 + mantissa, (int)exponent - 25);
        uint32_t back = h;
        if (exponent == 31 && mantissa) {
            assert_true(isnan(value));
            back |= 0x200; /* comes back quiet */
        } else {
            if (exponent == 31)
                expected = INFINITY;
            assert_true(value == (float)(h & 0x8000 ? -expected : expected));
            assert_int_equal(bits_of(value) >> 31, h >> 15);
        }
        assert_int_equal(safetensors_f16_from_f32(value), back);
    }
}

/* Between any two neighbours: below the middle goes down, above it up, and the
 * middle itself to the even one. */
static void test_f16_rounding(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x7bff; h++) {
        float low = safetensors_f32_from_f16((unsigned short)h);
        float high = safetensors_f32_from_f16((unsigned short)(h + 1));
        float middle = (low + high) / 2; /* exact: both have 11 bits */
        uint32_t even = h + (h & 1);
        assert_int_equal(safetensors_f16_from_f32(nextafterf(middle, 0)), h);
        assert_int_equal(safetensors_f16_from_f32(middle), even);
        assert_int_equal(safetensors_f16_from_f32(nextafterf(middle, INFINITY)), h + 1);
        assert_int_equal(safetensors_f16_from_f32(-middle), 0x8000 | even);
    }
    assert_int_equal(safetensors_f16_from_f32(65504), 0x7bff);
    assert_int_equal(safetensors_f16_from_f32(nextafterf(65520, 0)), 0x7bff);
    assert_int_equal(safetensors_f16_from_f32(65520), 0x7c00);
    assert_int_equal(safetensors_f16_from_f32(-FLT_MAX), 0xfc00);
    assert_int_equal(safetensors_f16_from_f32(-INFINITY), 0xfc00);
    assert_int_equal(safetensors_f16_from_f32(FLT_MIN), 0);
    assert_int_equal(safetensors_f16_from_f32(-FLT_TRUE_MIN), 0x8000);
    assert_int_equal(safetensors_f16_from_f32(float_of(0x7f800001)) & 0x7e00, 0x7e00);
}

/* Stores values as a dtype and reads them back. */
static void through_file(float *back, const float *values, size_t n, enum safetensors_dtype dtype)
{
    const struct safetensors_entry entry = {"t", dtype, 1, {n}, values};
    struct capsnet_error error;
    struct safetensors *file;
    const char *path = in_folder("through");
    assert_int_equal(safetensors_write(path, &entry, 1, NULL, 0, &error), CAPSNET_OK);
    assert_int_equal(safetensors_open(&file, path, &error), CAPSNET_OK);
    assert_int_equal(safetensors_at(file, 0)->count, n);
    safetensors_to_f32(safetensors_at(file, 0), back);
    safetensors_close(file);
    unlink(path);
}

static void test_bf16(void **state)
{
    (void)state;
    enum { N = 0x10000, FINITE = 0x7f7f };
    float *values = calloc(3 * N, sizeof *values), *back = calloc(3 * N, sizeof *back);
    for (uint32_t b = 0; b < N; b++)
        values[b] = float_of(b << 16);
    through_file(back, values, N, SAFETENSORS_BF16);
    for (uint32_t b = 0; b < N; b++) {
        if ((b & 0x7fff) > 0x7f80)
            assert_true(isnan(back[b]));
        else
            assert_int_equal(bits_of(back[b]), b << 16);
    }
    /* Just below, at and just above the middle of each pair of neighbours. */
    for (uint32_t b = 0; b < FINITE; b++)
        for (uint32_t k = 0; k < 3; k++)
            values[3 * b + k] = float_of((b << 16) + 0x7fff + k);
    through_file(back, values, 3 * FINITE, SAFETENSORS_BF16);
    for (uint32_t b = 0; b < FINITE; b++) {
        assert_int_equal(bits_of(back[3 * b]), b << 16);
        assert_int_equal(bits_of(back[3 * b + 1]), (b + (b & 1)) << 16);
        assert_int_equal(bits_of(back[3 * b + 2]), (b + 1) << 16);
    }
    /* Rounding the payload must not make these infinite. */
    const float nans[] = {float_of(0x7f800001), float_of(0x7fffffff), float_of(0xff80ffff), FLT_MAX};
    through_file(back, nans, 4, SAFETENSORS_BF16);
    assert_true(isnan(back[0]) && isnan(back[1]) && isnan(back[2]));
    assert_true(isinf(back[3]));
    free(values);
    free(back);
}

/* ---- Round trips ------------------------------------------------------------ */

static void test_round_trip(void **state)
{
    (void)state;
    const char *path = in_folder("round");
    struct capsnet_error error;
    struct safetensors *file;
    write_sample(path);
    assert_int_equal(safetensors_open(&file, path, &error), CAPSNET_OK);
    for (size_t i = 0; i < N_SAMPLE; i++) {
        const struct safetensors_tensor *tensor = safetensors_at(file, i);
        float back[SAMPLE_N];
        assert_string_equal(tensor->name, sample[i].name);
        assert_ptr_equal(tensor, safetensors_find(file, sample[i].name));
        assert_int_equal(tensor->dtype, sample[i].dtype);
        assert_int_equal(tensor->rank, sample[i].rank);
        size_t count = 1;
        for (size_t k = 0; k < tensor->rank; k++) {
            assert_int_equal(tensor->dims[k], sample[i].dims[k]);
            count *= tensor->dims[k];
        }
        assert_int_equal(tensor->count, count);
        safetensors_to_f32(tensor, back);
        for (size_t k = 0; k < count; k++) /* all are exact in 8 bits */
            assert_true(back[k] == sample[i].data[k] && signbit(back[k]) == signbit(sample[i].data[k]));
    }
    assert_null(safetensors_at(file, N_SAMPLE));
    assert_null(safetensors_find(file, "absent"));
    assert_null(safetensors_find(file, "__metadata__"));
    for (size_t i = 0; i < N_METADATA; i++) {
        assert_string_equal(safetensors_metadata_at(file, i)->key, sample_metadata[i].key);
        assert_string_equal(safetensors_get_metadata(file, sample_metadata[i].key),
                            sample_metadata[i].value);
    }
    assert_null(safetensors_metadata_at(file, N_METADATA));
    assert_null(safetensors_get_metadata(file, "absent"));
    safetensors_close(file);
    safetensors_close(NULL);
    assert_string_equal(safetensors_dtype_name(SAFETENSORS_F32), "F32");
    assert_string_equal(safetensors_dtype_name(SAFETENSORS_F16), "F16");
    assert_string_equal(safetensors_dtype_name(SAFETENSORS_BF16), "BF16");
    unlink(path);
}

static void test_same_bytes(void **state)
{
    (void)state;
    size_t n, m;
    write_sample(in_folder("one"));
    write_sample(in_folder("two"));
    unsigned char *one = read_all(in_folder("one"), &n), *two = read_all(in_folder("two"), &m);
    assert_int_equal(n, m);
    assert_memory_equal(one, two, n);
    assert_int_equal(one[0] % 8, 0); /* so that the data begins aligned */
    free(one);
    free(two);
    unlink(in_folder("one"));
    unlink(in_folder("two"));
}

/* Bytes spelt out here, so that reader and writer cannot be wrong together. */
static void test_known_bytes(void **state)
{
    (void)state;
    static const char bytes[] = "\x51\0\0\0\0\0\0\0"
                                "{\"h\":{\"data_offsets\":[4,6],\"shape\":[1],\"dtype\":\"F16\"},"
                                "\"f\":{\"dtype\":\"F32\",\"shape\""
                                ":[],\"data_offsets\":[0,4]}}  \0\0\x80\xbf\0\x3c";
    size_t header = strlen(bytes + 8);
    unsigned char file_bytes[sizeof bytes - 1], *copy;
    memcpy(file_bytes, bytes, sizeof file_bytes);
    file_bytes[0] = (unsigned char)header;
    struct safetensors *file;
    struct capsnet_error error;
    assert_int_equal(parse_copy(&file, &copy, file_bytes, sizeof file_bytes, &error), CAPSNET_OK);
    float f, h;
    safetensors_to_f32(safetensors_find(file, "f"), &f);
    safetensors_to_f32(safetensors_find(file, "h"), &h);
    assert_true(f == -1 && h == 1);
    assert_ptr_equal(safetensors_find(file, "f")->data, copy + 8 + header);
    assert_string_equal(safetensors_at(file, 0)->name, "h"); /* the header's order */
    safetensors_close(file);
    free(copy);
}

static void test_no_tensors(void **state)
{
    (void)state;
    struct safetensors *file;
    struct capsnet_error error;
    assert_int_equal(safetensors_write(in_folder("none"), NULL, 0, NULL, 0, &error), CAPSNET_OK);
    assert_int_equal(safetensors_open(&file, in_folder("none"), &error), CAPSNET_OK);
    assert_null(safetensors_at(file, 0));
    assert_null(safetensors_metadata_at(file, 0));
    safetensors_close(file);
    unlink(in_folder("none"));
}

/* ---- Files ------------------------------------------------------------------ */

/* Opening must fail so, and leave the out-parameter alone. */
static void refuse_path(const char *path, enum capsnet_status status, const char *fragment)
{
    struct safetensors *const untouched = (void *)folder, *file = untouched;
    struct capsnet_error error = {""};
    assert_int_equal(safetensors_open(&file, path, &error), status);
    assert_ptr_equal(file, untouched);
    assert_says(&error, fragment);
}

static void test_bad_paths(void **state)
{
    (void)state;
    char longest[3000];
    refuse_path(in_folder("absent"), CAPSNET_ERR_IO, "absent: cannot open the file: No such file");
    refuse_path(folder, CAPSNET_ERR_IO, "this is a folder, not a file");
    refuse_path("/dev/null", CAPSNET_ERR_IO, "/dev/null: this is a device");
    assert_int_equal(mkfifo(in_folder("pipe"), 0600), 0);
    refuse_path(in_folder("pipe"), CAPSNET_ERR_IO, "pipe: this is a device, pipe or socket");
    unlink(in_folder("pipe"));

    const char *path = in_folder("bad");
    write_all(path, "", 0);
    refuse_path(path, CAPSNET_ERR_FORMAT, "bad: the file is empty");
    write_all(path, "1234567", 7);
    refuse_path(path, CAPSNET_ERR_FORMAT, "bad: the file has only 7 bytes");
    write_all(path, "Dear reader, this is a letter.", 30);
    refuse_path(path, CAPSNET_ERR_FORMAT, "bad: the header length is");
    unlink(path);

    /* The reason must survive a path longer than the message. */
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    refuse_path(longest, CAPSNET_ERR_IO, "x: cannot open the file: File name too long");
}

static size_t count_entries(const char *path)
{
    DIR *dir = opendir(path);
    assert_non_null(dir);
    size_t n = 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

static size_t count_mappings(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    assert_non_null(maps);
    size_t n = 0;
    for (char line[8192]; fgets(line, sizeof line, maps);)
        n += strstr(line, strrchr(folder, '/')) != NULL;
    fclose(maps);
    return n;
}

static void test_leaves_nothing_open(void **state)
{
    (void)state;
    struct capsnet_error error;
    struct safetensors *file;
    size_t before = count_entries("/proc/self/fd");
    write_sample(in_folder("good"));
    write_all(in_folder("bad"), "Dear reader, this is a letter.", 30);
    assert_int_equal(safetensors_open(&file, in_folder("good"), &error), CAPSNET_OK);
    assert_int_equal(count_mappings(), 1);
    safetensors_close(file);
    assert_int_equal(safetensors_open(&file, in_folder("bad"), &error), CAPSNET_ERR_FORMAT);
    assert_int_equal(safetensors_open(&file, folder, &error), CAPSNET_ERR_IO);
    assert_int_equal(count_mappings(), 0);
    assert_int_equal(count_entries("/proc/self/fd"), before);
    unlink(in_folder("good"));
    unlink(in_folder("bad"));
}

/* A folder that holds one file, "weights", which holds "old". */
static const char *make_old(const char *name)
{
    const char *inner = in_folder(name);
    char path[8300];
    snprintf(path, sizeof path, "%s/weights", inner);
    assert_int_equal(mkdir(inner, 0755), 0);
    write_all(path, "old", 3);
    return inner;
}

/* A failed write must have left it so; removes it. */
static void check_old(const char *inner)
{
    char path[8300];
    size_t n;
    snprintf(path, sizeof path, "%s/weights", inner);
    unsigned char *old = read_all(path, &n);
    assert_int_equal(n, 3);
    assert_memory_equal(old, "old", 3);
    free(old);
    assert_int_equal(count_entries(inner), 1);
    unlink(path);
    rmdir(inner);
}

/* A full disk, played by a limit on file size: at the first byte, within the
 * data, within the last bytes. */
static void test_write_too_much(void **state)
{
    (void)state;
    enum { N = 20000 };
    float *values = calloc(N, sizeof *values);
    const struct safetensors_entry large = {"large", SAFETENSORS_F32, 1, {N}, values};
    const size_t limits[] = {0, N, 8 + 64 + 4 * N - 1};
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_IGN);
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        const char *inner = make_old("full");
        struct capsnet_error error = {""};
        const struct rlimit small = {limits[i], before.rlim_max};
        fflush(stdout); /* the limit holds for it too, when it is a file */
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        enum capsnet_status status =
            safetensors_write(in_folder("full/weights"), &large, 1, NULL, 0, &error);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(status, CAPSNET_ERR_IO);
        assert_says(&error, "full/weights: cannot write the file: File too large");
        check_old(inner);
    }
    free(values);
}

static void test_write_unwritable(void **state)
{
    (void)state;
    const char *inner = make_old("locked");
    uid_t user = geteuid();
    assert_int_equal(chmod(folder, 0755), 0);
    assert_int_equal(chmod(inner, 0555), 0);
    /* Root is refused nothing: become nobody for a moment. */
    if ((user != 0 || seteuid(65534) == 0) && access(inner, X_OK) == 0) {
        struct capsnet_error error = {""};
        enum capsnet_status status = safetensors_write(in_folder("locked/weights"), sample,
                                                       N_SAMPLE, NULL, 0, &error);
        assert_int_equal(seteuid(user), 0);
        assert_int_equal(status, CAPSNET_ERR_IO);
        assert_says(&error, "locked/weights: cannot write the file: Permission denied");
    } else {
        assert_int_equal(seteuid(user), 0);
        printf("SKIPPED: an unwritable folder; root cannot be denied here\n");
    }
    chmod(inner, 0755);
    check_old(inner);
}

static void test_write_bad_paths(void **state)
{
    (void)state;
    struct capsnet_error error = {""};
    assert_int_equal(safetensors_write(in_folder("no/such"), sample, N_SAMPLE, NULL, 0, &error),
                     CAPSNET_ERR_IO);
    assert_says(&error, "no/such: cannot open the folder: No such file");
    /* The folder itself, where a file should go. */
    const char *inner = make_old("taken");
    size_t before = count_entries(folder);
    assert_int_equal(safetensors_write(inner, sample, N_SAMPLE, NULL, 0, &error), CAPSNET_ERR_IO);
    assert_says(&error, "taken: cannot write the file: Is a directory");
    assert_int_equal(count_entries(folder), before);
    check_old(inner);
}

/* What a crashed process of the same number left is in nobody's way. */
static void test_write_stale(void **state)
{
    (void)state;
    char stale[64];
    snprintf(stale, sizeof stale, "again.tmp-%ld", (long)getpid());
    write_all(in_folder(stale), "half a file", 11);
    write_all(in_folder("again"), "old", 3);
    write_sample(in_folder("again"));
    struct safetensors *file;
    struct capsnet_error error;
    assert_int_equal(safetensors_open(&file, in_folder("again"), &error), CAPSNET_OK);
    /* A file that is mapped may be replaced. */
    write_sample(in_folder("again"));
    assert_non_null(safetensors_find(file, "matrix"));
    safetensors_close(file);
    assert_int_equal(access(in_folder(stale), F_OK), -1);
    /* A name without a folder is in the working directory. */
    char *back = getcwd(NULL, 0);
    assert_int_equal(chdir(folder), 0);
    write_sample("again");
    assert_int_equal(safetensors_open(&file, "again", &error), CAPSNET_OK);
    safetensors_close(file);
    assert_int_equal(chdir(back), 0);
    free(back);
    unlink(in_folder("again"));
}

static int set_up(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/capsnet-XXXXXX", base ? base : P_tmpdir);
    return mkdtemp(folder) ? 0 : -1;
}

/* Fails when a test left something behind. */
static int tear_down(void **state)
{
    (void)state;
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f16_exhaustive),   cmocka_unit_test(test_f16_rounding),
        cmocka_unit_test(test_bf16),             cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_same_bytes),       cmocka_unit_test(test_known_bytes),
        cmocka_unit_test(test_no_tensors),       cmocka_unit_test(test_bad_paths),
        cmocka_unit_test(test_write_too_much),   cmocka_unit_test(test_write_unwritable),
        cmocka_unit_test(test_write_bad_paths),  cmocka_unit_test(test_write_stale),
        cmocka_unit_test(test_leaves_nothing_open),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
