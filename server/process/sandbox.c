/* sandbox.c - see sandbox.h.  Landlock: man 7 landlock. */
#include "server/process/sandbox.h"

#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What is governed; without a rule that allows it anywhere, it is forbidden. */
static const unsigned long long GIVEN_UP =
    LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
    LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |
    LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
    LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM;

enum sandbox sandbox_enter(void)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return SANDBOX_NONE;
    const struct landlock_ruleset_attr governed = {.handled_access_fs = GIVEN_UP};
    int fd = (int)syscall(SYS_landlock_create_ruleset, &governed, sizeof governed, 0);
    if (fd < 0)
        return SANDBOX_NO_PRIVILEGES;
    int failed = syscall(SYS_landlock_restrict_self, fd, 0) != 0;
    close(fd);
    return failed ? SANDBOX_NO_PRIVILEGES : SANDBOX_FULL;
}
