/*
 * sandbox.h - what the process gives up before it listens, since it never needs
 * it: to gain privileges, to write, create or remove files, to run programs.
 */
#ifndef CAPSNETD_SANDBOX_H
#define CAPSNETD_SANDBOX_H

enum sandbox {
    SANDBOX_FULL,          /* all of it */
    SANDBOX_NO_PRIVILEGES, /* the kernel has no Landlock: files are as before */
    SANDBOX_NONE,          /* nor that */
};

/* Shuts the sandbox around the calling thread and those that it starts later;
 * there is no way back.  Descriptors that are open keep working.
 *
 * removable  a file that can be removed still, and with it any other in its folder and
 *            below, as Landlock has it; NULL or "" for none */
enum sandbox sandbox_enter(const char *removable);

#endif
