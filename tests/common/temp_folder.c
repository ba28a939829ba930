/*
 * temp_folder.c - see temp_folder.h.
 */
#include "tests/common/temp_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "model/picture/png.h"

static char folder[2048], program[PATH_MAX];

int folder_create(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR"), *build = getenv("BUILD");
    snprintf(folder, sizeof folder, "%.1000s/capsnet-XXXXXX", base ? base : P_tmpdir);
    assert_non_null(mkdtemp(folder));
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%.3000s/capsnet-train", build ? build : "build");
    if (!realpath(path, program))
        program[0] = 0; /* run_trainer() complains */
    return 0;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *at)
{
    (void)info;
    (void)kind;
    return at->level == 0 ? 0 : remove(path);
}

void folder_clear(void)
{
    assert_int_equal(nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

int folder_remove(void **state)
{
    (void)state;
    folder_clear();
    assert_int_equal(rmdir(folder), 0);
    return 0;
}

const char *in_folder(const char *format, ...)
{
    static char paths[4][PATH_MAX];
    static size_t turn;
    char *path = paths[turn++ % 4];
    int n = snprintf(path, PATH_MAX, "%s/", folder);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(path + n, PATH_MAX - (size_t)n, format, arguments);
    va_end(arguments);
    return path;
}

void put_folder(const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", in_folder("%s", name));
    for (char *slash = path + strlen(folder) + 1; slash; ) {
        slash = strchr(slash, '/');
        if (slash)
            *slash = 0;
        assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
        if (slash)
            *slash++ = '/';
    }
}

void put_file(const char *name, const void *bytes, size_t nbytes)
{
    const char *slash = strrchr(name, '/');
    if (slash) {
        char above[PATH_MAX];
        snprintf(above, sizeof above, "%.*s", (int)(slash - name), name);
        put_folder(above);
    }
    FILE *file = fopen(in_folder("%s", name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, nbytes, file), nbytes);
    assert_int_equal(fclose(file), 0);
}

static void put_image(const char *name, const struct image *image)
{
    uint8_t *png;
    size_t nbytes;
    assert_int_equal(png_encode(&png, &nbytes, image), IMAGE_OK);
    put_file(name, png, nbytes);
    free(png);
}

void put_png(const char *name, size_t width, size_t height, size_t channels, uint8_t value,
             uint8_t blue)
{
    struct image image = {width, height, channels, malloc(width * height * channels)};
    assert_non_null(image.pixels);
    for (size_t i = 0; i < width * height * channels; i++)
        image.pixels[i] = channels == 3 && i % 3 == 2 ? blue : value;
    put_image(name, &image);
    image_free(&image);
}

void put_picture(const char *name, size_t width, size_t height, const uint8_t *pixels)
{
    struct image image = {width, height, 1, malloc(width * height)};
    assert_non_null(image.pixels);
    memcpy(image.pixels, pixels, width * height);
    put_image(name, &image);
    image_free(&image);
}

void put_idx(const char *prefix, size_t n, size_t height, size_t width, const uint8_t *pixels,
             const uint8_t *labels)
{
    const size_t dims[3] = {n, height, width}, nbytes = n * height * width;
    uint8_t *bytes = calloc(16 + nbytes, 1);
    char name[PATH_MAX];
    assert_non_null(bytes);
    bytes[2] = 8;
    for (size_t i = 0; i < 3; i++)
        for (size_t b = 0; b < 4; b++)
            bytes[4 + 4 * i + b] = (uint8_t)(dims[i] >> (24 - 8 * b));
    bytes[3] = 3;
    memcpy(bytes + 16, pixels, nbytes);
    snprintf(name, sizeof name, "%s-images-idx3-ubyte", prefix);
    put_file(name, bytes, 16 + nbytes);
    bytes[3] = 1;
    memcpy(bytes + 8, labels, n);
    snprintf(name, sizeof name, "%s-labels-idx1-ubyte", prefix);
    put_file(name, bytes, 8 + n);
    free(bytes);
}

uint8_t *get_file(const char *name, size_t *nbytes)
{
    FILE *file = fopen(in_folder("%s", name), "rb");
    if (!file)
        fail_msg("there is no file %s", name);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *nbytes = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*nbytes + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *nbytes, file), *nbytes);
    bytes[*nbytes] = 0;
    fclose(file);
    return bytes;
}

/* In the child: never returns. */
static void become_trainer(char *line, int out)
{
    char *words[64] = {program}, *next = line;
    size_t n = 1;
    while (n < 63 && (words[n] = strsep(&next, " ")))
        n += *words[n] != 0;
    words[n] = NULL;
    dup2(out, 1);
    dup2(out, 2);
    if (chdir(folder) == 0) {
        const char *seconds = getenv("TRAINER_TIMEOUT_S");
        alarm(seconds ? (unsigned)atoi(seconds) : 600);
        execv(program, words);
    }
    _exit(127);
}

int run_trainer(char *output, size_t size, const char *format, ...)
{
    char line[4096];
    int pipes[2], status;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (!program[0])
        fail_msg("there is no capsnet-train in BUILD (default build/)");
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    fflush(stdout);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        become_trainer(line, pipes[1]);
    close(pipes[1]);
    size_t used = 0;
    char rest[512];
    for (;;) {
        int room = used + 1 < size;
        ssize_t got = read(pipes[0], room ? output + used : rest, room ? size - 1 - used : 512);
        if (got <= 0)
            break;
        used += room ? (size_t)got : 0;
    }
    output[used] = 0;
    close(pipes[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status))
        fail_msg("capsnet-train was ended by signal %d; it said: %s", WTERMSIG(status), output);
    return WEXITSTATUS(status);
}
