/*
 * test_cpu_count.c - how many CPUs there are to use: cgroup files of every
 * kind in a made-up tree, and this process's own affinity mask.
 */
#include <ftw.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "model/capsnet.h"
#include "model/machine/cpu_limits.h"

enum { MAX_FILES = 6 };

/* A tree and the quota that it means.  A path without a folder of its own lies
 * below /sys/fs/cgroup. */
static const struct {
    const char *what;
    const char *self; /* /proc/self/cgroup */
    const char *files[MAX_FILES][2];
    size_t quota;
} cases[] = {
    {"v2: no file at all", "0::/\n", {{0}}, 0},
    {"v2: no limit", "0::/\n", {{"cpu.max", "max 100000\n"}}, 0},
    {"v2: the mount's root", "0::/\n", {{"cpu.max", "200000 100000\n"}}, 2},
    {"v2: rounded up", "0::/\n", {{"cpu.max", "150000 100000\n"}}, 2},
    {"v2: a hair above 2", "0::/\n", {{"cpu.max", "200001 100000\n"}}, 3},
    {"v2: less than one", "0::/\n", {{"cpu.max", "10000 100000\n"}}, 1},
    {"v2: another period", "0::/\n", {{"cpu.max", "200000 50000\n"}}, 4},
    {"v2: no line end", "0::/", {{"cpu.max", "300000 100000"}}, 3},
    {"v2: own group", "0::/a/b\n", {{"a/b/cpu.max", "300000 100000\n"}}, 3},
    {"v2: the parent is tighter",
     "0::/a/b\n",
     {{"a/b/cpu.max", "300000 100000\n"}, {"a/cpu.max", "200000 100000\n"}},
     2},
    {"v2: the child is tighter",
     "0::/a/b\n",
     {{"a/b/cpu.max", "100000 100000\n"}, {"a/cpu.max", "200000 100000\n"}},
     1},
    {"v2: only the grandparent limits",
     "0::/a/b/c\n",
     {{"a/b/c/cpu.max", "max 100000\n"},
      {"a/b/cpu.max", "max 100000\n"},
      {"a/cpu.max", "500000 100000\n"}},
     5},
    {"v2: the host's path, in a container's mount",
     "0::/kubepods/pod1/abc\n",
     {{"cpu.max", "200000 100000\n"}},
     2},
    {"v2: a group outside our namespace",
     "0::/../../other\n",
     {{"cpu.max", "400000 100000\n"}},
     4},
    {"v2: a sibling says nothing",
     "0::/a\n",
     {{"a/cpu.max", "max 100000\n"}, {"b/cpu.max", "100000 100000\n"}},
     0},
    {"v2 beside v1",
     "3:memory:/\n0::/a\n",
     {{"unified/a/cpu.max", "200000 100000\n"}},
     2},
    {"v1",
     "4:cpu,cpuacct:/a\n3:memory:/b\n",
     {{"cpu,cpuacct/a/cpu.cfs_quota_us", "250000\n"},
      {"cpu,cpuacct/a/cpu.cfs_period_us", "100000\n"}},
     3},
    {"v1: mounted as cpu alone",
     "4:cpuacct,cpu:/a\n",
     {{"cpu/a/cpu.cfs_quota_us", "100000\n"}, {"cpu/a/cpu.cfs_period_us", "100000\n"}},
     1},
    {"v1: no limit",
     "4:cpu:/\n",
     {{"cpu/cpu.cfs_quota_us", "-1\n"}, {"cpu/cpu.cfs_period_us", "100000\n"}},
     0},
    {"v1: the parent is tighter",
     "4:cpu:/a/b\n",
     {{"cpu/a/b/cpu.cfs_quota_us", "-1\n"},
      {"cpu/a/b/cpu.cfs_period_us", "100000\n"},
      {"cpu/a/cpu.cfs_quota_us", "600000\n"},
      {"cpu/a/cpu.cfs_period_us", "100000\n"}},
     6},
    {"v1: a container's mount",
     "4:cpu:/docker/abc\n",
     {{"cpu/cpu.cfs_quota_us", "700000\n"}, {"cpu/cpu.cfs_period_us", "100000\n"}},
     7},
    {"v1: no period", "4:cpu:/\n", {{"cpu/cpu.cfs_quota_us", "100000\n"}}, 0},
    {"v1: cpuset is not cpu",
     "4:cpuset:/\n",
     {{"cpuset/cpu.cfs_quota_us", "100000\n"}, {"cpuset/cpu.cfs_period_us", "100000\n"}},
     0},
    {"v1 and v2, the tighter one",
     "4:cpu:/\n0::/\n",
     {{"cpu/cpu.cfs_quota_us", "500000\n"},
      {"cpu/cpu.cfs_period_us", "100000\n"},
      {"unified/cpu.max", "400000 100000\n"}},
     4},
    {"garbage: empty file", "0::/\n", {{"cpu.max", ""}}, 0},
    {"garbage: words", "0::/\n", {{"cpu.max", "some words\n"}}, 0},
    {"garbage: one number", "0::/\n", {{"cpu.max", "200000\n"}}, 0},
    {"garbage: units", "0::/\n", {{"cpu.max", "200000us 100000us\n"}}, 0},
    {"garbage: a unit at the end", "0::/\n", {{"cpu.max", "200000 100000us\n"}}, 0},
    {"garbage: zero quota", "0::/\n", {{"cpu.max", "0 100000\n"}}, 0},
    {"garbage: zero period", "0::/\n", {{"cpu.max", "100000 0\n"}}, 0},
    {"garbage: negative", "0::/\n", {{"cpu.max", "100000 -100000\n"}}, 0},
    {"garbage: too large", "0::/\n", {{"cpu.max", "99999999999999999999 100000\n"}}, 0},
    {"garbage: empty list", "", {{"cpu.max", "200000 100000\n"}}, 0},
    {"garbage: a list of nonsense", "\n:\n::\n0:\n0::\nx\n", {{"cpu.max", "200000 100000\n"}}, 0},
    {"garbage, then a good line", "nonsense\n0::/\n", {{"cpu.max", "200000 100000\n"}}, 2},
};

/* The same for memory, in bytes. */
static const struct {
    const char *what;
    const char *self;
    const char *files[MAX_FILES][2];
    size_t bytes;
} memory_cases[] = {
    {"v2: no file", "0::/\n", {{0}}, 0},
    {"v2: no limit", "0::/\n", {{"memory.max", "max\n"}}, 0},
    {"v2: own group", "0::/a\n", {{"a/memory.max", "268435456\n"}}, 268435456},
    {"v2: the parent is tighter",
     "0::/a/b\n",
     {{"a/b/memory.max", "max\n"}, {"a/memory.max", "1048576\n"}},
     1048576},
    {"v2: a CPU quota is no memory", "0::/\n", {{"cpu.max", "200000 100000\n"}}, 0},
    {"v1", "9:memory:/a\n", {{"memory/a/memory.limit_in_bytes", "536870912\n"}}, 536870912},
    {"v1: no limit",
     "9:memory:/\n",
     {{"memory/memory.limit_in_bytes", "9223372036854771712\n"}},
     0},
    {"v1: another controller",
     "9:cpu:/\n",
     {{"memory/memory.limit_in_bytes", "536870912\n"}},
     0},
    {"garbage: words", "0::/\n", {{"memory.max", "much\n"}}, 0},
    {"garbage: zero", "0::/\n", {{"memory.max", "0\n"}}, 0},
};

static char root[4096];

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info, (void)type, (void)walk;
    return remove(path);
}

/* Writes root/BELOW/PATH, making the folders on the way. */
static void put(const char *below, const char *path, const char *text)
{
    char full[8192];
    snprintf(full, sizeof full, "%s/%s/%s", root, below, path);
    for (char *slash = full + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = '\0';
        mkdir(full, 0755);
    }
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void make_root(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(root, sizeof root, "%s/capsnet-XXXXXX", base ? base : P_tmpdir);
    assert_non_null(mkdtemp(root));
}

static void remove_root(void)
{
    assert_int_equal(nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void test_trees(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        make_root();
        put("proc/self", "cgroup", cases[i].self);
        for (size_t k = 0; k < MAX_FILES && cases[i].files[k][0]; k++)
            put("sys/fs/cgroup", cases[i].files[k][0], cases[i].files[k][1]);
        size_t quota = cpu_quota_count(root);
        remove_root();
        if (quota != cases[i].quota)
            fail_msg("%s: %zu instead of %zu", cases[i].what, quota, cases[i].quota);
    }
}

static void test_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof memory_cases / sizeof *memory_cases; i++) {
        make_root();
        put("proc/self", "cgroup", memory_cases[i].self);
        for (size_t k = 0; k < MAX_FILES && memory_cases[i].files[k][0]; k++)
            put("sys/fs/cgroup", memory_cases[i].files[k][0], memory_cases[i].files[k][1]);
        size_t bytes = memory_limit_bytes(root);
        remove_root();
        if (bytes != memory_cases[i].bytes)
            fail_msg("%s: %zu instead of %zu", memory_cases[i].what, bytes, memory_cases[i].bytes);
    }
    size_t here = capsnet_memory_limit();
    printf("here: %zu MiB\n", here >> 20);
    assert_true(here >= (size_t)1 << 20);
}

/* A walk that left the mount would find this. */
static void test_stays_below_mount(void **state)
{
    (void)state;
    make_root();
    put("proc/self", "cgroup", "0::/a\n");
    put("sys/fs", "cpu.max", "100000 100000\n");
    put("sys", "cpu.max", "100000 100000\n");
    size_t quota = cpu_quota_count(root);
    remove_root();
    assert_int_equal(quota, 0);
}

static void test_nothing_there(void **state)
{
    (void)state;
    char too_long[5000];
    make_root();
    assert_int_equal(cpu_quota_count(root), 0);
    memset(too_long, 'g', sizeof too_long);
    memcpy(too_long, "0::/", 4);
    too_long[sizeof too_long - 1] = '\0';
    put("proc/self", "cgroup", too_long);
    put("sys/fs/cgroup", "cpu.max", "100000 100000\n");
    assert_int_equal(cpu_quota_count(root), 0); /* longer than any path: not asked */
    memset(too_long, 'r', sizeof too_long - 1);
    assert_int_equal(cpu_quota_count(too_long), 0);
    remove_root();
}

static void test_this_process(void **state)
{
    (void)state;
    cpu_set_t before, one;
    size_t quota = cpu_quota_count(""), affinity = cpu_affinity_count();
    printf("here: affinity %zu, quota %zu, count %zu\n", affinity, quota, capsnet_cpu_count());
    assert_true(affinity >= 1);
    assert_int_equal(capsnet_cpu_count(), quota && quota < affinity ? quota : affinity);

    if (sched_getaffinity(0, sizeof before, &before) != 0) {
        printf("SKIPPED: narrowing the affinity mask; this machine's is longer than cpu_set_t\n");
        return;
    }
    assert_int_equal(affinity, CPU_COUNT(&before));
    CPU_ZERO(&one);
    for (size_t cpu = 0; cpu < CPU_SETSIZE && !CPU_COUNT(&one); cpu++)
        if (CPU_ISSET(cpu, &before))
            CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    size_t narrowed = capsnet_cpu_count(), narrowed_affinity = cpu_affinity_count();
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    assert_int_equal(narrowed, 1);
    assert_int_equal(narrowed_affinity, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trees),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_stays_below_mount),
        cmocka_unit_test(test_nothing_there),
        cmocka_unit_test(test_this_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
