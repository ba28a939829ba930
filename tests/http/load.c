/* load.c - see load.h. */
#include "tests/http/load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ANSWER_SIZE = 65536, PROBE_US = 5000, LAST_ANSWERS_US = 10000000, EVENTS = 256 };

/* What a connection waits for. */
enum state { IDLE, WAITING };

struct connection {
    int fd; /* -1: not open */
    enum state state;
    int64_t due_us;
    const char *request;
    size_t request_nbytes, sent;
    size_t n; /* of answer */
    char *answer; /* [ANSWER_SIZE] */
};

struct times {
    float *ms;
    size_t n, room;
};

struct load {
    const struct load_plan *plan;
    struct load_result *result;
    int epoll_fd;
    struct connection *connections; /* [plan->connections + 1], the probe's last */
    size_t *idle; /* [plan->connections], a stack of their numbers */
    size_t n_idle, n_waiting;
    char *post, probe[200];
    size_t post_nbytes;
    struct times answered, refused, probes;
};

static int64_t now_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- What is measured ------------------------------------------------------- */

static void note(struct times *times, int64_t us)
{
    if (times->n == times->room) {
        times->room = times->room ? 2 * times->room : 4096;
        times->ms = realloc(times->ms, times->room * sizeof *times->ms);
        if (!times->ms)
            abort();
    }
    times->ms[times->n++] = (float)us / 1000;
}

static int compare(const void *a, const void *b)
{
    const float *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Of sorted times; 0 of none. */
static double quantile(const struct times *times, double q)
{
    return times->n ? (double)times->ms[(size_t)(q * (double)(times->n - 1))] : 0;
}

static void sort(struct times *times)
{
    if (times->n)
        qsort(times->ms, times->n, sizeof *times->ms, compare);
}

/* ---- Connections ------------------------------------------------------------ */

static int is_probe(const struct load *load, const struct connection *c)
{
    return c == &load->connections[load->plan->connections];
}

static void become_idle(struct load *load, struct connection *c)
{
    if (c->state == WAITING && !is_probe(load, c))
        load->n_waiting--;
    c->state = IDLE;
    if (!is_probe(load, c))
        load->idle[load->n_idle++] = (size_t)(c - load->connections);
}

static void hang_up(struct connection *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

/* Connects, without waiting for it. */
static int dial(struct load *load, struct connection *c)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)load->plan->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = c};
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        return -1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if ((connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0 &&
         errno != EINPROGRESS) ||
        epoll_ctl(load->epoll_fd, EPOLL_CTL_ADD, c->fd, &event) != 0) {
        hang_up(c);
        return -1;
    }
    return 0;
}

/* A request will not be answered. */
static void lose(struct load *load, struct connection *c, const char *why)
{
    struct load_result *result = load->result;
    hang_up(c);
    if (c->state != WAITING)
        return;
    if (is_probe(load, c))
        note(&load->probes, LAST_ANSWERS_US);
    else
        result->lost++;
    if (!*result->problem)
        snprintf(result->problem, sizeof result->problem,
                 "%s after %zu bytes of an answer: %.60s", why, c->n, c->n ? c->answer : "");
    become_idle(load, c);
}

static void send_rest(struct connection *c)
{
    while (c->sent < c->request_nbytes) {
        ssize_t n = send(c->fd, c->request + c->sent, c->request_nbytes - c->sent, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == ENOTCONN))
            return; /* not connected yet, or full */
        if (n < 0)
            break; /* an answer may have come all the same: recv() tells */
        c->sent += (size_t)n;
    }
}

static void ask(struct load *load, struct connection *c, int64_t due_us)
{
    c->state = WAITING;
    c->due_us = due_us;
    c->sent = c->n = 0;
    c->request = is_probe(load, c) ? load->probe : load->post;
    c->request_nbytes = is_probe(load, c) ? strlen(load->probe) : load->post_nbytes;
    if (!is_probe(load, c)) {
        load->n_waiting++;
        load->result->sent++;
    }
    if (c->fd < 0 && dial(load, c) != 0) {
        lose(load, c, "cannot connect");
        return;
    }
    send_rest(c);
}

/* ---- Answers ---------------------------------------------------------------- */

/* A header's value, or NULL. */
static const char *header(const char *head, const char *name)
{
    size_t n = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
        if (strncasecmp(line + 2, name, n) == 0)
            return line + 2 + n;
    return NULL;
}

/* Is the answer complete?  Then its status, else 0. */
static int complete_status(struct connection *c)
{
    c->answer[c->n] = 0;
    char *end = strstr(c->answer, "\r\n\r\n");
    if (!end)
        return 0;
    const char *length = header(c->answer, "Content-Length:");
    size_t head = (size_t)(end + 4 - c->answer);
    if (c->n < head + (length ? strtoul(length, NULL, 10) : 0))
        return 0;
    return atoi(c->answer + strlen("HTTP/1.1 "));
}

static void take_answer(struct load *load, struct connection *c, int status)
{
    struct load_result *result = load->result;
    int64_t us = now_us(CLOCK_MONOTONIC) - c->due_us;
    const char *keep = header(c->answer, "Connection:");
    int closes = keep && strncasecmp(keep, " close", 6) == 0;
    if (is_probe(load, c)) {
        note(&load->probes, us);
    } else if (status == 200) {
        result->answered++;
        note(&load->answered, us);
    } else if (status == 503) {
        result->refused++;
        note(&load->refused, us);
    } else {
        result->other++;
        if (!*result->problem)
            snprintf(result->problem, sizeof result->problem, "%.190s", c->answer);
    }
    become_idle(load, c);
    if (closes)
        hang_up(c);
}

static void read_answer(struct load *load, struct connection *c)
{
    while (c->fd >= 0) {
        ssize_t n = recv(c->fd, c->answer + c->n, ANSWER_SIZE - 1 - c->n, 0);
        if (n < 0 && (errno == EAGAIN || errno == ENOTCONN))
            return;
        if (n <= 0) {
            lose(load, c, n < 0 ? strerror(errno) : "the connection was closed");
            return;
        }
        c->n += (size_t)n;
        int status = c->state == WAITING ? complete_status(c) : 0;
        if (status) {
            take_answer(load, c, status);
            return;
        }
        if (c->n == ANSWER_SIZE - 1)
            lose(load, c, "too long an answer");
    }
}

/* Handles what has happened within timeout_ms. */
static void handle_events(struct load *load, int timeout_ms)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(load->epoll_fd, events, EVENTS, timeout_ms);
    for (int i = 0; i < n; i++) {
        struct connection *c = events[i].data.ptr;
        if (c->fd >= 0 && c->state == WAITING)
            send_rest(c);
        if (c->fd >= 0)
            read_answer(load, c);
        if (c->state == IDLE && events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
            hang_up(c);
    }
}

/* ---- The plan --------------------------------------------------------------- */

/* Sends what is due. */
static void ask_due(struct load *load, int64_t begin, int64_t now, int64_t *probe_due)
{
    const struct load_plan *plan = load->plan;
    struct connection *probe = &load->connections[plan->connections];
    int is_ending = plan->is_ending && atomic_load(plan->is_ending);
    if (plan->probe && now >= *probe_due && probe->state == IDLE) {
        ask(load, probe, now);
        *probe_due = now + PROBE_US;
    }
    if (plan->rate == 0) {
        for (size_t n = load->n_idle; n > 0; n--) {
            struct connection *c = &load->connections[load->idle[--load->n_idle]];
            if (!(is_ending && c->fd < 0)) /* else it is left out from now on */
                ask(load, c, now);
        }
        return;
    }
    size_t due = (size_t)((double)(now - begin) / 1e6 * plan->rate);
    while (load->result->sent + load->result->unsent < due) {
        size_t i = load->result->sent + load->result->unsent;
        if (load->n_idle == 0)
            load->result->unsent++;
        else
            ask(load, &load->connections[load->idle[--load->n_idle]],
                begin + (int64_t)((double)i * 1e6 / plan->rate));
    }
}

static void follow_plan(struct load *load)
{
    const struct load_plan *plan = load->plan;
    int64_t begin = now_us(CLOCK_MONOTONIC), probe_due = begin;
    int64_t end = begin + (int64_t)(plan->seconds * 1e6);
    for (int64_t now = begin; now < end; now = now_us(CLOCK_MONOTONIC)) {
        ask_due(load, begin, now, &probe_due);
        if (plan->is_ending && atomic_load(plan->is_ending) && !load->n_waiting)
            break;
        handle_events(load, 1);
    }
    load->result->seconds = (double)(now_us(CLOCK_MONOTONIC) - begin) / 1e6;
    int64_t give_up = now_us(CLOCK_MONOTONIC) + LAST_ANSWERS_US;
    while (load->n_waiting && now_us(CLOCK_MONOTONIC) < give_up)
        handle_events(load, 10);
    for (size_t i = 0; i < plan->connections; i++)
        if (load->connections[i].state == WAITING)
            lose(load, &load->connections[i], "silence for 10 s");
}

static int prepare(struct load *load)
{
    const struct load_plan *plan = load->plan;
    char head[400];
    int n = snprintf(head, sizeof head,
                     "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"
                     "Content-Length: %zu\r\n\r\n", plan->path, plan->nbytes);
    snprintf(load->probe, sizeof load->probe, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
             plan->probe ? plan->probe : "/");
    load->post_nbytes = (size_t)n + plan->nbytes;
    load->post = malloc(load->post_nbytes);
    load->idle = calloc(plan->connections, sizeof *load->idle);
    load->connections = calloc(plan->connections + 1, sizeof *load->connections);
    load->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!load->post || !load->idle || !load->connections || load->epoll_fd < 0)
        return -1;
    memcpy(load->post, head, (size_t)n);
    memcpy(load->post + n, plan->body, plan->nbytes);
    for (size_t i = 0; i <= plan->connections; i++)
        load->connections[i].fd = -1;
    for (size_t i = 0; i <= plan->connections; i++) {
        struct connection *c = &load->connections[i];
        c->answer = malloc(ANSWER_SIZE);
        if (!c->answer || dial(load, c) != 0)
            return -1;
        become_idle(load, c);
    }
    return 0;
}

int load_run(const struct load_plan *plan, struct load_result *result)
{
    struct load load = {.plan = plan, .result = result, .epoll_fd = -1};
    *result = (struct load_result){0};
    int64_t cpu = now_us(CLOCK_THREAD_CPUTIME_ID);
    int status = prepare(&load);
    if (status == 0)
        follow_plan(&load);
    else
        snprintf(result->problem, sizeof result->problem, "cannot open the connections: %s",
                 strerror(errno));
    result->cpu_seconds = (double)(now_us(CLOCK_THREAD_CPUTIME_ID) - cpu) / 1e6;
    sort(&load.answered), sort(&load.refused), sort(&load.probes);
    result->answered_p50_ms = quantile(&load.answered, 0.5);
    result->answered_p99_ms = quantile(&load.answered, 0.99);
    result->refused_p50_ms = quantile(&load.refused, 0.5);
    result->refused_p99_ms = quantile(&load.refused, 0.99);
    result->refused_max_ms = quantile(&load.refused, 1);
    result->probes = load.probes.n;
    result->probe_p99_ms = quantile(&load.probes, 0.99);
    result->probe_max_ms = quantile(&load.probes, 1);
    for (size_t i = 0; load.connections && i <= plan->connections; i++) {
        hang_up(&load.connections[i]);
        free(load.connections[i].answer);
    }
    if (load.epoll_fd >= 0)
        close(load.epoll_fd);
    free(load.answered.ms), free(load.refused.ms), free(load.probes.ms);
    free(load.connections), free(load.idle), free(load.post);
    return status;
}
