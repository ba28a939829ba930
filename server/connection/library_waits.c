/* library_waits.c - see library_waits.h. */
#include "server/connection/library_waits.h"

#include <stddef.h>
#include <sys/epoll.h>

static const struct library_wait_watch *watcher;

void library_waits_watch(const struct library_wait_watch *watch)
{
    watcher = watch;
}

/* In capsnetd called by libmicrohttpd alone.  Whoever gets as many events as he has room for asks
 * for more before he looks at any of them, and would wait for them. */
int epoll_wait(int fd, struct epoll_event *events, int max, int timeout_ms)
{
    static _Thread_local int has_more;
    if (has_more)
        timeout_ms = 0;
    else if (watcher)
        timeout_ms = watcher->on_wait(watcher->context, fd, timeout_ms);
    const int n = epoll_pwait(fd, events, max, timeout_ms, NULL);
    has_more = n == max;
    return n;
}
