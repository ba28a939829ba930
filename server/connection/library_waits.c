/* library_waits.c - see library_waits.h. */
#include "server/connection/library_waits.h"

#include <stddef.h>
#include <sys/epoll.h>

static const struct library_wait_watch *watcher;

void library_waits_watch(const struct library_wait_watch *watch)
{
    watcher = watch;
}

/* In capsnetd called by libmicrohttpd alone. */
int epoll_wait(int fd, struct epoll_event *events, int max, int timeout_ms)
{
    if (watcher)
        timeout_ms = watcher->on_wait(watcher->context, fd, timeout_ms);
    return epoll_pwait(fd, events, max, timeout_ms, NULL);
}
