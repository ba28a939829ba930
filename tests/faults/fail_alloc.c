/*
 * fail_alloc.c - loaded before a program's libraries (LD_PRELOAD): the one
 * allocation that FAIL_AT numbers fails, whoever makes it: malloc, calloc,
 * realloc or a mapping that is not a file's.  The first is 1.  At the end the
 * number of all is written to stderr as "allocations: N".
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* glibc's own, under the names that it keeps for such as this. */
void *__libc_malloc(size_t nbytes);
void *__libc_calloc(size_t n, size_t nbytes);
void *__libc_realloc(void *memory, size_t nbytes);

static atomic_long calls, fail_at;

__attribute__((constructor)) static void begin(void)
{
    const char *text = getenv("FAIL_AT");
    atomic_store(&calls, 0); /* the loader's do not count */
    atomic_store(&fail_at, text ? atol(text) : 0);
}

__attribute__((destructor)) static void end(void)
{
    char line[64];
    int n = snprintf(line, sizeof line, "allocations: %ld\n", atomic_load(&calls));
    (void)!write(STDERR_FILENO, line, (size_t)n);
}

static int fails(void)
{
    if (atomic_fetch_add(&calls, 1) + 1 != atomic_load(&fail_at))
        return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t nbytes)
{
    return fails() ? NULL : __libc_malloc(nbytes);
}

void *calloc(size_t n, size_t nbytes)
{
    return fails() ? NULL : __libc_calloc(n, nbytes);
}

void *realloc(void *memory, size_t nbytes)
{
    return fails() ? NULL : __libc_realloc(memory, nbytes);
}

void *mmap(void *at, size_t nbytes, int protection, int flags, int fd, off_t offset)
{
    if (flags & MAP_ANONYMOUS && fails())
        return MAP_FAILED;
    /* What the system call's number returns is the mapping, or -1 as mmap says. */
    return (void *)syscall(SYS_mmap, at, nbytes, protection, flags, fd, offset);
}
