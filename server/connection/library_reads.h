/*
 * library_reads.h - how many bytes have been read from each socket, libmicrohttpd's too.
 *
 * Of a request line that it can make nothing of, libmicrohttpd (0.9.75) tells nobody, nor
 * that one has begun.  But it reads by recv(), and a program may have a function of that
 * name in front of the C library's (library_calls.h says more).  The kernel counts as
 * well, for two system calls a request, and not on a Unix socket.
 */
#ifndef CAPSNETD_LIBRARY_READS_H
#define CAPSNETD_LIBRARY_READS_H

#include <stdint.h>

/* What recv() has returned of the descriptor since the process began, whatever was open
 * there; what was only looked at (MSG_PEEK) does not count.  Any thread may ask.  0 for a
 * descriptor of 1,048,576 or more, which Linux hands out only where fs.nr_open was raised. */
uint64_t library_reads_bytes(int fd);

#endif
