/* test_sandbox.c - in the sandbox files can be read, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/process/sandbox.h"

/* In a process of its own.  Returns 0, or the number of what went wrong. */
static int live_behind(const char *folder)
{
    char path[300];
    snprintf(path, sizeof path, "%s/file", folder);
    int open_before = open(path, O_CREAT | O_WRONLY, 0600);
    enum sandbox sandbox = sandbox_enter(NULL);
    if (open_before < 0 || write(open_before, "x", 1) != 1) return 1;
    if (sandbox == SANDBOX_NONE || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) return 2;
    if (open(path, O_RDONLY) < 0) return 3;
    if (sandbox == SANDBOX_NO_PRIVILEGES) return 100;
    if (open(path, O_WRONLY) >= 0 || errno != EACCES) return 4;
    if (unlink(path) == 0 || errno != EACCES) return 5;
    strcat(path, "2");
    if (open(path, O_CREAT | O_WRONLY, 0600) >= 0 || errno != EACCES) return 6;
    if (mkdir(path, 0700) == 0 || errno != EACCES) return 7;
    execl("/bin/true", "true", (char *)NULL);
    return errno == EACCES ? 0 : 8;
}

static void only_reading_is_left(void **state)
{
    (void)state;
    char folder[] = "/tmp/capsnetd-fence-XXXXXX", path[300];
    int status;
    assert_non_null(mkdtemp(folder));
    pid_t child = fork();
    if (child == 0) _exit(live_behind(folder));
    assert_int_equal(waitpid(child, &status, 0), child);
    snprintf(path, sizeof path, "%s/file", folder);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 100)
        print_message("files in the sandbox: SKIPPED: this kernel has no Landlock\n");
    else
        assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(only_reading_is_left)};
    return cmocka_run_group_tests_name("sandbox", tests, NULL, NULL);
}
