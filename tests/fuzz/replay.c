/*
 * replay.c - runs a fuzz target over its corpus, once per file: everything
 * that a fuzzer found worth keeping, and every input that ever crashed it.
 * The folder is corpus/NAME beside this file, after the program's name
 * fuzz_NAME, or the one named on the command line.
 */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* Shown when it crashes. */
static char path[2000];

static void on_abort(int number)
{
    (void)!write(STDERR_FILENO, path, strlen(path));
    (void)!write(STDERR_FILENO, " crashes the target\n", 20);
    signal(number, SIG_DFL);
    raise(number);
}

static void run_file(void)
{
    FILE *file = fopen(path, "rb");
    MUST(file && fseek(file, 0, SEEK_END) == 0);
    long nbytes = ftell(file);
    MUST(nbytes >= 0);
    uint8_t *bytes = malloc((size_t)nbytes + 1);
    rewind(file);
    MUST(bytes && fread(bytes, 1, (size_t)nbytes, file) == (size_t)nbytes);
    fclose(file);
    LLVMFuzzerTestOneInput(bytes, (size_t)nbytes);
    free(bytes);
}

int main(int argc, char **argv)
{
    char folder[1000];
    const char *name = strrchr(argv[0], '_');
    snprintf(folder, sizeof folder, "tests/fuzz/corpus/%s", name ? name + 1 : "");
    if (argc > 1)
        snprintf(folder, sizeof folder, "%s", argv[1]);
    DIR *entries = opendir(folder);
    if (!entries) {
        perror(folder);
        return EXIT_FAILURE;
    }
    size_t n = 0;
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    for (struct dirent *entry; (entry = readdir(entries));) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        run_file();
        n++;
    }
    closedir(entries);
    printf("%zu inputs\n", n);
    return n ? EXIT_SUCCESS : EXIT_FAILURE;
}
