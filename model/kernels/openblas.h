/*
 * openblas.h - OpenBLAS as this process has it, for level `openblas`: linked
 * in, kept to one thread a call, and asked what it knows of this CPU.
 *
 * Any thread may call these.  The first call of openblas_level_start() sets all
 * up; calls beside it wait.
 */
#ifndef CAPSNET_KERNELS_OPENBLAS_H
#define CAPSNET_KERNELS_OPENBLAS_H

/* Before the first product: one thread a call (the pool's threads call it side
 * by side), and block heights (gemm_cblas.c). */
void openblas_level_start(void);

/* Whether this build of it and this CPU will do: several threads may call it at
 * once, and the CPU has the instructions that it takes for granted. */
int openblas_is_usable(void);

/* Whether it runs its oldest kernels because it does not know this CPU, as
 * happens on one newer than the library: then `ref` is faster. */
int openblas_is_outdated(void);

#endif
