/*
 * peaks.c - see peaks.h.
 *
 * A multiply-add takes about 4 cycles and two may start in each, so that 8
 * independent sums would do; there are 12, and no load or store.
 */
#include "tests/bench/peaks.h"
#include "model/machine/huge_pages.h"
#include "model/machine/thread_pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/bench/bench.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

enum { SUMS = 12, STEPS = 1 << 20, MEMORY_BYTES = 256 << 20, TRIES = 5 };

static volatile float sink;

/* Seconds of this thread's processor: others may be using the machine. */
static double seconds_of(void (*run)(void *), void *context)
{
    struct timespec from, to;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    run(context);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    return (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec);
}

/* ---- Multiply-adds -------------------------------------------------------- */

/* A function that does STEPS * SUMS instructions `step` on vectors `type`, the
 * sums s[] being the only thing that changes. */
#define PEAK(name, isa, type, start, step)                        \
    __attribute__((target(isa))) static void name(void *context)  \
    {                                                             \
        type s[SUMS], x = start, y = start;                       \
        (void)context;                                            \
        _Pragma("GCC unroll 12")                                  \
        for (int k = 0; k < SUMS; k++)                            \
            s[k] = start;                                         \
        for (int i = 0; i < STEPS; i++) {                         \
            _Pragma("GCC unroll 12")                              \
            for (int k = 0; k < SUMS; k++) {                      \
                s[k] = step;                                      \
                __asm__("" : "+v"(s[k]));                         \
            }                                                     \
        }                                                         \
        _Pragma("GCC unroll 12")                                  \
        for (int k = 0; k < SUMS; k++)                            \
            sink = (float)s[k][0];                                \
    }

#ifdef __x86_64__
PEAK(f32_sse2, "sse2", __m128, _mm_set1_ps(0.5f), _mm_add_ps(_mm_mul_ps(s[k], x), y))
PEAK(f32_avx2, "avx2,fma", __m256, _mm256_set1_ps(0.5f), _mm256_fmadd_ps(s[k], x, y))
PEAK(f32_avx512, "avx512f", __m512, _mm512_set1_ps(0.5f), _mm512_fmadd_ps(s[k], x, y))
PEAK(bf16_avx512, "avx512bf16", __m512, _mm512_setzero_ps(),
     _mm512_dpbf16_ps(s[k], (__m512bh)x, (__m512bh)y))
PEAK(int8_avx512, "avx512vnni", __m512i, _mm512_setzero_si512(),
     _mm512_dpbusd_epi32(s[k], x, y))
#else
typedef float v4 __attribute__((vector_size(16)));
static void f32_plain(void *context)
{
    v4 s[SUMS] = {0}, x = {0.5f, 0.5f, 0.5f, 0.5f};
    (void)context;
    for (int i = 0; i < STEPS; i++)
        for (int k = 0; k < SUMS; k++)
            s[k] = s[k] * x + x;
    for (int k = 0; k < SUMS; k++)
        sink = s[k][0];
}
#endif

/* Multiply-adds a second of a function whose instructions do `width` each; the
 * best of several tries, for a peak is what nothing disturbed. */
static double rate(void (*run)(void *), double width)
{
    double best = 0;
    run(NULL);
    for (int i = 0; i < TRIES; i++) {
        const double now = (double)STEPS * SUMS * width / seconds_of(run, NULL);
        best = now > best ? now : best;
    }
    return best;
}

static void measure_multiply(double peak[PRECISIONS])
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f"))
        peak[PRECISION_F32] = rate(f32_avx512, 16);
    else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        peak[PRECISION_F32] = rate(f32_avx2, 8);
    else
        peak[PRECISION_F32] = rate(f32_sse2, 4);
    if (__builtin_cpu_supports("avx512bf16"))
        peak[PRECISION_BF16] = rate(bf16_avx512, 32);
    if (__builtin_cpu_supports("avx512vnni"))
        peak[PRECISION_INT8] = rate(int8_avx512, 64);
#else
    peak[PRECISION_F32] = rate(f32_plain, 4);
#endif
}

/* ---- Memory --------------------------------------------------------------- */

typedef float line __attribute__((vector_size(64)));

static void read_all(void *context)
{
    const line *p = context;
    line s[4] = {{0}, {0}, {0}, {0}};
    for (size_t i = 0; i < MEMORY_BYTES / sizeof *p; i += 4)
        for (size_t k = 0; k < 4; k++)
            s[k] += p[i + k];
    sink = s[0][0] + s[1][0] + s[2][0] + s[3][0];
}

/* ---- Lines that two processors use --------------------------------------------- */

enum { LINES = 3200, WORDS = LINES * 8, LINE_ROUNDS = 41 };

struct lines {
    volatile uint64_t *words; /* [WORDS] */
    double ns;                /* a line, of the last writing */
};

/* Item 0 writes them, item 1 looks on. */
static void write_lines(void *context, size_t item, size_t thread)
{
    struct lines *lines = context;
    struct timespec from, to;
    (void)thread;
    if (item != 0)
        return;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (size_t i = 0; i < WORDS; i++)
        lines->words[i] = i;
    clock_gettime(CLOCK_MONOTONIC, &to);
    lines->ns = 1e9 * (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec);
    lines->ns /= LINES;
}

/* Item 1, by the other thread, reads them. */
static void read_lines(void *context, size_t item, size_t thread)
{
    struct lines *lines = context;
    (void)thread;
    for (size_t i = 0; item == 1 && i < WORDS; i += 8)
        (void)lines->words[i];
}

/* The median of a line's writing, each after it was read by the other thread or was not. */
static double line_ns(struct pool *pool, struct lines *lines, int is_shared)
{
    double ns[LINE_ROUNDS];
    for (size_t i = 0; i < LINE_ROUNDS; i++) {
        pool_run(pool, 2, write_lines, lines);
        ns[i] = lines->ns;
        if (is_shared)
            pool_run(pool, 2, read_lines, lines);
    }
    return bench_median(ns, LINE_ROUNDS);
}

static void measure_lines(struct peaks *peaks)
{
    struct pool *pool = capsnet_cpu_count() > 1 ? pool_create(2) : NULL;
    struct lines lines = {.words = pool ? aligned_alloc(64, WORDS * sizeof(uint64_t)) : NULL};
    if (lines.words) {
        peaks->own_line_ns = line_ns(pool, &lines, 0);
        peaks->shared_line_ns = line_ns(pool, &lines, 1);
    }
    free((void *)(uintptr_t)lines.words);
    pool_free(pool);
}

struct peaks peaks_measure(void)
{
    struct peaks peaks = {.memory_bytes = 0};
    float *memory = bench_noise(MEMORY_BYTES / sizeof *memory, 1);
    measure_multiply(peaks.multiply_adds);
    for (int i = 0; i < TRIES; i++) {
        const double now = MEMORY_BYTES / seconds_of(read_all, memory);
        peaks.memory_bytes = now > peaks.memory_bytes ? now : peaks.memory_bytes;
    }
    huge_free(memory, MEMORY_BYTES);
    measure_lines(&peaks);
    return peaks;
}

/* ---- Words ---------------------------------------------------------------- */

/* A field of the first processor in /proc/cpuinfo; "?" where it says nothing. */
static const char *cpu_field(const char *name, char value[128])
{
    char text[512];
    FILE *file = fopen("/proc/cpuinfo", "r");
    const size_t length = strlen(name);
    strcpy(value, "?");
    while (file && fgets(text, sizeof text, file)) {
        const char *colon = strchr(text, ':');
        if (!colon || strncmp(text, name, length) != 0 || !strchr("\t:", text[length]))
            continue;
        snprintf(value, 128, "%s", colon + 2);
        value[strcspn(value, "\n")] = '\0';
        break;
    }
    if (file)
        fclose(file);
    return value;
}

void peaks_print(const struct peaks *peaks)
{
    char name[128], family[128], model[128];
    printf("%s (family %s, model %s), %zu processors\n", cpu_field("model name", name),
           cpu_field("cpu family", family), cpu_field("model", model), capsnet_cpu_count());
    printf("one core at most: f32 %.0f, bf16 %.0f, int8 %.0f Gop/s; memory read at %.1f GB/s\n",
           2e-9 * peaks->multiply_adds[PRECISION_F32], 2e-9 * peaks->multiply_adds[PRECISION_BF16],
           2e-9 * peaks->multiply_adds[PRECISION_INT8], 1e-9 * peaks->memory_bytes);
    if (peaks->shared_line_ns > 0)
        printf("to write a line that another processor has read takes %.1f ns, one that it has "
               "not %.1f\n",
               peaks->shared_line_ns, peaks->own_line_ns);
}
