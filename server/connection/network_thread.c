/* network_thread.c - see network_thread.h. */
#include "server/connection/network_thread.h"

#include <poll.h>
#include <time.h>

#include "server/basics/clock.h"

/* A client who is alone and asks all the time is back sooner than a thread wakes up; on a
 * single CPU the looking would be in the way. */
enum { LOOK_US = 100 };

static int is_worth_looking(struct network_thread *t)
{
    return t->service->threads > 1 && metrics_connections(&t->service->metrics) == 1;
}

int network_thread_on_wait(struct network_thread *t, int epoll_fd, int timeout_ms)
{
    const int has_moved = t->has_moved;
    const int64_t us = gathering_wait_us(&t->gathering);
    t->has_moved = 0;
    t->is_seen = 1;
    if (us == 0) {
        gathering_run(&t->gathering);
        t->look_us = is_worth_looking(t) ? clock_us() + LOOK_US : 0;
    } else if (us > 0 && !has_moved) {
        /* libmicrohttpd itself would not wait, for those that are gathered. */
        struct pollfd news = {epoll_fd, POLLIN, 0};
        ppoll(&news, 1, &(struct timespec){us / 1000000, us % 1000000 * 1000}, NULL);
    } else if (us < 0 && (!t->look_us || clock_us() >= t->look_us)) {
        t->look_us = 0;
        return timeout_ms;
    }
    return 0;
}
