/* acceptor.c - see acceptor.h. */
#include "server/connection/acceptor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <poll.h>
#include <search.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "server/basics/clock.h"

/* How soon it tries again where the system is short of descriptors or memory. */
enum { RETRY_MS = 100 };

/* How long handshakes under way are waited for at the end, and for how long at most one after the
 * other. */
enum { HANDSHAKE_MS = 5, LAST_US = 100000 };

/* ---- Connections of an address (with the lock) ---------------------------------- */

struct origin {
    sa_family_t family;
    unsigned char address[16];
    size_t open;
};

static int compare(const void *a, const void *b)
{
    const struct origin *x = a, *y = b;
    return x->family != y->family ? x->family - y->family
                                  : memcmp(x->address, y->address, sizeof x->address);
}

/* Returns 0 for what is no IP address. */
static int origin_of(struct origin *origin, const struct sockaddr *address)
{
    *origin = (struct origin){.family = address->sa_family};
    if (origin->family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        memcpy(origin->address, &in.sin_addr, sizeof in.sin_addr);
    } else if (origin->family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof in6);
        memcpy(origin->address, &in6.sin6_addr, sizeof in6.sin6_addr);
    } else {
        return 0;
    }
    return 1;
}

/* Counts a connection more; 0 when there may be none, or for want of memory. */
static int count_origin(struct acceptor *a, const struct sockaddr *address)
{
    struct origin key;
    if (!a->max_per_ip || !origin_of(&key, address))
        return 1;
    struct origin **known = tfind(&key, &a->addresses, compare);
    if (known)
        return (*known)->open < a->max_per_ip ? (int)++(*known)->open : 0;
    struct origin *origin = malloc(sizeof *origin);
    if (!origin)
        return 0;
    *origin = key;
    origin->open = 1;
    if (tsearch(origin, &a->addresses, compare))
        return 1;
    free(origin);
    return 0;
}

static void forget_origin(struct acceptor *a, const struct sockaddr *address)
{
    struct origin key;
    if (!a->max_per_ip || !origin_of(&key, address))
        return;
    struct origin **known = tfind(&key, &a->addresses, compare);
    if (!known || --(*known)->open)
        return;
    struct origin *origin = *known;
    tdelete(origin, &a->addresses, compare);
    free(origin);
}

/* ---- The thread ------------------------------------------------------------------ */

static int take(struct acceptor *a, const struct sockaddr *address)
{
    pthread_mutex_lock(&a->lock);
    const int is_taken = count_origin(a, address);
    a->open += (size_t)is_taken;
    pthread_mutex_unlock(&a->lock);
    return is_taken;
}

void acceptor_forget(struct acceptor *a, const struct sockaddr *address)
{
    pthread_mutex_lock(&a->lock);
    forget_origin(a, address);
    a->open--;
    pthread_cond_signal(&a->has_room);
    pthread_mutex_unlock(&a->lock);
}

/* Until there is room for one more; 0 to stop. */
static int wait_for_room(struct acceptor *a)
{
    pthread_mutex_lock(&a->lock);
    while (!a->stopping && a->open >= a->max)
        pthread_cond_wait(&a->has_room, &a->lock);
    const int goes_on = !a->stopping;
    pthread_mutex_unlock(&a->lock);
    return goes_on;
}

/* Is the connection gone before it was accepted, or was there none? */
static int is_passing(int error)
{
    return error == EAGAIN || error == EINTR || error == ECONNABORTED || error == EPROTO ||
           error == EPERM;
}

static void accept_one(struct acceptor *a)
{
    union {
        struct sockaddr any;
        struct sockaddr_storage storage;
    } address = {.storage = {0}};
    socklen_t n = sizeof address;
    const int fd = accept4(a->listen_fd, &address.any, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        struct pollfd stop = {a->stop_fd, POLLIN, 0};
        if (!is_passing(errno))
            poll(&stop, 1, RETRY_MS);
        return;
    }
    if (take(a, &address.any))
        a->hand_over(a->context, fd, &address.any, n);
    else
        close(fd);
}

static int has_room(struct acceptor *a)
{
    pthread_mutex_lock(&a->lock);
    const int has = a->open < a->max;
    pthread_mutex_unlock(&a->lock);
    return has;
}

/* Drops what would begin a TCP handshake, which its client repeats after a second, and is told
 * then that nobody listens.  Nothing on other sockets. */
static void begin_no_handshakes(int fd)
{
    enum { FLAGS_AT = 13, SYN = 0x02 }; /* RFC 9293, 3.1 */
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, FLAGS_AT),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    const struct sock_fprog filter = {sizeof code / sizeof *code, code};
    (void)setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter);
}

/* Whoever has connected by now, or is about to, would be cut off when the socket is closed. */
static void accept_last(struct acceptor *a)
{
    const int64_t until = clock_us() + LAST_US;
    struct pollfd news = {a->listen_fd, POLLIN, 0};
    begin_no_handshakes(a->listen_fd);
    while (has_room(a) && clock_us() < until && poll(&news, 1, HANDSHAKE_MS) > 0)
        accept_one(a);
}

static void *run(void *argument)
{
    struct acceptor *a = argument;
    pthread_setname_np(pthread_self(), "acceptor");
    while (wait_for_room(a)) {
        struct pollfd news[] = {{a->listen_fd, POLLIN, 0}, {a->stop_fd, POLLIN, 0}};
        poll(news, 2, -1);
        if (news[0].revents)
            accept_one(a);
    }
    if (a->takes_last)
        accept_last(a);
    close(a->listen_fd);
    return NULL;
}

/* ---- Start and stop -------------------------------------------------------------- */

void acceptor_init(struct acceptor *a, size_t max, size_t max_per_ip,
                   acceptor_hand_over hand_over, void *context)
{
    *a = (struct acceptor){.stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
                           .max = max,
                           .max_per_ip = max_per_ip,
                           .hand_over = hand_over,
                           .context = context};
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->has_room, NULL);
}

int acceptor_start(struct acceptor *a, int listen_fd)
{
    a->listen_fd = listen_fd;
    const int flags = fcntl(listen_fd, F_GETFL);
    if (a->stop_fd < 0 || flags < 0 || fcntl(listen_fd, F_SETFL, flags | O_NONBLOCK) != 0)
        return -1;
    a->is_running = pthread_create(&a->thread, NULL, run, a) == 0;
    return a->is_running ? 0 : -1;
}

void acceptor_stop(struct acceptor *a, int takes_last)
{
    if (!a->is_running)
        return;
    pthread_mutex_lock(&a->lock);
    a->stopping = 1;
    a->takes_last = takes_last;
    pthread_cond_signal(&a->has_room);
    pthread_mutex_unlock(&a->lock);
    (void)!write(a->stop_fd, &(uint64_t){1}, sizeof(uint64_t));
    pthread_join(a->thread, NULL);
    a->is_running = 0;
}

void acceptor_destroy(struct acceptor *a)
{
    acceptor_stop(a, 0);
    if (a->stop_fd >= 0)
        close(a->stop_fd);
    tdestroy(a->addresses, free);
    pthread_cond_destroy(&a->has_room);
    pthread_mutex_destroy(&a->lock);
}
