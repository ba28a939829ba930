/*
 * kernel_check.c - see kernel_check.h.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tests/common/cannot_run.h"
#include "tests/common/kernel_check.h"

/* ---- Random numbers ----------------------------------------------------- */

/* splitmix64 (Steele, Lea, Flood 2014): any seed, 0 included, is a good one. */
static uint64_t random_next(struct random *random)
{
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

size_t random_below(struct random *random, size_t n)
{
    return (size_t)(random_next(random) % n);
}

double random_real(struct random *random)
{
    return (double)(random_next(random) >> 11) * 0x1p-52 - 1;
}

void random_fill(struct random *random, float *p, size_t n, enum magnitude magnitude)
{
    static const double sizes[] = {0, 1e-44, 1e-40, 1e-30, 1e-20, 1e-10, 1, 1, 1e18};
    for (size_t i = 0; i < n; i++) {
        double size = 1;
        if (magnitude == MAGNITUDE_HOSTILE)
            size = sizes[random_below(random, sizeof sizes / sizeof *sizes)];
        p[i] = (float)(size * random_real(random));
    }
}

/* ---- Memory ------------------------------------------------------------- */

struct block {
    unsigned char *map; /* of pages, or of the heap when map_bytes is 0 */
    size_t map_bytes, begin, end; /* the buffer within the map */
};

static struct block blocks[1024];
static size_t n_blocks;

static const uint32_t CANARY = 0xffc0ffee;

static struct block *add_block(void)
{
    assert_true(n_blocks < sizeof blocks / sizeof *blocks);
    return &blocks[n_blocks++];
}

static void *heap(size_t n, size_t size)
{
    void *p = NULL;
    assert_int_equal(posix_memalign(&p, 64, n ? n * size : 1), 0);
    memset(p, 0, n * size);
    *add_block() = (struct block){.map = p};
    return p;
}

float *check_floats(size_t n)
{
    return heap(n, sizeof(float));
}

double *check_doubles(size_t n)
{
    return heap(n, sizeof(double));
}

double *check_to_doubles(const float *src, size_t n)
{
    double *d = check_doubles(n);
    for (size_t i = 0; i < n; i++)
        d[i] = (double)src[i];
    return d;
}

void canary_fill(float *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        memcpy(p + i, &CANARY, sizeof CANARY);
}

int canary_intact(const float *p)
{
    return memcmp(p, &CANARY, sizeof CANARY) == 0;
}

float *guard_output(size_t n, enum side side)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = n * sizeof(float);
    const size_t inner = (bytes + page - 1) / page * page, total = inner + 2 * page;
    unsigned char *map =
        mmap(NULL, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(map != MAP_FAILED);
    size_t begin = side == SIDE_START ? page : page + inner - bytes;
    *add_block() = (struct block){map, total, begin, begin + bytes};
    if (inner) {
        assert_int_equal(mprotect(map + page, inner, PROT_READ | PROT_WRITE), 0);
        canary_fill((float *)(void *)(map + page), inner / sizeof(float));
    }
    return (float *)(void *)(map + begin);
}

float *guard_update(const float *src, size_t n, enum side side)
{
    float *p = guard_output(n, side);
    if (n)
        memcpy(p, src, n * sizeof *p);
    return p;
}

const float *guard_input(const float *src, size_t n, enum side side)
{
    const float *p = guard_update(src, n, side);
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const struct block *b = &blocks[n_blocks - 1];
    if (n)
        assert_int_equal(mprotect(b->map + page, b->map_bytes - 2 * page, PROT_READ), 0);
    return p;
}

static int slack_intact(const struct block *b)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t at = page; at < b->map_bytes - page; at += sizeof CANARY)
        if ((at < b->begin || at >= b->end) && !canary_intact((const void *)(b->map + at)))
            return 0;
    return 1;
}

void check_release(void)
{
    int intact = 1;
    while (n_blocks > 0) {
        struct block *b = &blocks[--n_blocks];
        if (!b->map_bytes) {
            free(b->map);
            continue;
        }
        intact &= slack_intact(b);
        munmap(b->map, b->map_bytes);
    }
    if (!intact)
        fail_msg("a kernel wrote outside its buffer");
}

/* ---- Checks ------------------------------------------------------------- */

void check_value(struct worst *worst, double got, double want, double bound, const char *format,
                 ...)
{
    const double error = fabs(got - want);
    if (!(error <= bound)) {
        char where[256];
        va_list args;
        va_start(args, format);
        vsnprintf(where, sizeof where, format, args);
        va_end(args);
        fail_msg("%s: got %.9g, want %.9g, off by %.3g where %.3g is allowed", where, got, want,
                 error, bound);
    }
    worst->values++;
    if (error > 0 && error / bound > worst->ratio)
        worst->ratio = error / bound;
}

void check_bits(const float *got, const float *want, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(got + i, want + i, sizeof *got) != 0)
            fail_msg("%s: value %zu of %zu is %.9g in one call and %.9g in the other", what, i, n,
                     (double)got[i], (double)want[i]);
}

void check_lane(const float *got, size_t got_lane, const float *want, size_t want_lane, size_t n,
                const char *what)
{
    for (size_t i = 0; i < n; i++)
        check_bits(got + i * KERNEL_LANES + got_lane, want + i * KERNEL_LANES + want_lane, 1, what);
}

struct task {
    const struct check *check;
    const struct kernels *kernels;
    int usable;
    uint64_t seed;
    char name[64];
};

static int bench_wanted(void)
{
    const char *value = getenv("BENCH");
    return value && strcmp(value, "1") == 0;
}

static void run_task(void **state)
{
    const struct task *task = *state;
    if (!task->usable)
        CANNOT_RUN("this CPU lacks %s", task->kernels->level);
    struct random random = {task->seed};
    for (const char *p = task->check->name; *p; p++) /* each test its own sequence */
        random.state = random.state * 31 + (unsigned char)*p;
    struct worst worst = {0, 0};
    task->check->test(task->kernels, &random, &worst);
    check_release();
    if (worst.values)
        print_message("  %-26s worst error %.3f of its bound, %zu values\n", task->name,
                      worst.ratio, worst.values);
    if (task->check->bench && bench_wanted()) {
        task->check->bench(task->kernels);
        check_release();
    }
}

/* What a failed test left behind. */
static int release_task(void **state)
{
    (void)state;
    while (n_blocks > 0) {
        struct block *b = &blocks[--n_blocks];
        if (b->map_bytes)
            munmap(b->map, b->map_bytes);
        else
            free(b->map);
    }
    return 0;
}

int check_main(const struct check *checks, size_t n)
{
    static struct task tasks[128];
    static struct CMUnitTest tests[128]; /* cmocka passes over the empty ones */
    const char *wanted = getenv("SEED");
    uint64_t seed = wanted ? strtoull(wanted, NULL, 0)
                           : (uint64_t)time(NULL) * 1000003u + (uint64_t)getpid();
    printf("SEED=%llu\n", (unsigned long long)seed);
    size_t count = 0;
    int usable = 0;
    const struct kernels *kernels;
    for (size_t level = 0; (kernels = kernels_at(level, &usable)); level++)
        for (size_t i = 0; i < n; i++, count++) {
            if (count == sizeof tasks / sizeof *tasks)
                abort();
            struct task *task = &tasks[count];
            *task = (struct task){&checks[i], kernels, usable, seed, ""};
            snprintf(task->name, sizeof task->name, "%s %s", checks[i].name, kernels->level);
            tests[count] = (struct CMUnitTest){
                .name = task->name,
                .test_func = run_task,
                .teardown_func = release_task,
                .initial_state = task,
            };
        }
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* ---- Timing ------------------------------------------------------------- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void bench_print(const struct kernels *k, const char *name, double work, const char *unit,
                 void (*call)(const struct kernels *k, void *argument), void *argument)
{
    double best = INFINITY;
    size_t calls = 1;
    for (int batch = 0; batch < 12; batch++) {
        const double start = now();
        for (size_t i = 0; i < calls; i++)
            call(k, argument);
        const double seconds = now() - start;
        best = fmin(best, seconds / (double)calls);
        if (seconds < 0.01) /* batches of 10 ms or more: the clock and the call vanish */
            calls *= 2;
    }
    print_message("  %-18s %-7s %8.2f %s\n", name, k->level, work / best * 1e-9, unit);
}
