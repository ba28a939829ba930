/*
 * dispatch.c - which level's kernels run: the best one that was compiled in
 * and that CPU and operating system support.  OpenBLAS is taken before plain C,
 * unless it does not know this CPU and would be the slower.
 */
#include <string.h>

#include "model/kernels/kernels.h"
#include "model/kernels/openblas.h"

extern const struct kernels kernels_ref, kernels_openblas, kernels_avx2, kernels_avx512,
    kernels_avx512vnni, kernels_avx512bf16;

#if defined(__x86_64__)
#include <cpuid.h>

/* GCC's test also asks whether the operating system saves the registers. */
static int has_avx2(void)
{
    unsigned a, b, c, d;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
static int has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
}
static int has_avx512vnni(void)
{
    return has_avx512() && __builtin_cpu_supports("avx512vnni");
}
static int has_avx512bf16(void)
{
    return has_avx512vnni() && __builtin_cpu_supports("avx512bf16");
}
#endif

static int always(void)
{
    return 1;
}

static const struct {
    const struct kernels *table;
    int (*usable)(void);
} levels[] = {
    {&kernels_ref, always},
    {&kernels_openblas, openblas_is_usable},
#if defined(__x86_64__)
    {&kernels_avx2, has_avx2},
    {&kernels_avx512, has_avx512},
    {&kernels_avx512vnni, has_avx512vnni},
    {&kernels_avx512bf16, has_avx512bf16},
#endif
};

const struct kernels *kernels_at(size_t i, int *usable)
{
    if (i >= sizeof levels / sizeof *levels)
        return NULL;
    *usable = levels[i].usable();
    if (levels[i].table == &kernels_openblas && *usable)
        openblas_level_start();
    return levels[i].table;
}

const struct kernels *kernels_find(const char *name)
{
    const struct kernels *table;
    int usable;
    for (size_t i = sizeof levels / sizeof *levels; i-- > 0;) {
        if (name ? strcmp(name, levels[i].table->level) != 0
                 : levels[i].table == &kernels_openblas && openblas_is_outdated())
            continue;
        table = kernels_at(i, &usable);
        if (usable)
            return table;
    }
    return NULL;
}
