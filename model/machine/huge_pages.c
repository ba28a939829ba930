/*
 * huge_pages.c - see huge_pages.h.
 */
#include "model/machine/huge_pages.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

void *huge_alloc(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    /* The spectral planes are walked with strides of a megabyte: with 4 kB
     * pages nearly every access would miss the TLB.  Only a hint. */
    (void)madvise(p, bytes, MADV_HUGEPAGE);
    return p;
}

void huge_free(void *memory, size_t bytes)
{
    if (memory)
        munmap(memory, bytes);
}

/* Advises the whole pages of a part; returns how many bytes that was. */
static size_t advise(void *part, size_t bytes, int advice)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)part;
    const uintptr_t first = (at + page - 1) / page * page, end = (at + bytes) / page * page;
    if (end <= first || madvise((char *)part + (first - at), end - first, advice) != 0)
        return 0;
    return end - first;
}

size_t huge_release(void *part, size_t bytes)
{
    return advise(part, bytes, MADV_DONTNEED);
}

void huge_avoid(void *part, size_t bytes)
{
    (void)advise(part, bytes, MADV_NOHUGEPAGE);
}
