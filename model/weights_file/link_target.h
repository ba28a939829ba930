/*
 * link_target.h - the file that a path stands for, for whoever puts another in its
 * place: a symbolic link is followed, not replaced.
 */
#ifndef CAPSNET_LINK_TARGET_H
#define CAPSNET_LINK_TARGET_H

/* The path at the end of path's chain of symbolic links, whether there is a file or
 * not; to be freed.  NULL and errno: a link that cannot be read, a chain that does
 * not end (ELOOP), or no memory. */
char *link_target(const char *path);

#endif
