/*
 * harness.c - the server as a child process.  Every child asks the kernel to
 * be killed with its parent, so that nothing is left running even when a test
 * program crashes.
 */
#include "tests/http/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/http/fixtures.h"

enum { START_MS = 30000, STOP_MS = 20000, RUN_MS = 10000, WRAPPER_STRETCH = 15 };

extern char **environ;

/* Servers started and not yet stopped, for server_kill_leftovers(). */
static struct server *running[16];

/* ---- Time and place --------------------------------------------------- */

long stretch_ms(long ms)
{
    const char *wrapper = getenv("CAPSNETD_WRAPPER");
    return wrapper && *wrapper ? ms * WRAPPER_STRETCH : ms;
}

long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void sleep_ms(long ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&pause, &pause) != 0 && errno == EINTR)
        ;
}

static char folder[256];
static pid_t folder_owner;

/* Removes the folder and the plain files in it. */
static void remove_folder(void)
{
    if (getpid() != folder_owner) return; /* a child that failed to exec */
    char command[400];
    snprintf(command, sizeof command, "rm -rf -- '%s'", folder);
    if (system(command) != 0) fprintf(stderr, "could not remove %s\n", folder);
}

const char *test_folder(void)
{
    if (*folder) return folder;
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/capsnetd-test-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(folder)) {
        perror(folder);
        exit(1);
    }
    folder_owner = getpid();
    atexit(remove_folder);
    return folder;
}

/* ---- Starting --------------------------------------------------------- */

static int has_flag(const char *const *args, const char *flag)
{
    size_t n = strlen(flag);
    for (; *args; args++)
        if (strncmp(*args, flag, n) == 0 && ((*args)[n] == 0 || (*args)[n] == '=')) return 1;
    return 0;
}

static int has_variable(const char *const *env, const char *name)
{
    for (; *env; env++)
        if (strncmp(*env, name, strlen(name)) == 0 && (*env)[strlen(name)] == '=') return 1;
    return 0;
}

/* Appends the wrapper's words and the path of the server.  The strings live
 * in storage. */
static size_t put_program(const char **argv, char *storage, size_t size)
{
    const char *wrapper = getenv("CAPSNETD_WRAPPER");
    const char *build = getenv("BUILD");
    int n = snprintf(storage, size, "%s %s/capsnetd", wrapper ? wrapper : "",
                     build && *build ? build : "build");
    assert_true(n > 0 && (size_t)n < size);
    size_t argc = 0;
    char *rest = NULL;
    for (char *word = strtok_r(storage, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        assert_true(argc < 16);
        argv[argc++] = word;
    }
    return argc;
}

/* The environment without the CAPSNETD_ variables, then env. */
static void put_environment(const char **to, size_t room, const char *const *env)
{
    size_t n = 0;
    for (char **from = environ; *from; from++)
        if (strncmp(*from, "CAPSNETD_", 9) != 0 || strncmp(*from, "CAPSNETD_CPU_LEVEL=", 19) == 0) {
            assert_true(n + 1 < room);
            to[n++] = *from;
        }
    for (; *env; env++) {
        assert_true(n + 1 < room);
        to[n++] = *env;
    }
    to[n] = NULL;
}

/* What the next server is handed over. */
static struct {
    int fd, n;
} handed_over;

/* Runs the server with exactly these arguments.  *out_fd is its stdout;
 * stderr goes to a file. */
static pid_t spawn(const char *const *args, const char *const *env, const char *stderr_path,
                   int *out_fd)
{
    const char *argv[64], *environment[512];
    char storage[1024], listen_pid[40], listen_fds[40];
    size_t argc = put_program(argv, storage, sizeof storage);
    for (; *args; args++) {
        assert_true(argc + 1 < sizeof argv / sizeof *argv);
        argv[argc++] = *args;
    }
    argv[argc] = NULL;
    put_environment(environment, sizeof environment / sizeof *environment - 2, env);

    int pipe_fds[2];
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    int err_fd = open(stderr_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(err_fd >= 0);
    fflush(NULL);
    pid_t parent = getpid();
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(127);
        if (dup2(pipe_fds[1], 1) < 0 || dup2(err_fd, 2) < 0) _exit(127);
        size_t n = 0;
        while (environment[n]) n++;
        snprintf(listen_pid, sizeof listen_pid, "LISTEN_PID=%d", (int)getpid());
        snprintf(listen_fds, sizeof listen_fds, "LISTEN_FDS=%d", handed_over.n);
        if (handed_over.n) {
            environment[n++] = listen_pid;
            environment[n++] = listen_fds;
            environment[n] = NULL;
        }
        const int source = handed_over.n ? fcntl(handed_over.fd, F_DUPFD_CLOEXEC, 100) : -1;
        for (int i = 0; i < handed_over.n; i++)
            if (dup2(source, 3 + i) < 0) _exit(127);
        execvpe(argv[0], (char *const *)argv, (char *const *)environment);
        dprintf(2, "cannot run %s: %s\n", argv[0], strerror(errno));
        _exit(127);
    }
    close(pipe_fds[1]);
    close(err_fd);
    *out_fd = pipe_fds[0];
    return pid;
}

static void next_stderr_path(char *path, size_t size)
{
    static unsigned count;
    snprintf(path, size, "%s/stderr-%u", test_folder(), count++);
}

struct server *server_spawn(const char *const *args, const char *const *env)
{
    const char *all[48];
    size_t n = 0;
    if (!has_flag(args, "--listen") && !has_variable(env, "CAPSNETD_LISTEN")) {
        all[n++] = "--listen";
        all[n++] = "127.0.0.1:0";
    }
    if (!has_flag(args, "--weights") && !has_variable(env, "CAPSNETD_WEIGHTS")) {
        all[n++] = "--weights";
        all[n++] = test_weights();
    }
    for (; *args; args++) {
        assert_true(n + 1 < sizeof all / sizeof *all);
        all[n++] = *args;
    }
    all[n] = NULL;

    struct server *server = calloc(1, sizeof *server);
    assert_non_null(server);
    size_t slot = 0;
    while (slot < sizeof running / sizeof *running && running[slot]) slot++;
    assert_true(slot < sizeof running / sizeof *running);
    next_stderr_path(server->stderr_path, sizeof server->stderr_path);
    server->pid = spawn(all, env, server->stderr_path, &server->stdout_fd);
    running[slot] = server;
    server->curl = curl_easy_init();
    assert_non_null(server->curl);
    return server;
}

struct server *server_spawn_on(int fd, int n, const char *const *args, const char *const *env)
{
    handed_over.fd = fd, handed_over.n = n;
    struct server *server = server_spawn(args, env);
    handed_over.n = 0;
    return server;
}

struct server *server_start(const char *const *args, const char *const *env)
{
    struct server *server = server_spawn(args, env);
    server_wait_ready(server);
    return server;
}

/* ---- Watching --------------------------------------------------------- */

char *server_log(const struct server *server)
{
    size_t nbytes = 0;
    return (char *)read_file(server->stderr_path, &nbytes);
}

/* Fails the test with the end of the server's stderr. */
static void fail_with_log(const struct server *server, const char *what)
{
    char *log = server_log(server);
    size_t n = strlen(log);
    fprintf(stderr, "---- the server's stderr ----\n%s----\n", n > 4000 ? log + n - 4000 : log);
    free(log);
    fail_msg("%s", what);
}

int server_alive(const struct server *server)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)server->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0;
}

/* The server has closed its stdout before it was ready: says how it ended. */
static void fail_of_death(const struct server *server)
{
    siginfo_t info = {0};
    char what[200] = "the server closed its stdout before its start-up line";
    if (waitid(P_PID, (id_t)server->pid, &info, WEXITED | WNOWAIT) == 0)
        snprintf(what, sizeof what, "the server ended before its start-up line, %s %d",
                 info.si_code == CLD_EXITED ? "exit status" : "of signal", info.si_status);
    fail_with_log(server, what);
}

/* Reads stdout up to and with the first newline, or fails. */
static void read_line(struct server *server, long deadline)
{
    size_t n = 0;
    for (;;) {
        struct pollfd ready = {server->stdout_fd, POLLIN, 0};
        long left = deadline - now_ms();
        if (left <= 0 || poll(&ready, 1, (int)left) == 0)
            fail_with_log(server, "the server printed no start-up line in time");
        char c;
        ssize_t got = read(server->stdout_fd, &c, 1);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) fail_of_death(server);
        if (c == '\n') break;
        if (n + 1 == sizeof server->line) fail_with_log(server, "the start-up line has no end");
        server->line[n++] = c;
    }
    server->line[n] = 0;
}

void server_wait_ready(struct server *server)
{
    long deadline = now_ms() + stretch_ms(START_MS);
    read_line(server, deadline);
    const char *url = strstr(server->line, "http://"), *path = strstr(server->line, "unix:");
    if (!url && !path) fail_with_log(server, "the start-up line names no address");
    if (path) {
        snprintf(server->url, sizeof server->url, "%s", path);
    } else {
        const char *port = strrchr(url, ':');
        assert_non_null(port);
        server->port = (unsigned)strtoul(port + 1, NULL, 10);
        assert_in_range(server->port, 1, 65535);
        snprintf(server->url, sizeof server->url, "http://127.0.0.1:%u", server->port);
    }
    for (;;) {
        struct reply *reply = http_send_on(server->curl, server->url,
                                           &(struct request){.path = "/readyz"});
        long status = reply->status;
        reply_free(reply);
        if (status == 200) return;
        if (!server_alive(server)) fail_with_log(server, "the server ended while starting");
        if (now_ms() > deadline) fail_with_log(server, "the server was not ready in time");
        sleep_ms(10);
    }
}

/* ---- Stopping --------------------------------------------------------- */

/* Waits for the process to end; returns 0 when the time is up first. */
static int wait_end(pid_t pid, int *status, long ms)
{
    for (long deadline = now_ms() + ms; now_ms() < deadline; sleep_ms(2)) {
        pid_t ended = waitpid(pid, status, WNOHANG);
        if (ended == pid) return 1;
        if (ended < 0 && errno != EINTR) return 0;
    }
    return 0;
}

static void forget(struct server *server)
{
    for (size_t i = 0; i < sizeof running / sizeof *running; i++)
        if (running[i] == server) running[i] = NULL;
    if (server->curl) curl_easy_cleanup(server->curl);
    close(server->stdout_fd);
    free(server);
}

void server_terminate(struct server *server)
{
    assert_int_equal(kill(server->pid, SIGTERM), 0);
}

void server_finish(struct server *server)
{
    int status = 0;
    if (!wait_end(server->pid, &status, stretch_ms(STOP_MS)))
        fail_with_log(server, "the server did not end in time");
    server->pid = 0; /* reaped: never to be killed by number again */
    char what[200];
    if (WIFSIGNALED(status)) {
        snprintf(what, sizeof what, "the server died of signal %d", WTERMSIG(status));
        fail_with_log(server, what);
    }
    if (WEXITSTATUS(status) != 0) {
        snprintf(what, sizeof what, "the server ended with exit status %d", WEXITSTATUS(status));
        fail_with_log(server, what);
    }
    char extra;
    if (*server->line && read(server->stdout_fd, &extra, 1) != 0)
        fail_with_log(server, "the server wrote more than its start-up line to stdout");
    char *log = server_log(server);
    int report = strstr(log, "Sanitizer") || strstr(log, "runtime error:");
    free(log);
    if (report) fail_with_log(server, "a sanitizer complained");
    forget(server);
}

void server_stop(struct server *server)
{
    if (!server) return;
    if (!server_alive(server)) fail_with_log(server, "the server died during the test");
    server_terminate(server);
    server_finish(server);
}

int server_kill_leftovers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof running / sizeof *running; i++) {
        struct server *server = running[i];
        if (!server) continue;
        if (server->pid > 0) {
            kill(server->pid, SIGKILL);
            waitpid(server->pid, NULL, 0);
        }
        forget(server);
    }
    return 0;
}

/* ---- Running to the end ----------------------------------------------- */

void server_run(struct outcome *outcome, const char *const *args, const char *const *env)
{
    char path[300];
    int out_fd = -1, status = 0;
    next_stderr_path(path, sizeof path);
    memset(outcome, 0, sizeof *outcome);
    pid_t pid = spawn(args, env, path, &out_fd);
    int ended = wait_end(pid, &status, stretch_ms(RUN_MS));
    if (!ended) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    /* The help text fits the pipe's 64 KiB, so it can be read afterwards. */
    for (size_t n = 0; n + 1 < sizeof outcome->out;) {
        ssize_t got = read(out_fd, outcome->out + n, sizeof outcome->out - 1 - n);
        if (got <= 0) break;
        n += (size_t)got;
    }
    close(out_fd);
    size_t nbytes = 0;
    char *err = (char *)read_file(path, &nbytes);
    snprintf(outcome->err, sizeof outcome->err, "%s", err);
    free(err);
    if (!ended) fail_msg("the server was expected to end, and serves: %s", outcome->out);
    outcome->exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
