/* unix_socket.c - see unix_socket.h. */
#include "server/basics/unix_socket.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

const char *unix_path(const char *address)
{
    return strncmp(address, "unix:", 5) == 0 ? address + 5 : NULL;
}

int unix_address(struct sockaddr_un *address, const char *path)
{
    const size_t n = strlen(path);
    if (n == 0 || n >= sizeof address->sun_path)
        return -1;
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path, path, n);
    return 0;
}

/* Is a socket there that nobody listens on? */
static int is_left_behind(const struct sockaddr_un *address)
{
    struct stat status;
    if (lstat(address->sun_path, &status) != 0 || !S_ISSOCK(status.st_mode))
        return 0;
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return 0;
    const int refused = connect(fd, (const struct sockaddr *)address, sizeof *address) != 0 &&
                        errno == ECONNREFUSED;
    close(fd);
    return refused;
}

static int bind_with_mode(int fd, const struct sockaddr_un *address, mode_t mode)
{
    const mode_t before = umask(0777 & ~mode);
    int status = bind(fd, (const struct sockaddr *)address, sizeof *address);
    if (status != 0 && errno == EADDRINUSE) {
        if (is_left_behind(address) && unlink(address->sun_path) == 0)
            status = bind(fd, (const struct sockaddr *)address, sizeof *address);
        else
            errno = EADDRINUSE;
    }
    umask(before);
    return status;
}

int unix_listen(struct unix_file *file, const char *path, mode_t mode, char *message,
                size_t message_nbytes)
{
    struct sockaddr_un address;
    struct stat status;
    *file = (struct unix_file){0};
    if (unix_address(&address, path) != 0) {
        snprintf(message, message_nbytes,
                 "the path of the Unix socket must have 1 to %zu bytes, not %zu: \"%.100s\"",
                 sizeof address.sun_path - 1, strlen(path), path);
        return -1;
    }
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int is_bound = fd >= 0 && bind_with_mode(fd, &address, mode) == 0;
    if (is_bound && lstat(path, &status) == 0) {
        memcpy(file->path, address.sun_path, sizeof file->path);
        file->device = status.st_dev;
        file->inode = status.st_ino;
    }
    if (is_bound && listen(fd, SOMAXCONN) == 0)
        return fd;
    snprintf(message, message_nbytes, "cannot listen on unix:%s: %s", path, strerror(errno));
    if (is_bound)
        unix_remove(file);
    if (fd >= 0)
        close(fd);
    return -1;
}

void unix_remove(struct unix_file *file)
{
    struct stat status;
    if (file->path[0] && lstat(file->path, &status) == 0 && status.st_dev == file->device &&
        status.st_ino == file->inode)
        unlink(file->path);
    file->path[0] = 0;
}
