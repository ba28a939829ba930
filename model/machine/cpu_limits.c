/*
 * cpu_limits.c - how many CPUs and how much memory this process may use.
 *
 * A container sees all processors and all memory of its host.  What it may use
 * is written elsewhere: in the affinity mask (docker --cpuset-cpus, taskset)
 * and in the limits of its cgroup or of any group above it (docker --cpus and
 * --memory, Kubernetes limits).
 *
 * /proc/self/cgroup names the group.  Without a cgroup namespace that path is
 * the host's, and below our own mount it may not exist; what the mount's root
 * says is then the container's own limit.  So every level from the named group
 * up to the mount's root is asked, and one that is missing says nothing.
 */
#include "model/machine/cpu_limits.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/capsnet.h"

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

/* One group's limit of something; 0 when it has none. */
typedef size_t group_limit(const char *folder, int version);

/* Its CPU quota in CPUs, rounded up. */
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

/* Its memory in bytes.  v1 says so when there is no limit by a number near
 * 2^63. */
static size_t group_memory(const char *folder, int version)
{
    long long numbers[2] = {0, 0};
    int n = read_numbers(numbers, folder, version == 2 ? "memory.max" : "memory.limit_in_bytes");
    return n == 1 && numbers[0] > 0 && numbers[0] < 1LL << 60 ? (size_t)numbers[0] : 0;
}

/* The stricter of two limits, where 0 is none. */
static size_t stricter(size_t a, size_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* The smallest limit from a group up to the root of its mount. */
static size_t walk_up(group_limit *of, const char *root, const char *mount, const char *group,
                      int version)
{
    char folder[PATH_MAX];
    size_t limit = 0;
    /* A group outside our namespace shows as "/../..": nothing of it is
     * mounted here but the root. */
    int n = snprintf(folder, sizeof folder, "%s/sys/fs/cgroup/%s%s", root, mount,
                     strstr(group, "/..") ? "" : group);
    if (n >= (int)sizeof folder)
        return 0;
    size_t top = (size_t)n - (strstr(group, "/..") ? 0 : strlen(group));
    for (;;) {
        limit = stricter(limit, of(folder, version));
        char *slash = strrchr(folder, '/');
        if (!slash || (size_t)(slash - folder) < top)
            return limit;
        *slash = '\0';
    }
}

/* Does a v1 line's controller list, "cpu,cpuacct", name the controller? */
static int names(const char *controllers, const char *controller)
{
    const size_t n = strlen(controller);
    for (const char *p = controllers; p; p = strchr(p, ',')) {
        p += *p == ',';
        if (strncmp(p, controller, n) == 0 && (p[n] == ',' || p[n] == '\0'))
            return 1;
    }
    return 0;
}

/* The smallest limit of this process's groups; controller: v1's name for it. */
static size_t smallest_limit(group_limit *of, const char *controller, const char *root)
{
    char path[PATH_MAX], *line = NULL;
    size_t size = 0, limit = 0;
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
            limit = stricter(limit, walk_up(of, root, "", group, 2));
            limit = stricter(limit, walk_up(of, root, "unified", group, 2));
        } else if (names(controllers, controller)) {
            limit = stricter(limit, walk_up(of, root, controllers, group, 1));
            limit = stricter(limit, walk_up(of, root, controller, group, 1));
        }
    }
    free(line);
    fclose(file);
    return limit;
}

size_t cpu_quota_count(const char *root)
{
    return smallest_limit(group_quota, "cpu", root);
}

size_t memory_limit_bytes(const char *root)
{
    return smallest_limit(group_memory, "memory", root);
}

size_t capsnet_memory_limit(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    return stricter(memory_limit_bytes(""), pages > 0 ? (size_t)pages * (size_t)page : 0);
}

size_t capsnet_cpu_count(void)
{
    return stricter(cpu_quota_count(""), cpu_affinity_count());
}
