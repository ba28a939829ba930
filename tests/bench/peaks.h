/*
 * peaks.h - what one core of this machine can do at most, measured: nothing
 * but multiply-adds between registers, and nothing but reading memory; and what it
 * costs two of them to write what the other has read.
 */
#ifndef CAPSNET_PEAKS_H
#define CAPSNET_PEAKS_H

#include "model/network/workspace.h"

struct peaks {
    double multiply_adds[PRECISIONS]; /* a second; 0: this CPU has no such instruction */
    double memory_bytes;              /* a second, read from beyond all caches */
    /* ns for a line of 64 bytes of many written one after the other, that nobody else has read,
     * and that another processor has; 0 where there is only one. */
    double own_line_ns, shared_line_ns;
};

struct peaks peaks_measure(void);

/* Prints them, after the CPU's name. */
void peaks_print(const struct peaks *peaks);

#endif
