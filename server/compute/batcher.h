/*
 * batcher.h - many requests, one forward pass: the queue between them.
 *
 * A job is admitted (one place in the queue), made ready by its owner, and
 * submitted; the batcher runs it and calls done().  See batcher.c.
 */
#ifndef CAPSNETD_BATCHER_H
#define CAPSNETD_BATCHER_H

#include "server/compute/batch.h"

struct batcher;

/* Lanes of a batcher whose batches that many threads compute: as many threads may be in
 * batcher_run_here() at a time. */
size_t batcher_lanes(size_t threads);

/* The threads of each. */
size_t batcher_lane_threads(size_t threads);

/* Makes the batches and starts the thread.
 *
 * model      must outlive the batcher
 * max_batch  most images in one pass; threads: that compute
 * queue      images that may wait
 * delay_us   how long a batch that is not full waits for more
 * turns      that it shares with other batchers; NULL: it has the CPUs to itself
 * metrics    where its batches are counted; may be NULL */
CAPSNET_MUST_CHECK enum capsnet_status
batcher_create(struct batcher **batcher, const struct capsnet_model *model, size_t max_batch,
               size_t threads, size_t queue, size_t delay_us, struct capsnet_turns *turns,
               struct model_metrics *metrics, struct capsnet_error *error);

/* Bytes of memory that its passes are computed in. */
size_t batcher_bytes(const struct batcher *batcher);

/* Images that wait now. */
size_t batcher_waiting(struct batcher *batcher);

/* Is the queue full just now?  A cheap look, before a body is read. */
int batcher_is_full(struct batcher *batcher);

/* Takes one place in the queue: 1, or 0 when it is full.  Every place taken
 * ends in a successful batcher_submit() or in batcher_withdraw(). */
CAPSNET_MUST_CHECK int batcher_admit(struct batcher *batcher);

/* Gives the place back: the request turned out to be a bad one. */
void batcher_withdraw(struct batcher *batcher);

/* Hands over an admitted job, which takes as many places as it has images.
 * 1, or 0 when the queue has filled up meanwhile: then the job is the owner's
 * again, who withdraws.  Thread-safe. */
CAPSNET_MUST_CHECK int batcher_submit(struct batcher *batcher, struct job *job);

/* The same, by a thread that may take its time: a job of one image for which nobody computes
 * and nothing is waited for is computed on this thread, which is sooner than the batcher's
 * is woken; it is done, and perhaps gone, when this returns. */
CAPSNET_MUST_CHECK int batcher_submit_or_run(struct batcher *batcher, struct job *job);

/* When a request was last to be admitted, clock_us(); 0: never.  Any thread may ask. */
int64_t batcher_asked_us(const struct batcher *batcher);

/* The same for a request whose job its network thread is to compute itself, which has `gathered`
 * of them: not where it is better queued.  Of n of these, each of one image at most and
 * batcher_here() together at most, batcher_run_here() is the end.
 * is_mixed: other models' clients, of whom the thread may have some, are not to wait for many.
 * lane: the thread's own, below batcher_lanes().  It fills what a batch fills; expires_us, done()
 * and what goes with them are for the others. */
enum { BATCHER_HERE = 48 };
size_t batcher_here(struct batcher *batcher); /* BATCHER_HERE, or fewer: max_batch, or where an
                                               * image takes long */
CAPSNET_MUST_CHECK int batcher_admit_here(struct batcher *batcher, size_t gathered, int is_mixed);
void batcher_withdraw_here(struct batcher *batcher);
void batcher_run_here(struct batcher *batcher, size_t lane, struct job *const *jobs, size_t n);

/* Finishes what was submitted, stops the thread, frees; NULL is ignored. */
void batcher_free(struct batcher *batcher);

#endif
