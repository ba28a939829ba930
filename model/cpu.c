/*
 * cpu.c - how many CPUs this process may use.
 *
 * A container sees all processors of its host.  What it may use is written in
 * two places: the affinity mask (docker --cpuset-cpus, taskset) and the CPU
 * quota of its cgroup or of any group above it (docker --cpus, Kubernetes
 * limits).
 *
 * /proc/self/cgroup names the group.  Without a cgroup namespace that path is
 * the host's, and below our own mount it may not exist; what the mount's root
 * says is then the container's own limit.  So every level from the named group
 * up to the mount's root is asked, and one that is missing says nothing.
 */
#include "cpu.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capsnet.h"

size_t cpu_affinity_count(void)
{
    /* The kernel refuses (EINVAL) a mask smaller than its own. */
    for (size_t cpus = 1024; cpus <= 1024 * 1024; cpus *= 2) {
        cpu_set_t *set = CPU_ALLOC(cpus);
        if (!set)
            return 1;
        size_t size = CPU_ALLOC_SIZE(cpus);
        int failed = sched_getaffinity(0, size, set);
        int count = failed ? 0 : CPU_COUNT_S(size, set);
        int too_small = failed && errno == EINVAL;
        CPU_FREE(set);
        if (!too_small)
            return count > 0 ? (size_t)count : 1;
    }
    return 1;
}

/* Reads up to two whole numbers of a one-line file: "200000 100000", "max
 * 100000", "-1".  Returns how many there were, before anything else. */
static int read_numbers(long long numbers[2], const char *folder, const char *name)
{
    char path[PATH_MAX], line[64];
    int n = 0;
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return 0;
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    if (fgets(line, sizeof line, file)) {
        char *p = line, *end;
        for (; n < 2; n++, p = end) {
            errno = 0;
            numbers[n] = strtoll(p, &end, 10);
            if (end == p || errno || !strchr(" \n", *end))
                break;
        }
    }
    fclose(file);
    return n;
}

/* One group's quota in CPUs, rounded up; 0 when it has none. */
static size_t group_quota(const char *folder, int version)
{
    long long numbers[2] = {0, 0}, period[2] = {0, 0};
    if (version == 2) {
        if (read_numbers(numbers, folder, "cpu.max") != 2)
            return 0;
    } else {
        if (read_numbers(numbers, folder, "cpu.cfs_quota_us") != 1 ||
            read_numbers(period, folder, "cpu.cfs_period_us") != 1)
            return 0;
        numbers[1] = period[0];
    }
    if (numbers[0] <= 0 || numbers[1] <= 0) /* v1 says -1 for no limit */
        return 0;
    return (size_t)(numbers[0] / numbers[1] + (numbers[0] % numbers[1] != 0));
}

/* The smaller of two quotas, where 0 is none. */
static size_t smaller(size_t a, size_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* The smallest quota from a group up to the root of its mount. */
static size_t walk_up(const char *root, const char *mount, const char *group, int version)
{
    char folder[PATH_MAX];
    size_t quota = 0;
    /* A group outside our namespace shows as "/../..": nothing of it is
     * mounted here but the root. */
    int n = snprintf(folder, sizeof folder, "%s/sys/fs/cgroup/%s%s", root, mount,
                     strstr(group, "/..") ? "" : group);
    if (n >= (int)sizeof folder)
        return 0;
    size_t top = (size_t)n - (strstr(group, "/..") ? 0 : strlen(group));
    for (;;) {
        quota = smaller(quota, group_quota(folder, version));
        char *slash = strrchr(folder, '/');
        if (!slash || (size_t)(slash - folder) < top)
            return quota;
        *slash = '\0';
    }
}

/* Does a v1 line's controller list, "cpu,cpuacct", name the cpu controller? */
static int names_cpu(const char *controllers)
{
    for (const char *p = controllers; p; p = strchr(p, ',')) {
        p += *p == ',';
        if (strncmp(p, "cpu", 3) == 0 && (p[3] == ',' || p[3] == '\0'))
            return 1;
    }
    return 0;
}

size_t cpu_quota_count(const char *root)
{
    char path[PATH_MAX], *line = NULL;
    size_t size = 0, quota = 0;
    if (snprintf(path, sizeof path, "%s/proc/self/cgroup", root) >= (int)sizeof path)
        return 0;
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    /* Lines are ID:CONTROLLERS:/GROUP; v2's has no controllers. */
    while (getline(&line, &size, file) > 0) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group || group[1] != '/')
            continue;
        *group++ = '\0';
        controllers++;
        if (*controllers == '\0') {
            quota = smaller(quota, walk_up(root, "", group, 2));
            quota = smaller(quota, walk_up(root, "unified", group, 2));
        } else if (names_cpu(controllers)) {
            quota = smaller(quota, walk_up(root, controllers, group, 1));
            quota = smaller(quota, walk_up(root, "cpu", group, 1));
        }
    }
    free(line);
    fclose(file);
    return quota;
}

size_t capsnet_cpu_count(void)
{
    return smaller(cpu_quota_count(""), cpu_affinity_count());
}
