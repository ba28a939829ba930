/*
 * output_check.c - see output_check.h.
 */
#include "model/train/output/output_check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/weights_file/link_target.h"

/* ---- Temporary files ------------------------------------------------------ */

/* What safetensors_write() puts its process's number behind, beside its target. */
static const char ending[] = ".tmp-";

/* The process that a name like BASE.tmp-PID is of; 0: it is no such name. */
static pid_t writer_of(const char *name, const char *base)
{
    const size_t n = strlen(base);
    if (strncmp(name, base, n) != 0 || strncmp(name + n, ending, sizeof ending - 1) != 0)
        return 0;
    name += n + sizeof ending - 1;
    const size_t digits = strspn(name, "0123456789");
    return digits > 0 && digits < 10 && !name[digits] ? (pid_t)strtol(name, NULL, 10) : 0;
}

/* Removes what processes that were killed while they wrote target left beside it.
 * One that still runs may be writing; this one is not, yet. */
static void remove_leftovers(const char *target)
{
    const char *slash = strrchr(target, '/'), *base = slash ? slash + 1 : target;
    char *path = slash ? strndup(target, (size_t)(slash - target) + 1) : strdup(".");
    DIR *folder = path ? opendir(path) : NULL;
    free(path);
    if (!folder)
        return;
    for (struct dirent *entry; (entry = readdir(folder));) {
        const pid_t writer = writer_of(entry->d_name, base);
        if (writer > 0 && (writer == getpid() || (kill(writer, 0) != 0 && errno == ESRCH)))
            unlinkat(dirfd(folder), entry->d_name, 0);
    }
    closedir(folder);
}

/* Makes the file beside path that safetensors_write() makes, and removes it. */
static int can_replace(const char *path)
{
    char *target = link_target(path), *name = NULL;
    int fd = -1;
    if (target && asprintf(&name, "%s%s%ld", target, ending, (long)getpid()) < 0)
        name = NULL;
    if (name) {
        remove_leftovers(target);
        fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    }
    const int saved = errno;
    if (fd >= 0) {
        close(fd);
        unlink(name);
    }
    free(name);
    free(target);
    errno = saved;
    return fd >= 0;
}

/* ---- Trying ---------------------------------------------------------------- */

static int can_open(const char *path, int flags)
{
    const int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0666);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static enum capsnet_status try_output(const struct output *output, struct capsnet_error *error)
{
    struct stat info;
    const int exists = stat(output->path, &info) == 0;
    const char *why = NULL;
    int ok = 0;
    if (exists && S_ISDIR(info.st_mode))
        errno = EISDIR;
    else if (exists && output->kind == OUTPUT_REPLACED && !S_ISREG(info.st_mode))
        why = "this is a device or the like, which a file would replace";
    else if (output->kind == OUTPUT_APPENDED)
        ok = can_open(output->path, O_CREAT | O_APPEND);
    else if (output->kind == OUTPUT_TRUNCATED && exists)
        ok = can_open(output->path, 0);
    else
        ok = can_replace(output->path);
    if (ok)
        return CAPSNET_OK;
    snprintf(error->text, sizeof error->text, "%.300s cannot be written: %s", output->path,
             why ? why : strerror(errno));
    return CAPSNET_ERR_IO;
}

static int are_same(const char *a, const char *b)
{
    struct stat first, second;
    if (strcmp(a, b) == 0)
        return 1;
    return stat(a, &first) == 0 && stat(b, &second) == 0 && S_ISREG(first.st_mode) &&
           first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

static enum capsnet_status compare(const struct output *a, const struct output *b,
                                   struct capsnet_error *error)
{
    if (!a->path || !b->path || !are_same(a->path, b->path))
        return CAPSNET_OK;
    snprintf(error->text, sizeof error->text, "%s and %s name the same file, %.300s", a->option,
             b->option, a->path);
    return CAPSNET_ERR_ARGUMENT;
}

enum capsnet_status outputs_check(const struct output *outputs, size_t n,
                                  struct capsnet_error *error)
{
    enum capsnet_status status = CAPSNET_OK;
    for (size_t i = 0; i < n && status == CAPSNET_OK; i++)
        for (size_t j = i + 1; j < n && status == CAPSNET_OK; j++)
            status = compare(&outputs[i], &outputs[j], error);
    for (size_t i = 0; i < n && status == CAPSNET_OK; i++)
        if (outputs[i].path && outputs[i].kind != OUTPUT_INPUT)
            status = try_output(&outputs[i], error);
    return status;
}
