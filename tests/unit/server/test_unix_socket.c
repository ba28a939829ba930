/* test_unix_socket.c - the file of a Unix socket: made, left behind, in use, removed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/basics/listen_socket.h"

static char folder[] = "/tmp/capsnetd-unix-XXXXXX";
static char path[sizeof folder + 8], message[300];

static int make_folder(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/socket", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static int listen_here(struct unix_file *file)
{
    return unix_listen(file, path, 0640, message, sizeof message);
}

static void the_mode_is_as_asked(void **state)
{
    (void)state;
    struct unix_file file;
    struct stat status;
    const mode_t before = umask(0077);
    static const mode_t MODES[] = {0600, 0660, 0666, 0777, 0200};
    for (size_t i = 0; i < sizeof MODES / sizeof *MODES; i++) {
        const int fd = unix_listen(&file, path, MODES[i], message, sizeof message);
        assert_true(fd >= 0);
        assert_int_equal(lstat(path, &status), 0);
        assert_true(S_ISSOCK(status.st_mode));
        assert_int_equal(status.st_mode & 07777, MODES[i]);
        unix_remove(&file);
        assert_int_equal(lstat(path, &status), -1);
        close(fd);
    }
    assert_int_equal(umask(before), 0077); /* is left as it was */
}

static void one_in_use_is_left_alone(void **state)
{
    (void)state;
    struct unix_file file, second;
    const int fd = listen_here(&file);
    assert_true(fd >= 0);
    assert_int_equal(listen_here(&second), -1);
    assert_non_null(strstr(message, "in use"));
    unix_remove(&second);
    assert_int_equal(access(path, F_OK), 0);
    /* Nobody listens any more: it is left behind, and taken over. */
    close(fd);
    const int next = listen_here(&second);
    assert_true(next >= 0);
    unix_remove(&file); /* is the other's by now, unless both are one file by chance */
    unix_remove(&second);
    close(next);
}

static void what_is_no_socket_is_left_alone(void **state)
{
    (void)state;
    struct unix_file file;
    const int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    assert_int_equal(listen_here(&file), -1);
    unix_remove(&file);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(unlink(path), 0);
    /* Nor through a link to a socket that nobody listens on. */
    char other[sizeof path + 8];
    snprintf(other, sizeof other, "%s.other", path);
    close(unix_listen(&file, other, 0600, message, sizeof message));
    assert_int_equal(symlink(other, path), 0);
    struct unix_file second;
    assert_int_equal(listen_here(&second), -1);
    assert_int_equal(unlink(path), 0);
    unix_remove(&file);
    close(fd);
}

static void sockets_are_handed_over(void **state)
{
    (void)state;
    struct listener listener;
    char pid[20];
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    const struct {
        const char *pid, *n;
        enum listen_status status;
    } CASES[] = {
        {NULL, NULL, LISTEN_NONE}, {"1", "1", LISTEN_NONE},  {pid, "0", LISTEN_NONE},
        {pid, "", LISTEN_NONE},    {pid, "x", LISTEN_NONE},  {pid, NULL, LISTEN_NONE},
        {pid, "2", LISTEN_FAILED}, {pid, "1", LISTEN_FAILED}, /* descriptor 3 is none */
    };
    const int third = fcntl(3, F_DUPFD_CLOEXEC, 10); /* what the test runner may have there */
    close(3);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        if (CASES[i].pid) setenv("LISTEN_PID", CASES[i].pid, 1);
        if (CASES[i].n) setenv("LISTEN_FDS", CASES[i].n, 1);
        assert_int_equal(listen_take_over(&listener, "http", message, sizeof message),
                         CASES[i].status);
        assert_null(getenv("LISTEN_PID"));
        assert_null(getenv("LISTEN_FDS"));
    }
    struct unix_file file;
    int fd = listen_here(&file);
    assert_true(fd >= 0);
    if (fd != 3) {
        assert_int_equal(dup2(fd, 3), 3);
        close(fd);
    }
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "1", 1);
    assert_int_equal(listen_take_over(&listener, "http", message, sizeof message), LISTEN_OK);
    assert_int_equal(listener.fd, 3);
    assert_int_equal(strncmp(listener.url, "unix:", 5), 0);
    assert_string_equal(listener.url + 5, path);
    assert_true(fcntl(3, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(3, F_GETFL) & O_NONBLOCK);
    unix_remove(&listener.file); /* is systemd's: stays */
    assert_int_equal(access(path, F_OK), 0);
    unix_remove(&file);
    if (third >= 0) dup2(third, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_mode_is_as_asked),
        cmocka_unit_test(one_in_use_is_left_alone),
        cmocka_unit_test(what_is_no_socket_is_left_alone),
        cmocka_unit_test(sockets_are_handed_over),
    };
    return cmocka_run_group_tests_name("unix socket", tests, make_folder, remove_folder);
}
