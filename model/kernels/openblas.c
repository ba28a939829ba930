/*
 * openblas.c - see openblas.h.
 */
#include "model/kernels/openblas.h"

#include <cblas.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/capsnet.h"
#include "model/kernels/gemm_cblas.h"

/* OpenBLAS starts a thread for every processor when it is loaded, not at its
 * first product: threads that no container's limit counts, outside the
 * server's sandbox.  A constructor of priority 101 runs before that of a
 * statically linked OpenBLAS, which has none; nobody else runs yet. */
__attribute__((constructor(101))) static void keep_to_one_thread(void)
{
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
}

static void start(void)
{
    openblas_set_num_threads(1);
    gemm_cblas_start();
}

void openblas_level_start(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start);
}

/* A build without threads hands the same scratch memory to two callers.  On
 * x86-64 nothing runs without SSE3, and the kernels for the oldest Opterons use
 * 3DNow!, which they do not have everywhere (not in QEMU). */
int openblas_is_usable(void)
{
#if defined(__x86_64__)
    if (!__builtin_cpu_supports("sse3") || strncmp(openblas_get_corename(), "Opteron", 7) == 0)
        return 0;
#endif
    return openblas_get_parallel() != OPENBLAS_SEQUENTIAL;
}

int openblas_is_outdated(void)
{
#if defined(__x86_64__)
    return strcmp(openblas_get_corename(), "Prescott") == 0;
#else
    return 0; /* its plain arm64 kernels are written for NEON, which all have */
#endif
}

void capsnet_openblas(char *text, size_t size)
{
    char version[32] = "";
    sscanf(openblas_get_config(), "OpenBLAS %31s", version);
    snprintf(text, size, "OpenBLAS %s %s%s", version, openblas_get_corename(),
             openblas_is_outdated() ? ", which does not know this CPU" : "");
}
