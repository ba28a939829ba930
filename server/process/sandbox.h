/*
 * sandbox.h - what the process gives up before it listens, since it never needs
 * it: to gain privileges, to write, create or remove files, to run programs.
 */
#ifndef CAPSNETD_FENCE_H
#define CAPSNETD_FENCE_H

enum fence {
    FENCE_FULL,          /* all of it */
    FENCE_NO_PRIVILEGES, /* the kernel has no Landlock: files are as before */
    FENCE_NONE,          /* nor that */
};

/* Raises the fence around the calling thread and those that it starts later;
 * there is no way back.  Descriptors that are open keep working. */
enum fence fence_raise(void);

#endif
