/*
 * gemm_cblas.h - what the products of level `openblas` need once.
 */
#ifndef CAPSNET_KERNELS_GEMM_CBLAS_H
#define CAPSNET_KERNELS_GEMM_CBLAS_H

/* Finds the heights of blocks of rows whose results agree.  Once, before the
 * first product, and before other threads call one. */
void gemm_cblas_start(void);

#endif
