/*
 * thread_pool.h - a few threads that share the items of one loop after the other.
 */
#ifndef CAPSNET_POOL_H
#define CAPSNET_POOL_H

#include <stddef.h>

#include "model/machine/turns.h"

struct pool;

/* Work on one item; thread is 0 .. threads - 1, for per-thread scratch. */
typedef void (*pool_function)(void *context, size_t item, size_t thread);

/* A pool of that many threads, the caller being one of them.  NULL when a
 * thread cannot be started or memory is short. */
struct pool *pool_create(size_t threads);

/* Stops and joins the threads; NULL is ignored. */
void pool_free(struct pool *pool);

size_t pool_threads(const struct pool *pool);

/* From now on computes only between turns_take() and turns_give() of its party, in turn
 * with the other pools of these turns; is_beside: but beside those for which this is so, too,
 * their party being one (turns_beside).  No loop may be on. */
void pool_share(struct pool *pool, struct capsnet_turns *turns, int is_beside);
struct turns_party *pool_party(struct pool *pool);

/* Calls function(context, i, thread) for every i below items, in any order and
 * on any thread, and returns when all are done.  One caller at a time.  A thread begins with
 * its own part of 0 .. items - 1, the same in every loop of as many items. */
void pool_run(struct pool *pool, size_t items, pool_function function, void *context);

/* The same for items of which the first take longest: one by one in turn they are each
 * thread's own. */
void pool_run_longest_first(struct pool *pool, size_t items, pool_function function,
                            void *context);

/* No loop follows soon: threads that look out for one go to sleep.  By the caller. */
void pool_rest(struct pool *pool);

#endif
