/* network_thread.c - see network_thread.h. */
#include "server/connection/network_thread.h"

#include <poll.h>
#include <time.h>

#include "server/basics/clock.h"
#include "server/request/steps.h"

int network_thread_on_wait(struct network_thread *t, int epoll_fd, int timeout_ms)
{
    const int has_moved = t->has_moved;
    const int64_t us = gathering_wait_us(&t->gathering);
    t->has_moved = 0;
    t->is_seen = 1;
    if (us == 0) {
        gathering_run(&t->gathering);
        t->look_us = clock_us() + steps_look_us(t->service, batcher_lanes(t->service->threads));
    } else if (us > 0 && !has_moved) {
        /* libmicrohttpd itself would not wait, for those that are gathered. */
        struct pollfd news = {epoll_fd, POLLIN, 0};
        ppoll(&news, 1, &(struct timespec){us / 1000000, us % 1000000 * 1000}, NULL);
    } else if (us < 0 && clock_us() >= t->look_us) {
        return timeout_ms;
    }
    return 0;
}
