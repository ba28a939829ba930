/* sandbox.c - see sandbox.h.  Landlock: man 7 landlock. */
#include "server/process/sandbox.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What is governed; without a rule that allows it anywhere, it is forbidden. */
static const unsigned long long GIVEN_UP =
    LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
    LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |
    LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
    LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM;

/* Lets files be removed from the folder of a file.  Returns 0, or -1. */
static int keep_removable(int ruleset, const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    const size_t n = slash ? (size_t)(slash - path) + 1 : 0;
    if (n >= sizeof folder)
        return -1;
    memcpy(folder, path, n);
    strcpy(folder + n, ".");
    const struct landlock_path_beneath_attr rule = {
        .allowed_access = LANDLOCK_ACCESS_FS_REMOVE_FILE,
        .parent_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC)};
    if (rule.parent_fd < 0)
        return -1;
    const long status =
        syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    close(rule.parent_fd);
    return (int)status;
}

enum sandbox sandbox_enter(const char *removable)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return SANDBOX_NONE;
    const struct landlock_ruleset_attr governed = {.handled_access_fs = GIVEN_UP};
    int fd = (int)syscall(SYS_landlock_create_ruleset, &governed, sizeof governed, 0);
    if (fd < 0)
        return SANDBOX_NO_PRIVILEGES;
    int failed = (removable && *removable && keep_removable(fd, removable) != 0) ||
                 syscall(SYS_landlock_restrict_self, fd, 0) != 0;
    close(fd);
    return failed ? SANDBOX_NO_PRIVILEGES : SANDBOX_FULL;
}
