/* unix_socket.h - a listening socket that is a file, for clients on the same machine. */
#ifndef CAPSNETD_UNIX_SOCKET_H
#define CAPSNETD_UNIX_SOCKET_H

#include <stddef.h>
#include <sys/types.h>
#include <sys/un.h>

/* The path in "unix:PATH"; NULL when the address is of another kind. */
const char *unix_path(const char *address);

/* A path as an address.  Returns 0, or -1 when it is empty or too long (107 bytes). */
int unix_address(struct sockaddr_un *address, const char *path);

/* The file of a socket of ours, to be removed at the end.  Zeroed: none. */
struct unix_file {
    char path[sizeof ((struct sockaddr_un *)0)->sun_path];
    dev_t device;
    ino_t inode;
};

/* Makes and listens on a socket.  One that is there already and that nobody listens on, as a
 * process leaves it that was killed, is removed first.
 *
 * mode     who may connect: needs the right to write, e.g. 0660.  The process must have one
 *          thread only, since this goes by its umask
 * *file    filled on success
 * message  [message_nbytes] one sentence on failure
 *
 * Returns the socket, or -1. */
int unix_listen(struct unix_file *file, const char *path, mode_t mode, char *message,
                size_t message_nbytes);

/* Removes the file, unless it is another's by now, and forgets it. */
void unix_remove(struct unix_file *file);

#endif
