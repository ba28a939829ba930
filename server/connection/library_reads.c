/* library_reads.c - see library_reads.h. */
#include "server/connection/library_reads.h"

#include <stdatomic.h>
#include <stddef.h>
#include <sys/socket.h>

enum { MAX_FDS = 1 << 20 };

/* Pages of it that no descriptor has used take no memory. */
static _Atomic uint64_t read_bytes[MAX_FDS];

uint64_t library_reads_bytes(int fd)
{
    if (fd < 0 || fd >= MAX_FDS)
        return 0;
    return atomic_load_explicit(&read_bytes[fd], memory_order_relaxed);
}

/* Called by libmicrohttpd, and by ourselves. */
ssize_t recv(int fd, void *bytes, size_t n, int flags)
{
    const ssize_t got = recvfrom(fd, bytes, n, flags, NULL, NULL);
    if (got > 0 && !(flags & MSG_PEEK) && fd < MAX_FDS)
        atomic_fetch_add_explicit(&read_bytes[fd], (uint64_t)got, memory_order_relaxed);
    return got;
}
