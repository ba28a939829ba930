/*
 * cpu_limits.h - internal: the pieces of capsnet_cpu_count() and
 * capsnet_memory_limit(), apart so that they can be tested on a made-up file
 * tree.
 */
#ifndef CAPSNET_CPU_H
#define CAPSNET_CPU_H

#include <stddef.h>

/* CPUs in the affinity mask, at least 1. */
size_t cpu_affinity_count(void);

/* The smallest CPU quota of this process's cgroup and the groups above it, in
 * CPUs rounded up, or 0 when there is none or none can be read.
 *
 * root  prefix of every file read: "" for this machine, which reads
 *       /proc/self/cgroup and below /sys/fs/cgroup. */
size_t cpu_quota_count(const char *root);

/* Likewise the smallest memory limit, in bytes. */
size_t memory_limit_bytes(const char *root);

#endif
