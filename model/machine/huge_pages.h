/*
 * huge_pages.h - large blocks of zeroed memory, straight from the system.
 */
#ifndef CAPSNET_HUGE_PAGES_H
#define CAPSNET_HUGE_PAGES_H

#include <stddef.h>

/* Zeroed memory, 64-byte aligned, in huge pages where the system has them;
 * NULL when there is none.  Free with huge_free() of as many bytes. */
void *huge_alloc(size_t bytes);

/* NULL is ignored. */
void huge_free(void *memory, size_t bytes);

/* Has the whole pages of a part of such memory come one by one, in small ones, when they are
 * touched: of a part that is filled to a few per cent, here and there. */
void huge_avoid(void *part, size_t bytes);

/* Gives the whole pages of a part of such memory back, whose contents become
 * zero; returns how many bytes that was. */
size_t huge_release(void *part, size_t bytes);

#endif
